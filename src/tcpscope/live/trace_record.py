"""``KernelEvent``: one thing a tracepoint told, whatever reads the tracepoint (BPF or perf)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from struct import Struct, iter_unpack

from tcpscope.kernel.bpf.tcp_record import RECORD_BYTES
from tcpscope.model.record import NamedTuple

#: The same record as :data:`~tcpscope.kernel.bpf.tcp_record.RECORD`, without its head, both ends in one piece.
_EVENT = "<8x QQQ II BBBB 36s iI 16s"
#: What ``KernelEvent.ends`` holds: local and remote port, local and remote address.
ENDS = Struct("<HH16s16s")


class KernelEvent(NamedTuple):
    """One record. ``t_ns`` is CLOCK_MONOTONIC; states are Linux's numbers; an IPv4 address is in the first four bytes.

    ``address`` is the kernel object's, an identity while it lives. ``ends`` are :data:`ENDS`. ``detail``: reason of a
    reset, or timeouts of a request socket (shifted by one bit). ``tgid`` and ``comm`` are the task that ran, not always
    the one that caused it.
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
    ends: bytes
    error: int
    detail: int
    comm: bytes

    @property
    def key(self) -> tuple[int, bytes]:
        """What identifies a connection: namespace, ports and addresses."""
        return self.netns, self.ends

    @property
    def local_port(self) -> int:
        """The port of the end that moved; 0 when it has none yet."""
        return int.from_bytes(self.ends[:2], "little")


def iter_events(stretch: bytes) -> Iterator[KernelEvent]:
    """Decode what :meth:`~tcpscope.kernel.bpf.tcp_tracer.TcpTracer.take` returned."""
    # Why tuple.__new__: a third less for every record than the class, which only counts the fields again
    return map(partial(tuple.__new__, KernelEvent), iter_unpack(_EVENT, stretch))


def last_time_ns(stretch: bytes) -> int:
    """Return the time of the last record of a stretch."""
    return int.from_bytes(stretch[-RECORD_BYTES:][:8], "little")
