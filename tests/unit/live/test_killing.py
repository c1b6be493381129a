"""Who is chosen, what stops the closing, and what it costs: not every peer gets a reset."""

import pytest

from tcpscope.kernel.ssh_session import SshSession, parse_session
from tcpscope.live import killing
from tcpscope.live.killing import REMARK, choose_victims, close_sockets, tell_price
from tcpscope.model.address import Endpoint
from tcpscope.model.errors import NotPermitted, TcpscopeError
from tcpscope.model.snapshot import Coverage
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


LISTENER = Socket("tcp", State.LISTEN, Endpoint("::", 80), Endpoint("::", 0), v6only=False)
OURS = Socket("tcp", State.ESTABLISHED, Endpoint("fe80::2", 22), Endpoint("fe80::1", 50000))
OTHER = in_state(State.ESTABLISHED)


@pytest.fixture
def sockets(monkeypatch):
    coverage = Coverage(notes=("2 sockets have no visible owner.",))
    monkeypatch.setattr(killing, "read_sockets", lambda **_: ([LISTENER, OURS, OTHER], coverage))


def test_listener_and_own_session_are_spared_aloud(sockets):
    choice = choose_victims(lambda _: True, own_session=parse_session("fe80::1%eth0 50000 fe80::2%eth0 22"))
    assert choice.victims == [OTHER]
    assert choice.spared[0].startswith("listener *:80 is left alone")
    assert choice.spared[1].endswith("this ssh session.")
    assert choice.coverage.notes == ("2 sockets have no visible owner.",)
    assert choose_victims(lambda _: True, with_listeners=True).victims == [LISTENER, OURS, OTHER]


@pytest.mark.parametrize("text", ["", "192.0.2.1 50000 192.0.2.2", "a b c d"])
def test_no_session_is_made_of_other_texts(text):
    assert parse_session(text) is None


def test_session_is_read_with_its_ports_as_numbers():
    assert parse_session("192.0.2.1 50000 192.0.2.2 22") == SshSession("192.0.2.1", 50000, "192.0.2.2", 22)


def refusing(monkeypatch, after):
    done = []

    def destroy(channel, victim):
        if len(done) == after:
            raise NotPermitted("closing sockets of others needs CAP_NET_ADMIN")
        done.append(victim)
        return "closed"

    monkeypatch.setattr(killing, "destroy_socket", destroy)


def test_refusal_midway_keeps_what_was_closed(monkeypatch):
    refusing(monkeypatch, 2)
    outcome = close_sockets([OTHER] * 3)
    assert (outcome.closed, outcome.gone) == ([OTHER, OTHER], [])
    assert isinstance(outcome.refusal, TcpscopeError)
    assert str(outcome.refusal).endswith("(after 2 of 3 were closed)")


def test_refusal_at_once_is_raised(monkeypatch):
    refusing(monkeypatch, 0)
    with pytest.raises(NotPermitted):
        close_sockets([OTHER] * 3)
