"""How events, guards and answers of the table are written for people: ``rcv FIN``, ``CLOSE (nothing queued)``.

The life cycle's words are :class:`~tcpscope.model.event.Event`; this module only spells and describes them.
"""

from __future__ import annotations

from tcpscope.machine.lifecycle import ROWS, Row
from tcpscope.model.event import Event, Guard, Sends

_SPELLED: dict[Event, str] = {
    Event.OPEN_PASSIVE: "passive OPEN",
    Event.OPEN_ACTIVE: "active OPEN",
    Event.SYN: "rcv SYN",
    Event.SYN_ACK: "rcv SYN,ACK",
    Event.ACK_OF_SYN: "rcv ACK of SYN",
    Event.ACK: "rcv ACK",
    Event.TEXT: "rcv text",
    Event.ACK_OF_FIN: "rcv ACK of FIN",
    Event.FIN: "rcv FIN",
    Event.FIN_ACK_OF_FIN: "rcv FIN and ACK of FIN",
    Event.RST: "rcv RST",
    Event.RST_IN_WINDOW: "rcv RST inside the window",
    Event.RST_UNACCEPTABLE: "rcv RST, unacceptable",
    Event.SYN_IN_SYNCHRONIZED: "rcv SYN on a live connection",
    Event.SYN_REOPENS: "rcv SYN that may reopen",
    Event.SYN_OLD_DUPLICATE: "rcv SYN, old duplicate",
    Event.ACK_UNACCEPTABLE: "rcv ACK, unacceptable",
    Event.ACK_MISSING: "rcv segment without ACK",
    Event.SEGMENT_UNACCEPTABLE: "rcv segment outside the window",
    Event.SEGMENT_IRRELEVANT: "rcv irrelevant segment",
    Event.ICMP_HARD_ERROR: "ICMP hard error",
    Event.ICMP_SOFT_ERROR: "ICMP soft error",
    Event.RETRANSMISSION_TIMEOUT: "retransmission timeout",
    Event.USER_TIMEOUT: "user timeout",
    Event.PERSIST_TIMEOUT: "persist timeout",
    Event.DELAYED_ACK_TIMEOUT: "delayed ACK timeout",
    Event.KEEPALIVE_TIMEOUT: "keepalive timeout",
    Event.KEEPALIVE_EXHAUSTED: "keepalive exhausted",
    Event.FIN_WAIT_2_TIMEOUT: "FIN_WAIT_2 timeout",
    Event.TIME_WAIT_TIMEOUT: "2 MSL timeout",
}

_MEANT: dict[Event, str] = {
    Event.OPEN_PASSIVE: "The program waits for a peer: listen().",
    Event.OPEN_ACTIVE: "The program wants a connection: connect().",
    Event.SEND: "The program hands over bytes: send(), write().",
    Event.RECEIVE: "The program asks for bytes: recv(), read().",
    Event.CLOSE: "The program has nothing more to send: close() or shutdown(SHUT_WR).",
    Event.ABORT: "The program throws the connection away: SO_LINGER with 0 seconds, or close() with unread data.",
    Event.STATUS: "The program asks how the connection is: getsockopt(TCP_INFO).",
    Event.SYN: "A segment that opens a connection: SYN without ACK.",
    Event.SYN_ACK: "The answer to our SYN, with the peer's own.",
    Event.ACK_OF_SYN: "Our SYN is acknowledged and the segment carries no SYN.",
    Event.ACK: "A valid acknowledgement that does not cover our FIN: of data, of nothing new, or with a new window.",
    Event.TEXT: "Bytes for the program, in the window.",
    Event.ACK_OF_FIN: "The peer has everything we sent, our FIN included.",
    Event.FIN: "The peer will send no more; our own FIN, if there was one, is not acknowledged by this segment.",
    Event.FIN_ACK_OF_FIN: "The peer closes and acknowledges our FIN in the same segment.",
    Event.RST: "A reset that must be obeyed: it lies exactly at RCV.NXT (or answers our SYN).",
    Event.RST_IN_WINDOW: "A reset inside the window but not exactly at RCV.NXT; it might be forged (RFC 5961).",
    Event.RST_UNACCEPTABLE: "A reset outside the window, or one that cannot be for this connection.",
    Event.SYN_IN_SYNCHRONIZED: (
        "A SYN on a connection that exists: a peer that restarted, an old duplicate, or an attack (RFC 5961)."
    ),
    Event.SYN_REOPENS: "A SYN in TIME_WAIT that is provably newer than the old connection (RFC 6191).",
    Event.SYN_OLD_DUPLICATE: "A SYN in TIME_WAIT that is not provably newer.",
    Event.ACK_UNACCEPTABLE: "An acknowledgement of something never sent, or far too old.",
    Event.ACK_MISSING: "No ACK bit although every segment of a synchronized connection must have one.",
    Event.SEGMENT_UNACCEPTABLE: "The sequence number lies outside the window.",
    Event.SEGMENT_IRRELEVANT: "Nothing this state looks at, for example a bare FIN before synchronization.",
    Event.ICMP_HARD_ERROR: "ICMP says: protocol or port unreachable.",
    Event.ICMP_SOFT_ERROR: "ICMP says: network, host or route unreachable, or time exceeded.",
    Event.RETRANSMISSION_TIMEOUT: "No acknowledgement in time: the oldest segment goes out again.",
    Event.USER_TIMEOUT: "The limit for unacknowledged data is reached (R2, TCP_USER_TIMEOUT, retries used up).",
    Event.PERSIST_TIMEOUT: "The peer's window is still 0: probe.",
    Event.DELAYED_ACK_TIMEOUT: "The ACK has waited long enough for data to ride on.",
    Event.KEEPALIVE_TIMEOUT: "The connection was idle long enough: probe.",
    Event.KEEPALIVE_EXHAUSTED: "No keepalive probe was answered.",
    Event.FIN_WAIT_2_TIMEOUT: "The program has closed and the peer's FIN did not come in time.",
    Event.TIME_WAIT_TIMEOUT: "Two maximum segment lifetimes are over.",
}

_SENT: dict[Sends, str] = {
    Sends.NOTHING: "-",
    Sends.SYN_ACK: "SYN,ACK",
    Sends.RST_ACK: "RST,ACK",
    Sends.CHALLENGE_ACK: "challenge ACK",
    Sends.DATA: "data",
    Sends.PROBE: "probe",
}


def spell_event(event: Event) -> str:
    """Write an event as RFC 9293's figure does: ``rcv SYN``, ``CLOSE``, ``2 MSL timeout``."""
    return _SPELLED.get(event, event.name)


def spell_guard(guard: Guard) -> str:
    """Write what else must hold; empty for ``ALWAYS``."""
    return "" if guard is Guard.ALWAYS else guard.name.lower().replace("_", " ")


def spell_stimulus(row: Row) -> str:
    """Write the event of a row with its guard: ``CLOSE (nothing queued)``."""
    guard = spell_guard(row.guard)
    return f"{spell_event(row.event)} ({guard})" if guard else spell_event(row.event)


def spell_sends(sends: Sends) -> str:
    """Write what goes out: ``SYN,ACK``; ``-`` for nothing."""
    return _SENT.get(sends, sends.name)


def describe_event(event: Event) -> str:
    """Say in one sentence what the event is."""
    return _MEANT[event]


def rows_on(event: Event) -> tuple[Row, ...]:
    """Return the rows of this event, in table order."""
    return tuple(row for row in ROWS if row.event == event)


def row_as_json(row: Row) -> dict[str, object]:
    """Return one row of the table as JSON prints it."""
    return {
        "id": row.id,
        "before": row.before.name,
        "event": row.event.name,
        "guard": row.guard.name,
        "after": row.after.name,
        "sends": row.sends.name,
        "rfc": row.rfc,
        "note": row.note,
    }
