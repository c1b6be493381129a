"""The program column says why nobody holds a socket, in the words the model has for it."""

import pytest

from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Socket
from tcpscope.model.state import State
from tcpscope.views.row_table import TCP, UDP, escape, spell_program


def spelled(state, inode=0, held=None, proto=TCP):
    return spell_program(proto, int(state), inode, held, {10: "nginx", 20: "a\x1b[2Jb\n"})


@pytest.mark.parametrize("state", list(State))
def test_nobody_is_spelled_as_the_model_judges(state):
    kind = "request" if state == State.SYN_RECEIVED else "mini" if state in (5, 6) else "full"
    socket = Socket("tcp", state, Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2), kind=kind)
    said = spelled(state)
    assert (said == "(not accepted)") == socket.is_unaccepted
    assert (said == "(orphan)") == socket.is_orphan
    assert (said == "(handshake)") == (kind == "request")
    assert (said == "(time-wait)") == (state == State.TIME_WAIT)


def test_holder_that_cannot_be_seen_is_a_dash():
    assert spelled(State.ESTABLISHED, inode=7) == "-"
    assert spelled(State.CLOSED, proto=UDP) == "-"


def test_all_holders_once_each_in_order_and_harmless():
    assert spelled(State.LISTEN, 7, [(20, 3), (10, 4), (10, 5), (30, 1)]) == r"10/nginx,20/a\x1b[2Jb\n,30/"


@pytest.mark.parametrize(
    ("name", "harmless"), [("tmux: server", "tmux: server"), ("é", "é"), ("\x07", r"\x07"), ("\u202e", r"\u202e")]
)
def test_only_what_a_terminal_would_obey_is_escaped(name, harmless):
    assert escape(name) == harmless
