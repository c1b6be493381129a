"""The verdict: who owes the next packet, for each final pair of states, and what would show the verdict wrong.

Pure rules on one :class:`~tcpscope.model.connection.Connection`. A capture shows what passed the tap, not what arrived
and not what a program meant; each verdict therefore says what would refute it.
"""

from __future__ import annotations

from tcpscope.model.connection import Connection
from tcpscope.model.event import Event
from tcpscope.model.state import State

CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED = State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED
ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2 = State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2
CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT = State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK, State.TIME_WAIT
_FINISHED = (CLOSED, TIME_WAIT)
#: So many keepalive probes without an answer are the reason for the reset that follows.
MANY_PROBES = 2


def judge(connection: Connection) -> tuple[str, str]:
    """Return ``(verdict, what would refute it)`` in sentences for people."""
    client, server = connection.client_state, connection.server_state
    if all(state in _FINISHED or state == LISTEN for state in (client, server)):
        return _judge_finished(connection)
    if {client, server} <= {FIN_WAIT_1, CLOSING}:
        return "each end owes the ACK of the other's FIN: they crossed", "these ACKs in captures taken at the ends"
    found = _judge_open("client", "server", client, server, connection) or _judge_open(
        "server", "client", server, client, connection
    )
    if found:
        return found
    return "both ends look synchronized: nobody owes a packet", "a packet after the end of the capture"


def _judge_finished(connection: Connection) -> tuple[str, str]:
    if connection.closed_how == "refused":
        return (
            "the server refused: nothing listens on that port, or a firewall answers for it",
            "a listener on the port at that time (then a firewall, or a full accept queue with abort_on_overflow)",
        )
    if connection.closed_how == "icmp":
        return "a router or the host said that the port cannot be reached", "a SYN|ACK that came all the same"
    if connection.closed_how == "reset":
        who = connection.closed_by or "one end"
        special = _judge_reset(connection)
        if special:
            return special
        why = "with SO_LINGER 0, unread data, a crash, or because it no longer knew the connection"
        return f"the {who} reset the connection, {why}", "a time to live of the reset that differs from that end's"
    cutter = _who_cut(connection)
    if cutter:
        first = connection.closed_by or "one end"
        what = (
            f"the {first} closed and then reset what was left: it no longer reads, or was killed"
            if first == cutter
            else f"the {first} closed, and the {cutter} reset the connection instead of closing it"
        )
        return what, f"a FIN of the {'server' if first == 'client' else 'client'} before the reset"
    return "closed in order: nobody owes a packet", "segments with the same ports before 2 MSL are over"


def _judge_reset(connection: Connection) -> tuple[str, str] | None:
    """Judge a reset whose reason the packets before it show."""
    is_client = connection.closed_by == "client"
    who, other = ("client", "server") if is_client else ("server", "client")
    mine, theirs = connection.to_server, connection.to_client
    if not is_client:
        mine, theirs = theirs, mine
    unanswered = mine.keepalives - theirs.duplicate_acks
    if unanswered >= MANY_PROBES:
        return (
            f"the {who} gave up: {unanswered} keepalive probes had no answer, the {other} or the path is dead",
            f"answers to the probes in a capture taken at the {other}",
        )
    if is_client and connection.server_state == LISTEN and theirs.packets:
        return (
            "the client answered the SYN|ACK with a reset: a port scan, a knock, or an address that somebody else uses",
            "data or an ACK of the client before its reset",
        )
    return None


def _who_cut(connection: Connection) -> str:
    """Return the end whose reset came before both FINs had; empty when they had, or no reset came."""
    cutter = ""
    for move in connection.transitions:
        if move.before == LISTEN:
            cutter = ""  # what was reset before was an older connection of these ports
        if not cutter and move.after == CLOSED and move.before not in (LAST_ACK, CLOSING, TIME_WAIT):
            if move.event == Event.ABORT:
                cutter = move.end
            if move.event == Event.RST:
                cutter = "server" if move.end == "client" else "client"
    return cutter


def _judge_open(owner: str, other: str, mine: State, theirs: State, connection: Connection) -> tuple[str, str] | None:
    """Judge one end's share; ``owner`` is the end in state ``mine``."""
    if mine == SYN_SENT and theirs == TIME_WAIT and connection.to_client.packets:
        return (
            f"the {other} holds the last connection of these ports in TIME_WAIT and refused the SYN, whose number and "
            f"timestamp are not newer: the {owner} owes a reset, then the SYN again",
            f"a SYN|ACK of the {other} after this",
        )
    if mine == SYN_SENT and theirs in (LISTEN, CLOSED, TIME_WAIT):
        return (
            f"the {other} owes an answer to the SYN: dropped by a filter, a full accept queue, or a dead host",
            f"the answer in a capture taken at the {other}",
        )
    if mine == SYN_RECEIVED:
        again = connection.to_client.retransmissions if owner == "server" else connection.to_server.retransmissions
        pushed = f" (SYN|ACK repeated {again} times)" if again else ""
        return (
            f"the {other} owes the last ACK of the handshake{pushed}: lost on the way back, or its address is forged",
            f"that ACK in a capture at the {owner}: then its accept queue is full (or TCP_DEFER_ACCEPT waits for data)",
        )
    if mine == CLOSE_WAIT and theirs in (FIN_WAIT_1, FIN_WAIT_2, *_FINISHED):
        return (
            f"the {owner} owes a FIN: its program has not closed after end of file",
            f"data still coming from the {owner} (a half-close in use), or its FIN after the capture",
        )
    if mine == FIN_WAIT_1 and theirs in (ESTABLISHED, CLOSE_WAIT):
        return (
            f"the {other} owes an ACK of the FIN: the path or the {other} is dead, or its window is closed",
            f"the ACK in a capture taken at the {other} (then it was lost on the way back)",
        )
    if mine == LAST_ACK:
        return (
            f"the {other} owes the last ACK: lost, or the {other} is gone",
            f"that ACK in a capture taken at the {other}",
        )
    if mine == CLOSING:
        return f"the {other} owes the ACK of a FIN that crossed its own", f"that ACK at the {other}"
    if mine == ESTABLISHED and theirs in _FINISHED:
        return (
            f"the {owner} does not know yet that the {other} is gone: the next thing it sends is answered by a reset",
            f"a segment from the {other} after this",
        )
    return None
