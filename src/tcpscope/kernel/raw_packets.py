"""Frames as they are: a packet socket on ``eth0`` of a laboratory host, to watch, to replay and to forge.

AF_PACKET sees what the host sends after its ``output`` rules and what arrives before its ``input`` rules; a frame
sent here goes out on the wire to the other host. Forged segments carry correct checksums.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import NamedTuple

from tcpscope.kernel.sandbox import Host

_ETH_P_ALL = 3
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE = 35, 33
_BUFFER_BYTES = 16 << 20


class Frame(NamedTuple):
    """One frame as it passed ``eth0``, with the kernel's time (nanoseconds since the epoch)."""

    when_ns: int
    is_outgoing: bool
    octets: bytes

    @property
    def tcp(self) -> bytes:
        """The TCP header and payload of an IPv4 or IPv6 frame without extension headers; empty for others."""
        ethertype = self.octets[12:14]
        if ethertype == b"\x08\x00" and self.octets[23] == socket.IPPROTO_TCP:
            start = 14 + (self.octets[14] & 15) * 4
            return self.octets[start : 14 + int.from_bytes(self.octets[16:18], "big")]
        if ethertype == b"\x86\xdd" and self.octets[20] == socket.IPPROTO_TCP:
            return self.octets[54:]
        return b""

    @property
    def flags(self) -> int:
        """The TCP flags; 0 when it is no TCP segment."""
        return self.tcp[13] if len(self.tcp) >= 20 else 0

    @property
    def seq(self) -> int:
        """The TCP sequence number."""
        return int.from_bytes(self.tcp[4:8], "big")


class PacketSocket:
    """A packet socket on ``eth0`` of a host; with ``watch`` it collects frames from now on."""

    def __init__(self, host: Host, *, watch: bool = True) -> None:
        with host.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL) if watch else 0)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._socket.bind(("eth0", _ETH_P_ALL if watch else 0))
        self._socket.setblocking(False)

    def read_frames(self) -> list[Frame]:
        """Return the frames that have passed since the last call."""
        frames = []
        with contextlib.suppress(BlockingIOError):
            while True:
                octets, ancillary, _, address = self._socket.recvmsg(65600, 64)
                seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
                frames.append(Frame(seconds * 10**9 + nanoseconds, address[2] == socket.PACKET_OUTGOING, octets))
        return frames

    def send(self, octets: bytes) -> None:
        """Send one whole frame."""
        self._socket.send(octets)

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()


class RawSender:
    """A raw IPv4 socket on a host that sends forged TCP segments, from any source address."""

    def __init__(self, host: Host) -> None:
        with host.entered():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)

    def send(
        self,
        source: tuple[str, int],
        destination: tuple[str, int],
        flags: int,
        *,
        seq: int = 0,
        ack: int = 0,
        payload: bytes = b"",
        options: bytes = b"",
        spoil_checksum: bool = False,
    ) -> None:
        """Send one segment; ``options`` must be a multiple of four octets."""
        head = struct.pack(
            "!HHIIBBHHH", source[1], destination[1], seq, ack, (20 + len(options)) << 2, flags, 64240, 0, 0
        )
        addresses = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
        segment = head + options + payload
        pseudo = addresses + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(segment))
        check = _checksum(pseudo + segment) ^ (0x5555 if spoil_checksum else 0)
        segment = segment[:16] + struct.pack("!H", check) + segment[18:]
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, socket.IPPROTO_TCP, 0) + addresses
        self._socket.sendto(header + segment, (destination[0], 0))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _checksum(octets: bytes) -> int:
    """The Internet checksum, RFC 1071."""
    if len(octets) % 2:
        octets += b"\0"
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
