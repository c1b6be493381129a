"""reuseport-imbalance: one of four workers is stuck; and four that are equally busy."""

from __future__ import annotations

import socket

from tcpscope.lab.actor import ActorSocket
from tcpscope.lab.look import look_at
from tcpscope.lab.scene import scene
from tcpscope.lab.stage import PORT, Stage
from tcpscope.model.state import State

WORKERS, BACKLOG = 4, 15


def _start_workers(stage: Stage) -> list[ActorSocket]:
    """Start four processes that listen on one port."""
    listeners = []
    for number in range(WORKERS):
        worker = stage.actor(stage.server, f"worker{number}")
        sock = worker.socket()
        sock.set_option(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind("0.0.0.0", PORT)
        sock.listen(BACKLOG)
        listeners.append(sock)
    return listeners


def _queues(stage: Stage) -> dict[str, int]:
    """Return the length of each worker's queue."""
    listed = look_at(stage.server)
    return {one.owners[0].name: one.recv_q for one in listed if one.state == State.LISTEN and one.owners}


@scene("illness", "one of four workers is stuck", finding="reuseport-imbalance")
def reuseport_imbalance(stage: Stage) -> None:
    """With SO_REUSEPORT the kernel deals connections out by hash, also to a worker that no longer accepts: one client
    in four hangs, the others see a fast server.
    """
    listeners = _start_workers(stage)
    client = stage.actor(stage.client)
    stage.step("worker0 hangs; the other three accept whatever comes. Clients arrive.")
    for _ in range(120):
        client.start_connect(stage.server.address, PORT)
        for listener in listeners[1:]:
            listener.accept_waiting()
        if _queues(stage)["worker0"] >= BACKLOG - 2:
            break
    stage.look_first(stage.server)
    queues = _queues(stage)
    stage.verify("the others' queues", [0, 0, 0], [queues[f"worker{number}"] for number in (1, 2, 3)])
    stage.verify("worker0 has a queue", True, queues["worker0"] >= BACKLOG - 2)
    stage.diagnose(stage.server, "reuseport-imbalance", also=["accept-queue-overflow"])


@scene("trap", "four workers, each with a few in its queue", finding="reuseport-imbalance")
def reuseport_balanced(stage: Stage) -> None:
    """All workers are a little behind: their queues differ by chance, and none is stuck."""
    _start_workers(stage)
    client = stage.actor(stage.client)
    for _ in range(16):
        client.start_connect(stage.server.address, PORT)
    stage.verify("all wait somewhere", True, stage.wait_until(lambda: sum(_queues(stage).values()) == 16))
    stage.diagnose(stage.server, never=["reuseport-imbalance"], also=["accept-queue-overflow"])
