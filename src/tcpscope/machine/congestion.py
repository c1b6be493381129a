"""Congestion control behind one small interface; NewReno (RFC 5681) is the plain one.

An algorithm owns ``cwnd_bytes`` and ``ssthresh_bytes`` and hears of acknowledgements, losses and timeouts. What was
lost and what to send again is :mod:`tcpscope.machine.recovery`'s business; an algorithm never sees a segment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

INFINITE = 1 << 40


class Congestion(Protocol):
    """What the endpoint asks of an algorithm. All sizes in bytes, all times in nanoseconds."""

    cwnd_bytes: int
    ssthresh_bytes: int

    def on_ack(self, acked_bytes: int, rtt_ns: int, now_ns: int) -> None:
        """``acked_bytes`` are newly acknowledged outside recovery; ``rtt_ns`` is 0 without a sample."""

    def on_loss(self, flight_bytes: int, now_ns: int) -> None:
        """A loss was detected: recovery begins."""

    def on_rto(self, flight_bytes: int, now_ns: int) -> None:
        """The retransmission timer expired for the first time on this window."""

    def after_recovery(self, now_ns: int) -> None:
        """Everything sent before the loss is acknowledged."""

    def after_idle(self, initial_cwnd_bytes: int) -> None:
        """Nothing was sent for longer than the RTO (RFC 5681 §4.1)."""

    def on_undo(self, cwnd_bytes: int, ssthresh_bytes: int) -> None:
        """The last reduction was a mistake: put back what was before."""


class NewReno:
    """Slow start and congestion avoidance with byte counting (RFC 5681 §3.1, RFC 3465 with L = 2)."""

    __slots__ = ("acked_bytes", "cwnd_bytes", "mss_bytes", "ssthresh_bytes")

    def __init__(self, mss_bytes: int, initial_cwnd_bytes: int) -> None:
        self.mss_bytes = mss_bytes
        self.cwnd_bytes = initial_cwnd_bytes
        self.ssthresh_bytes = INFINITE
        self.acked_bytes = 0

    def on_ack(self, acked_bytes: int, rtt_ns: int, now_ns: int) -> None:
        """Grow by what was acknowledged (slow start), or by one MSS per window (congestion avoidance)."""
        if self.cwnd_bytes < self.ssthresh_bytes:
            self.cwnd_bytes += min(acked_bytes, 2 * self.mss_bytes)
            return
        self.acked_bytes += acked_bytes
        if self.acked_bytes >= self.cwnd_bytes:
            self.acked_bytes -= self.cwnd_bytes
            self.cwnd_bytes += self.mss_bytes

    def on_loss(self, flight_bytes: int, now_ns: int) -> None:
        """Halve (RFC 5681 §3.2, equation 4)."""
        self.ssthresh_bytes = max(flight_bytes // 2, 2 * self.mss_bytes)
        self.cwnd_bytes = self.ssthresh_bytes
        self.acked_bytes = 0

    def on_rto(self, flight_bytes: int, now_ns: int) -> None:
        """Begin again with one segment (RFC 5681 §3.1)."""
        self.ssthresh_bytes = max(flight_bytes // 2, 2 * self.mss_bytes)
        self.cwnd_bytes = self.mss_bytes
        self.acked_bytes = 0

    def after_recovery(self, now_ns: int) -> None:
        """Go on from the threshold."""
        self.cwnd_bytes = max(self.ssthresh_bytes, 2 * self.mss_bytes)

    def after_idle(self, initial_cwnd_bytes: int) -> None:
        """Restart with the initial window."""
        self.cwnd_bytes = min(self.cwnd_bytes, initial_cwnd_bytes)

    def on_undo(self, cwnd_bytes: int, ssthresh_bytes: int) -> None:
        """Put back the window of before."""
        self.cwnd_bytes = max(self.cwnd_bytes, cwnd_bytes)
        self.ssthresh_bytes = ssthresh_bytes


#: Algorithm by name: ``(mss_bytes, initial_cwnd_bytes) -> Congestion``.
ALGORITHMS: dict[str, Callable[[int, int], Congestion]] = {"newreno": NewReno}
