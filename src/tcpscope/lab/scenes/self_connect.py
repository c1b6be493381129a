"""self-connect: a client connected to itself; and two ends on one address, which is ordinary."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State

TARGET = 50000
TRIES = 40_000


@scene("illness", "a client that is connected to itself", finding="self-connect")
def self_connect(stage: Stage) -> None:
    """A client retries a local service that is down. Its port lies in the range of outgoing ports, and one day the
    kernel chooses that very port: the SYN meets itself, simultaneous open, and the client talks to itself.
    """
    client = stage.actor(stage.client)
    stage.step(f"Nobody listens on port {TARGET}; the client tries again and again.")
    tries, socket = client.try_connect("127.0.0.1", TARGET, TRIES)
    stage.verify("it got a connection in the end", True, socket is not None)
    stage.step(f"(after {tries} tries)")
    itself = stage.expect("one socket with two equal ends", client=[Seen(State.ESTABLISHED, 0, 0, "client")])
    (end,) = itself.ends
    stage.verify("both ends are the same", True, all(one.local == one.remote for one in end.sockets))
    stage.diagnose(stage.client, "self-connect")


@scene("trap", "both ends of a connection on one host", finding="self-connect")
def both_ends_here(stage: Stage) -> None:
    """The same address on both sides and different ports: an ordinary connection within the host."""
    server, client = stage.actor(stage.client, "server"), stage.actor(stage.client)
    listener = server.listen(PORT)
    client.connect("127.0.0.1", PORT)
    listener.accept()
    ends = [Seen(State.ESTABLISHED, 0, 0, owner) for owner in ("client", "server")]
    stage.expect("two sockets", client=[listening(), *ends])
    stage.diagnose(stage.client, never=["self-connect"])
