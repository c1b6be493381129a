"""A segment against a connection's numbers: which events of the life cycle it is, in processing order.

This is the half of SEGMENT ARRIVES (RFC 9293 §3.10.7) that is arithmetic; the other half is the table
(:mod:`tcpscope.machine.lifecycle`). The endpoint knows its numbers exactly, the packet tracker bounds them; both ask
:func:`classify`. It decides nothing about data, timers, PAWS or throttling: those are the endpoint's.

Rules of this file:

* Integers in, a tuple of :class:`~tcpscope.model.event.Event` out; no objects, no memory between calls.
* Folding the events through the table from ``state`` always finds a row (a test walks the whole lattice).
* Where the letter of the sequence test would lose a valid segment it is widened as RFC 9293 A.2 describes: SYN|ACK
  of a simultaneous open, a FIN that comes again, and a zero receive window (MUST-66).
"""

from __future__ import annotations

from tcpscope.machine.sequence import HALF, MASK
from tcpscope.model.event import Event
from tcpscope.model.segment import ACK, FIN, RST, SYN
from tcpscope.model.state import State

CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED = State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED
FIN_WAIT_1, CLOSING, LAST_ACK = State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK
CLOSE_WAIT, TIME_WAIT = State.CLOSE_WAIT, State.TIME_WAIT

_FIN_SEEN = (CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT)
_FIN_AWAITS_ACK = (FIN_WAIT_1, CLOSING, LAST_ACK)
_NOTHING: tuple[Event, ...] = ()


def classify(
    state: int,
    flags: int,
    seq: int,
    ack: int,
    text_bytes: int,
    *,
    snd_una: int,
    snd_nxt: int,
    rcv_nxt: int,
    rcv_wnd: int,
    snd_fin: int = -1,
    max_snd_wnd: int = -1,
    opened_actively: bool = False,
    tsval: int = -1,
    ts_recent: int = -1,
    reopens: bool = True,
    exact_rst: bool = True,
) -> tuple[Event, ...]:
    """Return the events that a segment is to a connection in ``state``, in the order of §3.10.7.

    ``flags`` is the flag octet, ``text_bytes`` the payload length. ``snd_nxt`` is one past the highest sequence
    number ever sent; ``rcv_wnd`` is the window in octets (scaled). ``snd_fin`` is the sequence number of our own
    FIN, -1 while it was not sent. ``max_snd_wnd`` is the largest window the peer ever offered (RFC 5961 §5);
    -1 leaves that check out. ``tsval`` and ``ts_recent`` (-1: none) and ``reopens`` decide SYN in TIME-WAIT
    (RFC 6191). ``exact_rst=False`` obeys a reset anywhere in the window, as before RFC 5961.
    """
    if state in (CLOSED, LISTEN):
        return (_before_synchronization(flags),)
    if state == SYN_SENT:
        return _in_syn_sent(flags, ack, text_bytes, snd_una, snd_nxt, rcv_wnd)
    if state == TIME_WAIT and reopens and flags & (SYN | ACK | RST) == SYN:
        return (judge_reopening(seq, rcv_nxt, tsval, ts_recent),)
    if flags & RST:
        return (_judge_reset(seq, rcv_nxt, rcv_wnd, exact_rst),)
    if flags & SYN:
        crossing = opened_actively and state == SYN_RECEIVED and flags & ACK and seq == (rcv_nxt - 1) & MASK
        if not crossing:
            return (_judge_syn(state, seq, rcv_nxt, rcv_wnd),)
        if not 0 < (ack - snd_una) & MASK <= (snd_nxt - snd_una) & MASK:
            return (Event.ACK_UNACCEPTABLE,)
        return (Event.SYN_ACK, *_text_and_fin(flags, rcv_nxt, text_bytes, rcv_nxt, rcv_wnd, Event.FIN))
    fin_again = is_fin_again(state, flags, seq, text_bytes, rcv_nxt)
    acceptable = is_acceptable(seq, text_bytes + (flags & FIN != 0), rcv_nxt, rcv_wnd)
    refused = not acceptable and not rcv_wnd and seq == rcv_nxt  # MUST-66: the ACK counts, the text does not
    if not (acceptable or fin_again or refused):
        return (Event.SEGMENT_UNACCEPTABLE,)
    if not flags & ACK:
        return (Event.ACK_MISSING,)
    of_ack = _judge_ack(state, ack, snd_una, snd_nxt, snd_fin, max_snd_wnd)
    if of_ack == Event.ACK_UNACCEPTABLE or (state == LAST_ACK and of_ack == Event.ACK_OF_FIN):
        return (of_ack,)  # the connection is gone, or the segment is: nothing of it is looked at any more
    if refused:
        return (of_ack, Event.SEGMENT_UNACCEPTABLE)
    if fin_again:
        return (of_ack, Event.FIN)
    if state == FIN_WAIT_1 and of_ack == Event.ACK_OF_FIN:
        rest = _text_and_fin(flags, seq, text_bytes, rcv_nxt, rcv_wnd, Event.FIN_ACK_OF_FIN)
        return rest if rest and rest[-1] == Event.FIN_ACK_OF_FIN else (of_ack, *rest)
    return (of_ack, *_text_and_fin(flags, seq, text_bytes, rcv_nxt, rcv_wnd, Event.FIN))


def is_acceptable(seq: int, seg_len: int, rcv_nxt: int, rcv_wnd: int) -> bool:
    """Whether the sequence test of §3.10.7.4 passes (table 6): part of the segment is inside the window."""
    if not rcv_wnd:
        return not seg_len and seq == rcv_nxt
    starts_inside = (seq - rcv_nxt) & MASK < rcv_wnd
    if starts_inside or not seg_len:
        return starts_inside
    # Why: a segment longer than the window may start before it and end behind it.
    starts_before = (seq - rcv_nxt) & MASK >= HALF
    return starts_before and 0 < (seq + seg_len - rcv_nxt) & MASK < HALF


def is_fin_again(state: int, flags: int, seq: int, text_bytes: int, rcv_nxt: int) -> bool:
    """Whether the segment repeats the FIN that was already taken (the peer missed our ACK of it)."""
    return bool(flags & FIN) and state in _FIN_SEEN and (seq + text_bytes + 1) & MASK == rcv_nxt


def judge_reopening(seq: int, rcv_nxt: int, tsval: int, ts_recent: int) -> Event:
    """Judge a SYN in TIME-WAIT as RFC 6191 §2 does; ``tsval``/``ts_recent`` are -1 when there is no timestamp."""
    if tsval >= 0 and ts_recent < 0:
        return Event.SYN_REOPENS
    if tsval >= 0 and tsval != ts_recent:
        newer = (tsval - ts_recent) & MASK < HALF
        return Event.SYN_REOPENS if newer else Event.SYN_OLD_DUPLICATE
    # Why: the last sequence number seen is that of the peer's FIN, RCV.NXT - 1.
    return Event.SYN_REOPENS if (seq - rcv_nxt) & MASK < HALF else Event.SYN_OLD_DUPLICATE


def _before_synchronization(flags: int) -> Event:
    """RFC 9293 §3.10.7.1 and §3.10.7.2: RST, then ACK, then SYN."""
    if flags & RST:
        return Event.RST_UNACCEPTABLE
    if flags & ACK:
        return Event.ACK_UNACCEPTABLE
    return Event.SYN if flags & SYN else Event.SEGMENT_IRRELEVANT


def _in_syn_sent(flags: int, ack: int, text_bytes: int, snd_una: int, snd_nxt: int, rcv_wnd: int) -> tuple[Event, ...]:
    """RFC 9293 §3.10.7.3: ACK, then RST, then SYN."""
    if flags & ACK and not 0 < (ack - snd_una) & MASK <= (snd_nxt - snd_una) & MASK:
        return (Event.RST_UNACCEPTABLE if flags & RST else Event.ACK_UNACCEPTABLE,)
    if flags & RST:
        return (Event.RST if flags & ACK else Event.RST_UNACCEPTABLE,)
    if not flags & SYN:
        return (Event.SEGMENT_IRRELEVANT,)
    if not flags & ACK:
        return (Event.SYN,)
    return (Event.SYN_ACK, *_text_and_fin(flags, 0, text_bytes, 0, rcv_wnd, Event.FIN))


def _judge_reset(seq: int, rcv_nxt: int, rcv_wnd: int, exact_rst: bool) -> Event:
    """RFC 9293 §3.10.7.4, second (RFC 5961 §3): only the number at RCV.NXT proves that the reset is meant."""
    if seq == rcv_nxt:
        return Event.RST
    if (seq - rcv_nxt) & MASK >= rcv_wnd:
        return Event.RST_UNACCEPTABLE
    return Event.RST_IN_WINDOW if exact_rst else Event.RST


def _judge_syn(state: int, seq: int, rcv_nxt: int, rcv_wnd: int) -> Event:
    """RFC 9293 §3.10.7.4, fourth: in SYN-RECEIVED only a SYN in the window counts, later any (RFC 5961 §4)."""
    if state == SYN_RECEIVED and not is_acceptable(seq, 1, rcv_nxt, rcv_wnd):
        return Event.SEGMENT_UNACCEPTABLE
    return Event.SYN_IN_SYNCHRONIZED


def _judge_ack(state: int, ack: int, snd_una: int, snd_nxt: int, snd_fin: int, max_snd_wnd: int) -> Event:
    """RFC 9293 §3.10.7.4, fifth."""
    ahead = (ack - snd_una) & MASK
    is_new = 0 < ahead <= (snd_nxt - snd_una) & MASK
    if state == SYN_RECEIVED:
        return Event.ACK_OF_SYN if is_new else Event.ACK_UNACCEPTABLE
    if not is_new and ahead and (ahead < HALF or 0 <= max_snd_wnd < MASK + 1 - ahead):
        return Event.ACK_UNACCEPTABLE
    covers_fin = snd_fin >= 0 and is_new and (ack - snd_fin - 1) & MASK < HALF
    return Event.ACK_OF_FIN if covers_fin and state in _FIN_AWAITS_ACK else Event.ACK


def _text_and_fin(
    flags: int, seq: int, text_bytes: int, rcv_nxt: int, rcv_wnd: int, fin_event: Event
) -> tuple[Event, ...]:
    """RFC 9293 §3.10.7.4, seventh and eighth: text with new octets; FIN when nothing is missing before it."""
    end = (seq + text_bytes - rcv_nxt) & MASK  # octets of text from RCV.NXT on
    text = (Event.TEXT,) if text_bytes and 0 < end < HALF else _NOTHING
    starts_at_or_before = (rcv_nxt - seq) & MASK < HALF
    if flags & FIN and starts_at_or_before and end < rcv_wnd:
        return (*text, fin_event)
    return text
