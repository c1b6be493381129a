"""TIME-WAIT as a small record: what is left of a connection when only 2 MSL are to be waited out (RFC 9293 §3.6.1).

A host keeps thousands of them, so a record holds a dozen numbers instead of a block. It answers exactly as a
:class:`~tcpscope.machine.connection.Connection` in TIME-WAIT does (a test compares them over all segments), by the
same classification and the same rows; only D-SACK is left out, for nobody sends text any more.
"""

from __future__ import annotations

from tcpscope.machine.classify import classify
from tcpscope.machine.connection import Connection
from tcpscope.machine.lifecycle import Row, find_row
from tcpscope.machine.options import PAWS_IDLE_NS
from tcpscope.machine.profile import Profile
from tcpscope.machine.sequence import HALF, MASK
from tcpscope.model.event import Event, Sends
from tcpscope.model.segment import ACK, FIN, NO_OPTIONS, RST, SYN, Options, Segment
from tcpscope.model.state import State


class TimeWait:
    """One connection in TIME-WAIT. After :meth:`receive_segment` look at :attr:`verdict`."""

    __slots__ = (
        "challenges", "challenges_since_ns", "deadline_ns", "internet", "profile", "rcv_nxt", "rcv_wnd", "rcv_wscale",
        "receive_buffer_bytes", "snd_nxt", "ts_offset_ms", "ts_recent", "ts_recent_ns", "verdict",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        tcb = connection.tcb
        if tcb.state is not State.TIME_WAIT:
            raise ValueError(f"{tcb.state.name} is not TIME_WAIT")
        self.profile: Profile = tcb.profile
        self.internet = tcb.internet
        self.snd_nxt, self.rcv_nxt = tcb.snd_nxt, tcb.rcv_nxt
        self.rcv_wnd, self.rcv_wscale = tcb.rcv_wnd, tcb.rcv_wscale
        self.receive_buffer_bytes = tcb.receive_buffer_bytes
        self.ts_recent = tcb.ts_recent if tcb.timestamps_ok else -1
        self.ts_recent_ns = tcb.ts_recent_ns
        self.ts_offset_ms = tcb.ts_offset_ms
        self.deadline_ns = tcb.deadline_time_wait_ns
        self.challenges, self.challenges_since_ns = tcb.challenges, tcb.challenges_since_ns
        self.verdict = State.TIME_WAIT  #: SYN_RECEIVED: hand the SYN to the listener; CLOSED: forget the record

    def receive_segment(self, segment: Segment, now_ns: int) -> Segment | None:
        """Take one segment; return the answer, if there is one."""
        if self._fails_paws(segment, now_ns):
            return self._acknowledge(now_ns) if segment.options.timestamp is not None else None
        stamp = segment.options.timestamp
        events = classify(
            State.TIME_WAIT,
            segment.flags,
            segment.seq,
            segment.ack,
            len(segment.payload),
            snd_una=self.snd_nxt,
            snd_nxt=self.snd_nxt,
            rcv_nxt=self.rcv_nxt,
            rcv_wnd=self.rcv_wnd,
            max_snd_wnd=1 << 30,
            tsval=-1 if stamp is None else stamp[0],
            ts_recent=self.ts_recent,
            reopens=self.profile.reopens_time_wait,
            exact_rst=self.profile.exact_rst,
        )
        self._note_timestamp(segment, events[0], now_ns)
        answer = None
        for event in events:
            row = self._row(event)
            self.verdict = row.after
            answer = self._answer(row, segment, now_ns) or answer
        return answer

    def _row(self, event: Event) -> Row:
        if event is Event.RST and self.profile.ignores_rst_in_time_wait:
            event = Event.RST_UNACCEPTABLE
        row = find_row(State.TIME_WAIT, event)
        assert row is not None, event
        return row

    def _answer(self, row: Row, segment: Segment, now_ns: int) -> Segment | None:
        if row.event is Event.FIN:
            self.deadline_ns = now_ns + 2 * self.profile.msl_ns
        elif row.event is Event.SYN_OLD_DUPLICATE and self.profile.acks_old_syn_in_time_wait:
            return self._acknowledge(now_ns)
        if row.sends is Sends.CHALLENGE_ACK or (row.sends is Sends.ACK and self._is_throttled(row, segment)):
            return self._acknowledge(now_ns) if self._may_challenge(now_ns) else None
        return self._acknowledge(now_ns) if row.sends is Sends.ACK else None

    def _is_throttled(self, row: Row, segment: Segment) -> bool:
        """Whether the answer counts as a challenge ACK, so that two ends do not answer each other for ever."""
        if row.event is Event.FIN or segment.payload:
            return False
        keepalive = (segment.seq + 1) & MASK == self.rcv_nxt
        return row.event is Event.ACK_UNACCEPTABLE or not (keepalive or segment.flags & FIN)

    def _may_challenge(self, now_ns: int) -> bool:
        if now_ns - self.challenges_since_ns >= self.profile.challenge_period_ns:
            self.challenges_since_ns, self.challenges = now_ns, 0
        self.challenges += 1
        return self.challenges <= self.profile.challenge_acks

    def _fails_paws(self, segment: Segment, now_ns: int) -> bool:
        if self.ts_recent < 0 or segment.flags & RST or segment.flags & (SYN | ACK) == SYN:
            return False
        stamp = segment.options.timestamp
        if stamp is None:
            return self.profile.drops_untimed and not segment.flags & SYN
        return (stamp[0] - self.ts_recent) & MASK >= HALF and now_ns - self.ts_recent_ns < PAWS_IDLE_NS

    def _note_timestamp(self, segment: Segment, event: Event, now_ns: int) -> None:
        """RFC 7323 §4.3, and text that comes again, as the whole connection notes it."""
        stamp, back = segment.options.timestamp, (self.rcv_nxt - segment.seq) & MASK
        if self.ts_recent < 0 or stamp is None or segment.flags & (SYN | RST) or back >= HALF:
            return
        if event is Event.SEGMENT_UNACCEPTABLE:
            is_old = (self.rcv_nxt - segment.seq - len(segment.payload)) & MASK < HALF
            if not (segment.payload and is_old and back <= self.receive_buffer_bytes):
                return
        self.ts_recent, self.ts_recent_ns = stamp[0], now_ns

    def _acknowledge(self, now_ns: int) -> Segment:
        options = NO_OPTIONS
        if self.ts_recent >= 0:
            options = Options(timestamp=((now_ns // 1_000_000 + self.ts_offset_ms) & MASK, self.ts_recent))
        field = min((self.rcv_wnd + (1 << self.rcv_wscale) - 1) >> self.rcv_wscale, 65535)
        return Segment(self.snd_nxt, self.rcv_nxt, ACK, field, b"", options)
