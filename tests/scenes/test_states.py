"""All eleven states on real sockets, and the experiment of the textbooks, as ``list`` and ``ss`` see them."""

import shutil

import pytest
from tests.scenes.scene_case import play_or_fail

from tcpscope.lab.scene import load_scenes
from tcpscope.model.state import State

pytestmark = pytest.mark.root
SCENES = load_scenes()
SLOW = {"time-wait-expires"}
NAMES = [
    pytest.param(scene.name, marks=pytest.mark.slow) if scene.name in SLOW else scene.name
    for scene in SCENES.values()
    if scene.kind in ("state", "story", "transition")
]


@pytest.mark.parametrize("name", NAMES)
def test_scene_shows_what_it_says(name):
    outcome = play_or_fail(name)
    seen = {end.ss for checkpoint in outcome.checkpoints for end in checkpoint.ends}
    assert seen <= ({"agrees"} if shutil.which("ss") else {"absent"})
    shown = {socket.state for checkpoint in outcome.checkpoints for end in checkpoint.ends for socket in end.sockets}
    assert SCENES[name].state in (None, *shown)
    assert outcome.checkpoints or len(outcome.facts) > 10


def test_every_state_has_a_scene():
    assert {scene.state for scene in SCENES.values() if scene.kind == "state"} == set(State)
