"""Play a scene: build the hosts, run the story, collect what was shown, take everything down."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from tcpscope.kernel.sandbox import Sandbox
from tcpscope.lab.recorder import Recorder
from tcpscope.lab.scene import Outcome, Scene
from tcpscope.lab.stage import Moment, Stage
from tcpscope.model.errors import NotPermitted, TcpscopeError, Unsupported


def play_scene(
    scene: Scene,
    on_moment: Callable[[Moment], None] = lambda moment: None,
    hold: Callable[[Stage], None] = lambda stage: None,
) -> Outcome:
    """Play one scene and return what it showed.

    ``on_moment`` is called at every step and checkpoint; ``hold`` at the end, while everything is still there.
    Raises ``NotPermitted`` without root. Where a needed program or kernel feature is missing the outcome is
    ``skipped``; any other failure of the scene is part of the outcome.
    """
    started = time.monotonic()
    error = skipped = ""
    with Sandbox() as sandbox, Recorder(sandbox, wanted=scene.kind != "healthy") as recorder:
        stage = Stage(sandbox, recorder, on_moment)
        try:
            scene.play(stage)
        except Unsupported as lack:
            skipped = str(lack)
        except (OSError, StopIteration, TcpscopeError, subprocess.SubprocessError) as failure:
            if isinstance(failure, NotPermitted):
                raise
            error = f"{type(failure).__name__}: {failure}"
        hold(stage)
        recorder.read()
    return Outcome(
        scene,
        tuple(stage.checkpoints),
        tuple(stage.diagnoses),
        tuple(stage.facts),
        tuple(recorder.all_transitions),
        error,
        time.monotonic() - started,
        skipped,
    )
