"""retransmission-stall: data that nobody acknowledges; and data that was lost once."""

from __future__ import annotations

import time

from tcpscope.lab.scene import Seen, scene
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


@scene("trap", "lost once, repeated once, acknowledged", finding="retransmission-stall")
def lost_once(stage: Stage) -> None:
    """A short break costs a repetition or two."""
    pair = stage.connect()
    stage.server.drop()
    pair.client.send(bytes(1000))
    stage.expect("not acknowledged yet", client=[Seen(State.ESTABLISHED, 0, 1000, "client", "on")])
    stage.look_first(stage.client)
    stage.server.pass_everything()
    stage.expect("acknowledged", client=[Seen(State.ESTABLISHED, 0, 0, "client", "")])
    stage.diagnose(stage.client, never=["retransmission-stall"])
