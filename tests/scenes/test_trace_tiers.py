"""The tiers below BPF on a real kernel, chosen because something is missing, and what they honestly say."""

import errno
import os
import socket
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from tests.patience import (
    PATIENCE_S,
    in_its_own_namespace,
    lonely_address,
    states_of_tcp,
    wait_until,
    wait_until_settled,
)

from tcpscope.kernel import perf, tracefs
from tcpscope.kernel.bpf import layout, syscall, tcp_tracer
from tcpscope.kernel.namespace import NetworkNamespace
from tcpscope.kernel.rtnetlink import RouteSocket
from tcpscope.live import trace, trace_poll
from tcpscope.live.trace import open_trace
from tcpscope.model.errors import NotPermitted, Unsupported
from tcpscope.model.event import Event
from tcpscope.model.state import State

pytestmark = pytest.mark.root
S = State


@pytest.fixture
def inside():
    """The calling thread in a namespace of its own: tier C looks where it stands."""
    space = NetworkNamespace.create()
    with space.entered(), RouteSocket() as route:
        route.set_up("lo")
        yield space
    space.close()


def connect_and_close(number, listener):
    for _ in range(number):
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        client.close()
        server.recv(1)
        server.close()


def refuse(number):
    def bpf(command, attributes):
        raise OSError(number, os.strerror(number))

    return bpf


def test_kernel_without_btf_falls_back_to_perf_and_says_so(inside, monkeypatch, tmp_path):
    monkeypatch.setattr(tcp_tracer, "read_layout", partial(layout.read_layout, btf_path=str(tmp_path / "vmlinux")))
    with open_trace() as feed:
        assert feed.tier == "B"
        assert "CONFIG_DEBUG_INFO_BTF" in feed.reason


@pytest.mark.parametrize(("number", "said"), [(errno.EPERM, "CAP_BPF"), (errno.ENOSYS, "no bpf(2)")])
def test_refused_bpf_falls_back_to_perf_and_says_so(inside, monkeypatch, number, said):
    monkeypatch.setattr(syscall, "bpf", refuse(number))
    with open_trace() as feed:
        assert feed.tier == "B"
        assert said in feed.reason
        assert not feed.tells_namespaces


def test_no_bpf_and_no_tracefs_falls_back_to_polling_and_says_both(inside, monkeypatch):
    monkeypatch.setattr(syscall, "bpf", refuse(errno.ENOSYS))
    monkeypatch.setattr(
        tracefs, "open_tracefs", lambda: (_ for _ in ()).throw(Unsupported("this kernel has no tracefs"))
    )
    with open_trace() as feed:
        assert feed.tier == "C"
        assert "no tier A" in feed.reason and "no tier B: this kernel has no tracefs" in feed.reason


def test_no_tier_at_all_names_every_reason():
    def denied(netns, details):
        raise NotPermitted("CAP_EVERYTHING is missing")

    with pytest.raises(NotPermitted, match=r"no tier A: CAP_EVERYTHING.*no tier C"):
        open_trace(openers=dict.fromkeys(trace.TIERS, denied))


def test_kernel_without_some_tracepoints_still_traces_and_names_what_is_unseen(inside):
    poor = dict(layout.read_layout("trace", tcp_tracer.NAMES))
    for name in ("timer_start", "timer_cancel", "timer_expire_entry", "tcp_send_reset"):
        poor[f"tracepoint {name}"] = layout.ABSENT
    tracer = tcp_tracer.TcpTracer(inside.inode, layout=poor)
    assert [clause.partition(" (")[0] for clause in tracer.missing] == [
        "births of SYN_RECEIVED and TIME_WAIT",
        "early ends of SYN_RECEIVED and TIME_WAIT",
        "timed-out ends of SYN_RECEIVED and TIME_WAIT",
        "why a reset was sent",
    ]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connect_and_close(1, listener)
    assert tracer.read(1.0)
    tracer.close()


def test_old_layout_reads_the_inode_through_the_socket(inside):
    """Linux before 6.17 has no sk_ino: the way leads through struct socket_alloc, also found by name."""
    old = dict(layout.read_layout("trace", tcp_tracer.NAMES))
    old["bit sock.sk_ino"] = layout.ABSENT
    from tcpscope.live.trace_record import iter_events

    tracer = tcp_tracer.TcpTracer(inside.inode, layout=old)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        inode = os.fstat(listener.fileno()).st_ino
        assert inode in {event.inode for event in iter_events(tracer.read(1.0))}
    tracer.close()


def test_essential_tracepoint_missing_is_unsupported():
    poor = dict(layout.read_layout("trace", tcp_tracer.NAMES))
    poor["tracepoint inet_sock_set_state"] = layout.ABSENT
    with pytest.raises(Unsupported, match="inet_sock_set_state"):
        tcp_tracer.TcpTracer(None, layout=poor)


def collect(feed, enough, address=""):
    """Read moves until ``enough(moves)``; with ``address``, only those of its connections."""
    moves, deadline = [], time.monotonic() + PATIENCE_S
    while not enough(moves):
        assert time.monotonic() < deadline, f"waited in vain; lost {feed.read_lost()}, came {[str(m) for m in moves]}"
        moves += [move for move in feed.read_transitions(0.5) if is_of(move, address)]
    return moves + [move for move in feed.read_rest() if is_of(move, address)]


def is_of(move, address):
    return not address or address in (move.flow.local.address, move.flow.remote.address)


def collect_with_perf(work, address):
    """Return the moves of ``address`` that ``work(listener)`` makes; a second listener there marks their end."""
    with open_trace(tier="B") as feed:
        with socket.create_server((address, 0)) as listener:
            work(listener)
            wait_until_settled()
        with socket.create_server((address, 0)) as mark:
            port = mark.getsockname()[1]
        moves = collect(feed, lambda moves: any(move.flow.local.port == port for move in moves), address)
        assert feed.read_lost() == 0, "others keep this machine busier than the rings can hold"
    return [move for move in moves if S.LISTEN not in (move.before, move.after)]


@in_its_own_namespace
def test_perf_counts_completed_connections_exactly(netns):
    number = 1000
    netns.write_sysctl("net.ipv4.tcp_tw_reuse", 0)
    with netns.entered():
        moves = collect_with_perf(lambda listener: connect_and_close(number, listener), lonely_address())
    by_call = [(S.CLOSED, S.SYN_SENT), (S.ESTABLISHED, S.FIN_WAIT_1), (S.CLOSE_WAIT, S.LAST_ACK)]
    by_segment = [
        (S.SYN_SENT, S.ESTABLISHED),
        (S.SYN_RECEIVED, S.ESTABLISHED),
        (S.ESTABLISHED, S.CLOSE_WAIT),
        (S.FIN_WAIT_1, S.FIN_WAIT_2),
        (S.FIN_WAIT_2, S.TIME_WAIT),
        (S.LAST_ACK, S.CLOSED),
    ]
    assert Counter((move.before, move.after) for move in moves) == dict.fromkeys(by_call + by_segment, number)
    assert {move.certainty for move in moves if move.after is S.TIME_WAIT} == {"inferred"}
    assert {move.source for move in moves} == {"perf", "poll"}


@in_its_own_namespace
def test_perf_tells_an_orphan_that_waits_from_time_wait(netns):
    netns.write_sysctl("net.ipv4.tcp_fin_timeout", 1)
    ports = []

    def leave_an_orphan(listener):
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        ports.append(client.getsockname()[1])
        client.close()
        wait_until(lambda: S.FIN_WAIT_2 in states_of_tcp(), "FIN_WAIT_2")
        wait_until(lambda: S.FIN_WAIT_2 not in states_of_tcp(), "its end")
        server.close()

    began = time.monotonic()
    with netns.entered():
        moves = collect_with_perf(leave_an_orphan, lonely_address())
    ends = [move for move in moves if move.before is S.FIN_WAIT_2]
    assert [(move.flow.local.port, move.event, move.after) for move in ends] == [
        (ports[0], Event.FIN_WAIT_2_TIMEOUT, S.CLOSED)
    ]
    assert 0.9 < ends[0].in_state_ns / 1e9 < time.monotonic() - began


def test_tracefs_is_reached_without_any_mount_in_sight():
    before = Path("/proc/self/mountinfo").read_text()
    root = tracefs.open_tracefs(mounted=())
    try:
        found = tracefs.read_format(root, "sock/inet_sock_set_state")
    finally:
        os.close(root)
    assert found.id > 0
    assert found.fields["skaddr"] == (8, 8), "the first field after the common ones"
    assert Path("/proc/self/mountinfo").read_text() == before


def test_polling_sees_states_and_marks_what_it_did_not_see(inside):
    """It looks when it is read, and nothing is on its way then: what lies between two looks is known here."""
    with open_trace(tier="C") as feed:
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        moves = collect(feed, lambda moves: len(moves) == 3)
        client.close()
        wait_until_settled()
        moves += collect(feed, lambda moves: len(moves) == 2)
        server.close()
        wait_until_settled()
        moves += collect(feed, lambda moves: len(moves) == 2)
        listener.close()
    client_moves = [move for move in moves if move.flow.remote.port == listener_port(moves)]
    assert [(move.before, move.after) for move in client_moves] == [
        (S.CLOSED, S.ESTABLISHED),
        (S.ESTABLISHED, S.FIN_WAIT_2),
        (S.FIN_WAIT_2, S.TIME_WAIT),
    ]
    assert [bool(move.cause) for move in client_moves] == [True, True, False]
    assert {move.certainty for move in moves} == {"inferred"}
    assert all(move.earliest_ns <= move.when_ns <= move.latest_ns for move in moves)
    assert all(move.legal for move in moves)


def listener_port(moves):
    return next(move.flow.local.port for move in moves if move.after is S.LISTEN)


def test_polling_counts_lives_it_missed_as_lost(inside):
    with open_trace(tier="C") as feed:
        feed.read_transitions(0.0)
        listener = socket.create_server(("127.0.0.1", 0))
        linger = (1).to_bytes(4, "little") * 1 + bytes(4)
        for _ in range(20):
            client = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.close()
            server.close()
        listener.close()
        moves = collect(feed, lambda moves: feed.read_lost() >= 41)  # the kernel announces ends a little later
        assert not any(move.after is S.ESTABLISHED for move in moves)
        assert feed.read_lost() == 41, "20 connections, two ends each, and their listener; no look came between"


def test_polling_works_for_nobody(inside):
    """Uid 65534 without any capability: tier C by itself, with the reasons of A and B."""

    def see_a_connection(tier):
        with open_trace(tier=tier) as feed, socket.create_server(("127.0.0.1", 0)) as listener:
            with socket.create_connection(listener.getsockname()):
                moves = collect(feed, lambda moves: sum(move.after is S.ESTABLISHED for move in moves) >= 2)
            assert S.LISTEN in {move.after for move in moves}
            return f"{feed.tier}|{feed.reason}"

    for tier in trace.TIERS:  # Why: nobody may not be allowed to read this interpreter's modules later
        open_trace(tier=tier).close()
    see_a_connection("C")
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            text = see_a_connection(None)
        except BaseException as error:
            text = repr(error)
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        said = file.read()
    os.waitpid(child, 0)
    tier, _, reason = said.partition("|")
    assert tier == "C", said
    assert "no tier A" in reason and "no tier B" in reason and "CAP_" in reason


def test_polling_refuses_another_namespace(inside):
    with pytest.raises(Unsupported, match="--netns"):
        open_trace(inside.inode + 1, tier="C")
    assert trace_poll.SHORTEST_S == 0.1
    assert perf.ATTRIBUTES.size == 112
