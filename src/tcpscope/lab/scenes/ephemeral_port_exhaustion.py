"""Outgoing ports to one destination run out: in TIME_WAIT, and in live connections; traps: many, but not to one."""

from __future__ import annotations

import errno

from tcpscope.lab.actor import Actor, ActorSocket
from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage, listening
from tcpscope.model.state import State

SECOND_ADDRESS = "10.9.0.3"
PORTS = 20
#: A range this small is itself worth a word of the doctor.
NARROW = ["sysctl-lint"]


def _prepare(stage: Stage) -> tuple[Actor, ActorSocket]:
    """Give the client 20 ports and make a listener; return the client process and the listener."""
    stage.spare_time_wait()
    stage.step(f"The client's range of outgoing ports is made small: {PORTS} ports.")
    stage.client.set_sysctl("net.ipv4.ip_local_port_range", f"40000 {40000 + PORTS - 1}")
    stage.client.set_sysctl("net.ipv4.tcp_tw_reuse", 0)
    stage.server.add_address(SECOND_ADDRESS)
    return stage.actor(stage.client), stage.actor(stage.server).listen(PORT)


def _call_and_close(client: Actor, listener: ActorSocket, address: str) -> None:
    near = client.connect(address, PORT)
    far = listener.accept()
    near.close()
    far.close()


@scene("illness", "every port to one destination waits in TIME_WAIT", finding="ephemeral-port-exhaustion-timewait")
def ephemeral_port_exhaustion_timewait(stage: Stage) -> None:
    """A client that opens a new connection for each request and closes first keeps each port for 60 s. When all are
    gone, connect() fails with "Cannot assign requested address", to this destination only.
    """
    client, listener = _prepare(stage)
    stage.step(f"{PORTS} short connections to one address and port; the client closes first.")
    for _ in range(PORTS):
        _call_and_close(client, listener, stage.server.address)
    used_up = Seen(State.TIME_WAIT, number=PORTS)
    stage.expect("every port is in TIME_WAIT", client=[used_up], server=[listening()])
    stage.verify_error("connect()", errno.EADDRNOTAVAIL, lambda: client.connect(stage.server.address, PORT))
    stage.diagnose(stage.client, "ephemeral-port-exhaustion-timewait", also=NARROW)
    stage.step("To another address of the same server all ports are free.")
    _call_and_close(client, listener, SECOND_ADDRESS)
    stage.expect("one more", client=[used_up._replace(number=PORTS + 1)], server=[listening()])


@scene("trap", "as many in TIME_WAIT, spread over two destinations", finding="ephemeral-port-exhaustion-timewait")
def time_wait_spread(stage: Stage) -> None:
    """Ports run out for each destination alone. The same number of TIME_WAIT, half of it to each of two addresses,
    leaves half of the ports free for either.
    """
    client, listener = _prepare(stage)
    for _ in range(PORTS // 2):
        for address in (stage.server.address, SECOND_ADDRESS):
            _call_and_close(client, listener, address)
    stage.expect("20 in TIME_WAIT", client=[Seen(State.TIME_WAIT, number=PORTS)], server=[listening()])
    stage.diagnose(stage.client, never=["ephemeral-port-exhaustion-timewait"], also=NARROW)
    stage.step("connect() works.")
    client.connect(stage.server.address, PORT)
    alive = Seen(State.ESTABLISHED, number=1)
    stage.expect("connected", client=[Seen(State.TIME_WAIT, number=PORTS), alive], server=[listening(recv_q=1), alive])


@scene("illness", "every port to one destination is in use", finding="ephemeral-port-exhaustion-live")
def ephemeral_port_exhaustion_live(stage: Stage) -> None:
    """A pool that leaks, or a proxy with a single upstream address: all ports are held by live connections."""
    client, listener = _prepare(stage)
    for _ in range(PORTS):
        client.connect(stage.server.address, PORT)
        listener.accept()
    alive = Seen(State.ESTABLISHED, number=PORTS)
    stage.expect("all ports in use", client=[alive], server=[listening(), alive])
    stage.verify_error("connect()", errno.EADDRNOTAVAIL, lambda: client.connect(stage.server.address, PORT))
    stage.diagnose(stage.client, "ephemeral-port-exhaustion-live", also=NARROW)


@scene("trap", "as many live connections, spread over two destinations", finding="ephemeral-port-exhaustion-live")
def live_spread(stage: Stage) -> None:
    """The same number of connections to two addresses uses half of the ports for each."""
    client, listener = _prepare(stage)
    for _ in range(PORTS // 2):
        for address in (stage.server.address, SECOND_ADDRESS):
            client.connect(address, PORT)
            listener.accept()
    alive = Seen(State.ESTABLISHED, number=PORTS)
    stage.expect("20 connections", client=[alive], server=[listening(), alive])
    stage.diagnose(stage.client, never=["ephemeral-port-exhaustion-live"], also=NARROW)
