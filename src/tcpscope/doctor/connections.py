"""A capture as a snapshot: both ends of each connection as they stood when the capture ended.

What a capture does not show is left out: processes, settings, counters, queues, ``tcp_info``. An end whose state only a
timer ends (TIME_WAIT, an orphan's FIN_WAIT_2) is left out when the capture went on for longer than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tcpscope.model.address import Endpoint
from tcpscope.model.connection import Connection
from tcpscope.model.snapshot import Coverage, Host, Snapshot
from tcpscope.model.socket import Age, Socket, Timer
from tcpscope.model.state import State

_TIMED_MS = {State.TIME_WAIT: 60_000, State.FIN_WAIT_2: 60_000}


def snapshot_of_connections(connections: Iterable[Connection], name: str = "capture") -> Snapshot:
    """Make the snapshot of the moment the last packet was captured."""
    known = list(connections)
    end_ns = max((connection.end_ns for connection in known), default=0)
    sockets = [socket for connection in known for socket in _ends(connection, end_ns)]
    note = f"{name}: states as packets show them; what a program did and did not send cannot be told apart from loss."
    return Snapshot(
        end_ns, sockets, host=Host(name, system=""), coverage=Coverage("capture", "capture", "none", notes=(note,))
    )


def _ends(connection: Connection, end_ns: int) -> Iterator[Socket]:
    ends = (
        ("client", connection.client_state, connection.client, connection.server, connection.to_server.retransmissions),
        ("server", connection.server_state, connection.server, connection.client, connection.to_client.retransmissions),
    )
    for end, state, local, remote, repeats in ends:
        if state in (State.CLOSED, State.LISTEN):
            continue
        age_ms = _age_ms(connection, end, state, end_ns)
        if age_ms <= _TIMED_MS.get(state, age_ms):
            yield _socket(state, local, remote, age_ms, repeats)


def _age_ms(connection: Connection, end: str, state: State, end_ns: int) -> int:
    entered = [row.when_ns for row in connection.transitions if row.end == end and row.after == state]
    return max(0, end_ns - (entered[-1] if entered else connection.start_ns)) // 1_000_000


def _socket(state: State, local: Endpoint, remote: Endpoint, age_ms: int, repeats: int) -> Socket:
    is_request = state == State.SYN_RECEIVED
    # Why: in these two states all an end sends is its SYN (and ACK), so what was repeated is that.
    is_opening = is_request or state == State.SYN_SENT
    timer = Timer("on", 0, repeats) if is_opening and repeats else None
    kind = "request" if is_request else "mini" if state == State.TIME_WAIT else "full"
    return Socket("tcp", state, local, remote, timer=timer, age=Age(age_ms, "exact"), kind=kind)
