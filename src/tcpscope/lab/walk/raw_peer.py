"""The far end of a connection, played by hand: forged segments against a real kernel socket, or our own endpoint.

Its address belongs to nobody, so that no kernel answers for it; what the end under test sends there is read from the
wire. It keeps the two numbers a peer must keep (RFC 9293 §3.3.1): ``nxt``, its own next sequence number, and ``rnxt``,
the next one it expects.
"""

from __future__ import annotations

from typing import Protocol

from tcpscope.model.address import Endpoint
from tcpscope.model.segment import ACK, FIN, SYN, Segment

ADDRESS = "198.18.0.1"
_ISS = 1_000_000
_SETTLE_S = 0.06


class Wire(Protocol):
    """Where forged segments go and answers come from, with the clock that belongs to it."""

    def send(self, source: Endpoint, destination: Endpoint, segment: Segment) -> None:
        """Deliver a forged segment."""

    def send_unreachable(self, source: Endpoint, destination: Endpoint, lost: Segment, code: int) -> None:
        """Deliver an ICMP error (type 3) about ``lost``, a segment of ``destination``."""

    def hear(self, port: int) -> list[Segment]:
        """Return the segments that came for a port of the peer since the last call."""

    def now_s(self) -> float:
        """Return the time."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""


class RawPeer:
    """One hand-played end at ``here``, towards ``there``."""

    def __init__(self, wire: Wire, here: Endpoint, there: Endpoint) -> None:
        self._wire = wire
        self.here = here
        self.there = there
        self.nxt = _ISS
        self.rnxt = 0
        self.window = 64_240
        self.known: set[tuple[int, int, int]] = set()
        self.last: Segment = Segment(0)

    def send(self, flags: int, *, seq: int | None = None, ack: int | None = None, payload: bytes = b"") -> None:
        """Send a segment; by default with the numbers that are right now. Does not move ``nxt``."""
        number = self.rnxt if ack is None else ack
        position = self.nxt if seq is None else seq
        segment = Segment(position % 2**32, number % 2**32 if flags & ACK else 0, flags, self.window, payload)
        self._wire.send(self.here, self.there, segment)

    def advance(self, flags: int, payload: bytes = b"", *, ack: int | None = None) -> None:
        """Send the next segment in order and count it."""
        self.send(flags, payload=payload, ack=ack)
        self.nxt += len(payload) + (flags & SYN != 0) + (flags & FIN != 0)

    def report(self, lost: Segment, code: int) -> None:
        """Send an ICMP error about a segment of the other side, as a router on the way would."""
        self._wire.send_unreachable(self.here, self.there, lost, code)

    def hear(self, patience_s: float = _SETTLE_S, *, again: bool = False) -> list[Segment]:
        """Wait for segments and return the new ones; with ``again`` repetitions of old ones count too.

        Waits ``patience_s`` at most; returns as soon as something new has come.
        """
        deadline = self._wire.now_s() + patience_s
        while True:
            is_last = self._wire.now_s() > deadline  # Why before the look: what came while we were put aside is seen
            fresh = [
                one
                for one in self._wire.hear(self.here.port)
                if again or not one.seg_len or _identity(one) not in self.known
            ]
            for segment in fresh:
                self._note(segment)
            if fresh or is_last:
                return fresh
            self._wire.wait(0.002)

    def _note(self, segment: Segment) -> None:
        self.known.add(_identity(segment))
        if segment.seg_len:
            self.last = segment
        end = (segment.seq + segment.seg_len) % 2**32
        if segment.seg_len and (not self.rnxt or (end - self.rnxt) % 2**32 < 2**31):
            self.rnxt = end


def _identity(segment: Segment) -> tuple[int, int, int]:
    """What a repetition has in common with the first."""
    return (segment.seq, len(segment.payload), segment.flags)
