"""The flight: what was sent and is not acknowledged, and the scoreboard of what of it has arrived or is lost.

A list of segments, oldest first, without holes: it covers exactly ``[SND.UNA, SND.NXT)``. Every entry holds its text,
so that sending again needs no look into a buffer. A lost entry waits until :func:`next_lost` hands it out;
:func:`pipe_bytes` is what is still believed to be on the way (RFC 6675 §3). What is believed to be lost, and what
follows from it, is :mod:`tcpscope.machine.recovery`'s business.
"""

from __future__ import annotations

from tcpscope.machine import rack
from tcpscope.machine.sequence import HALF, MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tcpscope.machine.tcb import Tcb


class Sent:
    """One segment in flight: ``[seq, end)`` with its text and its SYN or FIN."""

    __slots__ = ("end", "flags", "lost", "order", "payload", "sacked", "sent_ns", "seq", "transmissions")

    def __init__(self, seq: int, end: int, payload: bytes | memoryview, flags: int, sent_ns: int) -> None:
        self.seq = seq
        self.end = end
        self.payload = payload
        self.flags = flags
        self.sent_ns = sent_ns
        self.transmissions = 1
        self.order = 0  # counts transmissions: which of two left first, when the clock cannot tell
        self.sacked = False
        self.lost = False

    @property
    def size(self) -> int:
        """Sequence numbers it covers."""
        return (self.end - self.seq) & MASK


def pipe_bytes(tcb: Tcb) -> int:
    """Return the octets believed to be on the way (RFC 6675 §4, SetPipe)."""
    recovery = tcb.recovery
    away = recovery.sacked_bytes + recovery.lost_bytes + recovery.dup_bytes
    return max(0, ((tcb.snd_nxt - tcb.snd_una) & MASK) - away)


def next_lost(tcb: Tcb) -> Sent | None:
    """Return the first lost segment that waits to be sent again."""
    if not tcb.recovery.lost_bytes:
        return None
    return next((sent for sent in tcb.flight if sent.lost), None)


def mark_lost(tcb: Tcb, sent: Sent) -> None:
    """Believe that ``sent`` is gone."""
    if not sent.lost and not sent.sacked:
        sent.lost = True
        tcb.recovery.lost_bytes += sent.size


def unmark_lost(tcb: Tcb, sent: Sent) -> None:
    """Note that ``sent`` was sent again, or arrived after all."""
    if sent.lost:
        sent.lost = False
        tcb.recovery.lost_bytes -= sent.size


def split_sent(tcb: Tcb, index: int, at_seq: int) -> None:
    """Cut entry ``index`` of the flight in two at ``at_seq``; FIN stays with the second part."""
    sent = tcb.flight[index]
    first_bytes = (at_seq - sent.seq) & MASK
    rest = Sent(at_seq, sent.end, memoryview(sent.payload)[first_bytes:], sent.flags, sent.sent_ns)
    rest.transmissions, rest.sacked, rest.lost, rest.order = sent.transmissions, sent.sacked, sent.lost, sent.order
    sent.payload = memoryview(sent.payload)[:first_bytes]
    sent.end = at_seq
    sent.flags &= ~0x09  # FIN and PSH belong to the end
    tcb.flight.insert(index + 1, rest)


def forget_acked(tcb: Tcb, ack: int) -> tuple[int, bool]:
    """Drop what ``ack`` covers; return when the first of it was sent and whether Karn's rule forbids the sample."""
    flight, recovery = tcb.flight, tcb.recovery
    count, ambiguous = 0, False
    sent_ns = flight[0].sent_ns
    for sent in flight:
        if (ack - sent.end) & MASK >= HALF:
            break
        count += 1
        ambiguous |= sent.transmissions > 1 or sent.sacked
        if sent.sacked:
            recovery.sacked_bytes -= sent.size
            continue
        if sent.lost:
            recovery.lost_bytes -= sent.size
        rack.note_delivered(tcb, sent)
    del flight[:count]
    if flight and flight[0].seq != ack:
        split_sent(tcb, 0, ack)
        head = flight.pop(0)
        ambiguous |= head.transmissions > 1
        recovery.sacked_bytes -= head.size if head.sacked else 0
        recovery.lost_bytes -= head.size if head.lost else 0
    return sent_ns, ambiguous


def mark_sacked(tcb: Tcb, blocks: tuple[tuple[int, int], ...]) -> int:
    """Enter SACK blocks into the scoreboard; return how many octets are newly known to have arrived."""
    fresh = 0
    for left, right in blocks:
        start, end = (left - tcb.snd_una) & MASK, (right - tcb.snd_una) & MASK
        if not start < end <= tcb.flight_bytes:
            continue  # D-SACK or nonsense: below SND.UNA, beyond SND.NXT or empty
        fresh += _mark_block(tcb, left, right)
    tcb.recovery.sacked_bytes += fresh
    return fresh


def _mark_block(tcb: Tcb, left: int, right: int) -> int:
    fresh, index = 0, 0
    while index < len(tcb.flight):
        sent = tcb.flight[index]
        if (sent.seq - right) & MASK < HALF:
            break
        if (sent.end - left - 1) & MASK < HALF and not sent.sacked:
            if (left - sent.seq - 1) & MASK < HALF:
                split_sent(tcb, index, left)
                index += 1
                sent = tcb.flight[index]
            if (sent.end - right - 1) & MASK < HALF:
                split_sent(tcb, index, right)
            unmark_lost(tcb, sent)
            sent.sacked = True
            rack.note_delivered(tcb, sent)
            fresh += sent.size
        index += 1
    return fresh


def sacked_segments(tcb: Tcb) -> int:
    """Count the segments SACKed as they were sent: pieces of one are one, an offloaded group is many."""
    octets: dict[int, int] = {}
    for sent in tcb.flight:
        if sent.sacked:
            octets[sent.order] = octets.get(sent.order, 0) + sent.size
    return sum(-(-size // tcb.mss_bytes) for size in octets.values())
