"""The search for the largest packet a path carries (RFC 4821 §7, RFC 8899 §5): numbers only, no segments.

Between ``low_bytes``, which passes, and ``high_bytes``, above which nothing is worth trying, a size is tried by a
probe: an ordinary segment of that size. It passes, and ``low_bytes`` rises; or it is lost ``MOST_TRIES`` times in a
row, and ``high_bytes`` falls below it. When the two have met the search rests, and begins again at ``again_ns``: paths
change.
Sizes are those of whole IP packets. What is sent and what was lost is :mod:`tcpscope.machine.path_mtu`'s business.
"""

from __future__ import annotations

MOST_TRIES = 3  #: RFC 8899 §5.1.2, MAX_PROBES
WORTHWHILE_BYTES = 8  #: Linux: tcp_probe_threshold


class MtuSearch:
    """One path's bounds and the probe that is out; ``probe_bytes`` is 0 without one, sequence numbers are -1."""

    __slots__ = (
        "again_ns", "aims_high", "high_bytes", "limit_bytes", "low_bytes", "probe_bytes", "probe_end", "probe_seq",
        "rest_end", "tries",
    )  # fmt: skip

    def __init__(self, low_bytes: int, limit_bytes: int, *, high_bytes: int = 0, again_ns: int = 0) -> None:
        self.low_bytes = low_bytes
        self.limit_bytes = limit_bytes  # what the first link and the peer allow
        self.high_bytes = high_bytes or limit_bytes
        self.again_ns = again_ns
        self.aims_high = True  # the upper bound itself is tried first: it is the size most paths carry
        self.tries = 0
        self.probe_bytes = 0
        self.probe_seq = self.probe_end = self.rest_end = -1

    def candidate_bytes(self, now_ns: int) -> int:
        """Return the size to try next, 0 when there is nothing worth trying now."""
        rises = now_ns >= self.again_ns and self.limit_bytes - self.low_bytes >= WORTHWHILE_BYTES
        if self.high_bytes - self.low_bytes < WORTHWHILE_BYTES:
            return self.limit_bytes if rises else 0
        return self.high_bytes if self.aims_high else (self.high_bytes + self.low_bytes + 1) // 2

    def begin_probe(self, size_bytes: int, seq: int, end: int) -> None:
        """Note that a probe of ``size_bytes`` left as ``[seq, end)``."""
        if size_bytes > self.high_bytes:  # a search that had ended begins anew
            self.high_bytes, self.aims_high, self.tries = self.limit_bytes, True, 0
        self.probe_bytes, self.probe_seq, self.probe_end = size_bytes, seq, end

    def succeed(self, again_ns: int) -> None:
        """Take the probe's acknowledgement: this size passes."""
        self.low_bytes = self.probe_bytes
        self.high_bytes = max(self.high_bytes, self.low_bytes)
        self._end_probe(again_ns, tries=0)

    def fail(self, again_ns: int) -> None:
        """Take the probe's loss; the third in a row says that this size does not pass."""
        if self.tries + 1 < MOST_TRIES:
            self._end_probe(again_ns, tries=self.tries + 1)
        else:
            self.narrow(self.probe_bytes - 1, again_ns)
            self.aims_high = False

    def narrow(self, high_bytes: int, again_ns: int) -> None:
        """Believe that nothing above ``high_bytes`` passes, and try that next."""
        self.high_bytes, self.aims_high = max(high_bytes, self.low_bytes), True
        self._end_probe(again_ns, tries=0)

    def _end_probe(self, again_ns: int, tries: int) -> None:
        self.tries, self.again_ns = tries, again_ns
        self.probe_bytes, self.probe_seq, self.probe_end = 0, -1, -1
