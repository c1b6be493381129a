"""zombie-socket-fds: reset sockets that were never closed; and sockets of other families."""

from __future__ import annotations

import socket

from tcpscope.lab.actor import ActorSocket
from tcpscope.lab.scene import scene
from tcpscope.lab.stage import Stage, listening

NUMBER = 60


@scene("illness", "sockets the peers have reset, and nobody closes", finding="zombie-socket-fds")
def zombie_socket_fds(stage: Stage) -> None:
    """A reset ends the connection, not the descriptor: until close() the socket stays with the program, and neither
    ss nor netstat shows it anywhere.
    """
    crowd = stage.crowd(NUMBER)
    stage.step(f"The clients reset {NUMBER} connections; the server does not notice.")
    for near in crowd.client:
        near.set_option(socket.SOL_SOCKET, socket.SO_LINGER, [1, 0])
        near.close()
    stage.expect("no tool shows them", client=[], server=[listening()])
    stage.diagnose(stage.server, "zombie-socket-fds")


@scene("trap", "a program with many sockets of other families", finding="zombie-socket-fds")
def other_families(stage: Stage) -> None:
    """Unix and netlink sockets are in no TCP list either, and are no leak."""
    server = stage.actor(stage.server)
    for _ in range(NUMBER):
        server.socket(socket.AF_UNIX)
    for _ in range(5):
        ActorSocket(server, server.ask("new", int(socket.AF_NETLINK), int(socket.SOCK_RAW), 0))
    stage.diagnose(stage.server, never=["zombie-socket-fds"])
