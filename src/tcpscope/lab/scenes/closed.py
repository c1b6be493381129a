"""CLOSED: there is no connection; on Linux one kind of socket is listed in it."""

from __future__ import annotations

import errno

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage
from tcpscope.model.state import State


@scene("state", "bound, and neither listening nor connected", state=State.CLOSED)
def closed(stage: Stage) -> None:
    """CLOSED is the state of a connection that is not there. A socket that was only bound is in it: it takes the
    port, answers no SYN, and most tools do not show it.
    """
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    stage.step("The server calls socket() and bind(), and forgets listen().")
    sock = server.socket()
    sock.bind("0.0.0.0", PORT)
    stage.expect("bound only: no timer, nothing queued", server=[Seen(State.CLOSED, 0, 0, "server", "")])
    stage.step("The client connects: nobody listens, the kernel answers the SYN with RST.")
    stage.verify_error("connect()", errno.ECONNREFUSED, lambda: client.connect(stage.server.address, PORT))
    stage.step("Another server wants the port: it is taken, although no tool shows a listener.")
    stage.verify_error("second bind()", errno.EADDRINUSE, lambda: server.listen(PORT, reuse=False))
