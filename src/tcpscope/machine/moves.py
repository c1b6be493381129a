"""The one place that changes a connection's state: by a row of the table, never otherwise.

:func:`take` finds the row, moves the connection and does what entering a state always brings with it (timers,
flushing). A test searches this room for any other assignment of a state.
"""

from __future__ import annotations

from collections.abc import Callable

from tcpscope.machine.lifecycle import Row, find_row
from tcpscope.machine.sequence import MASK
from tcpscope.machine.tcb import Tcb
from tcpscope.model.event import Event, Guard, Sends
from tcpscope.model.segment import ACK, RST, Segment
from tcpscope.model.state import State


class ImpossibleEvent(Exception):
    """An event that the table does not know in this state: a defect of the endpoint, never of its input."""


def take(tcb: Tcb, event: Event, *guards: Guard) -> Row:
    """Move ``tcb`` by the row for ``event``; return the row. The only assignment of a state after birth."""
    row = find_row(tcb.state, event, guards)
    if row is None:
        raise ImpossibleEvent(f"{event.name} in {tcb.state.name}")
    if tcb.taken is not None:
        tcb.taken.append(row)
    if row.before is not row.after:
        tcb.state = row.after
        tcb.report("state", row.note, row)
        entered = _ON_ENTERING.get(row.after)
        if entered is not None:
            entered(tcb, row)
    return row


def opening_guard(tcb: Tcb) -> Guard:
    """Say how this end was opened (MUST-11)."""
    if tcb.reopened is not None:
        return Guard.REOPENED
    return Guard.OPENED_ACTIVELY if tcb.opened_actively else Guard.OPENED_PASSIVELY


def answer(tcb: Tcb, row: Row, segment: Segment) -> None:
    """Owe the peer what ``row`` sends in answer to ``segment``; text, SYN and FIN are the plan's."""
    if row.sends is Sends.ACK:
        tcb.acks_now = True
    elif row.sends is Sends.CHALLENGE_ACK:
        challenge(tcb)
    elif row.sends in (Sends.RST, Sends.RST_ACK):
        tcb.replies.extend(reset_for(segment))


def challenge(tcb: Tcb) -> None:
    """Owe a challenge ACK, unless too many went out lately (RFC 5961 §7)."""
    if tcb.now_ns - tcb.challenges_since_ns >= tcb.profile.challenge_period_ns:
        tcb.challenges_since_ns, tcb.challenges = tcb.now_ns, 0
    if tcb.challenges < tcb.profile.challenge_acks:
        tcb.challenges += 1
        tcb.counters.challenge_acks += 1
        tcb.acks_now = True
        tcb.report("challenge", "challenge ACK (RFC 5961)")


def reset_for(segment: Segment) -> list[Segment]:
    """Return the reset for a segment that belongs to no connection (§3.10.7.1), or nothing: RST is never answered."""
    if segment.flags & RST:
        return []
    if segment.flags & ACK:
        return [Segment(segment.ack, 0, RST)]
    return [Segment(0, (segment.seq + segment.seg_len) & MASK, RST | ACK)]


def fail(tcb: Tcb, phrase: str) -> None:
    """Remember why the connection ends, in the RFC's words, and tell the application."""
    tcb.error = phrase
    tcb.report("error", phrase)


def flush(tcb: Tcb) -> None:
    """Drop everything that waits to be sent or put in order, and stop the timers."""
    tcb.unsent, tcb.unsent_bytes = [], 0
    tcb.flight, tcb.out_of_order, tcb.ordered_by_recency = [], [], []
    tcb.recovery.sacked_bytes = tcb.recovery.lost_bytes = tcb.recovery.dup_bytes = 0
    tcb.persist_backoff = 0
    tcb.forget_deadlines()


def _enter_closed(tcb: Tcb, row: Row) -> None:
    flush(tcb)
    tcb.acks_now = False


def _enter_fin_wait_2(tcb: Tcb, row: Row) -> None:
    if tcb.reader_gone:
        tcb.deadline_fin_wait_2_ns = tcb.now_ns + tcb.profile.fin_wait_2_ns


def _enter_time_wait(tcb: Tcb, row: Row) -> None:
    flush(tcb)
    if tcb.reopened is not None:
        tcb.reopened.restore(tcb)
    tcb.deadline_time_wait_ns = tcb.now_ns + 2 * tcb.profile.msl_ns


def _enter_listen(tcb: Tcb, row: Row) -> None:
    if row.before is not State.CLOSED:
        flush(tcb)
        tcb.listen_again()


_ON_ENTERING: dict[State, Callable[[Tcb, Row], None]] = {
    State.CLOSED: _enter_closed,
    State.FIN_WAIT_2: _enter_fin_wait_2,
    State.TIME_WAIT: _enter_time_wait,
    State.LISTEN: _enter_listen,
}
