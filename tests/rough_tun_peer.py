"""Run in a network namespace of its own: our endpoint against Linux's TCP over a rough wire, bytes both ways.

``python -m tests.rough_tun_peer PROFILE SIZE SETTINGS`` prints one JSON line: what arrived where, counters of both.
``SETTINGS`` is JSON: ``late`` (each so many-th segment of either end is overtaken by the next four), ``rules`` (a
packet filter with a counter ``hit``), ``sysctls``, ``profile`` (what is otherwise than in PROFILE).
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from typing import Any

from tests.endpoint_tun_peer import PATIENCE_S, Client, KernelServer
from tests.tun_wire import KERNEL, OURS, TunWire, set_sysctl

from tcpscope.machine.profile import PROFILES
from tcpscope.wire.emit import emit_packet
from tcpscope.wire.parse import parse_ip, parse_tcp

OVERTAKERS = 4
DELIVERED_CE_AT = 196  # tcpi_delivered_ce of struct tcp_info


class Overtaking:
    """Holds each so many-th packet back until four later ones have gone; counts packets, not time."""

    def __init__(self, each: int) -> None:
        self.each = each
        self.seen = 0
        self.held: tuple[int, bytes] | None = None

    def order(self, packet: bytes) -> list[bytes]:
        """Return what goes now."""
        self.seen += 1
        if self.each and self.held is None and not self.seen % self.each:
            self.held = (self.seen, packet)
            return []
        due = self.release() if self.held is not None and self.seen >= self.held[0] + OVERTAKERS else []
        return [packet, *due]

    def release(self) -> list[bytes]:
        """Return what is held, when nothing else comes to overtake it."""
        held, self.held = self.held, None
        return [held[1]] if held else []


class HearingServer(KernelServer):
    """Also keeps how many of its segments the kernel heard to have been marked."""

    heard_of_marks = 0

    def finish(self, peer: socket.socket) -> None:
        raw = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        (self.heard_of_marks,) = struct.unpack_from("=I", raw, DELIVERED_CE_AT)
        super().finish(peer)


class RoughClient(Client):
    """Our endpoint, with packets that overtake each other and congestion marks that are passed on."""

    def __init__(self, device: int, profile: str, text: bytes, settings: dict[str, Any]) -> None:
        super().__init__(device, profile, 0.0, text)
        self.end.tcb.profile = PROFILES[profile]._replace(**settings.get("profile", {}))
        self.out, self.into = (Overtaking(settings.get("late", 0)) for _ in range(2))

    def _flush(self) -> None:
        ours, kernel = (socket.inet_aton(address) for address in (OURS, KERNEL))
        while segments := self.end.poll(time.monotonic_ns()):
            for segment in segments:
                for packet in self.out.order(emit_packet(segment, ours, kernel, 5000, 7000)):
                    os.write(self.device, packet)

    def _wait(self) -> None:
        when = self.end.next_deadline() or time.monotonic_ns() + 10**8
        busy = self.sent < len(self.text) and self.end.writable_bytes > 65536
        wait_s = 0.0 if busy else min(0.1, max(0.0, (when - time.monotonic_ns()) / 1e9))
        for _ in range(16):
            if not select.select([self.device], [], [], wait_s)[0]:
                for packet in self.out.release():
                    os.write(self.device, packet)
                self._take(self.into.release())
                return
            wait_s = 0.0
            packet = os.read(self.device, 70_000)
            if packet[0] >> 4 == 4 and packet[9] == 6:
                self._take(self.into.order(packet))

    def _take(self, packets: list[bytes]) -> None:
        for packet in packets:
            segment = parse_tcp(parse_ip(packet).payload).segment._replace(ip_ecn=packet[1] & 3)
            self.end.receive_segment(segment, time.monotonic_ns())


def count_hits() -> int:
    """Packets that the filter's counter has seen."""
    shown = subprocess.run(["nft", "-j", "list", "counters"], check=True, capture_output=True, text=True)
    return sum(item["counter"]["packets"] for item in json.loads(shown.stdout)["nftables"] if "counter" in item)


def main(profile: str, size: int, settings: dict[str, Any]) -> None:
    device = TunWire().device
    for name, value in settings.get("sysctls", {}).items():
        set_sysctl(name, value)
    if "rules" in settings:
        subprocess.run(["nft", "-f", "-"], input=settings["rules"], text=True, check=True)
    server = HearingServer()
    server.start()
    client = RoughClient(device, profile, os.urandom(size), settings)
    client.run()
    server.join(PATIENCE_S)
    tcb = client.end.tcb
    seen = {
        "is_whole": server.text == client.text == client.read and server.was_closed,
        "state": client.end.state.name,
        "error": client.end.error,
        "retransmits": tcb.counters.retransmits,
        "mtu_probes": tcb.counters.mtu_probes,
        "path_mtu": tcb.path_mtu_bytes,
        "ecn": tcb.ecn,
        "ssthresh": tcb.congestion.ssthresh_bytes,
        "reordering_seen": tcb.rack.reordering_seen,
        "hits": count_hits() if "rules" in settings else 0,
        "kernel_heard_of_marks": server.heard_of_marks,
    }
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
