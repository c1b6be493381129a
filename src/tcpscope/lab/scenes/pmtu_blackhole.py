"""pmtu-blackhole: full-size segments vanish; and a path on which everything vanishes."""

from __future__ import annotations

import time

from tcpscope.lab.actor import ActorSocket
from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage
from tcpscope.model.state import State


def _send_much(stage: Stage, *matches: str) -> ActorSocket:
    """Open three connections that work, lose what matches, and send 20 000 octets on two of them, 5 on the third.

    Returns the third.
    """
    for host in (stage.client, stage.server):
        host.forbid_super_packets()
    crowd = stage.crowd(3)
    for near, far in zip(crowd.client, crowd.server, strict=True):
        near.send(b"hello")
        far.recv()
    stage.server.drop(*matches)
    *long, short = crowd.client
    for near in long:
        near.send_zeros(20_000)
    time.sleep(1)
    short.send(b"hello")
    return short


@scene("illness", "large segments vanish, small ones pass", finding="pmtu-blackhole")
def pmtu_blackhole(stage: Stage) -> None:
    """Somewhere on the way the MTU is smaller, and the ICMP message that would say so is filtered. Logging in works,
    the first long answer hangs.
    """
    stage.step("A rule drops packets of more than 1200 octets; the client sends 20 000 octets on two connections.")
    short = _send_much(stage, "ip length > 1200")
    stalled = Seen(State.ESTABLISHED, 0, -1, "client", "on", number=2)
    shown = [stalled, Seen(State.ESTABLISHED, 0, 0, "client", "")]
    stage.expect("two stall, the third works", client=shown)
    stage.look_first(stage.client)
    time.sleep(2.3)
    short.send(b"hello")  # Why again: a busy machine may have needed long since the first
    stage.expect("after more than three seconds the third still works", client=shown)
    stage.diagnose(stage.client, "pmtu-blackhole")


@scene("trap", "everything vanishes, large and small", finding="pmtu-blackhole")
def all_sizes_lost(stage: Stage) -> None:
    """Full-size segments are not acknowledged here either, because nothing is."""
    _send_much(stage)
    stage.expect("all three stall", client=[Seen(State.ESTABLISHED, 0, -1, "client", "on", number=3)])
    stage.look_first(stage.client)
    time.sleep(2.8)
    stage.diagnose(stage.client, "retransmission-stall", never=["pmtu-blackhole"])
