"""The TCP tracer: its BPF programs loaded and attached, and the ring of fixed-size records they write.

What each program tells is :mod:`tcpscope.kernel.bpf.tcp_programs`'s; records say what the kernel did, nothing more, and
making transitions of them is :mod:`tcpscope.live.trace_story`'s. Needs Linux 5.8 (ring buffer); each optional program
that a kernel lacks is named in :attr:`TcpTracer.missing`.
"""

from __future__ import annotations

import os

from tcpscope.kernel.bpf import syscall as bpf
from tcpscope.kernel.bpf.layout import Layout, need, read_layout
from tcpscope.kernel.bpf.ring_buffer import HEAD_BYTES, RingBuffer
from tcpscope.kernel.bpf.tcp_programs import NAMES, Programs
from tcpscope.kernel.bpf.tcp_record import RECORD_BYTES
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.record import NamedTuple

RING_BYTES = 1 << 24


class Option(NamedTuple):
    """One program beside the essential one, and what is not seen without it."""

    tracepoint: str
    without: str


OPTIONS = (
    Option("timer_start", "births of SYN_RECEIVED and TIME_WAIT"),
    Option("timer_cancel", "early ends of SYN_RECEIVED and TIME_WAIT"),
    Option("timer_expire_entry", "timed-out ends of SYN_RECEIVED and TIME_WAIT"),
    Option("kfree_skb", "the FIN that ends an orphan's FIN_WAIT_2"),
    Option("tcp_send_reset", "why a reset was sent"),
    Option("tcp_receive_reset", "that a reset was received"),
    Option("inet_sk_error_report", "errors told to programs"),
    Option("tcp_retransmit_skb", "retransmissions"),
)
#: Programs whose records are wanted only when asked for: they are no changes of state.
DETAILS = frozenset(("inet_sk_error_report", "tcp_retransmit_skb"))


class TcpTracer:
    """The loaded and attached programs of one trace. Everything goes when it is closed or the process ends.

    ``netns`` is the inode number of the only namespace wanted, or ``None`` for all. Raises
    :class:`~tcpscope.model.errors.NotPermitted` or :class:`~tcpscope.model.errors.Unsupported` with the reason when
    not even state changes can be traced.
    """

    def __init__(self, netns: int | None, details: bool = False, layout: Layout | None = None) -> None:
        self._fds: list[int] = []
        self._links: list[int] = []
        self._ring: RingBuffer | None = None
        self.missing: list[str] = []
        try:
            self._open(netns, details, layout)
        except BaseException:
            self.close()
            raise

    def wait(self, timeout_s: float) -> bool:
        """Wait for records at most this long; return whether there are any."""
        return self._ring is not None and self._ring.wait(timeout_s)

    def take(self) -> bytes:
        """Return all records that are finished, each with the ring's head before it."""
        return b"" if self._ring is None else self._ring.take()

    def read(self, timeout_s: float) -> bytes:
        """Wait for records at most this long; return all that are finished."""
        self.wait(timeout_s)
        return self.take()

    def read_lost(self) -> int:
        """Return how many records found no room in the ring, or whose program was interrupted by itself."""
        return int.from_bytes(bpf.lookup(self._lost_fd, 0, 8), "little") + bpf.read_misses(self._essential_fd)

    @property
    def waiting_records(self) -> int:
        """How many records are written and not read yet."""
        return self._ring.waiting_bytes() // (HEAD_BYTES + RECORD_BYTES) if self._ring else 0

    def detach(self) -> None:
        """Let the programs write no more; what they have written can still be read, and what they lost."""
        while self._links:
            os.close(self._links.pop())

    def close(self) -> None:
        """Detach and unload everything."""
        self.detach()
        if self._ring is not None:
            self._ring.close()
            self._ring = None
        while self._fds:
            os.close(self._fds.pop())

    def _open(self, netns: int | None, details: bool, layout: Layout | None) -> None:
        # Why first: without privilege the refusal comes here, before a tenth of a second goes into BTF
        ring_fd = bpf.create_map(bpf.RING_BUFFER_MAP, 0, 0, RING_BYTES, "tcpscope_ring")
        self._ring = RingBuffer(ring_fd, RING_BYTES, RECORD_BYTES)
        self._lost_fd = self._keep(bpf.create_map(bpf.ARRAY_MAP, 4, 8, 1, "tcpscope_lost"))
        self._layout = read_layout("trace", NAMES) if layout is None else layout
        programs = Programs(self._layout, ring_fd, self._lost_fd, netns)
        self.reasons = programs.reasons()
        # Why: optional ones first, so that a socket's birth is never seen without what belongs to it
        for option in OPTIONS:
            if option.tracepoint in DETAILS and not details:
                continue
            try:
                self._attach(option.tracepoint, programs)
            except TcpscopeError as error:
                self.missing.append(f"{option.without} ({error})")
        self._essential_fd = self._attach("inet_sock_set_state", programs)

    def _attach(self, tracepoint: str, programs: Programs) -> int:
        btf_id = need(self._layout, f"tracepoint {tracepoint}")[0]
        program = self._keep(
            bpf.load_tracing(programs.assemble(tracepoint), bpf.TRACE_RAW_TP, btf_id, f"ts_{tracepoint}")
        )
        self._links.append(bpf.attach_raw_tracepoint(program))
        return program

    def _keep(self, fd: int) -> int:
        self._fds.append(fd)
        return fd
