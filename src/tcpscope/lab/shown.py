"""What hosts must show at a checkpoint of a scene, and what they showed: sockets, findings, plain facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tcpscope.model.finding import Finding
from tcpscope.model.socket import Socket
from tcpscope.model.state import State


class Seen(NamedTuple):
    """Sockets a host must show: ``None`` is any. ``owner`` is a process name, ``""`` no process.

    ``recv_q``/``send_q`` as in ``list``; ``-1`` means: something, not 0. ``timer`` as ss names it, ``""`` none.
    """

    state: State
    recv_q: int | None = None
    send_q: int | None = None
    owner: str | None = None
    timer: str | None = None
    number: int = 1

    def matches(self, socket: Socket) -> bool:
        """Whether a socket is of this description."""
        return (
            socket.state == self.state
            and _is_amount(self.recv_q, socket.recv_q)
            and _is_amount(self.send_q, socket.send_q)
            and self.owner in (None, owner_of(socket))
            and self.timer in (None, _timer_of(socket))
        )

    def __str__(self) -> str:
        words = [self.state.name]
        for name, amount in (("recv-q", self.recv_q), ("send-q", self.send_q)):
            if amount is not None:
                words.append(f"{name} {'>0' if amount == -1 else amount}")
        if self.timer is not None:
            words.append(f"timer {self.timer or 'none'}")
        if self.owner is not None:
            words.append(f"of {self.owner or 'no process'}")
        return " ".join(words) + (f" x{self.number}" if self.number != 1 else "")


class End(NamedTuple):
    """One host at a checkpoint. ``ss``: what comparing with ss gave, ``agrees``, ``absent`` or the difference."""

    host: str
    expected: tuple[str, ...]
    shown: tuple[str, ...]
    sockets: tuple[Socket, ...]
    ok: bool
    ss: str


class Checkpoint(NamedTuple):
    """Both ends at one moment, against what was expected."""

    text: str
    ends: tuple[End, ...]

    @property
    def ok(self) -> bool:
        """Whether every host showed what was expected, and ss agreed where it is installed."""
        return all(end.ok and end.ss in ("agrees", "absent") for end in self.ends)


class Diagnosis(NamedTuple):
    """What the doctor said of one host, against what it had to say (``wanted``) and must not say (``unwanted``)."""

    host: str
    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]
    findings: tuple[Finding, ...]
    surprises: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every wanted id was found, no unwanted one, and nothing unexplained above info."""
        found = {finding.id for finding in self.findings}
        return found >= set(self.wanted) and not found & set(self.unwanted) and not self.surprises


class Fact(NamedTuple):
    """One plain fact a scene verifies besides states: what a call returned, what a counter counted."""

    text: str
    expected: str
    shown: str

    @property
    def ok(self) -> bool:
        """Whether it is as expected."""
        return self.expected == self.shown


def owner_of(socket: Socket) -> str:
    """Return the names of the processes that hold a socket, each once; empty for none."""
    return ",".join(dict.fromkeys(owner.name for owner in socket.owners))


def describe(sockets: Sequence[Socket]) -> tuple[str, ...]:
    """Describe sockets as :class:`Seen` spells them, equal ones once with their number."""
    groups: dict[Seen, int] = {}
    for socket in sockets:
        timer = socket.timer.kind if socket.timer else ""
        seen = Seen(socket.state, socket.recv_q, socket.send_q, owner_of(socket), timer)
        groups[seen] = groups.get(seen, 0) + 1
    return tuple(str(seen._replace(number=number)) for seen, number in groups.items())


def is_match(expected: Sequence[Seen], sockets: Sequence[Socket]) -> bool:
    """Whether the sockets are exactly the expected ones, each taken once."""
    left = list(sockets)
    for seen in sorted(expected, key=lambda one: one.count(None)):
        fitting = [socket for socket in left if seen.matches(socket)]
        if len(fitting) < seen.number:
            return False
        for socket in fitting[: seen.number]:
            left.remove(socket)
    return not left


def _timer_of(socket: Socket) -> str:
    """Return the kind of timer.

    Linux: when the ACK of the FIN meets close() at work, the orphan in FIN_WAIT_2 stays a full socket and waits its
    tcp_fin_timeout with the keepalive timer instead of becoming a mini-socket: the same wait by another clock.
    """
    kind = socket.timer.kind if socket.timer else ""
    is_full_orphan = socket.state == State.FIN_WAIT_2 and not socket.inode and kind == "keepalive"
    return "timewait" if is_full_orphan else kind


def _is_amount(wanted: int | None, amount: int) -> bool:
    return wanted is None or wanted == amount or (wanted == -1 and amount > 0)
