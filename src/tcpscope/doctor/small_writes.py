"""Small writes that wait: Nagle's algorithm at one end, the delayed acknowledgement at the other (F69).

RFC 9293 §3.7.4 (Nagle), §3.8.6.3 (delayed acknowledgements). A program writes a request in two pieces and waits for the
answer: the second piece is shorter than a segment and is kept until the first is acknowledged, and the peer, which has
no answer yet, delays that acknowledgement (Linux: 40 ms). Nothing is lost; every exchange just takes 40 ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcpscope.doctor.case import Case
from tcpscope.doctor.hints import code_for, config
from tcpscope.doctor.look import Look, group
from tcpscope.doctor.wording import address, count, example, listing, many, span
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.socket import Socket
from tcpscope.model.state import State


def held_back(look: Look) -> Iterator[Finding]:
    """F69 nagle-delayed-ack."""
    if look.previous is None:
        return
    least_us, ratio = look.limit_of("nagle-delayed-ack.rtt_ms") * 1000, look.limit_of("nagle-delayed-ack.rtt_ratio")
    slow = [
        socket for socket in look.states[State.ESTABLISHED]
        if (info := socket.tcp_info) and info.rtt_us >= least_us
        and info.min_rtt_us is not None and info.rtt_us >= ratio * info.min_rtt_us
    ]  # fmt: skip
    waiting = [socket for socket in slow if _is_held(look, socket)]
    for sockets in group(waiting, look.whose).values():
        yield _finding(look, sockets)


def _is_held(look: Look, socket: Socket) -> bool:
    """Whether a piece shorter than a segment waited at a look, and small ones went out and were answered in between."""
    earlier = look.before(socket)
    if earlier is None or not (_is_waiting(socket) or _is_waiting(earlier)):
        return False  # between two messages nothing waits: one look may have caught what the other did not
    now, then = socket.tcp_info, earlier.tcp_info
    if now is None or then is None:
        return False
    segments, octets = _sent(socket) - _sent(earlier), (now.bytes_sent or 0) - (then.bytes_sent or 0)
    answers = (now.data_segs_in or 0) - (then.data_segs_in or 0)
    return (
        now.total_retrans == then.total_retrans
        and 2 <= segments <= look.limit_of("nagle-delayed-ack.segments_rate") * look.elapsed_s
        and octets < segments * now.snd_mss / 2
        and answers * 4 >= segments
    )


def _is_waiting(socket: Socket) -> bool:
    """Whether less than a segment is unsent while less than a segment is on its way: nothing but Nagle keeps it."""
    info = socket.tcp_info
    if info is None or info.notsent_bytes is None or (socket.timer is not None and socket.timer.kind == "persist"):
        return False
    flying = socket.send_q - info.notsent_bytes
    return 0 < info.notsent_bytes < info.snd_mss and 0 < flying < info.snd_mss and info.unacked < max(2, info.snd_cwnd)


def _sent(socket: Socket) -> int:
    return (socket.tcp_info.data_segs_out if socket.tcp_info else 0) or 0


def _finding(look: Look, sockets: Sequence[Socket]) -> Finding:
    infos = [socket.tcp_info for socket in sockets if socket.tcp_info]
    case = Case("nagle-delayed-ack", look.whose(sockets[0]))
    both = sum(_is_waiting(one) and (then := look.before(one)) is not None and _is_waiting(then) for one in sockets)
    case.witness(
        0.6 if both else 0.4,
        f"{many(len(sockets), 'connection')} with less than a segment unsent behind less than a segment unacknowledged"
        + (f", {count(both)} of them at both looks" if both else " at one of the looks")
        + f", e.g. {example(sockets)}",
    )
    worst = max(infos, key=lambda info: info.rtt_us)
    case.witness(
        0.4,
        f"round trips of {span(worst.rtt_us / 1000)} where the shortest took {(worst.min_rtt_us or 0) / 1000:.2f} ms: the acknowledgement is delayed, not the path long",
    )
    rate = max((_sent(one) - _sent(then)) / look.elapsed_s for one in sockets if (then := look.before(one)))
    case.witness(0.2, f"at most {count(rate)} small segments per second on each, none repeated")
    acks = look.delta("TcpExt.DelayedACKs")
    ends = [one for one in sockets if look.is_own(one.remote.address)]
    if ends and acks:
        case.witness(0.2, f"the other end is on this host: DelayedACKs +{count(acks)}")
    return case.close(
        Severity.MEDIUM,
        f"{look.whose(sockets[0])} waits about 40 ms for each message to {listing(dict.fromkeys(address(one.remote.address) for one in sockets))}",
        "It writes a message in several small pieces. The kernel keeps the last piece until the one before is acknowledged "
        "(Nagle's algorithm, RFC 9293 §3.7.4), and the peer delays that acknowledgement because it has nothing to answer yet.",
        (
            *code_for(look, "write-at-once", sockets),
            config("at the peer TCP_QUICKACK helps for a moment only: the kernel falls back by itself"),
        ),
        sockets,
        ("tcp_low_latency, tcp_delack_min and the like: Linux has no sysctl for this",),
    )


RULES = (held_back,)
