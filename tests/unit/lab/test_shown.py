"""Expectations of scenes against sockets."""

import pytest

from tcpscope.lab.shown import Seen, describe, is_match
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner, Socket, Timer
from tcpscope.model.state import State

HERE, THERE = Endpoint("10.9.0.2", 10050), Endpoint("10.9.0.1", 40000)


def sock(state: State, recv_q: int = 0, send_q: int = 0, owner: str = "", timer: str = "") -> Socket:
    owners = (Owner(7, owner, 3),) if owner else ()
    return Socket("tcp", state, HERE, THERE, recv_q, send_q, owners=owners, timer=Timer(timer, 5) if timer else None)


def test_expectation_matches_exactly_its_sockets():
    shown = [sock(State.CLOSE_WAIT, 1, owner="server"), sock(State.LISTEN, owner="server")]
    expected = [Seen(State.LISTEN), Seen(State.CLOSE_WAIT, 1, 0, "server", "")]
    assert is_match(expected, shown)
    assert not is_match(expected[:1], shown), "a socket more than expected"
    assert not is_match([*expected, Seen(State.LISTEN)], shown), "a socket less than expected"


@pytest.mark.parametrize(
    "seen",
    [
        Seen(State.CLOSE_WAIT, 0),
        Seen(State.CLOSE_WAIT, 1, -1),
        Seen(State.CLOSE_WAIT, owner=""),
        Seen(State.CLOSE_WAIT, timer="timewait"),
        Seen(State.LAST_ACK),
    ],
    ids=str,
)
def test_expectation_does_not_match_another_socket(seen):
    assert not is_match([seen], [sock(State.CLOSE_WAIT, 1, owner="server")])


def test_narrow_expectation_is_served_before_a_wide_one():
    shown = [sock(State.ESTABLISHED, owner="server"), sock(State.ESTABLISHED)]
    assert is_match([Seen(State.ESTABLISHED), Seen(State.ESTABLISHED, owner="")], shown)
    assert is_match([Seen(State.ESTABLISHED, owner=""), Seen(State.ESTABLISHED)], shown)


def test_number_counts_alike_sockets():
    shown = [sock(State.TIME_WAIT, timer="timewait") for _ in range(3)]
    assert is_match([Seen(State.TIME_WAIT, number=3)], shown)
    assert not is_match([Seen(State.TIME_WAIT, number=2)], shown)
    assert describe(shown) == ("TIME_WAIT recv-q 0 send-q 0 timer timewait of no process x3",)
