"""CLOSE_WAIT: the peer has closed, and this program has not."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage, listening
from tcpscope.model.state import State


@scene("state", "the peer has closed; this program has not", state=State.CLOSE_WAIT)
def close_wait(stage: Stage) -> None:
    """No timer of TCP ends CLOSE_WAIT: the program must call close(). Recv-Q tells how far it is: the FIN counts 1
    until the program has read the end of file.
    """
    pair = stage.connect()
    stage.step("The client closes. The server program is busy with something else.")
    pair.client.close()
    orphan = Seen(State.FIN_WAIT_2, 0, 0, "", "timewait")
    stage.expect(
        "Recv-Q 1: the program has not even seen the end of file",
        client=[orphan],
        server=[listening(), Seen(State.CLOSE_WAIT, 1, 0, "server", "")],
    )
    stage.step("The server program reads, and is told: end of file.")
    stage.verify("recv() at the server", b"", pair.server.recv())
    stage.expect(
        "Recv-Q 0: it knows, and has not closed",
        client=[orphan],
        server=[listening(), Seen(State.CLOSE_WAIT, 0, 0, "server", "")],
    )
    stage.step("It calls close().")
    pair.server.close()
    stage.expect("gone here; the end that closed first is in TIME_WAIT", [Seen(State.TIME_WAIT)], [listening()])
