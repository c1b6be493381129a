"""The sending half: how much may go now, and the segments themselves.

RFC 9293 §3.8.6.2.1 (sender's SWS avoidance), §3.7.4 (Nagle), §3.9.1.2 (PUSH), RFC 5681 (the congestion window).
Everything here derives from the block's numbers; nothing that was sent is kept as a segment, only as text in flight.
"""

from __future__ import annotations

from tcpscope.machine import rack, recovery
from tcpscope.machine.flight import Sent, pipe_bytes, split_sent, unmark_lost
from tcpscope.machine.options import offer, options_now, timestamp_now
from tcpscope.machine.receiving import advertise, first_window, sack_blocks
from tcpscope.machine.sequence import HALF, MASK
from tcpscope.machine.tcb import NEVER, Tcb
from tcpscope.model.segment import ACK, CWR, ECE, FIN, NO_OPTIONS, PSH, SYN, URG, Options, Segment
from tcpscope.model.state import State

_FIN_STATES = (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK)
_ECT_0 = 2
#: States in which a segment with text may leave.
TEXT_STATES = (State.ESTABLISHED, State.CLOSE_WAIT, *_FIN_STATES)


def queue_text(tcb: Tcb, text: bytes) -> None:
    """Append to what waits to be sent; small pieces are joined."""
    unsent = tcb.unsent
    if unsent and len(text) + len(unsent[-1]) <= 4096:
        unsent[-1] = b"".join((unsent[-1], text))
    else:
        unsent.append(text)
    tcb.unsent_bytes += len(text)


def is_fin_due(tcb: Tcb) -> bool:
    """Whether our FIN waits to be sent."""
    return tcb.snd_fin < 0 and tcb.state in _FIN_STATES


def usable_window(tcb: Tcb) -> int:
    """Return SND.UNA + SND.WND - SND.NXT, negative when the peer has shrunk its window (MUST-34)."""
    return tcb.snd_wnd - ((tcb.snd_nxt - tcb.snd_una) & MASK)


def payload_limit(tcb: Tcb) -> int:
    """Return the octets of text one segment may carry beside the SACK blocks that are due."""
    if not tcb.out_of_order and tcb.dsack is None:
        return tcb.mss_bytes
    blocks = len(sack_blocks(tcb)) if tcb.sack_ok else 0
    return max(8, tcb.mss_bytes - (8 * blocks + 4 if blocks else 0))


def sendable_bytes(tcb: Tcb, limit: int) -> int:
    """Return how many octets of new text should leave now in one segment (or one offloaded group); 0: none.

    ``limit`` is the payload of a full segment: one that is as long as its options allow is full, never "partial".
    """
    waiting = tcb.unsent_bytes
    usable = usable_window(tcb)
    if usable <= 0 or not waiting:
        return 0
    flight_bytes = (tcb.snd_nxt - tcb.snd_una) & MASK
    room = tcb.congestion.cwnd_bytes - pipe_bytes(tcb)
    amount = min(waiting, usable)
    if amount >= limit:
        if room < limit and flight_bytes:
            return 0
        if limit >= tcb.gso_bytes or amount < 2 * limit:
            return limit
        return max(limit, min(amount, room, tcb.gso_bytes) // limit * limit)
    if room < amount and flight_bytes:
        return 0
    idle = tcb.nodelay or not flight_bytes or tcb.close_pending or tcb.state in _FIN_STATES
    if amount == waiting:
        pushed = (tcb.pushed_seq - tcb.snd_nxt - 1) & MASK < HALF or is_fin_due(tcb) or tcb.close_pending
        return amount if idle and pushed else 0
    if tcb.nodelay and tcb.profile.fills_window:
        return amount
    return amount if idle and 2 * amount >= tcb.max_snd_wnd else 0


def is_window_blocked(tcb: Tcb) -> bool:
    """Whether only the peer's window keeps text or FIN from being sent, so that it must be probed (MUST-36)."""
    if tcb.state not in TEXT_STATES:
        return False
    if not tcb.snd_wnd:
        return bool(tcb.unsent_bytes or tcb.flight or is_fin_due(tcb))
    if tcb.flight:
        return False
    if tcb.unsent_bytes:
        return not sendable_bytes(tcb, payload_limit(tcb))
    return False


def _take_unsent(tcb: Tcb, octets: int) -> bytes | memoryview:
    unsent = tcb.unsent
    first = unsent[0]
    tcb.unsent_bytes -= octets
    if len(first) > octets:
        view = memoryview(first)
        unsent[0] = view[octets:]
        return view[:octets]
    if len(first) == octets:
        del unsent[0]
        return first
    pieces: list[bytes | memoryview] = []
    while octets:
        first = unsent[0]
        if len(first) > octets:
            view = memoryview(first)
            pieces.append(view[:octets])
            unsent[0] = view[octets:]
            break
        pieces.append(unsent.pop(0))
        octets -= len(first)
    return b"".join(pieces)


def emit_text(tcb: Tcb, octets: int, now_ns: int) -> Segment:
    """Send ``octets`` of new text; the FIN rides along when nothing is left behind it."""
    if not tcb.flight:
        _wake_up(tcb, now_ns)
    seq = tcb.snd_nxt
    text = _take_unsent(tcb, octets)
    flags = ACK
    end = (seq + octets) & MASK
    if not tcb.unsent_bytes:
        flags = ACK | PSH  # MUST-61
        if is_fin_due(tcb) and usable_window(tcb) > octets:
            tcb.snd_fin, end, flags = end, (end + 1) & MASK, ACK | PSH | FIN
    if tcb.sends_cwr:
        flags |= CWR
        tcb.sends_cwr = False
    tcb.snd_nxt = end
    _fly(tcb, Sent(seq, end, text, flags & (FIN | PSH), now_ns))
    if tcb.deadline_retransmit_ns == NEVER:
        tcb.deadline_retransmit_ns = now_ns + tcb.rtt.rto_ns  # RFC 6298 §5.1
    if tcb.profile.rack:
        rack.arm_probe(tcb, now_ns)
    counters = tcb.counters
    counters.text_segments_out += 1
    counters.bytes_out += octets
    return _segment(tcb, seq, flags, text, now_ns, _ECT_0 if tcb.ecn else 0)


def emit_fin(tcb: Tcb, now_ns: int) -> Segment:
    """Send our FIN alone."""
    if not tcb.flight:
        _wake_up(tcb, now_ns)
    seq = tcb.snd_fin = tcb.snd_nxt
    tcb.snd_nxt = (seq + 1) & MASK
    _fly(tcb, Sent(seq, tcb.snd_nxt, b"", FIN, now_ns))
    if tcb.deadline_retransmit_ns == NEVER:
        tcb.deadline_retransmit_ns = now_ns + tcb.rtt.rto_ns
    return _segment(tcb, seq, FIN | ACK, b"", now_ns)


def emit_syn(tcb: Tcb, now_ns: int) -> Segment:
    """Send the first SYN or SYN|ACK."""
    tcb.snd_nxt = (tcb.iss + 1) & MASK
    _fly(tcb, Sent(tcb.iss, tcb.snd_nxt, b"", SYN, now_ns))
    tcb.progress_ns = now_ns
    tcb.deadline_retransmit_ns = now_ns + tcb.rtt.rto_ns
    return _syn_segment(tcb, now_ns)


def _fly(tcb: Tcb, sent: Sent) -> None:
    sent.order = tcb.recovery.next_order()
    tcb.flight.append(sent)


def emit_again(tcb: Tcb, sent: Sent, now_ns: int) -> Segment:
    """Send a lost segment once more, cut to what a segment may carry today."""
    limit = payload_limit(tcb)
    if len(sent.payload) > limit:
        split_sent(tcb, tcb.flight.index(sent), (sent.seq + limit) & MASK)
    unmark_lost(tcb, sent)
    recovery.give_up_probe(tcb, sent)
    tcb.recovery.must_send = False
    sent.transmissions += 1
    sent.sent_ns = now_ns
    sent.order = tcb.recovery.next_order()
    if tcb.timestamps_ok and tcb.recovery.undo_stamp < 0:
        tcb.recovery.undo_stamp = timestamp_now(tcb, now_ns)
    # Why: the oldest segment gets a whole RTO again, so that RACK may notice when its repetition is lost too
    is_head = tcb.recovery.phase == recovery.RECOVERY and sent is tcb.flight[0]
    if tcb.deadline_retransmit_ns == NEVER or is_head:
        tcb.deadline_retransmit_ns = now_ns + tcb.rtt.rto_ns
    tcb.counters.retransmits += 1
    if sent.flags & SYN and tcb.state in (State.SYN_SENT, State.SYN_RECEIVED):
        return _syn_segment(tcb, now_ns)
    tcb.report("retransmit", f"{len(sent.payload)} octets at {sent.seq}")
    return _segment(tcb, sent.seq, sent.flags & ~SYN | ACK, sent.payload, now_ns)


def emit_ack(tcb: Tcb, now_ns: int) -> Segment:
    """Send ``<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>``."""
    return _segment(tcb, tcb.snd_nxt, ACK, b"", now_ns)


def emit_probe(tcb: Tcb, now_ns: int) -> Segment:
    """Probe a shut window (§3.8.6.1): with the first octet that is not acknowledged, or as the profile has it."""
    if not tcb.profile.probe_octets:
        return _segment(tcb, (tcb.snd_una - 1) & MASK, ACK, b"", now_ns)
    if tcb.flight:
        sent = tcb.flight[0]
        sent.transmissions += 1
        fin = sent.flags & FIN if len(sent.payload) == 0 else 0
        return _segment(tcb, sent.seq, ACK | fin, sent.payload[:1], now_ns)
    if tcb.unsent_bytes:
        return emit_text(tcb, 1, now_ns)._replace(ip_ecn=0)
    return emit_fin(tcb, now_ns)


def emit_keepalive(tcb: Tcb, now_ns: int) -> Segment:
    """Probe an idle peer one octet below SND.NXT: without data (SHLD-12), or for old peers with one octet (MAY-6)."""
    return _segment(tcb, (tcb.snd_nxt - 1) & MASK, ACK, b"\0" if tcb.keepalive_octet else b"", now_ns)


def _wake_up(tcb: Tcb, now_ns: int) -> None:
    """Start to wait for progress; a long idle window starts small again (RFC 5681 §4.1)."""
    tcb.progress_ns = now_ns
    if tcb.last_text_ns and now_ns - tcb.last_text_ns > tcb.rtt.rto_ns:
        tcb.congestion.after_idle(tcb.initial_cwnd_bytes)


def _syn_segment(tcb: Tcb, now_ns: int) -> Segment:
    is_answer = tcb.state == State.SYN_RECEIVED
    flags = SYN | ACK if is_answer else SYN
    if is_answer:
        flags |= ECE if tcb.ecn else 0
    elif tcb.profile.ecn and tcb.flight[0].transmissions == 1:
        flags |= ECE | CWR
    window = min(tcb.rcv_wnd, 65535) if is_answer else first_window(tcb)
    if is_answer:
        tcb.last_ack_sent = tcb.rcv_nxt
        tcb.acks_now = False
    tcb.counters.segments_out += 1
    return Segment(tcb.iss, tcb.rcv_nxt if is_answer else 0, flags, window, b"", offer(tcb, now_ns))


def _segment(tcb: Tcb, seq: int, flags: int, text: bytes | memoryview, now_ns: int, ect: int = 0) -> Segment:
    """Make a segment that acknowledges everything so far, and forget that an ACK was owed.

    ``ect`` only for new text: pure ACKs, what is sent again and window probes ask for no mark (RFC 3168 §6.1.4 to
    §6.1.6).
    """
    window = advertise(tcb)
    tcb.last_ack_sent = tcb.rcv_nxt
    tcb.acks_now = False
    tcb.unacked_text_bytes = 0
    tcb.deadline_delayed_ack_ns = NEVER
    tcb.last_sent_ns = now_ns
    tcb.counters.segments_out += 1
    options = options_now(tcb, now_ns) if tcb.timestamps_ok else NO_OPTIONS
    if tcb.sack_ok and (tcb.out_of_order or tcb.dsack is not None):
        options = Options(None, None, False, sack_blocks(tcb), options.timestamp)
        tcb.dsack = None
    if tcb.ece_pending:
        flags |= ECE
    urgent = (tcb.snd_up - seq) & MASK
    if 0 < urgent < HALF and tcb.snd_up != tcb.snd_una:
        flags |= URG
    else:
        urgent = 0
    octets = len(text)
    if octets:
        tcb.last_text_ns = now_ns
    gso = tcb.mss_bytes if octets > tcb.mss_bytes else 0
    return Segment(seq, tcb.rcv_nxt, flags, window, text, options, min(urgent, 65535), gso, 0, ect)
