"""fin-wait1-stuck: FINs that nobody acknowledges; and a farewell that takes its time."""

from __future__ import annotations

import socket
import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State

NUMBER = 12


@scene("illness", "the path died before the farewell", finding="fin-wait1-stuck")
def fin_wait1_stuck(stage: Stage) -> None:
    """The program has closed and the kernel repeats the FIN, at doubling distances, for about 107 s. The peer still
    believes in the connection.
    """
    crowd = stage.crowd(NUMBER)
    stage.step("Everything to the server is lost; the client closes all its connections.")
    stage.server.drop()
    crowd.close_clients()
    stage.expect(
        "FINs are repeated; the server knows nothing",
        client=[Seen(State.FIN_WAIT_1, 0, 1, "", "on", number=NUMBER)],
        server=[listening(), Seen(State.ESTABLISHED, 0, 0, "server", number=NUMBER)],
    )
    stage.look_first(stage.client)
    time.sleep(1.0)
    stage.diagnose(stage.client, "fin-wait1-stuck", thresholds={"fin-wait1-stuck.age_s": 0.5})


@scene("trap", "closed with much still to send: it drains", finding="fin-wait1-stuck")
def fin_wait1_draining(stage: Stage) -> None:
    """After close() the kernel first delivers what is queued; the state is FIN_WAIT_1 all the while. Send-Q shrinks as
    the peer reads.
    """
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    listener = server.socket()
    listener.set_option(socket.SOL_SOCKET, socket.SO_RCVBUF, 50_000)
    listener.bind("0.0.0.0", PORT)
    listener.listen(16)
    farewells = []
    stage.step("The client sends 1 MB on each connection and closes; the server reads slowly.")
    for _ in range(NUMBER):
        near = client.connect(stage.server.address, PORT)
        farewells.append(listener.accept())
        near.send_zeros(1_000_000)
        near.close()
    waiting = Seen(State.FIN_WAIT_1, 0, -1, "", number=NUMBER)
    stage.expect("closed, and not yet delivered", client=[waiting])
    stage.look_first(stage.client)
    for _ in range(4):
        time.sleep(0.15)
        for far in farewells:
            far.drain()
    stage.diagnose(
        stage.client,
        never=["fin-wait1-stuck", "fin-wait1-zero-window"],
        thresholds={"fin-wait1-stuck.age_s": 0.5, "fin-wait1-zero-window.age_s": 0.5},
    )
