"""packet-loss: one packet in twenty is lost; and a path that loses next to nothing."""

from __future__ import annotations

import threading

from tcpscope.lab.scene import scene
from tcpscope.lab.stage import Stage

SIZE = 6_000_000


def _transfer(stage: Stage) -> int:
    """Send from the client to the server, one segment for each packet; return how much arrived."""
    for host in (stage.client, stage.server):
        host.forbid_super_packets()
    pair = stage.connect()
    sender = threading.Thread(target=pair.client.send_zeros, args=(SIZE,), kwargs={"wait": True})
    sender.start()
    arrived = 0
    while arrived < SIZE:
        arrived += len(pair.server.recv(1 << 20))
    sender.join()
    return arrived


@scene("illness", "one packet in twenty is lost", finding="packet-loss")
def packet_loss(stage: Stage) -> None:
    """A rule at the server drops 5 % of what arrives, at random. The transfer completes; only counters tell."""
    stage.server.set_rules("ip protocol tcp numgen random mod 100 < 5 drop")
    stage.look_first(stage.client)
    stage.step(f"{SIZE} octets are sent.")
    stage.verify("octets that arrived", SIZE, _transfer(stage))
    stage.diagnose(stage.client, "packet-loss")


@scene("trap", "one packet in 250 is lost", finding="packet-loss")
def clean_path(stage: Stage) -> None:
    """Every path loses a segment now and then: less than one in a hundred is nothing that a user feels. A busy machine
    repeats some more without need, which may be said, but is no loss.
    """
    stage.server.set_rules("ip protocol tcp numgen inc mod 250 == 100 drop")
    stage.look_first(stage.client)
    stage.verify("octets that arrived", SIZE, _transfer(stage))
    stage.verify("segments were repeated", True, stage.grown(stage.client, "Tcp.RetransSegs") >= 10)
    stage.diagnose(stage.client, never=["packet-loss"], also=["spurious-retransmit-reorder"])
