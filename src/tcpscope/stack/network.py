"""A network in virtual time: connections joined by links with delay, loss, reordering and duplication.

Nothing sleeps: time jumps to the next arrival or deadline. All chance comes from the generator that is handed in, so
that equal seeds give equal runs. Segments travel as words, not as bytes; nothing is lost that a link does not lose.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

from tcpscope.machine.connection import Connection
from tcpscope.model.record import NamedTuple
from tcpscope.model.segment import Segment

MS = 1_000_000


class Link(NamedTuple):
    """One direction between two ends. Chances are 0.0 to 1.0; a reordered segment takes ``reorder_ns`` longer."""

    delay_ns: int = 50 * MS
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_ns: int = 20 * MS


class Passage(NamedTuple):
    """One segment put on a link: when, from which end (0 or 1), and what became of it (``lost``, ``sent``)."""

    when_ns: int
    end: int
    segment: Segment
    fate: str


class Network:
    """Two connections and the links between them; ``ends[0]`` and ``ends[1]``."""

    def __init__(
        self,
        ends: tuple[Connection, Connection],
        links: tuple[Link, Link] = (Link(), Link()),
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
        self._queue: list[tuple[int, int, int, Segment]] = []
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
            _, _, end, segment = heapq.heappop(self._queue)
            self.ends[end].receive_segment(segment, when_ns)
            self._poll_end(end)

    def _poll(self) -> None:
        for end in (0, 1):
            self._poll_end(end)

    def _poll_end(self, end: int) -> None:
        while True:
            segments = self.ends[end].poll(self.now_ns)
            for segment in segments:
                self._carry(end, segment)
            if not segments:
                return

    def _carry(self, end: int, segment: Segment) -> None:
        link = self.links[end]
        lost = self.random.random() < link.loss if link.loss else False
        if self.loses is not None and self.loses(end, segment):
            lost = True
        if self.keeps_passages:
            self.passages.append(Passage(self.now_ns, end, segment, "lost" if lost else "sent"))
        if lost:
            return
        copies = 2 if link.duplicate and self.random.random() < link.duplicate else 1
        for _ in range(copies):
            late_ns = link.reorder_ns if link.reorder and self.random.random() < link.reorder else 0
            self._count += 1
            heapq.heappush(self._queue, (self.now_ns + link.delay_ns + late_ns, self._count, 1 - end, segment))
