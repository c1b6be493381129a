"""The user calls of RFC 9293 §3.9.1 and §3.10.1 to §3.10.6, each by its rows of the table.

A row whose note begins with ``error:`` is refused with that phrase, so that what the RFC calls an error is written
once, in the table.
"""

from __future__ import annotations

from tcpscope.machine import receiving, sending
from tcpscope.machine.lifecycle import Row
from tcpscope.machine.moves import fail, take
from tcpscope.machine.options import options_now
from tcpscope.machine.sequence import HALF, MASK
from tcpscope.machine.tcb import ISS_STEP, Tcb
from tcpscope.model.address import Endpoint
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.event import Event, Guard, Sends
from tcpscope.model.segment import ACK, RST, Segment
from tcpscope.model.state import State

_ERROR = "error: "


class CallError(TcpscopeError):
    """A user call failed; the message is RFC 9293's phrase (``connection does not exist``, ``connection reset``)."""


def open_passive(tcb: Tcb) -> None:
    """Wait for a peer (listen). An existing connection is never disturbed (MUST-41)."""
    if tcb.state is State.LISTEN:
        take(tcb, Event.OPEN_PASSIVE)
        raise CallError("connection already exists")
    refuse(take(tcb, Event.OPEN_PASSIVE))
    _begin(tcb)
    tcb.opened_actively = False


def open_active(tcb: Tcb, remote: Endpoint | None) -> None:
    """Connect. A wildcard, broadcast or multicast address is refused (MUST-46)."""
    if tcb.state in (State.CLOSED, State.LISTEN):
        target = remote or tcb.remote
        if target is not None and not is_unspecified(target) and not is_valid_remote(target):
            raise CallError(f"{target} cannot be connected to: not a unicast address")
        _turn_active(tcb, take(tcb, Event.OPEN_ACTIVE, remote_guard(target)), target)
        return
    refuse(take(tcb, Event.OPEN_ACTIVE))


def send(tcb: Tcb, text: bytes, *, push: bool, urgent: bool) -> int:
    """Queue ``text``; return how many octets the buffer had room for."""
    if tcb.close_pending:
        raise CallError("connection closing")
    if tcb.state is State.CLOSED and tcb.error:
        raise CallError(tcb.error)
    row = take(tcb, Event.SEND, *((remote_guard(tcb.remote),) if tcb.state is State.LISTEN else ()))
    refuse(row)
    if row.before is State.LISTEN:
        _turn_active(tcb, row, tcb.remote)
    room = tcb.send_buffer_bytes - tcb.unsent_bytes - tcb.flight_bytes
    if len(text) > room:
        text = text[: max(0, room)]
    if not text:
        return 0
    sending.queue_text(tcb, bytes(text))
    base = tcb.snd_nxt if tcb.snd_nxt != tcb.iss else tcb.iss + 1
    end = (base + tcb.unsent_bytes) & MASK
    if push:
        tcb.pushed_seq = end
    if urgent:
        tcb.snd_up = end
    return len(text)


def receive(tcb: Tcb, most_bytes: int) -> bytes | None:
    """Return text, ``b""`` at the end of file, ``None`` when the call would wait."""
    if tcb.inbox_bytes and not tcb.reader_gone:
        take(tcb, Event.RECEIVE)
        text = receiving.read(tcb, most_bytes)
        if tcb.state in (State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2) and receiving.is_window_update_due(tcb):
            tcb.acks_now = True
        return text
    if tcb.error:
        raise CallError(tcb.error)
    row = take(tcb, Event.RECEIVE)
    if tcb.fin_received and not tcb.reader_gone:
        return b""
    refuse(row)
    return None


def shutdown(tcb: Tcb) -> None:
    """CLOSE as the RFC has it: no more text from this end; what arrives can still be read."""
    if tcb.close_pending:
        raise CallError("connection closing")
    row = take(tcb, Event.CLOSE, _queue_guard(tcb))
    refuse(row)
    _after_close(tcb, row)


def close(tcb: Tcb) -> None:
    """Close both directions as ``close()`` does: unread text resets the connection (MAY-1, SHLD-3)."""
    if tcb.reader_gone:
        raise CallError("connection closing" if tcb.state is not State.CLOSED else "connection does not exist")
    unread = (Guard.UNREAD_DATA,) if tcb.inbox_bytes and tcb.profile.resets_unread else ()
    row = take(tcb, Event.CLOSE, *unread, _queue_guard(tcb))
    tcb.reader_gone = True
    tcb.inbox, tcb.inbox_bytes = [], 0
    if row.before is State.CLOSED and not (tcb.error or tcb.fin_received):
        refuse(row)
    if row.sends is Sends.RST:
        tcb.replies.append(_reset_segment(tcb))
        return
    if row.before is State.FIN_WAIT_2 and row.after is State.FIN_WAIT_2:
        tcb.deadline_fin_wait_2_ns = tcb.now_ns + tcb.profile.fin_wait_2_ns
    if not tcb.close_pending:
        _after_close(tcb, row)


def abort(tcb: Tcb) -> None:
    """Drop the connection at once; the peer is told by RST unless both FINs are out."""
    row = take(tcb, Event.ABORT)
    refuse(row)
    if row.sends is Sends.RST:
        tcb.replies.append(_reset_segment(tcb))
    if row.before not in (State.CLOSING, State.LAST_ACK, State.TIME_WAIT):
        fail(tcb, "connection reset")  # §3.10.5: what queued SENDs and RECEIVEs are told


def flush(tcb: Tcb) -> int:
    """Drop text that has no sequence numbers yet, so that none are lost; return how many octets."""
    octets = tcb.unsent_bytes
    tcb.unsent, tcb.unsent_bytes = [], 0
    base = tcb.snd_nxt if tcb.snd_nxt != tcb.iss else (tcb.iss + 1) & MASK
    tcb.pushed_seq = base if (tcb.pushed_seq - base) & MASK < HALF else tcb.pushed_seq
    tcb.snd_up = base if (tcb.snd_up - base) & MASK < HALF else tcb.snd_up
    return octets


def settle_pending_close(tcb: Tcb) -> None:
    """CLOSE in CLOSE-WAIT waited until everything was segmentized: now the FIN follows (§3.10.4)."""
    if tcb.close_pending and tcb.state is State.CLOSE_WAIT and not tcb.unsent_bytes:
        tcb.close_pending = False
        take(tcb, Event.CLOSE, Guard.NOTHING_QUEUED)


def refuse(row: Row) -> None:
    """Raise when the table calls the call an error."""
    if row.note.startswith(_ERROR):
        raise CallError(row.note[len(_ERROR) :])


def remote_guard(remote: Endpoint | None) -> Guard:
    """Say whether a remote socket is named."""
    return Guard.REMOTE_UNSPECIFIED if remote is None or is_unspecified(remote) else Guard.REMOTE_GIVEN


def is_unspecified(remote: Endpoint) -> bool:
    """Whether an address or a port is missing."""
    return remote.is_wildcard or not remote.port


def is_valid_remote(remote: Endpoint) -> bool:
    """Whether TCP may speak with that address: unicast only (MUST-46, MUST-57, MUST-63)."""
    address = remote.unmapped
    if ":" in address:
        return not address.lower().startswith("ff") and address != "::"
    first = address.partition(".")[0]
    return address != "255.255.255.255" and first.isdigit() and 0 < int(first) < 224


def _turn_active(tcb: Tcb, row: Row, remote: Endpoint | None) -> None:
    refuse(row)
    _begin(tcb)
    tcb.remote = remote
    tcb.opened_actively = True


def _begin(tcb: Tcb) -> None:
    """Start a fresh block when this one has lived before; its ISS lies above everything it used."""
    tcb.error = ""
    if tcb.snd_nxt != tcb.iss:
        tcb.begin_again((tcb.snd_nxt + ISS_STEP) & MASK)


def _queue_guard(tcb: Tcb) -> Guard:
    at_once = tcb.state is State.CLOSE_WAIT and tcb.profile.closes_at_once
    return Guard.DATA_QUEUED if tcb.unsent_bytes and not at_once else Guard.NOTHING_QUEUED


def _after_close(tcb: Tcb, row: Row) -> None:
    """A CLOSE that changed nothing although text is queued is carried out later."""
    if row.guard is Guard.DATA_QUEUED and row.after in (State.SYN_RECEIVED, State.CLOSE_WAIT):
        tcb.close_pending = True
    if row.before is State.SYN_SENT:
        fail(tcb, "connection closing")


def _reset_segment(tcb: Tcb) -> Segment:
    if tcb.profile.abort_with_ack:
        window = receiving.advertise(tcb) if tcb.irs_known else 0
        return Segment(tcb.snd_nxt, tcb.rcv_nxt, RST | ACK, window, b"", options_now(tcb, tcb.now_ns))
    return Segment(tcb.snd_nxt, 0, RST)
