"""``--watch``: print again and again until interrupted; a terminal is redrawn from its top, a pipe gets blocks."""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_HOME_AND_CLEAR = "\x1b[H\x1b[J"


def watch(print_once: Callable[[], None], interval_s: float) -> int:
    """Call ``print_once`` every ``interval_s`` seconds. Ctrl-C is how it is meant to end: exit code 0."""
    is_terminal = sys.stdout.isatty()
    due = time.monotonic()
    first = True
    try:
        while True:
            if is_terminal:
                sys.stdout.write(_HOME_AND_CLEAR)
            elif not first:
                sys.stdout.write("\n")
            print_once()
            sys.stdout.flush()
            first = False
            due = max(due + interval_s, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
    except KeyboardInterrupt:
        return 0
