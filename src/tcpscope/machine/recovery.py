"""Losses: how they are noticed, and the phases of recovery they begin and end.

The segments themselves are :mod:`tcpscope.machine.flight`'s; how much may be sent is
:mod:`tcpscope.machine.congestion`'s business.

RFC 5681 (fast retransmit), 6582 (NewReno without SACK), 6675 (SACK), 3042 (limited transmit falls out of the pipe),
8985 (RACK), 2883 (D-SACK), 3522 and 4015 (what was spurious is taken back).
"""

from __future__ import annotations

from tcpscope.machine import rack
from tcpscope.machine.flight import Sent, mark_lost, next_lost, pipe_bytes, sacked_segments, unmark_lost
from tcpscope.machine.sequence import HALF, MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tcpscope.machine.tcb import Tcb

OPEN, RECOVERY, LOSS = 0, 1, 2
DUP_THRESHOLD = 3
NEVER = 1 << 63


class Recovery:
    """Phase and counts of one connection.

    ``point`` is SND.NXT when a loss was noticed, ``cwr_end`` the same when an ECN echo shrank the window; -1 when
    something later has been acknowledged.
    """

    __slots__ = (
        "cwr_end", "dup_bytes", "is_repair", "is_rescued", "lost_bytes", "must_send", "orders", "phase", "point",
        "sacked_bytes", "undo", "undo_stamp",
    )  # fmt: skip

    def __init__(self) -> None:
        self.phase = OPEN
        self.point = self.cwr_end = -1
        self.sacked_bytes = 0
        self.lost_bytes = 0  # lost and not yet sent again
        self.is_rescued = False  # this recovery has sent its last segment again on suspicion (RFC 6675 §4)
        self.is_repair = False  # the phase is LOSS though no congestion took anything
        self.dup_bytes = 0  # without SACK: what duplicate ACKs say has left the network
        self.must_send = False  # the first segment of a recovery goes whatever the pipe says
        self.undo: tuple[float, ...] | None = None  # the window of before, while the loss is not proven
        self.orders = 0
        self.undo_stamp = -1  # TSval of the first retransmission of this recovery

    def next_order(self) -> int:
        """Count one more transmission."""
        self.orders += 1
        return self.orders


def on_ack(tcb: Tcb, acked_bytes: int, fresh_bytes: int, is_duplicate: bool) -> None:
    """React to one acknowledgement: detect losses, enter or leave recovery, let the window grow."""
    recovery = tcb.recovery
    if recovery.phase != OPEN and acked_bytes and (tcb.snd_una - recovery.point) & MASK < HALF:
        _leave(tcb)
    known_bytes = recovery.lost_bytes
    if tcb.sack_ok and tcb.profile.rack:
        if recovery.sacked_bytes or recovery.phase != OPEN or may_be_out_of_order(tcb):
            detect_losses(tcb, tcb.now_ns)
        else:
            tcb.deadline_rack_ns = NEVER
    elif tcb.sack_ok:
        if recovery.sacked_bytes and fresh_bytes | acked_bytes:
            _detect_by_sack(tcb)
    elif is_duplicate or acked_bytes:
        _detect_by_duplicates(tcb, acked_bytes)
    if recovery.lost_bytes:
        react_to_losses(tcb, known_bytes)


def react_to_losses(tcb: Tcb, known_bytes: int) -> None:
    """Begin recovery for what has just been found lost, beyond the ``known_bytes`` that are being repaired already."""
    recovery = tcb.recovery
    if recovery.phase == OPEN and is_probe_lost_alone(tcb):
        give_up_probe(tcb, next_lost(tcb))
        repair(tcb)
    elif recovery.phase == OPEN or (recovery.is_repair and recovery.lost_bytes > known_bytes):
        enter(tcb)


def is_probe_lost_alone(tcb: Tcb) -> bool:
    """Whether nothing but a probe of the path's size was lost: no sign of congestion (RFC 4821 §7.5)."""
    search = tcb.search
    if search is None or not search.probe_bytes:
        return False
    span = (search.probe_end - search.probe_seq) & MASK
    return all((sent.seq - search.probe_seq) & MASK < span for sent in tcb.flight if sent.lost)


def give_up_probe(tcb: Tcb, sent: Sent | None) -> None:
    """Count a probe of the path's size as lost when part of it is to be sent again, and let this window pass."""
    search = tcb.search
    if search is None or not search.probe_bytes or sent is None:
        return
    if (sent.seq - search.probe_seq) & MASK < (search.probe_end - search.probe_seq) & MASK:
        search.fail(tcb.now_ns + tcb.profile.mtu_raise_ns)
        search.rest_end = tcb.snd_nxt


def on_timeout(tcb: Tcb) -> None:
    """Believe everything lost that was not SACKed (RFC 6298 §5.4, RFC 5681 §3.1, RFC 2018 §8).

    With RACK only what was sent longer ago than a round trip (RFC 8985 §6.3): the timer knows nothing of the rest.
    """
    recovery = tcb.recovery
    is_repeated = recovery.phase == LOSS and tcb.flight[0].transmissions > 1 and tcb.rtt.backoff > 0
    if not is_repeated:
        recovery.undo, recovery.undo_stamp = tcb.congestion.remember(), -1
    tcb.congestion.on_rto(tcb.flight_bytes, tcb.now_ns, is_repeated)
    tcb.sends_cwr = tcb.ecn
    tcb.rack.probe_end = -1
    recovery.phase, recovery.point, recovery.is_repair = LOSS, tcb.snd_nxt, False
    recovery.dup_bytes = 0
    tcb.dup_acks = 0
    tcb.deadline_rack_ns = NEVER
    # Why: the receiver may have thrown away what it SACKed; an expired head says that it did.
    if tcb.flight[0].sacked:
        for sent in tcb.flight:
            sent.sacked = False
        recovery.sacked_bytes = 0
    head, by_time = tcb.flight[0], tcb.sack_ok and tcb.profile.rack
    newest_ns = tcb.now_ns - tcb.rack.rtt_ns - reo_wnd_ns(tcb)
    for sent in tcb.flight:
        if sent is head or not by_time or sent.sent_ns <= newest_ns:
            mark_lost(tcb, sent)
    recovery.must_send = True


def enter(tcb: Tcb) -> None:
    """Begin fast recovery: the window shrinks once, the first lost segment goes at once.

    What limited transmit sent beyond the window is no part of FlightSize (RFC 5681 §3.2, step 2); an ECN echo that
    has shrunk the window for this flight is enough (RFC 3168 §6.1.2).
    """
    recovery = tcb.recovery
    recovery.phase, recovery.point, recovery.must_send = RECOVERY, tcb.snd_nxt, True
    recovery.undo, recovery.undo_stamp, recovery.is_repair, recovery.is_rescued = None, -1, False, False
    tcb.rack.probe_end = -1  # RFC 8985 §7.1
    if recovery.cwr_end >= 0:
        return
    recovery.undo = tcb.congestion.remember()
    tcb.congestion.on_loss(min(tcb.flight_bytes, tcb.congestion.cwnd_bytes), tcb.now_ns)
    tcb.sends_cwr = tcb.ecn


def repair(tcb: Tcb) -> None:
    """Send again what is marked lost though no congestion took it: too long for the path, or cut off by the window."""
    recovery = tcb.recovery
    recovery.must_send = True
    tcb.rack.probe_end = -1
    if recovery.phase == OPEN:
        recovery.phase, recovery.point, recovery.undo, recovery.is_repair = LOSS, tcb.snd_nxt, None, True


def forget_points(tcb: Tcb, ack: int) -> None:
    """Forget what only concerned text up to ``ack``, lest an old number should look new after 2 GiB."""
    recovery = tcb.recovery
    if recovery.point >= 0 and not recovery.phase and 0 < (ack - recovery.point) & MASK < HALF:
        recovery.point = -1
    if recovery.cwr_end >= 0 and 0 < (ack - recovery.cwr_end) & MASK < HALF:
        recovery.cwr_end = -1
    if tcb.rack.dsack_round >= 0 and (ack - tcb.rack.dsack_round) & MASK < HALF:
        tcb.rack.dsack_round = -1


def _leave(tcb: Tcb) -> None:
    recovery = tcb.recovery
    if recovery.phase == RECOVERY:
        tcb.congestion.after_recovery(tcb.now_ns)
    rack.leave_recovery(tcb)
    recovery.phase, recovery.dup_bytes, recovery.must_send, recovery.undo = OPEN, 0, False, None
    recovery.is_repair = False


def _detect_by_sack(tcb: Tcb) -> None:
    """RFC 6675 §4, IsLost(): enough was SACKed above it. What was sent again is left to the timer."""
    if tcb.dup_acks >= DUP_THRESHOLD and tcb.recovery.phase == OPEN:
        mark_lost(tcb, tcb.flight[0])  # §5 (1): short segments make three duplicates without two full ones
    above, edges = 0, 0
    limit = (DUP_THRESHOLD - 1) * tcb.mss_bytes
    last_sacked = False
    for sent in reversed(tcb.flight):
        if sent.sacked:
            above += sent.size
            edges += not last_sacked
        elif sent.transmissions == 1 and (above > limit or edges >= DUP_THRESHOLD):
            mark_lost(tcb, sent)
        last_sacked = sent.sacked
    if tcb.recovery.phase == RECOVERY and not tcb.recovery.lost_bytes:
        _suspect_one_more(tcb)


def _suspect_one_more(tcb: Tcb) -> None:
    """RFC 6675 §4, NextSeg() rules 3 and 4: with nothing else to send, use the window for what may be lost.

    First what lies below something SACKed and was sent once; else, once per recovery, the end of the flight.
    """
    flight_bytes = tcb.flight_bytes
    if tcb.congestion.cwnd_bytes - pipe_bytes(tcb) < tcb.mss_bytes:
        return
    if tcb.unsent_bytes and tcb.snd_wnd > flight_bytes:
        return  # rule 2: new text
    last_sacked = max((index for index, sent in enumerate(tcb.flight) if sent.sacked), default=0)
    for sent in tcb.flight[:last_sacked]:
        if not sent.sacked and sent.transmissions == 1:
            mark_lost(tcb, sent)
            return
    tail = next((sent for sent in reversed(tcb.flight) if not sent.sacked), None)
    if tail is not None and tail.transmissions == 1 and not tcb.recovery.is_rescued:
        tcb.recovery.is_rescued = True
        mark_lost(tcb, tail)


def _detect_by_duplicates(tcb: Tcb, acked_bytes: int) -> None:
    """RFC 5681 §3.2 and RFC 6582: three duplicates, then one hole per partial acknowledgement."""
    recovery = tcb.recovery
    if acked_bytes:
        if recovery.phase == RECOVERY and tcb.flight:
            back_bytes = tcb.mss_bytes if acked_bytes >= tcb.mss_bytes else 0
            recovery.dup_bytes = max(0, recovery.dup_bytes - acked_bytes + back_bytes)
            mark_lost(tcb, tcb.flight[0])
            recovery.must_send = True
        else:
            recovery.dup_bytes = 0
        return
    if recovery.phase == LOSS:
        return
    recovery.dup_bytes = min(recovery.dup_bytes + tcb.mss_bytes, tcb.flight_bytes)
    # RFC 6582 §3.2, step 2: duplicates for what was sent before the last recovery ended start no new one.
    if tcb.dup_acks == DUP_THRESHOLD and recovery.phase == OPEN and recovery.point < 0:
        mark_lost(tcb, tcb.flight[0])


def reo_wnd_ns(tcb: Tcb) -> int:
    """Return how much later than expected a segment may arrive before it counts as lost (RFC 8985 §6.2, step 4)."""
    recovers = tcb.recovery.phase != OPEN and not tcb.recovery.is_repair
    if not tcb.rack.reordering_seen and (recovers or sacked_segments(tcb) >= DUP_THRESHOLD):
        return 0
    return min(tcb.rack.reo_wnd_mult * tcb.rtt.min_rtt_ns // 4, tcb.rtt.srtt_ns)


def may_be_out_of_order(tcb: Tcb) -> bool:
    """Whether something on the way may have been sent before what has arrived: else nothing can be lost yet."""
    flight = tcb.flight
    return bool(flight) and (flight[0].transmissions > 1 or rack.is_sent_before_newest(tcb, flight[0]))


def detect_losses(tcb: Tcb, now_ns: int) -> None:
    """Mark what is lost by now, and arm the timer for what may be soon (RFC 8985 §6.2, step 5)."""
    patience_ns = tcb.rack.rtt_ns + reo_wnd_ns(tcb)
    wait_ns = 0
    for sent in tcb.flight:
        if sent.sacked or sent.lost or not rack.is_sent_before_newest(tcb, sent):
            continue
        remaining_ns = sent.sent_ns + patience_ns - now_ns
        if remaining_ns <= 0:
            mark_lost(tcb, sent)
        else:
            wait_ns = max(wait_ns, remaining_ns)
    tcb.deadline_rack_ns = now_ns + wait_ns if wait_ns else NEVER


def undo(tcb: Tcb) -> None:
    """Take a recovery back: what was sent again had not been lost, the rest is on the way (RFC 4015)."""
    state = tcb.recovery
    if state.undo is not None:
        tcb.congestion.on_undo(state.undo)
    for sent in tcb.flight:
        unmark_lost(tcb, sent)
    if state.phase == RECOVERY:
        tcb.rack.reordering_seen = True
    tcb.rtt.backoff = 0
    tcb.counters.undone_recoveries += 1
    state.phase, state.undo, state.undo_stamp, state.must_send, state.dup_bytes = OPEN, None, -1, False, 0
    tcb.report("undo", "the retransmission was spurious (RFC 3522)")
