"""SEGMENT ARRIVES (RFC 9293 §3.10.7): the eight checks, in the order and with the names of §3.10.7.4.

:func:`tcpscope.machine.classify.classify` says which events the segment is; each check takes its own events through
the table and does to the numbers what the RFC says. A check returns whether the next one is to be made.
"""

from __future__ import annotations

from tcpscope.machine import options, path_mtu, receiving
from tcpscope.machine.acknowledgement import take_ack
from tcpscope.machine.classify import classify
from tcpscope.machine.flight import mark_lost
from tcpscope.machine.moves import answer, challenge, fail, opening_guard, take
from tcpscope.machine.sequence import HALF, MASK
from tcpscope.machine.tcb import ISS_STEP, Incarnation, Tcb
from tcpscope.model.event import Event, Guard
from tcpscope.model.segment import ACK, FIN, PSH, RST, SYN, URG, Segment
from tcpscope.model.state import State

CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED = State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED
ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2 = State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2
CLOSING, TIME_WAIT = State.CLOSING, State.TIME_WAIT

Events = tuple[Event, ...]
_RESETS = (Event.RST, Event.RST_IN_WINDOW, Event.RST_UNACCEPTABLE)
_SYNS = (Event.SYN_IN_SYNCHRONIZED, Event.SYN_REOPENS, Event.SYN_OLD_DUPLICATE)
_REFUSED_ACKS = (Event.ACK_MISSING, Event.ACK_UNACCEPTABLE)


def segment_arrives(tcb: Tcb, segment: Segment, now_ns: int) -> None:
    """Take one segment in any state."""
    if tcb.state in (CLOSED, LISTEN):
        _before_synchronization(tcb, segment)
        return
    if (
        tcb.timestamps_ok
        and not segment.flags & RST
        and tcb.state is not SYN_SENT
        and _fails_paws(tcb, segment, now_ns)
    ):
        return
    events = judge(tcb, segment)
    if tcb.state is SYN_SENT:
        if not _in_syn_sent(tcb, segment, events):
            return
    elif not (
        check_sequence_number(tcb, segment, events)
        and check_rst_bit(tcb, segment, events)
        and check_security(tcb, segment, events)
        and check_syn_bit(tcb, segment, events)
        and check_ack_field(tcb, segment, events, now_ns)
    ):
        return
    if tcb.ecn:
        receiving.take_congestion_mark(tcb, segment)
    if segment.options.user_timeout_ms:
        options.take_user_timeout(tcb, segment.options.user_timeout_ms)
    check_urg_bit(tcb, segment, events)
    if process_segment_text(tcb, segment, events, now_ns):
        check_fin_bit(tcb, segment, events)


def judge(tcb: Tcb, segment: Segment) -> Events:
    """Classify ``segment`` against the block's numbers."""
    stamp = segment.options.timestamp
    return classify(
        tcb.state,
        segment.flags,
        segment.seq,
        segment.ack,
        len(segment.payload),
        snd_una=tcb.snd_una,
        snd_nxt=tcb.snd_nxt,
        rcv_nxt=tcb.rcv_nxt,
        rcv_wnd=tcb.rcv_wnd if tcb.state is not SYN_SENT else 65535,
        snd_fin=tcb.snd_fin,
        max_snd_wnd=tcb.max_snd_wnd,
        opened_actively=tcb.opened_actively,
        tsval=-1 if stamp is None else stamp[0],
        ts_recent=tcb.ts_recent if tcb.timestamps_ok else -1,
        reopens=tcb.profile.reopens_time_wait,
        exact_rst=tcb.profile.exact_rst,
    )


def check_sequence_number(tcb: Tcb, segment: Segment, events: Events) -> bool:
    """First: part of the segment must lie in the receive window."""
    if events[0] is not Event.SEGMENT_UNACCEPTABLE:
        if tcb.timestamps_ok and not segment.flags & (RST | SYN):
            options.note_timestamp(tcb, segment, tcb.now_ns)
        return True
    take(tcb, Event.SEGMENT_UNACCEPTABLE)
    drop(tcb, "outside the receive window")
    if tcb.state is SYN_RECEIVED and segment.flags & SYN and tcb.profile.repeats_syn_ack and tcb.flight:
        mark_lost(tcb, tcb.flight[0])  # Linux, FreeBSD: the peer missed our SYN|ACK
        return False
    if segment.payload:
        if _is_old(tcb, segment):
            _note_repetition(tcb, segment)
        tcb.acks_now = True
    else:
        _acknowledge_out_of_window(tcb, segment)
    return False


def check_rst_bit(tcb: Tcb, segment: Segment, events: Events) -> bool:
    """Second: a reset at RCV.NXT is obeyed, in the window challenged, elsewhere dropped (RFC 5961 §3)."""
    event = events[0]
    if event not in _RESETS:
        return True
    if event is Event.RST and tcb.state is TIME_WAIT and tcb.profile.ignores_rst_in_time_wait:
        event = Event.RST_UNACCEPTABLE  # RFC 1337
    if event is not Event.RST:
        answer(tcb, take(tcb, event), segment)
        drop(tcb, "reset that proves nothing")
        return False
    _reset(tcb)
    return False


def check_security(tcb: Tcb, segment: Segment, events: Events) -> bool:
    """Third: security and compartment; not in use on the Internet, so everything passes (§3.10.7.4, A.1)."""
    return True


def check_syn_bit(tcb: Tcb, segment: Segment, events: Events) -> bool:
    """Fourth: a SYN on a live connection (RFC 5961 §4), in TIME-WAIT (RFC 6191), or the other half of a crossing."""
    event = events[0]
    if event is Event.SYN_REOPENS:
        _reopen(tcb, segment)
        return False
    if event not in _SYNS:
        return True
    row = take(tcb, event, opening_guard(tcb) if tcb.reopened is None else Guard.OPENED_PASSIVELY)
    if row.after is not LISTEN:
        drop(tcb, "SYN on a live connection")
        answer(tcb, row, segment)
    if event is Event.SYN_OLD_DUPLICATE and tcb.profile.acks_old_syn_in_time_wait:
        tcb.acks_now = True
    return False


def check_ack_field(tcb: Tcb, segment: Segment, events: Events, now_ns: int) -> bool:
    """Fifth: without ACK nothing counts; what it covers is done with."""
    event = events[0]
    if event in _REFUSED_ACKS:
        row = take(tcb, event)
        drop(tcb, row.note)
        if tcb.state.is_synchronized and event is Event.ACK_UNACCEPTABLE and not segment.payload:
            _acknowledge_out_of_window(tcb, segment)
        else:
            answer(tcb, row, segment)
        return False
    if event is Event.SYN_ACK:
        _complete_handshake(tcb, segment, take(tcb, event, Guard.OPENED_ACTIVELY).event, now_ns)
        return True
    if event is Event.ACK_OF_SYN:
        _complete_handshake(tcb, segment, take(tcb, event).event, now_ns)
        return True
    if tcb.state is not TIME_WAIT:
        take_ack(tcb, segment, now_ns)
        if tcb.out_of_order and tcb.out_of_order[0].seq == tcb.rcv_nxt:
            receiving.release_text_of_syn(tcb, now_ns)  # closed before it was ever ESTABLISHED
    if event in (Event.ACK, Event.ACK_OF_FIN):
        take(tcb, event)
    return tcb.state is not CLOSED


def check_urg_bit(tcb: Tcb, segment: Segment, events: Events) -> None:
    """Sixth: tell the application of urgent text ahead."""
    if segment.flags & URG and tcb.state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2):
        receiving.take_urgent(tcb, segment)


def process_segment_text(tcb: Tcb, segment: Segment, events: Events, now_ns: int) -> bool:
    """Seventh: deliver text or keep it; refuse it when the window is shut or nobody reads (SHLD-3)."""
    if Event.SEGMENT_UNACCEPTABLE in events:
        take(tcb, Event.SEGMENT_UNACCEPTABLE)
        tcb.acks_now = True
        return False
    if Event.TEXT in events:
        row = take(tcb, Event.TEXT, *((Guard.READER_GONE,) if tcb.reader_gone else ()))
        if row.after is CLOSED:
            fail(tcb, "connection reset: text arrived after the program had closed")
            answer(tcb, row, segment)
            return False
        if row.sends:
            seq = (segment.seq + (segment.flags & SYN != 0)) & MASK
            receiving.take_text(tcb, seq, segment.payload, now_ns)
            if segment.flags & PSH:
                receiving.note_push(tcb, (seq + len(segment.payload)) & MASK)
            tcb.counters.text_segments_in += 1
            tcb.counters.bytes_in += len(segment.payload)
    elif segment.payload and _is_old(tcb, segment):
        tcb.acks_now = True
    return True


def check_fin_bit(tcb: Tcb, segment: Segment, events: Events) -> None:
    """Eighth: the peer's FIN, when every octet before it is there."""
    event = events[-1]
    covers_ours = event is Event.FIN_ACK_OF_FIN
    if tcb.fin_received:
        if event is Event.FIN:
            _fin_again(tcb, segment)
        return
    if segment.flags & FIN and tcb.missing_fin < 0:
        fin_seq = (segment.seq + (segment.flags & SYN != 0) + len(segment.payload)) & MASK
        if (fin_seq - tcb.rcv_nxt) & MASK <= tcb.rcv_wnd:
            tcb.missing_fin = fin_seq
            tcb.acks_now = True
    if tcb.missing_fin != tcb.rcv_nxt:
        if covers_ours:
            take(tcb, Event.ACK_OF_FIN)
        return
    tcb.fin_received = True
    tcb.missing_fin = -1
    tcb.rcv_nxt = (tcb.rcv_nxt + 1) & MASK
    if not (tcb.rcv_adv - tcb.rcv_nxt) & MASK < HALF:
        tcb.rcv_adv = tcb.rcv_nxt
    row = take(tcb, Event.FIN_ACK_OF_FIN if covers_ours else Event.FIN)
    answer(tcb, row, segment)
    tcb.report("end-of-file")
    if tcb.state is CLOSING and tcb.profile.repeats_fin_in_closing and tcb.flight:
        mark_lost(tcb, tcb.flight[-1])
        tcb.recovery.must_send = True


def drop(tcb: Tcb, why: str) -> None:
    """Count and explain a segment that goes no further."""
    tcb.counters.dropped += 1
    tcb.report("dropped", why)


def _before_synchronization(tcb: Tcb, segment: Segment) -> None:
    """§3.10.7.1 and §3.10.7.2: CLOSED and LISTEN."""
    event = judge(tcb, segment)[0]
    is_silent = tcb.state is LISTEN and segment.flags & SYN and tcb.profile.silent_on_syn_ack_in_listen
    row = take(tcb, event)
    if row.after is SYN_RECEIVED:
        _synchronize(tcb, segment)
        tcb.opened_actively = False
        return
    drop(tcb, row.note)
    if not is_silent:
        answer(tcb, row, segment)


def _in_syn_sent(tcb: Tcb, segment: Segment, events: Events) -> bool:
    """§3.10.7.3; go on with the sixth check when a SYN|ACK has established the connection."""
    event = events[0]
    if event is Event.RST:
        fail(tcb, "connection refused")
        take(tcb, event)
        return False
    row = take(tcb, event)
    if event is Event.SYN:
        _synchronize(tcb, segment)
        for sent in tcb.flight:
            mark_lost(tcb, sent)  # our SYN goes again, as SYN|ACK
        return False
    if event is not Event.SYN_ACK:
        drop(tcb, row.note)
        answer(tcb, row, segment)
        return False
    _synchronize(tcb, segment)
    _complete_handshake(tcb, segment, event, tcb.now_ns)
    answer(tcb, row, segment)
    return True


def _synchronize(tcb: Tcb, segment: Segment) -> None:
    """Take the peer's SYN: its number, window and options; text that came with it may wait."""
    tcb.irs = segment.seq
    tcb.rcv_nxt = tcb.last_ack_sent = tcb.rcv_up = tcb.rcv_psh = (segment.seq + 1) & MASK
    options.agree(tcb, segment)
    path_mtu.start(tcb)
    receiving.open_window(tcb)
    tcb.snd_wnd = tcb.max_snd_wnd = segment.wnd  # never scaled on SYN
    tcb.snd_wl1, tcb.snd_wl2 = segment.seq, segment.ack if segment.flags & ACK else tcb.iss
    if segment.payload and not segment.flags & ACK and tcb.profile.keeps_text_of_syn:
        receiving.hold_text_of_syn(tcb, segment.payload)


def _complete_handshake(tcb: Tcb, segment: Segment, event: Event, now_ns: int) -> None:
    """Enter ESTABLISHED: our SYN is acknowledged, the window is known, what waited may go."""
    was_repeated = bool(tcb.flight) and tcb.flight[0].transmissions > 1
    options.start_congestion(tcb, was_repeated)
    take_ack(tcb, segment, now_ns)
    is_scaled = event is Event.ACK_OF_SYN
    tcb.snd_wnd = tcb.max_snd_wnd = segment.wnd << tcb.snd_wscale if is_scaled else segment.wnd
    tcb.snd_wl1, tcb.snd_wl2 = segment.seq, segment.ack
    tcb.reopened = None
    receiving.release_text_of_syn(tcb, now_ns)
    if tcb.close_pending:
        tcb.close_pending = False
        take(tcb, Event.CLOSE, Guard.DATA_QUEUED if tcb.unsent_bytes else Guard.NOTHING_QUEUED)
    tcb.report("writable")


def _reset(tcb: Tcb) -> None:
    """Obey a reset: back to where this end came from, or CLOSED with a word to the application."""
    guard = opening_guard(tcb)
    was_opening = tcb.state is SYN_RECEIVED
    if was_opening and guard is Guard.OPENED_ACTIVELY:
        fail(tcb, "connection refused")
    elif tcb.state.is_synchronized and tcb.state not in (CLOSING, State.LAST_ACK, TIME_WAIT):
        fail(tcb, tcb.profile.reset_after_end if tcb.state is State.CLOSE_WAIT else "connection reset")
    take(tcb, Event.RST, guard)


def _reopen(tcb: Tcb, segment: Segment) -> None:
    """Start a new incarnation out of TIME-WAIT (MAY-2): its ISS lies above everything the old one used."""
    former = Incarnation.of(tcb)
    take(tcb, Event.SYN_REOPENS)
    tcb.begin_again((tcb.snd_nxt + ISS_STEP) & MASK)
    tcb.reopened = former
    tcb.opened_actively = False
    _synchronize(tcb, segment)


def _fin_again(tcb: Tcb, segment: Segment) -> None:
    """The peer missed our ACK of its FIN: acknowledge again; in TIME-WAIT 2 MSL start anew (MUST-13)."""
    answer(tcb, take(tcb, Event.FIN), segment)
    if tcb.state is TIME_WAIT:
        tcb.deadline_time_wait_ns = tcb.now_ns + 2 * tcb.profile.msl_ns


def _fails_paws(tcb: Tcb, segment: Segment, now_ns: int) -> bool:
    """RFC 7323 §5: drop what its timestamp proves to be old, and what lost its timestamp."""
    if tcb.state is TIME_WAIT and segment.flags & (SYN | ACK) == SYN:
        return False  # RFC 6191 judges it
    if options.lacks_timestamp(tcb, segment):
        drop(tcb, "no timestamp although both ends agreed on them (RFC 7323 §3.2)")
        return True
    if not options.is_old_by_timestamp(tcb, segment, now_ns):
        return False
    tcb.counters.paws_drops += 1
    drop(tcb, "its timestamp is older than one already seen (PAWS)")
    take(tcb, Event.SEGMENT_UNACCEPTABLE)
    tcb.acks_now = True
    return True


def _is_old(tcb: Tcb, segment: Segment) -> bool:
    """Whether every octet of text was received before."""
    return (tcb.rcv_nxt - segment.seq - len(segment.payload)) & MASK < HALF


def _note_repetition(tcb: Tcb, segment: Segment) -> None:
    """Text that came again: tell of it (RFC 2883), and echo its timestamp rather than that of the first copy.

    Why: our ACK was lost; echoing the first copy's time would make the peer measure its whole time-out as one round
    trip. Only what lies within a buffer's length is believed, as a blind attacker could send anything.
    """
    tcb.dsack = (segment.seq, (segment.seq + len(segment.payload)) & MASK)
    if tcb.timestamps_ok and (tcb.rcv_nxt - segment.seq) & MASK <= tcb.receive_buffer_bytes:
        options.note_timestamp(tcb, segment, tcb.now_ns)


def _acknowledge_out_of_window(tcb: Tcb, segment: Segment) -> None:
    """Owe the ACK of §3.10.7.4 first, as seldom as challenge ACKs: two ends must not answer each other for ever."""
    keepalive = (segment.seq + 1) & MASK == tcb.rcv_nxt
    if keepalive or segment.flags & FIN:
        tcb.acks_now = True
    else:
        challenge(tcb)
