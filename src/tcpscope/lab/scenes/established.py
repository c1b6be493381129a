"""ESTABLISHED: both ends have agreed; that is all it says."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage, listening
from tcpscope.model.state import State


@scene("state", "the handshake is complete; nothing need ever be sent", state=State.ESTABLISHED)
def established(stage: Stage) -> None:
    """An established connection costs nothing and has no timer: without data and keepalive it stays for ever, even
    when the peer is gone. Recv-Q counts octets the program has not read.
    """
    stage.step("A client connects, the server accepts; nobody sends anything.")
    pair = stage.connect()
    idle = Seen(State.ESTABLISHED, 0, 0, timer="")
    stage.expect(
        "idle on both sides",
        client=[idle._replace(owner="client")],
        server=[listening(), idle._replace(owner="server")],
    )
    stage.step("The client sends 1000 octets; the server does not read them yet.")
    pair.client.send(bytes(1000))
    stage.expect(
        "they wait at the server, acknowledged by its kernel",
        client=[Seen(State.ESTABLISHED, 0, 0, "client", "")],
        server=[listening(), Seen(State.ESTABLISHED, 1000, 0, "server", "")],
    )
