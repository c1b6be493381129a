"""What ``ss`` would have shown at both ends at one instant of a capture.

An end whose transition *can* have happened before or after that instant is marked ``?``; the other possibility is
written behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tcpscope.model.connection import Connection
from tcpscope.model.record import NamedTuple
from tcpscope.model.socket import Socket
from tcpscope.model.spelling import DIALECTS, IDENTIFIERS
from tcpscope.model.state import State
from tcpscope.views.packet_ladder import initial_state
from tcpscope.views.table import Column, render_table

_NOWHERE = (State.CLOSED, State.LISTEN)
_COLUMNS = (
    Column("state", "State", 11),
    Column("local", "Local Address:Port", 23),
    Column("peer", "Peer Address:Port", 23),
    Column("end", "End"),
    Column("age", "For ms", is_right=True),
    Column("doubt", "Or"),
)


class EndAt(NamedTuple):
    """One end at one instant. ``age_ms`` in that state; ``or_state``: what it can have been as well."""

    connection: Connection
    end: str
    state: State
    age_ms: float | None
    or_state: State | None


def iter_states_at(connections: Iterable[Connection], at_ns: int) -> Iterator[EndAt]:
    """Yield both ends of every connection that had a socket at ``at_ns``."""
    for connection in connections:
        for end in ("client", "server"):
            found = _state_at(connection, end, at_ns)
            if found.state not in _NOWHERE or (found.or_state is not None and found.or_state not in _NOWHERE):
                yield found


def _state_at(connection: Connection, end: str, at_ns: int) -> EndAt:
    state, since, other = initial_state(connection, end), None, None
    moves = [move for move in connection.transitions if move.end == end]
    if not moves and not connection.start_ns <= at_ns <= connection.end_ns:
        return EndAt(connection, end, State.CLOSED, None, None)
    for move in moves:
        earliest = move.when_ns if move.earliest_ns is None else move.earliest_ns
        latest = move.when_ns if move.latest_ns is None else move.latest_ns
        if move.when_ns <= at_ns:
            state, since = move.after, move.when_ns
            other = move.before if at_ns < latest else None
        else:
            if earliest <= at_ns and other is None:
                other = move.after
            break
    return EndAt(connection, end, state, None if since is None else (at_ns - since) / 1e6, other)


def render_states_at(ends: Iterable[EndAt], names: str = "ss", *, header: bool = True) -> str:
    """Render as ``ss`` lists sockets."""
    spelled = DIALECTS[names]
    rows = []
    for found in ends:
        local, peer = found.connection.client, found.connection.server
        if found.end == "server":
            local, peer = peer, local
        doubt = "" if found.or_state is None else f"? {spelled[found.or_state]}"
        age = "" if found.age_ms is None else f"{found.age_ms:.3f}"
        rows.append([spelled[found.state], str(local), str(peer), found.end, age, doubt])
    return render_table(_COLUMNS, rows, header=header)


def socket_at(found: EndAt) -> Socket:
    """Return one end as the socket that ``ss`` would have shown."""
    local, peer = found.connection.client, found.connection.server
    if found.end == "server":
        local, peer = peer, local
    return Socket("tcp", found.state, local, peer)


def end_object(found: EndAt) -> dict[str, object]:
    """Return one end as JSON."""
    local, peer = found.connection.client, found.connection.server
    if found.end == "server":
        local, peer = peer, local
    return {
        "state": IDENTIFIERS[found.state],
        "or_state": None if found.or_state is None else IDENTIFIERS[found.or_state],
        "local": local._asdict(),
        "remote": peer._asdict(),
        "end": found.end,
        "in_state_ms": found.age_ms,
        "connection": found.connection.number,
    }
