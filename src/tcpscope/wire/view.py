"""Where the headers are: offsets into a buffer, nothing copied, nothing judged, nothing raised.

:func:`locate` finds the IP and the transport header behind any link layer of :mod:`tcpscope.wire.link`: VLAN tags
(802.1Q, QinQ), PPPoE, SNAP, IPv4, IPv6 with extension headers, fragments. Lengths are the ones IP states, so that
what the snapshot length cut off is still counted; an IP length of 0 (segments bigger than the wire, cut up later by
the network card; RFC 2675 jumbograms) is replaced by the length of the frame.

Rule of this file: the functions in :data:`PARTS` use integers, indexing and each other alone. So the same text runs
on ``bytes``, ``bytearray`` and ``memoryview`` and, compiled by :func:`compile_with`, on arrays.
"""

from __future__ import annotations

from struct import Struct
from types import FunctionType

from tcpscope.model.record import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Octets = bytes | bytearray | memoryview

#: What :func:`locate` found.
NOT_IP, TCP, ICMP, OTHER, FRAGMENT, CUT, BAD = range(7)

#: TCP header: source port, destination port, seq, ack, offset, flags, window, checksum, urgent pointer.
TCP_HEADER = Struct(">HHIIBBHHH")
TCP_HEADER_BYTES = 20


class View(NamedTuple):
    """What :func:`locate` returns as a plain tuple, by name. Offsets count from the start of the buffer.

    ``kind`` is ``TCP``, ``ICMP`` (version 4 or 6), ``OTHER`` (another protocol), ``FRAGMENT`` (not the first: no
    header in it), ``CUT`` (the capture ends inside the headers), ``BAD`` (the headers contradict themselves) or
    ``NOT_IP``. ``end`` is where the IP payload ends on the wire, perhaps behind what was captured.
    ``fragment_offset`` counts bytes, -1 when it is no fragment. ``tag`` tells VLANs apart: outer id * 4096 + inner.
    """

    kind: int
    ip: int
    version: int
    transport: int
    end: int
    protocol: int
    fragment_offset: int
    has_more_fragments: int
    tag: int


def be16(data: Octets, at: int) -> int:
    """Read 16 bits in network order. Why not shifts: compiled, a shifted octet is unsigned and mixes badly."""
    return data[at] * 0x100 + data[at + 1]


def skip_tags(data: Octets, at: int, cut: int, ethertype: int) -> tuple[int, int, int]:
    """Follow VLAN tags and PPPoE from ``at``: ``(offset of IP or -1 when cut, its version or 0, tag)``."""
    tag = 0
    for _ in range(8):
        if ethertype == 0x0800:
            return at, 4, tag
        if ethertype == 0x86DD:
            return at, 6, tag
        if ethertype in (0x8100, 0x88A8, 0x9100, 0x9200):
            if at + 4 > cut:
                return -1, 0, tag
            tag = (tag & 0xFFF) << 12 | be16(data, at) & 0xFFF
            ethertype = be16(data, at + 2)
            at += 4
        elif ethertype == 0x8864:  # PPPoE session (RFC 2516)
            return skip_ppp(data, at + 6, cut, tag)
        elif ethertype <= 1500:  # IEEE 802.3 length: LLC, then SNAP (RFC 1042)
            if at + 8 > cut:
                return -1, 0, tag
            if be16(data, at) != 0xAAAA:
                return at, 0, tag
            ethertype = be16(data, at + 6)
            at += 8
            if ethertype <= 1500:
                return at, 0, tag
        else:
            return at, 0, tag
    return at, 0, tag


def skip_ppp(data: Octets, at: int, cut: int, tag: int) -> tuple[int, int, int]:
    """Skip a PPP header with or without address and control, protocol field compressed or not (RFC 1661, 1662)."""
    if at + 2 <= cut and be16(data, at) == 0xFF03:
        at += 2
    if at + 2 > cut:
        return -1, 0, tag
    if data[at] & 1:
        protocol = data[at]
        at += 1
    else:
        protocol = be16(data, at)
        at += 2
    if protocol == 0x21:
        return at, 4, tag
    return at, 6 if protocol == 0x57 else 0, tag


def skip_nflog(data: Octets, at: int, cut: int) -> tuple[int, int, int]:
    """Find the packet among the attributes of a netfilter log message (NFULA_PAYLOAD, 9), either byte order."""
    at += 4
    for _ in range(64):
        if at + 4 > cut:
            return -1, 0, 0
        length = data[at] + data[at + 1] * 0x100
        kind = data[at + 2] + data[at + 3] * 0x100
        if kind > 0xFF and not data[at + 2]:  # written on a big-endian machine
            length = be16(data, at)
            kind = be16(data, at + 2)
        if kind & 0x7FFF == 9:
            return at + 4, -1, 0
        if length < 4:
            return at, 0, 0
        at += (length + 3) // 4 * 4
    return at, 0, 0


def skip_family(data: Octets, at: int, cut: int) -> tuple[int, int, int]:
    """Skip the 4-byte address family of NULL and LOOP; which byte order shows in where its zeros are."""
    if at + 4 > cut:
        return -1, 0, 0
    family = data[at] if data[at] else data[at + 3]
    if family == 2:
        return at + 4, 4, 0
    return at + 4, 6 if family in (10, 24, 28, 30) else 0, 0


def skip_link(data: Octets, start: int, cut: int, link_type: int) -> tuple[int, int, int]:
    """Skip the link header: ``(offset of IP or -1 when cut, version, 0 none, -1 look, tag)``."""
    if link_type == 1:
        if start + 14 > cut:
            return -1, 0, 0
        return skip_tags(data, start + 14, cut, be16(data, start + 12))
    if link_type in (101, 12, 14, 228, 229):
        return start, -1, 0
    if link_type == 113:
        if start + 16 > cut:
            return -1, 0, 0
        return skip_tags(data, start + 16, cut, be16(data, start + 14))
    if link_type == 276:
        if start + 20 > cut:
            return -1, 0, 0
        return skip_tags(data, start + 20, cut, be16(data, start))
    if link_type in (0, 108):
        return skip_family(data, start, cut)
    if link_type in (9, 50):
        return skip_ppp(data, start, cut, 0)
    if link_type == 51:
        return skip_ppp(data, start + 6, cut, 0)
    if link_type == 104:
        if start + 4 > cut:
            return -1, 0, 0
        return skip_tags(data, start + 4, cut, be16(data, start + 2))
    if link_type == 239:
        return skip_nflog(data, start, cut)
    return start, 0, 0


def kind_of(protocol: int, transport: int, cut: int) -> int:
    """Name the payload by its protocol; a TCP header must be there whole, of ICMP eight bytes."""
    if protocol == 6:
        return 1 if transport + 20 <= cut else 5
    if protocol in (1, 58):
        return 2 if transport + 8 <= cut else 5
    return 3


def locate_ipv4(
    data: Octets, ip: int, cut: int, frame_end: int, tag: int
) -> tuple[int, int, int, int, int, int, int, int, int]:
    """Read an IPv4 header (RFC 791) at ``ip``; the result is that of :func:`locate`."""
    if ip + 20 > cut:
        return 5, ip, 4, ip, frame_end, 0, -1, 0, tag
    header_bytes = (data[ip] & 15) * 4
    total_bytes = be16(data, ip + 2)
    transport = ip + header_bytes
    protocol = data[ip + 9] + 0
    end = ip + total_bytes if total_bytes else frame_end
    if header_bytes < 20 or end < transport:
        return 6, ip, 4, transport, end, protocol, -1, 0, tag
    fragment = be16(data, ip + 6)
    more = fragment >> 13 & 1
    offset = (fragment & 0x1FFF) * 8
    if offset:
        return 4, ip, 4, transport, end, protocol, offset, more, tag
    return kind_of(protocol, transport, cut), ip, 4, transport, end, protocol, 0 if more else -1, more, tag


def locate_ipv6(
    data: Octets, ip: int, cut: int, frame_end: int, tag: int
) -> tuple[int, int, int, int, int, int, int, int, int]:
    """Read an IPv6 header and its extension headers (RFC 8200) at ``ip``; the result is that of :func:`locate`."""
    if ip + 40 > cut:
        return 5, ip, 6, ip, frame_end, 0, -1, 0, tag
    payload_bytes = be16(data, ip + 4)
    end = ip + 40 + payload_bytes if payload_bytes else frame_end
    following = data[ip + 6]
    at = ip + 40
    offset = -1
    more = 0
    for _ in range(16):
        if following not in (0, 43, 44, 51, 60, 135, 139, 140):
            return kind_of(following, at, cut), ip, 6, at, end, following, offset, more, tag
        if at + 8 > cut:
            return 5, ip, 6, at, end, following, offset, more, tag
        length = 8
        if following == 44:
            more = data[at + 3] & 1
            offset = be16(data, at + 2) & 0xFFF8
        elif following == 51:  # authentication header: in 4-byte words, less 2 (RFC 4302)
            length = (data[at + 1] + 2) * 4
        else:
            length = (data[at + 1] + 1) * 8
        following = data[at]
        at += length
        if at > end:
            return 6, ip, 6, at, end, following, offset, more, tag
        if offset > 0:
            return 4, ip, 6, at, end, following, offset, more, tag
        if offset == 0 and not more:  # an atomic fragment is whole (RFC 6946)
            offset = -1
    return 6, ip, 6, at, end, following, offset, more, tag


def locate(
    data: Octets, start: int, captured_len: int, original_len: int, link_type: int
) -> tuple[int, int, int, int, int, int, int, int, int]:
    """Find the headers of the frame at ``start``; the fields of :class:`View` as a plain tuple."""
    cut = start + captured_len
    ip, version, tag = skip_link(data, start, cut, link_type)
    if ip < 0 or (version and ip >= cut):
        return 5, start, 0, start, start, 0, -1, 0, tag
    if version < 0:
        version = data[ip] // 16
    if version == 4 and (data[ip] >> 4) == 4:
        return locate_ipv4(data, ip, cut, start + original_len, tag)
    if version == 6 and (data[ip] >> 4) == 6:
        return locate_ipv6(data, ip, cut, start + original_len, tag)
    return (6 if version in (4, 6) else 0), ip, 0, ip, ip, 0, -1, 0, tag


#: The functions one text is made of, in the order of need.
PARTS: tuple[Any, ...] = (
    be16,
    skip_ppp,
    skip_tags,
    skip_nflog,
    skip_family,
    skip_link,
    kind_of,
    locate_ipv4,
    locate_ipv6,
    locate,
)


def compile_with(jit: Callable[[Any], Any]) -> dict[str, Any]:
    """Compile :data:`PARTS` with ``jit`` (``numba.njit(cache=True)``): name -> compiled function.

    The compiled functions call each other, not the ones above.
    """
    compiled: dict[str, Any] = {"range": range, "__name__": __name__}
    for part in PARTS:
        compiled[part.__name__] = jit(FunctionType(part.__code__, compiled, part.__name__))
    return {part.__name__: compiled[part.__name__] for part in PARTS}
