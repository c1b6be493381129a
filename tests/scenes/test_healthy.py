"""Nothing above info is said of real servers under real load."""

import pytest
from tests.scenes.scene_case import play_or_fail

from tcpscope.lab.scene import load_scenes

NAMES = [scene.name for scene in load_scenes().values() if scene.kind == "healthy"]


@pytest.mark.root
@pytest.mark.parametrize("name", NAMES)
def test_healthy_host_has_no_finding_above_info(name):
    outcome = play_or_fail(name)
    assert {diagnosis.host for diagnosis in outcome.diagnoses} == {"client", "server"}
