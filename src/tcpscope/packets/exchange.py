"""Segments without SYN and RST: what they betray of their sender, and what they are to their receiver."""

from __future__ import annotations

from tcpscope.machine.compiled import classify_code
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets.bounds import advance, expect_syn, send_numbers, window_of
from tcpscope.packets.layout import (
    ACK,
    ACKED,
    ACTIVELY,
    B_ASSUMED,
    B_INFERRED,
    B_SEEN,
    BITS,
    FAST_OPEN,
    FIN,
    FIN_SEQ,
    FRESH,
    HALFWAY,
    HAS_ACKED,
    HAS_FIN,
    HAS_ISN,
    HAS_NXT,
    HAS_RCV,
    ISN,
    LAST_NS,
    NXT,
    OPENED_SHIFT,
    PASSIVELY,
    RCV,
    S_CLOSED,
    S_CLOSING,
    S_ESTABLISHED,
    S_FIN_WAIT_1,
    S_LAST_ACK,
    S_LISTEN,
    S_SYN_RECEIVED,
    S_SYN_SENT,
    S_TIME_WAIT,
    SEG_ACK,
    SEG_FLAGS,
    SEG_NS,
    SEG_SEQ,
    SEG_TEXT,
    SHARED,
    STATE,
    SYN,
    V_ABORT,
    V_ACK_MISSING,
    V_ACK_OF_FIN,
    V_ACK_OF_SYN,
    V_ACK_UNACCEPTABLE,
    V_CLOSE,
    V_FIN,
    V_FIN_ACK_OF_FIN,
    V_SEGMENT_UNACCEPTABLE,
    V_SYN,
    V_SYN_ACK,
    V_SYN_REOPENS,
    M,
)
from tcpscope.packets.moves import apart, last_assumption, move, prove_by_ack, set_opened, take_back

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence

    Ints = MutableSequence[int]


def see_segment(f: Ints, q: Ints, x: Ints, log: Ints, g: Ints, s: int, r: int) -> None:
    """Neither SYN nor RST."""
    apart()
    flags, una = g[SEG_FLAGS], g[SEG_ACK]
    if f[SHARED] & FRESH:
        f[s + STATE] = S_ESTABLISHED
        f[r + STATE] = S_ESTABLISHED
    if not is_alive(f, q, log, g, s, r):
        return
    has_una = f[s + BITS] & HAS_ACKED or f[r + BITS] & HAS_ISN
    if f[s + BITS] & HAS_ACKED:
        una = f[s + ACKED] + 0
    elif f[r + BITS] & HAS_ISN:
        una = f[r + ISN] + 0
    send_numbers(f, g, s, r)
    if flags & ACK:
        prove_by_ack(f, q, log, g, s, r)
    if flags & FIN:
        see_fin(f, q, log, g, s, r)
    state = f[r + STATE]
    if state == S_FIN_WAIT_1 or state == S_CLOSING or state == S_LAST_ACK:
        if has_una and f[r + BITS] & HAS_FIN and (una - f[r + FIN_SEQ] - 1) & M == 0:
            una = f[r + FIN_SEQ] + 0
    if state != S_CLOSED and state != S_LISTEN:
        receive(f, x, log, g, s, r, una)


def is_alive(f: Ints, q: Ints, log: Ints, g: Ints, s: int, r: int) -> int:
    """What sending anything but SYN and RST says about the sender's state so far; 0 ends the matter."""
    apart()
    own_ns = q[LAST_NS + (1 if s else 0)]
    t, flags, state = g[SEG_NS], g[SEG_FLAGS], f[s + STATE]
    if state == S_CLOSED:
        assumed = last_assumption(f, log, s)
        event = assumed & 0xFF if assumed >= 0 else -1
        repeats_fin = event == V_ACK_OF_FIN and flags & FIN
        if not (repeats_fin or ((event == V_ABORT or event == V_CLOSE) and flags & ACK)):
            return 0
        if event != V_ACK_OF_FIN:
            take_back(f, log, s)
            state = f[s + STATE]
    receiver = f[r + STATE]
    if state == S_SYN_SENT:
        if not flags & ACK:
            if flags & FIN:
                move(f, log, g, s, V_CLOSE, B_ASSUMED, own_ns, t)
            return 0
        if receiver == S_LISTEN or receiver == S_CLOSED:
            f[r + STATE] = S_LISTEN
            set_opened(f, r, PASSIVELY)
            move(f, log, g, r, V_SYN, B_INFERRED, own_ns, t)
        elif receiver == S_TIME_WAIT:
            expect_syn(f, s, r)
            move(f, log, g, r, V_SYN_REOPENS, B_INFERRED, own_ns, t)
        move(f, log, g, s, V_SYN_ACK, B_INFERRED, own_ns, t)
    elif (state == S_LISTEN or state == S_TIME_WAIT) and receiver == S_SYN_SENT:
        answer_without_syn_ack(f, q, log, g, s, r)
    elif state == S_LISTEN:
        f[s + STATE] = S_ESTABLISHED
    if f[s + STATE] == S_SYN_RECEIVED and not f[SHARED] & FAST_OPEN:
        move(f, log, g, s, V_ACK_OF_SYN, B_INFERRED, own_ns, t)
    return 1


def answer_without_syn_ack(f: Ints, q: Ints, log: Ints, g: Ints, s: int, r: int) -> None:
    """A SYN was answered by a segment without SYN: the SYN|ACK was not captured, or this end is half-open."""
    if f[s + STATE] != S_LISTEN:
        return
    if not g[SEG_FLAGS] & ACK or not 0 < (g[SEG_ACK] - f[r + ISN]) & M <= (f[r + NXT] - f[r + ISN]) & M:
        f[s + STATE] = S_ESTABLISHED
        return
    peer_ns = q[LAST_NS + (1 if r else 0)]
    set_opened(f, s, PASSIVELY)
    move(f, log, g, s, V_SYN, B_INFERRED, peer_ns, g[SEG_NS])
    move(f, log, g, r, V_SYN_ACK, B_INFERRED, peer_ns, g[SEG_NS])
    f[r + RCV] = g[SEG_SEQ]
    f[r + BITS] |= HAS_RCV


def see_fin(f: Ints, q: Ints, log: Ints, g: Ints, s: int, r: int) -> None:
    """The sender closes its direction, or says so again."""
    fin, ack, t = (g[SEG_SEQ] + g[SEG_TEXT]) & M, g[SEG_ACK], g[SEG_NS]
    if not f[s + BITS] & HAS_FIN:
        f[s + FIN_SEQ] = fin
        f[s + BITS] |= HAS_FIN
        covers_fin = f[r + BITS] & HAS_FIN and (ack - f[r + FIN_SEQ] - 1) & M < HALFWAY
        crosses = g[SEG_FLAGS] & ACK and not covers_fin and last_assumption(f, log, s) == V_FIN | S_ESTABLISHED << 8
        if crosses:
            take_back(f, log, s)
        move(f, log, g, s, V_CLOSE, B_SEEN, q[LAST_NS + (1 if s else 0)], t)
        if crosses:
            move(f, log, g, s, V_FIN, B_ASSUMED, t, -1)
    elif (f[s + FIN_SEQ] - fin) & M == 0:
        see_fin_again(f, log, g, s, r)


def see_fin_again(f: Ints, log: Ints, g: Ints, s: int, r: int) -> None:
    """The sender repeats its FIN: the ACK of it, and a FIN that it does not acknowledge, did not arrive."""
    apart()
    covers_fin = f[r + BITS] & HAS_FIN and (g[SEG_ACK] - f[r + FIN_SEQ] - 1) & M < HALFWAY
    misses_fin = 1 if g[SEG_FLAGS] & ACK and not covers_fin else 0
    for _ in range(2):
        assumed = last_assumption(f, log, s)
        event = assumed & 0xFF if assumed >= 0 else -1
        took_fin = 1 if event == V_FIN or event == V_FIN_ACK_OF_FIN else 0
        if not (event == V_ACK_OF_FIN or (took_fin and misses_fin)):
            return
        take_back(f, log, s)
        if took_fin:
            f[s + RCV] = f[r + FIN_SEQ] + 0
        if event != V_FIN:
            f[r + ACKED] = f[s + FIN_SEQ] + 0
            f[r + BITS] |= HAS_ACKED


def receive(f: Ints, x: Ints, log: Ints, g: Ints, s: int, r: int, una: int) -> None:
    """Judge the segment as the receiver does and let the table answer."""
    apart()
    seq, ack, flags = g[SEG_SEQ], g[SEG_ACK], g[SEG_FLAGS]
    if not f[r + BITS] & HAS_RCV:
        f[r + RCV] = seq
        f[r + BITS] |= HAS_RCV
    bits, rcv = f[r + BITS], f[r + RCV]
    code = classify_code(
        f[r + STATE], flags, seq, ack, g[SEG_TEXT], una, f[r + NXT] if bits & HAS_NXT else ack, rcv,
        window_of(f, r, rcv), 1 if bits & HAS_FIN else 0, f[r + FIN_SEQ],
        1 if bits >> OPENED_SHIFT & 3 == ACTIVELY else 0,
    )  # fmt: skip
    first = (code & 0xFF) - 1
    while code:
        event = (code & 0xFF) - 1
        moved = move(f, log, g, r, event, B_ASSUMED, g[SEG_NS], -1)
        if moved and (event == V_FIN or event == V_FIN_ACK_OF_FIN):
            f[r + RCV] = (f[s + FIN_SEQ] + 1) & M
        code >>= 8
    if first == V_SEGMENT_UNACCEPTABLE or first == V_ACK_UNACCEPTABLE or first == V_ACK_MISSING or flags & SYN:
        return
    advance(f, x, log, g, s, r)


PARTS: tuple[Callable[..., int | None], ...] = (
    receive, answer_without_syn_ack, is_alive, see_fin_again, see_fin, see_segment,
)  # fmt: skip
