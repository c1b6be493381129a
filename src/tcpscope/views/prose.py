"""Prose for a terminal: an :class:`~tcpscope.explain.answer.Answer` wrapped to a width, or as Markdown.

Draws what it is handed and looks nothing up; whether there is a terminal, its width and its colours are arguments.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tcpscope.explain.answer import Answer, Grid, Section

_BOLD, _DIM, _PLAIN = "\033[1m", "\033[2m", "\033[0m"
_GAP = 2
_LEAST = 8  #: a column of a table is never squeezed below this


def emit_answer(answer: Answer, width: int = 80, color: bool = False) -> str:
    """Write an answer as text no line of which is wider than ``width`` (at least 20)."""
    width = max(width, 20)
    lines = [_paint(line, _BOLD, color) for line in _wrap(answer.title, width)]
    lines += ["", *_wrap(answer.summary, width)]
    for section in answer.sections:
        lines += [
            "",
            *(_paint(line, _BOLD, color) for line in _wrap(section.heading, width)),
            *_section_lines(section, width, color),
        ]
    if answer.see_also:
        lines += ["", *_wrap("See also: " + " · ".join(answer.see_also), width)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _section_lines(section: Section, width: int, color: bool) -> Iterator[str]:
    for number, paragraph in enumerate(section.paragraphs):
        if number:
            yield ""
        yield from _wrap(paragraph, width, "  ")
    for item in section.items:
        yield from _wrap(item, width, "  - ", "    ")
    if section.grid is not None:
        yield from _grid_lines(section.grid, width, color)
    for command in section.commands:
        yield from _command_lines(command, width)


def _wrap(text: str, width: int, first: str = "", later: str | None = None) -> list[str]:
    later = first if later is None else later
    # Why: names of processes may hold anything, escape sequences for the terminal included.
    text = "".join(char if char.isprintable() or char.isspace() else "?" for char in text)
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=later, break_on_hyphens=False) or [
        first.rstrip()
    ]


def _command_lines(command: str, width: int) -> list[str]:
    lines = textwrap.wrap(command, max(width - 6, 8), break_on_hyphens=False)
    return [
        ("  $ " if number == 0 else "      ") + line + (" \\" if number < len(lines) - 1 else "")
        for number, line in enumerate(lines)
    ]


def _grid_lines(grid: Grid, width: int, color: bool) -> Iterator[str]:
    """Lay a table out; when the columns cannot be squeezed enough, one record under the other."""
    widths = fit_columns(grid, width - 2)
    if widths is None:
        yield from _records(grid, width)
        return
    if any(grid.columns):
        yield from (_paint(line.rstrip(), _DIM, color) for line in _row_lines(grid.columns, widths))
    for row in grid.rows:
        yield from _row_lines(row, widths)


def _row_lines(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    cells = [_wrap(cell, size) for cell, size in zip(row, widths, strict=True)]
    for number in range(max(map(len, cells))):
        yield "  " + _join([cell[number] if number < len(cell) else "" for cell in cells], widths)


def fit_columns(grid: Grid, room: int) -> list[int] | None:
    """Return the width of each column so that the table fits ``room``; ``None`` when it cannot be readable.

    The widest columns give first; none gives so much that a word of its would break, or less than eight.
    """
    table = (grid.columns, *grid.rows)
    widths = [max(len(row[at]) for row in table) for at in range(len(grid.columns))]
    least = [min(widths[at], max(_LEAST, *(_longest_word(row[at]) for row in table))) for at in range(len(widths))]
    room -= _GAP * (len(widths) - 1)
    if sum(least) > room:
        return None
    while sum(widths) > room:
        at = max(range(len(widths)), key=lambda at: widths[at] - least[at])
        others = sum(widths) - widths[at]
        second = max((widths[one] for one in range(len(widths)) if one != at and widths[one] > least[one]), default=0)
        widths[at] = max(least[at], room - others, min(second, widths[at] - 1))
    return widths


def _longest_word(cell: str) -> int:
    return max(map(len, cell.split()), default=0)


def _join(cells: Sequence[str], widths: Sequence[int]) -> str:
    return (" " * _GAP).join(cell.ljust(size) for cell, size in zip(cells, widths, strict=True))


def _records(grid: Grid, width: int) -> Iterator[str]:
    for number, row in enumerate(grid.rows):
        if number:
            yield ""
        for name, cell in zip(grid.columns, row, strict=True):
            yield from _wrap(f"{name}: {cell}" if name else cell, width, "  ", "    ")


def _paint(text: str, code: str, color: bool) -> str:
    return f"{code}{text}{_PLAIN}" if color and text else text


def emit_markdown(answer: Answer, level: int = 1) -> str:
    """Write an answer as Markdown, its title as a heading of ``level``."""
    lines = [f"{'#' * level} {_escape(answer.title)}", "", _escape(answer.summary)]
    for section in answer.sections:
        lines += ["", f"{'#' * (level + 1)} {_escape(section.heading)}", "", *_markdown_section(section)]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_section(section: Section) -> Iterator[str]:
    for paragraph in section.paragraphs:
        yield from (_escape(paragraph), "")
    for item in section.items:
        yield f"- {_escape(item)}"
    if section.grid is not None:
        yield from emit_markdown_grid(section.grid)
    if section.commands:
        if section.items or section.grid is not None:
            yield ""
        yield from ("```console", *(f"$ {command}" for command in section.commands), "```")


def emit_markdown_grid(grid: Grid) -> Iterator[str]:
    """Write a table as Markdown lines."""
    yield "| " + " | ".join(map(_escape, grid.columns)) + " |"
    yield "|" + "---|" * len(grid.columns)
    for row in grid.rows:
        yield "| " + " | ".join(map(_escape, row)) + " |"


def _escape(text: str) -> str:
    """Why: ``*:22`` would be read as emphasis, ``|`` ends a cell, ``<`` begins HTML, ``[`` a link."""
    return "".join(f"\\{char}" if char in "*|<`[]" else char for char in text)
