"""Every illness that can be made for real is found, its trap is not, and nothing else above info is said of either."""

import pytest
from tests.scenes.scene_case import play_or_fail

from tcpscope.doctor.catalogue import CATALOGUE
from tcpscope.lab.scene import load_scenes

SCENES = load_scenes()
ILLNESSES = [scene.name for scene in SCENES.values() if scene.kind == "illness"]
TRAPS = [scene.name for scene in SCENES.values() if scene.kind == "trap"]


@pytest.mark.root
@pytest.mark.parametrize("name", ILLNESSES)
def test_illness_is_found(name):
    """Recall, and precision: the scene names every finding above info that may be there."""
    outcome = play_or_fail(name)
    assert any(SCENES[name].finding in diagnosis.wanted for diagnosis in outcome.diagnoses)


@pytest.mark.root
@pytest.mark.parametrize("name", TRAPS)
def test_trap_is_not_taken_for_the_illness(name):
    outcome = play_or_fail(name)
    assert any(SCENES[name].finding in diagnosis.unwanted for diagnosis in outcome.diagnoses)


def test_every_verified_finding_has_a_scene_and_a_trap():
    verified = {entry.id for entry in CATALOGUE.values() if entry.verified}
    assert {SCENES[name].finding for name in ILLNESSES} == verified
    assert {SCENES[name].finding for name in TRAPS} == verified
