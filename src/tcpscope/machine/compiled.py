"""THE table and the classifier once more, as flat integers, for engines that judge millions of segments a second.

Nothing is decided here. :data:`AFTER` is computed from :data:`~tcpscope.machine.lifecycle.ROWS` when the module is
imported, and :func:`classify_code` is :func:`~tcpscope.machine.classify.classify` with its answer packed into one
integer; tests walk the whole lattice and hold both equal. Everything is written in the subset of Python that a compiler
for numeric code (numba) understands, and runs as it is under CPython.

Sequence numbers may come in as signed or unsigned 32-bit numbers: only differences modulo 2**32 are looked at.
"""

from __future__ import annotations

from tcpscope.machine.lifecycle import find_row
from tcpscope.model.event import Event, Guard
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.model.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

STATES = 12  #: one more than the highest state number
EVENTS = len(Event)

#: What the table may ask about an end whose program nobody sees: how it was opened. The index is the guard set.
GUARD_SETS: tuple[tuple[Guard, ...], ...] = (
    (Guard.REMOTE_GIVEN, Guard.NOTHING_QUEUED),
    (Guard.OPENED_PASSIVELY, Guard.REMOTE_GIVEN, Guard.NOTHING_QUEUED),
    (Guard.OPENED_ACTIVELY, Guard.REMOTE_GIVEN, Guard.NOTHING_QUEUED),
    (Guard.REOPENED, Guard.REMOTE_GIVEN, Guard.NOTHING_QUEUED),
)
UNKNOWN, PASSIVELY, ACTIVELY, REOPENED = 0, 1, 2, 3


def _compile() -> bytes:
    cells = bytearray(len(GUARD_SETS) * STATES * EVENTS)
    for number, guards in enumerate(GUARD_SETS):
        for state in State:
            for event in Event:
                row = find_row(state, event, guards)
                if row is not None:
                    cells[(number * STATES + state) * EVENTS + event] = row.after
    return bytes(cells)


#: ``AFTER[(guard set * STATES + state) * EVENTS + event]`` is the state after, 0 where no row applies.
AFTER = _compile()

_M = 0xFFFFFFFF
_HALF = 0x80000000
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10

# Why plain integers: a compiler takes them for constants, and words would be looked up again and again.
_CLOSED, _LISTEN, _SYN_SENT, _SYN_RECEIVED, _FIN_WAIT_1, _TIME_WAIT, _CLOSE_WAIT, _LAST_ACK, _CLOSING = map(
    int,
    (
        State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED, State.FIN_WAIT_1, State.TIME_WAIT,
        State.CLOSE_WAIT, State.LAST_ACK, State.CLOSING,
    ),
)  # fmt: skip

# one more than the event, so that an empty place is 0
E_SYN, E_SYN_ACK, E_ACK_OF_SYN, E_ACK = Event.SYN + 1, Event.SYN_ACK + 1, Event.ACK_OF_SYN + 1, Event.ACK + 1
E_TEXT, E_ACK_OF_FIN, E_FIN = Event.TEXT + 1, Event.ACK_OF_FIN + 1, Event.FIN + 1
E_FIN_ACK_OF_FIN, E_RST, E_RST_IN_WINDOW = Event.FIN_ACK_OF_FIN + 1, Event.RST + 1, Event.RST_IN_WINDOW + 1
E_RST_UNACCEPTABLE, E_SYN_IN_SYNCHRONIZED = Event.RST_UNACCEPTABLE + 1, Event.SYN_IN_SYNCHRONIZED + 1
E_ACK_UNACCEPTABLE, E_ACK_MISSING = Event.ACK_UNACCEPTABLE + 1, Event.ACK_MISSING + 1
E_SEGMENT_UNACCEPTABLE, E_SEGMENT_IRRELEVANT = Event.SEGMENT_UNACCEPTABLE + 1, Event.SEGMENT_IRRELEVANT + 1


def unpack_events(code: int) -> tuple[Event, ...]:
    """Spell a packed answer of :func:`classify_code` in words."""
    events = []
    while code:
        events.append(Event((code & 0xFF) - 1))
        code >>= 8
    return tuple(events)


def classify_code(
    state: int,
    flags: int,
    seq: int,
    ack: int,
    text_bytes: int,
    snd_una: int,
    snd_nxt: int,
    rcv_nxt: int,
    rcv_wnd: int,
    has_fin: int,
    snd_fin: int,
    is_active: int,
) -> int:
    """Return the events of a segment, packed one per octet, first in the lowest; see :func:`unpack_events`.

    The arguments are those of :func:`~tcpscope.machine.classify.classify` with RFC 5961 on and RFC 6191 left out;
    ``has_fin`` says whether ``snd_fin`` is known, ``is_active`` whether this end opened actively.
    """
    if state == _CLOSED or state == _LISTEN:
        if flags & _RST:
            return E_RST_UNACCEPTABLE
        if flags & _ACK:
            return E_ACK_UNACCEPTABLE
        return E_SYN if flags & _SYN else E_SEGMENT_IRRELEVANT
    is_new_ack = 0 < (ack - snd_una) & _M <= (snd_nxt - snd_una) & _M
    if state == _SYN_SENT:
        if flags & _ACK and not is_new_ack:
            return E_RST_UNACCEPTABLE if flags & _RST else E_ACK_UNACCEPTABLE
        if flags & _RST:
            return E_RST if flags & _ACK else E_RST_UNACCEPTABLE
        if not flags & _SYN:
            return E_SEGMENT_IRRELEVANT
        if not flags & _ACK:
            return E_SYN
        return E_SYN_ACK | _text_and_fin(flags, 0, text_bytes, 0, rcv_wnd, E_FIN) << 8
    ahead = (seq - rcv_nxt) & _M
    if flags & _RST:
        if ahead == 0:
            return E_RST
        return E_RST_UNACCEPTABLE if ahead >= rcv_wnd else E_RST_IN_WINDOW
    if flags & _SYN:
        if state == _SYN_RECEIVED:
            if is_active and flags & _ACK and ahead == _M:
                if not is_new_ack:
                    return E_ACK_UNACCEPTABLE
                return E_SYN_ACK | _text_and_fin(flags, rcv_nxt, text_bytes, rcv_nxt, rcv_wnd, E_FIN) << 8
            if not _is_acceptable(seq, 1, rcv_nxt, rcv_wnd):
                return E_SEGMENT_UNACCEPTABLE
        return E_SYN_IN_SYNCHRONIZED
    return _classify_rest(state, flags, seq, ack, text_bytes, snd_una, rcv_nxt, rcv_wnd, has_fin, snd_fin, is_new_ack)


def _classify_rest(
    state: int,
    flags: int,
    seq: int,
    ack: int,
    text_bytes: int,
    snd_una: int,
    rcv_nxt: int,
    rcv_wnd: int,
    has_fin: int,
    snd_fin: int,
    is_new_ack: bool,
) -> int:
    has_seen_fin = state == _CLOSE_WAIT or state == _CLOSING or state == _LAST_ACK or state == _TIME_WAIT
    fin_again = flags & _FIN and has_seen_fin and (seq + text_bytes + 1 - rcv_nxt) & _M == 0
    acceptable = _is_acceptable(seq, text_bytes + (flags & _FIN), rcv_nxt, rcv_wnd)
    refused = not acceptable and rcv_wnd == 0 and (seq - rcv_nxt) & _M == 0
    if not (acceptable or fin_again or refused):
        return E_SEGMENT_UNACCEPTABLE
    if not flags & _ACK:
        return E_ACK_MISSING
    of_ack = E_ACK
    if state == _SYN_RECEIVED:
        of_ack = E_ACK_OF_SYN if is_new_ack else E_ACK_UNACCEPTABLE
    elif not is_new_ack and 0 < (ack - snd_una) & _M < _HALF:
        of_ack = E_ACK_UNACCEPTABLE
    elif has_fin and is_new_ack and (ack - snd_fin - 1) & _M < _HALF:
        if state == _FIN_WAIT_1 or state == _CLOSING or state == _LAST_ACK:
            of_ack = E_ACK_OF_FIN
    if of_ack == E_ACK_UNACCEPTABLE or (state == _LAST_ACK and of_ack == E_ACK_OF_FIN):
        return of_ack
    if refused:
        return of_ack | E_SEGMENT_UNACCEPTABLE << 8
    if fin_again:
        return of_ack | E_FIN << 8
    if state == _FIN_WAIT_1 and of_ack == E_ACK_OF_FIN:
        rest = _text_and_fin(flags, seq, text_bytes, rcv_nxt, rcv_wnd, E_FIN_ACK_OF_FIN)
        if rest & 0xFF == E_FIN_ACK_OF_FIN or rest >> 8 == E_FIN_ACK_OF_FIN:
            return rest
        return of_ack | rest << 8
    return of_ack | _text_and_fin(flags, seq, text_bytes, rcv_nxt, rcv_wnd, E_FIN) << 8


def _is_acceptable(seq: int, seg_len: int, rcv_nxt: int, rcv_wnd: int) -> bool:
    ahead = (seq - rcv_nxt) & _M
    if rcv_wnd == 0:
        return seg_len == 0 and ahead == 0
    if ahead < rcv_wnd or seg_len == 0:
        return ahead < rcv_wnd
    return ahead >= _HALF and 0 < (seq + seg_len - rcv_nxt) & _M < _HALF


def _text_and_fin(flags: int, seq: int, text_bytes: int, rcv_nxt: int, rcv_wnd: int, fin_event: int) -> int:
    end = (seq + text_bytes - rcv_nxt) & _M
    code = E_TEXT if text_bytes and 0 < end < _HALF else 0
    if flags & _FIN and (rcv_nxt - seq) & _M < _HALF and end < rcv_wnd:
        return code | fin_event << 8 if code else fin_event
    return code


#: The functions one text is made of, in the order of need.
PARTS: tuple[Callable[..., int], ...] = (_is_acceptable, _text_and_fin, _classify_rest, classify_code)
