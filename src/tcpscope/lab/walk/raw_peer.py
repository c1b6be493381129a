"""The far end of a connection, played by hand: forged segments against a real kernel socket.

Its address belongs to nobody, so that no kernel answers for it; what the host under test sends there is read from the
wire. It keeps the two numbers a peer must keep (RFC 9293 §3.3.1): ``nxt``, its own next sequence number, and ``rnxt``,
the next one it expects.
"""

from __future__ import annotations

import time
from itertools import count

from tcpscope.kernel.raw_packets import PacketSocket, RawSender
from tcpscope.lab.stage import Stage
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import ACK, FIN, SYN, Segment

ADDRESS = "198.18.0.1"
_ISS = 1_000_000
_SETTLE_S = 0.06


class Wire:
    """What all hand-played peers of one stage share: a sender, a tap, and fresh ports."""

    def __init__(self, stage: Stage) -> None:
        self.sender = RawSender(stage.client)
        self._tap = PacketSocket(stage.client)
        self._heard: dict[int, list[Segment]] = {}
        self.ports = count(20_000)

    def hear(self, port: int) -> list[Segment]:
        """Return the segments that came for a peer's port since the last call."""
        for seen in self._tap.read_frames():
            if not seen.is_outgoing and seen.frame.destination.address == ADDRESS:
                self._heard.setdefault(seen.frame.destination.port, []).append(seen.segment)
        return self._heard.pop(port, [])

    def close(self) -> None:
        """Close the sockets."""
        self.sender.close()
        self._tap.close()


class RawPeer:
    """One hand-played end, towards ``there``."""

    def __init__(self, wire: Wire, there: Endpoint) -> None:
        self._wire = wire
        self.here = Endpoint(ADDRESS, next(wire.ports))
        self.there = there
        self.nxt = _ISS
        self.rnxt = 0
        self.window = 64_240
        self.known: set[tuple[int, int, int]] = set()
        self.last: Segment = Segment(0)

    def send(self, flags: int, *, seq: int | None = None, ack: int | None = None, payload: bytes = b"") -> None:
        """Send a segment; by default with the numbers that are right now. Does not move ``nxt``."""
        number = self.rnxt if ack is None else ack
        segment = Segment(self.nxt if seq is None else seq, number if flags & ACK else 0, flags, self.window, payload)
        self._wire.sender.send(self.here, self.there, segment)

    def advance(self, flags: int, payload: bytes = b"", *, ack: int | None = None) -> None:
        """Send the next segment in order and count it."""
        self.send(flags, payload=payload, ack=ack)
        self.nxt += len(payload) + (flags & SYN != 0) + (flags & FIN != 0)

    def report(self, lost: Segment, code: int) -> None:
        """Send an ICMP error about a segment of the other side, as a router on the way would."""
        self._wire.sender.send_unreachable(self.here, self.there, lost, code)

    def hear(self, patience_s: float = _SETTLE_S, *, again: bool = False) -> list[Segment]:
        """Wait for segments and return the new ones; with ``again`` repetitions of old ones count too.

        Waits ``patience_s`` at most; returns as soon as something new has come.
        """
        deadline = time.monotonic() + patience_s
        while True:
            fresh = [
                one
                for one in self._wire.hear(self.here.port)
                if again or not one.seg_len or _identity(one) not in self.known
            ]
            for segment in fresh:
                self.known.add(_identity(segment))
                self.last = segment
                end = (segment.seq + segment.seg_len) % 2**32
                if segment.seg_len and (not self.rnxt or (end - self.rnxt) % 2**32 < 2**31):
                    self.rnxt = end
            if fresh or time.monotonic() > deadline:
                return fresh
            time.sleep(0.002)


def _identity(segment: Segment) -> tuple[int, int, int]:
    """What a repetition has in common with the first."""
    return (segment.seq, len(segment.payload), segment.flags)
