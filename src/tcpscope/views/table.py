"""A writer of aligned columns: text in, lines out. No library, no wrapping, nothing cut.

Widths count characters as a terminal shows them for the scripts programs and addresses are written in; East Asian
double-width letters are not measured.
"""

from __future__ import annotations

from tcpscope.model.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Column(NamedTuple):
    """One column: ``key`` for options, ``title`` for the header, at least ``width`` wide."""

    key: str
    title: str
    width: int = 0
    is_right: bool = False
    is_open: bool = False  #: when it is the last one, padded to ``width`` and never widened for the others' sake


def render_table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    header: bool = True,
    below: Sequence[str] = (),
    paint: Callable[[int, int, str], str] | None = None,
) -> str:
    """Render rows of cells; ``below[i]`` is printed under row i when it is not empty.

    ``paint(row, column, padded text)`` may add colour; it must not change what is seen.
    """
    widths = [_width(column, index, rows, header, len(columns)) for index, column in enumerate(columns)]
    lines = []
    if header:
        lines.append(" ".join(_pad(column, column.title, width) for column, width in zip(columns, widths, strict=True)))
    for number, row in enumerate(rows):
        cells = [_pad(column, cell, width) for column, cell, width in zip(columns, row, widths, strict=True)]
        if paint is not None:
            cells = [paint(number, index, cell) for index, cell in enumerate(cells)]
        lines.append(" ".join(cells))
        if below and below[number]:
            lines.append(below[number])
    lines.append("")
    return "\n".join(lines)


def render_csv(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, header: bool = True) -> str:
    """Render rows as comma-separated values (RFC 4180) with the keys of the columns as header."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow([column.key for column in columns])
    writer.writerows(rows)
    return out.getvalue()


def _width(column: Column, index: int, rows: Sequence[Sequence[str]], header: bool, count: int) -> int:
    widest = len(column.title) if header else 0
    if not column.is_open or index < count - 1:
        widest = max(widest, max((len(row[index]) for row in rows), default=0))
    return max(column.width, widest)


def _pad(column: Column, text: str, width: int) -> str:
    return text.rjust(width) if column.is_right else text.ljust(width)
