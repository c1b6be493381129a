"""bind-eaddrinuse-timewait: a restart meets its own past; and a restart that does not."""

from __future__ import annotations

import errno

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State


def _serve_and_stop(stage: Stage, *, reuse: bool) -> None:
    """Serve one client, close first, and close the listener: the server's end is in TIME_WAIT."""
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    listener = server.listen(PORT, reuse=reuse)
    near = client.connect(stage.server.address, PORT)
    listener.accept().close()
    near.close()
    listener.close()
    stage.expect("the old connection holds the port", server=[Seen(State.TIME_WAIT)])


@scene("illness", "a server without SO_REUSEADDR cannot restart", finding="bind-eaddrinuse-timewait")
def bind_eaddrinuse_timewait(stage: Stage) -> None:
    """The server closed a connection first, so its end is in TIME_WAIT on the server's port. Without SO_REUSEADDR
    bind() refuses for 60 s; with it on the new socket alone it still refuses.
    """
    stage.step("A server without SO_REUSEADDR closes a connection first and is restarted.")
    _serve_and_stop(stage, reuse=False)
    server = stage.actor(stage.server, "restarted")
    stage.verify_error("bind()", errno.EADDRINUSE, lambda: server.listen(PORT, reuse=False))
    stage.verify_error("bind() with SO_REUSEADDR on the new socket only", errno.EADDRINUSE, lambda: server.listen(PORT))
    stage.diagnose(stage.server, "bind-eaddrinuse-timewait", ports=[PORT])


@scene("trap", "a restart with SO_REUSEADDR: TIME_WAIT is in nobody's way", finding="bind-eaddrinuse-timewait")
def restart_with_reuseaddr(stage: Stage) -> None:
    """Both the old and the new socket have SO_REUSEADDR: the server listens again at once, beside its TIME_WAIT."""
    _serve_and_stop(stage, reuse=True)
    stage.actor(stage.server, "restarted").listen(PORT)
    stage.expect("listening again", server=[listening("restarted"), Seen(State.TIME_WAIT)])
    stage.diagnose(stage.server, never=["bind-eaddrinuse-timewait"])
