"""SYN_RECEIVED: a server has answered a SYN and waits for the last step of the handshake."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State


@scene("state", "SYN and SYN|ACK are exchanged, the last ACK is missing", state=State.SYN_RECEIVED)
def syn_received(stage: Stage) -> None:
    """For the client the connection is complete: it has its SYN|ACK. The server repeats SYN|ACK for 63 s. Linux keeps
    no socket for it yet but a small request, which nobody owns; the listener stays in LISTEN.
    """
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    server.listen(PORT)
    stage.step("A rule at the server drops segments that carry an ACK and nothing else.")
    stage.server.drop("tcp flags & (fin|syn|rst|ack) == ack")
    stage.step("The client calls connect(), and it succeeds.")
    client.connect(stage.server.address, PORT)
    stage.expect(
        "half of the handshake on one side, all of it on the other",
        client=[Seen(State.ESTABLISHED, 0, 0, "client")],
        server=[listening(), Seen(State.SYN_RECEIVED, 0, 0, "", "on")],
    )
