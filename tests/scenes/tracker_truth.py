"""Real connections of every kind in a namespace of their own: captured, and told by the kernel, at the same time.

Run as a program: ``python tracker_truth.py CAPTURE COUNT``; prints what the kernel did as JSON. It must run in a
process of its own because it leaves for a new network namespace.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

from tests.loopback_dump import LoopbackDump
from tests.patience import wait_until_settled

ESTABLISHED, FIN_WAIT_1, CLOSED, CLOSING = 1, 4, 7, 11
TABLE = "table inet truth {\n chain input {\n type filter hook input priority 0;\n %s\n }\n}\n"


def nft(rules):
    subprocess.run(["nft", "-f", "-"], input=f"flush ruleset\n{TABLE % rules}", text=True, check=True)


def until(is_so):
    deadline = time.monotonic() + 100
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def state_of(end):
    return end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


class Pairs:
    """Connected pairs through one listener per kind."""

    def __init__(self):
        self.port = 7000
        self.kinds = {}
        self.keep = []

    def listen(self, backlog=128):
        self.port += 1
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(backlog)
        return listener

    def note(self, kind, *sockets_or_ports):
        for client in sockets_or_ports:
            port = client if isinstance(client, int) else client.getsockname()[1]
            self.kinds[f"{port}-{self.port}"] = kind

    def pair(self, kind, listener):
        client = socket.create_connection(("127.0.0.1", self.port))
        server, _ = listener.accept()
        self.note(kind, client)
        return client, server


def normal(pairs, count):
    listener = pairs.listen()
    for n in range(count):
        client, server = pairs.pair("normal", listener)
        client.sendall(b"x" * (n % 5000))
        server.sendall(b"y" * (n % 3000))
        first, second = (client, server) if n % 2 else (server, client)
        first.shutdown(socket.SHUT_WR)
        while second.recv(65536):
            pass
        second.close()
        while first.recv(65536):
            pass
        first.close()


def half_close(pairs, count):
    listener = pairs.listen()
    for _ in range(count):
        client, server = pairs.pair("half-close", listener)
        client.shutdown(socket.SHUT_WR)
        server.recv(1)
        time.sleep(0.002)
        server.sendall(b"late" * 100)
        server.close()
        while client.recv(65536):
            pass
        client.close()


def reset(pairs, count):
    listener = pairs.listen()
    for n in range(count):
        client, server = pairs.pair("reset", listener)
        who, other = (client, server) if n % 2 else (server, client)
        if n % 3 == 0:
            other.sendall(b"unread")
            time.sleep(0.002)
        else:
            who.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        who.close()
        time.sleep(0.001)
        other.close()


def refused(pairs, count):
    pairs.listen().close()
    for _ in range(count):
        client = socket.socket()
        client.bind(("127.0.0.1", 0))
        pairs.note("refused", client)
        try:
            client.connect(("127.0.0.1", pairs.port))
        except ConnectionRefusedError:
            client.close()


def zero_window(pairs, count):
    listener = pairs.listen()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(count):
        client, server = pairs.pair("zero-window", listener)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        client.setblocking(False)
        try:
            while True:
                client.send(b"z" * 65536)
        except BlockingIOError:
            pass
        client.setblocking(True)
        time.sleep(0.01)
        client.shutdown(socket.SHUT_WR)
        while server.recv(65536):
            pass
        server.close()
        client.recv(1)
        client.close()


def reuse(pairs, count):
    listener = pairs.listen()
    for n in range(count // 2):
        for _ in range(2):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("127.0.0.1", 20000 + n))
            client.connect(("127.0.0.1", pairs.port))
            server, _ = listener.accept()
            pairs.note("reuse", client)
            server.close()
            client.recv(1)
            client.close()


def self_connect(pairs, count):
    for n in range(count):
        pairs.port += 1
        client = socket.socket()
        client.bind(("127.0.0.1", 30000 + n))
        client.connect(("127.0.0.1", 30000 + n))
        pairs.kinds[f"{30000 + n}-{30000 + n}"] = "self-connect"
        client.close()


def simultaneous_open(pairs, count):
    nft("tcp flags & (syn|ack) == syn tcp dport 10000-13999 drop")
    ends = []
    for n in range(count):
        one, other = socket.socket(), socket.socket()
        one.bind(("127.0.0.1", 10000 + n))
        other.bind(("127.0.0.1", 12000 + n))
        for end, port in ((one, 12000 + n), (other, 10000 + n)):
            end.setblocking(False)
            end.connect_ex(("127.0.0.1", port))
        pairs.kinds[f"{10000 + n}-{12000 + n}"] = "simultaneous-open"
        ends.append((one, other))
    nft("")
    until(lambda: all(state_of(end) == ESTABLISHED for pair in ends for end in pair))
    for one, other in ends:
        one.setblocking(True)
        other.setblocking(True)
        one.shutdown(socket.SHUT_WR)
        other.recv(1)
        other.close()
        one.recv(1)
        one.close()


def simultaneous_close(pairs, count):
    listener = pairs.listen(512)
    held = [pairs.pair("simultaneous-close", listener) for _ in range(count)]
    nft(f"tcp flags & fin == fin tcp dport {pairs.port} drop\n tcp flags & fin == fin tcp sport {pairs.port} drop")
    for client, server in held:
        client.shutdown(socket.SHUT_WR)
        server.shutdown(socket.SHUT_WR)
    nft("")
    until(lambda: not {state_of(end) for pair in held for end in pair} & {FIN_WAIT_1, CLOSING})
    for client, server in held:
        client.close()
        server.close()


def keepalive_death(pairs, count):
    """Their ends come in ticks of their own, eight at most at once: what is not traced of one tick is few."""
    listener = pairs.listen(512)
    held = [pairs.pair("keepalive-death", listener) for _ in range(count)]
    nft(f"tcp dport {pairs.port} drop\n tcp sport {pairs.port} drop")
    for number, (client, _) in enumerate(held):
        if number % 8 == 0:
            time.sleep(0.05)
        for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 1)):
            client.setsockopt(socket.IPPROTO_TCP, option, value)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    until(lambda: all(state_of(client) == CLOSED for client, _ in held))
    nft("")
    for client, server in held:
        client.close()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()


KINDS = (
    (normal, 16), (half_close, 6), (reset, 8), (refused, 4), (zero_window, 1), (reuse, 4), (self_connect, 2),
    (simultaneous_open, 2), (simultaneous_close, 2), (keepalive_death, 2),
)  # fmt: skip


def main(path, count):
    os.unshare(os.CLONE_NEWNET) if hasattr(os, "unshare") else _unshare()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    from tcpscope.live.trace import open_trace

    feed = open_trace()
    moves, stop = [], threading.Event()

    def listen():
        while not stop.is_set():
            moves.extend(feed.read_transitions(0.1))

    reading = futures.ThreadPoolExecutor(1).submit(listen)
    pairs = Pairs()
    share = sum(weight for _, weight in KINDS)
    with LoopbackDump(Path(path), "-s", "120", "-j", "host", "--time-stamp-precision=nano"):
        for kind, weight in KINDS:
            began = time.monotonic()
            kind(pairs, max(count * weight // share, 2))
            print(f"{kind.__name__} {time.monotonic() - began:.1f} s", file=sys.stderr)
        wait_until_settled()
    stop.set()
    reading.result()
    while more := feed.read_transitions(0.1):
        moves.extend(more)
    moves.extend(feed.read_rest())
    told = [
        [m.flow.local.port, m.flow.remote.port, m.before.name, m.after.name, m.deviation, m.certainty, m.when_ns]
        for m in moves
    ]
    print(json.dumps({"tier": feed.tier, "kinds": pairs.kinds, "moves": told, "lost": feed.read_lost()}))
    feed.close()


def _unshare():
    import ctypes

    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
        raise OSError(ctypes.get_errno(), "unshare")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
