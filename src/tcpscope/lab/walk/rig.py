"""Bring a real kernel socket into any of the eleven states against a hand-played peer, and look at it there.

The socket lives on the host ``server``, in one process. Its own direction is closed with shutdown(), so that the
process keeps a hold on the socket in every state where Linux allows that.
"""

from __future__ import annotations

from tcpscope.lab.actor import Actor, ActorSocket
from tcpscope.lab.look import look_at
from tcpscope.lab.stage import Stage
from tcpscope.lab.walk.raw_peer import ADDRESS, RawPeer, Wire
from tcpscope.model.address import Endpoint
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.segment import ACK, FIN, SYN
from tcpscope.model.state import State

FIRST_PORT = 11_000


class Rig:
    """One kernel socket under test, its listener, and its hand-played peer."""

    def __init__(self, bench: Bench, peer: RawPeer, sock: ActorSocket | None, listener: ActorSocket | None) -> None:
        self.bench = bench
        self.peer = peer
        self._sock = sock
        self.listener = listener

    @property
    def sock(self) -> ActorSocket:
        """The program's hold on the socket. Raises ``TcpscopeError`` where there is none (a request socket)."""
        if self._sock is None:
            raise TcpscopeError("no program has a hold on this socket")
        return self._sock

    @sock.setter
    def sock(self, sock: ActorSocket) -> None:
        self._sock = sock

    @property
    def has_handle(self) -> bool:
        """Whether a program has a hold on it."""
        return self._sock is not None

    def state(self) -> State:
        """Return the state of the connection as ``list`` shows it; when it is not there, that of its listener."""
        listed = look_at(self.bench.stage.server, owners=False)
        for socket in listed:
            if socket.remote == self.peer.here and socket.local == self.peer.there:
                return socket.state
        ports = {socket.local.port for socket in listed if socket.state == State.LISTEN}
        return State.LISTEN if self.peer.there.port in ports else State.CLOSED

    def settle(self, state: State) -> bool:
        """Wait until the connection is in a state; return whether it got there."""
        is_gone = state in (State.CLOSED, State.LISTEN)
        accepted = (State.CLOSED, State.LISTEN) if is_gone else (state,)
        return self.bench.stage.wait_until(lambda: self.state() in accepted, 2.0)


class Bench:
    """The process under test and the wire, for many rigs one after another."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.actor: Actor = stage.actor(stage.server)
        self.wire = Wire(stage)
        self._port = FIRST_PORT

    def build(self, state: State, *, is_active: bool = False) -> Rig:
        """Bring a fresh socket into ``state``; ``is_active``: it called connect() itself (simultaneous open)."""
        rig = _BUILDERS[state](self) if not (is_active and state == State.SYN_RECEIVED) else _syn_received_active(self)
        if not rig.settle(state):
            raise TcpscopeError(f"a socket could not be brought into {state.name}: it is in {rig.state().name}")
        return rig

    def fresh_port(self) -> int:
        """Return a port of the host under test that was not used before."""
        self._port += 1
        return self._port

    def peer_to(self, port: int) -> RawPeer:
        """Make a peer that talks to ``port`` of the host under test."""
        return RawPeer(self.wire, Endpoint(self.stage.server.address, port))


def _closed(bench: Bench) -> Rig:
    return Rig(bench, bench.peer_to(bench.fresh_port()), bench.actor.socket(), None)


def _listen(bench: Bench) -> Rig:
    port = bench.fresh_port()
    listener = bench.actor.listen(port)
    return Rig(bench, bench.peer_to(port), listener, listener)


def _syn_sent(bench: Bench) -> Rig:
    sock = bench.actor.socket()
    port = bench.fresh_port()
    sock.bind(bench.stage.server.address, port)
    peer = bench.peer_to(port)
    sock.start_connect(ADDRESS, peer.here.port)
    peer.hear(0.5)
    return Rig(bench, peer, sock, None)


def _syn_received(bench: Bench) -> Rig:
    rig = _listen(bench)
    rig.peer.advance(SYN)
    rig.peer.hear(0.5)
    return Rig(bench, rig.peer, None, rig.listener)


def _syn_received_active(bench: Bench) -> Rig:
    rig = _syn_sent(bench)
    rig.peer.advance(SYN)
    rig.peer.hear(0.5)
    return rig


def _established(bench: Bench) -> Rig:
    rig = _syn_received(bench)
    rig.peer.advance(ACK)
    assert rig.listener is not None
    rig.sock = rig.listener.accept()
    return rig


def _fin_wait_1(bench: Bench) -> Rig:
    rig = _established(bench)
    rig.sock.shutdown()
    rig.peer.hear(0.5)
    return rig


def _fin_wait_2(bench: Bench) -> Rig:
    rig = _fin_wait_1(bench)
    rig.peer.advance(ACK)
    return rig


def _close_wait(bench: Bench) -> Rig:
    rig = _established(bench)
    rig.peer.advance(FIN | ACK)
    rig.peer.hear(0.5)
    return rig


def _closing(bench: Bench) -> Rig:
    rig = _fin_wait_1(bench)
    rig.peer.advance(FIN | ACK, ack=rig.peer.rnxt - 1)
    rig.peer.hear(0.5)
    return rig


def _last_ack(bench: Bench) -> Rig:
    rig = _close_wait(bench)
    rig.sock.shutdown()
    rig.peer.hear(0.5)
    return rig


def _time_wait(bench: Bench) -> Rig:
    rig = _fin_wait_2(bench)
    rig.peer.advance(FIN | ACK)
    rig.peer.hear(0.5)
    return rig


_BUILDERS = {
    State.CLOSED: _closed,
    State.LISTEN: _listen,
    State.SYN_SENT: _syn_sent,
    State.SYN_RECEIVED: _syn_received,
    State.ESTABLISHED: _established,
    State.FIN_WAIT_1: _fin_wait_1,
    State.FIN_WAIT_2: _fin_wait_2,
    State.CLOSE_WAIT: _close_wait,
    State.CLOSING: _closing,
    State.LAST_ACK: _last_ack,
    State.TIME_WAIT: _time_wait,
}
