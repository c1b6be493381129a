"""exposed-listener: a database for the whole world; and one for this host."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage
from tcpscope.model.state import State

REDIS = 6379


@scene("illness", "a database listens on every address", finding="exposed-listener")
def exposed_listener(stage: Stage) -> None:
    """Redis has no password by default. On 0.0.0.0 everybody who reaches this host reaches it."""
    server, client = stage.actor(stage.server, "redis-server"), stage.actor(stage.client)
    server.listen(REDIS)
    client.connect(stage.server.address, REDIS)
    waiting = Seen(State.ESTABLISHED, owner="")
    stage.expect("reached from outside", server=[Seen(State.LISTEN, 1, owner="redis-server"), waiting])
    stage.diagnose(stage.server, "exposed-listener")


@scene("trap", "the same database on 127.0.0.1", finding="exposed-listener")
def loopback_listener(stage: Stage) -> None:
    """Bound to loopback it answers this host alone."""
    server, client = stage.actor(stage.server, "redis-server"), stage.actor(stage.client)
    server.listen(REDIS, address="127.0.0.1")
    try:
        client.connect(stage.server.address, REDIS)
        stage.verify("from outside", "refused", "connected")
    except ConnectionRefusedError:
        stage.verify("from outside", "refused", "refused")
    stage.expect("for this host alone", server=[Seen(State.LISTEN, 0, owner="redis-server")])
    stage.diagnose(stage.server, never=["exposed-listener"])


@scene("trap", "a database on every address, behind the host's own packet filter", finding="exposed-listener")
def filtered_listener(stage: Stage) -> None:
    """Bound to every address, and a rule of this host lets nobody from outside through to it."""
    server, client = stage.actor(stage.server, "redis-server"), stage.actor(stage.client)
    server.listen(REDIS)
    stage.server.set_rules(f"tcp dport {REDIS} reject with tcp reset")
    try:
        client.connect(stage.server.address, REDIS)
        stage.verify("from outside", "refused", "connected")
    except ConnectionRefusedError:
        stage.verify("from outside", "refused", "refused")
    stage.expect("listening, for nobody", server=[Seen(State.LISTEN, 0, owner="redis-server")])
    stage.diagnose(stage.server, never=["exposed-listener"])
