"""``KernelEvent``: one thing a tracepoint told, whatever reads the tracepoint (BPF or perf)."""

from __future__ import annotations

from collections.abc import Iterator
from struct import iter_unpack

from tcpscope.kernel.bpf.tcp_tracer import RECORD, RECORD_BYTES
from tcpscope.model.record import NamedTuple


class KernelEvent(NamedTuple):
    """One record. ``t_ns`` is CLOCK_MONOTONIC; states are Linux's numbers; an IPv4 address is in the first four bytes.

    ``address`` is the kernel object's, an identity while it lives. ``detail``: reason of a reset, or timeouts of a
    request socket (shifted by one bit). ``tgid`` and ``comm`` are the task that ran, not always the one that caused it.
    """

    t_ns: int
    address: int
    inode: int
    netns: int
    tgid: int
    kind: int
    before: int
    after: int
    family: int
    local_port: int
    remote_port: int
    local: bytes
    remote: bytes
    error: int
    detail: int
    comm: bytes

    @property
    def key(self) -> tuple[int, int, int, bytes, bytes]:
        """What identifies a connection: namespace, ports and addresses."""
        return self.netns, self.local_port, self.remote_port, self.local, self.remote


def iter_events(stretch: bytes) -> Iterator[KernelEvent]:
    """Decode what :meth:`~tcpscope.kernel.bpf.tcp_tracer.TcpTracer.read` returned."""
    make = KernelEvent._make
    for record in iter_unpack(RECORD, stretch):
        yield make(record[2:])


def last_time_ns(stretch: bytes) -> int:
    """Return the time of the last record of a stretch."""
    return int.from_bytes(stretch[-RECORD_BYTES:][:8], "little")
