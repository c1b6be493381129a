"""syn-sent-blackhole: SYNs vanish; and one SYN that was lost."""

from __future__ import annotations

import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State


@scene("illness", "SYNs to a service vanish", finding="syn-sent-blackhole")
def syn_sent_blackhole(stage: Stage) -> None:
    """A filter on the way drops SYNs without a word. A closed port would have answered RST at once."""
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    server.listen(PORT)
    stage.server.drop()
    stage.step("Four connections are tried; their SYNs are repeated after 1, 2 and 3 s.")
    for _ in range(4):
        client.start_connect(stage.server.address, PORT)
    stage.expect(
        "nothing at the server",
        client=[Seen(State.SYN_SENT, 0, 1, "client", "on", number=4)],
        server=[listening()],
    )
    time.sleep(2.3)
    stage.diagnose(stage.client, "syn-sent-blackhole", never=["scanner-or-worm-pattern"])


@scene("trap", "one SYN was lost, the next one got through", finding="syn-sent-blackhole")
def syn_lost_once(stage: Stage) -> None:
    """A lost SYN costs a second, and is no blackhole."""
    server, client = stage.actor(stage.server), stage.actor(stage.client)
    server.listen(PORT)
    stage.server.drop()
    for _ in range(4):
        client.start_connect(stage.server.address, PORT)
    stage.expect("waiting", client=[Seen(State.SYN_SENT, 0, 1, "client", "on", number=4)])
    stage.look_first(stage.client)
    stage.server.pass_everything()
    stage.expect("the second SYN is answered", client=[Seen(State.ESTABLISHED, 0, 0, "client", number=4)])
    stage.diagnose(stage.client, never=["syn-sent-blackhole"])
