"""The side that closes: FIN_WAIT_1, FIN_WAIT_2, LAST_ACK and CLOSING that last (F03 to F08).

RFC 9293 §3.6. A FIN counts 1 in Send-Q of the side that sent it until it is acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcpscope.doctor import ages
from tcpscope.doctor.case import Case
from tcpscope.doctor.close_wait import growth_per_minute, holder_or_port, is_half_close_used, received
from tcpscope.doctor.filtering import witness_filter
from tcpscope.doctor.hints import code_for, command, config, sysctl, trace_path
from tcpscope.doctor.look import Look, group
from tcpscope.doctor.wording import address, count, example, listing, many, size, span
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.socket import Socket
from tcpscope.model.state import State


def fin_wait_2_orphans(look: Look) -> Iterator[Finding]:
    """F03 fin-wait2-orphan-pile: closed here, not closed there."""
    closed = [socket for socket in look.states[State.FIN_WAIT_2] if is_orphan_fin_wait_2(socket)]
    old, unknown = look.older_than(closed, look.limit_of("fin-wait2-orphan-pile.age_s"))
    orphans = old + unknown
    if not orphans:
        return
    by_remote = group(orphans, lambda socket: address(socket.remote.address))
    for remote, sockets in by_remote.items():
        if len(sockets) > look.limit_of("fin-wait2-orphan-pile.per_remote"):
            yield _orphan_pile(look, sockets, f"peer {remote}", Severity.MEDIUM)
            orphans = [socket for socket in orphans if address(socket.remote.address) != remote]
    floor = look.limit_of("fin-wait2-orphan-pile.floor")
    is_share = len(orphans) > floor and len(orphans) > look.limit_of("fin-wait2-orphan-pile.share") * look.total
    if len(orphans) > look.limit_of("fin-wait2-orphan-pile.count") or is_share:
        yield _orphan_pile(look, orphans, "all peers", Severity.LOW)


def is_orphan_fin_wait_2(socket: Socket) -> bool:
    """Whether the program has closed it: the kernel says so, or (in a dump) a time-wait timer."""
    return socket.kind == "mini" or socket.is_orphan or (socket.timer is not None and socket.timer.kind == "timewait")


def _orphan_pile(look: Look, sockets: Sequence[Socket], scope: str, severity: Severity) -> Finding:
    case = Case("fin-wait2-orphan-pile", scope)
    case.witness(0.6, f"{many(len(sockets), 'orphan')} in FIN_WAIT_2 ({scope}), e.g. {example(sockets)}")
    timeout = look.setting("net.ipv4.tcp_fin_timeout", 60)
    oldest = look.oldest_ms(sockets)
    case.witness(
        0.2,
        f"each is forgotten after {timeout} s (tcp_fin_timeout)"
        + (f", the oldest is {span(oldest)} old" if oldest else ""),
    )
    paired = [(socket, one) for socket in sockets[:200] if (one := look.other_end(socket)) is not None]
    waiting = [one for _, one in paired if one.state == State.CLOSE_WAIT]
    if waiting:
        case.witness(
            0.9, f"FIN_WAIT_2 here / CLOSE_WAIT there: {look.whose(waiting[0])} at {waiting[0].local} has not closed"
        )
    else:
        case.doubt(0.2, "by design a server that closes first at R per second keeps up to 60 x R of these")
    return case.close(
        severity,
        f"{many(len(sockets), 'connection')} closed here and not by {scope.removeprefix('peer ')}",
        "FIN_WAIT_2 after close(): the peer acknowledged our FIN and has not sent its own. Its program leaks CLOSE_WAIT. "
        "Linux keeps a small mini-socket for tcp_fin_timeout and then forgets it; data that still comes is answered "
        "with RST. It costs little here.",
        (
            config("at the peer: it has to close on end of file (see close-wait-leak there)"),
            *sysctl(look, "net.ipv4.tcp_fin_timeout", "30", "harmless, and only shortens this state"),
        ),
        sockets,
        ("fear of a crash: on Linux the orphans are bounded by tcp_fin_timeout and tcp_max_tw_buckets",),
    )


def fin_wait_2_half_closed(look: Look) -> Iterator[Finding]:
    """F04 fin-wait2-half-closed-forever: shutdown(SHUT_WR) without an end."""
    held = [socket for socket in look.states[State.FIN_WAIT_2] if not is_orphan_fin_wait_2(socket)]
    for key, sockets in group(held, lambda socket: holder_or_port(look, socket)).items():
        old, _ = look.older_than(sockets, look.limit_of("fin-wait2-half-closed-forever.age_s"))
        idle = [socket for socket in old if not is_half_close_used(look, socket, received)]
        if idle:
            yield _half_closed(look, idle, len(old) - len(idle), key)


def _half_closed(look: Look, sockets: Sequence[Socket], receiving: int, key: str) -> Finding:
    case = Case("fin-wait2-half-closed-forever", key)
    case.witness(
        0.6,
        f"{many(len(sockets), 'socket')} in FIN_WAIT_2 with an owner and without a timer, oldest at least {span(look.oldest_ms(sockets))}",
    )
    if receiving:
        case.doubt(0.1, f"{count(receiving)} more still receive: a half-close in use, not counted")
    elif all(socket.tcp_info for socket in sockets):
        case.cleared("no byte came since: the half-close is not in use", 0.4)
    ends = [one for socket in sockets[:50] if (one := look.other_end(socket)) is not None]
    waiting = [one for one in ends if one.state == State.CLOSE_WAIT]
    if waiting:
        case.witness(
            0.7, f"FIN_WAIT_2 here / CLOSE_WAIT there: {look.whose(waiting[0])} at {waiting[0].local} has not closed"
        )
    return case.close(
        Severity.MEDIUM,
        f"{look.whose(sockets[0])} waits without end for {many(len(sockets), 'peer')} to close",
        "The program called shutdown(SHUT_WR) and did not close(): the socket stays in FIN_WAIT_2 until the peer's FIN "
        "comes. tcp_fin_timeout does not apply while the program holds the socket, TCP_USER_TIMEOUT neither (nothing is "
        "unacknowledged), and keepalive ends it only when the peer is dead.",
        code_for(look, "half-close", sockets),
        sockets,
        ("tcp_fin_timeout: it counts for orphans alone",),
    )


def fin_wait_1(look: Look) -> Iterator[Finding]:
    """F05 fin-wait1-stuck and F06 fin-wait1-zero-window."""
    waiting = look.states[State.FIN_WAIT_1]
    probing = [one for one in waiting if one.timer and one.timer.kind == "persist" and not one.is_held_here]
    if probing:
        yield from _zero_window(look, probing)
    repeats = look.limit_of("fin-wait1-stuck.retransmits")
    lost = [socket for socket in waiting if ages.retransmits(socket) >= repeats]
    old, _ = look.older_than(lost, look.limit_of("fin-wait1-stuck.age_s"))
    stuck = [socket for socket in old if not _drains(look, socket)]
    if stuck:
        yield _unanswered_fin(look, stuck, "fin-wait1-stuck")


def _zero_window(look: Look, probing: Sequence[Socket]) -> Iterator[Finding]:
    old = [
        socket
        for socket in probing
        if max(look.age(socket).ms, persisting_ms(socket)) >= look.limit_of("fin-wait1-zero-window.age_s") * 1000
    ]
    if not old:
        return
    case = Case("fin-wait1-zero-window", "closed sockets")
    queued = sum(socket.send_q for socket in old)
    case.witness(
        0.8, f"{many(len(old), 'socket')} in FIN_WAIT_1 with a persist timer hold {size(queued)}, e.g. {example(old)}"
    )
    memory = look.settings("net.ipv4.tcp_mem")
    page = look.snapshot.limits.get("page_bytes", 4096)
    is_heavy = len(memory) == 3 and queued > look.limit_of("fin-wait1-zero-window.memory_share") * memory[1] * page
    if is_heavy:
        case.witness(0.5, f"that is more than a tenth of TCP's memory ({size(memory[1] * page)})")
    yield case.close(
        Severity.HIGH if is_heavy else Severity.MEDIUM,
        f"{many(len(old), 'closed connection')} cannot finish: the peers do not read",
        "The program closed with data still queued and the peer's window is zero. The kernel probes for about six minutes "
        "and keeps the queued data meanwhile. In numbers this is a slow reader at work, or an attack (Sockstress).",
        (
            *code_for(look, "drain-then-close", old),
            command("tcpscope kill 'state fin-wait-1 send-q > 0'   gives the memory back; the peers get RST"),
        ),
        old,
        ("SO_LINGER {1, 0} everywhere: it throws away data of healthy peers too",),
    )


def persisting_ms(socket: Socket) -> int:
    """Return how long a zero window has lasted at least: since the last data went out, or by the probes counted."""
    info, timer = socket.tcp_info, socket.timer
    probes = max(info.probes if info else 0, timer.retransmits if timer else 0)
    by_probes = int(ages.backed_off_ms(200, max(0, probes)))
    since_data = info.last_data_sent_ms if info and info.data_segs_out else 0
    return max(by_probes, since_data if 0 <= since_data < 10**11 else 0)


def _drains(look: Look, socket: Socket) -> bool:
    earlier = look.before(socket)
    return earlier is not None and earlier.state == socket.state and socket.send_q < earlier.send_q


def last_ack(look: Look) -> Iterator[Finding]:
    """F07 last-ack-pile."""
    repeats = look.limit_of("last-ack-pile.retransmits")
    lost = [socket for socket in look.states[State.LAST_ACK] if ages.retransmits(socket) >= repeats]
    old, _ = look.older_than(lost, look.limit_of("last-ack-pile.age_s"))
    if old:
        yield _unanswered_fin(look, old, "last-ack-pile")


_FIN_TEXTS = {
    "fin-wait1-stuck": (
        "FIN_WAIT_1",
        "This side closed, and neither the FIN nor the data before it is acknowledged. The kernel repeats it for about "
        "107 s (tcp_orphan_retries 0 stands for 8) and keeps the socket's memory meanwhile. The other side still believes "
        "in an established connection.",
    ),
    "last-ack-pile": (
        "LAST_ACK",
        "Both sides have closed and our FIN is not acknowledged: the peer's host is gone, the path is, or a firewall drops "
        "packets of connections it believes finished. Killing a client program does not do this, its kernel still answers.",
    ),
}


def _unanswered_fin(look: Look, sockets: Sequence[Socket], id: str) -> Finding:
    state, explanation = _FIN_TEXTS[id]
    remotes = group(sockets, lambda socket: address(socket.remote.address))
    case = Case(id, state)
    most = max(map(ages.retransmits, sockets))
    case.witness(
        0.7,
        f"{many(len(sockets), 'socket')} in {state} repeated up to {most} times, oldest at least {span(look.oldest_ms(sockets))}",
    )
    case.witness(0.2, f"towards {listing(f'{remote} ({count(len(found))})' for remote, found in remotes.items())}")
    if look.previous is not None:
        case.cleared("none of the queues got shorter between the looks: it does not drain", 0.3)
    else:
        case.unseen("whether the queues get shorter (a second look tells)")
    is_pile = len(sockets) >= look.limit_of(f"{id}.count")
    grows = look.previous is not None and growth_per_minute(look, sockets) > 0 and is_pile
    severity = Severity.HIGH if grows and id == "fin-wait1-stuck" else Severity.MEDIUM if is_pile else Severity.LOW
    blocked = witness_filter(look, case, sockets[0].remote, is_new=False, local=sockets[0].local)
    last_ack_line = "net.netfilter.nf_conntrack_tcp_timeout_last_ack"
    return case.close(
        severity,
        f"{many(len(sockets), 'FIN')} to {listing(remotes)} {'is' if len(sockets) == 1 else 'are'} not acknowledged",
        explanation,
        (
            *blocked.remedies,
            trace_path(sockets[0].remote),
            *(
                sysctl(
                    look, "net.ipv4.tcp_orphan_retries", "3", "gives up after 7 s on busy edges; never 1, that is 1.9 s"
                )
                if id == "fin-wait1-stuck"
                else sysctl(look, last_ack_line, "120", "a firewall must not forget before the kernels do (107 s)")
            ),
        ),
        sockets,
    )


def closing(look: Look) -> Iterator[Finding]:
    """F08 closing-visible."""
    limit_ms = look.limit_of("closing-visible.age_s") * 1000
    seen = [socket for socket in look.states[State.CLOSING] if look.age(socket).ms >= limit_ms]
    if not seen:
        return
    case = Case("closing-visible", "CLOSING")
    case.witness(
        0.9, f"{many(len(seen), 'socket')} in CLOSING for at least {span(look.oldest_ms(seen))}, e.g. {example(seen)}"
    )
    yield case.close(
        Severity.INFO,
        f"Both ends of {many(len(seen), 'connection')} closed at the same time, and an ACK is missing",
        "The FINs crossed (RFC 9293 §3.6, figure 13). CLOSING waits only for the acknowledgement of our own FIN and "
        "normally lasts one round trip; it ends in TIME_WAIT, or after about 107 s.",
        (trace_path(seen[0].remote),),
        seen,
    )


RULES = (fin_wait_2_orphans, fin_wait_2_half_closed, fin_wait_1, last_ack, closing)
