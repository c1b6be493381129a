"""From captured octets to one TCP header's numbers: link type, IPv4/IPv6, TCP, and ICMP errors that quote one.

Written in the plain subset of Python that both CPython and numba run (integers, indexing, no objects): the pure Python
engine and the compiled one read the same lines. ``data`` is anything indexable that yields octets. It looks at nothing
beyond ``end`` (what was captured) and takes lengths from the IP header, not from what was captured.

RFC 791, 8200 (§4 extension headers), 792, 4443, 9293 §3.1; PPPoE RFC 2516; link types as assigned by tcpdump.org.
"""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

#: What a packet turned out to be.
NOT_TCP, IS_TCP, IS_ICMP_SOFT, IS_ICMP_HARD, IS_ICMP_TOO_BIG, IS_FRAGMENT, IS_CUT = 0, 1, 2, 3, 4, 5, 6

_NULL, _ETHERNET, _PPP, _RAW_BSD, _RAW_OPENBSD, _PPPOE, _RAW = 0, 1, 9, 12, 14, 51, 101
_LOOP, _SLL, _PPP_WITH_DIR, _IPV4, _IPV6, _NFLOG, _SLL2 = 108, 113, 204, 228, 229, 239, 276


def find_ip(data: Any, at: int, end: int, link_type: int) -> int:
    """Return where the IP header starts, or -1 when there is none (or it was cut off)."""
    if link_type == _ETHERNET:
        return _after_ethertype(data, at + 12, end)
    if link_type in (_RAW, _IPV4, _IPV6, _RAW_BSD, _RAW_OPENBSD):
        return at
    if link_type == _NULL or link_type == _LOOP:
        return at + 4
    if link_type == _SLL:
        return _after_ethertype(data, at + 14, end)
    if link_type == _SLL2:
        return _after_protocol(data, at + 20, end, (data[at] << 8) | data[at + 1]) if at + 20 <= end else -1
    if link_type == _PPP:
        return _after_ppp(data, at, end)
    if link_type == _PPP_WITH_DIR:
        return _after_ppp(data, at + 1, end)
    if link_type == _PPPOE:
        return _after_ppp(data, at + 6, end)
    if link_type == _NFLOG:
        return _after_nflog(data, at, end)
    return -1


def _after_ethertype(data: Any, at: int, end: int) -> int:
    if at + 2 > end:
        return -1
    return _after_protocol(data, at + 2, end, (data[at] << 8) | data[at + 1])


def _after_protocol(data: Any, at: int, end: int, protocol: int) -> int:
    while protocol == 0x8100 or protocol == 0x88A8 or protocol == 0x9100:  # VLAN, QinQ
        if at + 4 > end:
            return -1
        protocol = (data[at + 2] << 8) | data[at + 3]
        at += 4
    if protocol == 0x0800 or protocol == 0x86DD:
        return at
    if protocol == 0x8864:  # PPPoE session
        return _after_ppp(data, at + 6, end)
    return -1


def _after_ppp(data: Any, at: int, end: int) -> int:
    if at + 4 > end:
        return -1
    if data[at] == 0xFF and data[at + 1] == 0x03:
        at += 2
    if data[at] & 1:  # protocol field compressed to one octet (RFC 1661 §6.5)
        return at + 1 if data[at] in (0x21, 0x57) else -1
    protocol = (data[at] << 8) | data[at + 1]
    return at + 2 if protocol in (0x0021, 0x0057) else -1


def _after_nflog(data: Any, at: int, end: int) -> int:
    at += 4
    while at + 4 <= end:
        length = data[at] | (data[at + 1] << 8)  # host order of a little-endian machine
        kind = data[at + 2] | (data[at + 3] << 8)
        if kind & 0x7FFF == 9:
            return at + 4
        if length < 4:
            return -1
        at += (length + 3) & ~3
    return -1


def find_tcp(data: Any, at: int, end: int, link_type: int, original_bytes: int) -> tuple[int, int, int, int, int, int]:
    """Find the TCP header: ``(kind, version, source at, destination at, header at, end of the IP packet)``.

    For an ICMP error these are of the quoted packet. ``original_bytes`` is the length on the wire: it stands in for
    an IP length of 0 (segmentation offload).
    """
    ip_at = find_ip(data, at, end, link_type)
    if ip_at < 0 or ip_at >= end:
        return (NOT_TCP, 0, 0, 0, 0, 0)
    return _in_ip(data, ip_at, end, at + original_bytes, IS_TCP)


def _in_ip(data: Any, at: int, end: int, wire_end: int, kind: int) -> tuple[int, int, int, int, int, int]:
    version = data[at] >> 4
    if version == 4:
        return _in_ipv4(data, at, end, wire_end, kind)
    if version == 6:
        return _in_ipv6(data, at, end, wire_end, kind)
    return (NOT_TCP, 0, 0, 0, 0, 0)


def _in_ipv4(data: Any, at: int, end: int, wire_end: int, kind: int) -> tuple[int, int, int, int, int, int]:
    if at + 20 > end:
        return (IS_CUT, 0, 0, 0, 0, 0)
    header_bytes = (data[at] & 15) * 4
    total_bytes = (data[at + 2] << 8) | data[at + 3]
    protocol = data[at + 9]
    if header_bytes < 20 or (protocol != 6 and protocol != 1):
        return (NOT_TCP, 0, 0, 0, 0, 0)
    if ((data[at + 6] & 0x1F) << 8) | data[at + 7]:
        return (IS_FRAGMENT, 0, 0, 0, 0, 0)
    ip_end = at + total_bytes if total_bytes else wire_end
    l4 = at + header_bytes
    if protocol == 6:
        return (kind, 4, at + 12, at + 16, l4, ip_end)
    if kind != IS_TCP or l4 + 8 + 20 > end or data[l4] != 3:
        return (NOT_TCP, 0, 0, 0, 0, 0)
    code = data[l4 + 1]
    kind = IS_ICMP_TOO_BIG if code == 4 else (IS_ICMP_HARD if code in (2, 3) else IS_ICMP_SOFT)
    return _quoted(data, l4 + 8, end, kind)


def _quoted(data: Any, at: int, end: int, kind: int) -> tuple[int, int, int, int, int, int]:
    """Read the packet inside an ICMP error (spelled out twice because numba knows no recursion here)."""
    if data[at] >> 4 == 4 and at + 20 <= end and data[at + 9] == 6:
        header_bytes = (data[at] & 15) * 4
        return (kind, 4, at + 12, at + 16, at + header_bytes, at + ((data[at + 2] << 8) | data[at + 3]))
    if data[at] >> 4 == 6 and at + 40 <= end and data[at + 6] == 6:
        return (kind, 6, at + 8, at + 24, at + 40, at + 40 + ((data[at + 4] << 8) | data[at + 5]))
    return (NOT_TCP, 0, 0, 0, 0, 0)


def _in_ipv6(data: Any, at: int, end: int, wire_end: int, kind: int) -> tuple[int, int, int, int, int, int]:
    if at + 40 > end:
        return (IS_CUT, 0, 0, 0, 0, 0)
    payload_bytes = (data[at + 4] << 8) | data[at + 5]
    ip_end = at + 40 + payload_bytes if payload_bytes else wire_end
    following = data[at + 6]
    l4 = at + 40
    for _ in range(16):
        if following == 6:
            return (kind, 6, at + 8, at + 24, l4, ip_end)
        if l4 + 8 > end:
            return (IS_CUT if following in (0, 43, 44, 51, 60) else NOT_TCP, 0, 0, 0, 0, 0)
        if following == 58:
            if data[l4] > 2 or data[l4] == 0 or l4 + 48 > end:
                return (NOT_TCP, 0, 0, 0, 0, 0)
            hard = data[l4 + 1] in (1, 4)
            kind = IS_ICMP_TOO_BIG if data[l4] == 2 else (IS_ICMP_HARD if hard else IS_ICMP_SOFT)
            return _quoted(data, l4 + 8, end, kind)
        if following == 0 or following == 43 or following == 60:
            following, l4 = data[l4], l4 + 8 + data[l4 + 1] * 8
        elif following == 51:
            following, l4 = data[l4], l4 + 8 + data[l4 + 1] * 4
        elif following == 44:
            if ((data[l4 + 2] << 8) | data[l4 + 3]) & 0xFFF8:
                return (IS_FRAGMENT, 0, 0, 0, 0, 0)
            following, l4 = data[l4], l4 + 8
        else:
            return (NOT_TCP, 0, 0, 0, 0, 0)
    return (NOT_TCP, 0, 0, 0, 0, 0)


def read_window_scale(data: Any, at: int, end: int) -> int:
    """Return the window scale option between ``at`` and ``end``, -1 without one (RFC 7323 §2.2)."""
    while at < end:
        kind = data[at]
        if kind == 0:
            return -1
        if kind == 1:
            at += 1
            continue
        if at + 1 >= end:
            return -1
        length = data[at + 1]
        if length < 2:
            return -1
        if kind == 3 and length == 3 and at + 2 < end:
            return min(int(data[at + 2]), 14)
        at += length
    return -1


def read_mss(data: Any, at: int, end: int) -> int:
    """Return the maximum segment size option between ``at`` and ``end``, 0 without one (RFC 9293 §3.7.1)."""
    while at < end:
        kind = data[at]
        if kind == 0:
            return 0
        if kind == 1:
            at += 1
            continue
        if at + 1 >= end:
            return 0
        length = data[at + 1]
        if length < 2:
            return 0
        if kind == 2 and length == 4 and at + 3 < end:
            return int(data[at + 2] << 8) | int(data[at + 3])
        at += length
    return 0
