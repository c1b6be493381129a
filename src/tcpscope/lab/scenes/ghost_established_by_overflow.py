"""ghost-established-by-overflow: connections that exist at the client alone; and a path that died later."""

from __future__ import annotations

import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage
from tcpscope.model.state import State

NUMBER, BACKLOG = 10, 2


@scene("illness", "the server forgot connections the client believes in", finding="ghost-established-by-overflow")
def ghost_established_by_overflow(stage: Stage) -> None:
    """With SYN cookies the server keeps nothing until the last ACK; when that meets a full accept queue, it is
    dropped. The client has its SYN|ACK, is ESTABLISHED, and repeats its first data into the void.
    """
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    server.listen(PORT, BACKLOG)
    stage.server.set_sysctl("net.ipv4.tcp_syncookies", 2)
    stage.step(
        f"The server answers every SYN with a cookie. {NUMBER} clients connect while their last ACKs are held up."
    )
    stage.server.drop("tcp flags & (fin|syn|rst|ack) == ack")
    ghosts = [client.connect(stage.server.address, PORT) for _ in range(NUMBER)]
    stage.expect("connected, on one side only", client=[Seen(State.ESTABLISHED, 0, 0, "client", number=NUMBER)])
    stage.step("The path is whole again; every client sends its request.")
    stage.server.pass_everything()
    for ghost in ghosts:
        ghost.send(b"GET / HTTP/1.0\r\n\r\n")
    got_in = BACKLOG + 1
    stage.expect(
        f"{got_in} requests got in, the others are repeated",
        client=[
            Seen(State.ESTABLISHED, 0, 0, "client", number=got_in),
            Seen(State.ESTABLISHED, 0, 18, "client", "on", number=NUMBER - got_in),
        ],
        server=[Seen(State.LISTEN, got_in), Seen(State.ESTABLISHED, 18, 0, "", number=got_in)],
    )
    stage.look_first(stage.client)
    time.sleep(1.2)
    stage.diagnose(stage.client, "ghost-established-by-overflow")


@scene("trap", "the path died after the first answer", finding="ghost-established-by-overflow")
def path_died_later(stage: Stage) -> None:
    """Repeated data as well, but octets were acknowledged before: the server knows these connections."""
    crowd = stage.crowd(NUMBER)
    for near, far in zip(crowd.client, crowd.server, strict=True):
        near.send(b"hello")
        far.recv()
        far.send(b"hello yourself")
        near.recv()
    stage.server.drop()
    for near in crowd.client:
        near.send(b"are you there?")
    stage.expect("repeating", client=[Seen(State.ESTABLISHED, 0, 14, "client", "on", number=NUMBER)])
    stage.look_first(stage.client)
    time.sleep(3.2)
    stage.diagnose(stage.client, "retransmission-stall", never=["ghost-established-by-overflow"])
