"""Round-trip time and the retransmission timeout (RFC 6298), with Karn's rule kept by the caller.

:class:`RoundTrip` is fed one sample at a time, of segments that were sent once (or, by timestamps, of any). It knows
no timer: it says how long the next one should be.
"""

from __future__ import annotations


class RoundTrip:
    """SRTT, RTTVAR and RTO of one connection, in nanoseconds; ``srtt_ns`` is 0 before the first sample."""

    __slots__ = (
        "backoff", "granularity_ns", "max_rto_ns", "min_rto_ns", "min_rtt_ns", "rto_base_ns", "rttvar_ns", "srtt_ns",
    )  # fmt: skip

    def __init__(self, initial_rto_ns: int, min_rto_ns: int, max_rto_ns: int, granularity_ns: int) -> None:
        self.srtt_ns = 0
        self.rttvar_ns = 0
        self.min_rtt_ns = 0
        self.rto_base_ns = initial_rto_ns
        self.min_rto_ns = min_rto_ns
        self.max_rto_ns = max_rto_ns
        self.granularity_ns = granularity_ns
        self.backoff = 0

    @property
    def rto_ns(self) -> int:
        """The timeout to arm now, doubled for each expiry since the last new acknowledgement (RFC 6298 §5.5)."""
        return min(self.rto_base_ns << self.backoff, self.max_rto_ns) if self.backoff else self.rto_base_ns

    def sample(self, rtt_ns: int) -> None:
        """Take one measurement (RFC 6298 §2.2, §2.3)."""
        rtt_ns = rtt_ns or 1
        if not self.min_rtt_ns or rtt_ns < self.min_rtt_ns:
            self.min_rtt_ns = rtt_ns
        if not self.srtt_ns:
            self.srtt_ns = rtt_ns
            self.rttvar_ns = rtt_ns >> 1
        else:
            self.rttvar_ns += (abs(self.srtt_ns - rtt_ns) - self.rttvar_ns) >> 2
            self.srtt_ns += (rtt_ns - self.srtt_ns) >> 3
        self._set_rto()

    def adapt_to_late(self, rtt_ns: int) -> None:
        """Never again below an answer that came after the timer had expired (RFC 4015 §3.2, step 8)."""
        self.srtt_ns = max(self.srtt_ns, rtt_ns)
        self.rttvar_ns = max(self.rttvar_ns, rtt_ns >> 1)
        self._set_rto()

    def _set_rto(self) -> None:
        rto_ns = self.srtt_ns + max(self.granularity_ns, 4 * self.rttvar_ns)
        self.rto_base_ns = min(max(rto_ns, self.min_rto_ns), self.max_rto_ns)

    def back_off(self) -> None:
        """Double the timeout after an expiry (RFC 6298 §5.5)."""
        if self.rto_base_ns << self.backoff < self.max_rto_ns:
            self.backoff += 1
