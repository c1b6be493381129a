"""``Row``: a socket as a plain tuple, for the paths where a :class:`~tcpscope.model.socket.Socket` costs too much.

Fields: proto (6 TCP, 17 UDP), family (2 IPv4, 10 IPv6), state (Linux's number 1 to 11), timer, retransmits, local
port, remote port, local address, remote address (16 bytes each, IPv4 in the first four), interface, cookie,
expires_ms, recv_q, send_q, uid, inode, attributes (``rtattr`` bytes of sock_diag, empty from procfs).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Row = tuple[int, int, int, int, int, int, int, bytes, bytes, int, int, int, int, int, int, int, bytes]


class SocketColumns:
    """Sockets as arrays, one entry each, in the order of the listing; see the fields of ``Row`` for their meaning.

    ``source`` and ``remote`` are four words of 32 bits as the kernel sent them (network order). ``data`` is the whole
    answer and ``offsets`` where each socket's message starts in it. ``holders[i]`` is an index into ``holder_sets``
    (tuples of process ids), or -1; it is ``None`` when holders were not asked for.
    """

    __slots__ = (
        "data",
        "dport",
        "family",
        "holder_sets",
        "holders",
        "inode",
        "names",
        "offsets",
        "proto",
        "recv_q",
        "remote",
        "send_q",
        "source",
        "sport",
        "state",
    )

    if TYPE_CHECKING:
        from typing import Any

        data: bytes
        offsets: Any
        proto: Any
        family: Any
        state: Any
        sport: Any
        dport: Any
        source: Any
        remote: Any
        recv_q: Any
        send_q: Any
        inode: Any
        holders: Any
        holder_sets: list[tuple[int, ...]]
        names: dict[int, str]
