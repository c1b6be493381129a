"""Rows of ``/proc/net/{tcp,tcp6,udp,udp6}`` in a dump; the parser is the one that reads this host's."""

from __future__ import annotations

import _socket

from tcpscope.dumps.rows import make_socket
from tcpscope.kernel.proc_net import parse_line
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Socket, Timer
from tcpscope.model.state import State

#: Timer numbers of ``/proc/net/tcp`` (``get_tcp4_sock()``) as ss names them.
_TIMERS = {1: "on", 2: "keepalive", 3: "timewait", 4: "persist"}


class ProcNetReader:
    """Reads rows; the heading says whose they are (udp has a column ``drops``)."""

    def __init__(self) -> None:
        self.is_udp = False

    def set_heading(self, line: str) -> None:
        """Take a heading or a prompt that announces a table."""
        self.is_udp = "drops" in line or "/proc/net/udp" in line

    def read(self, words: list[str]) -> Socket | None:
        """Read one row; ``None`` when it is none."""
        if len(words) < 10:
            return None
        size = len(words[1].partition(":")[0])
        family = {8: 2, 32: 10}.get(size)
        row = parse_line(" ".join(words), 17 if self.is_udp else 6, family) if family else None
        if row is None:
            return None
        _, _, state_number, timer, retransmits, sport, dport, source, remote = row[:9]
        _, _, expires_ms, recv_q, send_q, uid, inode, _ = row[9:]
        state = State.from_kernel(state_number)
        width = 4 if family == 2 else 16
        socket = make_socket(
            "udp" if self.is_udp else "tcp",
            state,
            Endpoint(_socket.inet_ntop(_family(width), source[:width]), sport),
            Endpoint(_socket.inet_ntop(_family(width), remote[:width]), dport),
            (recv_q, send_q),
            inode=inode,
        )
        kind = "mini" if state == State.FIN_WAIT_2 and timer == 3 else socket.kind
        found = Timer(_TIMERS[timer], expires_ms, retransmits) if timer in _TIMERS else None
        return socket._replace(uid=uid, timer=found, kind=kind)


def _family(width: int) -> int:
    return _socket.AF_INET if width == 4 else _socket.AF_INET6
