"""Congestion control behind one small interface; NewReno (RFC 5681) and CUBIC (RFC 9438).

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

    def on_ack(self, acked_bytes: int, srtt_ns: int, now_ns: int) -> None:
        """``acked_bytes`` are newly acknowledged outside recovery; ``srtt_ns`` is 0 without a sample."""

    def on_spare_window(self, now_ns: int) -> None:
        """Something was acknowledged, but the sender had not used its window: it must not grow."""

    def on_loss(self, flight_bytes: int, now_ns: int) -> None:
        """A loss was detected: recovery begins. ``flight_bytes`` is RFC 5681's FlightSize."""

    def on_rto(self, flight_bytes: int, now_ns: int, is_repeated: bool) -> None:
        """The retransmission timer expired; ``is_repeated``: on what it has sent again already."""

    def after_recovery(self, now_ns: int) -> None:
        """Everything sent before the loss is acknowledged."""

    def after_idle(self, initial_cwnd_bytes: int) -> None:
        """Nothing was sent for longer than the RTO (RFC 5681 §4.1)."""

    def on_mss(self, mss_bytes: int) -> None:
        """Segments have another size from now on."""

    def remember(self) -> tuple[float, ...]:
        """Return what :meth:`on_undo` needs to put everything back."""

    def on_undo(self, before: tuple[float, ...]) -> None:
        """The last reduction was a mistake: put back what was before."""


def rescale(size_bytes: int, old_mss_bytes: int, mss_bytes: int) -> int:
    """Return a window for another segment size: never more octets than before, never more segments.

    Larger segments must not speed the sender up (RFC 4821 §7.3), and as many small ones as there were large ones
    fill the queues of a path as before (Linux counts its window in segments).
    """
    if size_bytes >= INFINITE or mss_bytes >= old_mss_bytes:
        return max(size_bytes, mss_bytes)
    return max(size_bytes * mss_bytes // old_mss_bytes, mss_bytes)


class NewReno:
    """Slow start and congestion avoidance with byte counting (RFC 5681 §3.1, RFC 3465 with L = 2)."""

    __slots__ = ("acked_bytes", "cwnd_bytes", "mss_bytes", "ssthresh_bytes")

    def __init__(self, mss_bytes: int, initial_cwnd_bytes: int) -> None:
        self.mss_bytes = mss_bytes
        self.cwnd_bytes = initial_cwnd_bytes
        self.ssthresh_bytes = INFINITE
        self.acked_bytes = 0

    def on_ack(self, acked_bytes: int, srtt_ns: int, now_ns: int) -> None:
        """Grow by what was acknowledged (slow start), or by one MSS per window (congestion avoidance)."""
        if self.cwnd_bytes < self.ssthresh_bytes:
            self.cwnd_bytes += min(acked_bytes, 2 * self.mss_bytes)
            return
        self.acked_bytes += acked_bytes
        if self.acked_bytes >= self.cwnd_bytes:
            self.acked_bytes -= self.cwnd_bytes
            self.cwnd_bytes += self.mss_bytes

    def on_spare_window(self, now_ns: int) -> None:
        """Nothing grows."""

    def on_loss(self, flight_bytes: int, now_ns: int) -> None:
        """Halve (RFC 5681 §3.2, equation 4)."""
        self.ssthresh_bytes = max(flight_bytes // 2, 2 * self.mss_bytes)
        self.cwnd_bytes = self.ssthresh_bytes
        self.acked_bytes = 0

    def on_rto(self, flight_bytes: int, now_ns: int, is_repeated: bool) -> None:
        """Begin again with one segment; the threshold moves once (RFC 5681 §3.1)."""
        if not is_repeated:
            self.ssthresh_bytes = max(flight_bytes // 2, 2 * self.mss_bytes)
        self.cwnd_bytes = self.mss_bytes
        self.acked_bytes = 0

    def after_recovery(self, now_ns: int) -> None:
        """Go on from the threshold."""
        self.cwnd_bytes = max(self.ssthresh_bytes, 2 * self.mss_bytes)

    def after_idle(self, initial_cwnd_bytes: int) -> None:
        """Restart with the initial window."""
        self.cwnd_bytes = min(self.cwnd_bytes, initial_cwnd_bytes)

    def on_mss(self, mss_bytes: int) -> None:
        """Count in segments of another size."""
        self.cwnd_bytes = rescale(self.cwnd_bytes, self.mss_bytes, mss_bytes)
        self.ssthresh_bytes = rescale(self.ssthresh_bytes, self.mss_bytes, mss_bytes)
        self.mss_bytes = mss_bytes

    def remember(self) -> tuple[float, ...]:
        """Return window and threshold."""
        return self.cwnd_bytes, self.ssthresh_bytes

    def on_undo(self, before: tuple[float, ...]) -> None:
        """Put back the window of before."""
        self.cwnd_bytes = max(self.cwnd_bytes, int(before[0]))
        self.ssthresh_bytes = int(before[1])


class Cubic:
    """CUBIC (RFC 9438): after a loss the window grows with the cube of time, flat near where the loss was.

    Windows are kept in segments while computing, as the RFC writes them; C is 0.4, beta 0.7.
    """

    __slots__ = (
        "cwnd_bytes", "cwnd_prior", "epoch_ns", "k_s", "mss_bytes", "reno_segments", "spare_since_ns",
        "ssthresh_bytes", "w_max",
    )  # fmt: skip

    C = 0.4
    BETA = 0.7
    ALPHA = 3 * (1 - BETA) / (1 + BETA)

    def __init__(self, mss_bytes: int, initial_cwnd_bytes: int) -> None:
        self.mss_bytes = mss_bytes
        self.cwnd_bytes = initial_cwnd_bytes
        self.ssthresh_bytes = INFINITE
        self.w_max = 0.0
        self.cwnd_prior = 0.0  # the window when it was last reduced
        self.k_s = 0.0
        self.epoch_ns = -1
        self.spare_since_ns = -1
        self.reno_segments = 0.0

    def on_ack(self, acked_bytes: int, srtt_ns: int, now_ns: int) -> None:
        """Grow: slow start, else the larger of the cubic curve and what Reno would have (RFC 9438 §4.2 to §4.5)."""
        if self.spare_since_ns >= 0:
            self.epoch_ns += now_ns - self.spare_since_ns if self.epoch_ns >= 0 else 0
            self.spare_since_ns = -1
        if self.cwnd_bytes < self.ssthresh_bytes:
            self.cwnd_bytes += min(acked_bytes, 2 * self.mss_bytes)
            return
        segments, acked = self.cwnd_bytes / self.mss_bytes, acked_bytes / self.mss_bytes
        if self.epoch_ns < 0:
            self._begin_epoch(segments, now_ns)
        seconds = (now_ns - self.epoch_ns) / 1e9
        alpha = self.ALPHA if self.reno_segments < self.cwnd_prior else 1.0
        self.reno_segments += alpha * acked / segments
        if self.window_at(seconds) < self.reno_segments:
            segments = max(segments, self.reno_segments)
        else:
            target = min(max(self.window_at(seconds + srtt_ns / 1e9), segments), 1.5 * segments)
            segments += (target - segments) / segments * acked
        self.cwnd_bytes = int(segments * self.mss_bytes)

    def on_spare_window(self, now_ns: int) -> None:
        """Let the curve's time stand still while the application is the limit (RFC 9438 §4.2, §5.8)."""
        if self.spare_since_ns < 0:
            self.spare_since_ns = now_ns

    def window_at(self, seconds: float) -> float:
        """W_cubic(t) in segments, ``seconds`` after the epoch began (RFC 9438, figure 1)."""
        return float(self.C * (seconds - self.k_s) ** 3 + self.w_max)

    def _begin_epoch(self, segments: float, now_ns: int) -> None:
        self.epoch_ns = now_ns
        self.reno_segments = segments
        self.w_max = max(self.w_max, segments)
        self.k_s = ((self.w_max - segments) / self.C) ** (1 / 3)

    def on_loss(self, flight_bytes: int, now_ns: int) -> None:
        """Shrink to beta; give way faster when the last loss came at a larger window (RFC 9438 §4.6, §4.7)."""
        segments = self.cwnd_bytes / self.mss_bytes
        self.cwnd_prior = segments
        self.w_max = segments * (1 + self.BETA) / 2 if segments < self.w_max else segments
        self.ssthresh_bytes = max(int(flight_bytes * self.BETA), 2 * self.mss_bytes)
        self.cwnd_bytes = self.ssthresh_bytes
        self.epoch_ns = -1

    def on_rto(self, flight_bytes: int, now_ns: int, is_repeated: bool) -> None:
        """Begin again with one segment; the next curve starts flat from where it begins (RFC 9438 §4.8)."""
        if not is_repeated:
            self.cwnd_prior = self.cwnd_bytes / self.mss_bytes
            self.ssthresh_bytes = max(int(flight_bytes * self.BETA), 2 * self.mss_bytes)
        self.w_max = 0.0
        self.cwnd_bytes = self.mss_bytes
        self.epoch_ns = -1

    def after_recovery(self, now_ns: int) -> None:
        """Go on from the threshold."""
        self.cwnd_bytes = max(self.ssthresh_bytes, 2 * self.mss_bytes)

    def after_idle(self, initial_cwnd_bytes: int) -> None:
        """Restart with the initial window; the curve starts anew (RFC 9438 §4.2)."""
        self.cwnd_bytes = min(self.cwnd_bytes, initial_cwnd_bytes)
        self.epoch_ns = -1

    def on_mss(self, mss_bytes: int) -> None:
        """Count in segments of another size; what the curve remembers in segments follows."""
        ratio = min(1.0, self.mss_bytes / mss_bytes)
        self.w_max, self.cwnd_prior = self.w_max * ratio, self.cwnd_prior * ratio
        self.cwnd_bytes = rescale(self.cwnd_bytes, self.mss_bytes, mss_bytes)
        self.ssthresh_bytes = rescale(self.ssthresh_bytes, self.mss_bytes, mss_bytes)
        self.mss_bytes, self.epoch_ns = mss_bytes, -1

    def remember(self) -> tuple[float, ...]:
        """Return window, threshold and curve (RFC 9438 §4.9.2)."""
        return (
            self.cwnd_bytes, self.ssthresh_bytes, self.w_max, self.cwnd_prior, self.k_s, self.epoch_ns,
            self.reno_segments,
        )  # fmt: skip

    def on_undo(self, before: tuple[float, ...]) -> None:
        """Put back window, threshold and curve."""
        self.cwnd_bytes = max(self.cwnd_bytes, int(before[0]))
        self.ssthresh_bytes, self.epoch_ns = int(before[1]), int(before[5])
        self.w_max, self.cwnd_prior, self.k_s, self.reno_segments = before[2], before[3], before[4], before[6]


class PeerWindow:
    """No congestion control: the peer's window alone limits. For simulations without a bottleneck, never for a net."""

    __slots__ = ("cwnd_bytes", "ssthresh_bytes")

    def __init__(self, mss_bytes: int, initial_cwnd_bytes: int) -> None:
        self.cwnd_bytes = self.ssthresh_bytes = INFINITE

    def on_ack(self, acked_bytes: int, srtt_ns: int, now_ns: int) -> None:
        """Nothing grows."""

    def on_spare_window(self, now_ns: int) -> None:
        """Nothing grows."""

    def on_loss(self, flight_bytes: int, now_ns: int) -> None:
        """Nothing shrinks."""

    def on_rto(self, flight_bytes: int, now_ns: int, is_repeated: bool) -> None:
        """Nothing shrinks."""

    def after_recovery(self, now_ns: int) -> None:
        """Nothing changes."""

    def after_idle(self, initial_cwnd_bytes: int) -> None:
        """Nothing changes."""

    def on_mss(self, mss_bytes: int) -> None:
        """Nothing changes."""

    def remember(self) -> tuple[float, ...]:
        """Return nothing."""
        return ()

    def on_undo(self, before: tuple[float, ...]) -> None:
        """Nothing changes."""


#: Algorithm by name: ``(mss_bytes, initial_cwnd_bytes) -> Congestion``.
ALGORITHMS: dict[str, Callable[[int, int], Congestion]] = {"newreno": NewReno, "cubic": Cubic, "none": PeerWindow}
