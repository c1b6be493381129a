"""Play a scene in a test and say everything that was not as expected."""

import pytest
from tests.typed_remedies import check_remedies

from tcpscope.lab.play import play_scene
from tcpscope.lab.scene import Outcome, load_scenes
from tcpscope.views.scenes import sum_up


def play_or_fail(name: str) -> Outcome:
    outcome = play_scene(load_scenes()[name])
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.ok, "\n".join(sum_up(outcome))
    assert all(move.legal or move.deviation for move in outcome.transitions)
    for diagnosis in outcome.diagnoses:
        for finding in diagnosis.findings:
            check_remedies(finding)
    return outcome
