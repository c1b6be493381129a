"""Our host on a TUN device, under a flood of SYNs, and a real Linux client that gets through by a SYN cookie.

``python -m tests.host_on_tun TIMESTAMPS`` (0 or 1: of the kernel) in a network namespace of its own prints one JSON
object: what the host counted, what both ends agreed on, whether the bytes arrived.
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

from tests.tun_wire import KERNEL, OURS, PATIENCE_S, TunWire, set_sysctl

from tcpscope.machine.connection import Connection
from tcpscope.machine.listener import Listener, Settings
from tcpscope.machine.profile import LINUX
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import SYN, Options, Segment
from tcpscope.model.state import State
from tcpscope.stack.host import Host, Interface
from tcpscope.wire.address import parse_address
from tcpscope.wire.emit import emit_packet

PORT, FLOOD, SIZE = 80, 500, 400_000
_TCP_INFO_OPTIONS = ((1, "timestamps"), (2, "sack"), (4, "scale"), (8, "ecn"))


class KernelClient(threading.Thread):
    """Connect, send a text, read it back, close."""

    def __init__(self, text: bytes) -> None:
        super().__init__(daemon=True)
        self.text, self.read, self.info = text, b"", b""

    def run(self) -> None:
        peer = socket.create_connection((OURS, PORT), timeout=PATIENCE_S)
        self.info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
        reader = threading.Thread(target=self.read_back, args=(peer,))
        reader.start()
        peer.sendall(self.text)
        peer.shutdown(socket.SHUT_WR)
        reader.join()
        peer.close()

    def read_back(self, peer: socket.socket) -> None:
        while piece := peer.recv(65536):
            self.read += piece


class Server:
    """The host with an echo behind its listener."""

    def __init__(self) -> None:
        self.device = TunWire().device
        self.host = Host([Interface(OURS)], secret=os.urandom(16), profile=LINUX)
        settings = Settings(backlog=4, receive_bytes=1 << 20)
        self.listener: Listener = self.host.open_passive(Endpoint(OURS, PORT), settings=settings)
        self.peer: Connection | None = None
        self.waiting = b""
        self.is_shut = False

    def flood(self) -> int:
        """Take SYNs from everywhere whose senders never answer; return how many were answered."""
        offered = Options(1460, 7, True, timestamp=(1, 0))
        for number in range(FLOOD):
            source = bytes((198, 51, 100, number % 250 + 1))
            syn = emit_packet(
                Segment(number, 0, SYN, 9000, b"", offered), source, parse_address(OURS), 1000 + number, PORT
            )
            self.host.receive_packet(syn, time.monotonic_ns())
        return len(self.host.poll(time.monotonic_ns()))

    def serve(self, client: KernelClient) -> None:
        """Carry packets and echo until the client is done and our end is closed."""
        stop = time.monotonic() + PATIENCE_S
        while time.monotonic() < stop and (client.is_alive() or self.host.connections):
            now_ns = time.monotonic_ns()
            for packet in self.host.poll(now_ns):
                if packet[16:20] == parse_address(KERNEL):  # the flood's senders do not exist
                    os.write(self.device, packet)
            self.echo()
            when_ns = self.host.next_deadline() or now_ns + 10**8
            wait_s = min(0.05, max(0.0, (when_ns - time.monotonic_ns()) / 1e9))
            for _ in range(32):
                if not select.select([self.device], [], [], wait_s)[0]:
                    break
                self.host.receive_packet(os.read(self.device, 70_000), time.monotonic_ns())
                wait_s = 0.0

    def echo(self) -> None:
        self.peer = self.peer or self.listener.accept()
        if self.peer is None or self.is_shut:
            return
        self.waiting += self.peer.receive() or b""
        if self.waiting:
            self.waiting = self.waiting[self.peer.send(self.waiting) :]
        elif self.peer.state is State.CLOSE_WAIT and self.peer.is_at_end_of_file:
            self.is_shut = True
            self.peer.shutdown(time.monotonic_ns())


def agreed(client: KernelClient) -> dict[str, object]:
    """What Linux says was agreed on: struct tcp_info's options and both window scales."""
    options, scales = client.info[5], client.info[6]
    names = [name for bit, name in _TCP_INFO_OPTIONS if options & bit]
    return {"options": names, "their_scale": scales >> 4, "our_scale": scales & 15}


def main(timestamps: int) -> None:
    set_sysctl("net.ipv4.tcp_timestamps", timestamps)
    set_sysctl("net.ipv4.tcp_ecn", 1)
    server = Server()
    answered = server.flood()
    text = os.urandom(SIZE)
    client = KernelClient(text)
    client.start()
    server.serve(client)
    listener, peer = server.listener, server.peer
    assert peer is not None, "nobody came through"
    tcb = peer.tcb
    names = ("timestamps_ok", "sack_ok", "ecn", "snd_wscale", "rcv_wscale", "mss_bytes")
    print(
        json.dumps(
            {
                "answered": answered,
                "kept": len(listener.incomplete),
                "cookies_sent": listener.cookies_sent,
                "cookies_accepted": listener.cookies_accepted,
                "echoed": hashlib.sha256(client.read).digest() == hashlib.sha256(text).digest(),
                "kernel": agreed(client),
                "ours": {name: getattr(tcb, name) for name in names},
                "error": peer.error,
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
