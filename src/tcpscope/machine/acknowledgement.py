"""What an acknowledgement tells the sending half (RFC 9293 §3.10.7.4 fifth): SND.UNA, the window, samples, losses."""

from __future__ import annotations

from tcpscope.machine import path_mtu, rack, recovery
from tcpscope.machine.flight import forget_acked, mark_lost, mark_sacked
from tcpscope.machine.options import timestamp_now
from tcpscope.machine.sequence import HALF, MASK
from tcpscope.machine.tcb import NEVER, Tcb
from tcpscope.model.segment import ECE, FIN, SYN, Segment


def take_ack(tcb: Tcb, segment: Segment, now_ns: int) -> None:
    """Bring SND.UNA, the peer's window, the RTT and the scoreboard up to date. The ACK was found acceptable."""
    flight_bytes = tcb.flight_bytes
    acked_bytes = (segment.ack - tcb.snd_una) & MASK
    if acked_bytes > flight_bytes:
        acked_bytes = 0  # an old duplicate
    fresh_bytes = 0
    dsack = None
    if acked_bytes or segment.options.sack:
        rack.begin_acknowledgement(tcb, segment)
    if tcb.sack_ok and segment.options.sack:
        dsack = note_dsack(tcb, segment)
        fresh_bytes = mark_sacked(tcb, segment.options.sack)
    is_repeat = not acked_bytes and is_repeated_ack(tcb, segment)
    is_duplicate = not acked_bytes and flight_bytes > 0 and is_duplicate_ack(tcb, segment, fresh_bytes)
    tcb.dup_acks = tcb.dup_acks + 1 if is_duplicate else (0 if acked_bytes else tcb.dup_acks)
    if acked_bytes:
        advance(tcb, segment, acked_bytes, flight_bytes, now_ns)
    update_window(tcb, segment, now_ns)
    if tcb.ecn and segment.flags & (ECE | SYN) == ECE:  # on SYN|ACK it grants ECN and tells of nothing
        _slow_down(tcb, now_ns)
    rack.adapt_reordering_window(tcb, dsack)
    rack.take_probe_answer(tcb, segment.ack, dsack, is_repeat and not segment.options.sack)
    if tcb.flight or acked_bytes:
        recovery.on_ack(tcb, acked_bytes, fresh_bytes, is_duplicate)


def is_duplicate_ack(tcb: Tcb, segment: Segment, fresh_bytes: int) -> bool:
    """Whether it counts towards fast retransmit: by its SACK blocks (RFC 6675 §2), else by RFC 5681 §2."""
    return fresh_bytes > 0 if tcb.sack_ok else is_repeated_ack(tcb, segment)


def is_repeated_ack(tcb: Tcb, segment: Segment) -> bool:
    """Whether there is nothing new in it: no text, no SYN or FIN, the same number and the same window."""
    return (
        segment.ack == tcb.snd_una
        and not len(segment.payload)
        and not segment.flags & (SYN | FIN)
        and segment.wnd << tcb.snd_wscale == tcb.snd_wnd
    )


def note_dsack(tcb: Tcb, segment: Segment) -> tuple[int, int] | None:
    """Notice, count and return a D-SACK: a first block below the ACK, or inside the second block (RFC 2883 §4)."""
    blocks = segment.options.sack
    left, right = blocks[0]
    below = (segment.ack - right) & MASK < HALF
    inside = len(blocks) > 1 and (left - blocks[1][0]) & MASK < HALF and (blocks[1][1] - right) & MASK < HALF
    if not below and not inside:
        return None
    tcb.counters.dsacks_in += 1
    return left, right


def advance(tcb: Tcb, segment: Segment, acked_bytes: int, flight_bytes: int, now_ns: int) -> None:
    """Move SND.UNA: forget what is acknowledged, take a sample, restart the timer, let the window grow."""
    sent_ns, ambiguous = forget_acked(tcb, segment.ack)
    tcb.snd_una = segment.ack
    rtt_ns = 0 if ambiguous else max(1, now_ns - sent_ns)
    stamp = segment.options.timestamp
    if ambiguous and tcb.timestamps_ok and stamp is not None and stamp[1]:
        # RFC 7323 §4: the echo tells which transmission was answered, so that Karn's rule does not bind.
        rtt_ns = max(1, (timestamp_now(tcb, now_ns) - stamp[1]) & MASK) * 1_000_000
    if 0 < rtt_ns <= 2 * tcb.profile.max_rto_ns:
        tcb.rtt.sample(rtt_ns)
        tcb.rtt.backoff = 0
    marks = tcb.recovery
    if marks.undo_stamp >= 0 and marks.undo is not None:
        _judge_retransmission(tcb, stamp[1] if stamp else 0, rtt_ns)
    if marks.point >= 0 or marks.cwr_end >= 0 or tcb.rack.dsack_round >= 0:
        recovery.forget_points(tcb, segment.ack)
    if tcb.search is not None:
        path_mtu.take_ack(tcb, segment.ack)
    tcb.progress_ns = now_ns
    tcb.r1_reported = False
    tcb.deadline_retransmit_ns = now_ns + tcb.rtt.rto_ns if tcb.flight else NEVER  # RFC 6298 §5.2, §5.3
    if tcb.profile.rack:
        rack.arm_probe(tcb, now_ns)
    grow(tcb, acked_bytes, flight_bytes, now_ns)


def _judge_retransmission(tcb: Tcb, echo: int, rtt_ns: int) -> None:
    """Take the recovery back when the first ACK after it answers something older (RFC 3522 §3.2); else it stands."""
    state = tcb.recovery
    if not echo or (echo - state.undo_stamp) & MASK < HALF:
        state.undo = None
        return
    if state.phase == recovery.LOSS:
        tcb.rtt.adapt_to_late(rtt_ns)  # RFC 4015 §3.2, step 8
    recovery.undo(tcb)


def grow(tcb: Tcb, acked_bytes: int, flight_bytes: int, now_ns: int) -> None:
    """Let the congestion window grow when it was what held the sender back (RFC 7661 §4.3), outside recovery.

    After a timeout by one segment per ACK (RFC 3465 §2.3): it may cover what had arrived long before.
    """
    congestion, phase = tcb.congestion, tcb.recovery.phase
    if phase == recovery.RECOVERY:
        return
    if 2 * flight_bytes < congestion.cwnd_bytes:
        congestion.on_spare_window(now_ns)
        return
    if phase == recovery.LOSS:
        acked_bytes = min(acked_bytes, tcb.mss_bytes)
    congestion.on_ack(acked_bytes, tcb.rtt.srtt_ns, now_ns)


def update_window(tcb: Tcb, segment: Segment, now_ns: int) -> None:
    """Take the offered window from the newest segment only (SND.WL1, SND.WL2)."""
    newer = (segment.seq - tcb.snd_wl1 - 1) & MASK < HALF
    same = segment.seq == tcb.snd_wl1 and (segment.ack - tcb.snd_wl2) & MASK < HALF
    if not newer and not same:
        return
    was_zero = not tcb.snd_wnd
    tcb.snd_wnd = segment.wnd << tcb.snd_wscale
    tcb.snd_wl1, tcb.snd_wl2 = segment.seq, segment.ack
    tcb.max_snd_wnd = max(tcb.max_snd_wnd, tcb.snd_wnd)
    if not tcb.snd_wnd:
        tcb.progress_ns = now_ns  # MUST-37: the peer answers, so the connection stays up
    elif was_zero:
        _window_opened(tcb)


def _window_opened(tcb: Tcb) -> None:
    """Leave the persist state: what was probed with or cut off by the shut window goes again at once."""
    tcb.deadline_persist_ns, tcb.persist_backoff = NEVER, 0
    for sent in tcb.flight:
        mark_lost(tcb, sent)
    if tcb.flight:
        recovery.repair(tcb)


def _slow_down(tcb: Tcb, now_ns: int) -> None:
    """RFC 3168 §6.1.2: an ECN echo is a loss without a loss, at most once per window."""
    if tcb.recovery.phase == recovery.OPEN and tcb.recovery.cwr_end < 0:
        tcb.congestion.on_loss(min(tcb.flight_bytes, tcb.congestion.cwnd_bytes), now_ns)
        tcb.recovery.cwr_end = tcb.snd_nxt
        tcb.sends_cwr = True
