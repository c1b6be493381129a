"""What a scene is, what it expects and what was shown: the words of the laboratory, and the register of scenes.

A scene is one function in ``lab/scenes/<name>.py``, marked with :func:`scene`. It is given a
:class:`~tcpscope.lab.stage.Stage`, tells its story in steps, and at its checkpoints says which sockets each host must
show. One file holds one state, transition or illness; the trap of an illness (what looks like it and is not) stands
beside it in the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tcpscope.machine.lifecycle import LIFE_ORDER
from tcpscope.model.errors import UsageError
from tcpscope.model.finding import Finding
from tcpscope.model.socket import Socket
from tcpscope.model.state import State
from tcpscope.model.transition import Transition

if TYPE_CHECKING:
    from tcpscope.lab.stage import Stage

#: Kinds of scenes, in the order in which they are listed.
KINDS = {
    "story": "a whole experiment",
    "state": "one of the eleven states",
    "transition": "every row of the life cycle that Linux can show",
    "illness": "something is wrong, and the doctor says so",
    "trap": "looks like an illness and is none",
    "healthy": "a busy host without an illness",
}

SCENES: dict[str, Scene] = {}


class Scene(NamedTuple):
    """One thing to be shown. ``finding``: id the doctor must give (illness) or must not give (trap)."""

    name: str
    kind: str
    title: str
    story: str
    play: Callable[[Stage], None]
    finding: str = ""
    state: State | None = None


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


class Outcome(NamedTuple):
    """What a run of a scene showed."""

    scene: Scene
    checkpoints: tuple[Checkpoint, ...]
    diagnoses: tuple[Diagnosis, ...]
    facts: tuple[Fact, ...]
    transitions: tuple[Transition, ...]
    error: str
    elapsed_s: float
    skipped: str = ""  #: what is missing on this machine to play it

    @property
    def ok(self) -> bool:
        """Whether all was as expected; a skipped scene has shown nothing."""
        parts: Sequence[Checkpoint | Diagnosis | Fact] = (*self.checkpoints, *self.diagnoses, *self.facts)
        return not self.error and not self.skipped and bool(parts) and all(part.ok for part in parts)


def scene(
    kind: str, title: str, *, finding: str = "", state: State | None = None
) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Register the decorated function as a scene named after it (``fin_wait_2`` is ``fin-wait-2``)."""

    def register(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
        name = play.__name__.replace("_", "-")
        assert kind in KINDS and name not in SCENES, name
        story = " ".join((play.__doc__ or "").split())
        SCENES[name] = Scene(name, kind, title, story, play, finding, state)
        return play

    return register


def load_scenes() -> dict[str, Scene]:
    """Import every file of ``lab/scenes`` and return all scenes by name, ordered by kind."""
    from importlib import import_module
    from pkgutil import iter_modules

    from tcpscope.lab import scenes

    for module in iter_modules(scenes.__path__):
        import_module(f"{scenes.__name__}.{module.name}")
    kinds = list(KINDS)

    def place(scene: Scene) -> tuple[int, int]:
        return kinds.index(scene.kind), LIFE_ORDER.index(scene.state) if scene.state else 0

    return dict(sorted(SCENES.items(), key=lambda item: place(item[1])))


def find_scenes(names: Sequence[str]) -> list[Scene]:
    """Return the scenes of these names; a kind (``state``) or ``all`` stands for several, underscores are allowed.

    Raises ``UsageError`` naming the nearest when there is none.
    """
    import difflib

    known = load_scenes()
    kinds = {name: kind for kind in KINDS for name in (kind, f"{kind}s", f"{kind}es", f"{kind[:-1]}ies")}
    found: dict[str, Scene] = {}
    for name in names:
        wanted = name.lower().replace("_", "-")
        several = [one for one in known.values() if wanted == "all" or one.kind == kinds.get(wanted)]
        if not several and wanted not in known:
            near = difflib.get_close_matches(wanted, [*known, *KINDS], 3)
            hint = f"did you mean {', '.join(near)}?" if near else "see tcpscope lab list"
            raise UsageError(f"no scene {name!r}: {hint}")
        for one in several or [known[wanted]]:
            found[one.name] = one
    return list(found.values())


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
