"""A burst is told late and whole: the ring is emptied before anything is told, and nothing is told too early."""

import time

import pytest
from tests.unit.live.kernel_records import CLIENT, CLOSE, ESTAB, LISTEN, SERVER, Paper

from tcpscope.kernel.bpf import tcp_record as kinds
from tcpscope.kernel.bpf.tcp_record import RECORD_BYTES
from tcpscope.live import trace, trace_bpf
from tcpscope.live.trace_backlog import Backlog
from tcpscope.model.event import Event

SIZE = RECORD_BYTES + 8


class PaperTracer:
    """A tracer whose ring holds what a test put there; every taking of it is noted."""

    missing = ()
    reasons = {11: "TCP_ABORT_ON_CLOSE"}

    def __init__(self, netns, details):
        self.ring = b""
        self.takings = []
        self.writes = True

    @property
    def waiting_records(self):
        return len(self.ring) // SIZE

    def wait(self, timeout_s):
        return bool(self.ring)

    def take(self):
        taken, self.ring = self.ring, b""
        self.takings.append(len(taken) // SIZE)
        return taken

    def detach(self):
        self.writes = False

    def read_lost(self):
        return 0


@pytest.fixture
def source(monkeypatch):
    monkeypatch.setattr(trace_bpf, "TcpTracer", PaperTracer)
    monkeypatch.setattr(trace_bpf, "OwnerTable", lambda netns: lambda inode: None)
    return trace_bpf.BpfSource(7)


def listeners(first, number):
    """So many listeners are born, each with its own port."""
    paper = Paper()
    paper.now_ns += first
    for port in range(first, first + number):
        paper.state(port, CLOSE, LISTEN, ends=((CLIENT[0], port), (bytes(16), 0)), after_ns=1)
    return paper.stretch()


def ports(moves):
    return [move.flow.local.port for move in moves]


def test_ring_is_emptied_before_every_chunk_and_all_is_told_in_order(source):
    source._tracer.ring = listeners(1, 5000)
    told = ports(source.read(0.0))
    assert source._tracer.takings == [5000]
    assert source.read_unread() == 5000 - len(told) > 0
    source._tracer.ring = listeners(5001, 100)
    while source.read_unread():
        told += ports(source.read(0.0))
    assert source._tracer.takings[:2] == [5000, 100], "the second burst did not wait for the first to be told"
    assert told == list(range(1, 5101))


def test_full_backlog_leaves_the_rest_in_the_ring(source):
    source._backlog = Backlog(SIZE, limit_bytes=3000 * SIZE)
    source._tracer.ring = listeners(1, 4000)
    source.read(0.0)
    source._tracer.ring = listeners(4001, 100)
    told = ports(source.read(0.0))
    assert source._tracer.takings == [4000, 100], "2000 waited, which is not full"
    source._tracer.ring = listeners(4101, 5000)
    source.read(0.0)
    source._tracer.ring = listeners(9101, 1)
    source.read(0.0)
    assert source._tracer.takings == [4000, 100, 5000]
    assert source._tracer.waiting_records == 1, "for the kernel to count as lost when there are too many"
    while source.read_unread():
        told += ports(source.read(0.0))
    assert told[-1] == 9101


def test_what_explains_a_move_may_be_far_behind_it_in_the_backlog(source):
    """Seconds pass while a burst is told; the reset's reason came a microsecond after the end it explains."""
    end, reason = Paper(), Paper()
    end.state(1 << 20, ESTAB, CLOSE, ends=(CLIENT, SERVER))
    reason.now_ns += 10_000
    reason.add(kinds.RESET_SENT, 1 << 20, CLOSE, CLOSE, detail=11)
    source._tracer.ring = end.stretch() + listeners(1, 4000) + reason.stretch()
    first = source.read(0.0)
    assert CLIENT[1] not in ports(first), "it waits for its explanation"
    rest = []
    while source.read_unread():
        rest += source.read(0.0)
    (move,) = [move for move in rest if move.flow.local.port == CLIENT[1]]
    assert move.event is Event.CLOSE
    assert "unread data" in move.cause


def test_what_is_never_explained_is_told_once_the_ring_has_nothing_older(source):
    end = Paper()
    end.state(1, ESTAB, CLOSE)  # a second after the machine was booted
    source._tracer.ring = end.stretch()
    (move,) = source.read(0.0)
    assert move.event is None
    end.now_ns = time.monotonic_ns()
    end.records.clear()
    end.state(2, ESTAB, CLOSE)
    source._tracer.ring = end.stretch()
    assert source.read(0.0) == [], "its explanation may come yet"
    assert len(source.flush()) == 1


def test_end_of_a_trace_tells_what_was_recorded_before_it(source):
    feed = trace.Feed("A", "", source, 7)
    source._tracer.ring = listeners(1, 9000)
    feed.stop()
    assert not source._tracer.writes
    assert ports(feed.read_rest()) == list(range(1, 9001))
    assert feed.read_unread() == 0


def test_end_of_a_trace_takes_no_longer_than_it_may_and_says_what_is_left(source, monkeypatch):
    monkeypatch.setattr(trace, "REST_S", 0.0)
    feed = trace.Feed("A", "", source, 7)
    source._tracer.ring = listeners(1, 9000)
    told = ports(feed.read_rest())
    assert 0 < len(told) < 9000
    assert feed.read_unread() == 9000 - len(told)


def test_backlog_cuts_what_it_was_given_into_whole_records():
    backlog = Backlog(3)
    assert not backlog and backlog.take(2) == b""
    for stretch in (b"aaabbbccc", b"", b"ddd"):
        backlog.put(stretch)
    assert (backlog.records, backlog.is_full) == (4, False)
    assert [backlog.take(2) for _ in range(4)] == [b"aaabbb", b"ccc", b"ddd", b""]
    assert not backlog and backlog.records == 0
