"""Words to bytes: TCP segments and IP packets, checksums included. The reverse of :mod:`tcpscope.wire.parse`."""

from __future__ import annotations

from struct import Struct

from tcpscope.machine.layout import LINUX_LAYOUT, Layout
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.wire.checksum import checksum, pseudo_header, remainder, transport_checksum
from tcpscope.wire.options import emit_options
from tcpscope.wire.view import TCP_HEADER, TCP_HEADER_BYTES

if TYPE_CHECKING:
    from tcpscope.model.segment import Segment

TCP = 6
_IPV4 = Struct(">BBHHHBBH")
_IPV6 = Struct(">IHBB")
_CHECKSUM = Struct(">H")
_CHECKSUM_AT = 16
_DONT_FRAGMENT = 0x4000


def emit_tcp_header(
    segment: Segment,
    source: bytes,
    destination: bytes,
    source_port: int,
    destination_port: int,
    *,
    offload: bool = False,
    layout: Layout = LINUX_LAYOUT,
) -> bytes:
    """Write the header of ``segment`` with its options; the payload is only summed up, never copied.

    ``source`` and ``destination`` are addresses of 4 or 16 octets. With ``offload`` the field holds the sum of the
    pseudo-header alone, as a network card that finishes the checksum wants it. Raises ``ValueError``.
    """
    options = emit_options(segment.options, layout)
    header = bytearray(TCP_HEADER_BYTES + len(options))
    try:
        TCP_HEADER.pack_into(
            header,
            0,
            source_port,
            destination_port,
            segment.seq,
            segment.ack,
            len(header) // 4 << 4,
            segment.flags,
            segment.wnd,
            0,
            segment.urgent_pointer,
        )
    except Exception as error:
        raise ValueError(f"a number does not fit into its field of the header: {error}") from None
    header[TCP_HEADER_BYTES:] = options
    if offload:
        field = remainder(pseudo_header(source, destination, TCP, len(header) + len(segment.payload)))
    else:
        field = transport_checksum(source, destination, TCP, (header, segment.payload))
    _CHECKSUM.pack_into(header, _CHECKSUM_AT, field)
    return bytes(header)


def emit_tcp(
    segment: Segment,
    source: bytes,
    destination: bytes,
    source_port: int,
    destination_port: int,
    *,
    layout: Layout = LINUX_LAYOUT,
) -> bytes:
    """Write ``segment`` with its payload. Raises ``ValueError`` when a number does not fit its field."""
    header = emit_tcp_header(segment, source, destination, source_port, destination_port, layout=layout)
    return header + bytes(segment.payload)


def emit_ipv4_header(
    source: bytes,
    destination: bytes,
    payload_len: int,
    *,
    protocol: int = TCP,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0,
    fragment: int = _DONT_FRAGMENT,
    options: bytes = b"",
) -> bytes:
    """Write an IPv4 header; ``fragment`` is the flags and offset word, ``options`` are whole words. Raises
    ``ValueError``.
    """
    size = 20 + len(options)
    if payload_len > 65_535 - size or len(options) % 4 or len(options) > 40:
        raise ValueError(f"{payload_len} octets and {len(options)} of options do not fit into an IPv4 packet")
    first = 0x40 | size // 4
    head = _IPV4.pack(first, tos, size + payload_len, identification, fragment, ttl, protocol, 0) + source + destination
    return head[:10] + _CHECKSUM.pack(checksum(head + options)) + head[12:] + options


def emit_ipv6_header(
    source: bytes,
    destination: bytes,
    payload_len: int,
    *,
    protocol: int = TCP,
    hop_limit: int = 64,
    traffic_class: int = 0,
    flow_label: int = 0,
) -> bytes:
    """Write an IPv6 header; a payload above 65 535 octets gets length 0 (offload). Raises ``ValueError``."""
    length = payload_len if payload_len <= 65_535 else 0
    first = 6 << 28 | traffic_class << 20 | flow_label
    return _IPV6.pack(first, length, protocol, hop_limit) + source + destination


def emit_ip_header(source: bytes, destination: bytes, payload_len: int, protocol: int = TCP, ecn: int = 0) -> bytes:
    """Write the IP header for addresses of 4 or 16 octets with the usual settings; ``ecn`` as in RFC 3168."""
    if len(source) == 4:
        return emit_ipv4_header(source, destination, payload_len, protocol=protocol, tos=ecn)
    return emit_ipv6_header(source, destination, payload_len, protocol=protocol, traffic_class=ecn)


def emit_packet(segment: Segment, source: bytes, destination: bytes, source_port: int, destination_port: int) -> bytes:
    """Write a whole IP packet that carries ``segment``."""
    tcp = emit_tcp(segment, source, destination, source_port, destination_port)
    return emit_ip_header(source, destination, len(tcp), ecn=segment.ip_ecn) + tcp
