"""RST: obeyed, challenged or dropped by its receiver (RFC 5961 §3), and what it says about its sender."""

from __future__ import annotations

from tcpscope.machine.compiled import classify_code
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets.bounds import window_of
from tcpscope.packets.layout import (
    ACK,
    ACKED,
    B_ASSUMED,
    B_SEEN,
    BITS,
    EXTRA_HALF,
    FRESH,
    HALFWAY,
    HAS_ACKED,
    HAS_ISN,
    HAS_NXT,
    HAS_RCV,
    ISN,
    LAST_NS,
    NXT,
    RCV,
    RESETS_BLIND,
    RESETS_CHALLENGED,
    RESETS_LATE,
    RESETS_LEGAL,
    S_CLOSED,
    S_ESTABLISHED,
    S_LISTEN,
    S_SYN_SENT,
    SEG_ACK,
    SEG_FLAGS,
    SEG_NS,
    SEG_SEQ,
    SEG_TEXT,
    SHARED,
    STATE,
    V_ABORT,
    V_RST,
    V_RST_IN_WINDOW,
    V_RST_UNACCEPTABLE,
    V_SYN_ACK,
    M,
)
from tcpscope.packets.moves import apart, last_assumption, move, prove_by_ack, take_back

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence

    Ints = MutableSequence[int]


def judge_reset(f: Ints, g: Ints, s: int, r: int) -> int:
    """Judge a reset as its receiver does; RCV.NXT is known within bounds."""
    apart()
    seq, ack = g[SEG_SEQ], g[SEG_ACK]
    bits = f[r + BITS]
    rcv = seq
    if bits & HAS_RCV:
        rcv = f[r + RCV] + 0
        low = f[r + ACKED] + 0 if bits & HAS_ACKED else rcv
        high = f[s + NXT] + 0 if f[s + BITS] & HAS_NXT and (f[s + NXT] - rcv) & M < HALFWAY else rcv
        if (seq - low) & M <= (high - low) & M:
            rcv = seq
    una = f[r + ISN] if bits & HAS_ISN else ack
    nxt = f[r + NXT] if bits & HAS_NXT else ack
    window = window_of(f, r, rcv)
    code = classify_code(f[r + STATE], g[SEG_FLAGS], seq, ack, g[SEG_TEXT], una, nxt, rcv, window, 0, 0, 0)
    return (code & 0xFF) - 1


def see_reset(f: Ints, q: Ints, log: Ints, g: Ints, s: int, r: int) -> int:
    """RST; return the event it is to its receiver."""
    apart()
    flags, t = g[SEG_FLAGS], g[SEG_NS]
    if f[SHARED] & FRESH:
        f[s + STATE] = S_ESTABLISHED
        f[r + STATE] = S_ESTABLISHED
    event = judge_reset(f, g, s, r)
    state = f[s + STATE]
    receiver = f[r + STATE]
    if state == S_LISTEN:
        f[s + STATE] = S_CLOSED
    elif state != S_CLOSED and state != S_SYN_SENT:
        if event != V_RST_UNACCEPTABLE or receiver == S_CLOSED or receiver == S_LISTEN:
            if not flags & ACK and last_assumption(f, log, s) & 0xFF == V_SYN_ACK:
                take_back(f, log, s)
            basis = B_ASSUMED if event == V_RST_IN_WINDOW else B_SEEN
            move(f, log, g, s, V_ABORT, basis, q[LAST_NS + (1 if s else 0)], t)
    if flags & ACK and event == V_RST:
        prove_by_ack(f, q, log, g, s, r)
    if r != s or event == V_RST:
        move(f, log, g, r, event, B_ASSUMED, t, -1)
    return event


def count_reset(x: Ints, end: int, event: int, is_late: int) -> None:
    """Note where a reset of ``end`` lay in its receiver's window; a closed receiver has none."""
    e = EXTRA_HALF if end else 0
    if is_late:
        x[RESETS_LATE + end] += 1
    elif event == V_RST:
        x[e + RESETS_LEGAL] += 1
    elif event == V_RST_IN_WINDOW:
        x[e + RESETS_CHALLENGED] += 1
    else:
        x[e + RESETS_BLIND] += 1


PARTS: tuple[Callable[..., int | None], ...] = (judge_reset, see_reset, count_reset)
