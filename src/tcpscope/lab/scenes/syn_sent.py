"""SYN_SENT: a client has asked and nobody has answered."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State


@scene("state", "the SYN is out, no answer has come", state=State.SYN_SENT)
def syn_sent(stage: Stage) -> None:
    """The client repeats its SYN (after 1 s, then at growing distances) and gives up after 131 s on today's Linux.
    The SYN itself counts 1 in Send-Q.
    """
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    server.listen(PORT)
    stage.step("A firewall at the server swallows everything.")
    stage.server.drop()
    stage.step("The client calls connect().")
    client.start_connect(stage.server.address, PORT)
    stage.expect(
        "the server knows nothing of it",
        client=[Seen(State.SYN_SENT, 0, 1, "client", "on")],
        server=[listening()],
    )
