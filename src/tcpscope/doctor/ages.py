"""How long a socket has at least been in its state, from what one look shows (Linux keeps no such time).

* CLOSE_WAIT, FIN_WAIT_2: the FIN (the ACK of ours) set ``last_ack_recv``; later ACKs only make it smaller, so it is
  a lower bound. Keepalive answers refresh it on the probing side.
* mini-sockets: what is gone of their 60 s (``tcp_fin_timeout`` for FIN_WAIT_2).
* anything that retransmits: the sum of the timeouts so far and what is gone of the running one.
* idle times of a socket that never completed its handshake are the age of the kernel's clock: ignored.
"""

from __future__ import annotations

from tcpscope.model.socket import Socket, TcpInfo
from tcpscope.model.state import State

TIME_WAIT_MS = 60_000
_RTO_MIN_MS = 200
_RTO_MAX_MS = 120_000
#: SYN timeouts with tcp_syn_linear_timeouts=4 (Linux 6.5 and later): elapsed ms after n timeouts.
_SYN_ELAPSED_MS = (0, 1000, 2000, 3000, 4000, 5000, 7000, 11000, 19000, 35000, 67000, 131000)
_WAITING = (State.CLOSE_WAIT, State.FIN_WAIT_2)
_REPEATING = (State.FIN_WAIT_1, State.LAST_ACK, State.CLOSING, State.ESTABLISHED)


def bound_ms(socket: Socket, fin_timeout_ms: int = 60_000) -> int:
    """Return a lower bound in ms; 0 when nothing is known."""
    state = socket.state
    if socket.kind == "mini":
        return _mini_ms(socket, TIME_WAIT_MS if state == State.TIME_WAIT else fin_timeout_ms)
    if state == State.SYN_SENT or socket.kind == "request":
        return handshake_ms(socket)
    info = socket.tcp_info
    if info is None:
        return 0
    if state in _WAITING:
        return _sane(info.last_ack_recv_ms)
    if state in _REPEATING and state != State.ESTABLISHED:
        return unanswered_ms(socket)
    return 0


def tells_age(socket: Socket) -> bool:
    """Whether what is known of the socket bounds its age, be it by 0."""
    if socket.kind == "mini":
        return socket.timer is not None
    return socket.tcp_info is not None and socket.state in _WAITING


def handshake_ms(socket: Socket) -> int:
    """Time since the first SYN (or SYN|ACK) of a handshake, from how often it was repeated."""
    timer = socket.timer
    repeats = max(timer.retransmits if timer else 0, socket.tcp_info.retransmits if socket.tcp_info else 0)
    if socket.kind == "request" or socket.state == State.SYN_RECEIVED:
        return int((2 ** min(repeats, 10) - 1) * 1000)
    return _SYN_ELAPSED_MS[max(0, min(repeats, len(_SYN_ELAPSED_MS) - 1))]


def unanswered_ms(socket: Socket) -> int:
    """Time since the oldest unacknowledged segment was first sent, from the retransmission timer.

    It is the sum of the timeouts so far, each twice the one before and none above two minutes, plus what is gone of
    the running one. A present timeout at that limit no longer tells the first: RFC 6298 (2.3) does.
    """
    info, timer = socket.tcp_info, socket.timer
    repeats = retransmits(socket)
    if repeats <= 0:
        return 0
    present_ms = info.rto_us / 1000 if info and info.rto_us > 0 else _RTO_MIN_MS * 2 ** min(repeats, 10)
    present_ms = min(present_ms, _RTO_MAX_MS)
    first_ms = present_ms / 2 ** min(repeats, 30)
    if present_ms == _RTO_MAX_MS:
        first_ms = max(first_ms, _first_timeout_ms(info))
    gone = backed_off_ms(first_ms, repeats)
    if timer and timer.kind == "on":
        gone += max(0.0, present_ms - timer.expires_ms)
    return int(gone)


def _first_timeout_ms(info: TcpInfo | None) -> float:
    """RFC 6298 (2.3) with Linux's floor of 200 ms under the variance."""
    return _RTO_MIN_MS if info is None else info.rtt_us / 1000 + max(_RTO_MIN_MS, 4 * info.rttvar_us / 1000)


def backed_off_ms(first_ms: float, number: int) -> float:
    """Return how long ``number`` timeouts in a row take: each is twice the one before, none longer than two minutes."""
    return sum(min(first_ms * (1 << min(done, 20)), _RTO_MAX_MS) for done in range(min(number, 255)))


def retransmits(socket: Socket) -> int:
    """How many timeouts in a row the oldest segment has met."""
    timer, info = socket.timer, socket.tcp_info
    counted = timer.retransmits if timer and timer.kind == "on" else 0
    if info:
        counted = max(counted, info.retransmits, info.backoff if timer is None or timer.kind == "on" else 0)
    return max(0, counted)


def idle_ms(socket: Socket) -> int | None:
    """Time since anything was sent or heard; ``None`` when the source does not tell or the numbers are garbage."""
    info = socket.tcp_info
    if info is None or not socket.state.is_synchronized:
        return None
    times = [info.last_ack_recv_ms, info.last_data_recv_ms]
    if info.data_segs_out:
        times.append(info.last_data_sent_ms)
    idle = min(times)
    return idle if 0 <= idle < _LONGEST_MS else None


_LONGEST_MS = 10 * 365 * 86_400_000


def _mini_ms(socket: Socket, whole_ms: int) -> int:
    if socket.timer is None or socket.timer.expires_ms < 0:
        return 0
    return max(0, whole_ms - socket.timer.expires_ms)


def _sane(milliseconds: int) -> int:
    return milliseconds if 0 <= milliseconds < _LONGEST_MS else 0
