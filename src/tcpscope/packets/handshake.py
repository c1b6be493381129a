"""SYN and SYN|ACK: what they say about both ends, and whether they begin the next incarnation of a flow."""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets.bounds import expect_syn, send_numbers
from tcpscope.packets.exchange import receive
from tcpscope.packets.layout import (
    ACK,
    ACKED,
    ACTIVELY,
    B_ASSUMED,
    B_INFERRED,
    B_SEEN,
    BITS,
    FAST_OPEN,
    FRESH,
    HALF_WORDS,
    HAS_ACKED,
    HAS_ISN,
    HAS_NXT,
    HAS_RCV,
    ISN,
    LAST_NS,
    NXT,
    OPENED_SHIFT,
    PASSIVELY,
    PENDING_SYN_0,
    PENDING_SYN_1,
    PENDING_SYN_HIGH,
    PENDING_SYN_LOW,
    PENDING_SYN_PACKET,
    PENDING_SYN_SCALE,
    PENDING_SYN_SEQ,
    RCV,
    REOPENED,
    RST,
    S_CLOSED,
    S_ESTABLISHED,
    S_LISTEN,
    S_SYN_RECEIVED,
    S_SYN_SENT,
    S_TIME_WAIT,
    SEG_ACK,
    SEG_FLAGS,
    SEG_MSS,
    SEG_NS,
    SEG_NUMBER,
    SEG_SCALE,
    SEG_SEQ,
    SEG_TEXT,
    SEG_WND,
    SELF,
    SENT_SYN,
    SHARED,
    STATE,
    SYN,
    SYN_ROW,
    TWO_MSL_NS,
    V_ACK_OF_SYN,
    V_SYN,
    V_SYN_ACK,
    V_SYN_REOPENS,
    M,
)
from tcpscope.packets.moves import (
    apart,
    is_synchronized,
    last_assumption,
    move,
    open_actively,
    set_basis,
    set_opened,
    take_back,
)

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence

    Ints = MutableSequence[int]


def see_syn(f: Ints, x: Ints, log: Ints, g: Ints, s: int, r: int) -> None:
    """SYN without ACK."""
    apart()
    shared, seq = f[SHARED], g[SEG_SEQ]
    if f[s + BITS] & HAS_ISN and (f[s + ISN] - seq) & M == 0:
        if not f[s + BITS] & SENT_SYN:
            f[s + BITS] |= SENT_SYN
            if f[SYN_ROW]:
                set_basis(log, f[SYN_ROW], B_SEEN)
        return
    state = f[s + STATE]
    peer_waits = f[r + STATE] == S_SYN_SENT
    crosses = state == S_LISTEN and not f[s + BITS] & HAS_ISN and peer_waits
    if not (shared & FRESH or crosses or (state == S_CLOSED and peer_waits)):
        note_pending_syn(f, x, g, s)
        return
    open_actively(f, log, g, s, B_SEEN, seq, g[SEG_TEXT])
    f[s + BITS] |= SENT_SYN
    if g[SEG_TEXT]:
        f[SHARED] |= FAST_OPEN
    if r != s:
        if f[r + BITS] >> OPENED_SHIFT & 3 == REOPENED:
            return  # Why: its TIME-WAIT still expects the old numbers, a reset with those may end it
        if shared & FRESH:
            f[r + STATE] = S_LISTEN
        expect_syn(f, s, r)


def note_pending_syn(f: Ints, x: Ints, g: Ints, s: int) -> None:
    """Remember a SYN on a live connection (RFC 5961 §4): its answer will tell whether it opened another."""
    f[SHARED] = f[SHARED] & ~(PENDING_SYN_0 | PENDING_SYN_1) | (PENDING_SYN_1 if s else PENDING_SYN_0)
    x[PENDING_SYN_SEQ] = g[SEG_SEQ]
    x[PENDING_SYN_PACKET] = g[SEG_NUMBER]
    x[PENDING_SYN_HIGH] = g[SEG_NS] >> 31
    x[PENDING_SYN_LOW] = g[SEG_NS] & 0x7FFFFFFF
    x[PENDING_SYN_SCALE] = g[SEG_SCALE]


def recall_pending_syn(x: Ints, g: Ints) -> None:
    """Fill a segment with the SYN that :func:`note_pending_syn` remembered."""
    g[SEG_SEQ] = x[PENDING_SYN_SEQ] & M
    g[SEG_NUMBER] = x[PENDING_SYN_PACKET]
    g[SEG_NS] = x[PENDING_SYN_HIGH] << 31 | x[PENDING_SYN_LOW]
    g[SEG_SCALE] = x[PENDING_SYN_SCALE]
    g[SEG_FLAGS] = SYN
    g[SEG_ACK] = 0
    g[SEG_WND] = 0
    g[SEG_TEXT] = 0
    g[SEG_MSS] = 0


def see_syn_ack(f: Ints, q: Ints, x: Ints, log: Ints, g: Ints, s: int, r: int) -> None:
    """SYN with ACK."""
    apart()
    seq, ack = g[SEG_SEQ], g[SEG_ACK]
    if f[SHARED] & FRESH and r != s:
        open_actively(f, log, g, r, B_INFERRED, ack - 1, 0)
        if f[s + BITS] >> OPENED_SHIFT & 3 != REOPENED:
            f[s + STATE] = S_LISTEN
    if f[s + BITS] & HAS_ISN and (f[s + ISN] - seq) & M != 0:
        undecided = f[r + STATE] == S_SYN_SENT or last_assumption(f, log, r) & 0xFF == V_SYN_ACK
        if not undecided or (f[s + STATE] != S_SYN_RECEIVED and f[s + STATE] != S_ESTABLISHED):
            return
        f[s + ISN] = seq
        f[s + NXT] = (seq + 1) & M
        f[s + BITS] |= HAS_NXT
        f[r + RCV] = (seq + 1) & M
        f[r + BITS] |= HAS_RCV
    if not answers_syn(f, q, log, g, s, r):
        return
    f[s + BITS] |= SENT_SYN
    send_numbers(f, g, s, r)
    state = f[r + STATE]
    if state == S_SYN_SENT or (state == S_SYN_RECEIVED and f[r + BITS] >> OPENED_SHIFT & 3 == ACTIVELY):
        f[r + RCV] = (seq + 1) & M
        f[r + BITS] |= HAS_RCV
        receive(f, x, log, g, s, r, f[r + ISN] if f[r + BITS] & HAS_ISN else ack)


def answers_syn(f: Ints, q: Ints, log: Ints, g: Ints, s: int, r: int) -> int:
    """What a SYN|ACK says about its sender; 0 when it says nothing."""
    apart()
    seq, t = g[SEG_SEQ], g[SEG_NS]
    state = f[s + STATE]
    assumed = last_assumption(f, log, s)
    event = assumed & 0xFF if assumed >= 0 else -1
    has_isn = f[s + BITS] & HAS_ISN
    is_same = has_isn and (f[s + ISN] - seq) & M == 0
    peer_ns = q[LAST_NS + (1 if r else 0)]
    is_ghost = (state == S_ESTABLISHED or state == S_CLOSED) and not has_isn and f[r + STATE] == S_SYN_SENT
    if state == S_LISTEN or is_ghost:
        f[s + STATE] = S_LISTEN
        set_opened(f, s, PASSIVELY)
        expect_syn(f, r, s)
        move(f, log, g, s, V_SYN, B_SEEN, peer_ns, t)
    elif state == S_TIME_WAIT and f[s + BITS] >> OPENED_SHIFT & 3 == REOPENED:
        expect_syn(f, r, s)
        move(f, log, g, s, V_SYN_REOPENS, B_SEEN, peer_ns, t)
    elif state == S_SYN_SENT and is_same:
        move(f, log, g, s, V_SYN, B_SEEN, peer_ns, t)
    elif state == S_ESTABLISHED and event == V_SYN_ACK and assumed >> 8 == S_SYN_SENT and is_same:
        take_back(f, log, s)
        move(f, log, g, s, V_SYN, B_SEEN, peer_ns, t)
        move(f, log, g, s, V_SYN_ACK, B_ASSUMED, t, -1)
    elif state == S_ESTABLISHED and (event == V_SYN_ACK or event == V_ACK_OF_SYN) and is_same:
        take_back(f, log, s)
        f[r + ACKED] = f[s + ISN]
        f[r + BITS] |= HAS_ACKED
        return 1
    elif state != S_SYN_RECEIVED:
        return 0
    f[s + ISN] = seq
    f[s + BITS] |= HAS_ISN
    return 1


def opens_another(f: Ints, q: Ints, x: Ints, g: Ints, end: int) -> int:
    """Whether this segment belongs to the next incarnation of the addresses and ports."""
    shared, flags = f[SHARED], g[SEG_FLAGS]
    if shared & FRESH:
        return 0
    last = q[LAST_NS] if q[LAST_NS] > q[LAST_NS + 1] else q[LAST_NS + 1]
    if g[SEG_NS] - last > TWO_MSL_NS and is_over(f):
        return 1
    if flags & (SYN | RST) != SYN or shared & SELF:
        return 0
    s = end * HALF_WORDS
    r = HALF_WORDS - s
    if flags & ACK:
        return answers_pending_syn(f, x, g, r)
    if f[s + BITS] & HAS_ISN and (f[s + ISN] - g[SEG_SEQ]) & M == 0:
        return 0
    receiver = f[r + STATE]
    if f[s + STATE] == S_LISTEN and not f[s + BITS] & HAS_ISN and receiver == S_SYN_SENT:
        return 0
    return 1 if receiver == S_TIME_WAIT or not is_synchronized(receiver) else 0


def answers_pending_syn(f: Ints, x: Ints, g: Ints, r: int) -> int:
    """Whether a SYN|ACK answers the SYN that the half ``r`` sent on the live connection."""
    if f[SHARED] & SELF or not f[SHARED] & (PENDING_SYN_1 if r else PENDING_SYN_0):
        return 0
    return 1 if (x[PENDING_SYN_SEQ] + 1 - g[SEG_ACK]) & M == 0 else 0


def is_over(f: Ints) -> int:
    """Whether nothing more is to come but stragglers: both ends finished, or never synchronized."""
    for h in (0, HALF_WORDS):
        if is_synchronized(f[h + STATE]) and f[h + STATE] != S_TIME_WAIT:
            return 0
    return 1


def inherit(old: Ints, new: Ints, answerer: int) -> None:
    """Carry TIME-WAIT over to the next incarnation, at the end that will answer its SYN."""
    if old[answerer + STATE] == S_TIME_WAIT:
        new[answerer + STATE] = S_TIME_WAIT
        new[answerer + RCV] = old[answerer + RCV]
        new[answerer + BITS] |= old[answerer + BITS] & HAS_RCV
        set_opened(new, answerer, REOPENED)


PARTS: tuple[Callable[..., int | None], ...] = (
    note_pending_syn, recall_pending_syn, see_syn, answers_syn, see_syn_ack, answers_pending_syn, is_over,
    opens_another, inherit,
)  # fmt: skip
