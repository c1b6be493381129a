"""From one captured frame to the numbers of one TCP segment, or of the segment an ICMP error quotes.

Like :mod:`tcpscope.wire.view`, whose offsets it continues, this is written in the subset of Python that CPython and
numba both run: :data:`PARTS` may use integers, indexing, each other and the parts of the view.
"""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING
from tcpscope.wire.view import be16, locate, locate_ipv4, locate_ipv6

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Octets = bytes | bytearray | memoryview

#: What :func:`read_frame` found.
NOT_TCP, SEGMENT, ICMP_SOFT, ICMP_HARD, ICMP_TOO_BIG, FRAGMENT, CUT = 0, 1, 2, 3, 4, 5, 6


def be32(data: Octets, at: int) -> int:
    """Read 32 bits in network order, as :func:`~tcpscope.wire.view.be16` does."""
    return data[at] * 0x1000000 + data[at + 1] * 0x10000 + data[at + 2] * 0x100 + data[at + 3]


def read_frame(
    data: Octets, start: int, captured_len: int, original_len: int, link_type: int
) -> tuple[int, int, int, int, int]:
    """Find the TCP header: ``(what, IP version, offset of the IP header, of the TCP header, end of the packet)``."""
    kind, ip, version, transport, end, protocol, fragment, _, _ = locate(
        data, start, captured_len, original_len, link_type
    )
    if fragment >= 0 and (kind == 1 or kind == 4 or kind == 5):
        # extension headers of IPv6 may lead to TCP
        is_tcp = protocol == 6 or (version == 6 and protocol in (0, 43, 51, 60, 135, 139, 140))
        return FRAGMENT if is_tcp else NOT_TCP, version, ip, transport, end
    if kind == 1:
        return SEGMENT, version, ip, transport, end
    if kind == 2:
        return read_icmp(data, transport, start + captured_len, protocol)
    if kind == 5:
        return CUT, version, ip, transport, end
    return NOT_TCP, 0, 0, 0, 0


def read_icmp(data: Octets, at: int, cut: int, protocol: int) -> tuple[int, int, int, int, int]:
    """Read what an ICMP or ICMPv6 error (RFC 792, 4443) quotes, when that is TCP."""
    kind = data[at] + 0
    code = data[at + 1] + 0
    what = NOT_TCP
    if protocol == 1 and kind == 3:
        what = ICMP_TOO_BIG if code == 4 else (ICMP_HARD if code in (2, 3) else ICMP_SOFT)
    elif protocol == 1 and kind == 11:
        what = ICMP_SOFT
    elif protocol == 58 and kind == 1:
        what = ICMP_HARD if code == 4 else ICMP_SOFT
    elif protocol == 58 and kind == 2:
        what = ICMP_TOO_BIG
    elif protocol == 58 and kind == 3:
        what = ICMP_SOFT
    ip = at + 8
    if what == NOT_TCP or ip + 28 > cut:
        return NOT_TCP, 0, 0, 0, 0
    version = data[ip] // 16
    if version == 4:
        _, _, _, transport, end, quoted, _, _, _ = locate_ipv4(data, ip, cut, cut, 0)
    elif version == 6:
        _, _, _, transport, end, quoted, _, _, _ = locate_ipv6(data, ip, cut, cut, 0)
    else:
        return NOT_TCP, 0, 0, 0, 0
    if quoted != 6 or transport + 8 > cut:
        return NOT_TCP, 0, 0, 0, 0
    return what, version, ip, transport, end


def read_syn_options(data: Octets, tcp: int, cut: int) -> int:
    """Return window scale + 1 (0: none) and the maximum segment size << 8 (RFC 7323 §2.2, RFC 9293 §3.7.1)."""
    at = tcp + 20
    end = tcp + (data[tcp + 12] // 16) * 4
    if end > cut:
        end = cut
    found = 0
    while at + 1 < end:
        kind = data[at]
        if kind == 0:
            return found
        if kind == 1:
            at += 1
            continue
        length = data[at + 1]
        if length < 2 or at + length > end:
            return found
        if kind == 2 and length == 4:
            found |= be16(data, at + 2) << 8
        elif kind == 3 and length == 3:
            found |= (data[at + 2] if data[at + 2] < 14 else 14) + 1
        at += length
    return found


#: The functions one text is made of, in the order of need; they also need those of :mod:`tcpscope.wire.view`.
PARTS: tuple[Callable[..., Any], ...] = (be32, read_icmp, read_frame, read_syn_options)
