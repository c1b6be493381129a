"""Rows of netstat: Linux (net-tools, busybox), BSD and macOS, Windows.

Linux:    ``tcp 0 0 127.0.0.1:631 0.0.0.0:* LISTEN [UID INODE] [PID/Program] [TIMER (S/RETRANS/PROBES)]``
BSD:      ``tcp4 0 0 192.0.2.1.22 192.0.2.2.50001 ESTABLISHED`` (macOS ``-v`` appends buffers and ``name:pid``)
Windows:  ``TCP 0.0.0.0:135 0.0.0.0:0 LISTENING 1234``
"""

from __future__ import annotations

from tcpscope.dumps.addresses import AddressReader, parse_mapped, parse_numeric
from tcpscope.dumps.rows import (
    INODE_UNKNOWN,
    STATE_WORDS,
    Kinds,
    is_count,
    make_socket,
    read_owner,
)
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner, Socket, Timer
from tcpscope.model.state import State

_TIMERS = {"on": "on", "keepalive": "keepalive", "timewait": "timewait", "probe": "persist", "off": ""}
#: First words of rows -> (protocol of the word, IPv6).
PROTOCOLS = {
    "tcp": ("tcp", False), "tcp6": ("tcp", True), "udp": ("udp", False), "udp6": ("udp", True),
    "udplite": ("udp", False), "udplite6": ("udp", True), "tcp4": ("tcp", False), "tcp46": ("tcp", True),
    "udp4": ("udp", False), "udp46": ("udp", True), "TCP": ("tcp", False), "UDP": ("udp", False),
    "TCPv6": ("tcp", True), "UDPv6": ("udp", True),
}  # fmt: skip


class NetstatReader:
    """Reads rows that begin with a protocol. ``system`` is what the rows look like."""

    def __init__(self, addresses: AddressReader) -> None:
        self.addresses = addresses
        self.owners: dict[str, tuple[Owner, ...] | None] = {"-": ()}
        self.system = ""
        #: The tool said that it could not see all processes. If not, ``-`` for an owner means: nobody holds the socket.
        self.hides_owners = False
        self.queues: dict[tuple[str, str], tuple[int, int]] = {}
        self.kinds = Kinds()

    def learn(self, words: list[str], socket: Socket) -> None:
        """Remember what rows like this one share, for :meth:`Kinds.follow`."""
        if words[0] in ("tcp", "tcp6") and len(words) > 5 and self.system == "linux":
            self.kinds.learn(words, 3, socket, parse_mapped if words[0] == "tcp6" else parse_numeric)

    def set_hides_owners(self, hides: bool) -> None:
        """Take the tool's word on whether it could see all processes."""
        self.hides_owners = hides
        self.kinds.known.clear()

    def _unheld(self, state: State) -> int:
        return INODE_UNKNOWN if self.hides_owners or state is State.LISTEN else 0

    def read(self, words: list[str]) -> Socket | None:
        """Read one row; ``None`` when it is none."""
        proto, is_ipv6 = PROTOCOLS[words[0]]
        if len(words) < 3:
            return None
        recv_q = words[1]
        if not (recv_q.isascii() and recv_q.isdigit()):
            return self._windows(words, proto) if proto.upper() == words[0][:3] else None
        if len(words) < 5:
            return None
        key = (recv_q, words[2])
        queues = self.queues.get(key)
        if queues is None:
            if not (is_count(recv_q) and is_count(words[2])):
                return None
            queues = self.queues[key] = (int(recv_q), int(words[2]))
        read = self.addresses.read_mapped if is_ipv6 else self.addresses.read
        local, remote = read(words[3]), read(words[4])
        if local is None or remote is None:
            return self._bsd(words, proto, is_ipv6, queues)
        return self._linux(words, proto, local, remote, queues)

    def _linux(
        self, words: list[str], proto: str, local: Endpoint, remote: Endpoint, queues: tuple[int, int]
    ) -> Socket | None:
        self.system = self.system or "linux"
        at = 5
        state = STATE_WORDS.get(words[5]) if len(words) > 5 else None
        if state is None:
            if proto == "tcp":
                return None
            state = State.CLOSED if not remote.port else State.ESTABLISHED
        else:
            at = 6
        if len(words) == at + 1:  # the common row: one word is left, the owner
            owners = self._owner(words[at])
            if owners is not None:
                inode = INODE_UNKNOWN if owners or proto != "tcp" else self._unheld(state)
                return make_socket(proto, state, local, remote, queues, owners, inode)
        return self._linux_rest(words, at, (proto, state, local, remote, queues))

    def _linux_rest(
        self, words: list[str], at: int, row: tuple[str, State, Endpoint, Endpoint, tuple[int, int]]
    ) -> Socket | None:
        inode, uid = INODE_UNKNOWN, None
        if len(words) >= at + 2 and is_count(words[at + 1]):  # -e: user and inode
            uid = int(words[at]) if is_count(words[at]) else None
            inode = int(words[at + 1])
            at += 2
        owners: tuple[Owner, ...] = ()
        if len(words) > at and words[at] not in _TIMERS:
            found = self._owner(words[at])
            if found is None:
                return None
            owners = found
            if inode == INODE_UNKNOWN and not owners and row[0] == "tcp":
                inode = self._unheld(row[1])
            at += 1
            while len(words) > at and words[at] not in _TIMERS:  # a program name with spaces: "812/nginx: master"
                at += 1
        timer = _timer(words, at)
        socket = make_socket(*row, owners, inode)
        if timer and timer.kind == "timewait":
            socket = socket._replace(kind="mini")
        return socket._replace(uid=uid, timer=timer) if uid is not None or timer else socket

    def _owner(self, word: str) -> tuple[Owner, ...] | None:
        found = self.owners.get(word, False)
        if found is False:
            found = self.owners[word] = read_owner(word)
        return found  # type: ignore[return-value]  # False was replaced

    def _bsd(self, words: list[str], proto: str, is_ipv6: bool, queues: tuple[int, int]) -> Socket | None:
        local, remote = self.addresses.read_dotted(words[3]), self.addresses.read_dotted(words[4])
        if local is None or remote is None:
            return None
        if is_ipv6 and local.address == "*":
            local = Endpoint("::", local.port)
        state = STATE_WORDS.get(words[5]) if len(words) > 5 else None
        if state is None:
            if proto == "tcp" and len(words) > 5 and not is_count(words[5]):
                return None
            state = State.CLOSED
        self.system = self.system or "bsd"
        return make_socket(proto, state, local, remote, queues, _macos_owner(words[6:]))

    def _windows(self, words: list[str], proto: str) -> Socket | None:
        local = self.addresses.read(words[1])
        remote = self.addresses.read(words[2])
        if local is None or remote is None:
            return None
        rest = words[3:]
        state = State.CLOSED
        if rest and rest[0] in STATE_WORDS:
            state = STATE_WORDS[rest.pop(0)]
        elif proto == "tcp":
            return None
        self.system = "windows"
        pid = int(rest[0]) if rest and is_count(rest[0]) else 0
        owners = (Owner(pid, ""),) if pid else ()
        return make_socket(proto, state, local, remote, (0, 0), owners)


def _macos_owner(words: list[str]) -> tuple[Owner, ...]:
    """Read ``name:pid`` (macOS 13 and later) among the numbers that ``-v`` appends."""
    for word in words:
        name, colon, pid = word.rpartition(":")
        if colon and name and is_count(pid):
            return (Owner(int(pid), name),)
    return ()


def _timer(words: list[str], at: int) -> Timer | None:
    """Read ``keepalive (7194.19/0/0)``: kind, seconds, retransmissions, probes."""
    if len(words) <= at or words[at] not in _TIMERS or not _TIMERS[words[at]]:
        return None
    numbers = words[at + 1].strip("()").split("/") if len(words) > at + 1 else []
    try:
        return Timer(_TIMERS[words[at]], int(float(numbers[0]) * 1000), int(numbers[1]))
    except (IndexError, ValueError, OverflowError):
        return Timer(_TIMERS[words[at]], 0)
