"""LAST_ACK: this end closed second, and its FIN is not acknowledged."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage, listening
from tcpscope.model.state import State


@scene("state", "closed second; the FIN is not acknowledged yet", state=State.LAST_ACK)
def last_ack(stage: Stage) -> None:
    """The last state of the end that closes second, usually one round trip long. A pile of it means that the other
    host or the path is gone: the FIN is repeated for about 107 s.
    """
    pair = stage.connect()
    stage.step("The client closes first; the server reads the end of file.")
    pair.client.close()
    stage.verify("recv() at the server", b"", pair.server.recv())
    stage.step("The path breaks: everything to the client is lost. The server closes.")
    stage.client.drop()
    pair.server.close()
    stage.expect(
        "the server repeats its FIN; the client waits for it",
        client=[Seen(State.FIN_WAIT_2, 0, 0, "", "timewait")],
        server=[listening(), Seen(State.LAST_ACK, None, 1, "", "on")],
    )
