"""listener-closed-with-queue: a restart that resets who waited; and one that lets them in first."""

from __future__ import annotations

import errno

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage, listening
from tcpscope.model.state import State

NUMBER = 10


@scene("illness", "a restart resets the clients that waited", finding="listener-closed-with-queue")
def listener_closed_with_queue(stage: Stage) -> None:
    """Clients that were connected but not accepted yet get a reset when the listener is closed."""
    crowd = stage.crowd(NUMBER, accept=False)
    stage.expect("ten wait", server=[listening(recv_q=NUMBER), Seen(State.ESTABLISHED, owner="", number=NUMBER)])
    stage.look_first(stage.server)
    stage.step("The server closes its listener.")
    crowd.listener.close()
    stage.expect("nothing is left", client=[], server=[])
    codes = [socket.error() for socket in crowd.client]
    stage.verify("what the clients get", [errno.ECONNRESET] * NUMBER, codes)
    stage.diagnose(stage.server, "listener-closed-with-queue")


@scene("trap", "a listener that is closed after its queue was served", finding="listener-closed-with-queue")
def listener_drained(stage: Stage) -> None:
    """The same restart, after accept() has taken everybody."""
    crowd = stage.crowd(NUMBER, accept=False)
    stage.expect("ten wait", server=[listening(recv_q=NUMBER), Seen(State.ESTABLISHED, owner="", number=NUMBER)])
    stage.look_first(stage.server)
    crowd.listener.accept_waiting()
    crowd.listener.close()
    stage.expect("they live on", server=[Seen(State.ESTABLISHED, 0, 0, "server", number=NUMBER)])
    stage.diagnose(stage.server, never=["listener-closed-with-queue"])
