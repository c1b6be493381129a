"""TIME_WAIT: the end that closed first waits 60 seconds."""

from __future__ import annotations

from tcpscope.lab.scene import Seen, scene
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
