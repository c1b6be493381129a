"""fin-wait2-orphan-pile: the peer does not close; and a pile of TIME_WAIT, which is a different thing."""

from __future__ import annotations

import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage, listening
from tcpscope.model.state import State

NUMBER = 60


@scene("illness", "a peer that never closes leaves orphans here", finding="fin-wait2-orphan-pile")
def fin_wait2_orphan_pile(stage: Stage) -> None:
    """The other half of a CLOSE_WAIT leak. This end has closed and waits for FINs that do not come; Linux forgets each
    after tcp_fin_timeout, so it costs little here. The illness is at the peer.
    """
    crowd = stage.crowd(NUMBER)
    stage.step(f"The client closes {NUMBER} connections; the server program keeps them.")
    crowd.close_clients()
    stage.expect(
        "FIN_WAIT_2 here, CLOSE_WAIT there",
        client=[Seen(State.FIN_WAIT_2, 0, 0, "", "timewait", number=NUMBER)],
        server=[listening(), Seen(State.CLOSE_WAIT, 1, 0, "server", number=NUMBER)],
    )
    stage.look_first(stage.client)
    time.sleep(0.4)
    stage.diagnose(stage.client, "fin-wait2-orphan-pile", thresholds={"fin-wait2-orphan-pile.age_s": 0.3})


@scene("trap", "as many closes on their way: the peer closes in a moment", finding="fin-wait2-orphan-pile")
def orphans_on_their_way(stage: Stage) -> None:
    """Whoever closes first passes FIN_WAIT_2, and a busy host has as many of these as it closes in the time its peers
    take to answer. Sixty of one peer, moments old, say nothing about that peer.
    """
    stage.spare_time_wait()
    crowd = stage.crowd(NUMBER)
    crowd.close_clients()
    stage.expect(
        "the same picture, but young",
        client=[Seen(State.FIN_WAIT_2, 0, 0, "", "timewait", number=NUMBER)],
        server=[listening(), Seen(State.CLOSE_WAIT, 1, 0, "server", number=NUMBER)],
    )
    stage.diagnose(stage.client, never=["fin-wait2-orphan-pile"], thresholds={"fin-wait2-orphan-pile.age_s": 40})
    stage.step("The peer closes too.")
    crowd.close_servers()
    stage.expect("done", client=[Seen(State.TIME_WAIT, number=NUMBER)], server=[listening()])


@scene("trap", "a pile of TIME_WAIT: both sides have closed", finding="fin-wait2-orphan-pile")
def time_wait_pile(stage: Stage) -> None:
    """The same number of mini-sockets, and nothing is wrong: the peer has closed each, this end waits its 60 s."""
    stage.spare_time_wait()
    crowd = stage.crowd(NUMBER)
    crowd.close_clients()
    crowd.close_servers()
    stage.expect(
        "TIME_WAIT at the end that closed first, nothing at the other",
        client=[Seen(State.TIME_WAIT, 0, 0, "", "timewait", number=NUMBER)],
        server=[listening()],
    )
    stage.diagnose(stage.client, never=["fin-wait2-orphan-pile"])
