"""What the readers of rows share: state words, owners, and the fast construction of a Socket.

A reader takes the words of a line and returns a ``Socket``, or ``None`` when the line is no row of its tool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner, Socket
from tcpscope.model.spelling import ALIASES, DIALECTS, LOCAL
from tcpscope.model.state import State

#: The inode is not told: neither "held" nor "not held" may be concluded.
INODE_UNKNOWN = -1
WILDCARD4, WILDCARD6 = Endpoint("0.0.0.0", 0), Endpoint("::", 0)

#: Every spelling a tool prints in a State column.
STATE_WORDS: dict[str, State] = {
    variant: state
    for spelled in DIALECTS.values()
    for state in State
    for variant in (spelled[state], spelled[state].upper(), f"({spelled[state]})")
} | {alias: State[name] for alias, name in ALIASES.items() if "_" in alias}


def local_state(word: str) -> State | None:
    """Read a state in another language than English, also after the wrong code page has garbled its letters."""
    name = LOCAL.get(word.encode("ascii", "ignore").decode())
    return State[name] if name else None


def state_without_name(remote: Endpoint) -> State:
    """Say what a TCP socket most probably is in a table that tells no states. The reader of the dump must say so."""
    return State.ESTABLISHED if remote.port else State.LISTEN


#: How many kinds of rows a reader remembers.
MOST_KINDS = 50_000
_FIRST = Socket._fields.index("inode")
_KINDS = {State.TIME_WAIT: "mini", State.SYN_RECEIVED: "request"}


def _tails(inode: int, kinds: dict[State, str]) -> dict[State, tuple[object, ...]]:
    """The fields from ``inode`` on, for a row that tells nothing else of them, by state."""
    return {
        state: tuple(
            (Socket._field_defaults | {"inode": inode, "kind": kinds.get(state, "full")})[field]
            for field in Socket._fields[_FIRST:]
        )
        for state in State
    }


_TAILS = {
    INODE_UNKNOWN: _tails(INODE_UNKNOWN, _KINDS),
    0: _tails(0, _KINDS | {State.FIN_WAIT_2: "mini"}),
}


def make_socket(
    proto: str,
    state: State,
    local: Endpoint,
    remote: Endpoint,
    queues: tuple[int, int],
    owners: tuple[Owner, ...] = (),
    inode: int = INODE_UNKNOWN,
) -> Socket:
    """Build a Socket from what every tool tells.

    Why not ``Socket(...)``: a dump has hundreds of thousands of rows, and passing two dozen defaults by keyword is
    most of the cost of a row.
    """
    known = _TAILS.get(inode)
    tail = known[state] if known else (inode, *_TAILS[INODE_UNKNOWN][state][1:])
    socket: Socket = tuple.__new__(Socket, (proto, state, local, remote, *queues, None, owners, None, *tail))
    return socket


#: Reads an end that is all numbers; ``None`` for any other.
ParseEnd = Callable[[str], Endpoint | None]
_LOCAL, _REMOTE = Socket._fields.index("local"), Socket._fields.index("remote")
NO_END = Endpoint("", -1)  #: what ``parse`` could not read
_new = tuple.__new__


class Kinds:
    """What was read of rows without their ends, by the words that say it.

    Why: a dump of a busy host has hundreds of thousands of rows of few kinds (state, queues, owner), each with ends of
    its own. A row of a known kind takes everything but the ends from there.
    """

    def __init__(self) -> None:
        #: Words but the ends -> the fields of such a socket (ends are put in), how its ends are read, local ones read.
        self.known: dict[tuple[str, ...], tuple[list[object], ParseEnd, dict[str, Endpoint]]] = {}
        self.locals: dict[ParseEnd, dict[str, Endpoint]] = {}
        self.at = 3  #: the column of the local end; the remote one follows

    def learn(self, words: list[str], at: int, socket: Socket, parse: ParseEnd) -> None:
        """Remember the kind of a row that was read in full, if ``parse`` reads its ends as they were read."""
        ends = parse(words[at]), parse(words[at + 1])
        if ends != (socket.local, socket.remote) or len(self.known) >= MOST_KINDS:
            return
        self.at = at
        self.known[*words[:at], *words[at + 2 :]] = list(socket), parse, self.locals.setdefault(parse, {})

    def follow(self, lines: Iterator[str], append: Callable[[Socket], None]) -> str | None:
        """Read rows of known kinds; return the first line that is none, ``None`` at the end."""
        known, at, rest = self.known, self.at, self.at + 2
        for line in lines:
            words = line.split()
            ends = words[at:rest]
            del words[at:rest]
            kind = known.get(tuple(words))
            if kind is None or len(ends) < 2:
                return line
            fields, parse, locals_ = kind
            local_text, remote_text = ends
            local, remote = locals_.get(local_text), parse(remote_text)
            if local is None:
                local = locals_[local_text] = parse(local_text) or NO_END
            if remote is None or local is NO_END:
                return line
            fields[_LOCAL], fields[_REMOTE] = local, remote
            append(_new(Socket, fields))
        return None


def is_count(word: str) -> bool:
    """Whether a word is a queue length or another plain number: none of Linux has more than 64 bits."""
    return word.isascii() and word.isdigit() and len(word) <= 20


def read_owner(word: str) -> tuple[Owner, ...] | None:
    """Read ``PID/Program`` of netstat; ``()`` for ``-``, ``None`` when it is neither."""
    if word == "-":
        return ()
    pid, slash, name = word.partition("/")
    if not slash or not is_count(pid):
        return None
    return (Owner(int(pid), name.rstrip(":")),)
