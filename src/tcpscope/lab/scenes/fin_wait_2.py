"""FIN_WAIT_2: this end has closed, the peer knows it and has not closed."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage, listening
from tcpscope.model.state import State


@scene("state", "closed first and acknowledged; waiting for the peer's FIN", state=State.FIN_WAIT_2)
def fin_wait_2(stage: Stage) -> None:
    """There are two kinds. After shutdown() the program still holds the socket, can read, and waits as long as it
    likes. After close() nobody can read any more: Linux keeps a small time-wait socket for tcp_fin_timeout (60 s).
    """
    pair = stage.connect()
    stage.step("The client calls shutdown(SHUT_WR): it has said all it has to say.")
    pair.client.shutdown()
    half_closed = Seen(State.CLOSE_WAIT, 1, 0, "server", "")
    stage.expect(
        "half-closed: the client's process holds the socket, no timer runs",
        client=[Seen(State.FIN_WAIT_2, 0, 0, "client", "")],
        server=[listening(), half_closed],
    )
    stage.step("The server can still send, and the client can read it.")
    pair.server.send(b"the answer")
    stage.verify("the client reads", b"the answer", pair.client.recv())
    stage.step("Now the client calls close().")
    pair.client.close()
    stage.expect(
        "an orphan: no process, and a time-wait timer",
        client=[Seen(State.FIN_WAIT_2, 0, 0, "", "timewait")],
        server=[listening(), half_closed],
    )
