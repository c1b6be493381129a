"""What the readers of rows share: state words, owners, and the fast construction of a Socket.

A reader takes the words of a line and returns a ``Socket``, or ``None`` when the line is no row of its tool.
"""

from __future__ import annotations

from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner, Socket
from tcpscope.model.spelling import ALIASES, DIALECTS
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


#: A row without its remote end: what comes before it and what comes after.
Alike = tuple[tuple[object, ...], tuple[object, ...]]
#: How many kinds of rows a reader remembers.
MOST_KINDS = 50_000

_REMOTE = Socket._fields.index("remote")
_DIGITS = frozenset("0123456789")
_new = tuple.__new__


def cut_remote(socket: Socket) -> Alike:
    """Return what rows like this one share.

    Why: a dump of a busy host has hundreds of thousands of rows of few kinds, each with a remote address of its own. A
    row like one before it takes everything but that address from there.
    """
    return socket[:_REMOTE], socket[_REMOTE + 1 :]


def with_remote(alike: Alike, text: str) -> Socket | None:
    """Return the row for a numeric IPv4 remote end; ``None`` when ``text`` is anything else."""
    address, _, port = text.rpartition(":")
    if address[:1] in _DIGITS and port.isdecimal() and len(port) < 6 and ":" not in address:
        return _new(Socket, (*alike[0], _new(Endpoint, (address, int(port))), *alike[1]))
    return None


def is_count(word: str) -> bool:
    """Whether a word is a queue length or another plain number."""
    return word.isascii() and word.isdigit()


def read_owner(word: str) -> tuple[Owner, ...] | None:
    """Read ``PID/Program`` of netstat; ``()`` for ``-``, ``None`` when it is neither."""
    if word == "-":
        return ()
    pid, slash, name = word.partition("/")
    if not slash or not is_count(pid):
        return None
    return (Owner(int(pid), name.rstrip(":")),)
