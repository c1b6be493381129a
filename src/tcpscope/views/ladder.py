"""A two-column ladder: two ends with their states, and what went between them, one rung per line.

Draws plain words and knows nothing of where they come from: a live trace, a capture, a scene. A rung is a time, the
state of either end *after* it (empty: unchanged), a text, and the end the text travels to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tcpscope.model.record import NamedTuple

#: Where a rung's text goes: along an arrow to either end, or nowhere (a call, a timer) at one end.
TO_RIGHT, TO_LEFT, AT_LEFT, AT_RIGHT = ">", "<", "l", "r"

_TIME, _STATE, _MIDDLE = 12, 11, 30


class Rung(NamedTuple):
    """One line. ``towards`` is :data:`TO_RIGHT`, :data:`TO_LEFT`, :data:`AT_LEFT` or :data:`AT_RIGHT`."""

    time: str
    left: str
    right: str
    text: str
    towards: str = AT_LEFT
    note: str = ""


def draw_head(left: str, right: str) -> Iterator[str]:
    """Draw who stands left and right."""
    gap = _STATE + _MIDDLE + 2
    yield f"{'':{_TIME}}  {left:<{gap}}{right}".rstrip()


def draw_rungs(rungs: Iterable[Rung]) -> Iterator[str]:
    """Draw rung by rung, so that a live ladder grows line by line."""
    for rung in rungs:
        middle = _draw_middle(rung.text, rung.towards)
        note = f"  {rung.note}" if rung.note else ""
        yield f"{rung.time:>{_TIME}}  {rung.left:<{_STATE}} {middle} {rung.right:<{_STATE}}{note}".rstrip()


def _draw_middle(text: str, towards: str) -> str:
    if towards == AT_LEFT:
        return f"{text:<{_MIDDLE}}"
    if towards == AT_RIGHT:
        return f"{text:>{_MIDDLE}}"
    shaft = f" {text} ".center(_MIDDLE - 2, "─")
    return f"{shaft}─▶" if towards == TO_RIGHT else f"◀─{shaft}"
