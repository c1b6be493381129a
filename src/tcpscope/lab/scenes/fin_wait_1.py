"""FIN_WAIT_1: this end has closed first, and its FIN is not acknowledged."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage, listening
from tcpscope.model.state import State


@scene("state", "closed first; the FIN is not acknowledged yet", state=State.FIN_WAIT_1)
def fin_wait_1(stage: Stage) -> None:
    """Usually one round trip long. Seen only when the path has died (the kernel repeats the FIN for about 107 s) or
    when the peer's window is shut. The FIN counts 1 in Send-Q; after close() no process owns the socket.
    """
    pair = stage.connect()
    stage.step("The path breaks: everything to the server is lost.")
    stage.server.drop()
    stage.step("The client calls close().")
    pair.client.close()
    stage.expect(
        "the server has heard nothing",
        client=[Seen(State.FIN_WAIT_1, 0, 1, "", "on")],
        server=[listening(), Seen(State.ESTABLISHED, 0, 0, "server", "")],
    )
