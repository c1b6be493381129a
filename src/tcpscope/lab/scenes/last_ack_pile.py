"""last-ack-pile: the last ACK does not come; and a killed load generator, which does not look like it."""

from __future__ import annotations

import time

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Stage, listening
from tcpscope.model.state import State

NUMBER = 12
AGE = {"last-ack-pile.age_s": 0.5}


@scene("illness", "closed on both sides, and the last ACK never comes", finding="last-ack-pile")
def last_ack_pile(stage: Stage) -> None:
    """The peers closed, this program closed, and its FINs are not acknowledged: the peers' host or the path has gone,
    or a firewall forgot the connections and eats the rest.
    """
    crowd = stage.crowd(NUMBER)
    stage.step("The clients close; then everything to them is lost, and the server closes.")
    crowd.close_clients()
    stage.expect("waiting for the server program", server=[listening(), Seen(State.CLOSE_WAIT, 1, 0, number=NUMBER)])
    for far in crowd.server:
        far.recv()
    stage.client.drop()
    crowd.close_servers()
    stage.expect("repeating the FIN", server=[listening(), Seen(State.LAST_ACK, None, 1, "", "on", number=NUMBER)])
    stage.look_first(stage.server)
    time.sleep(1.0)
    stage.diagnose(stage.server, "last-ack-pile", thresholds=AGE)


@scene("trap", "a load generator is killed: CLOSE_WAIT, then nothing", finding="last-ack-pile")
def killed_clients(stage: Stage) -> None:
    """Textbooks say that killing many clients leaves LAST_ACK. It does not: their kernel sends the FINs, the server is
    in CLOSE_WAIT until it closes, and then its FINs are acknowledged at once.
    """
    crowd = stage.crowd(NUMBER)
    stage.step("The client process is killed.")
    crowd.client[0].actor.end()
    stage.expect("the kernel has closed for it", server=[listening(), Seen(State.CLOSE_WAIT, 1, 0, number=NUMBER)])
    stage.look_first(stage.server)
    crowd.close_servers()
    stage.expect("gone at once", server=[listening()])
    stage.diagnose(stage.server, never=["last-ack-pile", "close-wait-leak"], thresholds=AGE)
