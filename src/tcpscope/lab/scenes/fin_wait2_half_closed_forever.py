"""fin-wait2-half-closed-forever: shutdown() and no answer ever; and a half-close that is in use."""

from __future__ import annotations

import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage, listening
from tcpscope.model.state import State

AGE = {"fin-wait2-half-closed-forever.age_s": 0.3}


@scene("illness", "shutdown(), and the peer never closes", finding="fin-wait2-half-closed-forever")
def fin_wait2_half_closed_forever(stage: Stage) -> None:
    """tcp_fin_timeout concerns orphans only. A program that calls shutdown(SHUT_WR) and waits for the peer holds its
    socket in FIN_WAIT_2 without any timer, as long as it lives.
    """
    pair = stage.connect()
    stage.client.set_sysctl("net.ipv4.tcp_fin_timeout", 1)
    stage.step("The client calls shutdown(SHUT_WR) and reads until the end of file; the server does nothing.")
    pair.client.shutdown()
    held = Seen(State.FIN_WAIT_2, 0, 0, "client", "")
    stage.expect("no timer", [held], [listening(), Seen(State.CLOSE_WAIT, 1, 0, "server")])
    stage.step("tcp_fin_timeout is 1 s here; 1.5 s pass.")
    time.sleep(1.5)
    stage.expect("still there", [held], [listening(), Seen(State.CLOSE_WAIT, 1, 0, "server")])
    stage.client.set_sysctl("net.ipv4.tcp_fin_timeout", 60)
    stage.diagnose(stage.client, "fin-wait2-half-closed-forever", thresholds=AGE)


@scene("trap", "a half-close whose answer is still coming", finding="fin-wait2-half-closed-forever")
def half_close_receiving(stage: Stage) -> None:
    """The client has said all it has to say and receives a long answer: FIN_WAIT_2 with a purpose."""
    pair = stage.connect()
    pair.client.shutdown()
    stage.expect("half-closed", [Seen(State.FIN_WAIT_2, 0, 0, "client", "")], None)
    stage.look_first(stage.client)
    time.sleep(0.4)
    stage.step("The server sends one more piece, the client reads it.")
    pair.server.send(bytes(1000))
    pair.client.recv()
    stage.diagnose(stage.client, never=["fin-wait2-half-closed-forever"], thresholds=AGE)
