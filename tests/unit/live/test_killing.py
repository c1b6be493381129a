"""What closing from outside costs depends on the state: not every peer gets a reset."""

import pytest

from tcpscope.live.killing import REMARK, tell_price
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Socket
from tcpscope.model.state import State


def in_state(state, kind="full"):
    return Socket("tcp", state, Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 2), kind=kind)


@pytest.mark.parametrize("state", [State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT_1, State.FIN_WAIT_2])
def test_peers_that_get_a_reset(state):
    assert tell_price([in_state(state)]) == REMARK


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (State.TIME_WAIT, "mini"),
        (State.FIN_WAIT_2, "mini"),
        (State.SYN_RECEIVED, "request"),
        (State.SYN_SENT, "full"),
        (State.CLOSING, "full"),
        (State.LAST_ACK, "full"),
    ],
)
def test_peers_that_are_told_nothing(state, kind):
    assert tell_price([in_state(state, kind)]).startswith("No peer is told")
    mixed = tell_price([in_state(state, kind), in_state(State.ESTABLISHED)])
    assert mixed == f"{REMARK} The peers of 1 of them are not told."
