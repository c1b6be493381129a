"""RACK's memory of what was delivered, and the tail loss probe (RFC 8985).

A segment is lost when one that was *sent* later (by count: clocks are too coarse) has arrived, and it had a little
longer than a round trip: so a lost retransmission is noticed too. The last segments of a flight are probed for (TLP)
instead of waiting for the RTO. Both need SACK. What follows from a loss is :mod:`tcpscope.machine.recovery`'s business.
"""

from __future__ import annotations

from tcpscope.machine.sequence import HALF, MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tcpscope.machine.recovery import Sent
    from tcpscope.machine.tcb import Tcb

NEVER = 1 << 63
#: RFC 8985 §7.2: how long a receiver may sit on the only segment in flight.
MAX_ACK_DELAY_NS = 200_000_000


class Rack:
    """What RACK remembers of one connection (RFC 8985 §5.2, §7.1). ``probe_end`` is -1 without a probe outstanding."""

    __slots__ = ("fack", "order", "probe_end", "probe_repeats", "reo_wnd_mult", "reordering_seen", "rtt_ns", "settled")

    def __init__(self) -> None:
        self.order = 0  # which transmission the newest of the delivered segments was
        self.rtt_ns = 0
        self.fack: int | None = None  # highest sequence number known to have arrived
        self.settled: int | None = None  # the same before the acknowledgement that is being taken
        self.reordering_seen = False
        self.reo_wnd_mult = 1
        self.probe_end = -1
        self.probe_repeats = False  # the probe was old text, so that a loss may hide behind it


def note_delivered(tcb: Tcb, sent: Sent) -> None:
    """Learn from a segment that arrived (RFC 8985 §6.2, steps 1 to 3)."""
    rack = tcb.rack
    rtt_ns = tcb.now_ns - sent.sent_ns
    if sent.transmissions > 1 and rtt_ns < tcb.rtt.min_rtt_ns:
        return  # the first transmission arrived, not this one
    if rack.fack is None or (sent.end - rack.fack) & MASK < HALF:
        rack.fack = sent.end
    if sent.transmissions == 1 and rack.settled is not None and (sent.end - rack.settled) & MASK >= HALF:
        rack.reordering_seen = True
    rack.rtt_ns = rtt_ns
    rack.order = max(rack.order, sent.order)


def arm_probe(tcb: Tcb, now_ns: int) -> None:
    """Run the probe timer while all is well and something is on the way (RFC 8985 §7.2)."""
    if not tcb.sack_ok or not tcb.flight or tcb.recovery.phase or tcb.recovery.sacked_bytes:
        tcb.deadline_probe_ns = NEVER
        return
    if tcb.rack.probe_end >= 0 or not tcb.rtt.srtt_ns or not tcb.snd_wnd:
        return
    wait_ns = 2 * tcb.rtt.srtt_ns
    if len(tcb.flight) == 1:
        wait_ns += MAX_ACK_DELAY_NS
    tcb.deadline_probe_ns = min(now_ns + wait_ns, tcb.deadline_retransmit_ns)


def note_probe(tcb: Tcb, *, repeats: bool) -> None:
    """Remember that a probe is out."""
    tcb.rack.probe_end, tcb.rack.probe_repeats = tcb.snd_nxt, repeats
    tcb.deadline_probe_ns = NEVER


def take_probe_answer(tcb: Tcb, ack: int, has_dsack: bool, now_ns: int) -> None:
    """Learn from the acknowledgement of a probe (RFC 8985 §7.4): repaired silently, a loss still costs window."""
    rack = tcb.rack
    if rack.probe_end < 0 or (ack - rack.probe_end) & MASK >= HALF:
        return
    if rack.probe_repeats and not has_dsack:
        if ack == rack.probe_end:
            return  # a D-SACK may still come
        tcb.congestion.on_loss(tcb.flight_bytes, now_ns)
        tcb.congestion.after_recovery(now_ns)
    rack.probe_end = -1
