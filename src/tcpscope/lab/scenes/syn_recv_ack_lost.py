"""syn-recv-ack-lost: the last ACK never comes; and handshakes that are merely young."""

from __future__ import annotations

import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State


@scene("illness", "the last ACK of handshakes is lost", finding="syn-recv-ack-lost")
def syn_recv_ack_lost(stage: Stage) -> None:
    """Asymmetric routing or a firewall that eats one direction: the same few peers stay in SYN_RECEIVED and are sent
    SYN|ACK again and again, while they believe to be connected.
    """
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    server.listen(PORT)
    stage.step("A rule at the server drops segments that carry an ACK and nothing else; three clients connect.")
    stage.server.drop("tcp flags & (fin|syn|rst|ack) == ack")
    for _ in range(3):
        client.connect(stage.server.address, PORT)
    waiting = Seen(State.SYN_RECEIVED, 0, 0, "", "on", number=3)
    connected = Seen(State.ESTABLISHED, 0, 0, "client", number=3)
    stage.expect("connected there, unfinished here", [connected], [listening(), waiting])
    time.sleep(3.4)
    stage.diagnose(
        stage.server,
        "syn-recv-ack-lost",
        never=["syn-flood", "deferred-accept-misread"],
        thresholds={"syn-recv-ack-lost.age_s": 3},
    )


@scene("trap", "handshakes that are merely young", finding="syn-recv-ack-lost")
def handshakes_young(stage: Stage) -> None:
    """Over a slow path every handshake is in SYN_RECEIVED for a round trip; half a second is no lost ACK."""
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    server.listen(PORT)
    stage.server.drop("tcp flags & (fin|syn|rst|ack) == ack")
    for _ in range(3):
        client.connect(stage.server.address, PORT)
    stage.expect("under way", server=[listening(), Seen(State.SYN_RECEIVED, 0, 0, "", "on", number=3)])
    stage.diagnose(stage.server, never=["syn-recv-ack-lost", "syn-flood"])
