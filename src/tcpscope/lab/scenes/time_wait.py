"""TIME_WAIT: the end that closed first waits 60 seconds."""

from __future__ import annotations

import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State


@scene("state", "closed first, and both FINs are acknowledged", state=State.TIME_WAIT)
def time_wait(stage: Stage) -> None:
    """The end that closes first keeps the 4-tuple for 60 s: to answer the peer's FIN again if the last ACK is lost,
    and so that no old segment meets a new connection. It needs no action and costs next to nothing.
    """
    pair = stage.connect()
    stage.step("The client closes, the server closes after it.")
    pair.client.close()
    pair.server.close()
    stage.expect(
        "only the end that closed first remembers",
        client=[Seen(State.TIME_WAIT, 0, 0, "", "timewait")],
        server=[listening()],
    )
    stage.step("The server process ends and starts again: with SO_REUSEADDR its port is free at once.")
    pair.listener.close()
    pair.server.actor.listen(PORT)
    stage.expect("listening again", server=[listening()])


@scene("transition", "60 seconds of TIME_WAIT, to the end")
def time_wait_expires(stage: Stage) -> None:
    """The one wait of the life cycle that no sysctl shortens; tcp_fin_timeout, often named, has no effect on it."""
    stage.client.set_sysctl("net.ipv4.tcp_fin_timeout", 5)
    pair = stage.connect()
    pair.client.close()
    pair.server.close()
    waiting = Seen(State.TIME_WAIT, 0, 0, "", "timewait")
    stage.expect("TIME_WAIT begins", [waiting], [listening()])
    began = time.monotonic()
    stage.step("58 seconds pass (tcp_fin_timeout is 5 s here).")
    time.sleep(58)
    stage.expect("still there", [waiting], [listening()])
    is_over = stage.expect("over", [], [listening()], patience_s=30).ok
    # Linux: the timer wheel runs up to 7 % late.
    stage.verify("60 seconds, give or take", True, 59.5 <= time.monotonic() - began <= 66)
    stage.verify(
        "TIME_WAIT.TIME_WAIT_TIMEOUT", "CLOSED, sends NOTHING", "CLOSED, sends NOTHING" if is_over else "TIME_WAIT"
    )
