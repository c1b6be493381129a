"""Rings on paper: merged by time, emptied before anything is handed out, wrapped around, lost records counted."""

import mmap
import struct
import time

import pytest

from tcpscope.kernel import perf
from tcpscope.kernel.perf import PerfRings

SIZE = 1 << 16
PAGE = mmap.PAGESIZE


class Ring:
    """The kernel's side of one processor's ring."""

    def __init__(self):
        self.memory = mmap.mmap(-1, PAGE + SIZE)
        self.head = 0

    def write(self, record):
        for byte in record:
            self.memory[PAGE + self.head % SIZE] = byte
            self.head += 1
        self.memory[1024:1032] = self.head.to_bytes(8, "little")

    def sample(self, t_ns, raw=b"12345678", pid=9):
        body = struct.pack("<IIQI", pid, pid, t_ns, len(raw)) + raw + bytes(4)
        self.write(struct.pack("<IHH", 9, 0, 8 + len(body)) + body)

    def lose(self, number):
        self.write(struct.pack("<IHHQQ", 2, 0, 24, 1, number))

    @property
    def is_empty(self):
        return self.memory[1032:1040] == self.memory[1024:1032]


@pytest.fixture
def rings():
    found = PerfRings([], ring_bytes=SIZE)
    found.paper = [Ring(), Ring()]
    found._rings = [(cpu, ring.memory) for cpu, ring in enumerate(found.paper)]
    yield found
    found.close()


def times(samples):
    return [sample.t_ns for sample in samples]


def test_records_of_two_processors_come_in_the_order_of_their_time(rings):
    for t_ns in (1, 4, 5):
        rings.paper[0].sample(t_ns)
    for t_ns in (2, 3, 6):
        rings.paper[1].sample(t_ns, b"87654321", pid=3)
    found = rings.read(0.0)
    assert times(found) == [1, 2, 3, 4, 5, 6]
    assert (found[1].cpu, found[1].pid, found[1].raw) == (1, 3, b"87654321")
    assert all(ring.is_empty for ring in rings.paper)


def test_record_younger_than_the_reading_waits_for_the_next(rings):
    """Another processor's ring was read before: what is older than this one may still be in it."""
    soon_ns = time.monotonic_ns() + 200_000_000
    rings.paper[0].sample(soon_ns)
    rings.paper[0].sample(1)
    assert times(rings.read(0.0)) == [1]
    assert rings.unread == 1
    rings.paper[1].sample(soon_ns - 1)
    while time.monotonic_ns() <= soon_ns:
        time.sleep(0.01)
    assert times(rings.read(0.0)) == [soon_ns - 1, soon_ns]
    assert rings.unread == 0


def test_burst_is_taken_out_of_the_rings_before_a_part_of_it_is_handed_out(rings, monkeypatch):
    monkeypatch.setattr(perf, "_MOST_SAMPLES", 100)
    told = []
    for round_ in range(5):
        for number in range(250):
            rings.paper[number % 2].sample(1000 * round_ + number)
        told += times(rings.read(0.0))
        assert all(ring.is_empty for ring in rings.paper)
        assert len(told) == 100 * (round_ + 1)
    assert rings.unread == 5 * 250 - len(told)
    while rings.unread:
        told += times(rings.read(0.0))
    assert told == [1000 * round_ + number for round_ in range(5) for number in range(250)]


def test_full_backlog_leaves_the_rest_to_the_kernel(rings, monkeypatch):
    monkeypatch.setattr(perf, "_MOST_SAMPLES", 1)
    monkeypatch.setattr(perf, "_LIMIT", 2)
    for t_ns in (1, 2, 3, 4):
        rings.paper[0].sample(t_ns)
    assert times(rings.read(0.0)) == [1]
    rings.paper[0].sample(5)
    assert times(rings.read(0.0)) == [2]
    assert not rings.paper[0].is_empty
    assert times(rings.read(0.0) + rings.read(0.0) + rings.read(0.0)) == [3, 4, 5]


def test_what_the_kernel_lost_is_counted(rings):
    rings.paper[0].lose(7)
    rings.paper[1].lose(3)
    assert rings.read(0.0) == []
    assert rings.lost == 10


def test_record_over_the_end_of_the_ring_is_read_whole(rings):
    told = []
    for number in range(3 * SIZE // 40):
        rings.paper[0].sample(number, number.to_bytes(8, "little"))
        if number % 1000 == 999:
            told += rings.read(0.0)
    told += rings.read(0.0)
    while rings.unread:
        told += rings.read(0.0)
    assert rings.paper[0].head > 2 * SIZE
    assert [int.from_bytes(sample.raw, "little") for sample in told] == times(told) == list(range(len(told)))
