"""One listener for both families: what `:::10050` really serves."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State


@scene("story", "a listener on :: serves IPv4 too")
def dual_stack(stage: Stage) -> None:
    """Netstat prints `:::10050` for a listener on every IPv6 address; on Linux it serves IPv4 as well unless the
    program sets IPV6_V6ONLY. An IPv4 client then appears with a v4-mapped address.
    """
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    listener = server.listen(PORT, address="::")
    stage.step("One client comes over IPv6, one over IPv4.")
    for address in (stage.server.address6, stage.server.address):
        client.connect(address, PORT)
        listener.accept()
    ends = Seen(State.ESTABLISHED, 0, 0, number=2)
    shown = stage.expect(
        "both are connected",
        client=[ends._replace(owner="client")],
        server=[listening(), ends._replace(owner="server")],
    )
    addresses = sorted(one.remote.address for one in shown.ends[1].sockets if one.state == State.ESTABLISHED)
    stage.verify("the server sees", [f"::ffff:{stage.client.address}", stage.client.address6], addresses)
