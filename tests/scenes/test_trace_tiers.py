"""The tiers below BPF on a real kernel, chosen because something is missing, and what they honestly say."""

import errno
import os
import socket
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

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


def connect_and_close(number):
    listener = socket.create_server(("127.0.0.1", 0))
    for _ in range(number):
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        client.close()
        server.recv(1)
        server.close()
    listener.close()
    return listener


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
    connect_and_close(1)
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


def collect(feed, seconds, enough=None, mine=""):
    """Moves of the next ``seconds``, or until ``enough`` of them came (a tier that sees the whole host may lag)."""
    moves, deadline = [], time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0 and (enough is None or not enough(moves)):
        moves += [move for move in feed.read_transitions(min(left, 0.5)) if mine in str(move.flow)]
    return moves + [move for move in feed.read_rest() if mine in str(move.flow)]


def test_perf_counts_completed_connections_exactly(inside):
    number = 200
    with open_trace(tier="B") as feed:
        # the tier sees the whole host: the address tells our connections from others
        listener = socket.create_server(("127.0.0.2", 0))
        for _ in range(number):
            client = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
            client.close()
            server.recv(1)
            server.close()
        listener.close()
        moves = collect(feed, 20, lambda moves: sum(move.after is S.TIME_WAIT for move in moves) == number, "127.0.0.2")
        assert feed.read_lost() == 0
    counts = Counter((move.before, move.after) for move in moves if S.LISTEN not in (move.before, move.after))
    by_call = [(S.CLOSED, S.SYN_SENT), (S.ESTABLISHED, S.FIN_WAIT_1), (S.CLOSE_WAIT, S.LAST_ACK)]
    by_segment = [
        (S.SYN_SENT, S.ESTABLISHED),
        (S.SYN_RECEIVED, S.ESTABLISHED),
        (S.ESTABLISHED, S.CLOSE_WAIT),
        (S.FIN_WAIT_1, S.FIN_WAIT_2),
        (S.FIN_WAIT_2, S.TIME_WAIT),
        (S.LAST_ACK, S.CLOSED),
    ]
    assert counts == dict.fromkeys(by_call + by_segment, number)
    assert sum(move.after is S.SYN_RECEIVED for move in moves) == number
    assert {move.certainty for move in moves if move.after is S.TIME_WAIT} == {"inferred"}
    assert {move.source for move in moves} == {"perf", "poll"}


def test_perf_tells_an_orphan_that_waits_from_time_wait(inside):
    inside.write_sysctl("net.ipv4.tcp_fin_timeout", 1)
    with open_trace(tier="B") as feed, socket.create_server(("127.0.0.3", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        client.close()
        moves = collect(feed, 20, lambda moves: any(move.before is S.FIN_WAIT_2 for move in moves), "127.0.0.3")
        server.close()
    end = moves[-1]
    assert (end.before, end.event, end.after) == (S.FIN_WAIT_2, Event.FIN_WAIT_2_TIMEOUT, S.CLOSED)
    assert 0.9 < end.in_state_ns / 1e9 < 2.4
    assert not any(move.after is S.TIME_WAIT for move in moves)


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
    with open_trace(tier="C") as feed:
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        moves = collect(feed, 0.3)
        client.close()
        moves += collect(feed, 0.3)
        server.close()
        moves += collect(feed, 0.3)
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
        moves = collect(feed, 0.3)
        assert not any(move.after is S.ESTABLISHED for move in moves)
        assert feed.read_lost() >= 38, "20 connections, two ends each (a look may have come between)"


def test_polling_works_for_nobody(inside):
    """Uid 65534 without any capability: tier C by itself, with the reasons of A and B."""
    read, write = os.pipe()
    with open_trace(tier="C") as warm:  # Why: whatever is imported on the way must be in memory before
        warm.read_transitions(0.2)
    with pytest.raises(Unsupported):
        open_trace(tier="B", openers={"B": lambda netns, details: (_ for _ in ()).throw(Unsupported("x"))})
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            with open_trace() as feed:
                connected = socket.create_server(("127.0.0.1", 0))
                client = socket.create_connection(connected.getsockname())
                moves = collect(feed, 0.4)
                text = f"{feed.tier}|{feed.reason}|{sum(move.after is S.ESTABLISHED for move in moves)}"
                client.close()
        except BaseException as error:
            text = repr(error)
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        tier, reason, established = file.read().split("|")
    os.waitpid(child, 0)
    assert (tier, established) == ("C", "2")
    assert "no tier A" in reason and "no tier B" in reason and "CAP_" in reason


def test_polling_refuses_another_namespace(inside):
    with pytest.raises(Unsupported, match="--netns"):
        open_trace(inside.inode + 1, tier="C")
    assert trace_poll.SHORTEST_S == 0.1
    assert perf.ATTRIBUTES.size == 112
