"""The register of scenes."""

import pytest

from tcpscope.lab.scene import KINDS, find_scenes, load_scenes
from tcpscope.model.errors import UsageError


@pytest.mark.parametrize("word", ["state", "states", "illnesses", "stories", "healthy"])
def test_kind_stands_for_all_its_scenes(word):
    kinds = {scene.kind for scene in find_scenes([word])}
    assert len(kinds) == 1
    assert kinds <= KINDS.keys()


def test_name_is_found_in_any_spelling_and_once():
    assert [scene.name for scene in find_scenes(["FIN_WAIT_2", "fin-wait-2"])] == ["fin-wait-2"]


def test_unknown_name_is_refused_with_near_ones():
    with pytest.raises(UsageError, match="syn-received"):
        find_scenes(["syn-recieved"])


def test_every_scene_tells_what_it_is():
    for scene in load_scenes().values():
        assert scene.title and len(scene.story) > 30, scene.name
        assert bool(scene.finding) == (scene.kind in ("illness", "trap")), scene.name
