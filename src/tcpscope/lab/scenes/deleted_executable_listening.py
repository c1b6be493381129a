"""deleted-executable-listening: a program whose file is gone; and one whose file is there."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile

from tcpscope.lab import programs
from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage
from tcpscope.model.state import State


def _serve_from_copy(stage: Stage, folder: str) -> str:
    """Start a server with a copy of the Python interpreter in ``folder``; return the copy's path."""
    copy = os.path.join(folder, "dropper")
    shutil.copy2(os.path.realpath(sys.executable), copy)
    home = f"{sys.base_prefix}:{sys.base_exec_prefix}"
    stage.server.start("env", f"PYTHONHOME={home}", copy, "-I", "-S", programs.path_of("quiet_server"), str(PORT))
    stage.expect("it listens", server=[Seen(State.LISTEN, 0, owner="dropper")])
    return copy


@scene("illness", "a listener whose program file was deleted", finding="deleted-executable-listening")
def deleted_executable_listening(stage: Stage) -> None:
    """Started from a temporary folder and deleted at once: intruders do that. After a package upgrade the same is seen
    with an ordinary path, and means: restart it.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.unlink(_serve_from_copy(stage, folder))
        stage.step("The file is deleted while the program runs.")
        stage.diagnose(stage.server, "deleted-executable-listening")


@scene("trap", "the same program with its file in place", finding="deleted-executable-listening")
def executable_in_place(stage: Stage) -> None:
    """A strange place for a server, but the file can be looked at."""
    with tempfile.TemporaryDirectory() as folder:
        _serve_from_copy(stage, folder)
        stage.diagnose(stage.server, never=["deleted-executable-listening"])
