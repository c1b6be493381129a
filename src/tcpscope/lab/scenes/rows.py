"""The rows of the life cycle, state by state: each on a fresh kernel socket against a hand-played peer."""

from __future__ import annotations

from tcpscope.lab.scene import SCENES, Scene
from tcpscope.lab.stage import Stage
from tcpscope.lab.walk.walk import show_rows
from tcpscope.machine.lifecycle import LIFE_ORDER
from tcpscope.model.state import State


def _register(state: State) -> None:
    name = f"rows-of-{state.name.lower().replace('_', '-')}"
    story = (
        f"Every row of the life cycle that starts in {state.name} and that Linux can show: a fresh socket "
        "is brought into the state, the event is caused by a call, a forged segment or time, and the state afterwards "
        "and the answer are compared with the row."
    )

    def play(stage: Stage) -> None:
        show_rows(stage, state)

    SCENES[name] = Scene(name, "transition", f"the rows that start in {state.name}", story, play)


for one in LIFE_ORDER:
    _register(one)
