"""Tier A of ``trace``: the BPF tracer's ring, told as a story."""

from __future__ import annotations

import time

from tcpscope.kernel.bpf.ring_buffer import HEAD_BYTES
from tcpscope.kernel.bpf.tcp_record import RECORD_BYTES
from tcpscope.kernel.bpf.tcp_tracer import TcpTracer
from tcpscope.live.trace_backlog import Backlog
from tcpscope.live.trace_owners import OwnerTable
from tcpscope.live.trace_record import iter_events, last_time_ns
from tcpscope.live.trace_story import Story
from tcpscope.live.trace_tally import Tally
from tcpscope.model.state import State
from tcpscope.model.transition import Transition

_BUSY_BYTES = 4096
_BATCH_S = 0.01
_BATCH_RECORDS = 1000
_CHUNK_RECORDS = 2000  # told before the ring is emptied again: 20 ms of work, and an eightieth of what the ring holds
_HOLD_S = 0.02  # how often to look whether what is held back may go
_RECORD_BYTES = HEAD_BYTES + RECORD_BYTES


class BpfSource:
    """Transitions from tracepoints by BPF. ``netns`` ``None`` is every namespace."""

    tells_namespaces = True
    lost_are = "kernel records"

    def __init__(self, netns: int | None, details: bool = False) -> None:
        self._tracer = TcpTracer(netns, details)
        self.missing = self._tracer.missing
        self._owners = OwnerTable(netns or 0)
        self._story = Story(
            self._owners,
            self._tracer.reasons,
            time.time_ns() - time.monotonic_ns(),
            sees_requests=not any("SYN_RECEIVED" in clause for clause in self.missing),
        )
        self._tally = Tally()
        self._backlog = Backlog(_RECORD_BYTES)
        self._emptied_ns = 0
        self._was_busy = False

    def read(self, timeout_s: float) -> list[Transition]:
        """Wait for records, tell their story; what waits for an explanation is waited for shortly."""
        holds = self._story.is_holding
        chunk = self._read(min(timeout_s, _HOLD_S) if holds else timeout_s)
        if chunk:
            self._owners.told_ns = last_time_ns(chunk)
            self._story.feed(iter_events(chunk))
        # Why not the time now: what explains a move may still be in the backlog
        return self._story.take(last_time_ns(chunk) if self._backlog else self._emptied_ns)

    def count(self, timeout_s: float) -> int:
        """Wait for records and count them without telling them; return how many there were."""
        chunk = self._read(timeout_s)
        self._tally.feed(chunk)
        return len(chunk) // _RECORD_BYTES

    def read_counts(self) -> dict[tuple[State, State], int]:
        """Return what was counted since the start: what waits now is counted, too, and all is settled."""
        left = self.read_unread()
        while left > 0 and (taken := self.count(0.0)):
            left -= taken
        self._tally.finish()
        return self._tally.counts()

    def _read(self, timeout_s: float) -> bytes:
        """Return the oldest records; wait for some only when there are none.

        The ring is emptied before every chunk, however much is still untold: what is in it only waits to be lost.
        """
        if not self._backlog:
            # Why: bulk is cheaper; a wake-up for every record would cost more than the record
            if self._was_busy and self._tracer.waiting_records < _BATCH_RECORDS:
                time.sleep(min(_BATCH_S, timeout_s))
            self._tracer.wait(timeout_s)
        if not self._backlog.is_full:
            self._emptied_ns = time.monotonic_ns()
            self._backlog.put(self._tracer.take())
        chunk = self._backlog.take(_CHUNK_RECORDS)
        self._was_busy = len(chunk) > _BUSY_BYTES
        return chunk

    def stop(self) -> None:
        """Record no more; what was recorded can still be read."""
        self._tracer.detach()

    def flush(self) -> list[Transition]:
        """Return what is still held back."""
        return self._story.take()

    def read_lost(self) -> int:
        """Return how many records found no room in the ring."""
        return self._tracer.read_lost()

    def read_untold(self) -> int:
        """Return how many moves at least were made that no record told."""
        return self._story.untold

    def read_unread(self) -> int:
        """Return how many records are not told yet."""
        return self._backlog.records + self._tracer.waiting_records

    def close(self) -> None:
        """Detach and unload."""
        self._tracer.close()
