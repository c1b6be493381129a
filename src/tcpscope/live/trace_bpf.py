"""Tier A of ``trace``: the BPF tracer's ring, told as a story."""

from __future__ import annotations

import time

from tcpscope.kernel.bpf.ring_buffer import HEAD_BYTES
from tcpscope.kernel.bpf.tcp_tracer import RECORD_BYTES, TcpTracer
from tcpscope.live.trace_owners import OwnerTable
from tcpscope.live.trace_record import iter_events
from tcpscope.live.trace_story import Story
from tcpscope.live.trace_tally import Tally
from tcpscope.model.state import State
from tcpscope.model.transition import Transition

_BUSY_BYTES = 4096
_BATCH_S = 0.01
_BACKLOG_RECORDS = 1000
_HOLD_S = 0.02  # how often to look whether what is held back may go


class BpfSource:
    """Transitions from tracepoints by BPF. ``netns`` ``None`` is every namespace."""

    tells_namespaces = True

    def __init__(self, netns: int | None, details: bool = False) -> None:
        self._tracer = TcpTracer(netns, details)
        self.missing = self._tracer.missing
        self._story = Story(
            OwnerTable(netns or 0),
            self._tracer.reasons,
            time.time_ns() - time.monotonic_ns(),
            sees_requests=not any("SYN_RECEIVED" in clause for clause in self.missing),
        )
        self._tally = Tally()
        self._was_busy = False

    def read(self, timeout_s: float) -> list[Transition]:
        """Wait for records, tell their story; what waits for an explanation is waited for shortly."""
        holds = self._story.is_holding
        stretch = self._read(min(timeout_s, _HOLD_S) if holds else timeout_s)
        self._story.feed(iter_events(stretch))
        return self._story.take(time.monotonic_ns())

    def count(self, timeout_s: float) -> int:
        """Wait for records and count them without telling them; return how many there were."""
        stretch = self._read(timeout_s)
        self._tally.feed(stretch)
        return len(stretch) // (HEAD_BYTES + RECORD_BYTES)

    def read_counts(self) -> dict[tuple[State, State], int]:
        """Return what was counted since the start: what waits in the ring now is counted, too, and all is settled."""
        left = self._tracer.waiting_records
        while left > 0 and (taken := self.count(0.0)):
            left -= taken
        self._tally.finish()
        return self._tally.counts()

    def _read(self, timeout_s: float) -> bytes:
        # Why: bulk is cheaper; a wake-up for every record would cost more than the record
        if self._was_busy and self._tracer.waiting_records < _BACKLOG_RECORDS:
            time.sleep(min(_BATCH_S, timeout_s))
        stretch = self._tracer.read(timeout_s)
        self._was_busy = len(stretch) > _BUSY_BYTES
        return stretch

    def flush(self) -> list[Transition]:
        """Return what is still held back."""
        return self._story.take()

    def read_lost(self) -> int:
        """Return how many records found no room in the ring."""
        return self._tracer.read_lost()

    def read_unread(self) -> int:
        """Return how many records wait in the ring."""
        return self._tracer.waiting_records

    def close(self) -> None:
        """Detach and unload."""
        self._tracer.close()
