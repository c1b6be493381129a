"""``NETLINK_SOCK_DIAG`` (``include/uapi/linux/inet_diag.h``): every TCP and UDP socket of a namespace, as rows.

A row is a plain tuple (:mod:`tcpscope.model.row`); words are made of rows elsewhere, and only when somebody wants
words. MPTCP subflows are TCP sockets and are listed; MPTCP sockets themselves are not.

Why ``TCPDIAG_GETSOCK`` for TCP: the old request (type 18, family 0) returns IPv4 and IPv6 in one walk of the kernel's
table; ``SOCK_DIAG_BY_FAMILY`` (type 20) walks it once for each family. Type 20 serves UDP, one family alone and
kernel-side filters.

Linux: states 12 (``NEW_SYN_RECV``) and 13 (``BOUND_INACTIVE``) are reported as 3 and 7 already (6.18; others are
translated); bit 13 of the mask asks for sockets that were only bound (since 6.8).
"""

from __future__ import annotations

from struct import Struct

from tcpscope.kernel.netlink import HEADER_BYTES, NLM_F_DUMP, NLM_F_REQUEST, dump, iter_messages, pack_message
from tcpscope.model.spelling import KERNEL_EXTRA

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable

    from tcpscope.model.row import Row

AF_INET, AF_INET6 = 2, 10
IPPROTO_TCP, IPPROTO_UDP = 6, 17
TCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 18, 20, 21

BOUND_INACTIVE_MASK = 1 << 13
#: Every state but ``BOUND_INACTIVE``: what ``ss -a`` asks for.
ALL_STATES = 0xFFF

# Extensions: bit n-1 of the request asks for attribute n. MARK, CGROUP_ID, SOCKOPT, SKV6ONLY come unasked.
INET_DIAG_MEMINFO, INET_DIAG_INFO, INET_DIAG_CONG, INET_DIAG_TOS, INET_DIAG_TCLASS = 1, 2, 4, 5, 6
INET_DIAG_SKMEMINFO, INET_DIAG_SHUTDOWN, INET_DIAG_SKV6ONLY, INET_DIAG_MARK = 7, 8, 11, 15
INET_DIAG_CGROUP_ID, INET_DIAG_SOCKOPT = 21, 22
INET_DIAG_REQ_BYTECODE = 1

EXT_INFO, EXT_CONG, EXT_SKMEMINFO, EXT_SHUTDOWN = 1 << 1, 1 << 3, 1 << 6, 1 << 7
DETAIL = EXT_INFO | EXT_CONG | EXT_SKMEMINFO | EXT_SHUTDOWN

TIMER_TIMEWAIT = 3

_ANY_SOCKET = bytes(40) + b"\xff" * 8  # struct inet_diag_sockid: no address, no port, INET_DIAG_NOCOOKIE
_REQUEST_V1 = Struct("=BBBB48sII")  # struct inet_diag_req: family, src_len, dst_len, ext, id, states, dbs
_REQUEST_V2 = Struct("=BBBxI48s")  # struct inet_diag_req_v2: family, protocol, ext, pad, states, id
#: ``struct inet_diag_msg``: family, state, timer, retrans, sport, dport, src, dst, if, cookie, expires, rqueue,
#: wqueue, uid, inode. Ports are big-endian.
MESSAGE = Struct("=BBBBHH16s16sIQIIIII")
MESSAGE_BYTES = MESSAGE.size


def dump_tcp(
    channel: _socket.socket,
    *,
    states: int = ALL_STATES,
    extensions: int = 0,
    family: int = 0,
    bytecode: bytes = b"",
) -> list[bytes]:
    """Dump TCP sockets as raw datagrams; ``family`` 0 is both. Raises ``OSError`` when the kernel refuses."""
    if not family and not bytecode:
        request = _REQUEST_V1.pack(0, 0, 0, extensions, _ANY_SOCKET, states, 0)
        return dump(channel, pack_message(TCPDIAG_GETSOCK, NLM_F_REQUEST | NLM_F_DUMP, request))
    return _dump_families(channel, IPPROTO_TCP, states, extensions, family, bytecode)


def dump_udp(
    channel: _socket.socket,
    *,
    states: int = ALL_STATES,
    extensions: int = 0,
    family: int = 0,
    bytecode: bytes = b"",
) -> list[bytes]:
    """Dump UDP sockets: state 1 when connected, else 7. Raises ``OSError`` when the kernel refuses."""
    return _dump_families(channel, IPPROTO_UDP, states, extensions, family, bytecode)


def _dump_families(
    channel: _socket.socket, protocol: int, states: int, extensions: int, family: int, bytecode: bytes
) -> list[bytes]:
    datagrams: list[bytes] = []
    for each in (family,) if family else (AF_INET, AF_INET6):
        request = _REQUEST_V2.pack(each, protocol, extensions, states, _ANY_SOCKET)
        if bytecode:
            request += pack_attribute(INET_DIAG_REQ_BYTECODE, bytecode)
        datagrams += dump(channel, pack_message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, request))
    return datagrams


def pack_attribute(kind: int, value: bytes) -> bytes:
    """Pack one ``struct rtattr``, padded to four bytes."""
    length = 4 + len(value)
    return Struct("=HH").pack(length, kind) + value + bytes(-length % 4)


def parse_rows(datagrams: Iterable[bytes], proto: int, strange: list[int] | None = None) -> list[Row]:
    """Parse the socket messages of a dump; what is too short or of an unknown family or state is left out.

    ``strange`` collects the states (or -1 for a family, -2 for a length) of what was left out.
    """
    from _socket import ntohs

    rows: list[Row] = []
    unpack, states = MESSAGE.unpack_from, _STATES
    for kind, datagram, start, end in iter_messages(datagrams):
        if kind not in (TCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY):
            continue
        first = start + MESSAGE_BYTES
        if first > end:
            if strange is not None:
                strange.append(-2)
            continue
        family, number, timer, retransmits, sport, dport, *rest = unpack(datagram, start)
        state = states.get(number)
        if state is None or family not in (AF_INET, AF_INET6):
            if strange is not None:
                strange.append(number if state is None else -1)
            continue
        rows.append((proto, family, state, timer, retransmits, ntohs(sport), ntohs(dport), *rest, datagram[first:end]))
    return rows


#: The states a row may have; 12 and 13 are translated here, at the border.
_STATES = {**{number: number for number in range(1, 12)}, **KERNEL_EXTRA}


def lookup_request(row: Row, extensions: int = DETAIL, kind: int = SOCK_DIAG_BY_FAMILY) -> bytes:
    """Build the request that asks for (or, with :data:`SOCK_DESTROY`, destroys) exactly the socket of ``row``.

    The cookie goes along, so that a socket that took over the same addresses meanwhile is not hit.
    """
    proto, family, _state, _timer, _retransmits, sport, dport, source, dest, interface, cookie = row[:11]
    ports = sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
    identity = ports + source + dest + Struct("=IQ").pack(interface, cookie)
    request = _REQUEST_V2.pack(family, proto, extensions, ALL_STATES | BOUND_INACTIVE_MASK, identity)
    return pack_message(kind, NLM_F_REQUEST | (4 if kind == SOCK_DESTROY else 0), request)


assert MESSAGE_BYTES == 72 and HEADER_BYTES == 16
