"""THE table: every state TCP can be in and every move between them (RFC 9293).

Figure 5 of RFC 9293 plus every transition its text adds, and every event that deliberately keeps a state. The
endpoint, the packet tracker, the kernel watcher, the lab, ``explain`` and the docs all read these rows; nobody
else writes states down. What Linux does otherwise is in :mod:`tcpscope.machine.linux`, by name.

Rules of this file:

* A row is ``before, event, guard, after, sends, rfc, note``. ``rfc`` is a section of RFC 9293 unless it names
  another RFC.
* ``(before, event, guard)`` is unique. A row with a guard goes before the ``ALWAYS`` row of its state and event.
* No row means: the event cannot happen there (a segment is never classified so, a timer never runs).
* Sequence numbers are not table material: :mod:`tcpscope.machine.classify` turns segments into events.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tcpscope.model.event import Event, Guard, Sends
from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State

CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED = State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED
ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2 = State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2
CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT = State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK, State.TIME_WAIT
ALWAYS = Guard.ALWAYS

#: States in the order in which a connection's life meets them (the order of RFC 9293 §3.3.2).
LIFE_ORDER = (
    CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK,
    TIME_WAIT,
)  # fmt: skip


class Row(NamedTuple):
    """One line of the life cycle: in ``before``, on ``event`` (if ``guard``), answer ``sends``, be in ``after``."""

    before: State
    event: Event
    guard: Guard
    after: State
    sends: Sends
    rfc: str
    note: str

    @property
    def id(self) -> str:
        """A stable name: ``FIN_WAIT_1.FIN`` or, with a guard, ``SYN_RECEIVED.RST.OPENED_PASSIVELY``."""
        guard = "" if self.guard == ALWAYS else f".{self.guard.name}"
        return f"{self.before.name}.{self.event.name}{guard}"

    @property
    def changes_state(self) -> bool:
        """Whether the row moves the connection."""
        return self.before != self.after


def _keeps(states: Collection[State], event: Event, sends: Sends, rfc: str, note: str) -> Iterator[Row]:
    for state in states:
        yield Row(state, event, ALWAYS, state, sends, rfc, note)


def _ends(states: Collection[State], event: Event, sends: Sends, rfc: str, note: str) -> Iterator[Row]:
    for state in states:
        yield Row(state, event, ALWAYS, CLOSED, sends, rfc, note)


_SYNCHRONIZED = (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT)
_OPEN = (SYN_SENT, SYN_RECEIVED, *_SYNCHRONIZED)
_ENDING = (CLOSING, LAST_ACK, TIME_WAIT)

# fmt: off
_USER_CALLS = (
    # OPEN, §3.10.1
    Row(CLOSED, Event.OPEN_PASSIVE, ALWAYS, LISTEN, Sends.NOTHING, "3.10.1", "listen(): wait for any peer, or for the one named"),
    Row(CLOSED, Event.OPEN_ACTIVE, Guard.REMOTE_GIVEN, SYN_SENT, Sends.SYN, "3.10.1", "connect(): pick ISS, send SYN"),
    Row(CLOSED, Event.OPEN_ACTIVE, Guard.REMOTE_UNSPECIFIED, CLOSED, Sends.NOTHING, "3.10.1", "error: remote socket unspecified"),
    Row(LISTEN, Event.OPEN_PASSIVE, ALWAYS, LISTEN, Sends.NOTHING, "3.9.1.1", "error or another record; this one is never disturbed (MUST-41)"),
    Row(LISTEN, Event.OPEN_ACTIVE, Guard.REMOTE_GIVEN, SYN_SENT, Sends.SYN, "3.10.1", "a listener turns into a client"),
    Row(LISTEN, Event.OPEN_ACTIVE, Guard.REMOTE_UNSPECIFIED, LISTEN, Sends.NOTHING, "3.10.1", "error: remote socket unspecified"),
    *_keeps(_OPEN, Event.OPEN_PASSIVE, Sends.NOTHING, "3.10.1", "error: connection already exists"),
    *_keeps(_OPEN, Event.OPEN_ACTIVE, Sends.NOTHING, "3.10.1", "error: connection already exists"),
    # SEND, §3.10.2
    Row(CLOSED, Event.SEND, ALWAYS, CLOSED, Sends.NOTHING, "3.10.2", "error: connection does not exist"),
    Row(LISTEN, Event.SEND, Guard.REMOTE_GIVEN, SYN_SENT, Sends.SYN, "3.10.2", "a listener turns into a client; the data waits for ESTABLISHED"),
    Row(LISTEN, Event.SEND, Guard.REMOTE_UNSPECIFIED, LISTEN, Sends.NOTHING, "3.10.2", "error: remote socket unspecified"),
    *_keeps((SYN_SENT, SYN_RECEIVED), Event.SEND, Sends.NOTHING, "3.10.2", "queued until ESTABLISHED"),
    *_keeps((ESTABLISHED, CLOSE_WAIT), Event.SEND, Sends.DATA, "3.10.2", "segmentized and sent as the window allows"),
    *_keeps((FIN_WAIT_1, FIN_WAIT_2, *_ENDING), Event.SEND, Sends.NOTHING, "3.10.2", "error: connection closing"),
    # RECEIVE, §3.10.3
    Row(CLOSED, Event.RECEIVE, ALWAYS, CLOSED, Sends.NOTHING, "3.10.3", "error: connection does not exist"),
    *_keeps((LISTEN, SYN_SENT, SYN_RECEIVED), Event.RECEIVE, Sends.NOTHING, "3.10.3", "queued until ESTABLISHED"),
    *_keeps((ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2), Event.RECEIVE, Sends.NOTHING, "3.10.3", "text is delivered, or the call waits"),
    Row(CLOSE_WAIT, Event.RECEIVE, ALWAYS, CLOSE_WAIT, Sends.NOTHING, "3.10.3", "what is left is delivered, then end of file"),
    *_keeps(_ENDING, Event.RECEIVE, Sends.NOTHING, "3.10.3", "error: connection closing"),
    # CLOSE, §3.10.4
    Row(CLOSED, Event.CLOSE, ALWAYS, CLOSED, Sends.NOTHING, "3.10.4", "error: connection does not exist"),
    Row(LISTEN, Event.CLOSE, ALWAYS, CLOSED, Sends.NOTHING, "3.10.4", "queued RECEIVEs end with 'closing'"),
    Row(SYN_SENT, Event.CLOSE, ALWAYS, CLOSED, Sends.NOTHING, "3.10.4", "queued calls end with 'closing'; no segment is sent"),
    Row(SYN_RECEIVED, Event.CLOSE, Guard.NOTHING_QUEUED, FIN_WAIT_1, Sends.FIN, "3.10.4", "closed before it was ever ESTABLISHED"),
    Row(SYN_RECEIVED, Event.CLOSE, Guard.DATA_QUEUED, SYN_RECEIVED, Sends.NOTHING, "3.10.4", "queued until ESTABLISHED"),
    Row(ESTABLISHED, Event.CLOSE, Guard.NOTHING_QUEUED, FIN_WAIT_1, Sends.FIN, "3.10.4", "close() or shutdown(): this end closes first"),
    Row(ESTABLISHED, Event.CLOSE, Guard.DATA_QUEUED, FIN_WAIT_1, Sends.DATA, "3.10.4", "the state changes at once, the FIN follows the data"),
    Row(ESTABLISHED, Event.CLOSE, Guard.UNREAD_DATA, CLOSED, Sends.RST, "3.6.1", "half-duplex close with unread data: reset (SHLD-3)"),
    *_keeps((FIN_WAIT_1, FIN_WAIT_2), Event.CLOSE, Sends.NOTHING, "3.10.4", "already closing: no second FIN"),
    Row(FIN_WAIT_1, Event.CLOSE, Guard.UNREAD_DATA, CLOSED, Sends.RST, "3.6.1", "close() after shutdown() with unread data: reset (SHLD-3)"),
    Row(FIN_WAIT_2, Event.CLOSE, Guard.UNREAD_DATA, CLOSED, Sends.RST, "3.6.1", "close() after shutdown() with unread data: reset (SHLD-3)"),
    Row(CLOSE_WAIT, Event.CLOSE, Guard.NOTHING_QUEUED, LAST_ACK, Sends.FIN, "3.10.4", "the program closes after end of file"),
    Row(CLOSE_WAIT, Event.CLOSE, Guard.DATA_QUEUED, CLOSE_WAIT, Sends.DATA, "3.10.4", "queued until all SENDs are segmentized, then FIN"),
    Row(CLOSE_WAIT, Event.CLOSE, Guard.UNREAD_DATA, CLOSED, Sends.RST, "3.6.1", "half-duplex close with unread data: reset (SHLD-3)"),
    *_keeps(_ENDING, Event.CLOSE, Sends.NOTHING, "3.10.4", "error: connection closing"),
    # ABORT, §3.10.5
    Row(CLOSED, Event.ABORT, ALWAYS, CLOSED, Sends.NOTHING, "3.10.5", "error: connection does not exist"),
    *_ends((LISTEN, SYN_SENT), Event.ABORT, Sends.NOTHING, "3.10.5", "queued calls end with 'reset'; nobody to tell"),
    *_ends((SYN_RECEIVED, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT), Event.ABORT, Sends.RST, "3.10.5", "SO_LINGER 0, SOCK_DESTROY, program killed with unread data"),
    *_ends(_ENDING, Event.ABORT, Sends.NOTHING, "3.10.5", "both FINs are out: no reset"),
    # STATUS, §3.10.6
    Row(CLOSED, Event.STATUS, ALWAYS, CLOSED, Sends.NOTHING, "3.10.6", "error: connection does not exist"),
    *_keeps((LISTEN, *_OPEN), Event.STATUS, Sends.NOTHING, "3.10.6", "reports the state"),
)

_BEFORE_SYNCHRONIZATION = (
    # CLOSED, §3.10.7.1
    Row(CLOSED, Event.RST_UNACCEPTABLE, ALWAYS, CLOSED, Sends.NOTHING, "3.10.7.1", "a reset is never answered"),
    Row(CLOSED, Event.ACK_UNACCEPTABLE, ALWAYS, CLOSED, Sends.RST, "3.10.7.1", "no such connection"),
    Row(CLOSED, Event.SYN, ALWAYS, CLOSED, Sends.RST_ACK, "3.10.7.1", "nobody listens: connection refused"),
    Row(CLOSED, Event.SEGMENT_IRRELEVANT, ALWAYS, CLOSED, Sends.RST_ACK, "3.10.7.1", "no such connection"),
    # LISTEN, §3.10.7.2
    Row(LISTEN, Event.RST_UNACCEPTABLE, ALWAYS, LISTEN, Sends.NOTHING, "3.10.7.2", "a reset cannot be for a listener"),
    Row(LISTEN, Event.ACK_UNACCEPTABLE, ALWAYS, LISTEN, Sends.RST, "3.10.7.2", "an ACK of nothing"),
    Row(LISTEN, Event.SYN, ALWAYS, SYN_RECEIVED, Sends.SYN_ACK, "3.10.7.2", "first step of the handshake, server side"),
    Row(LISTEN, Event.SEGMENT_IRRELEVANT, ALWAYS, LISTEN, Sends.NOTHING, "3.10.7.2", "neither RST, ACK nor SYN: dropped"),
    # SYN-SENT, §3.10.7.3
    Row(SYN_SENT, Event.ACK_UNACCEPTABLE, ALWAYS, SYN_SENT, Sends.RST, "3.10.7.3", "an ACK of something never sent: the peer is half-open"),
    Row(SYN_SENT, Event.RST, ALWAYS, CLOSED, Sends.NOTHING, "3.10.7.3", "connection refused"),
    Row(SYN_SENT, Event.RST_UNACCEPTABLE, ALWAYS, SYN_SENT, Sends.NOTHING, "3.10.7.3", "a reset without an acceptable ACK is dropped"),
    Row(SYN_SENT, Event.SYN_ACK, ALWAYS, ESTABLISHED, Sends.ACK, "3.10.7.3", "third step of the handshake, client side"),
    Row(SYN_SENT, Event.SYN, ALWAYS, SYN_RECEIVED, Sends.SYN_ACK, "3.10.7.3", "simultaneous open (MUST-10)"),
    Row(SYN_SENT, Event.SEGMENT_IRRELEVANT, ALWAYS, SYN_SENT, Sends.NOTHING, "3.10.7.3", "neither SYN nor RST: dropped"),
)

_GUARDED = (SYN_RECEIVED, *_SYNCHRONIZED)
_ARRIVALS = (
    # first, the sequence number, §3.10.7.4
    *_keeps(_GUARDED, Event.SEGMENT_UNACCEPTABLE, Sends.ACK, "3.10.7.4", "outside the window: answered with ACK and dropped"),
    # second, RST
    *_keeps(_GUARDED, Event.RST_UNACCEPTABLE, Sends.NOTHING, "3.10.7.4", "reset outside the window: dropped"),
    *_keeps(_GUARDED, Event.RST_IN_WINDOW, Sends.CHALLENGE_ACK, "3.10.7.4", "not exactly at RCV.NXT: challenge ACK (RFC 5961 §3)"),
    Row(SYN_RECEIVED, Event.RST, Guard.OPENED_PASSIVELY, LISTEN, Sends.NOTHING, "3.10.7.4", "back to LISTEN; the user is not told"),
    Row(SYN_RECEIVED, Event.RST, Guard.OPENED_ACTIVELY, CLOSED, Sends.NOTHING, "3.10.7.4", "simultaneous open refused"),
    Row(SYN_RECEIVED, Event.RST, Guard.REOPENED, TIME_WAIT, Sends.NOTHING, "3.6.1", "the SYN was an old duplicate: back to TIME-WAIT (MAY-2)"),
    *_ends((ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT), Event.RST, Sends.NOTHING, "3.10.7.4", "connection reset: queues flushed, user told"),
    *_ends(_ENDING, Event.RST, Sends.NOTHING, "3.10.7.4", "reset while ending (RFC 1337 would ignore it in TIME-WAIT)"),
    # fourth, SYN
    Row(SYN_RECEIVED, Event.SYN_IN_SYNCHRONIZED, Guard.OPENED_PASSIVELY, LISTEN, Sends.NOTHING, "3.10.7.4", "another SYN in the window: back to LISTEN"),
    Row(SYN_RECEIVED, Event.SYN_IN_SYNCHRONIZED, Guard.OPENED_ACTIVELY, SYN_RECEIVED, Sends.CHALLENGE_ACK, "3.10.7.4", "challenge ACK (RFC 5961 §4)"),
    Row(SYN_RECEIVED, Event.SYN_ACK, Guard.OPENED_ACTIVELY, ESTABLISHED, Sends.NOTHING, "3.5", "simultaneous open completes (figure 7; test widened as in A.2)"),
    *_keeps(_SYNCHRONIZED, Event.SYN_IN_SYNCHRONIZED, Sends.CHALLENGE_ACK, "3.10.7.4", "SYN on a live connection: challenge ACK (RFC 5961 §4)"),
    Row(TIME_WAIT, Event.SYN_REOPENS, ALWAYS, SYN_RECEIVED, Sends.SYN_ACK, "3.6.1", "new incarnation with a higher ISS (MAY-2, RFC 6191)"),
    Row(TIME_WAIT, Event.SYN_OLD_DUPLICATE, ALWAYS, TIME_WAIT, Sends.NOTHING, "3.6.1", "old duplicate SYN: dropped (RFC 6191)"),
    # fifth, ACK
    *_keeps(_GUARDED, Event.ACK_MISSING, Sends.NOTHING, "3.10.7.4", "no ACK bit: dropped"),
    Row(SYN_RECEIVED, Event.ACK_OF_SYN, ALWAYS, ESTABLISHED, Sends.NOTHING, "3.10.7.4", "third step of the handshake arrives"),
    Row(SYN_RECEIVED, Event.ACK_UNACCEPTABLE, ALWAYS, SYN_RECEIVED, Sends.RST, "3.10.7.4", "an ACK of something never sent"),
    *_keeps(_SYNCHRONIZED, Event.ACK_UNACCEPTABLE, Sends.ACK, "3.10.7.4", "beyond SND.NXT or too old (RFC 5961 §5, MAY-12)"),
    *_keeps(_SYNCHRONIZED, Event.ACK, Sends.NOTHING, "3.10.7.4", "SND.UNA and the window are brought up to date"),
    Row(FIN_WAIT_1, Event.ACK_OF_FIN, ALWAYS, FIN_WAIT_2, Sends.NOTHING, "3.10.7.4", "our direction is closed"),
    Row(CLOSING, Event.ACK_OF_FIN, ALWAYS, TIME_WAIT, Sends.NOTHING, "3.10.7.4", "simultaneous close completes; 2 MSL start"),
    Row(LAST_ACK, Event.ACK_OF_FIN, ALWAYS, CLOSED, Sends.NOTHING, "3.10.7.4", "both directions are closed"),
    # seventh, text
    *_keeps((ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2), Event.TEXT, Sends.ACK, "3.10.7.4", "delivered; the ACK may wait or ride on data"),
    Row(FIN_WAIT_1, Event.TEXT, Guard.READER_GONE, CLOSED, Sends.RST, "3.6.1", "data after close(): reset (SHLD-3)"),
    Row(FIN_WAIT_2, Event.TEXT, Guard.READER_GONE, CLOSED, Sends.RST, "3.6.1", "data after close(): reset (SHLD-3)"),
    *_keeps((CLOSE_WAIT, *_ENDING), Event.TEXT, Sends.NOTHING, "3.10.7.4", "cannot be: the peer has sent its FIN; ignored"),
    # eighth, FIN
    Row(SYN_RECEIVED, Event.FIN, ALWAYS, CLOSE_WAIT, Sends.ACK, "3.10.7.4", "the peer closes with the last step of its handshake"),
    Row(ESTABLISHED, Event.FIN, ALWAYS, CLOSE_WAIT, Sends.ACK, "3.10.7.4", "the peer closes first: end of file for the program"),
    Row(FIN_WAIT_1, Event.FIN, ALWAYS, CLOSING, Sends.ACK, "3.10.7.4", "simultaneous close: the FINs crossed"),
    Row(FIN_WAIT_1, Event.FIN_ACK_OF_FIN, ALWAYS, TIME_WAIT, Sends.ACK, "3.10.7.4", "FIN and the ACK of ours in one segment; 2 MSL start"),
    Row(FIN_WAIT_2, Event.FIN, ALWAYS, TIME_WAIT, Sends.ACK, "3.10.7.4", "the peer closes too; 2 MSL start"),
    *_keeps((CLOSE_WAIT, CLOSING, LAST_ACK), Event.FIN, Sends.ACK, "3.10.7.4", "the FIN again: acknowledged again"),
    Row(TIME_WAIT, Event.FIN, ALWAYS, TIME_WAIT, Sends.ACK, "3.10.7.4", "the FIN again: our last ACK was lost; 2 MSL start anew"),
)

_ICMP = (
    *_ends((SYN_SENT, SYN_RECEIVED, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK), Event.ICMP_HARD_ERROR, Sends.NOTHING, "3.9.2.2", "protocol or port unreachable aborts (SHLD-26; RFC 5927 advises against it once synchronized)"),
    Row(TIME_WAIT, Event.ICMP_HARD_ERROR, ALWAYS, TIME_WAIT, Sends.NOTHING, "3.9.2.2", "nothing is outstanding that it could concern"),
    *_keeps(_OPEN, Event.ICMP_SOFT_ERROR, Sends.NOTHING, "3.9.2.2", "net, host or route unreachable, time exceeded: never aborts (MUST-56)"),
)

_RETRANSMITTING = (SYN_SENT, SYN_RECEIVED, ESTABLISHED, FIN_WAIT_1, CLOSE_WAIT, CLOSING, LAST_ACK)
_TIMEOUTS = (
    Row(SYN_SENT, Event.RETRANSMISSION_TIMEOUT, ALWAYS, SYN_SENT, Sends.SYN, "3.8.1", "SYN again, RTO doubled (RFC 6298)"),
    Row(SYN_RECEIVED, Event.RETRANSMISSION_TIMEOUT, ALWAYS, SYN_RECEIVED, Sends.SYN_ACK, "3.8.1", "SYN|ACK again, RTO doubled"),
    *_keeps((ESTABLISHED, CLOSE_WAIT), Event.RETRANSMISSION_TIMEOUT, Sends.DATA, "3.8.1", "first unacknowledged segment again, RTO doubled"),
    *_keeps((FIN_WAIT_1, CLOSING, LAST_ACK), Event.RETRANSMISSION_TIMEOUT, Sends.FIN, "3.8.1", "data or FIN again, RTO doubled"),
    *_ends(_RETRANSMITTING, Event.USER_TIMEOUT, Sends.NOTHING, "3.10.8", "R2 or the user timeout is over: aborted (MUST-20)"),
    Row(FIN_WAIT_2, Event.USER_TIMEOUT, ALWAYS, CLOSED, Sends.NOTHING, "3.10.8", "user timeout: aborted"),
    *_keeps((ESTABLISHED, FIN_WAIT_1, CLOSE_WAIT, CLOSING, LAST_ACK), Event.PERSIST_TIMEOUT, Sends.PROBE, "3.8.6.1", "window is zero: probe, for ever while answered (MUST-37)"),
    *_keeps((ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2), Event.DELAYED_ACK_TIMEOUT, Sends.ACK, "3.8.6.3", "the ACK that waited for company (MUST-40)"),
    *_keeps((ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT), Event.KEEPALIVE_TIMEOUT, Sends.PROBE, "3.8.4", "idle: probe one octet below SND.NXT (MAY-5)"),
    *_ends((ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT), Event.KEEPALIVE_EXHAUSTED, Sends.NOTHING, "3.8.4", "no probe was answered: the peer is gone"),
    Row(FIN_WAIT_2, Event.FIN_WAIT_2_TIMEOUT, ALWAYS, CLOSED, Sends.NOTHING, "3.6.1", "after a full close nobody waits for the peer's FIN for ever (MAY-1 allows; Linux tcp_fin_timeout)"),
    Row(TIME_WAIT, Event.TIME_WAIT_TIMEOUT, ALWAYS, CLOSED, Sends.NOTHING, "3.10.8", "2 MSL are over"),
)
# fmt: on

#: The whole life cycle.
ROWS: tuple[Row, ...] = (*_USER_CALLS, *_BEFORE_SYNCHRONIZATION, *_ARRIVALS, *_ICMP, *_TIMEOUTS)

_INDEX = {(row.before, row.event, row.guard): row for row in ROWS}
_BY_ID = {row.id: row for row in ROWS}
#: The usual life of the end that opens and closes first ...
CLIENT_ROAD: tuple[Row, ...] = tuple(
    _BY_ID[name]
    for name in (
        "CLOSED.OPEN_ACTIVE.REMOTE_GIVEN",
        "SYN_SENT.SYN_ACK",
        "ESTABLISHED.CLOSE.NOTHING_QUEUED",
        "FIN_WAIT_1.ACK_OF_FIN",
        "FIN_WAIT_2.FIN",
        "TIME_WAIT.TIME_WAIT_TIMEOUT",
    )
)
#: ... and of the end that listens and closes second.
SERVER_ROAD: tuple[Row, ...] = tuple(
    _BY_ID[name]
    for name in (
        "CLOSED.OPEN_PASSIVE",
        "LISTEN.SYN",
        "SYN_RECEIVED.ACK_OF_SYN",
        "ESTABLISHED.FIN",
        "CLOSE_WAIT.CLOSE.NOTHING_QUEUED",
        "LAST_ACK.ACK_OF_FIN",
    )
)
#: Every change of state that RFC 9293 knows.
EDGES = frozenset((row.before, row.after) for row in ROWS if row.changes_state)


def find_row(before: State, event: Event, guards: Collection[Guard] = ()) -> Row | None:
    """Return the row for ``event`` in ``before`` when ``guards`` hold, or ``None`` when it cannot happen there."""
    for guard in guards:
        row = _INDEX.get((before, event, guard))
        if row is not None:
            return row
    return _INDEX.get((before, event, ALWAYS))


def rows_from(state: State) -> tuple[Row, ...]:
    """Return all rows that start in ``state``, in table order."""
    return tuple(row for row in ROWS if row.before == state)


def rows_between(before: State, after: State) -> tuple[Row, ...]:
    """Return the rows that lead from ``before`` to ``after`` (different states), most usual first."""
    return tuple(row for row in ROWS if row.before == before and row.after == after and row.changes_state)


def ways_into(state: State) -> tuple[Row, ...]:
    """Return the rows that change to ``state``."""
    return tuple(row for row in ROWS if row.after == state and row.changes_state)


def ways_out_of(state: State) -> tuple[Row, ...]:
    """Return the rows that leave ``state``."""
    return tuple(row for row in ROWS if row.before == state and row.changes_state)


def road_of(row: Row) -> str:
    """Say whose usual road a row is on: ``client``, ``server`` or ``other``."""
    if row in CLIENT_ROAD:
        return "client"
    return "server" if row in SERVER_ROAD else "other"


def row_by_id(name: str) -> Row:
    """Return the row with this :attr:`Row.id`. Raises ``KeyError``."""
    return _BY_ID[name]
