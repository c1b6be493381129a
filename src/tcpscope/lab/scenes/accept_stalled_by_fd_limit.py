"""accept-stalled-by-fd-limit: no descriptor left for accept(); and a full queue that has another reason."""

from __future__ import annotations

import errno

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage
from tcpscope.model.state import State


@scene("illness", "accept() fails: the descriptors are gone", finding="accept-stalled-by-fd-limit")
def accept_stalled_by_fd_limit(stage: Stage) -> None:
    """Clients shown as ESTABLISHED that never reach the program. The server leaks descriptors, accept() fails with
    EMFILE, the queue fills, and then SYNs are dropped: one cause, three symptoms.
    """
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    listener = server.listen(PORT, 4)
    stage.step("The server may open 20 files. Clients come and are kept; accept() goes on until it fails.")
    server.limit_files(20)
    accepted = 0
    try:
        while True:
            client.start_connect(stage.server.address, PORT)
            listener.accept()
            accepted += 1
    except OSError as error:
        stage.verify("accept()", errno.EMFILE, error.errno)
    stage.look_first(stage.server)
    stage.step("Eight more clients come.")
    for _ in range(8):
        client.start_connect(stage.server.address, PORT)
    served, unserved = (
        Seen(State.ESTABLISHED, 0, 0, "server", number=accepted),
        Seen(State.ESTABLISHED, owner="", number=5),
    )
    stage.expect("the queue is full", server=[Seen(State.LISTEN, 5, owner="server"), served, unserved])
    stage.diagnose(stage.server, "accept-stalled-by-fd-limit")


@scene("trap", "a full queue of a program with descriptors to spare", finding="accept-stalled-by-fd-limit")
def accept_not_called(stage: Stage) -> None:
    """The queue is as full, but accept() would work: the program is stuck elsewhere."""
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    server.listen(PORT, 4)
    stage.look_first(stage.server)
    for _ in range(8):
        client.start_connect(stage.server.address, PORT)
    unserved = Seen(State.ESTABLISHED, owner="", number=5)
    stage.expect("the queue is full", server=[Seen(State.LISTEN, 5, owner="server"), unserved])
    stage.diagnose(stage.server, "accept-queue-overflow", never=["accept-stalled-by-fd-limit"])
