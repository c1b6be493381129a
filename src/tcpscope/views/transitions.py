"""Transitions as lines of a table that never ends.

Widths are fixed, because the longest line is not known beforehand; a cell that is longer pushes the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from time import localtime, strftime

from tcpscope.model.address import Endpoint
from tcpscope.model.event import Event
from tcpscope.model.record import NamedTuple
from tcpscope.model.spelling import DIALECTS
from tcpscope.model.state import State
from tcpscope.model.transition import Transition
from tcpscope.views.row_table import escape, paint
from tcpscope.views.spelled import Spelled
from tcpscope.views.table import Column, render_table

_WIDTHS = (15, 11, 11, 8, 21, 21, 17)
_TITLES = ("TIME", "BEFORE", "AFTER", "IN STATE", "LOCAL", "REMOTE", "EVENT")
_RIGHT = 3
_EVENTS = {event: event.name.lower().replace("_", " ") for event in Event}


class TransitionStyle(NamedTuple):
    """How to spell: dialect of the states, with the namespace, in colour."""

    names: str = "netstat"
    netns: bool = False
    colour: bool = False


def header_line(style: TransitionStyle) -> str:
    """Return the header."""
    first = ["NETNS     "] if style.netns else []
    return " ".join([*first, *(_cell(index, title) for index, title in enumerate(_TITLES)), "PROGRAM"])


class TransitionTable:
    """Spells moves as lines. What many lines have in common (ends, states, program) is spelled once and kept."""

    def __init__(self, style: TransitionStyle) -> None:
        self._style = style
        self._second_ns, self._clock = 0, ""
        self._states = Spelled(lambda pair: " ".join(_state(state, style) for state in pair))
        self._flows = Spelled(lambda flow: f"{_end(flow.local):<21} {_end(flow.remote):<21}")
        self._events = Spelled(lambda event: f"{'' if event is None else _EVENTS[event]:<17}")
        self._programs = Spelled(lambda by: f"{escape(by.name or '?')}({by.pid})" if by else "-")

    def spell(self, moves: Iterable[Transition]) -> str:
        """Return a line for each move, in one piece."""
        states, flows, events, programs = self._states, self._flows, self._events, self._programs
        lines = []
        for move in moves:
            line = (
                f"{self._time(move.when_ns)} {states[move.before, move.after]} {spell_short(move.in_state_ns).rjust(8)}"
                f" {flows[move.flow]} {events[move.event]} {programs[move.by]}"
            )
            if self._style.netns:
                line = f"{move.netns:<10} {line}"
            if not move.legal or move.cause or move.certainty != "seen":
                line = f"{line}  {spell_remark(move)}"
            lines.append(line)
        return "\n".join((*lines, ""))

    def _time(self, when_ns: int) -> str:
        """``12:34:56.123456`` in local time."""
        rest_ns = when_ns - self._second_ns
        if not 0 <= rest_ns < 1_000_000_000:
            second, rest_ns = divmod(when_ns, 1_000_000_000)
            self._second_ns, self._clock = when_ns - rest_ns, strftime("%H:%M:%S", localtime(second))
        return f"{self._clock}.{str(rest_ns // 1000).zfill(6)}"


def spell_remark(move: Transition) -> str:
    """Return the marks: ``!`` no RFC 9293 row and no known deviation, ``~`` a named Linux deviation, ``?`` not seen."""
    parts = []
    if not move.legal:
        parts.append(f"~ {move.deviation}" if move.deviation else "! not in RFC 9293")
    if move.certainty != "seen":
        parts.append(f"? {move.certainty}")
    if move.cause:
        parts.append(f"({move.cause})")
    return " ".join(parts)


def spell_short(duration_ns: int | None) -> str:
    """``45us``, ``1.2ms``, ``12.0s``, ``3m05s``, ``4h10m``; ``-`` when unknown."""
    if duration_ns is None:
        return "-"
    if duration_ns < 1_000_000:
        return f"{duration_ns // 1000}us"
    if duration_ns < 1_000_000_000:
        return f"{duration_ns / 1e6:.1f}ms"
    seconds = duration_ns // 1_000_000_000
    if seconds < 60:
        return f"{duration_ns / 1e9:.1f}s"
    return f"{seconds // 60}m{seconds % 60:02}s" if seconds < 3600 else f"{seconds // 3600}h{seconds // 60 % 60:02}m"


def render_counts(counts: Mapping[tuple[State, State], int], names: str, sort: Sequence[State]) -> str:
    """Render how often each move was made, in the order of a connection's life."""
    order = {state: number for number, state in enumerate(sort)}
    rows = [
        (DIALECTS[names][before], DIALECTS[names][after], str(count))
        for (before, after), count in sorted(counts.items(), key=lambda item: (order[item[0][0]], order[item[0][1]]))
    ]
    columns = (Column("before", "BEFORE"), Column("after", "AFTER"), Column("count", "COUNT", 7, is_right=True))
    return render_table(columns, rows)


def _state(state: State, style: TransitionStyle) -> str:
    text = f"{DIALECTS[style.names][state]:<11}"
    return paint(text, state) if style.colour else text


def _cell(index: int, text: str) -> str:
    return f"{text:>{_WIDTHS[index]}}" if index == _RIGHT else f"{text:<{_WIDTHS[index]}}"


def _end(end: Endpoint) -> str:
    """Spell an end as its peer spells it: one that a dual-stack socket serves has its IPv4 address."""
    return str(end._replace(address=end.unmapped))
