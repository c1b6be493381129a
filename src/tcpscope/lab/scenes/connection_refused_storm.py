"""connection-refused-storm: a client hammers a closed port; and a few health checks before a service starts."""

from __future__ import annotations

import errno
import time

from tcpscope.lab.actor import Actor
from tcpscope.lab.scene import scene
from tcpscope.lab.stage import PORT, Stage

NOBODY_LISTENS = PORT + 1


def _is_refused(client: Actor, address: str) -> bool:
    try:
        client.connect(address, NOBODY_LISTENS).close()
    except OSError as error:
        return error.errno == errno.ECONNREFUSED
    return False


@scene("illness", "a client hammers a port where nobody listens", finding="connection-refused-storm")
def connection_refused_storm(stage: Stage) -> None:
    """Each attempt is answered with RST at once and leaves no socket behind: only counters tell."""
    client = stage.actor(stage.client)
    stage.look_first(stage.client)
    stage.step("300 connections to a closed port.")
    refused = sum(_is_refused(client, stage.server.address) for _ in range(300))
    stage.verify("refused", 300, refused)
    stage.expect("nothing is left", client=[], server=[])
    # The client never closes what was refused, and nothing but counters ties those descriptors to the refusals.
    stage.diagnose(stage.client, "connection-refused-storm", also=["zombie-socket-fds"])


@scene("trap", "a health check before the service is up", finding="connection-refused-storm")
def refused_twice(stage: Stage) -> None:
    """Two refusals are how a start-up looks."""
    client = stage.actor(stage.client)
    stage.look_first(stage.client)
    stage.verify("refused", True, _is_refused(client, stage.server.address))
    time.sleep(1)
    stage.verify("refused again", True, _is_refused(client, stage.server.address))
    stage.diagnose(stage.client, never=["connection-refused-storm"])
