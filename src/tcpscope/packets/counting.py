"""What each segment counts as: text, repeated, out of order, probe, duplicate ACK; its round trip, Zeek's letters."""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets.layout import (
    ACK,
    ACKED,
    ANY_WINDOW,
    BITS,
    DUPLICATE_ACKS,
    EDGE,
    EXTRA_HALF,
    FILLED_HOLES,
    FIN,
    FIN_SEQ,
    FIRST_NS,
    FRESH,
    HALF_WORDS,
    HALFWAY,
    HAS_ACKED,
    HAS_EDGE,
    HAS_FIN,
    HAS_ISN,
    HAS_NXT,
    HAS_OOO,
    HAS_RCV,
    HAS_RTT,
    HEADER_BYTES,
    HISTORY,
    ISN,
    KEEPALIVES,
    L_ACK,
    L_DATA,
    L_FIN,
    L_GAP,
    L_RESET,
    L_RETRANSMISSION,
    L_SYN,
    L_SYN_ACK,
    L_ZERO_WINDOW,
    LAST_NS,
    LETTERS_SHIFT,
    MISSED_BYTES,
    MORE_HISTORY_HIGH,
    MORE_HISTORY_LOW,
    NXT,
    OOO_HIGH,
    OOO_LOW,
    OUT_OF_ORDER,
    PACKETS,
    RCV,
    RETRANSMISSIONS,
    RST,
    RTT_MIN_US,
    RTT_SEQ,
    RTT_START_US,
    S_SYN_SENT,
    SEG_ACK,
    SEG_FLAGS,
    SEG_HEADER_BYTES,
    SEG_MSS,
    SEG_NS,
    SEG_SEQ,
    SEG_TEXT,
    SEG_WND,
    SELF,
    SENT_SYN,
    SHARED,
    STATE,
    SYN,
    TEXT_BYTES,
    WINDOW_FULL,
    WINDOW_MSS,
    ZERO_WINDOWS,
    M,
)
from tcpscope.packets.moves import apart, is_synchronized

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence

    Ints = MutableSequence[int]

#: A repeated segment this soon after the last one is taken for one that was overtaken.
LEAST_PATIENCE_NS = 3_000_000


def needs_extra(f: Ints, q: Ints, g: Ints, end: int) -> int:
    """Whether this segment is, or may be, something that only troubled connections have."""
    flags, seq, ack, wnd, text = g[SEG_FLAGS], g[SEG_SEQ], g[SEG_ACK], g[SEG_WND], g[SEG_TEXT]
    if flags & RST or q[HISTORY] >> 55:
        return 1
    s = 0 if f[SHARED] & SELF else end * HALF_WORDS
    r = 0 if f[SHARED] & SELF else HALF_WORDS - s
    bits = f[s + BITS]
    if flags & SYN:
        if flags & ACK:
            return 1 if wnd == 0 or bits & SENT_SYN else 0
        return 0 if f[SHARED] & FRESH else 1
    if wnd == 0 or (bits & HAS_NXT and (f[s + NXT] - seq) & M != 0):
        return 1
    if text == 0:
        is_repeated = bits & HAS_ACKED and (ack - f[s + ACKED]) & M == 0 and f[s + WINDOW_MSS] & 0xFFFF == wnd
        if is_repeated and not flags & FIN:
            return 1
    elif may_leave_hole(f, seq, s, r) or (f[r + BITS] & HAS_EDGE and (f[r + EDGE] - seq - text) & M == 0):
        return 1
    return 1 if bits & HAS_RCV and flags & ACK and 0 < (ack - f[s + RCV]) & M < HALFWAY else 0


def may_leave_hole(f: Ints, seq: int, s: int, r: int) -> int:
    """Whether text at ``seq`` may lie beyond what its receiver has, or beyond a FIN; a socket that talks to itself
    confuses both ends' numbers.
    """
    if s == r or f[s + BITS] & HAS_FIN:
        return 1
    return 1 if f[r + BITS] & HAS_RCV and (f[r + RCV] - seq) & M else 0


def account(f: Ints, q: Ints, x: Ints, g: Ints, s: int, r: int) -> None:
    """Count what the segment is, with the numbers as they were before it. ``x`` is never the shared dummy
    when :func:`needs_extra` said so.
    """
    apart()
    flags = g[SEG_FLAGS]
    f[s + PACKETS] += 1
    f[s + HEADER_BYTES] += g[SEG_HEADER_BYTES]
    q[TEXT_BYTES + (1 if s else 0)] += g[SEG_TEXT]
    if flags & RST:
        note_letter(f, q, x, s, L_RESET)
        return
    if g[SEG_MSS]:
        f[s + WINDOW_MSS] = f[s + WINDOW_MSS] & 0xFFFF | (g[SEG_MSS] & 0xFFFF) << 16
    if flags & SYN:
        count_syn(f, q, x, g, s)
    else:
        count_text(f, q, x, g, s, r)
    if flags & ACK:
        count_ack(f, q, x, g, s, r)
    if flags & FIN:
        note_letter(f, q, x, s, L_FIN)


def count_syn(f: Ints, q: Ints, x: Ints, g: Ints, s: int) -> None:
    """SYN: the first, or once more."""
    note_letter(f, q, x, s, L_SYN_ACK if g[SEG_FLAGS] & ACK else L_SYN)
    bits = f[s + BITS]
    if bits & HAS_ISN and bits & SENT_SYN and (f[s + ISN] - g[SEG_SEQ]) & M == 0:
        x[(EXTRA_HALF if s else 0) + RETRANSMISSIONS] += 1
        f[s + BITS] &= ~HAS_RTT
    else:
        start_rtt(f, q, g, s, g[SEG_SEQ] + 1)


def count_text(f: Ints, q: Ints, x: Ints, g: Ints, s: int, r: int) -> None:
    """Text and FIN: new, again, out of order, or a probe."""
    apart()
    flags, seq, text = g[SEG_FLAGS], g[SEG_SEQ], g[SEG_TEXT]
    e = EXTRA_HALF if s else 0
    length = text + (flags & FIN)
    ahead = (seq - f[s + NXT]) & M if f[s + BITS] & HAS_NXT else 0
    if ahead >= HALFWAY:
        if ahead == M and text <= 1 and not flags & (FIN | SYN):
            x[e + KEEPALIVES] += 1
        elif length:
            count_again(f, q, x, g, s, r)
    elif length:
        if text and f[r + BITS] & HAS_EDGE and (f[r + EDGE] - seq - text) & M == 0:
            x[e + WINDOW_FULL] += 1
        if not f[s + BITS] & HAS_RTT:
            start_rtt(f, q, g, s, seq + length)
    if text:
        note_letter(f, q, x, s, L_DATA)


def count_again(f: Ints, q: Ints, x: Ints, g: Ints, s: int, r: int) -> None:
    """Numbers below the highest: overtaken on the way when they come soon into a hole, else sent again."""
    e = EXTRA_HALF if s else 0
    is_unseen = f[r + BITS] & HAS_OOO and (g[SEG_SEQ] - f[r + RCV]) & M < HALFWAY
    patience_ns = LEAST_PATIENCE_NS + 0
    if f[s + RTT_MIN_US] * 1000 > patience_ns:
        patience_ns = f[s + RTT_MIN_US] * 1000
    if is_unseen and g[SEG_NS] - q[LAST_NS + (1 if s else 0)] < patience_ns:
        x[e + OUT_OF_ORDER] += 1
        return
    x[e + RETRANSMISSIONS] += 1
    if is_unseen:
        x[e + FILLED_HOLES] += 1
    f[s + BITS] &= ~HAS_RTT
    if g[SEG_TEXT]:
        note_retransmission(q, x, s, x[e + RETRANSMISSIONS])


def count_ack(f: Ints, q: Ints, x: Ints, g: Ints, s: int, r: int) -> None:
    """An ACK: a round trip measured, a duplicate, a zero window, or proof that something was not captured."""
    apart()
    flags, ack, wnd = g[SEG_FLAGS], g[SEG_ACK], g[SEG_WND]
    e = EXTRA_HALF if s else 0
    bits = f[s + BITS]
    if g[SEG_TEXT] == 0 and not flags & (SYN | FIN):
        note_letter(f, q, x, s, L_ACK)
        if bits & HAS_ACKED and (ack - f[s + ACKED]) & M == 0 and f[s + WINDOW_MSS] & 0xFFFF == wnd and wnd:
            if (f[s + NXT] - g[SEG_SEQ]) & M == 0:
                x[e + DUPLICATE_ACKS] += 1
    if wnd == 0:
        if not flags & FIN:  # Why: who has closed need not read
            x[e + ZERO_WINDOWS] += 1
        note_letter(f, q, x, s, L_ZERO_WINDOW)
    f[s + WINDOW_MSS] = f[s + WINDOW_MSS] & ~0xFFFF | wnd
    if bits & HAS_RCV and 0 < (ack - f[s + RCV]) & M < ANY_WINDOW:
        count_missed(f, q, x, g, s, r)
    if f[r + BITS] & HAS_RTT and (ack - f[r + RTT_SEQ]) & M < HALFWAY:
        end_rtt(f, q, g, r)


def count_missed(f: Ints, q: Ints, x: Ints, g: Ints, s: int, r: int) -> None:
    """Count acknowledged octets of the peer that were not captured."""
    ack = g[SEG_ACK]
    e = EXTRA_HALF if s else 0
    hole = (ack - f[s + RCV]) & M
    if f[r + BITS] & HAS_FIN and (ack - f[r + FIN_SEQ] - 1) & M < HALFWAY:
        hole -= 1
    if f[s + BITS] & HAS_OOO and (ack - x[e + OOO_LOW]) & M < HALFWAY:
        seen = (x[e + OOO_HIGH] - x[e + OOO_LOW]) & M
        hole -= seen if seen < hole else hole
    if hole > 0 and not g[SEG_FLAGS] & SYN and is_synchronized(f[r + STATE]) and f[s + STATE] != S_SYN_SENT:
        x[EXTRA_HALF - e + MISSED_BYTES] += hole
        note_letter(f, q, x, r, L_GAP)


def start_rtt(f: Ints, q: Ints, g: Ints, s: int, end_seq: int) -> None:
    """Time this segment: its round trip ends with the first ACK that covers it (RFC 6298 §3)."""
    f[s + RTT_SEQ] = end_seq & M
    f[s + RTT_START_US] = (g[SEG_NS] - q[FIRST_NS]) // 1000 & 0x7FFFFFFF
    f[s + BITS] |= HAS_RTT


def end_rtt(f: Ints, q: Ints, g: Ints, r: int) -> None:
    """The segment timed is acknowledged: keep the smallest round trip."""
    f[r + BITS] &= ~HAS_RTT
    rtt_us = ((g[SEG_NS] - q[FIRST_NS]) // 1000 - f[r + RTT_START_US]) & 0x7FFFFFFF
    if f[r + RTT_MIN_US] == 0 or rtt_us < f[r + RTT_MIN_US]:
        f[r + RTT_MIN_US] = rtt_us if rtt_us else 1


def note_letter(f: Ints, q: Ints, x: Ints, h: int, letter: int) -> None:
    """Append a letter of Zeek's history (its number; 16 more for end 1) unless this end has it already."""
    if f[h + BITS] >> (LETTERS_SHIFT + letter) & 1:
        return
    f[h + BITS] |= 1 << (LETTERS_SHIFT + letter)
    append_letter(q, x, (16 if h else 0) | letter)


def note_retransmission(q: Ints, x: Ints, s: int, count: int) -> None:
    """Zeek writes ``t`` once per power of ten."""
    if count == 1 or count == 10 or count == 100 or count == 1000 or count == 10000:
        append_letter(q, x, (16 if s else 0) | L_RETRANSMISSION)


def append_letter(q: Ints, x: Ints, code: int) -> None:
    """Append one letter; the first twelve fit the row, the next twelve go where the troubled have room."""
    apart()
    history = q[HISTORY]
    shift = 0
    while shift < 60 and history >> shift & 31:
        shift += 5
    if shift < 60:
        q[HISTORY] = history | code << shift
        return
    for place in range(12):
        word = MORE_HISTORY_LOW if place < 6 else MORE_HISTORY_HIGH
        shift = place % 6 * 5
        if not x[word] >> shift & 31:
            x[word] |= code << shift
            return


PARTS: tuple[Callable[..., int | None], ...] = (
    append_letter, note_letter, note_retransmission, start_rtt, end_rtt, may_leave_hole, needs_extra, count_syn,
    count_again, count_text, count_missed, count_ack, account,
)  # fmt: skip
