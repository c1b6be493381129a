"""Lean words of a crowd tell what whole words tell."""

from __future__ import annotations

import copy
import pickle
import socket
from contextlib import ExitStack

from tcpscope.kernel import sock_diag
from tcpscope.live.crowd import DeferredSockets, LazyTcpInfo, build_crowd
from tcpscope.live.listing import read_listing
from tcpscope.live.sockets import build_sockets
from tcpscope.model.socket import TcpInfo
from tcpscope.model.state import State


def pairs(stack: ExitStack, family: int, host: str, number: int) -> None:
    server = stack.enter_context(socket.create_server((host, 0), family=family, backlog=number))
    for index in range(number):
        near = stack.enter_context(socket.create_connection(server.getsockname()[:2]))
        far = stack.enter_context(server.accept()[0])
        near.send(b"x" * (index + 1))
        far.recv(100)
        if index % 2:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def test_lean_words_agree_with_whole_words_field_by_field():
    with ExitStack() as stack:
        pairs(stack, socket.AF_INET, "127.0.0.1", 4)
        pairs(stack, socket.AF_INET6, "::1", 4)
        listing = read_listing(udp=0, extensions=sock_diag.DETAIL)
        rows = listing.rows()
        listing.find_owners({row[15] for row in rows if row[15]})
        whole = {one.cookie: one for one in build_sockets(listing)}
        lean = build_crowd(listing, rows, 4)
    assert len(lean) == len(whole)
    quiet = [one for one in lean if isinstance(one.tcp_info, LazyTcpInfo)]
    assert len(quiet) >= 12  # the first of each layout is parsed whole
    left_out = ("memory", "congestion", "cgroup", "mark", "shutdown", "age", "v6only")
    for one in lean:
        same = whole[one.cookie]
        for field in set(one._fields) - {*left_out, "tcp_info"}:
            assert getattr(one, field) == getattr(same, field), field
        assert (one.tcp_info is None) == (same.tcp_info is None)
        for field in TcpInfo._fields if one.tcp_info and same.tcp_info else ():
            assert getattr(one.tcp_info, field) == getattr(same.tcp_info, field), field


def test_a_lazy_tcp_info_is_equal_to_and_spelled_as_the_word_itself():
    with ExitStack() as stack:
        pairs(stack, socket.AF_INET, "127.0.0.1", 1)
        listing = read_listing(udp=0, extensions=sock_diag.DETAIL)
        lazy = next(
            one.tcp_info for one in build_crowd(listing, listing.rows(), 4) if isinstance(one.tcp_info, LazyTcpInfo)
        )
    whole = lazy.whole()
    assert type(whole) is TcpInfo
    assert lazy == whole
    assert lazy._asdict() == whole._asdict()
    assert repr(lazy) == repr(whole)
    assert lazy._replace(rtt_us=5) == whole._replace(rtt_us=5)
    assert pickle.loads(pickle.dumps(lazy)) == whole
    assert copy.copy(lazy) == whole
    assert hash(lazy) == hash(whole)


def test_a_shorter_tcp_info_of_an_old_kernel_has_no_late_fields():
    old = tuple.__new__(LazyTcpInfo, (bytes(104), 0, 104))
    assert old.last_ack_recv_ms == 0
    assert old.segs_in is None
    assert old.bytes_retrans is None
    assert old.rtt_us == 0


def test_deferred_sockets_are_made_once_and_only_when_asked_for():
    calls = []
    deferred = DeferredSockets(lambda: calls.append(1) or [State.LISTEN])  # type: ignore[func-returns-value,list-item]
    assert calls == []
    assert len(deferred) == 1
    assert list(deferred) == [deferred[0]]
    assert calls == [1]
