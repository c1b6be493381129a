"""A TUN device whose far end is this process: hand-made segments to Linux's TCP and its answers, bytes for bytes.

Only for a process that has a network namespace of its own (``unshare -n``).
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
import time
from pathlib import Path

from tcpscope.model.segment import Segment
from tcpscope.wire.emit import emit_packet
from tcpscope.wire.parse import Datagram, parse_ip, parse_tcp

KERNEL, OURS = "10.9.0.1", "10.9.0.2"
TUNSETIFF, IFF_TUN_NO_PI = 0x400454CA, 0x1001
PATIENCE_S = 60  #: how long an answer that must come is waited for


def set_sysctl(name: str, value: object) -> None:
    """Write a sysctl of this namespace."""
    Path("/proc/sys", *name.split(".")).write_text(str(value), encoding="ascii")


class TunWire:
    """The wire between Linux at ``KERNEL`` and whoever holds this object at ``OURS``."""

    def __init__(self) -> None:
        for command in ("ip link set lo up",):
            subprocess.run(command.split(), check=True)
        self.device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self.device, TUNSETIFF, struct.pack("16sH14x", b"peer0", IFF_TUN_NO_PI))
        set_sysctl("net.ipv6.conf.peer0.disable_ipv6", 1)
        for command in (f"ip addr add {KERNEL}/24 dev peer0", "ip link set peer0 up"):
            subprocess.run(command.split(), check=True)

    def send(self, segment: Segment, source_port: int, destination_port: int, source: str = OURS) -> None:
        """Give Linux a segment."""
        ends = socket.inet_aton(source), socket.inet_aton(KERNEL)
        os.write(self.device, emit_packet(segment, *ends, source_port, destination_port))

    def read(self, patience_s: float = PATIENCE_S) -> tuple[bytes, Datagram] | None:
        """Return the next TCP packet from Linux; ``None`` when none comes in time."""
        stop = time.monotonic() + patience_s
        while (left := stop - time.monotonic()) > 0:
            if not select.select([self.device], [], [], left)[0]:
                return None
            packet = os.read(self.device, 70_000)
            if packet[0] >> 4 == 4 and packet[9] == 6:
                return packet, parse_ip(packet)
        return None

    def take(self, patience_s: float = PATIENCE_S) -> tuple[int, int, Segment] | None:
        """Return ``(source port, destination port, segment)`` of the next packet from Linux."""
        found = self.read(patience_s)
        if found is None:
            return None
        header = parse_tcp(found[1].payload)
        return header.source_port, header.destination_port, header.segment
