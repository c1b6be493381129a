"""Bring one end of a connection into any of the eleven states against a hand-played peer, and look at it there.

Its own direction is closed with shutdown(), so that the program keeps a hold on it wherever that is allowed. What the
end is made of is the business of a :class:`Bench`: a kernel socket or our own endpoint.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from tcpscope.lab.walk.raw_peer import ADDRESS, RawPeer
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.event import Guard
from tcpscope.model.segment import ACK, FIN, SYN
from tcpscope.model.state import State


class Program(Protocol):
    """A program's hold on its end: socket calls. A refused call raises ``OSError``."""

    def bind(self, address: str, port: int) -> None:
        """Bind to a local address."""

    def listen(self, backlog: int) -> None:
        """Wait for connections."""

    def start_connect(self, address: str, port: int) -> None:
        """Start to connect."""

    def send(self, payload: bytes) -> int:
        """Send without waiting."""

    def drain(self) -> int:
        """Read what is there."""

    def shutdown(self) -> None:
        """Close the sending direction."""

    def close(self) -> None:
        """Close the socket."""

    def set_option(self, level: int, name: int, value: int | list[int]) -> None:
        """Call setsockopt."""


class Rig:
    """One end under test, its program's hold on it, and its hand-played peer."""

    def __init__(self, bench: Bench, peer: RawPeer, program: Program | None) -> None:
        self.bench = bench
        self.peer = peer
        self.noted: State | None = None
        self._program = program

    @property
    def sock(self) -> Program:
        """The program's hold on the end. Raises ``TcpscopeError`` where there is none (a request socket)."""
        if self._program is None:
            raise TcpscopeError("no program has a hold on this socket")
        return self._program

    @property
    def has_handle(self) -> bool:
        """Whether a program has a hold on it."""
        return self._program is not None

    def become(self, other: Rig) -> None:
        """Be another rig from now on: the stimulus needed a different way into the state."""
        self.peer, self._program = other.peer, other._program

    def note_state(self) -> None:
        """Keep the present state as the one the event led to: the stimulus goes on to see what is sent."""
        self.noted = self.state()

    def state(self) -> State:
        """Return the state the end is in now."""
        return self.bench.state_of(self)

    def settle(self, state: State) -> bool:
        """Wait until the end is in a state; return whether it got there."""
        accepted = {state} | ({State.CLOSED, State.LISTEN} if state in (State.CLOSED, State.LISTEN) else set())
        return self.bench.wait_until(lambda: self.state() in accepted, 2.0)


class Bench(ABC):
    """Makes rigs. ``address`` is that of the end under test."""

    address: str

    def build(self, state: State, guard: Guard = Guard.ALWAYS, *, with_handle: bool = False) -> Rig:
        """Bring a fresh end into ``state``; SYN_RECEIVED by simultaneous open where a program must have a hold on it.

        Raises ``TcpscopeError`` when it does not get there.
        """
        is_active = state == State.SYN_RECEIVED and (guard == Guard.OPENED_ACTIVELY or with_handle)
        rig = _syn_received_active(self, guard) if is_active else _BUILDERS[state](self, guard)
        if not rig.settle(state):
            raise TcpscopeError(f"an end could not be brought into {state.name}: it is in {rig.state().name}")
        return rig

    @abstractmethod
    def start(self, guard: Guard) -> Rig:
        """Return a rig whose program has a socket bound to its port, and has not done anything with it."""

    @abstractmethod
    def accept(self, rig: Rig) -> Rig:
        """Return the rig of the connection that came in through the listener of ``rig``."""

    @abstractmethod
    def request_of(self, rig: Rig) -> Rig:
        """Return the rig of the handshake begun with the listener of ``rig``."""

    @abstractmethod
    def state_of(self, rig: Rig) -> State:
        """Return the state of a rig's end; where the connection is gone, that of its listener or CLOSED."""

    @abstractmethod
    def wait_until(self, is_so: Callable[[], bool], patience_s: float) -> bool:
        """Let time pass until something is so; return whether it became so."""

    @abstractmethod
    def destroy(self, rig: Rig) -> None:
        """Abort a connection from outside, as an administrator."""


def _closed(bench: Bench, guard: Guard) -> Rig:
    return bench.start(guard)


def _listen(bench: Bench, guard: Guard) -> Rig:
    rig = bench.start(guard)
    rig.sock.listen(5)
    return rig


def _syn_sent(bench: Bench, guard: Guard) -> Rig:
    rig = bench.start(guard)
    rig.sock.start_connect(ADDRESS, rig.peer.here.port)
    rig.peer.hear(0.5)
    return rig


def _syn_received(bench: Bench, guard: Guard) -> Rig:
    rig = _listen(bench, guard)
    rig.peer.advance(SYN)
    rig.peer.hear(0.5)
    return bench.request_of(rig)


def _syn_received_active(bench: Bench, guard: Guard) -> Rig:
    rig = _syn_sent(bench, guard)
    rig.peer.advance(SYN)
    rig.peer.hear(0.5)
    return rig


def _established(bench: Bench, guard: Guard) -> Rig:
    rig = _listen(bench, guard)
    rig.peer.advance(SYN)
    rig.peer.hear(0.5)
    rig.peer.advance(ACK)
    return bench.accept(rig)


def _fin_wait_1(bench: Bench, guard: Guard) -> Rig:
    rig = _established(bench, guard)
    rig.sock.shutdown()
    rig.peer.hear(0.5)
    return rig


def _fin_wait_2(bench: Bench, guard: Guard) -> Rig:
    rig = _fin_wait_1(bench, guard)
    rig.peer.advance(ACK)
    return rig


def _close_wait(bench: Bench, guard: Guard) -> Rig:
    rig = _established(bench, guard)
    rig.peer.advance(FIN | ACK)
    rig.peer.hear(0.5)
    return rig


def _closing(bench: Bench, guard: Guard) -> Rig:
    rig = _fin_wait_1(bench, guard)
    rig.peer.advance(FIN | ACK, ack=rig.peer.rnxt - 1)
    rig.peer.hear(0.5)
    return rig


def _last_ack(bench: Bench, guard: Guard) -> Rig:
    rig = _close_wait(bench, guard)
    rig.sock.shutdown()
    rig.peer.hear(0.5)
    return rig


def _time_wait(bench: Bench, guard: Guard) -> Rig:
    rig = _fin_wait_2(bench, guard)
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
