"""A network in virtual time: connections joined by links with delay, rate, queue, loss, reordering, duplication.

Nothing sleeps: time jumps to the next arrival or deadline. All chance comes from the generator that is handed in, so
that equal seeds give equal runs. Segments travel as words, not as bytes; nothing is lost that a link does not lose.
Ends come in pairs (0 with 1, 2 with 3 ...); all pairs share the two directions of one path.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from random import Random

from tcpscope.machine.connection import Connection
from tcpscope.model.record import NamedTuple
from tcpscope.model.segment import Segment
from tcpscope.wire.options import emit_options

MS = 1_000_000
SECOND = 1_000_000_000
#: Octets of a segment besides its text: IPv4 and TCP headers and a timestamp.
HEADER_BYTES = 52


class Link(NamedTuple):
    """One direction of the path. Chances are 0.0 to 1.0; a reordered segment takes ``reorder_ns`` longer.

    ``rate`` is in octets per second, 0 for no limit; ``queue_bytes`` what may wait in front of it (0: any amount). A
    corrupted segment arrives, fails its checksum and is dropped there. A packet longer than ``mtu_bytes`` (0: none is
    too long) is dropped, and its sender told after ``delay_ns`` unless the link is a ``black_hole``.
    """

    delay_ns: int = 50 * MS
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_ns: int = 20 * MS
    rate: int = 0
    queue_bytes: int = 0
    corrupt: float = 0.0
    mtu_bytes: int = 0
    black_hole: bool = False


class TooBig(NamedTuple):
    """What a router answers to a packet that its next link does not carry: for which segment, and what fits."""

    seq: int
    mtu_bytes: int


def packet_bytes(segment: Segment, *, is_ipv6: bool) -> int:
    """Return the size of the IP packet a segment travels in; of a group for offload, of each of its packets."""
    octets = min(len(segment.payload), segment.gso_bytes or len(segment.payload))
    return octets + (60 if is_ipv6 else 40) + len(emit_options(segment.options))


class Passage(NamedTuple):
    """One segment put on a link: when, from which end, and its fate: ``sent lost full corrupted too-big``."""

    when_ns: int
    end: int
    segment: Segment
    fate: str


_IDEAL = (Link(), Link())


class Network:
    """Connections and the path between them; ``links[0]`` leads from even ends to odd ones, ``links[1]`` back."""

    def __init__(
        self,
        ends: Sequence[Connection],
        links: tuple[Link, Link] = _IDEAL,
        random: Random | None = None,
        *,
        now_ns: int = 0,
    ) -> None:
        self.ends = ends
        self.links = links
        self.random = random or Random(0)
        self.now_ns = now_ns
        self.passages: list[Passage] = []
        self.keeps_passages = True
        #: asked for each segment: ``(end, segment) -> bool``; ``True`` loses it.
        self.loses: Callable[[int, Segment], bool] | None = None
        #: told of each segment put on a link, and of each end that something happened to.
        self.on_passage: Callable[[Passage], None] | None = None
        self.on_change: Callable[[int], None] | None = None
        self._queue: list[tuple[int, int, int, Segment | TooBig]] = []
        self._free_ns = [0, 0]  # when each direction has sent all that waits
        self._count = 0

    def run_until(self, is_done: Callable[[], bool], *, limit_ns: int) -> bool:
        """Let time pass until ``is_done()``; return False when ``limit_ns`` of it passed, or nothing is left to do."""
        end_ns = self.now_ns + limit_ns
        while True:
            self._poll()
            if is_done():
                return True
            next_ns = self.next_ns()
            if next_ns is None or next_ns > end_ns:
                return False
            self._advance(next_ns)

    def run(self, duration_ns: int) -> None:
        """Let ``duration_ns`` pass."""
        end_ns = self.now_ns + duration_ns
        self.run_until(lambda: False, limit_ns=duration_ns)
        self.now_ns = end_ns
        self._poll()

    def next_ns(self) -> int | None:
        """Return when something happens next."""
        times = [self._queue[0][0]] if self._queue else []
        times += [when for when in (end.next_deadline() for end in self.ends) if when is not None]
        return max(min(times), self.now_ns) if times else None

    def _advance(self, when_ns: int) -> None:
        self.now_ns = when_ns
        while self._queue and self._queue[0][0] <= when_ns:
            _, _, end, arrival = heapq.heappop(self._queue)
            self._deliver(end, arrival)
            if self.on_change is not None:
                self.on_change(end)
            self._poll_end(end)

    def _deliver(self, end: int, arrival: Segment | TooBig) -> None:
        connection = self.ends[end]
        if isinstance(arrival, Segment):
            connection.receive_segment(arrival, self.now_ns)
            return
        kind = (2, 0) if connection.tcb.local.is_ipv6 else (3, 4)
        connection.icmp_error(*kind, self.now_ns, mtu_bytes=arrival.mtu_bytes, seq=arrival.seq)

    def _poll(self) -> None:
        for end in range(len(self.ends)):
            self._poll_end(end)

    def _poll_end(self, end: int) -> None:
        while True:
            segments = self.ends[end].poll(self.now_ns)
            if self.on_change is not None:
                self.on_change(end)
            for segment in segments:
                self._carry(end, segment)
            if not segments:
                return

    def _carry(self, end: int, segment: Segment) -> None:
        link = self.links[end & 1]
        fate = self._decide(link, end, segment)
        leaves_ns = self._queue_up(link, end & 1, segment) if fate == "sent" else self.now_ns
        if leaves_ns is None:
            fate, leaves_ns = "full", self.now_ns
        if self.keeps_passages or self.on_passage is not None:
            self._record(Passage(self.now_ns, end, segment, fate))
        if fate == "too-big" and not link.black_hole:
            self._count += 1
            told = TooBig(segment.seq, link.mtu_bytes)
            heapq.heappush(self._queue, (leaves_ns + link.delay_ns, self._count, end, told))
        if fate != "sent":
            return
        copies = 2 if link.duplicate and self.random.random() < link.duplicate else 1
        for _ in range(copies):
            late_ns = link.reorder_ns if link.reorder and self.random.random() < link.reorder else 0
            self._count += 1
            heapq.heappush(self._queue, (leaves_ns + link.delay_ns + late_ns, self._count, end ^ 1, segment))

    def _decide(self, link: Link, end: int, segment: Segment) -> str:
        is_lost = self.random.random() < link.loss if link.loss else False
        if self.loses is not None and self.loses(end, segment):
            is_lost = True
        if is_lost:
            return "lost"
        if link.mtu_bytes and len(segment.payload):
            is_ipv6 = self.ends[end].tcb.local.is_ipv6
            if packet_bytes(segment, is_ipv6=is_ipv6) > link.mtu_bytes:
                return "too-big"
        return "corrupted" if link.corrupt and self.random.random() < link.corrupt else "sent"

    def _queue_up(self, link: Link, direction: int, segment: Segment) -> int | None:
        """Return when the segment has left, ``None`` when the queue in front of the link is full."""
        if not link.rate:
            return self.now_ns
        waiting_ns = max(0, self._free_ns[direction] - self.now_ns)
        size = len(segment.payload) + HEADER_BYTES
        if link.queue_bytes and waiting_ns * link.rate // SECOND + size > link.queue_bytes:
            return None
        self._free_ns[direction] = self.now_ns + waiting_ns + size * SECOND // link.rate
        return self._free_ns[direction]

    def _record(self, passage: Passage) -> None:
        if self.keeps_passages:
            self.passages.append(passage)
        if self.on_passage is not None:
            self.on_passage(passage)
