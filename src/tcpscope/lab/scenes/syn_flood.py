"""syn-flood: SYNs from nowhere; and a server whose handshakes only look unfinished."""

from __future__ import annotations

import socket
import time

from tcpscope.kernel.raw_packets import RawSender
from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import SYN, Segment
from tcpscope.model.state import State

BACKLOG, SYNS = 128, 2000


@scene("illness", "a flood of SYNs with forged addresses", finding="syn-flood")
def syn_flood(stage: Stage) -> None:
    """2000 SYNs from addresses that answer nothing. Linux keeps backlog + 1 unfinished handshakes and answers the
    rest with cookies, which need no memory: a real client still gets in at once.
    """
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    server.listen(PORT, BACKLOG)
    stage.look_first(stage.server)
    stage.step(f"{SYNS} forged SYNs arrive; the backlog is {BACKLOG}.")
    attacker = RawSender(stage.client)
    for number in range(SYNS):
        source = Endpoint(f"198.18.{number // 250}.{1 + number % 250}", 1024 + number)
        attacker.send(source, Endpoint(stage.server.address, PORT), Segment(number * 1000, 0, SYN, 64240))
    unfinished = Seen(State.SYN_RECEIVED, 0, 0, "", "on", number=BACKLOG + 1)
    stage.expect("unfinished handshakes fill the queue and no more", server=[listening(), unfinished])
    stage.step("A real client connects.")
    began = time.monotonic()
    client.connect(stage.server.address, PORT)
    stage.verify("it is let in at once", True, time.monotonic() - began < 0.5)
    time.sleep(1.2)
    stage.diagnose(stage.server, "syn-flood", never=["syn-recv-ack-lost", "deferred-accept-misread"])


@scene("trap", "TCP_DEFER_ACCEPT: healthy clients in SYN_RECEIVED", finding="syn-flood")
def deferred_handshakes(stage: Stage) -> None:
    """A server that asked the kernel to wait for the first data shows every silent client in SYN_RECEIVED, as many as
    fit, and none of them attacks anybody.
    """
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    listener = server.listen(PORT, BACKLOG)
    listener.set_option(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
    for _ in range(120):
        client.connect(stage.server.address, PORT)
    waiting = Seen(State.SYN_RECEIVED, 0, 0, "", "on", number=120)
    connected = Seen(State.ESTABLISHED, 0, 0, "client", number=120)
    stage.expect("connected there, unfinished here", [connected], [listening(), waiting])
    # Why now: both looks must see them, so that however old they are no repeated SYN|ACK tells what they are
    stage.look_first(stage.server)
    time.sleep(1.25)
    stage.diagnose(stage.server, "deferred-accept-misread", never=["syn-flood", "syn-recv-ack-lost"])
