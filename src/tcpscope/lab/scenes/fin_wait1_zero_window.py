"""fin-wait1-zero-window: closed sockets that a peer keeps alive by not reading. The trap is fin-wait1-draining."""

from __future__ import annotations

import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage, listening
from tcpscope.model.state import State


@scene("illness", "a reader that does not read keeps closed sockets alive", finding="fin-wait1-zero-window")
def fin_wait1_zero_window(stage: Stage) -> None:
    """The program has closed with data queued; the peer acknowledges but its window is zero. The kernel probes for
    minutes and keeps the memory: one of these is bad luck, a thousand are an attack (Sockstress).
    """
    pair = stage.connect()
    stage.step("The client fills its buffer and the server's, which does not read; then it closes.")
    pair.client.send_zeros(20_000_000)
    stage.expect("the window is shut", client=[Seen(State.ESTABLISHED, 0, -1, "client", "persist")])
    pair.client.close()
    stage.expect(
        "nobody owns it, and it probes",
        client=[Seen(State.FIN_WAIT_1, 0, -1, "", "persist")],
        server=[listening(), Seen(State.ESTABLISHED, -1, 0, "server")],
    )
    stage.look_first(stage.client)
    time.sleep(0.8)
    stage.diagnose(
        stage.client,
        "fin-wait1-zero-window",
        never=["fin-wait1-stuck"],
        thresholds={"fin-wait1-zero-window.age_s": 0.5},
    )


@scene("trap", "a reader that pauses: zero window, then it goes on", finding="fin-wait1-zero-window")
def fin_wait1_pause(stage: Stage) -> None:
    """The peer's window is zero at this moment, and between the two looks it has read some and will read the rest."""
    pair = stage.connect()
    pair.client.send_zeros(20_000_000)
    pair.client.close()
    stage.expect("the window is shut", client=[Seen(State.FIN_WAIT_1, 0, -1, "", "persist")])
    stage.look_first(stage.client)
    time.sleep(0.6)
    stage.step("The server reads for a while.")
    pair.server.drain()
    time.sleep(0.3)
    stage.diagnose(stage.client, never=["fin-wait1-zero-window"], thresholds={"fin-wait1-zero-window.age_s": 0.5})
