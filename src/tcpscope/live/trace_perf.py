"""Tier B of ``trace``: the same tracepoints as tier A, through perf rings.

perf tells less than BPF: no namespace, no inode, of a timer only its address. So it sees every namespace of the host;
a mini-socket is tied to its connection by being born in the same thread of execution right before that ends; whether
it is in FIN_WAIT_2 or already in TIME_WAIT is looked up with sock_diag (own namespace) and marked ``inferred``;
handshakes are seen when they complete; holders are known only where a call of theirs made a move.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from struct import Struct

from tcpscope.kernel import perf, tracefs
from tcpscope.kernel.bpf import tcp_record as kinds
from tcpscope.kernel.bpf.layout import ABSENT, read_symbols
from tcpscope.live.trace_record import ENDS, KernelEvent
from tcpscope.live.trace_story import Story
from tcpscope.model.errors import TcpscopeError, Unsupported
from tcpscope.model.state import State
from tcpscope.model.transition import Transition

_IPPROTO_TCP, _AF_INET = 6, 2
_CLOSE, _FIN_WAIT_2, _TIME_WAIT, _CLOSING = 7, 5, 6, 11
#: Bits of every record's ``common_flags``: taken while serving a softirq; taken with softirqs switched off.
_SERVING_SOFTIRQ, _SOFTIRQS_OFF = 0x10, 0x80
_HOLD_S = 0.02  # how often to look whether what is held back may go
_LOOK_S = 0.25
#: Looking may take at most one tenth of the time.
_SHARE = 10
_LIMIT = 1 << 16

_ESSENTIAL = "sock/inet_sock_set_state"
_STATE_FIELDS = (
    "skaddr", "oldstate", "newstate", "sport", "dport", "family", "protocol", "saddr", "daddr", "saddr_v6", "daddr_v6",
)  # fmt: skip
_OPTIONAL = ("tcp/tcp_send_reset", "tcp/tcp_receive_reset", "tcp/tcp_retransmit_skb")
_TIMERS = ("timer/timer_start", "timer/timer_expire_entry")
MISSING = (
    "handshakes that fail (SYN_RECEIVED is seen when it completes)",
    "mini-sockets that end before their timer",
    "the FIN that ends FIN_WAIT_2 (looked for now and then, in this namespace)",
    "holders of sockets that made no call",
)


class Decoder:
    """Turns samples into kernel events; remembers which mini-socket's timer belongs to which connection."""

    def __init__(self, formats: dict[str, tracefs.Format], names: dict[int, bytes] | None = None) -> None:
        self._formats = {found.id: (name, found.fields) for name, found in formats.items()}
        self._state = _struct_of(formats[_ESSENTIAL].fields, _STATE_FIELDS)
        self._comms: dict[int, bytes] = names if names is not None else {}
        self._begun: dict[tuple[int, int], int] = {}  # thread of execution -> timer of the mini-socket just born there
        self._minis: dict[int, KernelEvent] = {}
        #: the mini-sockets that were in FIN_WAIT_2 when last heard of, by ports and addresses
        self.waiting: dict[bytes, KernelEvent] = {}

    def decode(self, samples: Iterable[perf.Sample]) -> Iterator[KernelEvent]:
        """Decode samples in the order of their time."""
        for sample in samples:
            name, fields = self._formats.get(int.from_bytes(sample.raw[:2], "little"), ("", {}))
            if name == "timer/timer_start":
                self._on_timer_started(sample, fields)
            elif name == "timer/timer_expire_entry":
                yield from self._on_expired(sample, fields)
            elif name:
                begun = self._begun.pop(_thread_of(sample), 0) if self._begun else 0
                if name == _ESSENTIAL:
                    yield from self._on_state(sample, begun)
                else:
                    yield from self._on_reset(name, sample, fields)

    def note_time_wait(self, event: KernelEvent, now_ns: int) -> KernelEvent:
        """A look has shown that this mini-socket is in TIME_WAIT by now."""
        found = event._replace(kind=kinds.MINI_SEGMENT, after=_TIME_WAIT, t_ns=now_ns)
        self._minis[event.address] = found
        self.waiting.pop(event.ends, None)
        return found

    def _on_timer_started(self, sample: perf.Sample, fields: dict[str, tuple[int, int]]) -> None:
        """A mini-socket is born, or an old one's timer only starts anew (a segment came).

        Linux: tcp_time_wait() starts the timer with softirqs switched off and ends the full socket right after, in the
        same thread: that is the next record there. How much later says nothing: the processor, or the task, may be put
        aside in between. A segment comes in a softirq that has switched nothing off, so that a timer which starts anew
        is told from a birth; where the kernel does not say it (before 5.17), by its address, which is known.
        """
        timer = _number(sample.raw, fields["timer"])
        if sample.raw[2] & _SOFTIRQS_OFF or timer not in self._minis:
            if len(self._begun) >= _LIMIT:
                self._begun.clear()
            self._begun[_thread_of(sample)] = timer

    def _on_state(self, sample: perf.Sample, begun: int) -> Iterable[KernelEvent]:
        (address, before, after, local_port, remote_port, family, protocol, local, remote, local_v6, remote_v6) = (
            self._state.unpack_from(sample.raw)
        )
        if protocol != _IPPROTO_TCP:
            return ()
        if family != _AF_INET:
            local, remote = local_v6, remote_v6
        event = KernelEvent(
            t_ns=sample.t_ns,
            address=address,
            inode=0,
            netns=0,
            tgid=sample.pid,
            kind=kinds.STATE,
            before=before,
            after=after,
            family=family,
            ends=ENDS.pack(local_port, remote_port, local, remote),
            error=0,
            detail=0,
            comm=self._comm(sample.pid),
        )
        if begun and after == _CLOSE and before in (_FIN_WAIT_2, _CLOSING):
            return self._born_mini(event, begun), event
        return (event,)

    def _born_mini(self, event: KernelEvent, timer: int) -> KernelEvent:
        """Return the birth of the mini-socket that goes on for a full socket."""
        # Why FIN_WAIT_2: a mini-socket is at least that; a look tells whether its FIN has come
        state = _TIME_WAIT if event.before == _CLOSING else _FIN_WAIT_2
        mini = event._replace(kind=kinds.MINI_STARTED, address=timer, after=state)
        if len(self._minis) >= _LIMIT:
            self._forget(next(iter(self._minis)))
        self._minis[timer] = mini
        if state == _FIN_WAIT_2:
            self.waiting[mini.ends] = mini
        return mini

    def _on_expired(self, sample: perf.Sample, fields: dict[str, tuple[int, int]]) -> Iterator[KernelEvent]:
        mini = self._forget(_number(sample.raw, fields["timer"]))
        if mini is not None:
            yield mini._replace(kind=kinds.MINI_EXPIRED, t_ns=sample.t_ns)

    def _forget(self, timer: int) -> KernelEvent | None:
        mini = self._minis.pop(timer, None)
        if mini is not None:
            self.waiting.pop(mini.ends, None)
        return mini

    def _on_reset(self, name: str, sample: perf.Sample, fields: dict[str, tuple[int, int]]) -> Iterator[KernelEvent]:
        kind = {
            "tcp/tcp_send_reset": kinds.RESET_SENT,
            "tcp/tcp_receive_reset": kinds.RESET_RECEIVED,
            "tcp/tcp_retransmit_skb": kinds.RETRANSMITTED,
        }[name]
        event = self._event(sample, fields, kind) if "sport" in fields else self._bare(sample, fields, kind)
        state = _number(sample.raw, fields["state"]) if "state" in fields else 0
        detail = _number(sample.raw, fields["reason"]) if "reason" in fields else 0
        if event.address:
            yield event._replace(before=state, after=state, detail=detail)

    def _event(self, sample: perf.Sample, fields: dict[str, tuple[int, int]], kind: int) -> KernelEvent:
        raw = sample.raw
        family = _number(raw, fields["family"])
        suffix = "" if family == _AF_INET else "_v6"
        ends = [
            raw[at : at + size].ljust(16, b"\0") for at, size in (fields[f"saddr{suffix}"], fields[f"daddr{suffix}"])
        ]
        ports = _number(raw, fields["sport"]), _number(raw, fields["dport"])
        return self._bare(sample, fields, kind)._replace(family=family, ends=ENDS.pack(*ports, *ends))

    def _bare(self, sample: perf.Sample, fields: dict[str, tuple[int, int]], kind: int) -> KernelEvent:
        address = _number(sample.raw, fields["skaddr"]) if "skaddr" in fields else 0
        comm = self._comm(sample.pid)
        return KernelEvent(sample.t_ns, address, 0, 0, sample.pid, kind, 0, 0, _AF_INET, bytes(ENDS.size), 0, 0, comm)

    def _comm(self, pid: int) -> bytes:
        name = self._comms.get(pid)
        if name is None:
            from tcpscope.kernel.processes import read_name

            if len(self._comms) >= _LIMIT:
                self._comms.clear()
            name = self._comms[pid] = read_name(pid).encode("utf-8", "replace") if pid else b"swapper"
        return name


class PerfSource:
    """Transitions of every namespace from perf. Raises :class:`NotPermitted` or :class:`Unsupported`."""

    tells_namespaces = False
    lost_are = "kernel records"

    def __init__(self, netns: int | None, details: bool = False) -> None:
        self.missing = list(MISSING)
        root = tracefs.open_tracefs()
        try:
            formats = {_ESSENTIAL: tracefs.read_format(root, _ESSENTIAL)}
            wanted = [name for name in _OPTIONAL if details or not name.endswith("retransmit_skb")]
            for name in (*wanted, *_TIMERS):
                try:
                    formats[name] = tracefs.read_format(root, name)
                except TcpscopeError as error:
                    self.missing.append(str(error))
        finally:
            os.close(root)
        function = read_symbols(["tw_timer_handler"])["tw_timer_handler"]
        if function == ABSENT:
            self.missing.append("TIME_WAIT (kallsyms hides the kernel's addresses: kernel.kptr_restrict)")
            formats = {name: found for name, found in formats.items() if name not in _TIMERS}
        filters = {name: f"function == {function:#x}" if name in _TIMERS else "" for name in formats}
        self._rings = perf.PerfRings([perf.Tracepoint(found.id, filters[name]) for name, found in formats.items()])
        reset = formats.get("tcp/tcp_send_reset")
        reasons = reset.symbols("reason") if reset is not None else {}
        self._decoder = Decoder(formats)
        epoch_ns = time.time_ns() - time.monotonic_ns()
        self._story = Story(reasons=reasons, epoch_ns=epoch_ns, source="perf", sees_requests=False)
        self._next_look = 0.0

    def read(self, timeout_s: float) -> list[Transition]:
        """Wait for records, tell their story."""
        if self._story.is_holding:
            timeout_s = min(timeout_s, _HOLD_S)
        samples = self._rings.read(timeout_s)
        self._story.feed(self._decoder.decode(samples))
        if self._decoder.waiting and time.monotonic() >= self._next_look:
            self._story.feed(self._look())
        # Why not the time now: what explains a move may still wait to be decoded
        now_ns = samples[-1].t_ns if samples and self._rings.unread else time.monotonic_ns()
        return [_honest(move) for move in self._story.take(now_ns)]

    def flush(self) -> list[Transition]:
        """Return what is still held back."""
        self._story.feed(self._look())
        return [_honest(move) for move in self._story.take()]

    def read_lost(self) -> int:
        """Return how many records the kernel says it lost."""
        return self._rings.lost

    def read_untold(self) -> int:
        """Return how many moves at least were made that no record told."""
        return self._story.untold

    def read_unread(self) -> int:
        """Return how many records are not told yet."""
        return self._rings.unread

    def stop(self) -> None:
        """Record no more; what was recorded can still be read."""
        self._rings.stop()

    def close(self) -> None:
        """Stop the events."""
        self._rings.close()

    def _look(self) -> Iterator[KernelEvent]:
        """Ask sock_diag which of the mini-sockets have had their FIN."""
        from tcpscope.live.listing import read_listing

        start, waiting = time.monotonic(), self._decoder.waiting
        for row in read_listing(tcp=1 << _TIME_WAIT, udp=0).rows() if waiting else ():
            event = waiting.get(ENDS.pack(row[5], row[6], row[7], row[8]))
            if event is not None:
                yield self._decoder.note_time_wait(event, time.monotonic_ns())
        self._next_look = time.monotonic() + max(_LOOK_S, _SHARE * (time.monotonic() - start))


def _honest(move: Transition) -> Transition:
    """Mark what a look found, not a record: the FIN came somewhere between the state's begin and the look."""
    if move.before is not State.FIN_WAIT_2 or move.after is not State.TIME_WAIT:
        return move
    earliest = None if move.in_state_ns is None else move.when_ns - move.in_state_ns
    return move._replace(certainty="inferred", earliest_ns=earliest, latest_ns=move.when_ns, source="poll")


def _struct_of(fields: dict[str, tuple[int, int]], names: Iterable[str]) -> Struct:
    """Return what unpacks these fields, which must stand in this order; addresses stay bytes."""
    layout, end = "<", 0
    for name in names:
        at, size = fields[name]
        if at < end:
            raise Unsupported("the kernel's record of a change of state is laid out in an unknown way")
        code = f"{size}s" if name.startswith(("saddr", "daddr")) else {1: "B", 2: "H", 4: "I", 8: "Q"}[size]
        layout, end = f"{layout}{at - end}x{code}", at + size
    return Struct(layout)


def _thread_of(sample: perf.Sample) -> tuple[int, int]:
    """What ran: a task (an idle processor has none), or the softirq that interrupted it; neither runs twice at once."""
    task = int.from_bytes(sample.raw[4:8], "little")  # common_pid, which is a thread's, whatever namespace it is in
    return task or ~sample.cpu, sample.raw[2] & _SERVING_SOFTIRQ


def _number(raw: bytes, place: tuple[int, int]) -> int:
    return int.from_bytes(raw[place[0] : place[0] + place[1]], "little")
