"""The BPF programs of the TCP tracer, one for each tracepoint, assembled for the running kernel's layout.

``inet_sock_set_state`` is blind to two of the eleven states: a handshake in progress is a *request socket* and
TIME-WAIT (and an orphan's FIN-WAIT-2) is a *mini-socket*, and neither calls it. Both live exactly as long as a timer
of theirs, so ``timer_start``, ``timer_cancel`` and ``timer_expire_entry``, filtered on the timer's function, tell
their births and ends; ``kfree_skb`` with a mini-socket as receiver tells the FIN that turns FIN-WAIT-2 into
TIME-WAIT. ``connect()`` enters SYN-SENT before it has a port: the first start of the retransmission timer tells it.

Each writes a record (:mod:`tcpscope.kernel.bpf.tcp_record`) and decides nothing but the namespace, by its inode number.
"""

from __future__ import annotations

from tcpscope.kernel.bpf import syscall as bpf
from tcpscope.kernel.bpf.assembler import R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, Assembler
from tcpscope.kernel.bpf.layout import ABSENT, Layout, need
from tcpscope.kernel.bpf.tcp_record import (
    ERROR_REPORTED,
    MINI_EXPIRED,
    MINI_SEGMENT,
    MINI_STARTED,
    MINI_STOPPED,
    RECORD_BYTES,
    REQUEST_EXPIRED,
    REQUEST_STARTED,
    REQUEST_STOPPED,
    RESET_RECEIVED,
    RESET_SENT,
    RETRANSMITTED,
    STATE,
    SYN_SENT_FROM,
)
from tcpscope.model.errors import Unsupported

_SOCK_FIELDS = ("daddr", "rcv_saddr", "dport", "num", "family", "state", "net", "v6_daddr", "v6_rcv_saddr")
_TRACEPOINTS = (
    "inet_sock_set_state", "timer_start", "timer_cancel", "timer_expire_entry", "kfree_skb", "tcp_send_reset",
    "tcp_receive_reset", "tcp_retransmit_skb", "inet_sk_error_report",
)  # fmt: skip
_TIMERS = ("address reqsk_timer_handler", "address tw_timer_handler")
_OPTIONAL = (
    "bit sock.sk_ino",
    "bit socket_alloc.vfs_inode",
    "bit inode.i_ino",
    "bit inet_connection_sock.icsk_retransmit_timer",
    "bit sock.tcp_retransmit_timer",
    "address tcp_write_timer",
    "bit request_sock.num_timeout",
    "bit inet_sock.inet_sport",
)
#: Why a reset was sent (``include/net/rstreason.h``, Linux 6.10), as far as the story of a connection needs it.
_REASONS = (
    "TCP_ABORT_ON_DATA", "TCP_ABORT_ON_CLOSE", "TCP_ABORT_ON_LINGER", "TCP_ABORT_ON_MEMORY", "TCP_STATE",
    "TCP_KEEPALIVE_TIMEOUT", "TCP_DISCONNECT_WITH_DATA", "TCP_TIMEWAIT_SOCKET", "TCP_OLD_ACK", "TCP_TOO_OLD_ACK",
    "TCP_INVALID_ACK_SEQUENCE", "TCP_ACK_UNSENT_DATA", "TCP_FLAGS", "TCP_RFC7323_PAWS", "INVALID_SYN",
)  # fmt: skip
_REASON = "enum sk_rst_reason.SK_RST_REASON_"
NAMES = (
    *(f"bit sock_common.skc_{field}" for field in (*_SOCK_FIELDS, "listener")),
    "bit net.ns.inum",
    "bit sock.sk_protocol",
    "bit sock.sk_err",
    "bit sock.sk_socket",
    "bit timer_list.function",
    "bit request_sock.rsk_timer",
    "bit inet_timewait_sock.tw_timer",
    "bit inet_timewait_sock.tw_substate",
    *(f"tracepoint {name}" for name in _TRACEPOINTS),
    *(f"arguments {name}" for name in _TRACEPOINTS),
    *_TIMERS,
    *_OPTIONAL,
    *(_REASON + name for name in _REASONS),
)
_IPPROTO_TCP, _AF_INET6, _SYN_SENT, _TIME_WAIT = 6, 10, 2, 6
# where a record's fields are, and the stack slots below R10
_TIME, _ADDRESS, _INODE, _NETNS, _TGID, _KIND, _BEFORE, _AFTER, _FAMILY = 0, 8, 16, 24, 28, 32, 33, 34, 35
_LOCAL_PORT, _REMOTE_PORT, _LOCAL, _REMOTE, _ERROR, _DETAIL, _COMM = 36, 38, 40, 56, 72, 76, 80
_SCRATCH, _SAVED_BEFORE, _SAVED_AFTER, _SAVED_DETAIL = -8, -16, -24, -32


class Programs:
    """Assembles the program of each tracepoint. R6 is the context, R7 the kernel object, R8 the record."""

    def __init__(self, layout: Layout, ring_fd: int, lost_fd: int, netns: int | None) -> None:
        self._layout = layout
        self._ring_fd, self._lost_fd, self._netns = ring_fd, lost_fd, netns
        offsets = need(layout, *(f"bit sock_common.skc_{field}" for field in _SOCK_FIELDS))
        self._at = dict(zip(_SOCK_FIELDS, (bits // 8 for bits in offsets), strict=True))
        # one read copies the part of struct sock_common that holds all of it
        self._copied_bytes = max(self._at["v6_daddr"], self._at["v6_rcv_saddr"]) + 16
        if self._copied_bytes > 256 or max(self._at.values()) > self._copied_bytes:
            raise Unsupported("struct sock_common of this kernel is laid out in an unknown way")
        self._copy = _SAVED_DETAIL - (self._copied_bytes + 7) // 8 * 8

    def reasons(self) -> dict[int, str]:
        """Return what ``detail`` says in a record of a reset that was sent: the kernel's names of the reasons."""
        return {self._layout[_REASON + name]: name for name in _REASONS}

    def assemble(self, tracepoint: str) -> bytes:
        """Return the instructions of the program for ``tracepoint``."""
        asm = Assembler()
        asm.mov(R6, R1)
        asm.load(8, R7, R6, 0)
        build = {
            "inet_sock_set_state": self._set_state,
            "timer_start": self._timer_start,
            "timer_cancel": self._timer_cancel,
            "timer_expire_entry": self._timer_expire,
            "kfree_skb": self._kfree_skb,
            "tcp_send_reset": self._send_reset,
            "tcp_receive_reset": lambda asm: self._about_socket(asm, RESET_RECEIVED),
            "tcp_retransmit_skb": lambda asm: self._about_socket(asm, RETRANSMITTED),
            "inet_sk_error_report": self._error_report,
        }[tracepoint]
        build(asm)
        asm.label("done")
        asm.mov_imm(R0, 0)
        asm.exit()
        return asm.emit()

    def _set_state(self, asm: Assembler) -> None:
        self._keep_tcp(asm)
        for argument, slot in ((1, _SAVED_BEFORE), (2, _SAVED_AFTER)):
            asm.load(8, R2, R6, 8 * argument)
            asm.store(8, R10, slot, R2)
        self._emit(asm, STATE, "socket")

    def _error_report(self, asm: Assembler) -> None:
        self._keep_tcp(asm)
        self._about_socket(asm, ERROR_REPORTED)

    def _about_socket(self, asm: Assembler, kind: int) -> None:
        self._emit(asm, kind, "socket")

    def _send_reset(self, asm: Assembler) -> None:
        asm.jump_if(R7, "==", 0, "done")  # an answer to a segment for nobody
        asm.mov_imm(R2, 0)
        if self._layout["arguments tcp_send_reset"] >= 3:  # Linux: the reason came with 6.10
            asm.load(8, R2, R6, 16)
        asm.store(8, R10, _SAVED_DETAIL, R2)
        self._emit(asm, RESET_SENT, "socket")

    def _kfree_skb(self, asm: Assembler) -> None:
        if self._layout["arguments kfree_skb"] < 4:
            raise Unsupported("kfree_skb names no receiving socket before Linux 6.11")
        asm.load(8, R7, R6, 24)
        asm.jump_if(R7, "==", 0, "done")
        self._copy_common(asm)
        asm.load(1, R2, R10, self._copy + self._at["state"])
        asm.jump_if(R2, "!=", _TIME_WAIT, "done")
        self._emit(asm, MINI_SEGMENT, "mini", copied=True)

    def _timer_start(self, asm: Assembler) -> None:
        self._by_timer(asm, REQUEST_STARTED, MINI_STARTED)
        self._first_syn(asm)

    def _timer_cancel(self, asm: Assembler) -> None:
        self._by_timer(asm, REQUEST_STOPPED, MINI_STOPPED)

    def _timer_expire(self, asm: Assembler) -> None:
        self._by_timer(asm, REQUEST_EXPIRED, MINI_EXPIRED)

    def _by_timer(self, asm: Assembler, request_kind: int, mini_kind: int) -> None:
        """Emit for the timers of request sockets and mini-sockets, pass for all others (R9 keeps the function)."""
        function, request_timer, mini_timer = (
            bits // 8
            for bits in need(
                self._layout,
                "bit timer_list.function",
                "bit request_sock.rsk_timer",
                "bit inet_timewait_sock.tw_timer",
            )
        )
        request_function, mini_function = need(self._layout, *_TIMERS)
        asm.load(8, R9, R7, function)
        asm.load_imm64(R2, request_function)
        asm.jump_if_reg(R9, "==", R2, "request")
        asm.load_imm64(R2, mini_function)
        asm.jump_if_reg(R9, "!=", R2, "other")
        asm.alu_imm("add", R7, -mini_timer)
        self._emit(asm, mini_kind, "mini")
        asm.jump("done")
        asm.label("request")
        asm.alu_imm("add", R7, -request_timer)
        self._emit(asm, request_kind, "request")
        asm.jump("done")
        asm.label("other")

    def _first_syn(self, asm: Assembler) -> None:
        """A retransmission timer that starts in SYN-SENT: now the connection has its local port."""
        at = self._layout["bit inet_connection_sock.icsk_retransmit_timer"]
        if at == ABSENT:
            at = self._layout["bit sock.tcp_retransmit_timer"]  # Linux: moved there after 6.18
        function = self._layout["address tcp_write_timer"]
        if ABSENT in (at, function):
            return
        asm.load_imm64(R2, function)
        asm.jump_if_reg(R9, "!=", R2, "done")
        asm.alu_imm("add", R7, -(at // 8))
        self._copy_common(asm)
        asm.load(1, R2, R10, self._copy + self._at["state"])
        asm.jump_if(R2, "!=", _SYN_SENT, "done")
        self._emit(asm, SYN_SENT_FROM, "socket", copied=True)

    def _keep_tcp(self, asm: Assembler) -> None:
        """Linux: the tracepoint also reports SCTP and MPTCP sockets."""
        asm.load(2, R2, R7, need(self._layout, "bit sock.sk_protocol")[0] // 8)
        asm.jump_if(R2, "!=", _IPPROTO_TCP, "done")

    def _copy_common(self, asm: Assembler) -> None:
        self._read(asm, self._copy, self._copied_bytes, R7, 0)

    def _emit(self, asm: Assembler, kind: int, what: str, copied: bool = False) -> None:
        """Write one record about the object in R7: a ``socket``, a ``request`` socket or a ``mini``-socket."""
        if not copied:
            self._copy_common(asm)
        asm.load(8, R2, R10, self._copy + self._at["net"])
        self._read(asm, _SCRATCH, 4, R2, need(self._layout, "bit net.ns.inum")[0] // 8)
        if self._netns is not None:
            asm.load(4, R2, R10, _SCRATCH)
            asm.load_imm64(R3, self._netns)
            asm.jump_if_reg(R2, "!=", R3, "done")
        self._reserve(asm, kind)
        asm.load(4, R2, R10, _SCRATCH)
        asm.store(4, R8, _NETNS, R2)
        asm.store(8, R8, _ADDRESS, R7)
        asm.store_imm(1, R8, _KIND, kind)
        self._store_task(asm)
        self._store_addresses(asm, what, f"{kind}")
        self._store_states(asm, kind, what)
        self._store_inode(asm, what)
        asm.mov(R1, R8)
        asm.mov_imm(R2, 0)
        asm.call(bpf.RINGBUF_SUBMIT)

    def _reserve(self, asm: Assembler, kind: int) -> None:
        """Reserve a record into R8, or count the loss and be done."""
        asm.load_map(R1, self._ring_fd)
        asm.mov_imm(R2, RECORD_BYTES)
        asm.mov_imm(R3, 0)
        asm.call(bpf.RINGBUF_RESERVE)
        asm.mov(R8, R0)
        asm.jump_if(R8, "!=", 0, f"reserved {kind}")
        asm.store_imm(4, R10, _SCRATCH, 0)
        asm.load_map(R1, self._lost_fd)
        asm.mov(R2, R10)
        asm.alu_imm("add", R2, _SCRATCH)
        asm.call(bpf.MAP_LOOKUP_ELEM)
        asm.jump_if(R0, "==", 0, "done")
        asm.mov_imm(R1, 1)
        asm.atomic_add(R0, 0, R1)
        asm.jump("done")
        asm.label(f"reserved {kind}")

    def _store_task(self, asm: Assembler) -> None:
        asm.call(bpf.KTIME_GET_NS)
        asm.store(8, R8, _TIME, R0)
        asm.call(bpf.GET_CURRENT_PID_TGID)
        asm.alu_imm("rsh", R0, 32)
        asm.store(4, R8, _TGID, R0)
        asm.mov(R1, R8)
        asm.alu_imm("add", R1, _COMM)
        asm.mov_imm(R2, 16)
        asm.call(bpf.GET_CURRENT_COMM)

    def _store_addresses(self, asm: Assembler, what: str, tag: str) -> None:
        is_v6, end = f"v6 {tag}", f"addressed {tag}"
        at = {field: self._copy + offset for field, offset in self._at.items()}
        self._store_local_port(asm, what, at["num"])
        asm.load(2, R2, R10, at["dport"])
        asm.to_big_endian16(R2)
        asm.store(2, R8, _REMOTE_PORT, R2)
        asm.load(2, R2, R10, at["family"])
        asm.store(1, R8, _FAMILY, R2)
        asm.jump_if(R2, "==", _AF_INET6, is_v6)
        for source, target in (("rcv_saddr", _LOCAL), ("daddr", _REMOTE)):
            asm.load(4, R2, R10, at[source])  # zero-extended: the other four bytes are 0
            asm.store(8, R8, target, R2)
            asm.store_imm(8, R8, target + 8, 0)
        asm.jump(end)
        asm.label(is_v6)
        for source, target in (("v6_rcv_saddr", _LOCAL), ("v6_daddr", _REMOTE)):
            for half in (0, 8):
                asm.load(8, R2, R10, at[source] + half)
                asm.store(8, R8, target + half, R2)
        asm.label(end)

    def _store_local_port(self, asm: Assembler, what: str, num: int) -> None:
        """Linux: a socket that turns to CLOSE has given its port number back; the one in ``inet_sport`` stays."""
        sport = self._layout["bit inet_sock.inet_sport"]
        asm.load(2, R2, R10, num)
        if what == "socket" and sport != ABSENT:
            known = f"port {len(asm)}"
            asm.jump_if(R2, "!=", 0, known)
            self._read(asm, _SCRATCH, 2, R7, sport // 8)
            asm.load(2, R2, R10, _SCRATCH)
            asm.to_big_endian16(R2)
            asm.label(known)
        asm.store(2, R8, _LOCAL_PORT, R2)

    def _store_states(self, asm: Assembler, kind: int, what: str) -> None:
        asm.store_imm(8, R8, _ERROR, 0)
        if kind == STATE:
            for slot, field in ((_SAVED_BEFORE, _BEFORE), (_SAVED_AFTER, _AFTER)):
                asm.load(8, R2, R10, slot)
                asm.store(1, R8, field, R2)
        else:
            asm.load(1, R2, R10, self._copy + self._at["state"])
            asm.store(1, R8, _BEFORE, R2)
            asm.store(1, R8, _AFTER, R2)
        if what == "mini":
            self._read_to_record(asm, _AFTER, 1, "bit inet_timewait_sock.tw_substate")
        elif what == "socket":
            self._read_to_record(asm, _ERROR, 4, "bit sock.sk_err")
        elif self._layout["bit request_sock.num_timeout"] != ABSENT:
            self._read_to_record(asm, _DETAIL, 1, "bit request_sock.num_timeout")
        if kind == RESET_SENT:
            asm.load(8, R2, R10, _SAVED_DETAIL)
            asm.store(4, R8, _DETAIL, R2)

    def _read_to_record(self, asm: Assembler, field: int, size: int, name: str) -> None:
        asm.mov(R1, R8)
        asm.alu_imm("add", R1, field)
        asm.mov_imm(R2, size)
        asm.mov(R3, R7)
        asm.alu_imm("add", R3, need(self._layout, name)[0] // 8)
        asm.call(bpf.PROBE_READ_KERNEL)

    def _store_inode(self, asm: Assembler, what: str) -> None:
        """Store the inode of the socket (of a request: the listener's); 0 when no program holds it."""
        asm.store_imm(8, R8, _INODE, 0)
        if what == "mini":
            return
        asm.mov(R9, R7)
        if what == "request":
            self._read(asm, _SCRATCH, 8, R7, need(self._layout, "bit sock_common.skc_listener")[0] // 8)
            asm.load(8, R9, R10, _SCRATCH)
        direct = self._layout["bit sock.sk_ino"]
        if direct != ABSENT:  # Linux: since 6.17
            asm.mov(R4, R9)
            offset = direct // 8
        else:
            socket, vfs_inode, i_ino = need(
                self._layout, "bit sock.sk_socket", "bit socket_alloc.vfs_inode", "bit inode.i_ino"
            )
            self._read(asm, _SCRATCH, 8, R9, socket // 8)
            asm.load(8, R4, R10, _SCRATCH)
            asm.jump_if(R4, "==", 0, f"inode {what} {len(asm)}")
            offset = (vfs_inode + i_ino) // 8
        skip = f"inode {what} {len(asm) - 1}"
        asm.mov(R1, R8)
        asm.alu_imm("add", R1, _INODE)
        asm.mov_imm(R2, 8)
        asm.mov(R3, R4)
        asm.alu_imm("add", R3, offset)
        asm.call(bpf.PROBE_READ_KERNEL)
        if direct == ABSENT:
            asm.label(skip)

    def _read(self, asm: Assembler, slot: int, size: int, source: int, offset: int) -> None:
        """Read kernel memory at ``source + offset`` to the stack (zeros when it cannot be read)."""
        asm.mov(R3, source)
        asm.alu_imm("add", R3, offset)
        asm.mov(R1, R10)
        asm.alu_imm("add", R1, slot)
        asm.mov_imm(R2, size)
        asm.call(bpf.PROBE_READ_KERNEL)
