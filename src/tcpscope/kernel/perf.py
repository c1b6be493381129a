"""Tracepoints through ``perf_event_open(2)``: one ring per processor, all events of that processor in it.

Records come out merged by time: what is younger than the moment a drain began waits for the next one, because another
processor's ring was read before. All rings are emptied before a part of what came is handed out, so that a burst waits
here and not where there is no room. Lost records are what the kernel says in ``PERF_RECORD_LOST``.

The kernel wakes the reader when a part of a ring is full, not for every record: a wake-up costs the program that made
the record more than the record does (three times the CPU of a load that only opens and closes connections).
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import struct
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from operator import attrgetter

from tcpscope.model.errors import NotPermitted, TcpscopeError, Unsupported
from tcpscope.model.record import NamedTuple

_SYSCALL_NUMBERS = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "loongarch64": 241, "ppc64le": 319, "i686": 336}
_TYPE_TRACEPOINT = 2
_SAMPLE_TID, _SAMPLE_TIME, _SAMPLE_RAW = 1 << 1, 1 << 2, 1 << 10
_WATERMARK, _USE_CLOCKID = 1 << 14, 1 << 25
_FLAG_CLOEXEC = 8
_DISABLE, _SET_OUTPUT, _SET_FILTER = 0x2401, 0x2405, 0x40082406
_RECORD_LOST, _RECORD_SAMPLE = 2, 9
_HEAD_AT, _TAIL_AT = 1024, 1032  # struct perf_event_mmap_page
_HEADER = struct.Struct("<IHH")  # kind, misc, length
_SAMPLE = struct.Struct("<IIQI")  # pid, tid, time, size of the raw data
#: So long a record may wait for the reader to look: a ring that hardly fills wakes nobody.
_LATENCY_S = 0.05
_MOST_SAMPLES = 2000  #: handed out at once, before the rings are emptied again
_LIMIT = 1 << 18  #: so many may wait here, 70 MB of them; then the rings fill, and the kernel counts what it loses
#: ``struct perf_event_attr`` up to ``clockid``: type, size, config, period, sample_type, read_format, flags, wakeup,
#: bp_type, config1, config2, branch_sample_type, sample_regs_user, sample_stack_user, clockid (then 16 bytes of 0).
ATTRIBUTES = struct.Struct("<IIQQQQQIIQQQQIi16x")
_CLOCK_MONOTONIC = 1
RING_BYTES = 1 << 22
WAKEUP_BYTES = RING_BYTES // 8


class Tracepoint(NamedTuple):
    """What to open: number of the tracepoint, and the kernel's filter expression (empty: all)."""

    id: int
    filter: str = ""


class Sample(NamedTuple):
    """One record of a tracepoint. ``raw`` begins with the common fields, ``common_type`` first."""

    t_ns: int
    cpu: int
    pid: int
    raw: bytes


class PerfRings:
    """Open tracepoints on every processor. Raises :class:`NotPermitted` or :class:`Unsupported`."""

    def __init__(self, tracepoints: Sequence[Tracepoint], ring_bytes: int = RING_BYTES) -> None:
        self._fds: list[int] = []
        self._rings: list[tuple[int, mmap.mmap]] = []
        self._ring_bytes = ring_bytes
        self._poll = select.poll()
        self._waiting: deque[Sample] = deque()
        self._younger: list[Sample] = []
        self.lost = 0
        try:
            for cpu in sorted(os.sched_getaffinity(0) | _online()):
                self._open_processor(cpu, tracepoints)
        except BaseException:
            self.close()
            raise

    def read(self, timeout_s: float) -> list[Sample]:
        """Wait for records at most so long; return the oldest in the order of their time."""
        if not self._waiting and not self._younger:
            self._poll.poll(min(timeout_s, _LATENCY_S) * 1000)
        if len(self._waiting) < _LIMIT:
            self._drain()
        return [self._waiting.popleft() for _ in range(min(_MOST_SAMPLES, len(self._waiting)))]

    @property
    def unread(self) -> int:
        """How many records were taken out of the rings and not handed out."""
        return len(self._waiting) + len(self._younger)

    def stop(self) -> None:
        """Let the kernel write no more; what it has written can still be read."""
        for fd in self._fds:
            _ioctl(fd, _DISABLE, 0)

    def close(self) -> None:
        """Unmap and close everything; the kernel stops the events."""
        for _, ring in self._rings:
            ring.close()
        self._rings = []
        while self._fds:
            os.close(self._fds.pop())

    def _open_processor(self, cpu: int, tracepoints: Sequence[Tracepoint]) -> None:
        first = -1
        for tracepoint in tracepoints:
            fd = self._open_event(tracepoint, cpu)
            if first < 0:
                first = fd
                ring = mmap.mmap(fd, mmap.PAGESIZE + self._ring_bytes, mmap.MAP_SHARED)
                self._rings.append((cpu, ring))
                self._poll.register(fd, select.POLLIN)
            else:
                _ioctl(fd, _SET_OUTPUT, first)

    def _open_event(self, tracepoint: Tracepoint, cpu: int) -> int:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        attributes = ctypes.create_string_buffer(pack_attributes(tracepoint.id), ATTRIBUTES.size)
        fd: int = libc.syscall(_syscall_number(), attributes, -1, cpu, -1, _FLAG_CLOEXEC)
        if fd < 0:
            raise _refused(ctypes.get_errno())
        self._fds.append(fd)
        if tracepoint.filter:
            _ioctl(fd, _SET_FILTER, ctypes.create_string_buffer(tracepoint.filter.encode()))
        return fd

    def _drain(self) -> None:
        until_ns = time.monotonic_ns()
        samples = self._younger
        for cpu, ring in self._rings:
            self._parse(cpu, self._take(ring), samples)
        samples.sort()
        count = bisect_right(samples, until_ns, key=attrgetter("t_ns"))
        self._waiting.extend(samples[:count])
        self._younger = samples[count:]

    def _take(self, ring: mmap.mmap) -> bytes:
        """Take all that is in a ring."""
        head, tail = (int.from_bytes(ring[at : at + 8], "little") for at in (_HEAD_AT, _TAIL_AT))
        start, size = mmap.PAGESIZE, self._ring_bytes
        at, end = tail % size, head - tail
        data = ring[start + at : start + min(size, at + end)]
        data += ring[start : start + end - len(data)]
        view = memoryview(ring).cast("Q")
        view[_TAIL_AT // 8] = head
        view.release()
        return data

    def _parse(self, cpu: int, data: bytes, samples: list[Sample]) -> None:
        at = 0
        while at + _HEADER.size <= len(data):
            kind, _, length = _HEADER.unpack_from(data, at)
            if length < _HEADER.size:
                break
            body = at + _HEADER.size
            if kind == _RECORD_SAMPLE and body + _SAMPLE.size <= len(data):
                pid, _, t_ns, raw_bytes = _SAMPLE.unpack_from(data, body)
                start = body + _SAMPLE.size
                samples.append(Sample(t_ns, cpu, pid, data[start : start + raw_bytes]))
            elif kind == _RECORD_LOST:
                self.lost += int.from_bytes(data[body + 8 : body + 16], "little")
            at += length


def pack_attributes(tracepoint_id: int) -> bytes:
    """Lay out ``struct perf_event_attr`` for one tracepoint, every event of it, with CLOCK_MONOTONIC times."""
    sampled = _SAMPLE_TID | _SAMPLE_TIME | _SAMPLE_RAW
    head = (_TYPE_TRACEPOINT, ATTRIBUTES.size, tracepoint_id, 1, sampled, 0)
    return ATTRIBUTES.pack(*head, _WATERMARK | _USE_CLOCKID, WAKEUP_BYTES, 0, 0, 0, 0, 0, 0, _CLOCK_MONOTONIC)


def _ioctl(fd: int, request: int, argument: object) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).ioctl(fd, ctypes.c_ulong(request), argument) < 0:
        raise _refused(ctypes.get_errno())


def _online() -> set[int]:
    """Return the processors that are on (``/sys/devices/system/cpu/online``: ``0-3,5``)."""
    try:
        with open("/sys/devices/system/cpu/online", encoding="utf-8") as file:
            text = file.read().strip()
    except OSError:
        return set()
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def _syscall_number() -> int:
    machine = os.uname().machine
    if machine not in _SYSCALL_NUMBERS:
        raise Unsupported(f"perf_event_open on {machine} is not known to tcpscope")
    return _SYSCALL_NUMBERS[machine]


def _refused(number: int) -> TcpscopeError:
    if number in (errno.EPERM, errno.EACCES):
        return NotPermitted("perf_event_open: not permitted (needs CAP_PERFMON, or a lower kernel.perf_event_paranoid)")
    if number == errno.ENOSYS:
        return Unsupported("this kernel has no perf_event_open")
    return Unsupported(f"perf_event_open: {os.strerror(number)}")
