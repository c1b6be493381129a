"""Which event moved a connection: the rows of THE table between two states, and what else the kernel told.

The kernel reports states, not events. Between most pairs of states the life cycle has one event; where it has
several (all that ends in CLOSED), the socket's error, the reason of a reset and whether one was received decide.
What they do not decide stays open (``None``): nothing is guessed here.
"""

from __future__ import annotations

from errno import (
    ECONNABORTED,
    ECONNREFUSED,
    ECONNRESET,
    EHOSTUNREACH,
    ENETUNREACH,
    ENOPROTOOPT,
    EPIPE,
    ETIMEDOUT,
    errorcode,
)

from tcpscope.machine.lifecycle import rows_between
from tcpscope.model.event import Event
from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State

CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED = State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED
LAST_ACK, TIME_WAIT = State.LAST_ACK, State.TIME_WAIT


class Evidence(NamedTuple):
    """What the kernel told beside the two states. ``sent_reason`` is ``sk_rst_reason`` without its prefix."""

    error: int = 0  #: ``sk_err`` at that moment
    received_reset: bool = False
    sent_reason: str = ""


NOTHING = Evidence()

#: The event of a move when the kernel reports neither error nor reset and the table has several rows for it.
_USUAL = {
    (SYN_RECEIVED, State.ESTABLISHED): Event.ACK_OF_SYN,
    (LAST_ACK, CLOSED): Event.ACK_OF_FIN,
    (LISTEN, CLOSED): Event.CLOSE,
    (SYN_SENT, CLOSED): Event.CLOSE,
    (LISTEN, SYN_RECEIVED): Event.SYN,
}

_BY_REASON: dict[str, tuple[Event, str]] = {
    "TCP_ABORT_ON_CLOSE": (Event.CLOSE, "close() with unread data: reset instead of FIN"),
    "TCP_ABORT_ON_LINGER": (Event.ABORT, "SO_LINGER 0: reset instead of FIN"),
    "TCP_DISCONNECT_WITH_DATA": (Event.ABORT, "reset by disconnecting or SO_LINGER 0"),
    "TCP_ABORT_ON_DATA": (Event.TEXT, "data came after close(): reset"),
    "TCP_ABORT_ON_MEMORY": (Event.ABORT, "too many orphans or out of TCP memory: reset"),
    "TCP_KEEPALIVE_TIMEOUT": (Event.KEEPALIVE_EXHAUSTED, "no keepalive probe (or user timeout) was answered"),
    "TCP_STATE": (Event.ABORT, "SO_LINGER 0, connect(AF_UNSPEC), or its listener was closed before accept()"),
    "TCP_TIMEWAIT_SOCKET": (Event.TEXT, "data came after close(): reset"),
}
_BY_ERROR: dict[int, tuple[Event, str]] = {
    ETIMEDOUT: (Event.USER_TIMEOUT, "gave up retransmitting"),
    ECONNABORTED: (Event.ABORT, "aborted from outside (SOCK_DESTROY)"),
    EHOSTUNREACH: (Event.ICMP_HARD_ERROR, "host unreachable"),
    ENETUNREACH: (Event.ICMP_HARD_ERROR, "network unreachable"),
    ECONNREFUSED: (Event.ICMP_HARD_ERROR, "port unreachable (ICMP)"),
    ENOPROTOOPT: (Event.ICMP_HARD_ERROR, "protocol unreachable (ICMP)"),
}
_RESET_WORDS = {ECONNREFUSED: "connection refused", ECONNRESET: "reset by the peer", EPIPE: "reset after its FIN"}

Deduced = tuple[Event | None, str]
_unexplained: dict[tuple[State, State], Deduced] = {}


def deduce_event(before: State, after: State, evidence: Evidence = NOTHING) -> Deduced:
    """Return ``(event, cause)`` of a move; ``cause`` is for people and may be empty."""
    if after is CLOSED and evidence != NOTHING:
        return _ending(evidence)
    found = _unexplained.get((before, after))
    if found is None:
        found = _unexplained[before, after] = _by_table(before, after), ""
    return found


def is_settled(before: State, after: State, evidence: Evidence) -> bool:
    """Whether the event is known now; if not, a reset with its reason may still follow."""
    return after != CLOSED or evidence != NOTHING or (before, after) in _USUAL


def _ending(evidence: Evidence) -> Deduced:
    if evidence.received_reset:
        return Event.RST, _RESET_WORDS.get(evidence.error, "reset received")
    if evidence.sent_reason in _BY_REASON and evidence.error != ECONNABORTED:
        return _BY_REASON[evidence.sent_reason]
    if evidence.error in _BY_ERROR:
        return _BY_ERROR[evidence.error]
    if evidence.sent_reason:
        return None, f"reset sent ({evidence.sent_reason.lower().replace('_', ' ')})"
    return None, errorcode.get(evidence.error, f"error {evidence.error}")


def _by_table(before: State, after: State) -> Event | None:
    """Return the usual event, or the only one that all rows between the two states have."""
    if (before, after) in _USUAL:
        return _USUAL[before, after]
    events = {row.event for row in rows_between(before, after)}
    return events.pop() if len(events) == 1 else None
