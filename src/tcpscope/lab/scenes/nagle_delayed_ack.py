"""nagle-delayed-ack: messages written in two pieces; and the same with TCP_NODELAY."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.stage import PORT, Stage

#: A connection waits most of the time, but not always; of several that do not keep step some are caught at a look.
SIZE, CONNECTIONS = 200, 6


def _ask(stage: Stage, *options: str) -> None:
    stage.demo(stage.server, "whole_messages", str(PORT), str(SIZE), called="server")
    numbers = (str(PORT), str(SIZE), str(CONNECTIONS))
    stage.demo(stage.client, "two_pieces", stage.server.address, *numbers, *options, called="client")
    stage.look_first(stage.client)
    answered = stage.wait_until(lambda: stage.grown(stage.client, "TcpExt.TCPOrigDataSent") >= 10 * CONNECTIONS)
    stage.verify("messages were answered", True, answered)
    # Linux: the first acknowledgements of a connection are quick ones.
    stage.look_first(stage.client)


@scene("illness", "messages written in two small pieces", finding="nagle-delayed-ack")
def nagle_delayed_ack(stage: Stage) -> None:
    """Head and body are two writes. The kernel keeps the body until the head is acknowledged; the server has nothing to
    answer before the body comes, so its kernel delays that acknowledgement by 40 ms. Nothing is lost, everything is
    slow: 25 messages a second on a path of microseconds.
    """
    stage.step(
        f"{CONNECTIONS} connections: write {SIZE // 2} octets, write {SIZE // 2} octets, read the answer, again."
    )
    _ask(stage)
    stage.diagnose(stage.client, "nagle-delayed-ack")


@scene("trap", "the same pieces with TCP_NODELAY", finding="nagle-delayed-ack")
def two_pieces_at_once(stage: Stage) -> None:
    """The same writes, the same server: without Nagle's algorithm the second piece leaves at once."""
    _ask(stage, "nodelay")
    stage.diagnose(stage.client, never=["nagle-delayed-ack"])
