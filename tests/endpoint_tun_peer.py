"""Run in a network namespace of its own: our endpoint on a TUN device, Linux's TCP behind it, bytes both ways.

``python -m tests.endpoint_tun_peer PROFILE LOSS SIZE`` prints one JSON line: what arrived where, states, counters.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import socket
import sys
import threading
import time
from random import Random

from tests.tun_wire import KERNEL, OURS, TunWire

from tcpscope.machine.connection import Connection
from tcpscope.machine.profile import PROFILES
from tcpscope.model.address import Endpoint
from tcpscope.model.state import State
from tcpscope.wire.emit import emit_packet
from tcpscope.wire.parse import parse_ip, parse_tcp

PATIENCE_S = 300


class KernelServer(threading.Thread):
    """Read everything, send it back, close."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server((KERNEL, 7000))
        self.text = b""
        self.was_closed = False

    def run(self) -> None:
        peer, _ = self.listener.accept()
        while piece := peer.recv(65536):
            self.text += piece
        peer.sendall(self.text)
        peer.shutdown(socket.SHUT_WR)
        self.was_closed = peer.recv(1) == b""
        self.finish(peer)

    def finish(self, peer: socket.socket) -> None:
        peer.close()


class Client:
    """Our endpoint with a driver around it."""

    def __init__(self, device: int, profile: str, loss: float, text: bytes) -> None:
        self.device, self.loss, self.text, self.random = device, loss, text, Random(1)
        iss = int.from_bytes(os.urandom(4), "big")
        self.end = Connection(Endpoint(OURS, 5000), Endpoint(KERNEL, 7000), iss=iss, profile=PROFILES[profile])
        self.end.set_buffers(receive_bytes=1 << 20, send_bytes=1 << 20)
        self.sent, self.read = 0, b""
        self.most_in_flight = 0
        self.is_shut = False

    def run(self) -> None:
        """Drive until both directions are closed, or patience is over."""
        self.end.open(time.monotonic_ns())
        stop = time.monotonic() + PATIENCE_S
        while time.monotonic() < stop and self.end.state not in (State.TIME_WAIT, State.CLOSED):
            self._write()
            self._flush()
            self._wait()
            self.read += self.end.receive() or b""
        self._flush()

    def _write(self) -> None:
        if self.end.state is State.ESTABLISHED and self.sent < len(self.text):
            self.sent += self.end.send(self.text[self.sent : self.sent + 65536])
        elif self.end.state is State.ESTABLISHED and not self.is_shut:
            self.is_shut = True
            self.end.shutdown(time.monotonic_ns())

    def _flush(self) -> None:
        ours, kernel = (socket.inet_aton(address) for address in (OURS, KERNEL))
        while segments := self.end.poll(time.monotonic_ns()):
            for segment in segments:
                self.most_in_flight = max(self.most_in_flight, self.end.tcb.flight_bytes)
                if self.random.random() >= self.loss:
                    os.write(self.device, emit_packet(segment, ours, kernel, 5000, 7000))

    def _wait(self) -> None:
        when = self.end.next_deadline() or time.monotonic_ns() + 10**8
        busy = self.sent < len(self.text) and self.end.writable_bytes > 65536
        wait_s = 0.0 if busy else min(0.1, max(0.0, (when - time.monotonic_ns()) / 1e9))
        for _ in range(16):
            if not select.select([self.device], [], [], wait_s)[0]:
                return
            wait_s = 0.0
            packet = os.read(self.device, 70_000)
            if packet[0] >> 4 == 4 and packet[9] == 6 and self.random.random() >= self.loss:
                self.end.receive_segment(parse_tcp(parse_ip(packet).payload).segment, time.monotonic_ns())


def main(profile: str, loss: float, size: int) -> None:
    device = TunWire().device
    server = KernelServer()
    server.start()
    text = os.urandom(size)
    client = Client(device, profile, loss, text)
    client.run()
    server.join(PATIENCE_S)
    counters = client.end.tcb.counters
    print(
        json.dumps(
            {
                "kernel_got_ours": hashlib.sha256(server.text).digest() == hashlib.sha256(text).digest(),
                "we_got_it_back": client.read == text,
                "kernel_saw_end": server.was_closed,
                "state": client.end.state.name,
                "error": client.end.error,
                "most_in_flight": client.most_in_flight,
                "retransmits": counters.retransmits,
                "timeouts": counters.timeouts,
                "dropped": counters.dropped,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
