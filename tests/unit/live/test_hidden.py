"""Descriptors without a listed socket: what lasts is hidden, what came or went meanwhile is not."""

import pytest

from tcpscope.live import hidden
from tcpscope.model.address import Endpoint
from tcpscope.model.snapshot import Process
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

OLD, YOUNG, GOING, LISTED = range(100, 120), range(200, 220), range(300, 320), range(400, 420)


class Again:
    """The second listing: connections that were accepted after the first one are in it."""

    def rows(self):
        return [(0,) * 15 + (inode,) for inode in (*YOUNG, *LISTED)]


@pytest.fixture
def second_look(monkeypatch):
    asked = []
    monkeypatch.setattr(hidden, "read_listing", lambda **_: asked.append(1) or Again())
    monkeypatch.setattr(hidden, "read_other_inodes", lambda: frozenset((7,)))
    monkeypatch.setattr(hidden, "read_process", lambda pid: Process(pid, "srv", socket_inodes=(*OLD, *YOUNG, *LISTED)))
    return asked


def listed(inode):
    return Socket("tcp", State.ESTABLISHED, Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2), inode=inode)


def test_only_descriptors_that_last_and_are_in_neither_listing_remain(second_look):
    process = Process(5, "srv", socket_inodes=(*OLD, *YOUNG, *GOING, *LISTED), netns=9)
    kept = hidden.drop_fleeting({5: process}, map(listed, LISTED), {7}, None, 9)
    assert kept[5].socket_inodes == (*OLD, *LISTED)


def test_a_process_without_unlisted_descriptors_costs_no_second_listing(second_look):
    process = Process(5, "srv", socket_inodes=(*LISTED, *OLD[:5]), netns=9)
    assert hidden.drop_fleeting({5: process}, map(listed, LISTED), set(), None, 9) == {5: process}
    stranger = Process(6, "srv", socket_inodes=tuple(OLD), netns=8)
    assert hidden.drop_fleeting({6: stranger}, [], set(), None, 9) == {6: stranger}
    assert not second_look
