"""ghost-reconnect: clients come back on the very connection the server still has; and clients that come back anew."""

from __future__ import annotations

import socket

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage
from tcpscope.model.state import State

NUMBER = 8


@scene("illness", "clients come back on connections the server still has", finding="ghost-reconnect")
def ghost_reconnect(stage: Stage) -> None:
    """A client that lost power comes back with the same port. The server answers its SYN with a challenge ACK, the
    client resets what it does not know, and tries again: a matter of milliseconds.
    """
    crowd = stage.crowd(NUMBER)
    ports = [near.port for near in crowd.client]
    for near in crowd.client:
        near.vanish()
    stage.look_first(stage.server)
    stage.step(f"{NUMBER} clients vanish and connect again from the same ports.")
    client = crowd.client[0].actor
    for port in ports:
        sock = client.socket()
        sock.set_option(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind("0.0.0.0", port)
        sock.connect(stage.server.address, PORT)
    stage.expect("all are connected", client=[Seen(State.ESTABLISHED, 0, 0, "client", number=NUMBER)])
    stage.diagnose(stage.server, "ghost-reconnect", also=["reset-by-peer-rate"])


@scene("trap", "clients come back from new ports", finding="ghost-reconnect")
def reconnect_anew(stage: Stage) -> None:
    """After a proper close the same clients connect again, from other ports: ordinary life."""
    crowd = stage.crowd(NUMBER)
    stage.look_first(stage.server)
    crowd.close_clients()
    crowd.close_servers()
    client = crowd.client[0].actor
    for _ in range(NUMBER):
        client.connect(stage.server.address, PORT)
        crowd.listener.accept()
    stage.diagnose(stage.server, never=["ghost-reconnect"])
