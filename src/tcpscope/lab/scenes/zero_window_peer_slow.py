"""zero-window-peer-slow: a peer that does not read; and one that pauses."""

from __future__ import annotations

import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage, listening
from tcpscope.model.state import State

AGE = {"zero-window-peer-slow.medium_s": 0.5}


@scene("illness", "a peer that does not read: its window is zero", finding="zero-window-peer-slow")
def zero_window_peer_slow(stage: Stage) -> None:
    """The sender's kernel probes for as long as the peer answers, which is for ever. Nothing is lost, nobody is
    gone; the program at the other end does not read.
    """
    pair = stage.connect()
    stage.step("The client sends until nothing more fits; the server does not read.")
    pair.client.send_zeros(20_000_000)
    stage.expect(
        "full at both ends",
        client=[Seen(State.ESTABLISHED, 0, -1, "client", "persist")],
        server=[listening(), Seen(State.ESTABLISHED, -1, 0, "server")],
    )
    stage.look_first(stage.client)
    time.sleep(1.2)
    stage.diagnose(stage.client, "zero-window-peer-slow", never=["retransmission-stall"], thresholds=AGE)


@scene("trap", "a reader that pauses and goes on", finding="zero-window-peer-slow")
def reader_pauses(stage: Stage) -> None:
    """Back-pressure: the window was zero a moment ago, and the reader has caught up."""
    pair = stage.connect()
    pair.client.send_zeros(20_000_000)
    stage.expect("full", client=[Seen(State.ESTABLISHED, 0, -1, "client", "persist")])
    stage.look_first(stage.client)
    time.sleep(0.6)
    stage.step("The server reads everything.")
    stage.verify("drained", True, stage.wait_until(lambda: _drained(stage, pair.server.drain)))
    stage.diagnose(stage.client, never=["zero-window-peer-slow"], thresholds=AGE)


def _drained(stage: Stage, drain: object) -> bool:
    from tcpscope.lab.look import look_at

    assert callable(drain)
    drain()
    return all(socket.send_q == 0 for socket in look_at(stage.client))
