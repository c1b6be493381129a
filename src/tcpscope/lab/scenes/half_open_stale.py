"""half-open-stale: peers that vanished without a word; and idle peers that are alive."""

from __future__ import annotations

import socket
import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage, listening
from tcpscope.model.state import State

NUMBER = 25
AGE = {"half-open-stale.idle_s": 1, "half-open-stale.watch_s": 1}


@scene("illness", "clients that lost power: half-open connections", finding="half-open-stale")
def half_open_stale(stage: Stage) -> None:
    """The clients disappear without FIN or RST. Without data and keepalive nothing ever tells the server: it shows
    ESTABLISHED, idle, for ever.
    """
    crowd = stage.crowd(NUMBER)
    stage.step(f"{NUMBER} clients vanish (TCP_REPAIR, then close: no segment is sent).")
    for near in crowd.client:
        near.vanish()
    ghosts = Seen(State.ESTABLISHED, 0, 0, "server", "", number=NUMBER)
    stage.expect("nothing at the clients, everything as before at the server", [], [listening(), ghosts])
    time.sleep(1.1)
    stage.look_first(stage.server)
    time.sleep(1.1)
    stage.diagnose(stage.server, "half-open-stale", thresholds=AGE)


@scene("trap", "idle clients that are alive: their keepalive is heard", finding="half-open-stale")
def idle_and_alive(stage: Stage) -> None:
    """The clients are as silent, but send keepalive probes. On this side no idle time changes; only segs_in grows."""
    crowd = stage.crowd(NUMBER)
    for near in crowd.client:
        near.set_option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        near.set_option(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        near.set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = Seen(State.ESTABLISHED, 0, 0, "server", "", number=NUMBER)
    stage.expect("idle", server=[listening(), idle])
    time.sleep(1.1)
    stage.look_first(stage.server)
    time.sleep(1.4)
    stage.diagnose(stage.server, never=["half-open-stale"], thresholds=AGE)
