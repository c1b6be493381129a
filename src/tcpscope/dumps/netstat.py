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
    local_state,
    make_socket,
    read_owner,
    state_without_name,
)
from tcpscope.dumps.windows import WindowsReader
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner, Socket, Timer
from tcpscope.model.state import State

_TIMERS = {"on": "on", "keepalive": "keepalive", "timewait": "timewait", "probe": "persist", "off": ""}
_NAME_WIDTH = 20
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
        self.is_stateless = False  #: rows of BSD's ``-T`` or ``-x`` were read
        self.pid_at = 0  #: the column of the PID behind the state (macOS ``-v`` up to 12)
        self.windows = WindowsReader(addresses)

    def learn(self, words: list[str], socket: Socket) -> None:
        """Remember what rows like this one share, for :meth:`Kinds.follow`."""
        if words[0] in ("tcp", "tcp6") and len(words) > 5 and self.system == "linux":
            self.kinds.learn(words, 3, socket, parse_mapped if words[0] == "tcp6" else parse_numeric)

    def set_hides_owners(self, hides: bool) -> None:
        """Take the tool's word on whether it could see all processes."""
        self.hides_owners = hides
        self.kinds.known.clear()

    def set_heading(self, words: list[str]) -> None:
        """Take headings: they say where macOS prints process numbers."""
        place = words.index("(state)") if "(state)" in words else len(words)
        self.pid_at = words.index("pid", place) - place if "pid" in words[place:] else 0

    def _unheld(self, state: State) -> int:
        return INODE_UNKNOWN if self.hides_owners or state is State.LISTEN else 0

    def read(self, words: list[str]) -> Socket | None:
        """Read one row; ``None`` when it is none."""
        proto, is_ipv6 = PROTOCOLS[words[0]]
        if len(words) < 3:
            return None
        recv_q = words[1]
        if not (recv_q.isascii() and recv_q.isdigit()):
            if proto.upper() != words[0][:3]:  # BSD's -T tells nothing of UDP but its ends
                return self._bsd([words[0], "0", "0", *words[1:]], proto, is_ipv6, (0, 0)) if len(words) == 3 else None
            found = self.windows.read(words, proto)
            self.system = "windows" if found else self.system
            return found
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
        if local.address == "*" or remote.address == "*":  # busybox, and net-tools without -n
            wildcard = "::" if is_ipv6 else "0.0.0.0"
            local, remote = (Endpoint(wildcard, one.port) if one.address == "*" else one for one in (local, remote))
        return self._linux(words, proto, local, remote, queues)

    def _linux(
        self, words: list[str], proto: str, local: Endpoint, remote: Endpoint, queues: tuple[int, int]
    ) -> Socket | None:
        self.system = self.system or "linux"
        at = 5
        state = STATE_WORDS.get(words[5]) if len(words) > 5 else None
        if state is None and len(words) > 5 and (state := local_state(words[5])):
            self.set_hides_owners(True)  # Why: the notice about hidden processes was in that language too
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
            at += 1
            owners, at = _with_rest_of_name(found, words, at)
            if inode == INODE_UNKNOWN and not owners and row[0] == "tcp":
                inode = self._unheld(row[1])
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
        if is_count(words[3]):  # -T: counts of retransmissions, of octets out of order, of closed windows; no queues
            words, queues = words[1:], (0, 0)
        local, remote = (self.addresses.read_dotted(word) for word in (*words[3:5], "", "")[:2])
        if local is None or remote is None:
            return None
        wildcard = "::" if is_ipv6 else "0.0.0.0"
        if local.address == "*":
            local = Endpoint(wildcard, local.port)
        if remote.address == "*":
            remote = Endpoint(wildcard, remote.port)
        state = STATE_WORDS.get(words[5]) if len(words) > 5 else None
        at = 5 if state is None else 6
        if state is None:
            if proto == "tcp" and len(words) > 5 and not is_count(words[5]):
                return None
            self.is_stateless = self.is_stateless or proto == "tcp"
            state = state_without_name(remote) if proto == "tcp" else State.CLOSED
        self.system = self.system or "bsd"
        socket = make_socket(proto, state, local, remote, queues, _macos_owner(words[at:], self.pid_at))
        return socket._replace(v6only=False) if words[0] == "tcp46" and state is State.LISTEN else socket


def _with_rest_of_name(owners: tuple[Owner, ...], words: list[str], at: int) -> tuple[tuple[Owner, ...], int]:
    """Add the words of a name with blanks (``9420/Passenger Ruby``), all that fits into net-tools' 20 columns.

    What a process calls itself (``812/nginx: master``) has its name in front of a colon.
    """
    text, end = words[at - 1], at
    while end < len(words) and words[end] not in _TIMERS:
        if len(text) + 1 + len(words[end]) <= _NAME_WIDTH:
            text = f"{text} {words[end]}"
        end += 1
    return (read_owner(text) or owners if ":" not in text else owners), end


def _macos_owner(words: list[str], pid_at: int) -> tuple[Owner, ...]:
    """Read what ``-v`` appends: numbers, then ``name:pid`` (macOS 13 and later; a name may have blanks) or the PID."""
    if pid_at and len(words) >= pid_at and is_count(words[pid_at - 1]):
        pid = int(words[pid_at - 1])
        return (Owner(pid, ""),) if pid else ()
    begin = next((place for place, word in enumerate(words) if not is_count(word)), 0)
    for place in range(begin, len(words)):
        name, colon, pid_text = words[place].rpartition(":")
        if colon and is_count(pid_text):
            return (Owner(int(pid_text), " ".join([*words[begin:place], name]).strip()),)
    return ()


def _timer(words: list[str], at: int) -> Timer | None:
    """Read ``keepalive (7194.19/0/0)``: kind, seconds, retransmissions, probes."""
    if len(words) <= at or words[at] not in _TIMERS or not _TIMERS[words[at]]:
        return None
    numbers = words[at + 1].strip("()").split("/") if len(words) > at + 1 else []
    try:
        # Linux: what counts for the timers of keepalive and of the closed window are probes, as in sock_diag.
        tried = numbers[2] if words[at] in ("keepalive", "probe") else numbers[1]
        return Timer(_TIMERS[words[at]], int(float(numbers[0]) * 1000), int(tried))
    except (IndexError, ValueError, OverflowError):
        return Timer(_TIMERS[words[at]], 0)
