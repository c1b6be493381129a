"""One segment against the row of its flow, on flat integers: the pure engine's rules, written to be fast.

The same text is run by CPython (base install, rows are lists) and compiled by numba (rows are pointers into arrays):
the functions in :data:`PARTS` may use integers, indexing and each other alone. They decide what
:mod:`tcpscope.packets.pure` decides, read that first; a test holds their transitions equal on every capture and on
random segments. What is where, :mod:`tcpscope.packets.layout` says; the rules are in the modules imported here, by
what they know. States come from :data:`tcpscope.machine.compiled.AFTER`, events from
:func:`tcpscope.machine.compiled.classify_code`.
"""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets import bounds, counting, exchange, handshake, moves, resets, routine
from tcpscope.packets.bounds import note_window
from tcpscope.packets.counting import account
from tcpscope.packets.exchange import see_segment
from tcpscope.packets.handshake import recall_pending_syn, see_syn, see_syn_ack
from tcpscope.packets.layout import (
    ACK,
    B_ASSUMED,
    BITS,
    FIRST_NS,
    FIRST_PACKET,
    FLOW_QUADS,
    FLOW_WORDS,
    FRESH,
    HALF_WORDS,
    HAS_SCALE,
    ICMP_SOFT_SEEN,
    INCARNATION,
    LAST_NS,
    PACKETS,
    RST,
    S_CLOSED,
    S_SYN_RECEIVED,
    S_SYN_SENT,
    SCALE_SHIFT,
    SEG_FLAGS,
    SEG_NS,
    SEG_NUMBER,
    SEG_SCALE,
    SELF,
    SHARED,
    STATE,
    SYN,
    V_ICMP_HARD_ERROR,
)
from tcpscope.packets.moves import apart, move
from tcpscope.packets.resets import count_reset, see_reset

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence

    Ints = MutableSequence[int]


def observe(f: Ints, q: Ints, x: Ints, log: Ints, g: Ints, end: int) -> None:
    """Count and track one TCP segment sent by ``end``. ``log`` has room for 8 rows."""
    s = 0 if f[SHARED] & SELF else end * HALF_WORDS
    r = 0 if f[SHARED] & SELF else HALF_WORDS - s
    account(f, q, x, g, s, r)
    is_late = 1 if f[r + STATE] == S_CLOSED and not f[SHARED] & FRESH else 0
    if f[s + STATE] == S_SYN_SENT and f[r + PACKETS]:
        is_late = 1  # RFC 9293 §3.5.1: the peer's answer was of an older connection
    event = track(f, q, x, log, g, s, r)
    if event >= 0:
        count_reset(x, end, event, is_late)


def track(f: Ints, q: Ints, x: Ints, log: Ints, g: Ints, s: int, r: int) -> int:
    """Take in one TCP segment; return the event of a reset, else -1."""
    apart()
    flags = g[SEG_FLAGS]
    event = -1
    if flags & RST:
        event = see_reset(f, q, log, g, s, r)
    elif flags & SYN and flags & ACK:
        see_syn_ack(f, q, x, log, g, s, r)
    elif flags & SYN:
        see_syn(f, x, log, g, s, r)
    else:
        see_segment(f, q, x, log, g, s, r)
    if flags & SYN and g[SEG_SCALE] >= 0:
        scale = g[SEG_SCALE] if g[SEG_SCALE] < 14 else 14
        f[s + BITS] = f[s + BITS] & ~(15 << SCALE_SHIFT) | HAS_SCALE | scale << SCALE_SHIFT
    note_window(f, g, s, r)
    f[SHARED] &= ~FRESH
    q[LAST_NS + (1 if s else 0)] = g[SEG_NS]
    return event


def see_icmp(f: Ints, x: Ints, log: Ints, g: Ints, end: int, kind: int) -> None:
    """Take in an ICMP error that quotes a segment of ``end`` (kind 1: soft, 2: hard, 3: packet too big)."""
    x[ICMP_SOFT_SEEN + kind - 1] += 1
    if kind != 2:
        return
    h = 0 if f[SHARED] & SELF else end * HALF_WORDS
    if f[h + STATE] == S_SYN_SENT or f[h + STATE] == S_SYN_RECEIVED:
        move(f, log, g, h, V_ICMP_HARD_ERROR, B_ASSUMED, g[SEG_NS], -1)


def start_flow(f: Ints, q: Ints, g: Ints, shared: int, incarnation: int) -> None:
    """Fill the row of a flow that nothing is known of."""
    for word in range(FLOW_WORDS):
        f[word] = 0
    for word in range(FLOW_QUADS):
        q[word] = 0
    f[STATE] = S_CLOSED
    f[HALF_WORDS + STATE] = S_CLOSED
    f[SHARED] = FRESH | shared
    f[FIRST_PACKET] = g[SEG_NUMBER]
    f[INCARNATION] = incarnation
    q[FIRST_NS] = g[SEG_NS]
    q[LAST_NS] = -1
    q[LAST_NS + 1] = -1


def begin_with_pending_syn(f: Ints, q: Ints, x: Ints, old_x: Ints, log: Ints, g: Ints, end: int) -> None:
    """Begin an incarnation with the SYN of ``end`` that waited on the one before; ``g`` is a segment to spare."""
    recall_pending_syn(old_x, g)
    f[FIRST_PACKET] = g[SEG_NUMBER]
    q[FIRST_NS] = g[SEG_NS]
    track(f, q, x, log, g, end * HALF_WORDS, HALF_WORDS - end * HALF_WORDS)


#: The functions one text is made of.
PARTS: tuple[Callable[..., int | None], ...] = (
    *moves.PARTS, *bounds.PARTS, *exchange.PARTS, *handshake.PARTS, *resets.PARTS, *counting.PARTS, *routine.PARTS,
    track, observe, see_icmp, start_flow, begin_with_pending_syn,
)  # fmt: skip
