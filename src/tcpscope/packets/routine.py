"""The segment that nearly every segment is, taken in without asking all the questions of :mod:`tcpscope.packets.step`.

In order, both ends ESTABLISHED and proved to be, no hole, no FIN, a new ACK or new text, inside the window: exactly
what :func:`~tcpscope.packets.step.observe` would do with it, only sooner; tests say so.
"""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets.layout import (
    ACK,
    ACKED,
    BITS,
    EDGE,
    FIN,
    FIRST_NS,
    HALF_WORDS,
    HALFWAY,
    HAS_ACKED,
    HAS_EDGE,
    HAS_FIN,
    HAS_NXT,
    HAS_OOO,
    HAS_RCV,
    HAS_RTT,
    HAS_SCALE,
    HEADER_BYTES,
    L_ACK,
    L_DATA,
    LAST_NS,
    LETTERS_SHIFT,
    NXT,
    PACKETS,
    PENDING_1,
    RCV,
    RST,
    RTT_MIN_US,
    RTT_SEQ,
    RTT_START_US,
    S_ESTABLISHED,
    SCALE_SHIFT,
    SELF,
    SENT_SYN,
    SHARED,
    STATE,
    SYN,
    TEXT_BYTES,
    WINDOW_MSS,
    M,
)

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence

    Ints = MutableSequence[int]

ROUTINE_NUMBERS = HAS_NXT | HAS_RCV | HAS_ACKED
ROUTINE_PEER = ROUTINE_NUMBERS | HAS_FIN | HAS_OOO
ROUTINE_TEXT = ROUTINE_NUMBERS | 1 << (LETTERS_SHIFT + L_DATA)
ROUTINE_ACK = ROUTINE_NUMBERS | 1 << (LETTERS_SHIFT + L_ACK)
SYN_RST_FIN_ACK = FIN | SYN | RST | ACK


def is_routine(
    f: Ints, q: Ints, end: int, t: int, seq: int, ack: int, flags: int, wnd: int, text: int, head: int
) -> int:
    """Take in a segment of ``end`` if it is one of those, and say whether it was."""
    s = end * HALF_WORDS
    r = HALF_WORDS - s
    bits = f[s + BITS]
    peer_bits = f[r + BITS]
    if flags & SYN_RST_FIN_ACK != ACK or f[s + STATE] != S_ESTABLISHED or f[r + STATE] != S_ESTABLISHED:
        return 0
    if f[s + PENDING_1] or f[r + PENDING_1] or f[SHARED] & SELF or not wnd:
        return 0
    wanted = ROUTINE_TEXT if text else ROUTINE_ACK
    if bits & (HAS_FIN | HAS_OOO) or bits & wanted != wanted or peer_bits & ROUTINE_PEER != ROUTINE_NUMBERS:
        return 0
    if (f[s + NXT] - seq) & M or (f[r + RCV] - seq) & M:
        return 0
    news = (ack - f[s + ACKED]) & M
    if news >= HALFWAY or (f[r + NXT] - ack) & M >= HALFWAY or (f[s + RCV] - ack) & M >= HALFWAY:
        return 0
    if not news and not text:
        return 0  # a duplicate, a copy or a window
    end_seq = (seq + text) & M
    if peer_bits & HAS_EDGE and not 0 < (f[r + EDGE] - end_seq) & M < HALFWAY:
        return 0
    if bits & SENT_SYN and peer_bits & SENT_SYN:
        scale = bits >> SCALE_SHIFT & 15 if bits & HAS_SCALE and peer_bits & HAS_SCALE else 0
        edge = (ack + (wnd << scale)) & M
        if not bits & HAS_EDGE or (edge - f[s + EDGE]) & M < HALFWAY:
            f[s + EDGE] = edge
            bits |= HAS_EDGE
    if text:
        if not bits & HAS_RTT:
            f[s + RTT_SEQ] = end_seq
            f[s + RTT_START_US] = (t - q[FIRST_NS]) // 1000 & 0x7FFFFFFF
            bits |= HAS_RTT
        f[s + NXT] = end_seq
        f[r + RCV] = end_seq
        q[TEXT_BYTES + end] += text
    if peer_bits & HAS_RTT and (ack - f[r + RTT_SEQ]) & M < HALFWAY:
        f[r + BITS] = peer_bits & ~HAS_RTT
        rtt_us = ((t - q[FIRST_NS]) // 1000 - f[r + RTT_START_US]) & 0x7FFFFFFF
        if f[r + RTT_MIN_US] == 0 or rtt_us < f[r + RTT_MIN_US]:
            f[r + RTT_MIN_US] = rtt_us if rtt_us else 1
    f[s + BITS] = bits
    f[s + ACKED] = ack
    f[s + PACKETS] += 1
    f[s + HEADER_BYTES] += head
    f[s + WINDOW_MSS] = f[s + WINDOW_MSS] & ~0xFFFF | wnd
    q[LAST_NS + end] = t
    return 1


PARTS: tuple[Callable[..., int | None], ...] = (is_routine,)
