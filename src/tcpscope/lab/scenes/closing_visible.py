"""closing-visible: a simultaneous close whose ACKs get lost; and one that goes well."""

from __future__ import annotations

import time

from tcpscope.lab.scene import scene
from tcpscope.lab.scenes.closing import cross_fins
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage, listening
from tcpscope.model.state import State

AGE = {"closing-visible.age_s": 0.5}


@scene("illness", "simultaneous close, and the ACKs are lost", finding="closing-visible")
def closing_visible(stage: Stage) -> None:
    """CLOSING lasts half a round trip. To see it for seconds means that acknowledgements get lost."""
    cross_fins(stage, stage.connect())
    both = Seen(State.CLOSING, 1, 1, "", "on")
    stage.expect("both FINs arrived, their ACKs did not", [both], [listening(), both])
    stage.look_first(stage.server)
    time.sleep(0.8)
    stage.diagnose(stage.server, "closing-visible", thresholds=AGE)


@scene("trap", "simultaneous close on a healthy path", finding="closing-visible")
def crossing_farewells(stage: Stage) -> None:
    """Both close at once and both end in TIME_WAIT; CLOSING is over before anybody can look."""
    cross_fins(stage, stage.connect())
    for host in (stage.client, stage.server):
        host.pass_everything()
    timewait = Seen(State.TIME_WAIT, 0, 0, "", "timewait")
    stage.expect("both wait out their 60 seconds", [timewait], [listening(), timewait])
    stage.diagnose(stage.server, never=["closing-visible"], thresholds=AGE)
