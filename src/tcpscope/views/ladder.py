"""The ladder: two ends with their states, and what went between them, one rung per line.

Draws :class:`~tcpscope.model.rung.Rung` and knows nothing of where they come from: a live trace, a capture, a scene, a
simulation. The same as a picture: :mod:`tcpscope.views.ladder_svg`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tcpscope.model.record import NamedTuple
from tcpscope.model.rung import AT_LEFT, AT_RIGHT, TO_RIGHT, Rung


class Shape(NamedTuple):
    """Widths in letters."""

    time: int = 12
    state: int = 11
    middle: int = 30


USUAL = Shape()
#: For rungs with sequence numbers, and states with marks of how they are known.
WIDE = Shape(state=14, middle=38)


def draw_head(left: str, right: str, shape: Shape = USUAL) -> Iterator[str]:
    """Draw who stands left and right."""
    gap = shape.state + shape.middle + 2
    yield f"{'':{shape.time}}  {left:<{gap}}{right}".rstrip()


def draw_rungs(rungs: Iterable[Rung], shape: Shape = USUAL) -> Iterator[str]:
    """Draw rung by rung, so that a live ladder grows line by line."""
    for rung in rungs:
        middle = _draw_middle(rung.text, rung.towards, shape.middle)
        ends = f"{rung.left:<{shape.state}} {middle} {rung.right:<{shape.state}}"
        note = f"  {rung.note}" if rung.note else ""
        yield f"{rung.time:>{shape.time}}  {ends}{note}".rstrip()


def _draw_middle(text: str, towards: str, width: int) -> str:
    if towards == AT_LEFT:
        return f"{text:<{width}}"
    if towards == AT_RIGHT:
        return f"{text:>{width}}"
    shaft = f" {text} ".center(width - 2, "─")
    return f"{shaft}─▶" if towards == TO_RIGHT else f"◀─{shaft}"
