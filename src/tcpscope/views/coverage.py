"""The coverage report as text and JSON: row by row, who has shown it; then what Linux does otherwise and cannot do."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from tcpscope.lab.coverage import READERS, RowCoverage

_MARKS = {"shown": "x", "otherwise": "~", "impossible": "-", "elsewhere": ".", "missed": "!"}
_KEY = "x shown · ~ verified to do otherwise · - cannot · . not played now · ! expected and not seen"


def draw_coverage(rows: Sequence[RowCoverage], width: int = 100) -> Iterator[str]:
    """Yield the report."""
    name_width = max(len(one.row.id) for one in rows)
    yield f"{'row':<{name_width}}  {'  '.join(READERS)}"
    for one in rows:
        cells = [_cell(one, reader).center(len(reader)) for reader in READERS]
        yield f"{one.row.id:<{name_width}}  {'  '.join(cells)}".rstrip()
    yield ""
    yield _KEY
    yield from _reasons(rows, "otherwise", "Linux does otherwise (each was seen to):", width)
    yield from _reasons(rows, "impossible", "A Linux kernel cannot be brought to:", width)
    yield from _reasons(rows, "elsewhere", "Not played now:", width)
    yield from _reasons(rows, "missed", "EXPECTED AND NOT SEEN:", width)
    unshown = [one for one in rows if one.endpoint_reason]
    if unshown:
        yield ""
        yield "Our own endpoint was not brought to:"
    yield from (f"  {one.row.id}: {one.endpoint_reason}" for one in unshown)
    yield ""
    yield from _totals(rows)


def coverage_as_json(rows: Sequence[RowCoverage]) -> dict[str, Any]:
    """Return the JSON object (``tcpscope.lab-coverage/1``)."""
    return {
        "schema": "tcpscope.lab-coverage/1",
        "rows": [
            {
                "row": one.row.id,
                "before": one.row.before.name,
                "event": one.row.event.name,
                "after": one.row.after.name,
                "linux": one.linux,
                **{reader: getattr(one, reader) for reader in READERS if reader != "linux"},
                "reason": one.reason or None,
                "endpoint_reason": one.endpoint_reason or None,
            }
            for one in rows
        ],
    }


def _cell(one: RowCoverage, reader: str) -> str:
    if reader == "linux":
        return _MARKS[one.linux]
    if reader in ("trace", "capture") and not one.row.changes_state:
        return ""
    return "x" if getattr(one, reader) else "."


def _reasons(rows: Sequence[RowCoverage], kind: str, head: str, width: int) -> Iterator[str]:
    concerned = [one for one in rows if one.linux == kind]
    if concerned:
        yield ""
        yield head
    for one in concerned:
        yield from textwrap.wrap(
            f"{one.row.id}: {one.reason}", width - 2, initial_indent="  ", subsequent_indent="      "
        )


def _totals(rows: Sequence[RowCoverage]) -> Iterator[str]:
    moving = [one for one in rows if one.row.changes_state]
    shown = sum(one.linux == "shown" for one in rows)
    otherwise = sum(one.linux == "otherwise" for one in rows)
    yield f"{len(rows)} rows, {len(moving)} of them change the state"
    yield f"  linux     {shown} shown, {otherwise} verified to do otherwise"
    for reader in ("endpoint", "teacher"):
        yield f"  {reader:<8}  {sum(getattr(one, reader) for one in rows)} of {len(rows)}"
    for reader in ("trace", "capture"):
        yield f"  {reader:<8}  {sum(getattr(one, reader) for one in moving)} of the {len(moving)} that change the state"
