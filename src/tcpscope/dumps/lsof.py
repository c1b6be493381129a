"""Rows of ``lsof -i`` (table) and of ``lsof -F`` (one field a line).

``COMMAND PID [TID TASKCMD] USER FD TYPE DEVICE [SIZE/OFF] NODE NAME``; for a TCP socket NODE is ``TCP`` and DEVICE
the inode (the same inode under several PIDs is one socket with several holders). NAME is ``LOCAL[->REMOTE] (STATE)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tcpscope.dumps.addresses import AddressReader, parse_mapped, parse_numeric
from tcpscope.dumps.rows import (
    INODE_UNKNOWN,
    MOST_KINDS,
    NO_END,
    STATE_WORDS,
    WILDCARD4,
    WILDCARD6,
    ParseEnd,
    is_count,
    make_socket,
)
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner, Socket
from tcpscope.model.state import State


def parse_ipv6(text: str) -> Endpoint | None:
    """Read an end of a socket of IPv6 that is all numbers: lsof hides the prefix of v4-mapped addresses."""
    return parse_numeric(text) if text[:1] == "[" else parse_mapped(text)


#: PID, the fields of such a socket (ends, owner and inode are put in), how ends are read, the local ones read so far.
Kind = tuple[int, list[object], ParseEnd, dict[str, Endpoint]]
FAMILIES = {"IPv4": parse_numeric, "IPv6": parse_ipv6}
_FARTHEST = 16  #: where the TYPE column may be, behind what a log or ``grep -n`` puts in front
_LOCAL, _REMOTE, _OWNERS, _INODE = (Socket._fields.index(name) for name in ("local", "remote", "owners", "inode"))
_new = tuple.__new__


class LsofReader:
    """Reads table rows and collects the fields of ``-F`` output."""

    def __init__(self, addresses: AddressReader) -> None:
        self.addresses = addresses
        self.process: dict[str, str] = {}
        self.file: dict[str, str] = {}
        self.is_stateless = False  #: rows of TCP without a state were read (``-F`` without ``T``)
        self.locals: dict[str, dict[str, Endpoint]] = {family: {} for family in FAMILIES}
        #: Command, PID, family and state as written -> what rows of this kind share.
        self.kinds: dict[tuple[str, ...], Kind] = {}

    def learn(self, words: list[str], socket: Socket) -> None:
        """Remember what rows like this one share: of one process, in one state, in ten words."""
        if len(words) != 10 or words[4] not in FAMILIES:
            return
        (local, _, remote), parse = words[-2].partition("->"), FAMILIES[words[4]]
        if (parse(local), parse(remote)) != (socket.local, socket.remote):
            return
        if (words[0], words[1]) != (socket.owners[0].name, str(socket.owners[0].pid)):
            return
        if len(self.kinds) < MOST_KINDS and words[7] == "TCP" and socket.inode > 0:
            owner = socket.owners[0]
            self.kinds[words[0], words[1], words[4], words[9]] = owner.pid, list(socket), parse, self.locals[words[4]]

    def follow(self, lines: Iterator[str], append: Callable[[Socket], None]) -> str | None:
        """Read rows of known kinds; return the first line that is none, ``None`` at the end."""
        kinds = self.kinds
        for line in lines:
            words = line.split()
            if len(words) != 10:
                return line
            command, pid_text, _, fd_text, family, inode, _, node, ends, state = words
            kind = kinds.get((command, pid_text, family, state))
            if kind is None or node != "TCP":
                return line
            local_text, _, remote_text = ends.partition("->")
            pid, fields, parse, locals_ = kind
            local, remote = locals_.get(local_text), parse(remote_text)
            if local is None:
                local = locals_[local_text] = parse(local_text) or NO_END
            if remote is None or local is NO_END or not inode.isdecimal() or not line.isascii():
                return line
            if inode[0] == "0" or len(inode) > 20:
                return line
            number = fd_text.rstrip("urw")
            fd = int(number) if number.isdecimal() and len(number) < 10 else _descriptor(fd_text)
            fields[_LOCAL], fields[_REMOTE], fields[_INODE] = local, remote, int(inode)
            fields[_OWNERS] = (_new(Owner, (pid, command, fd)),)
            append(_new(Socket, fields))
        return None

    def read(self, words: list[str]) -> Socket | None:
        """Read a table row; ``None`` when it is none."""
        at = _type_column(words)
        if at is None:
            return None
        proto_at = next((index for index in range(at + 1, len(words)) if words[index] in ("TCP", "UDP")), None)
        pid_at = _pid_column(words, at)
        if proto_at is None or pid_at is None or proto_at + 1 >= len(words):
            return None
        owner = Owner(int(words[pid_at]), _name(words[pid_at - 1]), _descriptor(words[at - 1]))
        device = words[proto_at - 2 if proto_at - at > 2 else at + 1]  # +fg puts flags in front of it
        inode = int(device) if is_count(device) else INODE_UNKNOWN
        is_ipv6 = words[at] == "IPv6"
        return self._socket(words[proto_at].lower(), " ".join(words[proto_at + 1 :]), is_ipv6, owner, inode)

    def read_field(self, line: str) -> Socket | None:
        """Take one line of ``-F`` output; return the socket that it completes."""
        letter, value = line[0], line[1:]
        completed = None
        if letter in "pf":
            completed = self.complete()
            self.file = {}
            if letter == "p":
                self.process = {}
        if letter in "pcLuR":
            self.process[letter] = value
        elif letter == "T":
            key, _, text = value.partition("=")
            self.file["T" + key] = text
        else:
            self.file[letter] = value
        return completed

    def lacks_protocol(self, line: str) -> bool:
        """Whether a line is the name of a socket of which nobody says that it is one of TCP (``-F pn``)."""
        return "P" not in self.file and self._names_socket(line)

    def lacks_process(self, line: str) -> bool:
        """Whether a line is the name of a socket in ``-F`` output whose beginning, with the process, is cut off."""
        return ("->" in line or line.startswith("n*:")) and self._names_socket(line)

    def _names_socket(self, line: str) -> bool:
        name = line[1:]
        if line[0] != "n" or name[:1] == "/" or " " in name:
            return False
        return all(self.addresses.read(end) for end in name.split("->"))

    def complete(self) -> Socket | None:
        """Return the socket of the fields collected so far, if they are one."""
        fields, pid = self.file, self.process.get("p", "")
        if fields.get("P") not in ("TCP", "UDP") or not is_count(pid) or "n" not in fields:
            return None
        fd = fields.get("f", "")
        owner = Owner(int(pid), self.process.get("c", ""), int(fd) if is_count(fd) else -1)
        inode = int(fields["d"]) if is_count(fields.get("d", "")) else INODE_UNKNOWN
        name = f"{fields['n']} ({fields['TST']})" if "TST" in fields else fields["n"]
        socket = self._socket(fields["P"].lower(), name, fields.get("t") == "IPv6", owner, inode)
        self.file = {}
        if socket and is_count(fields.get("TQR", "")) and is_count(fields.get("TQS", "")):
            return socket._replace(recv_q=int(fields["TQR"]), send_q=int(fields["TQS"]))
        return socket

    def _socket(self, proto: str, name: str, is_ipv6: bool, owner: Owner, inode: int) -> Socket | None:
        ends, _, told = name.partition("(")
        words = told.split(")")[0].split()  # -T: ``LISTEN QR=0 QS=0``
        state = STATE_WORDS.get(words[0]) if words else None
        if state is None:
            if proto == "tcp" and words and "=" not in words[0]:
                return None
            state = State.LISTEN if proto == "tcp" else State.CLOSED
            if "->" in ends:
                state = State.ESTABLISHED
            self.is_stateless = self.is_stateless or proto == "tcp"
        local_text, arrow, remote_text = ends.replace(" ", "").partition("->")
        wildcard = WILDCARD6 if is_ipv6 else WILDCARD4
        local = self._end(local_text, wildcard)
        remote = self._end(remote_text, wildcard) if arrow else wildcard
        if local is None or remote is None:
            return None
        return make_socket(proto, state, local, remote, _queues(words), (owner,), inode)

    def _end(self, text: str, wildcard: Endpoint) -> Endpoint | None:
        if text.startswith("*:"):
            found = self.addresses.read(text)
            return Endpoint(wildcard.address, found.port) if found else None
        return self.addresses.read_mapped(text) if wildcard is WILDCARD6 else self.addresses.read(text)


def _queues(words: list[str]) -> tuple[int, int]:
    fields = dict(word.partition("=")[::2] for word in words)
    sizes = [int(fields[name]) if is_count(fields.get(name, "")) else 0 for name in ("QR", "QS")]
    return sizes[0], sizes[1]


def _type_column(words: list[str]) -> int | None:
    for index in range(3, min(len(words), _FARTHEST)):
        if words[index] in FAMILIES:
            return index
    return None


def _name(word: str) -> str:
    """Read a command: lsof writes a blank as an escape, and ``grep -n`` puts a number in front."""
    number, colon, rest = word.partition(":")
    name = rest if colon and rest and is_count(number) else word
    return name.replace("\\x20", " ")


def _pid_column(words: list[str], type_at: int) -> int | None:
    """Find the PID from the right, ``PID [TID [TASKCMD]] USER FD TYPE``: the left may bear line numbers and times."""
    at = type_at - 3 if is_count(words[type_at - 3]) else type_at - 4
    while at > 1 and is_count(words[at - 1]):
        at -= 1
    return at if at > 0 and is_count(words[at]) else None


def _descriptor(text: str) -> int:
    """Read ``12u``: the number, without the letters of the access mode and the lock; -1 for ``cwd`` and the like."""
    number = text.rstrip("urw")
    return int(number) if is_count(number) else -1
