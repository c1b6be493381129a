"""Bounds of the numbers both ends work with, as far as segments show them: SND.NXT, RCV.NXT, acknowledged, window."""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets.layout import (
    ACK,
    ACKED,
    ANY_WINDOW,
    B_ASSUMED,
    BITS,
    EDGE,
    EXTRA_HALF,
    FIN,
    FIN_SEQ,
    HALFWAY,
    HAS_ACKED,
    HAS_EDGE,
    HAS_FIN,
    HAS_NXT,
    HAS_OOO,
    HAS_RCV,
    HAS_SCALE,
    ISN,
    NXT,
    OOO_HIGH,
    OOO_LOW,
    RCV,
    RST,
    SCALE_SHIFT,
    SEG_ACK,
    SEG_FLAGS,
    SEG_NS,
    SEG_SEQ,
    SEG_TEXT,
    SEG_WND,
    SENT_SYN,
    STATE,
    SYN,
    V_FIN,
    M,
)
from tcpscope.packets.moves import apart, has_received_fin, is_synchronized, move

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence

    Ints = MutableSequence[int]


def send_numbers(f: Ints, g: Ints, s: int, r: int) -> None:
    """Bring the numbers up to date that the sender shows."""
    flags, ack, bits = g[SEG_FLAGS], g[SEG_ACK], f[s + BITS]
    end = (g[SEG_SEQ] + g[SEG_TEXT] + (1 if flags & SYN else 0) + (flags & FIN)) & M
    if not bits & HAS_NXT or (end - f[s + NXT]) & M < HALFWAY:
        f[s + NXT] = end
        bits |= HAS_NXT
        f[s + BITS] = bits
    if flags & ACK:
        is_gap = is_synchronized(f[r + STATE]) and 0 < (ack - f[r + NXT]) & M < ANY_WINDOW
        if not f[r + BITS] & HAS_NXT or is_gap:
            f[r + NXT] = ack
            f[r + BITS] |= HAS_NXT
        if (f[r + NXT] - ack) & M < HALFWAY:
            if not bits & HAS_ACKED or (ack - f[s + ACKED]) & M < HALFWAY:
                f[s + ACKED] = ack
                bits |= HAS_ACKED
            if not bits & HAS_RCV or (ack - f[s + RCV]) & M < HALFWAY:
                f[s + RCV] = ack
                bits |= HAS_RCV
    f[s + BITS] = bits


def window_of(f: Ints, h: int, rcv: int) -> int:
    """RCV.WND as far as known."""
    if not f[h + BITS] & HAS_EDGE:
        return ANY_WINDOW
    ahead = (f[h + EDGE] - rcv) & M
    return ahead if ahead < HALFWAY else 0


def expect_syn(f: Ints, s: int, r: int) -> None:
    """The receiver's numbers begin with the sender's SYN."""
    f[r + RCV] = (f[s + ISN] + 1) & M
    f[r + BITS] |= HAS_RCV


def note_window(f: Ints, g: Ints, s: int, r: int) -> None:
    """Remember the right edge of the window that the sender offers, when its scale is known."""
    flags = g[SEG_FLAGS]
    if not flags & ACK or flags & RST:
        return
    if not (f[s + BITS] & SENT_SYN and f[r + BITS] & SENT_SYN):
        f[s + BITS] &= ~HAS_EDGE
        return
    scale = 0
    if f[s + BITS] & HAS_SCALE and f[r + BITS] & HAS_SCALE and not flags & SYN:
        scale = f[s + BITS] >> SCALE_SHIFT & 15
    edge = (g[SEG_ACK] + (g[SEG_WND] << scale)) & M
    if not f[s + BITS] & HAS_EDGE or (edge - f[s + EDGE]) & M < HALFWAY:
        f[s + EDGE] = edge
        f[s + BITS] |= HAS_EDGE


def advance(f: Ints, x: Ints, log: Ints, g: Ints, s: int, r: int) -> None:
    """Move RCV.NXT over the text, over what was queued behind a hole, and over a FIN that waited there."""
    apart()
    seq, text = g[SEG_SEQ], g[SEG_TEXT]
    if not text:
        return
    end = (seq + text) & M
    e = EXTRA_HALF if r else 0
    if 0 < (end - f[r + RCV]) & M < HALFWAY:
        if (f[r + RCV] - seq) & M < HALFWAY:
            f[r + RCV] = end
        elif not f[r + BITS] & HAS_OOO:
            x[e + OOO_LOW] = seq
            x[e + OOO_HIGH] = end
            f[r + BITS] |= HAS_OOO
        else:
            if (x[e + OOO_LOW] - seq) & M < HALFWAY:
                x[e + OOO_LOW] = seq
            if (end - x[e + OOO_HIGH]) & M < HALFWAY:
                x[e + OOO_HIGH] = end
    if f[r + BITS] & HAS_OOO and (f[r + RCV] - x[e + OOO_LOW]) & M < HALFWAY:
        if (x[e + OOO_HIGH] - f[r + RCV]) & M < HALFWAY:
            f[r + RCV] = x[e + OOO_HIGH]
        f[r + BITS] &= ~HAS_OOO
    if f[s + BITS] & HAS_FIN and (f[r + RCV] - f[s + FIN_SEQ]) & M == 0 and not has_received_fin(f[r + STATE]):
        if move(f, log, g, r, V_FIN, B_ASSUMED, g[SEG_NS], -1):
            f[r + RCV] = (f[s + FIN_SEQ] + 1) & M


PARTS: tuple[Callable[..., int | None], ...] = (send_numbers, window_of, expect_syn, note_window, advance)
