"""shared-socket-holders: a fork keeps a connection open; and two processes with sockets of their own."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State


@scene("illness", "two processes hold one socket", finding="shared-socket-holders")
def shared_socket_holders(stage: Stage) -> None:
    """The server has forked: the child holds every socket too. close() in one process, or killing one, sends no FIN;
    only the last holder's close does.
    """
    pair = stage.connect()
    server = pair.server.actor
    stage.step("The server forks; the client closes.")
    child = server.fork()
    pair.client.close()
    waiting = Seen(State.CLOSE_WAIT, 1, 0, "server")
    stage.expect("one socket, two holders", server=[listening(), waiting])
    listed = stage.checkpoints[-1].ends[0].sockets
    holders = {owner.pid for socket in listed if socket.state == State.CLOSE_WAIT for owner in socket.owners}
    stage.verify("holders", sorted((server.pid, child)), sorted(holders))
    stage.diagnose(stage.server, "shared-socket-holders")
    stage.step("The parent closes: nothing happens.")
    pair.server.close()
    stage.expect("the child still holds it", server=[listening(), waiting])
    stage.step("The child is killed: now the FIN goes out.")
    server.end_child(child)
    stage.expect("gone", client=[Seen(State.TIME_WAIT)], server=[listening()])


@scene("trap", "two processes with sockets of their own", finding="shared-socket-holders")
def separate_holders(stage: Stage) -> None:
    """Two servers under one name, each with its own listener and connection."""
    client = stage.actor(stage.client)
    for port in (PORT, PORT + 1):
        listener = stage.actor(stage.server).listen(port)
        client.connect(stage.server.address, port)
        listener.accept()
    stage.expect("two of each", server=[listening(), listening(), Seen(State.ESTABLISHED, owner="server", number=2)])
    stage.diagnose(stage.server, never=["shared-socket-holders"])
