"""The verbs of Python that look for a while, at another namespace than the caller's."""

import os
import socket

import pytest
from tests.patience import wait_until

import tcpscope
from tcpscope.kernel.namespace import NetworkNamespace
from tcpscope.kernel.namespaces import own_inode
from tcpscope.model.errors import UsageError

pytestmark = pytest.mark.root


@pytest.fixture
def elsewhere():
    space = NetworkNamespace.create()
    yield space
    space.close()


def listen_in(space):
    with space.entered():
        return socket.create_server(("0.0.0.0", 0))


@pytest.mark.parametrize("tier", ["A", "C"])
def test_trace_follows_a_namespace_from_outside(elsewhere, tier):
    home = own_inode()
    with tcpscope.trace(elsewhere.path, tier=tier) as feed, listen_in(elsewhere):
        moves = []

        def is_told():
            moves.extend(feed.read_transitions(0.2))
            assert own_inode() == home
            return any(move.after.name == "LISTEN" for move in moves)

        wait_until(is_told, "the listener")
        assert feed.netns == elsewhere.inode
    assert {move.netns for move in moves} == {elsewhere.inode}


def test_trace_of_a_namespace_there_is_not_opens_nothing():
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(UsageError, match="no network namespace"):
        tcpscope.trace("nowhere-at-all")
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_stats_counts_in_another_namespace(elsewhere):
    home = own_inode()
    with listen_in(elsewhere):
        intervals = tcpscope.stats(0.01, netns=elsewhere.path)
        assert next(intervals).sock["tcpsck"] == 1
        assert own_inode() == home
        intervals.close()
