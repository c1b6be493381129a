"""``--watch``: print again and again until interrupted; a terminal is redrawn from its top, a pipe gets blocks.

What does not fit the screen is left out and counted: a table that scrolls cannot be watched.
"""

from __future__ import annotations

import io
import os
import re
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_HOME_AND_CLEAR = "\x1b[H\x1b[J"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def watch(print_once: Callable[[], None], interval_s: float, *, is_lines: bool = False) -> int:
    """Call ``print_once`` every ``interval_s`` seconds. Ctrl-C is how it is meant to end: exit code 0.

    ``is_lines``: each look is one line (JSON), for another program, and goes out as it is.
    """
    is_terminal = sys.stdout.isatty() and not is_lines
    due = time.monotonic()
    first = True
    try:
        while True:
            if is_terminal:
                _redraw(print_once)
            else:
                sys.stdout.write("" if first or is_lines else "\n")
                print_once()
            sys.stdout.flush()
            first = False
            due = max(due + interval_s, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
    except KeyboardInterrupt:
        return 0


class _Screen(io.StringIO):
    """What is printed for a terminal, kept until it is known how much of it fits."""

    def isatty(self) -> bool:
        return True


def _redraw(print_once: Callable[[], None]) -> None:
    terminal, notes, screen = sys.stdout, sys.stderr, _Screen()
    sys.stdout = sys.stderr = screen
    try:
        print_once()
    finally:
        sys.stdout, sys.stderr = terminal, notes
    columns, rows = os.get_terminal_size(terminal.fileno())
    terminal.write(_HOME_AND_CLEAR + fit_screen(screen.getvalue(), columns, rows))


def fit_screen(text: str, columns: int, rows: int) -> str:
    """Return as many lines of ``text`` as ``rows`` hold when lines wrap at ``columns``, the last row left free.

    A serial line says it has 0 rows: it does not know, and gets everything.
    """
    lines = text.splitlines()
    used = [max(1, -(-len(_COLOUR.sub("", line).rstrip()) // max(columns, 1))) for line in lines]
    if sum(used) < rows or not rows:
        return text
    shown, room = 0, rows - 2
    while shown < len(lines) and used[shown] <= room:
        room -= used[shown]
        shown += 1
    return "\n".join((*lines[:shown], f"... and {len(lines) - shown} more lines", ""))
