"""What a scene is and what a run of it gave; the register of scenes.

A scene is one function in ``lab/scenes/<name>.py``, marked with :func:`scene`. It is given a
:class:`~tcpscope.lab.stage.Stage`, tells its story in steps, and at its checkpoints says which sockets each host must
show. One file holds one state, transition or illness; the trap of an illness (what looks like it and is not) stands
beside it in the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tcpscope.lab.shown import Checkpoint, Diagnosis, Fact
from tcpscope.machine.lifecycle import LIFE_ORDER
from tcpscope.model.errors import UsageError
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
