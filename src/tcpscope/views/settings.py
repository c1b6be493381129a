"""Kernel settings as a table with what they do below each. Draws what it is handed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from tcpscope.model.record import NamedTuple

_BOLD, _DIM, _MARK, _PLAIN = "\033[1m", "\033[2m", "\033[33m", "\033[0m"


class SettingLine(NamedTuple):
    """One setting as it is drawn; empty texts are shown as ``-``."""

    topic: str
    name: str
    current: str
    default: str
    recommended: str
    is_changed: bool
    effect: str
    reason: str


def render_settings(rows: Sequence[SettingLine], width: int = 80, colour: bool = False) -> str:
    """Draw settings by topic; ``*`` marks those whose present value is not the recommended one."""
    columns = [max(map(len, [title, *(getattr(row, field) for row in rows)])) for title, field in _COLUMNS]
    lines, topic = [], ""
    for row in rows:
        if row.topic != topic:
            topic = row.topic
            titles = (title.ljust(size) for (title, _), size in zip(_COLUMNS, columns, strict=True))
            lines += ["", _paint("  ".join((f"{topic.upper():<{columns[0]}}", *list(titles)[1:])), _BOLD, colour)]
        lines += _row_lines(row, columns, width, colour)
    return "\n".join(lines) + "\n"


_COLUMNS = (("", "name"), ("now", "current"), ("default", "default"), ("better", "recommended"))


def _row_lines(row: SettingLine, columns: Sequence[int], width: int, colour: bool) -> Iterator[str]:
    cells = [getattr(row, field) or "-" for _, field in _COLUMNS]
    line = "  ".join(cell.ljust(size) for cell, size in zip(cells, columns, strict=True)).rstrip()
    yield _paint(f"{line} *", _MARK, colour) if row.is_changed else line
    for text in (row.effect, row.reason):
        for wrapped in textwrap.wrap(text, max(40, width - 4), break_on_hyphens=False):
            yield _paint(f"    {wrapped}", _DIM, colour)


def _paint(text: str, paint: str, colour: bool) -> str:
    return f"{paint}{text}{_PLAIN}" if colour else text
