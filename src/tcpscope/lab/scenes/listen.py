"""LISTEN: a server waits for connections."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State


@scene("state", "a server waits; its queues count connections", state=State.LISTEN)
def listen(stage: Stage) -> None:
    """A listener never changes its state when clients come. Its Recv-Q counts connections that wait for accept();
    its Send-Q, in ss, is the backlog.
    """
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    stage.step("The server calls listen() with a backlog of 5 on every address.")
    listener = server.listen(PORT, backlog=5)
    listed = stage.expect("nobody has come", server=[listening()])
    stage.verify("backlog", 5, listed.ends[0].sockets[0].backlog)
    stage.step("A client connects. The kernel completes the handshake; the server has not called accept().")
    client.connect(stage.server.address, PORT)
    waiting = Seen(State.ESTABLISHED, 0, 0, owner="", timer="")
    stage.expect("one connection waits, and nobody owns it", server=[listening(recv_q=1), waiting])
    stage.step("The server calls accept().")
    listener.accept()
    stage.expect("the queue is empty again", server=[listening(), Seen(State.ESTABLISHED, 0, 0, "server")])
