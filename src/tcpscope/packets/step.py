"""One segment against the row of its flow, on flat integers: the pure engine's rules, written to be fast.

The same text is run by CPython (base install, rows are lists) and compiled by numba (rows are views of arrays):
:data:`PARTS` may use integers, indexing and each other alone. It decides what :mod:`tcpscope.packets.pure` decides,
read that first; a test holds their transitions equal on every capture and on random segments. States come from
:data:`tcpscope.machine.compiled.AFTER`, events from :func:`tcpscope.machine.compiled.classify_code`.

A flow is ``f`` (32-bit: two halves of :data:`HALF_WORDS`, then what both share) and ``q`` (64-bit). What only troubled
connections need is in ``x``, a row of ``extras`` taken on demand, so that an open connection costs 240 bytes.
Transitions are appended to ``log``, :data:`LOG_WORDS` integers each; ``m`` counts both. Sequence numbers may be
stored signed: only differences modulo 2**32 are looked at.
"""

from __future__ import annotations

from tcpscope.machine.compiled import classify_code
from tcpscope.model.event import Event
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.model.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence, Sequence

    Ints = MutableSequence[int]
    Table = Sequence[int]

M = 0xFFFFFFFF
HALFWAY = 0x80000000
ANY_WINDOW = 1 << 30
TWO_MSL_NS = 240 * 10**9
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

# one half of ``f``; the second half starts at HALF_WORDS
STATE, BITS, ISN, NXT, RCV, ACKED, EDGE, FIN_SEQ, OOO_LOW, OOO_HIGH, PENDING_1, PENDING_2 = range(12)
PACKETS, RTT_MIN_US, RTT_SEQ, RTT_START_US, WINDOW_MSS = range(12, 17)
HALF_WORDS = 17
# what both halves share
SHARED, FIRST_PACKET, SYN_ROW, EXTRA, INCARNATION = range(34, 39)
FLOW_WORDS = 39
# ``q``
FIRST_NS, LAST_NS, TEXT_BYTES, HISTORY = 0, 1, 3, 5
FLOW_QUADS = 6
# one half of ``x``; the second starts at EXTRA_HALF
RETRANSMISSIONS, OUT_OF_ORDER, DUPLICATE_ACKS, ZERO_WINDOWS, WINDOW_FULL, KEEPALIVES = range(6)
RESETS_LEGAL, RESETS_CHALLENGED, RESETS_BLIND, MISSED_BYTES = range(6, 10)
EXTRA_HALF = 10
PENDING_SYN_SEQ, PENDING_SYN_PACKET, PENDING_SYN_HIGH, PENDING_SYN_LOW, PENDING_SYN_SCALE = range(20, 25)
ICMP_SOFT_SEEN, ICMP_HARD_SEEN, ICMP_TOO_BIG_SEEN, MORE_HISTORY_LOW, MORE_HISTORY_HIGH = range(25, 30)
FILLED_HOLES = 30  #: and 31: retransmissions of what was never captured, per end
EXTRA_WORDS = 32
# ``m``
ROWS, EXTRAS = 0, 1

# BITS
HAS_ISN, HAS_NXT, HAS_RCV, HAS_ACKED, HAS_EDGE, HAS_FIN, SENT_SYN, HAS_OOO, HAS_RTT, HAS_SCALE = (
    1, 2, 4, 8, 16, 32, 64, 128, 256, 512,
)  # fmt: skip
OPENED_SHIFT, SCALE_SHIFT, LETTERS_SHIFT = 10, 12, 16
# SHARED
FRESH, FAST_OPEN, SELF, PENDING_SYN_0, PENDING_SYN_1, FLIPPED, IS_IPV6 = 1, 2, 4, 8, 16, 32, 64
CLIENT_SHIFT = 8  #: 0 unknown, 1 end 0, 2 end 1

# plain integers: numba takes them for constants
S_ESTABLISHED = int(State.ESTABLISHED)
S_SYN_SENT = int(State.SYN_SENT)
S_SYN_RECEIVED = int(State.SYN_RECEIVED)
S_FIN_WAIT_1 = int(State.FIN_WAIT_1)
S_FIN_WAIT_2 = int(State.FIN_WAIT_2)
S_TIME_WAIT = int(State.TIME_WAIT)
S_CLOSED = int(State.CLOSED)
S_CLOSE_WAIT = int(State.CLOSE_WAIT)
S_LAST_ACK = int(State.LAST_ACK)
S_LISTEN = int(State.LISTEN)
S_CLOSING = int(State.CLOSING)
V_OPEN_ACTIVE = int(Event.OPEN_ACTIVE)
V_CLOSE = int(Event.CLOSE)
V_ABORT = int(Event.ABORT)
V_SYN = int(Event.SYN)
V_SYN_ACK = int(Event.SYN_ACK)
V_ACK_OF_SYN = int(Event.ACK_OF_SYN)
V_ACK_OF_FIN = int(Event.ACK_OF_FIN)
V_FIN = int(Event.FIN)
V_FIN_ACK_OF_FIN = int(Event.FIN_ACK_OF_FIN)
V_RST = int(Event.RST)
V_RST_IN_WINDOW = int(Event.RST_IN_WINDOW)
V_RST_UNACCEPTABLE = int(Event.RST_UNACCEPTABLE)
V_SYN_REOPENS = int(Event.SYN_REOPENS)
V_ACK_UNACCEPTABLE = int(Event.ACK_UNACCEPTABLE)
V_ACK_MISSING = int(Event.ACK_MISSING)
V_SEGMENT_UNACCEPTABLE = int(Event.SEGMENT_UNACCEPTABLE)
V_ICMP_HARD_ERROR = int(Event.ICMP_HARD_ERROR)
EVENTS, STATES = len(Event), len(State) + 1
UNKNOWN, PASSIVELY, ACTIVELY, REOPENED = 0, 1, 2, 3
B_SEEN, B_INFERRED, B_ASSUMED, B_RETRACTED = 0, 1, 2, 3

#: Zeek's letters by their number; 0 ends a history, so the numbers start at 1.
LETTERS = "?shadfrtgw"
L_SYN, L_SYN_ACK, L_ACK, L_DATA, L_FIN, L_RESET, L_RETRANSMISSION, L_GAP, L_ZERO_WINDOW = range(1, 10)
# what :func:`is_routine` wants to find
ROUTINE_NUMBERS = HAS_NXT | HAS_RCV | HAS_ACKED
ROUTINE_PEER = ROUTINE_NUMBERS | HAS_FIN | HAS_OOO
ROUTINE_TEXT = ROUTINE_NUMBERS | 1 << (LETTERS_SHIFT + L_DATA)
ROUTINE_ACK = ROUTINE_NUMBERS | 1 << (LETTERS_SHIFT + L_ACK)

# a row of the log
LOG_WHAT, LOG_PACKET, LOG_NS, LOG_EARLIEST, LOG_LATEST = range(5)
LOG_WORDS = 5
# ``what``: serial << 20 | basis << 18 | end << 17 | before << 12 | event << 4 ... see pack_what
BASIS_SHIFT = 18


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


def move(
    f: Ints, log: Ints, m: Ints, table: Table, serial: int, h: int, event: int, basis: int, number: int, t: int,
    earliest: int, latest: int,
) -> int:  # fmt: skip
    """Apply the table's row for ``event`` at the half ``h``; 1 when the state changed (and is noted)."""
    apart()
    before = f[h + STATE]
    opened = f[h + BITS] >> OPENED_SHIFT & 3
    after = table[(opened * STATES + before) * EVENTS + event]
    if after == 0 or after == before:
        return 0
    row = m[ROWS]
    if basis == B_ASSUMED:
        if f[h + PENDING_2]:
            f[h + PENDING_1] = f[h + PENDING_2]
            f[h + PENDING_2] = row + 1
        elif f[h + PENDING_1]:
            f[h + PENDING_2] = row + 1
        else:
            f[h + PENDING_1] = row + 1
    at = row * LOG_WORDS
    log[at] = pack_what(serial, 1 if h else 0, before, event, after, basis)
    log[at + LOG_PACKET] = number
    log[at + LOG_NS] = t
    log[at + LOG_EARLIEST] = earliest
    log[at + LOG_LATEST] = latest
    m[ROWS] = row + 1
    f[h + STATE] = after
    return 1


def last_assumption(f: Ints, log: Ints, h: int) -> int:
    """Return event | state before << 8 of the last unproved assumption, -1 when there is none."""
    row = f[h + PENDING_2] if f[h + PENDING_2] else f[h + PENDING_1]
    if row == 0:
        return -1
    what = log[(row - 1) * LOG_WORDS]
    return (what & 0xFF) | (what >> 12 & 15) << 8


def take_back(f: Ints, log: Ints, h: int) -> None:
    """Undo the last assumption."""
    apart()
    row = f[h + PENDING_2] if f[h + PENDING_2] else f[h + PENDING_1]
    if f[h + PENDING_2]:
        f[h + PENDING_2] = 0
    else:
        f[h + PENDING_1] = 0
    set_basis(log, row - 1, B_RETRACTED)
    f[h + STATE] = log[(row - 1) * LOG_WORDS] >> 12 & 15


def prove_by_ack(
    f: Ints, q: Ints, log: Ints, m: Ints, table: Table, serial: int, s: int, r: int, number: int, t: int, ack: int
) -> None:
    """Turn assumptions about the sender into inferences as far as this ACK proves them."""
    apart()
    covers_fin = f[r + BITS] & HAS_FIN and (ack - f[r + FIN_SEQ] - 1) & M < HALFWAY
    if f[s + PENDING_1]:
        covers_syn = not f[r + BITS] & HAS_ISN or (ack - f[r + ISN] - 1) & M < HALFWAY
        proved = 0
        for place in range(2):
            row = f[s + PENDING_1 + place]
            if row:
                event = log[(row - 1) * LOG_WORDS] & 0xFF
                if ((event == V_FIN or event == V_FIN_ACK_OF_FIN) and covers_fin) or (
                    (event == V_SYN_ACK or event == V_ACK_OF_SYN) and covers_syn
                ):
                    proved = place + 1
        for place in range(proved):
            row = f[s + PENDING_1 + place] - 1
            set_basis(log, row, B_INFERRED)
            log[row * LOG_WORDS + LOG_LATEST] = t
        if proved == 1:
            f[s + PENDING_1] = f[s + PENDING_2]
            f[s + PENDING_2] = 0
        elif proved == 2:
            f[s + PENDING_1] = 0
            f[s + PENDING_2] = 0
    if covers_fin:
        state = f[s + STATE]
        if state != S_CLOSED and not has_received_fin(state):
            move(f, log, m, table, serial, s, V_FIN, B_INFERRED, number, t, q[LAST_NS + (1 if s else 0)], t)


def has_received_fin(state: int) -> int:
    """Whether the peer has closed its direction in this state."""
    return 1 if state == S_CLOSE_WAIT or state == S_CLOSING or state == S_LAST_ACK or state == S_TIME_WAIT else 0


def is_synchronized(state: int) -> int:
    """Whether both ends have agreed on sequence numbers (RFC 9293 §3.3.2)."""
    return 0 if state == S_CLOSED or state == S_LISTEN or state == S_SYN_SENT or state == S_SYN_RECEIVED else 1


def is_over(f: Ints) -> int:
    """Whether nothing more is to come but stragglers: both ends finished, or never synchronized."""
    for h in (0, HALF_WORDS):
        if is_synchronized(f[h + STATE]) and f[h + STATE] != S_TIME_WAIT:
            return 0
    return 1


def opens_another(f: Ints, q: Ints, x: Ints, end: int, t: int, seq: int, ack: int, flags: int) -> int:
    """Whether this segment belongs to the next incarnation of the addresses and ports."""
    shared = f[SHARED]
    if shared & FRESH:
        return 0
    last = q[LAST_NS] if q[LAST_NS] > q[LAST_NS + 1] else q[LAST_NS + 1]
    if t - last > TWO_MSL_NS and is_over(f):
        return 1
    if flags & (SYN | RST) != SYN or shared & SELF:
        return 0
    s = end * HALF_WORDS
    r = HALF_WORDS - s
    if flags & ACK:
        from_receiver = PENDING_SYN_0 if end else PENDING_SYN_1
        return 1 if shared & from_receiver and (x[PENDING_SYN_SEQ] + 1 - ack) & M == 0 else 0
    if f[s + BITS] & HAS_ISN and (f[s + ISN] - seq) & M == 0:
        return 0
    receiver = f[r + STATE]
    if f[s + STATE] == S_LISTEN and not f[s + BITS] & HAS_ISN and receiver == S_SYN_SENT:
        return 0
    return 1 if receiver == S_TIME_WAIT or not is_synchronized(receiver) else 0


def open_actively(
    f: Ints, log: Ints, m: Ints, table: Table, serial: int, h: int, basis: int, number: int, t: int, isn: int, text: int
) -> None:
    """The half sends, or must have sent, a SYN."""
    f[h + BITS] = f[h + BITS] & ~(3 << OPENED_SHIFT) | ACTIVELY << OPENED_SHIFT | HAS_ISN | HAS_NXT
    f[h + ISN] = isn & M
    f[h + NXT] = (isn + 1 + text) & M
    f[SYN_ROW] = m[ROWS] + 1
    f[h + STATE] = S_CLOSED
    move(f, log, m, table, serial, h, V_OPEN_ACTIVE, basis, number, t, -1, t)


def set_opened(f: Ints, h: int, opened: int) -> None:
    """Remember how the half was opened."""
    f[h + BITS] = f[h + BITS] & ~(3 << OPENED_SHIFT) | opened << OPENED_SHIFT


def see_syn(
    f: Ints, q: Ints, x: Ints, log: Ints, m: Ints, table: Table, serial: int, s: int, r: int, number: int, t: int, seq: int,
    text: int, wscale: int,
) -> None:  # fmt: skip
    """SYN without ACK."""
    apart()
    shared = f[SHARED]
    if f[s + BITS] & HAS_ISN and (f[s + ISN] - seq) & M == 0:
        if not f[s + BITS] & SENT_SYN:
            f[s + BITS] |= SENT_SYN
            if f[SYN_ROW]:
                set_basis(log, f[SYN_ROW] - 1, B_SEEN)
        return
    state = f[s + STATE]
    peer_waits = f[r + STATE] == S_SYN_SENT
    crosses = state == S_LISTEN and not f[s + BITS] & HAS_ISN and peer_waits
    if not (shared & FRESH or crosses or (state == S_CLOSED and peer_waits)):
        f[SHARED] = shared & ~(PENDING_SYN_0 | PENDING_SYN_1) | (PENDING_SYN_1 if s else PENDING_SYN_0)
        x[PENDING_SYN_SEQ] = seq
        x[PENDING_SYN_PACKET] = number
        x[PENDING_SYN_HIGH] = t >> 31
        x[PENDING_SYN_LOW] = t & 0x7FFFFFFF
        x[PENDING_SYN_SCALE] = wscale
        return
    open_actively(f, log, m, table, serial, s, B_SEEN, number, t, seq, text)
    f[s + BITS] |= SENT_SYN
    if text:
        f[SHARED] |= FAST_OPEN
    if r != s:
        if shared & FRESH and f[r + BITS] >> OPENED_SHIFT & 3 != REOPENED:
            f[r + STATE] = S_LISTEN
        f[r + RCV] = (seq + 1) & M
        f[r + BITS] |= HAS_RCV


def see_syn_ack(
    f: Ints, q: Ints, log: Ints, m: Ints, table: Table, serial: int, s: int, r: int, number: int, t: int, seq: int, ack: int,
    flags: int, text: int,
) -> None:  # fmt: skip
    """SYN with ACK."""
    apart()
    if f[SHARED] & FRESH and r != s:
        open_actively(f, log, m, table, serial, r, B_INFERRED, number, t, ack - 1, 0)
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
    if not answers_syn(f, q, log, m, table, serial, s, r, number, t, seq):
        return
    f[s + BITS] |= SENT_SYN
    send_numbers(f, s, r, seq, ack, flags, text)
    state = f[r + STATE]
    if state == S_SYN_SENT or (state == S_SYN_RECEIVED and f[r + BITS] >> OPENED_SHIFT & 3 == ACTIVELY):
        f[r + RCV] = (seq + 1) & M
        f[r + BITS] |= HAS_RCV
        una = f[r + ISN] if f[r + BITS] & HAS_ISN else ack
        receive(f, q, log, m, table, serial, s, r, number, t, seq, ack, flags, text, una)


def answers_syn(
    f: Ints, q: Ints, log: Ints, m: Ints, table: Table, serial: int, s: int, r: int, number: int, t: int, seq: int
) -> int:
    """What a SYN|ACK says about its sender; 0 when it says nothing."""
    apart()
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
        move(f, log, m, table, serial, s, V_SYN, B_SEEN, number, t, peer_ns, t)
    elif state == S_TIME_WAIT and f[s + BITS] >> OPENED_SHIFT & 3 == REOPENED:
        move(f, log, m, table, serial, s, V_SYN_REOPENS, B_SEEN, number, t, peer_ns, t)
    elif state == S_SYN_SENT and is_same:
        move(f, log, m, table, serial, s, V_SYN, B_SEEN, number, t, peer_ns, t)
    elif state == S_ESTABLISHED and event == V_SYN_ACK and assumed >> 8 == S_SYN_SENT and is_same:
        take_back(f, log, s)
        move(f, log, m, table, serial, s, V_SYN, B_SEEN, number, t, peer_ns, t)
        move(f, log, m, table, serial, s, V_SYN_ACK, B_ASSUMED, number, t, t, -1)
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


def see_segment(
    f: Ints, q: Ints, log: Ints, m: Ints, table: Table, serial: int, s: int, r: int, number: int, t: int, seq: int, ack: int,
    flags: int, text: int,
) -> None:  # fmt: skip
    """Neither SYN nor RST."""
    apart()
    if f[SHARED] & FRESH:
        f[s + STATE] = S_ESTABLISHED
        f[r + STATE] = S_ESTABLISHED
    if not is_alive(f, q, log, m, table, serial, s, r, number, t, seq, ack, flags):
        return
    has_una = 1
    una = 0
    if f[s + BITS] & HAS_ACKED:
        una = f[s + ACKED]
    elif f[r + BITS] & HAS_ISN:
        una = f[r + ISN]
    else:
        has_una = 0
    send_numbers(f, s, r, seq, ack, flags, text)
    if flags & ACK:
        prove_by_ack(f, q, log, m, table, serial, s, r, number, t, ack)
    if flags & FIN:
        see_fin(f, q, log, m, table, serial, s, r, number, t, seq, ack, flags, text)
    state = f[r + STATE]
    if state == S_FIN_WAIT_1 or state == S_CLOSING or state == S_LAST_ACK:
        if has_una and f[r + BITS] & HAS_FIN and (una - f[r + FIN_SEQ] - 1) & M == 0:
            una = f[r + FIN_SEQ]
    if state != S_CLOSED and state != S_LISTEN:
        receive(f, q, log, m, table, serial, s, r, number, t, seq, ack, flags, text, una if has_una else ack)


def is_alive(
    f: Ints, q: Ints, log: Ints, m: Ints, table: Table, serial: int, s: int, r: int, number: int, t: int, seq: int, ack: int,
    flags: int,
) -> int:  # fmt: skip
    """What sending anything but SYN and RST says about the sender's state so far; 0 ends the matter."""
    apart()
    own_ns = q[LAST_NS + (1 if s else 0)]
    state = f[s + STATE]
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
                move(f, log, m, table, serial, s, V_CLOSE, B_ASSUMED, number, t, own_ns, t)
            return 0
        if receiver == S_LISTEN or receiver == S_CLOSED:
            f[r + STATE] = S_LISTEN
            set_opened(f, r, PASSIVELY)
            move(f, log, m, table, serial, r, V_SYN, B_INFERRED, number, t, own_ns, t)
        elif receiver == S_TIME_WAIT:
            move(f, log, m, table, serial, r, V_SYN_REOPENS, B_INFERRED, number, t, own_ns, t)
        move(f, log, m, table, serial, s, V_SYN_ACK, B_INFERRED, number, t, own_ns, t)
    elif (state == S_LISTEN or state == S_TIME_WAIT) and receiver == S_SYN_SENT:
        if state == S_LISTEN:
            is_answer = flags & ACK and 0 < (ack - f[r + ISN]) & M <= (f[r + NXT] - f[r + ISN]) & M
            if is_answer:
                peer_ns = q[LAST_NS + (1 if r else 0)]
                set_opened(f, s, PASSIVELY)
                move(f, log, m, table, serial, s, V_SYN, B_INFERRED, number, t, peer_ns, t)
                move(f, log, m, table, serial, r, V_SYN_ACK, B_INFERRED, number, t, peer_ns, t)
                f[r + RCV] = seq
                f[r + BITS] |= HAS_RCV
            else:
                f[s + STATE] = S_ESTABLISHED
    elif state == S_LISTEN:
        f[s + STATE] = S_ESTABLISHED
    if f[s + STATE] == S_SYN_RECEIVED and not f[SHARED] & FAST_OPEN:
        move(f, log, m, table, serial, s, V_ACK_OF_SYN, B_INFERRED, number, t, own_ns, t)
    return 1


def send_numbers(f: Ints, s: int, r: int, seq: int, ack: int, flags: int, text: int) -> None:
    """Bring the numbers up to date that the sender shows."""
    end = (seq + text + (1 if flags & SYN else 0) + (flags & FIN)) & M
    bits = f[s + BITS]
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


def see_fin(
    f: Ints,
    q: Ints,
    log: Ints,
    m: Ints,
    table: Table,
    serial: int,
    s: int,
    r: int,
    number: int,
    t: int,
    seq: int,
    ack: int,
    flags: int,
    text: int,
) -> None:
    """The sender closes its direction, or says so again."""
    fin = (seq + text) & M
    if not f[s + BITS] & HAS_FIN:
        f[s + FIN_SEQ] = fin
        f[s + BITS] |= HAS_FIN
        covers_fin = f[r + BITS] & HAS_FIN and (ack - f[r + FIN_SEQ] - 1) & M < HALFWAY
        crosses = flags & ACK and not covers_fin and last_assumption(f, log, s) == V_FIN | S_ESTABLISHED << 8
        if crosses:
            take_back(f, log, s)
        move(f, log, m, table, serial, s, V_CLOSE, B_SEEN, number, t, q[LAST_NS + (1 if s else 0)], t)
        if crosses:
            move(f, log, m, table, serial, s, V_FIN, B_ASSUMED, number, t, t, -1)
    elif (f[s + FIN_SEQ] - fin) & M == 0:
        assumed = last_assumption(f, log, s)
        if assumed >= 0 and assumed & 0xFF == V_ACK_OF_FIN:
            take_back(f, log, s)
            f[r + ACKED] = fin
            f[r + BITS] |= HAS_ACKED


def window_of(f: Ints, h: int, rcv: int) -> int:
    """RCV.WND as far as known."""
    if not f[h + BITS] & HAS_EDGE:
        return ANY_WINDOW
    ahead = (f[h + EDGE] - rcv) & M
    return ahead if ahead < HALFWAY else 0


def receive(
    f: Ints, q: Ints, log: Ints, m: Ints, table: Table, serial: int, s: int, r: int, number: int, t: int, seq: int, ack: int,
    flags: int, text: int, una: int,
) -> None:  # fmt: skip
    """Judge the segment as the receiver does and let the table answer."""
    apart()
    if not f[r + BITS] & HAS_RCV:
        f[r + RCV] = seq
        f[r + BITS] |= HAS_RCV
    bits = f[r + BITS]
    code = classify_code(
        f[r + STATE],
        flags,
        seq,
        ack,
        text,
        una,
        f[r + NXT] if bits & HAS_NXT else ack,
        f[r + RCV],
        window_of(f, r, f[r + RCV]),
        1 if bits & HAS_FIN else 0,
        f[r + FIN_SEQ],
        1 if bits >> OPENED_SHIFT & 3 == ACTIVELY else 0,
    )
    first = (code & 0xFF) - 1
    while code:
        event = (code & 0xFF) - 1
        moved = move(f, log, m, table, serial, r, event, B_ASSUMED, number, t, t, -1)
        if moved and (event == V_FIN or event == V_FIN_ACK_OF_FIN):
            f[r + RCV] = (f[s + FIN_SEQ] + 1) & M
        code >>= 8
    if first == V_SEGMENT_UNACCEPTABLE or first == V_ACK_UNACCEPTABLE or first == V_ACK_MISSING or flags & SYN:
        return
    advance(f, log, m, table, serial, s, r, number, t, seq, text)


def advance(
    f: Ints, log: Ints, m: Ints, table: Table, serial: int, s: int, r: int, number: int, t: int, seq: int, text: int
) -> None:
    """Move RCV.NXT over the text, over what was queued behind a hole, and over a FIN that waited there."""
    apart()
    end = (seq + text) & M
    if text and 0 < (end - f[r + RCV]) & M < HALFWAY:
        if (f[r + RCV] - seq) & M < HALFWAY:
            f[r + RCV] = end
        elif not f[r + BITS] & HAS_OOO:
            f[r + OOO_LOW] = seq
            f[r + OOO_HIGH] = end
            f[r + BITS] |= HAS_OOO
        else:
            if (f[r + OOO_LOW] - seq) & M < HALFWAY:
                f[r + OOO_LOW] = seq
            if (end - f[r + OOO_HIGH]) & M < HALFWAY:
                f[r + OOO_HIGH] = end
    if f[r + BITS] & HAS_OOO and (f[r + RCV] - f[r + OOO_LOW]) & M < HALFWAY:
        if (f[r + OOO_HIGH] - f[r + RCV]) & M < HALFWAY:
            f[r + RCV] = f[r + OOO_HIGH]
        f[r + BITS] &= ~HAS_OOO
    if f[s + BITS] & HAS_FIN and (f[r + RCV] - f[s + FIN_SEQ]) & M == 0 and not has_received_fin(f[r + STATE]):
        if move(f, log, m, table, serial, r, V_FIN, B_ASSUMED, number, t, t, -1):
            f[r + RCV] = (f[s + FIN_SEQ] + 1) & M


def judge_reset(f: Ints, s: int, r: int, seq: int, ack: int, flags: int, text: int) -> int:
    """Judge a reset as its receiver does; RCV.NXT is known within bounds."""
    apart()
    rcv = seq
    if f[r + BITS] & HAS_RCV:
        rcv = f[r + RCV]
        low = f[r + ACKED] if f[r + BITS] & HAS_ACKED else rcv
        high = f[s + NXT] if f[s + BITS] & HAS_NXT and (f[s + NXT] - rcv) & M < HALFWAY else rcv
        if (seq - low) & M <= (high - low) & M:
            rcv = seq
    bits = f[r + BITS]
    code = classify_code(
        f[r + STATE],
        flags,
        seq,
        ack,
        text,
        f[r + ISN] if bits & HAS_ISN else ack,
        f[r + NXT] if bits & HAS_NXT else ack,
        rcv,
        window_of(f, r, rcv),
        0,
        0,
        0,
    )
    return (code & 0xFF) - 1


def see_reset(
    f: Ints, q: Ints, log: Ints, m: Ints, table: Table, serial: int, s: int, r: int, number: int, t: int, seq: int, ack: int,
    flags: int, text: int,
) -> int:  # fmt: skip
    """RST; return the event it is to its receiver."""
    apart()
    if f[SHARED] & FRESH:
        f[s + STATE] = S_ESTABLISHED
        f[r + STATE] = S_ESTABLISHED
    event = judge_reset(f, s, r, seq, ack, flags, text)
    state = f[s + STATE]
    receiver = f[r + STATE]
    if state == S_LISTEN:
        f[s + STATE] = S_CLOSED
    elif state != S_CLOSED and state != S_SYN_SENT:
        if event != V_RST_UNACCEPTABLE or receiver == S_CLOSED or receiver == S_LISTEN:
            if not flags & ACK and last_assumption(f, log, s) & 0xFF == V_SYN_ACK:
                take_back(f, log, s)
            basis = B_ASSUMED if event == V_RST_IN_WINDOW else B_SEEN
            own_ns = q[LAST_NS + (1 if s else 0)]
            move(f, log, m, table, serial, s, V_ABORT, basis, number, t, own_ns, t)
    if flags & ACK and event == V_RST:
        prove_by_ack(f, q, log, m, table, serial, s, r, number, t, ack)
    if r != s or event == V_RST:
        move(f, log, m, table, serial, r, event, B_ASSUMED, number, t, t, -1)
    return event


def note_window(f: Ints, s: int, r: int, ack: int, flags: int, wnd: int) -> None:
    """Remember the right edge of the window that the sender offers, when its scale is known."""
    if not flags & ACK or flags & RST:
        return
    if not (f[s + BITS] & SENT_SYN and f[r + BITS] & SENT_SYN):
        f[s + BITS] &= ~HAS_EDGE
        return
    scale = 0
    if f[s + BITS] & HAS_SCALE and f[r + BITS] & HAS_SCALE and not flags & SYN:
        scale = f[s + BITS] >> SCALE_SHIFT & 15
    edge = (ack + (wnd << scale)) & M
    if not f[s + BITS] & HAS_EDGE or (edge - f[s + EDGE]) & M < HALFWAY:
        f[s + EDGE] = edge
        f[s + BITS] |= HAS_EDGE


def track(
    f: Ints, q: Ints, x: Ints, log: Ints, m: Ints, table: Table, serial: int, end: int, number: int, t: int, seq: int,
    ack: int, flags: int, wnd: int, text: int, wscale: int,
) -> int:  # fmt: skip
    """Take in one TCP segment sent by ``end``; return the event of a reset, else -1. ``log`` has room for 8 rows."""
    apart()
    s = 0 if f[SHARED] & SELF else end * HALF_WORDS
    r = 0 if f[SHARED] & SELF else HALF_WORDS - s
    event = -1
    if flags & RST:
        event = see_reset(f, q, log, m, table, serial, s, r, number, t, seq, ack, flags, text)
    elif flags & SYN and flags & ACK:
        see_syn_ack(f, q, log, m, table, serial, s, r, number, t, seq, ack, flags, text)
    elif flags & SYN:
        see_syn(f, q, x, log, m, table, serial, s, r, number, t, seq, text, wscale)
    else:
        see_segment(f, q, log, m, table, serial, s, r, number, t, seq, ack, flags, text)
    if flags & SYN and wscale >= 0:
        f[s + BITS] = f[s + BITS] & ~(15 << SCALE_SHIFT) | HAS_SCALE | (wscale if wscale < 14 else 14) << SCALE_SHIFT
    note_window(f, s, r, ack, flags, wnd)
    f[SHARED] &= ~FRESH
    q[LAST_NS + (1 if s else 0)] = t
    return event


def see_icmp(
    f: Ints, x: Ints, log: Ints, m: Ints, table: Table, serial: int, end: int, number: int, t: int, kind: int
) -> None:
    """Take in an ICMP error that quotes a segment of ``end`` (kind 1: soft, 2: hard, 3: packet too big)."""
    x[ICMP_SOFT_SEEN + kind - 1] += 1
    if kind != 2:
        return
    h = 0 if f[SHARED] & SELF else end * HALF_WORDS
    if f[h + STATE] == S_SYN_SENT or f[h + STATE] == S_SYN_RECEIVED:
        move(f, log, m, table, serial, h, V_ICMP_HARD_ERROR, B_ASSUMED, number, t, t, -1)


def note_letter(f: Ints, q: Ints, x: Ints, h: int, letter: int) -> None:
    """Append a letter of Zeek's history (its number; 16 more for end 1) unless this end has it already."""
    if f[h + BITS] >> (LETTERS_SHIFT + letter) & 1:
        return
    f[h + BITS] |= 1 << (LETTERS_SHIFT + letter)
    append_letter(q, x, (16 if h else 0) | letter)


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


def needs_extra(f: Ints, q: Ints, end: int, seq: int, ack: int, flags: int, wnd: int, text: int) -> int:
    """Whether this segment is, or may be, something that only troubled connections have."""
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
    elif f[r + BITS] & HAS_EDGE and (f[r + EDGE] - seq - text) & M == 0:
        return 1
    return 1 if bits & HAS_RCV and flags & ACK and 0 < (ack - f[s + RCV]) & M < HALFWAY else 0


def account(
    f: Ints, q: Ints, x: Ints, end: int, t: int, seq: int, ack: int, flags: int, wnd: int, text: int, mss: int
) -> None:
    """Count what the segment is, with the numbers as they were before it. ``x`` is never the shared dummy
    when :func:`needs_extra` said so.
    """
    apart()
    s = 0 if f[SHARED] & SELF else end * HALF_WORDS
    r = 0 if f[SHARED] & SELF else HALF_WORDS - s
    e = EXTRA_HALF if s else 0
    bits = f[s + BITS]
    f[s + PACKETS] += 1
    q[TEXT_BYTES + (1 if s else 0)] += text
    if flags & RST:
        note_letter(f, q, x, s, L_RESET)
        return
    if mss:
        f[s + WINDOW_MSS] = f[s + WINDOW_MSS] & 0xFFFF | (mss & 0x7FFF) << 16
    if flags & SYN:
        note_letter(f, q, x, s, L_SYN_ACK if flags & ACK else L_SYN)
        if bits & HAS_ISN and bits & SENT_SYN and (f[s + ISN] - seq) & M == 0:
            x[e + RETRANSMISSIONS] += 1
            f[s + BITS] &= ~HAS_RTT
        else:
            start_rtt(f, q, s, seq + 1, t)
    else:
        count_text(f, q, x, s, r, e, t, seq, flags, text)
    if flags & ACK:
        count_ack(f, q, x, s, r, e, t, seq, ack, flags, wnd, text)
    if flags & FIN:
        note_letter(f, q, x, s, L_FIN)


def count_text(f: Ints, q: Ints, x: Ints, s: int, r: int, e: int, t: int, seq: int, flags: int, text: int) -> None:
    """Text and FIN: new, again, out of order, or a probe."""
    apart()
    length = text + (flags & FIN)
    bits = f[s + BITS]
    ahead = (seq - f[s + NXT]) & M if bits & HAS_NXT else 0
    if ahead >= HALFWAY:
        if ahead == M and text <= 1 and not flags & (FIN | SYN):
            x[e + KEEPALIVES] += 1
        elif length:
            is_unseen = f[r + BITS] & HAS_OOO and (seq - f[r + RCV]) & M < HALFWAY
            patience_ns = 3_000_000
            if f[s + RTT_MIN_US] * 1000 > patience_ns:
                patience_ns = f[s + RTT_MIN_US] * 1000
            if is_unseen and t - q[LAST_NS + (1 if s else 0)] < patience_ns:
                x[e + OUT_OF_ORDER] += 1
            else:
                x[e + RETRANSMISSIONS] += 1
                if is_unseen:
                    x[FILLED_HOLES + (1 if s else 0)] += 1
                f[s + BITS] &= ~HAS_RTT
                if text:
                    note_retransmission(q, x, s, x[e + RETRANSMISSIONS])
    elif length:
        if text and f[r + BITS] & HAS_EDGE and (f[r + EDGE] - seq - text) & M == 0:
            x[e + WINDOW_FULL] += 1
        if not bits & HAS_RTT:
            start_rtt(f, q, s, seq + length, t)
    if text:
        note_letter(f, q, x, s, L_DATA)


def count_ack(
    f: Ints, q: Ints, x: Ints, s: int, r: int, e: int, t: int, seq: int, ack: int, flags: int, wnd: int, text: int
) -> None:
    """An ACK: a round trip measured, a duplicate, a zero window, or proof that something was not captured."""
    apart()
    bits = f[s + BITS]
    if text == 0 and not flags & (SYN | FIN):
        note_letter(f, q, x, s, L_ACK)
        if bits & HAS_ACKED and (ack - f[s + ACKED]) & M == 0 and f[s + WINDOW_MSS] & 0xFFFF == wnd and wnd:
            if (f[s + NXT] - seq) & M == 0:
                x[e + DUPLICATE_ACKS] += 1
    if wnd == 0:
        x[e + ZERO_WINDOWS] += 1
        note_letter(f, q, x, s, L_ZERO_WINDOW)
    f[s + WINDOW_MSS] = f[s + WINDOW_MSS] & ~0xFFFF | wnd
    if bits & HAS_RCV and 0 < (ack - f[s + RCV]) & M < ANY_WINDOW:
        hole = (ack - f[s + RCV]) & M
        if f[r + BITS] & HAS_FIN and (ack - f[r + FIN_SEQ] - 1) & M < HALFWAY:
            hole -= 1
        if bits & HAS_OOO and (ack - f[s + OOO_LOW]) & M < HALFWAY:
            seen = (f[s + OOO_HIGH] - f[s + OOO_LOW]) & M
            hole -= seen if seen < hole else hole
        if hole > 0 and not flags & SYN and is_synchronized(f[r + STATE]) and f[s + STATE] != S_SYN_SENT:
            x[(0 if s else EXTRA_HALF) + MISSED_BYTES] += hole
            note_letter(f, q, x, r, L_GAP)
    if f[r + BITS] & HAS_RTT and (ack - f[r + RTT_SEQ]) & M < HALFWAY:
        f[r + BITS] &= ~HAS_RTT
        rtt_us = ((t - q[FIRST_NS]) // 1000 - f[r + RTT_START_US]) & 0x7FFFFFFF
        if f[r + RTT_MIN_US] == 0 or rtt_us < f[r + RTT_MIN_US]:
            f[r + RTT_MIN_US] = rtt_us if rtt_us else 1


def start_rtt(f: Ints, q: Ints, s: int, end_seq: int, t: int) -> None:
    """Time this segment: its round trip ends with the first ACK that covers it (RFC 6298 §3)."""
    f[s + RTT_SEQ] = end_seq & M
    f[s + RTT_START_US] = (t - q[FIRST_NS]) // 1000 & 0x7FFFFFFF
    f[s + BITS] |= HAS_RTT


def note_retransmission(q: Ints, x: Ints, s: int, count: int) -> None:
    """Zeek writes ``t`` once per power of ten."""
    if count == 1 or count == 10 or count == 100 or count == 1000 or count == 10000:
        append_letter(q, x, (16 if s else 0) | L_RETRANSMISSION)


def observe(
    f: Ints, q: Ints, x: Ints, log: Ints, m: Ints, table: Table, serial: int, end: int, number: int, t: int, seq: int,
    ack: int, flags: int, wnd: int, text: int, wscale: int, mss: int,
) -> None:  # fmt: skip
    """Count and track one TCP segment sent by ``end``."""
    account(f, q, x, end, t, seq, ack, flags, wnd, text, mss)
    event = track(f, q, x, log, m, table, serial, end, number, t, seq, ack, flags, wnd, text, wscale)
    if event >= 0:
        count_reset(x, EXTRA_HALF if end else 0, event)


def count_reset(x: Ints, e: int, event: int) -> None:
    """Note where a reset lay in its receiver's window."""
    if event == V_RST:
        x[e + RESETS_LEGAL] += 1
    elif event == V_RST_IN_WINDOW:
        x[e + RESETS_CHALLENGED] += 1
    else:
        x[e + RESETS_BLIND] += 1


def start_flow(f: Ints, q: Ints, number: int, t: int, shared: int, incarnation: int) -> None:
    """Fill the row of a flow that nothing is known of."""
    for word in range(FLOW_WORDS):
        f[word] = 0
    for word in range(FLOW_QUADS):
        q[word] = 0
    f[STATE] = S_CLOSED
    f[HALF_WORDS + STATE] = S_CLOSED
    f[SHARED] = FRESH | shared
    f[FIRST_PACKET] = number
    f[INCARNATION] = incarnation
    q[FIRST_NS] = t
    q[LAST_NS] = -1
    q[LAST_NS + 1] = -1


def is_routine(f: Ints, q: Ints, end: int, t: int, seq: int, ack: int, flags: int, wnd: int, text: int) -> int:
    """Take in the segment that nearly every segment is, and say whether it was one.

    In order, both ends ESTABLISHED and proved to be, no hole, no FIN, a new ACK or new text, inside the window:
    exactly what :func:`observe` would do with it, only sooner; a test says so.
    """
    s = end * HALF_WORDS
    r = HALF_WORDS - s
    if flags & (FIN | SYN | RST | ACK) != ACK or f[s + STATE] != S_ESTABLISHED or f[r + STATE] != S_ESTABLISHED:
        return 0
    if f[s + PENDING_1] or f[r + PENDING_1] or f[SHARED] & SELF or not wnd:
        return 0
    bits = f[s + BITS]
    peer_bits = f[r + BITS]
    wanted = ROUTINE_TEXT if text else ROUTINE_ACK
    if bits & (HAS_FIN | HAS_OOO) or bits & wanted != wanted or peer_bits & ROUTINE_PEER != ROUTINE_NUMBERS:
        return 0
    if (f[s + NXT] - seq) & M or (f[r + RCV] - seq) & M:
        return 0
    news = (ack - f[s + ACKED]) & M
    if news >= HALFWAY or (f[r + NXT] - ack) & M >= HALFWAY or (f[s + RCV] - ack) & M >= HALFWAY:
        return 0
    if not news and not text and f[s + WINDOW_MSS] & 0xFFFF == wnd:
        return 0
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
    f[s + WINDOW_MSS] = f[s + WINDOW_MSS] & ~0xFFFF | wnd
    q[LAST_NS + end] = t
    return 1


#: The functions one text is made of, in the order of need.
PARTS: tuple[Callable[..., int | None], ...] = (
    pack_what,
    set_basis,
    move,
    last_assumption,
    take_back,
    has_received_fin,
    prove_by_ack,
    is_synchronized,
    is_over,
    opens_another,
    open_actively,
    set_opened,
    send_numbers,
    window_of,
    advance,
    receive,
    see_syn,
    answers_syn,
    see_syn_ack,
    is_alive,
    see_fin,
    see_segment,
    judge_reset,
    see_reset,
    note_window,
    track,
    see_icmp,
    append_letter,
    note_letter,
    note_retransmission,
    start_rtt,
    needs_extra,
    count_text,
    count_ack,
    account,
    count_reset,
    observe,
    start_flow,
    is_routine,
)
