"""Exact counts: what trace tells of a known number of real connections in a namespace of its own."""

import os
import socket
import struct
import subprocess
import threading
import time
from collections import Counter

import pytest
from tests.patience import in_its_own_namespace, read_until_now, states_of_tcp, wait_until, wait_until_settled

from tcpscope.kernel.bpf import tcp_tracer
from tcpscope.kernel.namespace import NetworkNamespace
from tcpscope.kernel.rtnetlink import RouteSocket
from tcpscope.live.trace import open_trace
from tcpscope.model.event import Event
from tcpscope.model.state import State

pytestmark = pytest.mark.root
S = State


def in_namespace(space, work):
    """Run ``work`` in a thread that lives in ``space``, so that the reader stays outside."""
    failures = []

    def body():
        try:
            with space.entered():
                work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    return thread, failures


def collect(feed, space, work):
    """Return the moves that ``work`` makes in ``space``, all of them."""
    thread, failures = in_namespace(space, work)
    moves = []
    while thread.is_alive():
        moves += feed.read_transitions(0.05)
    assert not failures, failures
    moves += read_until_now(feed, space)
    assert feed.read_lost() == feed.read_untold() == 0
    return moves


def connect_and_close(number, half_close=True):
    """Connections one after another; the client closes first and the server once it has seen the end of file."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    for _ in range(number):
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        client.shutdown(socket.SHUT_WR) if half_close else client.close()
        assert server.recv(1) == b""
        server.close()
        assert not half_close or client.recv(1) == b""
        client.close()
    listener.close()


NORMAL = {
    (S.CLOSED, S.SYN_SENT): Event.OPEN_ACTIVE,
    (S.LISTEN, S.SYN_RECEIVED): Event.SYN,
    (S.SYN_SENT, S.ESTABLISHED): Event.SYN_ACK,
    (S.SYN_RECEIVED, S.ESTABLISHED): Event.ACK_OF_SYN,
    (S.ESTABLISHED, S.FIN_WAIT_1): Event.CLOSE,
    (S.ESTABLISHED, S.CLOSE_WAIT): Event.FIN,
    (S.FIN_WAIT_1, S.FIN_WAIT_2): Event.ACK_OF_FIN,
    (S.CLOSE_WAIT, S.LAST_ACK): Event.CLOSE,
    (S.FIN_WAIT_2, S.TIME_WAIT): Event.FIN,
    (S.LAST_ACK, S.CLOSED): Event.ACK_OF_FIN,
}


@pytest.mark.parametrize("half_close", [True, False], ids=["shutdown", "close"])
@in_its_own_namespace
def test_thousand_connections_are_counted_exactly_in_every_state(netns, half_close):
    number = 1000
    netns.write_sysctl("net.ipv4.tcp_tw_reuse", 0)  # a TIME_WAIT older than a second would make room for a connect()
    with open_trace(netns.inode, tier="A") as feed:
        assert not feed.missing
        moves = collect(feed, netns, lambda: connect_and_close(number, half_close))
    counts = Counter((move.before, move.after) for move in moves)
    assert counts.pop((S.CLOSED, S.LISTEN)) == 1
    assert counts.pop((S.LISTEN, S.CLOSED)) == 1
    assert counts == dict.fromkeys(NORMAL, number)
    assert {(move.before, move.after): move.event for move in moves if (move.before, move.after) in NORMAL} == NORMAL
    assert all(move.legal and not move.deviation and move.certainty == "seen" for move in moves)
    assert {move.netns for move in moves} == {netns.inode}
    ours = [move for move in moves if S.LISTEN not in (move.before, move.after)]
    assert all(move.flow.local.port and move.flow.remote.port for move in ours)
    assert len({(move.flow, move.before) for move in ours}) == len(ours), "every end tells every move once"
    assert {move.by.pid for move in moves if move.by} == {os.getpid()}
    assert [move for move in moves if not move.by] == [], "every socket had a holder"
    leaving = [move for move in moves if move.before not in (S.CLOSED, S.LISTEN)]
    assert all(move.in_state_ns is not None and move.in_state_ns >= 0 for move in leaving)


@in_its_own_namespace
def test_time_wait_and_fin_wait_2_end_as_often_as_they_began(netns):
    """The end of TIME-WAIT takes a minute; that of an orphan's FIN-WAIT-2 is one sysctl away, by the same timer."""
    held = []

    def work():
        listener = socket.create_server(("127.0.0.1", 0))
        for _ in range(50):
            client = socket.create_connection(listener.getsockname())
            held.append(listener.accept()[0])
            client.close()
        listener.close()
        wait_until_settled()
        wait_until(lambda: S.FIN_WAIT_2 not in states_of_tcp(), "the end of the orphans")

    netns.write_sysctl("net.ipv4.tcp_fin_timeout", 1)
    began = time.monotonic()
    with open_trace(netns.inode, tier="A") as feed:
        moves = collect(feed, netns, work)
    counts = Counter((move.before, move.after, move.event) for move in moves)
    assert counts[S.FIN_WAIT_1, S.FIN_WAIT_2, Event.ACK_OF_FIN] == 50
    assert counts[S.FIN_WAIT_2, S.CLOSED, Event.FIN_WAIT_2_TIMEOUT] == 50
    waited = [move.in_state_ns / 1e9 for move in moves if move.event is Event.FIN_WAIT_2_TIMEOUT]
    assert min(waited) > 0.9
    assert max(waited) < time.monotonic() - began
    for one in held:
        one.close()


@pytest.mark.slow
@in_its_own_namespace
def test_time_wait_ends_after_a_minute_as_often_as_it_began(netns):
    netns.write_sysctl("net.ipv4.tcp_tw_reuse", 0)

    def work():
        connect_and_close(1000)
        wait_until(lambda: not states_of_tcp(), "the end of TIME_WAIT", seconds=100)

    began = time.monotonic()
    with open_trace(netns.inode, tier="A") as feed:
        moves = collect(feed, netns, work)
    ends = [move for move in moves if (move.before, move.after) == (S.TIME_WAIT, S.CLOSED)]
    assert len(ends) == 1000
    assert {move.event for move in ends} == {Event.TIME_WAIT_TIMEOUT}
    waited = [move.in_state_ns / 1e9 for move in ends]
    assert min(waited) > 59 and max(waited) < time.monotonic() - began


def linger0(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@in_its_own_namespace
def test_established_ends_are_told_apart_by_what_the_kernel_said(netns):
    def work():
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        linger0(client)
        client.close()
        server.close()
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        server.send(b"never read")
        client.close()
        server.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", 1))
        client = socket.create_connection(listener.getsockname())
        listener.close()
        client.close()

    with open_trace(netns.inode, tier="A") as feed:
        moves = collect(feed, netns, work)
    ends = Counter((move.before, move.event) for move in moves if move.after is S.CLOSED)
    assert ends == {
        (S.ESTABLISHED, Event.ABORT): 2,  # SO_LINGER 0, and the child nobody accepted
        (S.ESTABLISHED, Event.CLOSE): 1,  # close() with unread data
        (S.ESTABLISHED, Event.RST): 3,
        (S.SYN_SENT, Event.RST): 1,
        (S.LISTEN, Event.CLOSE): 1,
    }
    assert {move.cause for move in moves if move.before is S.SYN_SENT and move.after is S.CLOSED} == {
        "connection refused"
    }


@in_its_own_namespace
def test_syn_received_without_answer_times_out_once(netns):
    """A SYN from an address nobody has: the request socket retransmits once and dies."""
    netns.write_sysctl("net.ipv4.tcp_synack_retries", 1)

    def work():
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        for source_port in range(20000, 20010):
            raw.sendto(make_syn("127.0.0.1", "127.0.0.1", source_port, port), ("127.0.0.1", 0))
        wait_until(lambda: S.SYN_RECEIVED in states_of_tcp(), "the handshakes")
        wait_until(lambda: S.SYN_RECEIVED not in states_of_tcp(), "their end")
        listener.close()

    began = time.monotonic()
    with netns.entered():  # the kernel itself would answer the SYN|ACK with a reset
        subprocess.run(
            ["nft", "add table t; add chain t c { type filter hook input priority 0; }; "
             "add rule t c tcp flags & (syn|ack) == syn|ack drop"],
            check=True,
        )  # fmt: skip
    with open_trace(netns.inode, tier="A") as feed:
        moves = collect(feed, netns, work)
    counts = Counter((move.before, move.after, move.event) for move in moves)
    assert counts[S.LISTEN, S.SYN_RECEIVED, Event.SYN] == 10
    assert counts[S.SYN_RECEIVED, S.CLOSED, Event.USER_TIMEOUT] == 10
    deaths = [move for move in moves if move.before is S.SYN_RECEIVED]
    waited = [move.in_state_ns / 1e9 for move in deaths]
    assert min(waited) > 2.5 and max(waited) < time.monotonic() - began
    assert {(move.legal, move.deviation) for move in deaths} == {(True, "")}


def make_syn(source, dest, source_port, dest_port):
    head = struct.pack("!HHIIBBHHH", source_port, dest_port, 1000, 0, 5 << 4, 2, 1024, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(dest) + struct.pack("!BBH", 0, 6, len(head))
    total = sum(struct.unpack(f"!{(len(pseudo) + len(head)) // 2}H", pseudo + head))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return head[:16] + struct.pack("!H", ~total & 0xFFFF) + head[18:]


@in_its_own_namespace
def test_full_ring_loses_and_every_loss_is_counted(netns, monkeypatch):
    """A ring of one page and a reader that sleeps: what is seen and what is lost make up the whole."""
    monkeypatch.setattr(tcp_tracer, "RING_BYTES", 1 << 14)
    with open_trace(netns.inode, tier="A") as feed:
        thread, failures = in_namespace(netns, lambda: connect_and_close(200))
        thread.join()
        assert not failures
        seen = feed._source._tracer.waiting_records
        lost = feed.read_lost()
        assert lost > 1000
        # 10 changes of state, the request's and the mini-socket's records, the port of connect(), a FIN consumed: all
        # connections are alike, so the whole is a multiple of what one alone writes, but for the listener's two
        alone = records_of_one_connection(netns)
        assert abs((seen + lost - 2) / 200 - alone) < 1.0
        assert feed.read_transitions(0.1)


def records_of_one_connection(space):
    tracer = tcp_tracer.TcpTracer(space.inode)
    thread, failures = in_namespace(space, lambda: connect_and_close(1))
    thread.join()
    assert not failures
    number = tracer.waiting_records - 2
    tracer.close()
    return number


@in_its_own_namespace
def test_all_namespaces_are_told_apart(netns):
    other = NetworkNamespace.create()
    with other.entered(), RouteSocket() as route:
        route.set_up("lo")
    with open_trace(all_namespaces=True, tier="A") as feed:
        for space in (netns, other):
            thread, failures = in_namespace(space, lambda: connect_and_close(5))
            thread.join()
            assert not failures
        moves = read_until_now(feed, netns, other)
    other.close()
    counts = Counter(move.netns for move in moves)
    assert counts[netns.inode] == counts[other.inode] == 52
