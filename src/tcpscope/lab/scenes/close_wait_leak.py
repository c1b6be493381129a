"""close-wait-leak: a server that forgets close(); and a half-close in use, which only looks like it."""

from __future__ import annotations

import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State

AGE = {"close-wait-leak.age_s": 0.3}
CLIENTS = 10


@scene("illness", "a server that forgets close() on end of file", finding="close-wait-leak")
def close_wait_leak(stage: Stage) -> None:
    """The most common illness of servers. Every client has gone long ago; the program read the end of file
    (Recv-Q 0), dropped the connection from its mind and kept the socket. No timer and no keepalive ends this.
    """
    stage.demo(stage.server, "forgets_close", str(PORT), called="server")
    client = stage.actor(stage.client)
    stage.step(f"{CLIENTS} clients connect, and close a moment later.")
    sockets = [client.connect(stage.server.address, PORT) for _ in range(CLIENTS)]
    for socket in sockets:
        socket.close()
    stage.expect(
        "the server has read the end of file everywhere and closed nothing",
        client=[Seen(State.FIN_WAIT_2, 0, 0, "", "timewait", number=CLIENTS)],
        server=[listening(), Seen(State.CLOSE_WAIT, 0, 0, "server", "", number=CLIENTS)],
    )
    stage.look_first(stage.server)
    time.sleep(0.4)
    stage.diagnose(stage.server, "close-wait-leak", never=["close-wait-app-blocked"], thresholds=AGE)


@scene("illness", "a server that takes the end of file for data", finding="close-wait-leak")
def close_wait_ignored_end(stage: Stage) -> None:
    """The same illness from another mistake: the program tests recv() for errors only. The end of file is no error
    but an empty result, so it reads it again and again.
    """
    stage.demo(stage.server, "ignores_recv", str(PORT), called="server")
    client = stage.actor(stage.client)
    stage.step(f"{CLIENTS} clients connect, and close a moment later.")
    for socket in [client.connect(stage.server.address, PORT) for _ in range(CLIENTS)]:
        socket.close()
    leaked = Seen(State.CLOSE_WAIT, 0, 0, "server", "", number=CLIENTS)
    stage.expect("end of file read, nothing closed", server=[listening(), leaked])
    stage.look_first(stage.server)
    time.sleep(0.4)
    stage.diagnose(stage.server, "close-wait-leak", never=["close-wait-app-blocked"], thresholds=AGE)


@scene("trap", "a half-close in use: CLOSE_WAIT that still sends", finding="close-wait-leak")
def half_close_in_use(stage: Stage) -> None:
    """ssh, rsync and netcat close their sending direction and go on reading. The server is in CLOSE_WAIT with good
    reason: it still sends.
    """
    crowd = stage.crowd(CLIENTS)
    stage.step("Every client calls shutdown(SHUT_WR); the server reads the end of file and sends its answer.")
    for near, far in zip(crowd.client, crowd.server, strict=True):
        near.shutdown()
        far.recv()
        far.send(bytes(500))
    stage.expect("half-closed", server=[listening(), Seen(State.CLOSE_WAIT, 0, 0, "server", number=CLIENTS)])
    stage.look_first(stage.server)
    time.sleep(0.4)
    for far in crowd.server:
        far.send(bytes(500))
    stage.diagnose(stage.server, never=["close-wait-leak", "close-wait-app-blocked"], thresholds=AGE)


@scene("trap", "CLOSE_WAIT on its way: clients have just closed", finding="close-wait-leak")
def close_wait_fresh(stage: Stage) -> None:
    """Every connection that the peer closes first passes CLOSE_WAIT. A hundred of them, moments old, are no leak."""
    crowd = stage.crowd(100)
    crowd.close_clients()
    for far in crowd.server:
        far.recv()
    stage.expect("just closed", server=[listening(), Seen(State.CLOSE_WAIT, 0, 0, "server", number=100)])
    stage.diagnose(stage.server, never=["close-wait-leak", "close-wait-app-blocked"])
    stage.step("The server closes them too.")
    crowd.close_servers()
    stage.expect("all gone", server=[listening()])
