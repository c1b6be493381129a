"""``Rung``: one line of a ladder, two ends with their states and what went between them."""

from __future__ import annotations

from tcpscope.model.record import NamedTuple

#: Where a rung's text goes: along an arrow to either end, or nowhere (a call, a timer) at one end.
TO_RIGHT, TO_LEFT, AT_LEFT, AT_RIGHT = ">", "<", "l", "r"


class Rung(NamedTuple):
    """One line. ``left`` and ``right`` are the states *after* it as they are to be spelled, empty: unchanged.

    ``towards`` is :data:`TO_RIGHT`, :data:`TO_LEFT`, :data:`AT_LEFT` or :data:`AT_RIGHT`.
    """

    time: str
    left: str
    right: str
    text: str
    towards: str = AT_LEFT
    note: str = ""
