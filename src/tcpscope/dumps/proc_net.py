"""Rows of ``/proc/net/{tcp,tcp6,udp,udp6}`` in a dump; the parser is the one that reads this host's."""

from __future__ import annotations

import _socket
from collections.abc import Callable, Iterator
from sys import byteorder

from tcpscope.dumps.rows import MOST_KINDS, make_socket
from tcpscope.kernel.proc_net import parse_endpoint, parse_line
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Socket, Timer
from tcpscope.model.state import State

#: Timer numbers of ``/proc/net/tcp`` (``get_tcp4_sock()``) as ss names them.
_TIMERS = {1: "on", 2: "keepalive", 3: "timewait", 4: "persist"}
_LOCAL, _REMOTE, _INODE = (Socket._fields.index(name) for name in ("local", "remote", "inode"))
#: Linux: ``%02X %08X:%08X %02X:%08lX %08X %5u %8d ``, state to timeout; the inode begins here.
_INODE_AT = 57
#: The four bytes of an address in an end of six: the kernel prints them as a number of its own byte order.
_ADDRESS = slice(3, None, -1) if byteorder == "little" else slice(4)
_fromhex = bytes.fromhex
_new = tuple.__new__


class ProcNetReader:
    """Reads rows; the heading says whose they are (udp has a column ``drops``)."""

    def __init__(self) -> None:
        self.is_udp = False
        self.ends: dict[str, Endpoint] = {}
        #: From the state to the first digit of the inode -> the fields of such a socket; ends and inode are put in.
        self.kinds: dict[str, list[object]] = {}

    def set_heading(self, line: str) -> None:
        """Take a heading or a prompt that announces a table."""
        self.is_udp = "drops" in line or "/proc/net/udp" in line
        self.kinds.clear()

    def follow(self, lines: Iterator[str], append: Callable[[Socket], None]) -> str | None:
        """Read rows of known kinds; return the first line that is none, ``None`` at the end.

        Why: these rows have seventeen words, and splitting them takes longer than reading the four that differ.
        """
        kinds, ends = self.kinds, self.ends
        for line in lines:
            words = line.split(None, 3)
            fields = kinds.get(words[3][: _INODE_AT + 1]) if len(words) == 4 else None
            if fields is None:
                return line
            number, local_text, remote_text, rest = words
            inode = rest[_INODE_AT:].partition(" ")[0]
            if number[-1] != ":" or not number[:-1].isdecimal() or not inode.isdecimal() or not line.isascii():
                return line
            local, remote = ends.get(local_text) or self._local(local_text), _parse_end(remote_text)
            if local is None or remote is None or len(local_text) != len(remote_text):
                return line
            if len(inode) > 20 or (inode[0] == "0" and inode != "0"):
                return line
            fields[_LOCAL], fields[_REMOTE], fields[_INODE] = local, remote, int(inode)
            append(_new(Socket, fields))
        return None

    def learn(self, line: str, found: Socket) -> None:
        """Remember what rows of the kernel's own layout share, up to the first digit of the inode: 0 is nobody's."""
        rest = line.split(None, 3)[3]
        is_usual = len(rest[:_INODE_AT].split()) == 6 and rest[_INODE_AT - 1] == " " and rest[_INODE_AT].isdecimal()
        if is_usual and len(self.kinds) < MOST_KINDS:
            self.kinds[rest[: _INODE_AT + 1]] = list(found)

    def read(self, words: list[str]) -> Socket | None:
        """Read one row; ``None`` when it is none."""
        if len(words) < 10 or len(words[1]) != len(words[2]):
            return None
        local, remote = self._local(words[1]), _parse_end(words[2])
        row = parse_line(" ".join(words), 17 if self.is_udp else 6, 2 if len(words[1]) == 13 else 10)
        if local is None or remote is None or row is None:
            return None
        state, timer, retransmits = State.from_kernel(row[2]), row[3], row[4]
        expires_ms, recv_q, send_q, uid, inode = row[11:16]
        proto = "udp" if self.is_udp else "tcp"
        socket = make_socket(proto, state, local, remote, (recv_q, send_q), inode=inode)
        kind = "mini" if state == State.FIN_WAIT_2 and timer == 3 else socket.kind
        found = Timer(_TIMERS[timer], expires_ms, retransmits) if timer in _TIMERS else None
        return socket._replace(uid=uid, timer=found, kind=kind)

    def _local(self, text: str) -> Endpoint | None:
        found = self.ends.get(text)
        if found is None:
            found = _parse_end(text)
            if found is not None:
                self.ends[text] = found
        return found


def _parse_end(text: str) -> Endpoint | None:
    try:
        if len(text) == 13 and text[8] == ":":
            raw = _fromhex(text.replace(":", ""))
            address, port = _socket.inet_ntoa(raw[_ADDRESS]), raw[4] << 8 | raw[5]
        elif len(text) == 37:
            raw, port = parse_endpoint(text)
            address = _socket.inet_ntop(_socket.AF_INET6, raw)
        else:
            return None
    except (ValueError, OSError, IndexError):
        return None
    found: Endpoint = _new(Endpoint, (address, port))
    return found
