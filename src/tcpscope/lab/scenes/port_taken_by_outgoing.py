"""port-taken-by-outgoing: a client took the server's port; and a port that was reserved."""

from __future__ import annotations

import errno

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State

WANTED = 40005


@scene("illness", "an outgoing connection has the server's port", finding="port-taken-by-outgoing")
def port_taken_by_outgoing(stage: Stage) -> None:
    """While the server was down, connect() of another program took its port: it lies in the range for outgoing
    connections. bind() fails though nobody listens, and SO_REUSEADDR does not help.
    """
    far, near = stage.actor(stage.server, "far"), stage.actor(stage.client, "caller")
    far.listen(PORT)
    stage.step("Only one outgoing port is left on this host, and it is the one of the stopped server.")
    stage.client.set_sysctl("net.ipv4.ip_local_port_range", f"{WANTED} {WANTED}")
    near.connect(stage.server.address, PORT)
    stage.client.set_sysctl("net.ipv4.ip_local_port_range", "32768 60999")
    stage.expect("an ordinary connection", client=[Seen(State.ESTABLISHED, 0, 0, "caller")])
    stage.verify_error("listen()", errno.EADDRINUSE, lambda: stage.actor(stage.client, "server").listen(WANTED))
    stage.diagnose(stage.client, "port-taken-by-outgoing", ports=[WANTED])


@scene("trap", "the port is reserved: no connect() takes it", finding="port-taken-by-outgoing")
def port_reserved(stage: Stage) -> None:
    """With ip_local_reserved_ports the same range and the same server are safe."""
    far, near = stage.actor(stage.server, "far"), stage.actor(stage.client, "caller")
    far.listen(PORT)
    stage.client.set_sysctl("net.ipv4.ip_local_reserved_ports", WANTED)
    stage.client.set_sysctl("net.ipv4.ip_local_port_range", f"{WANTED} {WANTED + 1}")
    near.connect(stage.server.address, PORT)
    stage.client.set_sysctl("net.ipv4.ip_local_port_range", "32768 60999")
    stage.actor(stage.client, "server").listen(WANTED)
    stage.expect("both live", client=[listening(), Seen(State.ESTABLISHED, 0, 0, "caller")])
    in_use = "bind-eaddrinuse-timewait"  # what is asked about the port: the server itself has it
    stage.diagnose(stage.client, never=["port-taken-by-outgoing"], also=[in_use], ports=[WANTED])
