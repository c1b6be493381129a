"""deferred-accept-misread: TCP_DEFER_ACCEPT looks like trouble; and real trouble does not look like it."""

from __future__ import annotations

import socket
import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State


@scene("illness", "silent clients of a server with TCP_DEFER_ACCEPT", finding="deferred-accept-misread")
def deferred_accept_misread(stage: Stage) -> None:
    """No illness but a misreading: the handshake is complete, the kernel waits for data before it wakes the server,
    and shows SYN_RECEIVED meanwhile.
    """
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    listener = server.listen(PORT)
    listener.set_option(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
    sockets = [client.connect(stage.server.address, PORT) for _ in range(5)]
    waiting = Seen(State.SYN_RECEIVED, 0, 0, "", "on", number=5)
    connected = Seen(State.ESTABLISHED, 0, 0, "client", number=5)
    stage.expect("connected there, unfinished here", [connected], [listening(), waiting])
    stage.look_first(stage.server)
    time.sleep(1.25)
    stage.diagnose(stage.server, "deferred-accept-misread", never=["syn-flood", "syn-recv-ack-lost"])
    stage.step("The clients send a request.")
    for near in sockets:
        near.send(b"hello")
    stage.expect("now the server is told", server=[listening(recv_q=5), Seen(State.ESTABLISHED, 5, 0, number=5)])


@scene("trap", "handshakes whose last ACK is lost", finding="deferred-accept-misread")
def handshakes_unfinished(stage: Stage) -> None:
    """The same picture for another reason: SYN|ACK is repeated, because no ACK arrives."""
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    server.listen(PORT)
    stage.server.drop("tcp flags & (fin|syn|rst|ack) == ack")
    stage.look_first(stage.server)
    for _ in range(5):
        client.connect(stage.server.address, PORT)
    stage.expect("unfinished", server=[listening(), Seen(State.SYN_RECEIVED, 0, 0, "", "on", number=5)])
    time.sleep(1.5)
    stage.diagnose(stage.server, never=["deferred-accept-misread", "syn-flood"])
