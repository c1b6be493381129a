"""retransmission-stall: data that nobody acknowledges; and data that had to be repeated twice."""

from __future__ import annotations

import time

from tcpscope.lab.look import look_at
from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage
from tcpscope.model.state import State


@scene("illness", "the path died under a connection in use", finding="retransmission-stall")
def retransmission_stall(stage: Stage) -> None:
    """The kernel repeats the data at doubling distances and tells the program after about 15 minutes."""
    pair = stage.connect()
    pair.client.send(b"hello")
    pair.server.recv()
    stage.server.drop()
    stage.step("The path dies. The client sends 1000 octets.")
    pair.client.send(bytes(1000))
    stage.expect("not acknowledged", client=[Seen(State.ESTABLISHED, 0, 1000, "client", "on")])
    stage.look_first(stage.client)
    time.sleep(3.3)
    stage.diagnose(stage.client, "retransmission-stall", never=["idle-firewall-drop", "zero-window-peer-slow"])


@scene("trap", "repeated twice, a third time would be a stall", finding="retransmission-stall")
def lost_once(stage: Stage) -> None:
    """A break of a few seconds costs two repetitions; the data is still unacknowledged when the doctor looks. With an
    RTO of two seconds (after a tail loss probe) they come in the first 8 s, and the third one 8 s later.
    """
    stage.client.run(stage.need("ip"), "route", "change", "10.9.0.0/24", "dev", "eth0", "rto_min", "2s")
    pair = stage.connect()
    stage.server.drop()
    pair.client.send(bytes(1000))
    stage.verify("repeated twice", True, stage.wait_until(lambda: _repetitions(stage) == 2))
    stage.look_first(stage.client)
    stage.diagnose(stage.client, never=["retransmission-stall"])
    stage.verify("repetitions when the doctor looked", 2, _repetitions(stage))


def _repetitions(stage: Stage) -> int:
    timers = [one.timer for one in look_at(stage.client) if one.state == State.ESTABLISHED and one.timer]
    return max((timer.retransmits for timer in timers), default=0)
