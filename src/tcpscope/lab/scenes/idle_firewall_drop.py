"""idle-firewall-drop: a firewall forgot an idle connection; the trap is retransmission-stall without a silence."""

from __future__ import annotations

import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Pair, Stage
from tcpscope.model.state import State

GAP = {"idle-firewall-drop.gap_s": 1.5}


def _talk(pair: Pair) -> None:
    """Exchange a few octets in both directions."""
    pair.client.send(b"hello")
    pair.server.recv()
    pair.server.send(b"hello yourself")
    pair.client.recv()


@scene("illness", "a firewall forgot an idle connection", finding="idle-firewall-drop")
def idle_firewall_drop(stage: Stage) -> None:
    """A stateful firewall forgets connections that are silent for longer than its timeout, and drops what comes after.
    The client's next request is repeated until it times out; the server stays ESTABLISHED and idle.
    """
    stage.step("The firewall at the server forgets a connection after 1 s of silence and drops what it does not know.")
    stage.server.set_rules(
        "ct state established accept", "tcp flags & (syn|ack) == syn accept", "meta l4proto tcp drop"
    )
    stage.server.set_sysctl("net.netfilter.nf_conntrack_tcp_timeout_established", 1)
    stage.server.set_sysctl("net.netfilter.nf_conntrack_tcp_loose", 0)
    pair = stage.connect()
    _talk(pair)
    stage.step("2 s of silence; then the client sends a request.")
    time.sleep(2.2)
    pair.client.send(b"still there?")
    stage.expect(
        "repeated at one end, idle at the other",
        client=[Seen(State.ESTABLISHED, 0, 12, "client", "on")],
        server=[Seen(State.LISTEN), Seen(State.ESTABLISHED, 0, 0, "server", "")],
    )
    stage.look_first(stage.client)
    time.sleep(3.3)
    stage.diagnose(stage.client, "idle-firewall-drop", thresholds=GAP)


@scene("trap", "the path dies while the connection is in use", finding="idle-firewall-drop")
def dropped_while_busy(stage: Stage) -> None:
    """As unacknowledged, but no silence went before it: nobody forgot anything."""
    pair = stage.connect()
    _talk(pair)
    stage.server.drop()
    pair.client.send(b"still there?")
    stage.expect("repeated", client=[Seen(State.ESTABLISHED, 0, 12, "client", "on")])
    stage.look_first(stage.client)
    time.sleep(3.3)
    stage.diagnose(stage.client, "retransmission-stall", never=["idle-firewall-drop"], thresholds=GAP)
