"""Two witnesses: what trace tells of a chaotic load, and what the kernel's own counters say of the same."""

import errno
import random
import select
import socket
import struct
import threading
import time
from collections import Counter
from itertools import pairwise

import pytest
from tests.patience import PATIENCE_S, in_its_own_namespace, read_until_now, wait_until

from tcpscope.kernel.counters import read_counters
from tcpscope.live.sockets import read_sockets
from tcpscope.live.trace import open_trace
from tcpscope.model.event import Event
from tcpscope.model.state import State

pytestmark = pytest.mark.root
S = State


def chaos(seed, number):
    """Connections that end in every way a program can end them, many at a time."""
    rng = random.Random(seed)
    family, address = rng.choice([(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
    listener = socket.socket(family)
    listener.bind((address, 0))
    listener.listen(64)
    target = listener.getsockname()[:2]
    open_pairs = []
    for _ in range(number):
        if rng.random() < 0.1:
            refused = socket.socket(family)
            assert refused.connect_ex((address, 1)) == errno.ECONNREFUSED
            refused.close()
        client = socket.create_connection(target)
        server, _ = listener.accept()
        open_pairs.append([client, server])
        while open_pairs and (len(open_pairs) > 20 or rng.random() < 0.5):
            pair = open_pairs.pop(rng.randrange(len(open_pairs)))
            rng.shuffle(pair)
            first, second = pair
            if rng.random() < 0.3:
                second.send(b"x")  # perhaps never read
            if rng.random() < 0.3:
                first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if rng.random() < 0.3:
                first.shutdown(socket.SHUT_WR)
            if rng.random() < 0.2:
                second.shutdown(socket.SHUT_WR)
            first.close()
            second.close()
    for pair in open_pairs:
        for one in pair:
            one.close()
    unaccepted = socket.create_connection(target)
    listener.close()
    unaccepted.close()


@pytest.mark.parametrize("seed", range(4))
@in_its_own_namespace
def test_counts_of_trace_equal_the_kernels_counters(netns, seed):
    with open_trace(netns.inode, tier="A") as feed:
        with netns.entered():
            before = read_counters()
        moves, failures = [], []

        def work(number):
            try:
                with netns.entered():
                    chaos(seed * 10 + number, 150)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            moves += feed.read_transitions(0.05)
        moves += read_until_now(feed, netns)
        assert feed.read_lost() == feed.read_untold() == 0
        assert not failures
        with netns.entered():
            after = read_counters()
            left, _ = read_sockets(udp=0)
    grown = {name: after[name] - before.get(name, 0) for name in after}
    counts = Counter((move.before, move.after) for move in moves)
    assert counts[S.CLOSED, S.SYN_SENT] == grown["Tcp.ActiveOpens"]
    assert (
        sum(move.after is S.ESTABLISHED and move.before is S.SYN_RECEIVED for move in moves)
        == grown["Tcp.PassiveOpens"]
    )
    assert counts[S.SYN_SENT, S.CLOSED] == grown["Tcp.AttemptFails"]
    assert counts[S.ESTABLISHED, S.CLOSED] + counts[S.CLOSE_WAIT, S.CLOSED] == grown["Tcp.EstabResets"]
    minis = [
        move for move in moves if move.after is S.TIME_WAIT or (move.before, move.after) == (S.FIN_WAIT_2, S.CLOSED)
    ]
    assert counts[S.FIN_WAIT_2, S.TIME_WAIT] + counts[S.CLOSING, S.TIME_WAIT] <= grown["TcpExt.TW"] <= len(minis)
    unread = sum(move.event is Event.CLOSE and move.after is S.CLOSED and move.before is not S.LISTEN for move in moves)
    assert unread == grown["TcpExt.TCPAbortOnClose"]
    assert min(grown["Tcp.AttemptFails"], grown["Tcp.EstabResets"], unread, len(minis)) > 10, "the load was varied"
    assert all(move.legal for move in moves)
    # every end is a chain: each move begins where the one before it ended
    chains = {}
    for move in moves:
        chains.setdefault(move.flow, []).append(move)
    for flow, chain in chains.items():
        for earlier, later in pairwise(chain):
            same = earlier.after is later.before or (earlier.after is S.CLOSED and later.before is S.LISTEN)
            assert same, (flow, [(move.before.name, move.after.name) for move in chain])
    # and what ss would show now is where the chains end
    now = {one.flow: one.state for one in left}
    told = {flow: chain[-1].after for flow, chain in chains.items() if chain[-1].after is not S.CLOSED}
    assert told == now


@in_its_own_namespace
def test_time_wait_taken_again_is_counted_as_the_kernel_counts_it(netns):
    netns.write_sysctl("net.ipv4.ip_local_port_range", "40000 40019")
    with open_trace(netns.inode, tier="A") as feed, netns.entered():
        listener = socket.create_server(("127.0.0.1", 0))
        before = read_counters()
        deadline = time.monotonic() + PATIENCE_S
        made = 0
        while made < 40 and time.monotonic() < deadline:
            try:
                client = socket.create_connection(listener.getsockname())
            except OSError as error:
                assert error.errno == errno.EADDRNOTAVAIL
                time.sleep(0.1)
                continue
            server, _ = listener.accept()
            client.close()
            server.recv(1)
            server.close()
            made += 1
        moves = read_until_now(feed, netns)
        grown = read_counters()["TcpExt.TWRecycled"] - before["TcpExt.TWRecycled"]
        listener.close()
    taken = [move for move in moves if move.before is S.TIME_WAIT]
    assert made == 40
    assert len(taken) == grown > 0
    assert all("tcp_tw_reuse" in move.cause and move.after is S.CLOSED for move in taken)


def read_until_dead(feed, client, space):
    """Return what was told until the kernel says that ``client`` is closed, whether or not its end was told."""
    moves, deadline = [], time.monotonic() + PATIENCE_S
    while client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != S.CLOSED:
        assert time.monotonic() < deadline, [(move.before, move.event, move.after) for move in moves]
        moves += feed.read_transitions(0.2)
    return moves + read_until_now(feed, space)


def drop_everything(space):
    import subprocess

    with space.entered():
        rules = "add table t; add chain t c { type filter hook input priority 0; policy drop; }"
        subprocess.run(["nft", rules], check=True)


@pytest.mark.parametrize("kind", ["keepalive", "retransmission", "syn"])
@in_its_own_namespace
def test_silent_peer_ends_by_the_timeout_that_was_running(netns, kind):
    netns.write_sysctl("net.ipv4.tcp_syn_retries", 1)
    netns.write_sysctl("net.ipv4.tcp_retries2", 2)
    with open_trace(netns.inode, tier="A", details=True) as feed, netns.entered():
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.socket()
        if kind != "syn":
            client.connect(listener.getsockname())
        feed.read_transitions(0.2)
        drop_everything(netns)
        if kind == "keepalive":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
                client.setsockopt(socket.IPPROTO_TCP, option, 1)
        elif kind == "retransmission":
            client.send(b"nobody will ever acknowledge this")
        else:
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        moves = read_until_dead(feed, client, netns)
    ends = [move for move in moves if move.after is S.CLOSED]
    expected = {
        "keepalive": (S.ESTABLISHED, Event.KEEPALIVE_EXHAUSTED),
        "retransmission": (S.ESTABLISHED, Event.USER_TIMEOUT),
        "syn": (S.SYN_SENT, Event.USER_TIMEOUT),
    }[kind]
    assert [(end.before, end.event) for end in ends] == [expected]
    again = [move for move in moves if move.event is Event.RETRANSMISSION_TIMEOUT]
    assert bool(again) == (kind != "keepalive")
    assert all(move.before is move.after is expected[0] for move in again)


@in_its_own_namespace
def test_icmp_that_refuses_a_connect_is_told_as_icmp(netns):
    import subprocess

    with netns.entered():
        rules = "add table t; add chain t c { type filter hook input priority 0; }; add rule t c tcp dport 9 reject"
        subprocess.run(["nft", rules], check=True)
        with open_trace(netns.inode, tier="A") as feed:
            client = socket.socket()
            assert client.connect_ex(("127.0.0.1", 9)) == errno.ECONNREFUSED
            moves = read_until_dead(feed, client, netns)
            client.close()
    assert [(move.after, move.event) for move in moves] == [
        (S.SYN_SENT, Event.OPEN_ACTIVE),
        (S.CLOSED, Event.ICMP_HARD_ERROR),
    ]


@in_its_own_namespace
def test_syn_cookie_handshake_is_seen_at_its_last_ack(netns):
    netns.write_sysctl("net.ipv4.tcp_syncookies", 2)
    with (
        open_trace(netns.inode, tier="A") as feed,
        netns.entered(),
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        wait_until(lambda: listener in select.select([listener], [], [], 1)[0], "the last ACK")
        moves = read_until_now(feed, netns)
    births = [move for move in moves if move.after is S.SYN_RECEIVED]
    assert len(births) == 1
    assert "SYN cookie" in births[0].cause
