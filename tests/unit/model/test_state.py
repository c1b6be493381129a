"""Every spelling of every state, and the border to the kernel's numbers."""

import pytest

from tcpscope.model.spelling import ALIASES, DIALECTS, IDENTIFIERS
from tcpscope.model.state import State


def test_states_are_the_eleven_with_linux_numbers():
    assert [state.name for state in State] == list(IDENTIFIERS[1:])
    assert len(State) == 11
    assert (State.ESTABLISHED, State.LISTEN, State.CLOSING) == (1, 10, 11)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_parse_reads_what_spell_writes(dialect):
    for state in State:
        spelled = state.spell(dialect)
        for variant in (spelled, spelled.lower(), spelled.replace("-", "_"), spelled.replace("_", "-")):
            assert State.parse(variant) is state


@pytest.mark.parametrize("alias", ALIASES)
def test_parse_reads_aliases(alias):
    assert State.parse(alias).name == ALIASES[alias]


@pytest.mark.parametrize("text", ["UNKNOWN", "", "SYN", "FIN_WAIT", "FIN_WAIT_3", "0A"])
def test_parse_refuses_what_is_no_state(text):
    with pytest.raises(ValueError, match="no TCP state; known: ESTABLISHED"):
        State.parse(text)


def test_kernel_extra_numbers_do_not_leak():
    assert State.from_kernel(12) is State.SYN_RECEIVED
    assert State.from_kernel(13) is State.CLOSED
    with pytest.raises(ValueError):
        State.from_kernel(14)


def test_orphans_are_what_the_kernel_finishes_alone():
    from tcpscope.model.address import Endpoint
    from tcpscope.model.socket import Owner, Socket

    here, there = Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 4000)
    for state in State:
        socket = Socket("tcp", state, here, there)
        closing = state in (State.FIN_WAIT_1, State.FIN_WAIT_2, State.LAST_ACK, State.CLOSING)
        assert socket.is_orphan is closing
        assert not socket._replace(inode=7).is_orphan
        assert not socket._replace(inode=-1).is_orphan  # the source does not tell
        assert not socket._replace(owners=(Owner(1, "x"),)).is_orphan
