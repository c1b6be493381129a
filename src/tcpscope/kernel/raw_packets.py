"""Frames as they are: a packet socket on an interface of a laboratory host, to watch and to replay; forged segments.

AF_PACKET sees what the host sends after its ``output`` rules and what arrives before its ``input`` rules; a frame
replayed here goes out on the wire to the other host. What the octets mean is read and written by
:mod:`tcpscope.wire`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import NamedTuple

from tcpscope.kernel.sandbox import Host
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import Segment
from tcpscope.wire.checksum import checksum
from tcpscope.wire.emit import emit_ip_header, emit_packet
from tcpscope.wire.parse import Frame, parse_frame

_ETH_P_ALL = 3
_ETHERNET_BYTES = 14
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE = 35, 33
_BUFFER_BYTES = 16 << 20
_IPPROTO_ICMP = 1
_TCP_CHECKSUM_AT = 20 + 16


class SeenFrame(NamedTuple):
    """One frame as it passed the interface, with the kernel's time (nanoseconds since the epoch)."""

    when_ns: int
    is_outgoing: bool
    octets: bytes
    frame: Frame

    @property
    def segment(self) -> Segment:
        """The TCP segment in it."""
        return self.frame.segment


class PacketSocket:
    """A packet socket on an interface of a host: it collects TCP frames from now on."""

    def __init__(self, host: Host, interface: str = "eth0") -> None:
        with host.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._socket.bind((interface, _ETH_P_ALL))
        self._socket.setblocking(False)

    def read_frames(self) -> list[SeenFrame]:
        """Return the TCP frames that have passed since the last call."""
        frames = []
        with contextlib.suppress(BlockingIOError):
            while True:
                octets, ancillary, _, address = self._socket.recvmsg(65600, 64)
                frame = parse_frame(octets)
                if frame is not None:
                    seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
                    is_outgoing = address[2] == socket.PACKET_OUTGOING
                    frames.append(SeenFrame(seconds * 10**9 + nanoseconds, is_outgoing, octets, frame))
        return frames

    def replay(self, seen: SeenFrame) -> None:
        """Send a frame that was seen once more, as a path would that delivers late.

        Linux: a frame seen on its way out may still wait for the device to fill in its checksum, so it is written anew.
        """
        ends = seen.frame.datagram.source, seen.frame.datagram.destination
        ports = seen.frame.source.port, seen.frame.destination.port
        self._socket.send(seen.octets[:_ETHERNET_BYTES] + emit_packet(seen.segment, *ends, *ports))

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()


class RawSender:
    """A raw IPv4 socket on a host that sends forged segments and ICMP errors, from any source address."""

    def __init__(self, host: Host) -> None:
        with host.entered():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)

    def send(self, source: Endpoint, destination: Endpoint, segment: Segment, *, spoil_checksum: bool = False) -> None:
        """Send one segment with a right checksum, or a wrong one."""
        packet = bytearray(_packet(source, destination, segment))
        if spoil_checksum:
            packet[_TCP_CHECKSUM_AT] ^= 0x55
        self._socket.sendto(packet, (destination.address, 0))

    def send_unreachable(self, source: Endpoint, destination: Endpoint, lost: Segment, code: int) -> None:
        """Tell ``destination`` that its segment ``lost`` could not reach ``source``: ICMP type 3 with ``code``."""
        quoted = _packet(destination, source, lost)[:28]
        body = struct.pack("!BBHI", 3, code, 0, 0) + quoted
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
        ends = socket.inet_aton(source.address), socket.inet_aton(destination.address)
        self._socket.sendto(emit_ip_header(*ends, len(body), _IPPROTO_ICMP) + body, (destination.address, 0))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _packet(source: Endpoint, destination: Endpoint, segment: Segment) -> bytes:
    ends = socket.inet_aton(source.address), socket.inet_aton(destination.address)
    return emit_packet(segment, *ends, source.port, destination.port)
