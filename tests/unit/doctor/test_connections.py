"""A capture's connections as a snapshot: ages are exact, what timers have ended is gone, and the doctor judges the rest."""

from __future__ import annotations

from tcpscope.doctor import diagnose
from tcpscope.doctor.connections import snapshot_of_connections
from tcpscope.model.address import Endpoint, Flow
from tcpscope.model.connection import Connection, Direction
from tcpscope.model.event import Event
from tcpscope.model.state import State
from tcpscope.model.transition import Transition

SERVER = Endpoint("192.0.2.10", 8080)


def closed_by_client(number: int, at_s: int, end_s: int, client_state: State = State.FIN_WAIT_2) -> Connection:
    client = Endpoint("198.51.100.7", 40000 + number)
    flow = Flow(client, SERVER)
    rows = (
        Transition(flow, "client", State.ESTABLISHED, Event.CLOSE, State.FIN_WAIT_1, at_s * 10**9),
        Transition(flow, "server", State.ESTABLISHED, Event.FIN, State.CLOSE_WAIT, at_s * 10**9),
        Transition(flow, "client", State.FIN_WAIT_1, Event.ACK_OF_FIN, State.FIN_WAIT_2, at_s * 10**9),
    )
    return Connection(client, SERVER, 0, end_s * 10**9, client_state, State.CLOSE_WAIT, rows)


def test_a_capture_of_clients_that_closed_and_a_server_that_did_not_is_a_leak():
    snapshot = snapshot_of_connections([closed_by_client(i, 10, 100) for i in range(8)], "trace.pcap")
    assert {socket.state for socket in snapshot.sockets} == {State.CLOSE_WAIT}
    assert {socket.age.ms for socket in snapshot.sockets} == {90_000}
    (finding,) = [one for one in diagnose(snapshot) if one.id == "close-wait-leak"]
    assert "8 connections" in finding.title


def test_a_capture_that_ends_soon_after_shows_both_ends_and_no_leak():
    snapshot = snapshot_of_connections([closed_by_client(i, 10, 15) for i in range(8)])
    assert {socket.state for socket in snapshot.sockets} == {State.CLOSE_WAIT, State.FIN_WAIT_2}
    assert diagnose(snapshot) == []


def test_syns_repeated_in_a_capture_are_a_black_hole():
    hung = [
        Connection(
            Endpoint("192.0.2.1", 40000 + i),
            SERVER,
            0,
            9 * 10**9,
            State.SYN_SENT,
            State.LISTEN,
            (),
            Direction(4, retransmissions=3),
        )
        for i in range(3)
    ]
    assert "syn-sent-blackhole" in [finding.id for finding in diagnose(snapshot_of_connections(hung))]
    answered = [one._replace(to_server=Direction(1)) for one in hung]
    assert diagnose(snapshot_of_connections(answered)) == []


def test_time_wait_long_past_and_closed_ends_are_gone():
    old = closed_by_client(1, 10, 100, State.TIME_WAIT)._replace(server_state=State.CLOSED)
    rows = (*old.transitions, old.transitions[0]._replace(after=State.TIME_WAIT, when_ns=11 * 10**9))
    assert snapshot_of_connections([old._replace(transitions=rows)]).sockets == []
    assert snapshot_of_connections([]).taken_ns == 0
