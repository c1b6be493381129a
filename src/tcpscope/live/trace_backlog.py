"""Records taken out of the kernel's ring and not told yet.

Why: telling a record costs ten times what writing it does. A ring that is emptied only as fast as it is told overflows
in every burst; copied here first, a burst is told late and whole.
"""

from __future__ import annotations

from collections import deque

#: No more is taken out of the ring while so much is waiting: records of about 90 000 connections, and memory that even
#: a small host can spare. From then on the ring fills up, and the kernel counts what finds no room in it.
LIMIT_BYTES = 1 << 27


class Backlog:
    """A queue of bytes, first in, first out; all of it in whole records of ``record_bytes``."""

    def __init__(self, record_bytes: int, limit_bytes: int = LIMIT_BYTES) -> None:
        self._record_bytes = record_bytes
        self._limit_bytes = limit_bytes
        self._stretches: deque[bytes] = deque()
        self._told_bytes = 0  # of the first stretch
        self._size_bytes = 0

    def __bool__(self) -> bool:
        return self._size_bytes > 0

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be put in."""
        return self._size_bytes >= self._limit_bytes

    @property
    def records(self) -> int:
        """How many records wait."""
        return self._size_bytes // self._record_bytes

    def put(self, stretch: bytes) -> None:
        """Add records, the youngest last."""
        if stretch:
            self._stretches.append(stretch)
            self._size_bytes += len(stretch)

    def take(self, most_records: int) -> bytes:
        """Take the oldest records, at most so many; fewer where the ring was emptied in between."""
        if not self._stretches:
            return b""
        first, at = self._stretches[0], self._told_bytes
        taken = first[at : at + most_records * self._record_bytes]
        self._size_bytes -= len(taken)
        self._told_bytes += len(taken)
        if self._told_bytes == len(first):
            self._stretches.popleft()
            self._told_bytes = 0
        return taken
