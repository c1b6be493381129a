"""RACK's memory of what was delivered, and the tail loss probe (RFC 8985).

A segment is lost when one that was *sent* later (by count: clocks are too coarse) has arrived, and it had a little
longer than a round trip: so a lost retransmission is noticed too. The last segments of a flight are probed for (TLP)
instead of waiting for the RTO. Both need SACK. What follows from a loss is :mod:`tcpscope.machine.recovery`'s business.
"""

from __future__ import annotations

from tcpscope.machine.sequence import HALF, MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tcpscope.machine.flight import Sent
    from tcpscope.machine.tcb import Tcb
    from tcpscope.model.segment import Segment

NEVER = 1 << 63
#: RFC 8985 §7.2: how long a receiver may sit on the only segment in flight.
MAX_ACK_DELAY_NS = 200_000_000
#: RFC 8985 §7.2: the time to a probe before the first sample.
UNSAMPLED_PROBE_NS = 1_000_000_000
RECOVERIES_OF_PATIENCE = 16


class Rack:
    """What RACK remembers of one connection (RFC 8985 §5.2, §7.1). ``probe_end`` is -1 without a probe outstanding."""

    __slots__ = (
        "dsack_round", "echoed_ms", "end", "fack", "order", "probe_end", "probe_flight_bytes", "probe_repeats",
        "reo_wnd_mult", "reo_wnd_persist", "reordering_seen", "rtt_ns", "settled",
    )  # fmt: skip

    def __init__(self) -> None:
        self.order = 0  # which transmission the newest of the delivered segments was, and where it ended:
        self.end = 0  # the parts of one offloaded group left together
        self.rtt_ns = 0
        self.fack: int | None = None  # highest sequence number known to have arrived
        self.settled: int | None = None  # the same before the acknowledgement that is being taken
        self.echoed_ms = -1  # when what that acknowledgement answers was sent, by its timestamp
        self.reordering_seen = False
        self.reo_wnd_mult = 1
        self.reo_wnd_persist = 0  # recoveries without a D-SACK until the window is small again
        self.dsack_round = -1  # SND.NXT at the last D-SACK: one step per round trip
        self.probe_end = -1
        self.probe_repeats = False  # the probe was old text, so that a loss may hide behind it
        self.probe_flight_bytes = 0


def begin_acknowledgement(tcb: Tcb, segment: Segment) -> None:
    """Remember what was known before ``segment``, and which transmission it says it answers."""
    rack = tcb.rack
    rack.settled = rack.fack
    stamp = segment.options.timestamp
    rack.echoed_ms = (stamp[1] - tcb.ts_offset_ms) & MASK if tcb.timestamps_ok and stamp and stamp[1] else -1


def note_delivered(tcb: Tcb, sent: Sent) -> None:
    """Learn from a segment that arrived (RFC 8985 §6.2, steps 1 to 3)."""
    rack = tcb.rack
    if rack.fack is None or (sent.end - rack.fack) & MASK < HALF:
        rack.fack = sent.end
    if sent.transmissions == 1:
        if rack.settled is not None and (sent.end - rack.settled) & MASK >= HALF:
            rack.reordering_seen = True
    elif is_answer_to_earlier(tcb, sent):
        return
    rack.rtt_ns = tcb.now_ns - sent.sent_ns
    if sent.order > rack.order or (sent.order == rack.order and (sent.end - rack.end) & MASK < HALF):
        rack.order, rack.end = sent.order, sent.end


def is_answer_to_earlier(tcb: Tcb, sent: Sent) -> bool:
    """Whether an earlier transmission arrived and not the last one (RFC 8985 §6.2, step 2)."""
    if tcb.now_ns - sent.sent_ns < tcb.rtt.min_rtt_ns:
        return True
    echoed_ms = tcb.rack.echoed_ms
    return echoed_ms >= 0 and (echoed_ms - sent.sent_ns // 1_000_000) & MASK >= HALF


def is_sent_before_newest(tcb: Tcb, sent: Sent) -> bool:
    """Whether a segment sent after ``sent`` has arrived (RACK_sent_after of RFC 8985 §6.2)."""
    rack = tcb.rack
    return sent.order < rack.order or (sent.order == rack.order and (sent.end - rack.end) & MASK >= HALF)


def adapt_reordering_window(tcb: Tcb, dsack: tuple[int, int] | None) -> None:
    """Be more patient for each round trip in which something was sent again in vain (RFC 8985 §6.2, step 4)."""
    rack = tcb.rack
    if dsack is None or rack.dsack_round >= 0:
        return
    # Linux: neither what the network copied nor the answer to a tail probe tells of reordering.
    if tcb.counters.dsacks_in > tcb.counters.retransmits or (rack.probe_repeats and dsack[1] == rack.probe_end):
        return
    rack.dsack_round = tcb.snd_nxt
    rack.reo_wnd_mult += 1
    rack.reo_wnd_persist = RECOVERIES_OF_PATIENCE


def leave_recovery(tcb: Tcb) -> None:
    """Become impatient again after some recoveries in which nothing was sent in vain."""
    rack = tcb.rack
    rack.reo_wnd_persist -= 1
    if rack.reo_wnd_persist <= 0:
        rack.reo_wnd_mult = 1


def arm_probe(tcb: Tcb, now_ns: int) -> None:
    """Run the probe timer while all is well and something is on the way (RFC 8985 §7.2)."""
    if not tcb.sack_ok or not tcb.flight or tcb.recovery.phase or tcb.recovery.sacked_bytes:
        tcb.deadline_probe_ns = NEVER
        return
    if tcb.rack.probe_end >= 0 or not tcb.snd_wnd:
        return
    wait_ns = 2 * tcb.rtt.srtt_ns or UNSAMPLED_PROBE_NS
    if tcb.rtt.srtt_ns and tcb.flight_bytes <= tcb.mss_bytes:
        wait_ns += MAX_ACK_DELAY_NS
    tcb.deadline_probe_ns = min(now_ns + wait_ns, tcb.deadline_retransmit_ns)


def note_probe(tcb: Tcb, *, repeats: bool) -> None:
    """Remember that a probe is out."""
    rack = tcb.rack
    rack.probe_end, rack.probe_repeats, rack.probe_flight_bytes = tcb.snd_nxt, repeats, tcb.flight_bytes
    tcb.deadline_probe_ns = NEVER


def take_probe_answer(tcb: Tcb, ack: int, dsack: tuple[int, int] | None, is_repeat: bool) -> None:
    """Learn from the acknowledgement of a probe (RFC 8985 §7.4): repaired silently, a loss still costs window.

    ``is_repeat``: the acknowledgement says nothing that the last one did not say, SACK and window included.
    """
    rack = tcb.rack
    if rack.probe_end < 0 or (ack - rack.probe_end) & MASK >= HALF:
        return
    if rack.probe_repeats and not (dsack and dsack[1] == rack.probe_end):
        if ack == rack.probe_end:
            if not is_repeat:
                return  # a D-SACK may still come, or the same ACK again from a peer that knows none
        else:
            tcb.congestion.on_loss(min(rack.probe_flight_bytes, tcb.congestion.cwnd_bytes), tcb.now_ns)
            tcb.congestion.after_recovery(tcb.now_ns)
            tcb.sends_cwr = tcb.ecn
    rack.probe_end = -1
