"""rst-storm-sent: a program that ends its connections with RST; and a few resets."""

from __future__ import annotations

import socket
import time

from tcpscope.lab.scene import scene
from tcpscope.lab.stage import Stage


def _close_with_reset(stage: Stage, number: int) -> None:
    crowd = stage.crowd(number)
    stage.look_first(stage.client)
    for near in crowd.client:
        near.set_option(socket.SOL_SOCKET, socket.SO_LINGER, [1, 0])
        near.close()
    stage.expect("nothing is left at the client", client=[])


@scene("illness", "a program that closes with SO_LINGER 0", finding="rst-storm-sent")
def rst_storm_sent(stage: Stage) -> None:
    """Advice against TIME_WAIT: close with a reset. It loses what the peer has not read yet, and every connection
    ends as an error there.
    """
    stage.step("200 connections are closed with SO_LINGER {1, 0}.")
    _close_with_reset(stage, 200)
    stage.diagnose(stage.client, "rst-storm-sent", also=["reset-by-peer-rate"])


@scene("trap", "a few connections are ended with RST", finding="rst-storm-sent")
def few_resets(stage: Stage) -> None:
    """Single resets are everyday life: a browser that stops loading does that."""
    _close_with_reset(stage, 3)
    time.sleep(0.8)
    stage.diagnose(stage.client, never=["rst-storm-sent"])
