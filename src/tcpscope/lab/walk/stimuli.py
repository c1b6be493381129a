"""How each event of the life cycle is caused on a real socket: by a call of its program, by a forged segment, by time.

A stimulus is a function of a :class:`~tcpscope.lab.walk.rig.Rig` and the row to be shown; it returns the segments
that came in answer. It raises ``OSError`` when a call is refused: that is an answer too, and sends nothing.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

from tcpscope.lab.walk.raw_peer import ADDRESS
from tcpscope.lab.walk.rig import Program, Rig
from tcpscope.machine.lifecycle import Row
from tcpscope.model.event import Event, Guard
from tcpscope.model.segment import ACK, FIN, PSH, RST, SYN, Segment
from tcpscope.model.state import State

Stimulus = Callable[[Rig, Row], list[Segment]]
_FAR = 1_000_000
_PORT_UNREACHABLE, _HOST_UNREACHABLE = 3, 1
_TCP_USER_TIMEOUT = 18


# calls of the program


@contextlib.contextmanager
def _refusal() -> Iterator[None]:
    """A call that is refused is an answer: the state must not have changed, which is looked at afterwards."""
    with contextlib.suppress(OSError):
        yield


def open_passive(rig: Rig, row: Row) -> list[Segment]:
    """listen()."""
    with _refusal():
        rig.sock.listen(5)
    return rig.peer.hear()


def open_active(rig: Rig, row: Row) -> list[Segment]:
    """connect()."""
    with _refusal():
        if row.guard == Guard.REMOTE_UNSPECIFIED:
            rig.sock.start_connect("0.0.0.0", 0)
        else:
            rig.sock.start_connect(ADDRESS, rig.peer.here.port)
    return rig.peer.hear()


def send_data(rig: Rig, row: Row) -> list[Segment]:
    """send()."""
    with _refusal():
        rig.sock.send(b"data")
    return rig.peer.hear()


def receive(rig: Rig, row: Row) -> list[Segment]:
    """recv(), without waiting."""
    with _refusal():
        rig.sock.drain()
    return rig.peer.hear()


def close(rig: Rig, row: Row) -> list[Segment]:
    """Close, with what the row's guard asks for queued or unread."""
    if row.guard == Guard.DATA_QUEUED:
        return _close_with_queue(rig, row)
    if row.guard == Guard.UNREAD_DATA:
        _make_unread(rig, row)
    with _refusal():
        rig.sock.close()
    return rig.peer.hear()


def _close_with_queue(rig: Rig, row: Row) -> list[Segment]:
    """Queue data behind a shut window, close, and open the window again: what comes then?"""
    if row.before == State.SYN_RECEIVED:
        rig.sock.send(b"queued data")
        rig.sock.shutdown()
        return rig.peer.hear()
    rig.peer.window = 0
    rig.peer.send(ACK)
    rig.sock.send(b"queued data")
    rig.peer.hear(0.02)
    rig.sock.close()
    rig.note_state()
    rig.peer.window = 64_240
    rig.peer.send(ACK)
    heard = rig.peer.hear(0.3)
    # Why not the first: where this took longer than 0.2 s, the shut window has been probed meanwhile
    return [one for one in heard if one.seg_len] or rig.peer.hear(0.3)


def _make_unread(rig: Rig, row: Row) -> None:
    if row.before == State.CLOSE_WAIT:
        # The text must come before the FIN: a fresh connection.
        rig.become(rig.bench.build(State.ESTABLISHED))
        rig.peer.advance(FIN | ACK | PSH, b"unread")
        rig.settle(State.CLOSE_WAIT)
    else:
        rig.peer.advance(ACK | PSH, b"unread", ack=_ack_before_fin(rig, row))
    rig.peer.hear()


def abort(rig: Rig, row: Row) -> list[Segment]:
    """close() with SO_LINGER {1, 0}; a mini-socket is destroyed by the administrator (SOCK_DESTROY)."""
    if row.before == State.TIME_WAIT:
        rig.bench.destroy(rig)
        return rig.peer.hear()
    rig.sock.set_option(socket.SOL_SOCKET, socket.SO_LINGER, [1, 0])
    with _refusal():
        rig.sock.close()
    return rig.peer.hear()


def status(rig: Rig, row: Row) -> list[Segment]:
    """Look, as ``list`` does."""
    return rig.peer.hear()


# segments


def _ack_before_fin(rig: Rig, row: Row) -> int:
    """The acknowledgement number that covers everything but a FIN that is out."""
    is_fin_out = row.before in (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK)
    return rig.peer.rnxt - 1 if is_fin_out else rig.peer.rnxt


def syn(rig: Rig, row: Row) -> list[Segment]:
    """A SYN, where one is waited for or nobody is."""
    rig.peer.advance(SYN)
    return rig.peer.hear(0.3)


def syn_ack(rig: Rig, row: Row) -> list[Segment]:
    """SYN|ACK; in SYN_RECEIVED it repeats the SYN (simultaneous open)."""
    if row.before == State.SYN_RECEIVED:
        rig.peer.send(SYN | ACK, seq=rig.peer.nxt - 1)
    else:
        rig.peer.advance(SYN | ACK)
    return rig.peer.hear(0.2)


def plain_ack(rig: Rig, row: Row) -> list[Segment]:
    """An ACK in order; it covers a FIN of ours only where the event says so."""
    covers_fin = row.event in (Event.ACK_OF_FIN, Event.ACK_OF_SYN)
    rig.peer.send(ACK, ack=rig.peer.rnxt if covers_fin else _ack_before_fin(rig, row))
    return rig.peer.hear()


def text(rig: Rig, row: Row) -> list[Segment]:
    """Text in order; with READER_GONE after a full close()."""
    if row.guard == Guard.READER_GONE:
        rig.sock.close()
        rig.peer.hear()
    rig.peer.advance(ACK | PSH, b"text", ack=_ack_before_fin(rig, row))
    return rig.peer.hear(0.2)


def fin(rig: Rig, row: Row) -> list[Segment]:
    """A FIN in order, or the same again where one has come."""
    had_one = row.before in (State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK, State.TIME_WAIT)
    if had_one:
        rig.peer.send(FIN | ACK, seq=rig.peer.nxt - 1, ack=_ack_before_fin(rig, row))
    else:
        rig.peer.advance(FIN | ACK, ack=_ack_before_fin(rig, row))
    return rig.peer.hear(0.2)


def fin_ack_of_fin(rig: Rig, row: Row) -> list[Segment]:
    """A FIN in order that acknowledges ours."""
    rig.peer.advance(FIN | ACK)
    return rig.peer.hear(0.2)


def reset(rig: Rig, row: Row) -> list[Segment]:
    """A reset that must be obeyed; with REOPENED after a SYN that opened the connection out of TIME_WAIT."""
    if row.guard == Guard.REOPENED:
        rig.become(rig.bench.build(State.TIME_WAIT))
        syn_reopens(rig, row)
    rig.peer.send(RST | ACK)
    return rig.peer.hear()


def reset_in_window(rig: Rig, row: Row) -> list[Segment]:
    """A reset inside the window, not at its edge."""
    rig.peer.send(RST, seq=rig.peer.nxt + 100)
    return rig.peer.hear(0.2)


def reset_unacceptable(rig: Rig, row: Row) -> list[Segment]:
    """A reset far outside the window; to a client one that acknowledges nothing of its own."""
    if row.before == State.SYN_SENT:
        rig.peer.send(RST | ACK, ack=rig.peer.rnxt + _FAR)
    else:
        rig.peer.send(RST, seq=rig.peer.nxt + 100 * _FAR)
    return rig.peer.hear()


def syn_in_synchronized(rig: Rig, row: Row) -> list[Segment]:
    """A SYN on a live connection."""
    rig.peer.send(SYN)
    return rig.peer.hear(0.2)


def syn_reopens(rig: Rig, row: Row) -> list[Segment]:
    """A SYN with a higher sequence number."""
    rig.peer.nxt += _FAR
    rig.peer.rnxt = 0
    rig.peer.advance(SYN)
    return rig.peer.hear(0.3)


def syn_old_duplicate(rig: Rig, row: Row) -> list[Segment]:
    """A SYN with a lower sequence number."""
    rig.peer.send(SYN, seq=rig.peer.nxt - _FAR // 2)
    return rig.peer.hear()


def ack_unacceptable(rig: Rig, row: Row) -> list[Segment]:
    """An ACK of something that was never sent."""
    rig.peer.send(ACK, ack=rig.peer.rnxt + _FAR)
    return rig.peer.hear(0.2)


def ack_missing(rig: Rig, row: Row) -> list[Segment]:
    """Text in order without the ACK bit."""
    rig.peer.send(PSH, payload=b"text")
    return rig.peer.hear()


def segment_unacceptable(rig: Rig, row: Row) -> list[Segment]:
    """Text far outside the window."""
    rig.peer.send(ACK | PSH, seq=rig.peer.nxt + 100 * _FAR, ack=_ack_before_fin(rig, row), payload=b"text")
    return rig.peer.hear(0.2)


def segment_irrelevant(rig: Rig, row: Row) -> list[Segment]:
    """A bare FIN."""
    rig.peer.send(FIN)
    return rig.peer.hear()


# errors of the network


def icmp_hard(rig: Rig, row: Row) -> list[Segment]:
    """ICMP port unreachable about the last segment that is in flight."""
    _make_outstanding(rig, row)
    rig.peer.report(rig.peer.last, _PORT_UNREACHABLE)
    return rig.peer.hear()


def icmp_soft(rig: Rig, row: Row) -> list[Segment]:
    """ICMP host unreachable about the last segment that is in flight."""
    _make_outstanding(rig, row)
    rig.peer.report(rig.peer.last, _HOST_UNREACHABLE)
    return rig.peer.hear()


# time


def retransmission(rig: Rig, row: Row) -> list[Segment]:
    """Wait until what is outstanding is sent again."""
    _make_outstanding(rig, row)
    return rig.peer.hear(2.5, again=True)


def _make_outstanding(rig: Rig, row: Row) -> None:
    if row.before in (State.ESTABLISHED, State.CLOSE_WAIT):
        rig.sock.send(b"data")
        rig.peer.hear(0.1)


def user_timeout(rig: Rig, row: Row) -> list[Segment]:
    """Wait until the kernel gives up; for a request socket tcp_synack_retries, else TCP_USER_TIMEOUT."""
    if rig.has_handle:
        rig.sock.set_option(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, 300)
        _make_outstanding(rig, row)
    rig.bench.wait_until(lambda: rig.state() in (State.CLOSED, State.LISTEN), 5.0)
    return []


def persist(rig: Rig, row: Row) -> list[Segment]:
    """Shut the peer's window with data queued, and wait for the probe."""
    rig.become(_with_shut_window(rig, row))
    rig.peer.hear(0.05)
    return rig.peer.hear(2.5, again=True)


def _with_shut_window(rig: Rig, row: Row) -> Rig:
    fresh = rig.bench.build(State.ESTABLISHED)
    fresh.peer.window = 0
    fresh.peer.send(ACK)
    fresh.sock.send(b"data")
    if row.before in (State.FIN_WAIT_1, State.CLOSING):
        fresh.sock.shutdown()
    if row.before in (State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK):
        fresh.peer.advance(FIN | ACK)
        fresh.peer.hear()
    if row.before == State.LAST_ACK:
        fresh.sock.shutdown()
    fresh.settle(row.before)
    return fresh


def delayed_ack(rig: Rig, row: Row) -> list[Segment]:
    """Text with delayed acknowledgements on: nothing at once, the ACK a little later."""
    rig.sock.set_option(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    rig.peer.advance(ACK | PSH, b"text", ack=_ack_before_fin(rig, row))
    early = rig.peer.hear(0.015)
    return [] if early else rig.peer.hear(0.5)


def keepalive(rig: Rig, row: Row) -> list[Segment]:
    """Keepalive after one second, and wait for the probe."""
    _keep_alive(rig.sock, probes=5)
    rig.peer.hear()
    return rig.peer.hear(3, again=True)


def keepalive_exhausted(rig: Rig, row: Row) -> list[Segment]:
    """One probe that is not answered; return what comes after it."""
    _keep_alive(rig.sock, probes=1)
    rig.peer.hear()
    rig.peer.hear(3, again=True)
    rig.bench.wait_until(lambda: rig.state() in (State.CLOSED, State.LISTEN), 5.0)
    return rig.peer.hear()


def _keep_alive(sock: Program, probes: int) -> None:
    for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, probes)):
        sock.set_option(socket.IPPROTO_TCP, option, value)
    sock.set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def fin_wait_2_timeout(rig: Rig, row: Row) -> list[Segment]:
    """close() with TCP_LINGER2 of one second where there is such a thing, and wait."""
    rig.sock.set_option(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)
    rig.sock.close()
    return _wait_for_the_end(rig)


def time_wait_timeout(rig: Rig, row: Row) -> list[Segment]:
    """Wait for 2 MSL."""
    return _wait_for_the_end(rig)


def _wait_for_the_end(rig: Rig) -> list[Segment]:
    rig.bench.wait_until(lambda: rig.state() in (State.CLOSED, State.LISTEN), 300.0)
    return rig.peer.hear()


STIMULI: dict[Event, Stimulus] = {
    Event.OPEN_PASSIVE: open_passive,
    Event.OPEN_ACTIVE: open_active,
    Event.SEND: send_data,
    Event.RECEIVE: receive,
    Event.CLOSE: close,
    Event.ABORT: abort,
    Event.STATUS: status,
    Event.SYN: syn,
    Event.SYN_ACK: syn_ack,
    Event.ACK_OF_SYN: plain_ack,
    Event.ACK: plain_ack,
    Event.TEXT: text,
    Event.ACK_OF_FIN: plain_ack,
    Event.FIN: fin,
    Event.FIN_ACK_OF_FIN: fin_ack_of_fin,
    Event.RST: reset,
    Event.RST_IN_WINDOW: reset_in_window,
    Event.RST_UNACCEPTABLE: reset_unacceptable,
    Event.SYN_IN_SYNCHRONIZED: syn_in_synchronized,
    Event.SYN_REOPENS: syn_reopens,
    Event.SYN_OLD_DUPLICATE: syn_old_duplicate,
    Event.ACK_UNACCEPTABLE: ack_unacceptable,
    Event.ACK_MISSING: ack_missing,
    Event.SEGMENT_UNACCEPTABLE: segment_unacceptable,
    Event.SEGMENT_IRRELEVANT: segment_irrelevant,
    Event.ICMP_HARD_ERROR: icmp_hard,
    Event.ICMP_SOFT_ERROR: icmp_soft,
    Event.RETRANSMISSION_TIMEOUT: retransmission,
    Event.USER_TIMEOUT: user_timeout,
    Event.PERSIST_TIMEOUT: persist,
    Event.DELAYED_ACK_TIMEOUT: delayed_ack,
    Event.KEEPALIVE_TIMEOUT: keepalive,
    Event.KEEPALIVE_EXHAUSTED: keepalive_exhausted,
    Event.FIN_WAIT_2_TIMEOUT: fin_wait_2_timeout,
    Event.TIME_WAIT_TIMEOUT: time_wait_timeout,
}
