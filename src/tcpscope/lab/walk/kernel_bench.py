"""The end under test is a real kernel socket: on the host ``server``, in one process, seen as ``list`` sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count

from tcpscope.kernel.raw_packets import PacketSocket, RawSender
from tcpscope.lab.actor import ActorSocket
from tcpscope.lab.look import look_at
from tcpscope.lab.stage import Stage
from tcpscope.lab.walk.raw_peer import ADDRESS, RawPeer
from tcpscope.lab.walk.rig import Bench, Rig
from tcpscope.model.address import Endpoint
from tcpscope.model.event import Guard
from tcpscope.model.segment import Segment
from tcpscope.model.state import State

_FIRST_PORT = 11_000


class KernelWire:
    """The wire between the two hosts: forged segments leave from ``client``, what ``server`` sends passes it."""

    def __init__(self, stage: Stage) -> None:
        self._sender = RawSender(stage.client)
        self._tap = PacketSocket(stage.client)
        self._heard: dict[int, list[Segment]] = {}
        self.send = self._sender.send
        self.send_unreachable = self._sender.send_unreachable
        self.now_s = time.monotonic
        self.wait = time.sleep

    def hear(self, port: int) -> list[Segment]:
        """Return the segments that came for a port of the peer since the last call."""
        for seen in self._tap.read_frames():
            if not seen.is_outgoing and seen.frame.destination.address == ADDRESS:
                self._heard.setdefault(seen.frame.destination.port, []).append(seen.segment)
        return self._heard.pop(port, [])

    def close(self) -> None:
        """Close the sockets."""
        self._sender.close()
        self._tap.close()


class KernelBench(Bench):
    """Real sockets of one process, for many rigs one after another."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._actor = stage.actor(stage.server)
        self._listeners: dict[int, ActorSocket] = {}
        self._ports = count(_FIRST_PORT)
        self.wire = KernelWire(stage)
        self.address = stage.server.address

    def start(self, guard: Guard) -> Rig:
        """Make a socket bound to a fresh port."""
        port = next(self._ports)
        sock = self._actor.socket()
        sock.bind(self.address, port)
        self._listeners[port] = sock
        peer = RawPeer(self.wire, Endpoint(ADDRESS, port + 10_000), Endpoint(self.address, port))
        return Rig(self, peer, sock)

    def accept(self, rig: Rig) -> Rig:
        """Accept the connection."""
        return Rig(self, rig.peer, self._listeners[rig.peer.there.port].accept())

    def request_of(self, rig: Rig) -> Rig:
        """Linux: a request socket belongs to no program."""
        return Rig(self, rig.peer, None)

    def state_of(self, rig: Rig) -> State:
        """Look for the connection, then for a listener on its port."""
        listed = look_at(self._stage.server, owners=False)
        for socket in listed:
            if socket.remote == rig.peer.here and socket.local == rig.peer.there:
                return socket.state
        ports = {socket.local.port for socket in listed if socket.state == State.LISTEN}
        return State.LISTEN if rig.peer.there.port in ports else State.CLOSED

    def wait_until(self, is_so: Callable[[], bool], patience_s: float) -> bool:
        """Look again and again."""
        return self._stage.wait_until(is_so, patience_s)

    def destroy(self, rig: Rig) -> None:
        """SOCK_DESTROY, through ss."""
        self._stage.server.run("ss", "-K", "state", "time-wait", "dst", str(rig.peer.here))
