"""Moves of one end along the table: applied, noted in the log, proved by what is seen later, or taken back."""

from __future__ import annotations

from tcpscope.machine.compiled import AFTER
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets.layout import (
    ACTIVELY,
    B_ASSUMED,
    B_INFERRED,
    B_RETRACTED,
    BITS,
    EVENTS,
    FIN_SEQ,
    HALF_WORDS,
    HALFWAY,
    HAS_FIN,
    HAS_ISN,
    HAS_NXT,
    HIGH_FIRST,
    ISN,
    LAST_NS,
    LOG_EARLIEST,
    LOG_LATEST,
    LOG_NEXT,
    LOG_NS,
    LOG_PACKET,
    LOG_WORDS,
    NXT,
    OPENED_SHIFT,
    PENDING_1,
    PENDING_2,
    S_CLOSE_WAIT,
    S_CLOSED,
    S_CLOSING,
    S_LAST_ACK,
    S_LISTEN,
    S_SYN_RECEIVED,
    S_SYN_SENT,
    S_TIME_WAIT,
    SEG_ACK,
    SEG_NS,
    SEG_NUMBER,
    SEG_SERIAL,
    SHARED,
    STATE,
    STATES,
    SYN_ROW,
    V_ACK_OF_SYN,
    V_FIN,
    V_FIN_ACK_OF_FIN,
    V_OPEN_ACTIVE,
    V_SYN_ACK,
    M,
)

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence

    Ints = MutableSequence[int]


def apart() -> int:
    """Do nothing. Compiled it keeps the function that calls it whole: copied into each caller, all would be huge."""
    return 0


def pack_what(serial: int, end: int, before: int, event: int, after: int, basis: int) -> int:
    """Pack what a row says into one integer."""
    return serial << 20 | basis << 18 | end << 17 | before << 12 | after << 8 | event


def set_basis(log: Ints, row: int, basis: int) -> None:
    """Change how a row is known."""
    at = row * LOG_WORDS
    log[at] = log[at] & ~(3 << 18) | basis << 18


def move(f: Ints, log: Ints, g: Ints, h: int, event: int, basis: int, earliest: int, latest: int) -> int:
    """Apply the table's row for ``event`` at the half ``h``; 1 when the state changed (and is noted)."""
    apart()
    before = f[h + STATE]
    opened = f[h + BITS] >> OPENED_SHIFT & 3
    after = AFTER[(opened * STATES + before) * EVENTS + event] + 0
    if after == 0 or after == before:
        return 0
    row = log[LOG_NEXT]
    log[LOG_NEXT] = row + 1
    if basis == B_ASSUMED:
        if f[h + PENDING_2]:
            f[h + PENDING_1] = f[h + PENDING_2]
        f[h + (PENDING_2 if f[h + PENDING_1] else PENDING_1)] = row
    at = row * LOG_WORDS
    log[at] = pack_what(g[SEG_SERIAL], 1 if h else 0, before, event, after, basis)
    log[at + LOG_PACKET] = g[SEG_NUMBER]
    log[at + LOG_NS] = g[SEG_NS]
    log[at + LOG_EARLIEST] = earliest
    log[at + LOG_LATEST] = latest
    f[h + STATE] = after
    return 1


def open_actively(f: Ints, log: Ints, g: Ints, h: int, basis: int, isn: int, text: int) -> None:
    """The half sends, or must have sent, a SYN. Who was first is remembered: with both it is the client."""
    if f[HALF_WORDS - h + BITS] >> OPENED_SHIFT & 3 != ACTIVELY:
        f[SHARED] = f[SHARED] & ~HIGH_FIRST | (HIGH_FIRST if h else 0)
    f[h + BITS] = f[h + BITS] & ~(3 << OPENED_SHIFT) | ACTIVELY << OPENED_SHIFT | HAS_ISN | HAS_NXT
    f[h + ISN] = isn & M
    f[h + NXT] = (isn + 1 + text) & M
    f[SYN_ROW] = log[LOG_NEXT]
    f[h + STATE] = S_CLOSED
    move(f, log, g, h, V_OPEN_ACTIVE, basis, -1, g[SEG_NS])


def set_opened(f: Ints, h: int, opened: int) -> None:
    """Remember how the half was opened."""
    f[h + BITS] = f[h + BITS] & ~(3 << OPENED_SHIFT) | opened << OPENED_SHIFT


def last_assumption(f: Ints, log: Ints, h: int) -> int:
    """Return event | state before << 8 of the last unproved assumption, -1 when there is none."""
    row = f[h + PENDING_2] if f[h + PENDING_2] else f[h + PENDING_1]
    if row == 0:
        return -1
    what = log[row * LOG_WORDS]
    return (what & 0xFF) | (what >> 12 & 15) << 8


def take_back(f: Ints, log: Ints, h: int) -> None:
    """Undo the last assumption."""
    apart()
    at = PENDING_2 if f[h + PENDING_2] else PENDING_1
    row = f[h + at]
    f[h + at] = 0
    set_basis(log, row, B_RETRACTED)
    f[h + STATE] = log[row * LOG_WORDS] >> 12 & 15


def prove_by_ack(f: Ints, q: Ints, log: Ints, g: Ints, s: int, r: int) -> None:
    """Turn assumptions about the sender into inferences as far as this ACK proves them."""
    apart()
    ack = g[SEG_ACK]
    covers_fin = 1 if f[r + BITS] & HAS_FIN and (ack - f[r + FIN_SEQ] - 1) & M < HALFWAY else 0
    if f[s + PENDING_1]:
        covers_syn = 1 if not f[r + BITS] & HAS_ISN or (ack - f[r + ISN] - 1) & M < HALFWAY else 0
        proved = 0
        for place in range(2):
            row = f[s + PENDING_1 + place]
            if row and is_proved(log[row * LOG_WORDS] & 0xFF, covers_syn, covers_fin):
                proved = place + 1
        for place in range(proved):
            row = f[s + PENDING_1 + place]
            set_basis(log, row, B_INFERRED)
            log[row * LOG_WORDS + LOG_LATEST] = g[SEG_NS]
        if proved:
            f[s + PENDING_1] = f[s + PENDING_2] if proved == 1 else 0
            f[s + PENDING_2] = 0
    if covers_fin:
        state = f[s + STATE]
        if state != S_CLOSED and not has_received_fin(state):
            move(f, log, g, s, V_FIN, B_INFERRED, q[LAST_NS + (1 if s else 0)], g[SEG_NS])


def is_proved(event: int, covers_syn: int, covers_fin: int) -> int:
    """Whether an ACK that covers the peer's SYN or FIN shows that it came."""
    if event == V_FIN or event == V_FIN_ACK_OF_FIN:
        return covers_fin
    return covers_syn if event == V_SYN_ACK or event == V_ACK_OF_SYN else 0


def has_received_fin(state: int) -> int:
    """Whether the peer has closed its direction in this state."""
    return 1 if state == S_CLOSE_WAIT or state == S_CLOSING or state == S_LAST_ACK or state == S_TIME_WAIT else 0


def is_synchronized(state: int) -> int:
    """Whether both ends have agreed on sequence numbers (RFC 9293 §3.3.2)."""
    return 0 if state == S_CLOSED or state == S_LISTEN or state == S_SYN_SENT or state == S_SYN_RECEIVED else 1


PARTS: tuple[Callable[..., int | None], ...] = (
    pack_what, set_basis, move, open_actively, set_opened, last_assumption, take_back, is_proved, has_received_fin,
    prove_by_ack, is_synchronized,
)  # fmt: skip
