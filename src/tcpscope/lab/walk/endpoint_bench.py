"""The end under test is our own endpoint, in virtual time: no privilege, no kernel, no wait."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tcpscope.lab.walk.raw_peer import ADDRESS, RawPeer
from tcpscope.lab.walk.rig import Bench, Rig
from tcpscope.machine.calls import CallError
from tcpscope.machine.connection import Connection
from tcpscope.machine.profile import RFC, Profile
from tcpscope.model.address import Endpoint
from tcpscope.model.event import Guard
from tcpscope.model.segment import Segment
from tcpscope.model.state import State

_NS = 1_000_000_000
_START_NS = 1_000 * _NS
_TCP_USER_TIMEOUT = 18
_UNREACHABLE = 3
_PEER_PORT, _PORT = 20_000, 11_000
_WITH_REMOTE = (Guard.REMOTE_GIVEN,)


class VirtualWire:
    """A wire without delay between the peer and one endpoint, and their common clock."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._heard: list[Segment] = []
        self.now_ns = _START_NS

    def send(self, source: Endpoint, destination: Endpoint, segment: Segment) -> None:
        """Deliver a forged segment at once."""
        self._connection.receive_segment(segment, self.now_ns)
        self._poll()

    def send_unreachable(self, source: Endpoint, destination: Endpoint, lost: Segment, code: int) -> None:
        """Deliver an ICMP error about ``lost``."""
        self._connection.icmp_error(_UNREACHABLE, code, self.now_ns, seq=lost.seq)
        self._poll()

    def hear(self, port: int) -> list[Segment]:
        """Return what the endpoint has sent since the last call."""
        self._poll()
        heard, self._heard = self._heard, []
        return heard

    def now_s(self) -> float:
        """Return the virtual time."""
        return self.now_ns / _NS

    def wait(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.now_ns += round(seconds * _NS)
        self._poll()

    def _poll(self) -> None:
        while out := self._connection.poll(self.now_ns):
            self._heard += out


class EndpointProgram:
    """Socket calls, told to the endpoint as RFC 9293's user calls."""

    def __init__(self, connection: Connection, wire: VirtualWire) -> None:
        self._connection = connection
        self._wire = wire
        self._lingers = True
        self._keepalive: dict[int, int] = {}

    def bind(self, address: str, port: int) -> None:
        """The endpoint has its address from the start."""

    def listen(self, backlog: int) -> None:
        """OPEN, passive."""
        self._call(lambda: self._connection.open(self._wire.now_ns, active=False))

    def start_connect(self, address: str, port: int) -> None:
        """OPEN, active."""
        remote = Endpoint(address, port) if port else None
        self._call(lambda: self._connection.open(self._wire.now_ns, remote=remote))

    def send(self, payload: bytes) -> int:
        """SEND."""
        self._call(lambda: self._connection.send(payload))
        return len(payload)

    def drain(self) -> int:
        """RECEIVE."""
        self._call(lambda: self._connection.receive())
        return 0

    def shutdown(self) -> None:
        """CLOSE, in the RFC's sense."""
        self._call(lambda: self._connection.shutdown(self._wire.now_ns))

    def close(self) -> None:
        """Close both directions, or ABORT when SO_LINGER is {1, 0}."""
        if self._lingers:
            self._call(lambda: self._connection.close(self._wire.now_ns))
        else:
            self._call(lambda: self._connection.abort(self._wire.now_ns))

    def set_option(self, level: int, name: int, value: int | list[int]) -> None:
        """Set what a socket option stands for; those without a meaning here are passed over."""
        if isinstance(value, list):
            self._lingers = value != [1, 0]
        elif (level, name) == (socket.IPPROTO_TCP, _TCP_USER_TIMEOUT):
            self._connection.set_user_timeout(value * 1_000_000)
        elif (level, name) == (socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            self._connection.set_keepalive(
                True,
                idle_ns=self._keepalive[socket.TCP_KEEPIDLE] * _NS,
                interval_ns=self._keepalive[socket.TCP_KEEPINTVL] * _NS,
                count=self._keepalive[socket.TCP_KEEPCNT],
            )
        elif level == socket.IPPROTO_TCP:
            self._keepalive[name] = value

    def _call(self, call: Callable[[], object]) -> None:
        try:
            call()
        except CallError as error:
            raise OSError(str(error)) from None


class EndpointBench(Bench):
    """One endpoint of ours for each rig."""

    address = "10.9.0.2"

    def __init__(self, profile: Profile = RFC) -> None:
        self._profile = profile
        self._connections: dict[RawPeer, tuple[Connection, VirtualWire]] = {}

    def start(self, guard: Guard) -> Rig:
        """Make an endpoint; one that is to listen for a named peer knows it from the start."""
        here, there = Endpoint(ADDRESS, _PEER_PORT), Endpoint(self.address, _PORT)
        connection = Connection(there, here if guard in _WITH_REMOTE else None, iss=5_000, profile=self._profile)
        wire = VirtualWire(connection)
        peer = RawPeer(wire, here, there)
        self._connections[peer] = connection, wire
        return Rig(self, peer, EndpointProgram(connection, wire))

    def accept(self, rig: Rig) -> Rig:
        """RFC 9293: the connection record that listened has become the connection."""
        return rig

    def request_of(self, rig: Rig) -> Rig:
        """RFC 9293: the connection record that listened is in SYN-RECEIVED itself."""
        return rig

    def state_of(self, rig: Rig) -> State:
        """Ask the endpoint."""
        return self._connections[rig.peer][0].state

    def wait_until(self, is_so: Callable[[], bool], patience_s: float) -> bool:
        """Let virtual time pass from deadline to deadline of the endpoint that was made last."""
        connection, wire = list(self._connections.values())[-1]
        end_ns = wire.now_ns + round(patience_s * _NS)
        while not is_so():
            next_ns = connection.next_deadline()
            if next_ns is None or next_ns > end_ns:
                return False
            wire.wait(max(0, next_ns - wire.now_ns) / _NS)
        return True

    def destroy(self, rig: Rig) -> None:
        """ABORT."""
        self._connections[rig.peer][0].abort(self._connections[rig.peer][1].now_ns)
