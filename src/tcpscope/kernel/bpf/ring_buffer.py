"""The consumer's side of a BPF ring buffer (``BPF_MAP_TYPE_RINGBUF``, Linux 5.8) whose records are all of one size.

Layout (``kernel/bpf/ringbuf.c``): one page with the consumer's position, one with the producer's, then the data
mapped twice in a row, so that a record never wraps. Each record has a head of 8 bytes: its length with two flag bits,
and a page offset. One size for all means that the whole waiting stretch is copied at once and decoded in bulk.
"""

from __future__ import annotations

import mmap
import os
import select

HEAD_BYTES = 8
_BUSY = 1 << 31  # our writers never discard


class RingBuffer:
    """Read records of ``record_bytes`` (a multiple of 8) from the ring buffer map behind ``fd``."""

    def __init__(self, fd: int, size_bytes: int, record_bytes: int) -> None:
        page = mmap.PAGESIZE
        self._fd = fd
        self._record_bytes = record_bytes
        self._stride = HEAD_BYTES + record_bytes
        self._mask = size_bytes - 1
        self._consumer_page = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._producer_pages = mmap.mmap(fd, page + 2 * size_bytes, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        # Why: a cast view stores 8 aligned bytes at once; struct.pack_into would store them one by one
        self._consumer = memoryview(self._consumer_page).cast("Q")
        self._producer = memoryview(self._producer_pages)[:page].cast("Q")
        self._data = memoryview(self._producer_pages)[page:]
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def wait(self, timeout_s: float) -> bool:
        """Sleep until something was written or the time is over; return whether something was."""
        if self._producer[0] != self._consumer[0]:
            return True
        return bool(self._poll.poll(max(0.0, timeout_s) * 1000))

    def waiting_bytes(self) -> int:
        """Return how much is written and not read yet, heads included."""
        return self._producer[0] - self._consumer[0]

    def take(self) -> bytes:
        """Take all complete records, heads included, as one stretch of ``8 + record_bytes`` each.

        Records the writer has reserved and not finished stop the stretch; they come next time.
        """
        start = self._consumer[0]
        waiting = self._producer[0] - start
        if not waiting:
            return b""
        at = start & self._mask
        # Why: heads first, data afterwards. A copy of both at once may read a record before its head says it is whole
        usable = self._finished(at, waiting)
        stretch = bytes(self._data[at : at + usable])
        self._consumer[0] = start + usable
        return stretch

    def _finished(self, at: int, waiting: int) -> int:
        """Return the length of the leading records that are finished."""
        heads = self._data[at : at + waiting].cast("I")[:: self._stride // 4]
        if max(heads) == self._record_bytes:
            return waiting
        for number, head in enumerate(heads):
            if head & _BUSY:
                return number * self._stride
        return waiting

    def close(self) -> None:
        """Unmap and close; the map goes when no program uses it any more."""
        for view in (self._consumer, self._producer, self._data):
            view.release()
        self._consumer_page.close()
        self._producer_pages.close()
        os.close(self._fd)
