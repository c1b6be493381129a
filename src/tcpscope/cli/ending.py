"""Ctrl-C and SIGTERM, for runs that such a signal is meant to end: a flag, no exception.

Why no exception: it would come in the middle of a batch, and what was read and not told yet would be lost. So the run
looks at the flag between two waits, sums up, and ends.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any


class Ending:
    """``with Ending() as ending``: :attr:`signal` is 0 until one came. A second one ends the run at once."""

    def __init__(self) -> None:
        self.signal = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Ending:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:  # Why: nohup, or a shell's background job
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def exit_code(self, is_endless: bool) -> int:
        """Return 0 for a whole run, and for an endless one that Ctrl-C ended as it is meant to; else 128 + signal."""
        return 0 if not self.signal or (is_endless and self.signal == signal.SIGINT) else 128 + self.signal

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
