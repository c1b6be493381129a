"""``Row``: a socket as a plain tuple, for the paths where a :class:`~tcpscope.model.socket.Socket` costs too much.

Fields: proto (6 TCP, 17 UDP), family (2 IPv4, 10 IPv6), state (Linux's number 1 to 11), timer, retransmits, local
port, remote port, local address, remote address (16 bytes each, IPv4 in the first four), interface, cookie,
expires_ms, recv_q, send_q, uid, inode, attributes (``rtattr`` bytes of sock_diag, empty from procfs).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Row = tuple[int, int, int, int, int, int, int, bytes, bytes, int, int, int, int, int, int, int, bytes]
