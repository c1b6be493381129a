"""Bytes to words, with judgement: IP datagrams, TCP segments and whole captured frames.

What is malformed is reported in ``problems`` with its place, and what can be said is said. ``ValueError`` is raised
only when there is no header to speak of. Offsets come from :mod:`tcpscope.wire.view`: one text finds headers.
"""

from __future__ import annotations

from tcpscope.model.address import Endpoint
from tcpscope.model.record import TYPE_CHECKING, NamedTuple
from tcpscope.model.segment import Segment
from tcpscope.wire import link, view
from tcpscope.wire.address import format_address
from tcpscope.wire.options import Problem, parse_options

if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview


class TcpHeader(NamedTuple):
    """One parsed TCP header: ports, the :class:`Segment`, the checksum as sent, what is wrong."""

    source_port: int
    destination_port: int
    segment: Segment
    checksum: int
    problems: tuple[Problem, ...] = ()


class Datagram(NamedTuple):
    """One IP packet. ``payload`` follows all extension headers; ``length`` is its size on the wire."""

    version: int
    source: bytes
    destination: bytes
    protocol: int
    payload: memoryview
    length: int
    hop_limit: int
    traffic_class: int
    identification: int = 0
    dont_fragment: bool = False
    fragment_offset: int = -1  #: in octets; -1: no fragment
    has_more_fragments: bool = False
    options: bytes = b""  #: of an IPv4 header


class Frame(NamedTuple):
    """One captured frame with a TCP segment in it."""

    source: Endpoint
    destination: Endpoint
    datagram: Datagram
    header: TcpHeader
    tag: int = 0  #: VLAN: outer id * 4096 + inner

    @property
    def segment(self) -> Segment:
        """The segment alone."""
        return self.header.segment


def parse_tcp(data: Buffer, length: int | None = None) -> TcpHeader:
    """Read a TCP header and what follows; ``length`` is the size on the wire when ``data`` was cut.

    Raises ``ValueError`` when fewer than 20 octets are there.
    """
    octets = memoryview(data)
    if len(octets) < view.TCP_HEADER_BYTES:
        raise ValueError(f"{len(octets)} octets are no TCP header")
    source, destination, seq, ack, offset, flags, window, check, urgent = view.TCP_HEADER.unpack_from(octets)
    header_bytes = (offset >> 4) * 4
    total = len(octets) if length is None else length
    problems: tuple[Problem, ...] = ()
    if header_bytes < view.TCP_HEADER_BYTES or header_bytes > total:
        problems = (Problem(12, f"data offset {header_bytes} in a segment of {total} octets"),)
        segment = Segment(seq, ack, flags, window, b"", urgent_pointer=urgent)
        return TcpHeader(source, destination, segment, check, problems)
    options, problems = parse_options(octets[view.TCP_HEADER_BYTES : header_bytes])
    if header_bytes > len(octets):
        problems = (Problem(len(octets), "the capture ends inside the options"),)
    payload = octets[header_bytes:total]
    uncaptured = total - header_bytes - len(payload)
    segment = Segment(seq, ack, flags, window, payload, options, urgent, uncaptured_bytes=uncaptured)
    return TcpHeader(source, destination, segment, check, problems)


def parse_ip(data: Buffer, original_len: int | None = None) -> Datagram:
    """Read an IPv4 or IPv6 packet. Raises ``ValueError`` when there is none."""
    octets = memoryview(data)
    wire_len = len(octets) if original_len is None else original_len
    place = view.View(*view.locate(octets, 0, len(octets), wire_len, link.RAW))
    if place.kind in (view.NOT_IP, view.BAD) or (place.kind == view.CUT and place.transport == place.ip):
        raise ValueError("no sound IP header")
    return _datagram(octets, place)


def parse_frame(data: Buffer, original_len: int | None = None, link_type: int = link.ETHERNET) -> Frame | None:
    """Read a captured frame down to TCP; ``None`` when it holds no whole TCP header (or is a later fragment)."""
    octets = memoryview(data)
    wire_len = len(octets) if original_len is None else original_len
    place = view.View(*view.locate(octets, 0, len(octets), wire_len, link_type))
    if place.kind != view.TCP:
        return None
    datagram = _datagram(octets, place)
    header = parse_tcp(datagram.payload, datagram.length)
    header = header._replace(segment=header.segment._replace(ip_ecn=datagram.traffic_class & 3))
    return Frame(
        Endpoint(format_address(datagram.source), header.source_port),
        Endpoint(format_address(datagram.destination), header.destination_port),
        datagram,
        header,
        place.tag,
    )


def _datagram(octets: memoryview, place: view.View) -> Datagram:
    ip, transport = place.ip, place.transport
    payload = octets[transport : max(transport, place.end)]
    length = max(0, place.end - transport)
    more = bool(place.has_more_fragments)
    if place.version == 4:
        return Datagram(
            4,
            bytes(octets[ip + 12 : ip + 16]),
            bytes(octets[ip + 16 : ip + 20]),
            place.protocol,
            payload,
            length,
            octets[ip + 8],
            octets[ip + 1],
            view.be16(octets, ip + 4),
            bool(octets[ip + 6] & 0x40),
            place.fragment_offset,
            more,
            bytes(octets[ip + 20 : min(transport, ip + 60)]),
        )
    traffic_class = (view.be16(octets, ip) >> 4) & 0xFF
    source, destination = bytes(octets[ip + 8 : ip + 24]), bytes(octets[ip + 24 : ip + 40])
    return Datagram(
        6, source, destination, place.protocol, payload, length, octets[ip + 7], traffic_class,
        fragment_offset=place.fragment_offset, has_more_fragments=more,
    )  # fmt: skip
