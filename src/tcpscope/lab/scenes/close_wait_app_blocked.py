"""close-wait-app-blocked: a server that does not even read the end of file; and one that is only slow."""

from __future__ import annotations

import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage
from tcpscope.model.state import State

AGE = {"close-wait-leak.age_s": 0.3}
CLIENTS = 10


@scene("illness", "a server that is stuck: it does not read at all", finding="close-wait-app-blocked")
def close_wait_app_blocked(stage: Stage) -> None:
    """The clients sent a request, lost patience and closed. Recv-Q is the request and 1 for the FIN: the program has
    read neither, so the cure is not a missing close() but a thread dump.
    """
    crowd = stage.crowd(CLIENTS)
    stage.step("Every client sends a request and closes; the server hangs and reads nothing. Two more come.")
    for near in crowd.client:
        near.send(bytes(100))
        near.close()
    client = crowd.client[0].actor
    for _ in range(2):
        client.connect(stage.server.address, PORT)
    stage.expect(
        "requests and ends of file wait unread, new connections wait for accept()",
        server=[
            Seen(State.LISTEN, 2, owner="server"),
            Seen(State.CLOSE_WAIT, 101, 0, "server", "", number=CLIENTS),
            Seen(State.ESTABLISHED, 0, 0, "", number=2),
        ],
    )
    stage.look_first(stage.server)
    time.sleep(0.4)
    stage.diagnose(stage.server, "close-wait-app-blocked", never=["close-wait-leak"], thresholds=AGE)


@scene("trap", "a slow reader in CLOSE_WAIT: it works through what has come", finding="close-wait-app-blocked")
def close_wait_slow_reader(stage: Stage) -> None:
    """A reader that is busy with what came before the FIN has Recv-Q above 0 in CLOSE_WAIT too, but it shrinks."""
    crowd = stage.crowd(CLIENTS)
    stage.step("Every client sends 50 000 octets and closes; the server reads at its leisure.")
    for near in crowd.client:
        near.send(bytes(50_000))
        near.close()
    unread = Seen(State.CLOSE_WAIT, 50_001, 0, "server", number=CLIENTS)
    stage.expect("all of it waits", server=[Seen(State.LISTEN, 0), unread])
    stage.look_first(stage.server)
    time.sleep(0.4)
    for far in crowd.server:
        far.recv(10_000)
    stage.diagnose(stage.server, never=["close-wait-app-blocked", "close-wait-leak"], thresholds=AGE)
