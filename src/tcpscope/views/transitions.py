"""Transitions as lines of a table that never ends, and as JSON objects.

Widths are fixed, because the longest line is not known beforehand; a cell that is longer pushes the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import localtime, strftime

from tcpscope.model.address import Endpoint
from tcpscope.model.event import Event
from tcpscope.model.record import NamedTuple
from tcpscope.model.spelling import DIALECTS, IDENTIFIERS
from tcpscope.model.state import State
from tcpscope.model.transition import Transition
from tcpscope.views.row_table import escape
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


def transition_line(move: Transition, style: TransitionStyle, previous_second: dict[int, str] | None = None) -> str:
    """Return one line. ``previous_second`` is a cache of spelled seconds that the caller keeps."""
    # Why one expression: this line is most of what a printed transition costs
    names, flow = DIALECTS[style.names], move.flow
    program = f"{escape(move.by.name)}({move.by.pid})" if move.by else "-"
    event = "" if move.event is None else _EVENTS[move.event]
    line = (
        f"{spell_time(move.when_ns, previous_second):<15} {names[move.before]:<11} {names[move.after]:<11}"
        f" {spell_short(move.in_state_ns):>8} {_end(flow.local):<21} {_end(flow.remote):<21} {event:<17} {program}"
    )
    if style.netns:
        line = f"{move.netns:<10} {line}"
    if move.legal and not move.cause and move.certainty == "seen":
        return line
    return f"{line}  {spell_remark(move)}"


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


def spell_time(when_ns: int, known: dict[int, str] | None = None) -> str:
    """``12:34:56.123456`` in local time."""
    second, rest = divmod(when_ns, 1_000_000_000)
    text = known.get(second) if known is not None else None
    if text is None:
        text = strftime("%H:%M:%S", localtime(second))
        if known is not None:
            known.clear()
            known[second] = text
    return f"{text}.{rest // 1000:06}"


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


def transition_object(move: Transition) -> dict[str, object]:
    """Return the JSON object of a transition (states by their RFC names with underscores)."""
    by = move.by
    found: dict[str, object] = {
        "t_ns": move.when_ns,
        "local": {"address": move.flow.local.address, "port": move.flow.local.port},
        "remote": {"address": move.flow.remote.address, "port": move.flow.remote.port},
        "before": IDENTIFIERS[move.before],
        "after": IDENTIFIERS[move.after],
        "event": None if move.event is None else move.event.name,
        "process": None if by is None else {"pid": by.pid, "name": by.name, "fd": None if by.fd < 0 else by.fd},
        "in_state_ms": None if move.in_state_ns is None else move.in_state_ns / 1e6,
        "source": move.source,
        "certainty": move.certainty,
        "legal": move.legal,
        "deviation": move.deviation or None,
        "cause": move.cause or None,
        "netns": move.netns,
    }
    if move.earliest_ns is not None or move.latest_ns is not None:
        found["earliest_ns"], found["latest_ns"] = move.earliest_ns, move.latest_ns
    return found


def render_counts(counts: Mapping[tuple[State, State], int], names: str, sort: Sequence[State]) -> str:
    """Render how often each move was made, in the order of a connection's life."""
    order = {state: number for number, state in enumerate(sort)}
    rows = [
        (DIALECTS[names][before], DIALECTS[names][after], str(count))
        for (before, after), count in sorted(counts.items(), key=lambda item: (order[item[0][0]], order[item[0][1]]))
    ]
    columns = (Column("before", "BEFORE"), Column("after", "AFTER"), Column("count", "COUNT", 7, is_right=True))
    return render_table(columns, rows)


def _cell(index: int, text: str) -> str:
    return f"{text:>{_WIDTHS[index]}}" if index == _RIGHT else f"{text:<{_WIDTHS[index]}}"


def _end(end: Endpoint) -> str:
    address, port = end
    if ":" in address:
        address = f"[{address}]"
    return f"{address}:{port or '*'}"
