"""accept-queue-overflow: nobody calls accept(); and a burst that is accepted."""

from __future__ import annotations

import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State

BACKLOG = 2


@scene("illness", "a server that does not call accept()", finding="accept-queue-overflow")
def accept_queue_overflow(stage: Stage) -> None:
    """The kernel completes handshakes by itself until the queue holds one more than the backlog; then it drops SYNs
    without a word. Clients that got in believe to be served, the others hang in SYN_SENT, and the server shows
    nothing of them.
    """
    stage.demo(stage.server, "never_accepts", str(PORT), str(BACKLOG), called="server")
    client = stage.actor(stage.client)
    stage.look_first(stage.server)
    stage.step(f"8 clients connect; the backlog is {BACKLOG}.")
    for _ in range(8):
        client.start_connect(stage.server.address, PORT)
    stage.expect(
        "three have got in, and belong to nobody; five are not even known to the server",
        client=[Seen(State.ESTABLISHED, 0, 0, "client", number=3), Seen(State.SYN_SENT, 0, 1, "client", number=5)],
        server=[listening(recv_q=3), Seen(State.ESTABLISHED, 0, 0, "", "", number=3)],
    )
    stage.diagnose(stage.server, "accept-queue-overflow", never=["accept-stalled-by-fd-limit"])


@scene("trap", "a burst in the queue, accepted a moment later", finding="accept-queue-overflow")
def accept_burst(stage: Stage) -> None:
    """Recv-Q of a listener above zero at one moment is what a queue is for."""
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    listener = server.listen(PORT, 5)
    for _ in range(5):
        client.connect(stage.server.address, PORT)
    stage.expect("five wait", server=[listening(recv_q=5), Seen(State.ESTABLISHED, 0, 0, "", number=5)])
    stage.look_first(stage.server)
    time.sleep(0.2)
    listener.accept_waiting()
    stage.expect("all accepted", server=[listening(), Seen(State.ESTABLISHED, 0, 0, "server", number=5)])
    stage.diagnose(stage.server, never=["accept-queue-overflow"])
