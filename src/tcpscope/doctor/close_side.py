"""The closing side: CLOSE_WAIT, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK and CLOSING that last (F01 to F08).

RFC 9293 §3.6. A FIN counts 1 in Recv-Q of the side that received it and 1 in Send-Q of the side that sent it, so in
CLOSE_WAIT Recv-Q tells whether the program has read the end of file: 0 it has, 1 or more it has not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcpscope.doctor import ages
from tcpscope.doctor.case import Case
from tcpscope.doctor.halted import halted_holders, spell_halted, wake
from tcpscope.doctor.hints import code_for, command, config, sysctl, trace_path
from tcpscope.doctor.look import Look, group, holders_of
from tcpscope.doctor.wording import address, count, example, listing, many, percent, size, span
from tcpscope.model.finding import Finding, Remedy, Severity
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

_AVOID_CLOSE_WAIT = (
    "tcp_keepalive_* sysctls: CLOSE_WAIT has no timer, keepalive only ends it when the peer is gone, and armed timers "
    "do not change",
    "kill -9 of one of several holders of the socket: it frees nothing, and loses that process's other users",
    "looking for a network problem: the FIN arrived, the program here has to close",
)


def close_wait(look: Look) -> Iterator[Finding]:
    """F01 close-wait-leak and F02 close-wait-app-blocked: one of the two for each process (or port)."""
    for key, sockets in leaking(look).items():
        old, unknown = look.older_than(sockets, look.limit_of("close-wait-leak.age_s"))
        stuck = [socket for socket in old if not _still_sends(look, socket) and not _still_reads(look, socket)]
        suspects = stuck + unknown
        if len(suspects) < look.limit_of("close-wait-leak.count"):
            yield from _pair(look, suspects, key)
            continue
        if _is_blocked(look, suspects):
            yield _blocked(look, suspects, key)
        else:
            yield _leak(look, suspects, unknown, len(old) - len(stuck), key)


def _pair(look: Look, suspects: Sequence[Socket], key: str) -> Iterator[Finding]:
    """Too few to alarm, but when both ends are visible it is known who has to close."""
    seen = [socket for socket in suspects if look.is_own(socket.remote.address) or look.others]
    pairs = [(one, there) for one in seen if (there := look.other_end(one)) and there.state == State.FIN_WAIT_2]
    if not pairs:
        return
    here = [one for one, _ in pairs]
    case = Case("close-wait-leak", key)
    case.witness(0.7, f"FIN_WAIT_2 there / CLOSE_WAIT here on {many(len(pairs), 'connection')}, e.g. {example(here)}")
    case.doubt(0.2, "so few may be slow single requests or a half-close in use")
    yield case.close(
        Severity.INFO,
        f"{look.whose(here[0])} has not closed {many(len(pairs), 'connection')} that {look.whose(pairs[0][1]) if pairs[0][1].owners else 'the other end'} has closed",
        "The FIN came from the other end and was acknowledged; CLOSE_WAIT lasts until the program here closes.",
        code_for(look, "close-on-eof", here),
        here,
        _AVOID_CLOSE_WAIT,
    )


def leaking(look: Look) -> dict[str, list[Socket]]:
    """Return the accepted sockets in CLOSE_WAIT by process, or by port where nobody can be named."""
    waiting = [socket for socket in look.states[State.CLOSE_WAIT] if not look.is_unaccepted(socket)]
    return group(waiting, lambda socket: _holder_or_port(look, socket))


def _leak(look: Look, sockets: Sequence[Socket], unknown: Sequence[Socket], sending: int, key: str) -> Finding:
    case = Case("close-wait-leak", key)
    share = descriptor_share(look, sockets)
    growth = growth_per_minute(look, sockets, key)
    _witness_close_wait(look, case, sockets, unknown, sending)
    if share is not None and share >= 0.01:
        case.witness(min(0.5, share), f"{percent(share)} of its {_descriptors(look, sockets)} descriptors are these")
    if growth > 0:
        case.witness(0.4, f"growing by {count(growth)} per minute{_full_in(look, sockets, growth)}")
    is_high = (
        len(sockets) >= look.limit_of("close-wait-leak.many")
        or (share or 0) > look.limit_of("close-wait-leak.fd_share")
        or is_rising(look, f"close-wait:{key}", len(sockets))
    )
    severity = Severity.HIGH if is_high else Severity.MEDIUM
    if unknown and len(unknown) > len(sockets) / 2 and not is_high:
        severity = Severity.LOW
    who = look.whose(sockets[0]) if sockets[0].owners else f"the program on {key}"
    return case.close(
        severity,
        f"{who} does not close {many(len(sockets), 'connection')} {'its peer has' if len(sockets) == 1 else 'its peers have'} closed",
        "CLOSE_WAIT: the peer sent its FIN, the kernel here acknowledged it, and now it is this program's turn to call "
        "close(). No timer ends the state: each of these keeps a descriptor and memory until the program closes it or "
        "ends.",
        (*code_for(look, "close-on-eof", sockets), *_relief(sockets)),
        sockets,
        _AVOID_CLOSE_WAIT,
    )


def _witness_close_wait(
    look: Look, case: Case, sockets: Sequence[Socket], unknown: Sequence[Socket], sending: int
) -> None:
    oldest = look.oldest_ms(sockets)
    aged = f", the oldest for at least {span(oldest)}" if oldest else ""
    case.witness(0.6 if len(unknown) < len(sockets) else 0.4, f"{many(len(sockets), 'socket')} in CLOSE_WAIT{aged}")
    read = sum(socket.recv_q == 0 for socket in sockets)
    if read:
        case.witness(0.5, f"Recv-Q 0 on {count(read)}: it read the end of file and kept the socket")
    idle = sum(_is_idle_outgoing(look, socket) for socket in sockets)
    if idle > read:
        case.witness(
            0.4,
            f"Recv-Q 1 on {count(idle)} that were opened here: the FIN alone is unread, so they lie idle in a pool that does not look after them, or are forgotten",
        )
        case.doubt(0.1, "a program that is stuck shows the same")
    case.witness(0.1, f"for example {example(sockets)}")
    if unknown:
        case.unseen(f"how long {count(len(unknown))} of them have been so (a second look a minute later tells)", 0.15)
    if sending:
        case.doubt(0.1, f"{many(sending, 'other socket')} in CLOSE_WAIT still sends: a half-close in use, not counted")
    elif all(socket.tcp_info for socket in sockets):
        case.cleared("none of them has sent anything since the FIN, so it is no half-close in use (ssh, rsync)", 0.4)
    else:
        case.unseen("whether one of them still sends (a half-close is legal): no tcp_info")
    ends = [look.other_end(socket) for socket in sockets[:1000]]
    visible = [one for one in ends if one is not None]
    if visible:
        states = group(visible, lambda one: one.state.name)
        case.witness(
            0.4, f"the other ends are visible: {', '.join(f'{count(len(v))} in {k}' for k, v in states.items())}"
        )


def _blocked(look: Look, sockets: Sequence[Socket], key: str) -> Finding:
    case = Case("close-wait-app-blocked", key)
    unread = [socket for socket in sockets if socket.recv_q > 0]
    case.witness(0.7, f"{count(len(unread))} of {many(len(sockets), 'socket')} in CLOSE_WAIT have Recv-Q of 1 or more")
    bytes_waiting = sum(max(0, socket.recv_q - 1) for socket in unread)
    case.witness(0.2, f"{size(bytes_waiting)} and the end of file of each wait to be read; e.g. {example(unread)}")
    oldest = look.oldest_ms(sockets)
    if oldest:
        case.witness(0.2, f"the oldest for at least {span(oldest)}")
    for text, weight in _process_signs(look, sockets):
        case.witness(weight, text)
    if any(look.age(socket).known == "unknown" for socket in sockets):
        case.unseen("how long some of them have been so")
    return case.close(
        Severity.HIGH,
        f"{look.whose(sockets[0])} does not read the end of {many(len(sockets), 'connection')} any more: it is stuck",
        "CLOSE_WAIT with Recv-Q of 1 or more: the FIN (it counts 1) has not even been read. That is not a missing "
        "close() but a program that does not get round to reading: a blocked event loop, a worker pool with every "
        "thread waiting, or a descriptor nobody polls.",
        (*map(wake, halted_holders(look, sockets)[:2]), *code_for(look, "unblock-loop", sockets), *_relief(sockets)),
        sockets,
        _AVOID_CLOSE_WAIT[:1],
    )


def _process_signs(look: Look, sockets: Sequence[Socket]) -> Iterator[tuple[str, float]]:
    owners = {owner.pid: owner for socket in sockets for owner in socket.owners}
    halted = {process.pid: process for process in halted_holders(look, sockets)}
    for owner in list(owners.values())[:3]:
        process = look.process(owner)
        if owner.pid in halted:
            yield spell_halted(halted[owner.pid]), 0.6
        elif process and "futex" in process.wait_channel:
            yield f"{owner.name} ({owner.pid}) waits for a lock ({process.wait_channel})", 0.3
        waiting = _waited_for(look, owner.pid)
        if waiting:
            yield (
                f"its listener {waiting[0].local} has {many(waiting[0].recv_q, 'connection')} waiting for accept()",
                0.4,
            )


def _waited_for(look: Look, pid: int) -> list[Socket]:
    """Return the listeners of a process on which connections wait for accept()."""
    return [one for one in look.listeners if one.recv_q and any(who.pid == pid for who in one.owners)]


def _is_blocked(look: Look, sockets: Sequence[Socket]) -> bool:
    share = look.limit_of("close-wait-app-blocked.unread_share") * len(sockets)
    if sum(socket.recv_q > 0 for socket in sockets) <= share:
        return False
    # Why: nobody reads a connection that lies idle in a pool; the rest of the program may be in the best of health.
    is_pool = sum(_is_idle_outgoing(look, socket) for socket in sockets) > share
    return (
        not is_pool
        or bool(halted_holders(look, sockets))
        or any(_waited_for(look, pid) for pid in holders_of(sockets[0]))
    )


def _is_idle_outgoing(look: Look, socket: Socket) -> bool:
    """Whether this end called connect(), as far as ports tell, and only the FIN is unread."""
    return socket.recv_q == 1 and not look.is_server_side(socket) and socket.local.port > socket.remote.port


def _still_sends(look: Look, socket: Socket) -> bool:
    """Whether bytes left after the FIN came: half-close in use (ssh, rsync, HTTP/1.0 proxies)."""
    info = socket.tcp_info
    if info is None:
        return False
    earlier = look.before(socket)
    if earlier and earlier.tcp_info and info.bytes_sent is not None and earlier.tcp_info.bytes_sent is not None:
        return info.bytes_sent > earlier.tcp_info.bytes_sent
    return bool(info.data_segs_out) and info.last_data_sent_ms + 1000 < look.age(socket).ms


def _still_reads(look: Look, socket: Socket) -> bool:
    """Whether the program took something out of the socket between the looks: slow, not stuck."""
    earlier = look.before(socket)
    return earlier is not None and earlier.state == socket.state and socket.recv_q < earlier.recv_q


def _holder_or_port(look: Look, socket: Socket) -> str:
    if socket.owners:
        return "pid " + ",".join(map(str, holders_of(socket)))
    if look.is_server_side(socket):
        return f"port {socket.local.port}"
    busy = socket.local if socket.local.port < socket.remote.port else socket.remote
    return f"{'port' if busy is socket.local else 'to'} {busy.port if busy is socket.local else busy}"


def descriptor_share(look: Look, sockets: Sequence[Socket]) -> float | None:
    """Return the part of their process's soft descriptor limit that these sockets take."""
    limit = _descriptors(look, sockets)
    return len(sockets) / limit if limit else None


def _descriptors(look: Look, sockets: Sequence[Socket]) -> int:
    for owner in sockets[0].owners if sockets else ():
        process = look.process(owner)
        if process and process.fd_limit and process.fd_limit > 0:
            return process.fd_limit
    return 0


def growth_per_minute(look: Look, sockets: Sequence[Socket], key: str) -> float:
    """Return by how many these sockets' group grew per minute between the two looks."""
    if look.previous is None or look.elapsed_s <= 0:
        return 0.0
    fresh = sum(1 for socket in sockets if (one := look.before(socket)) is None or one.state != socket.state)
    return fresh * 60 / look.elapsed_s


def is_rising(look: Look, trend: str, now: int) -> bool:
    """Whether a remembered number grew at each of three looks, this one included."""
    values = [value for _, value in look.history.trends.get(look.trend_name(trend), ())[-2:]]
    return len(values) == 2 and values[0] < values[1] < now


def _full_in(look: Look, sockets: Sequence[Socket], growth: float) -> str:
    for owner in sockets[0].owners:
        process = look.process(owner)
        if process and process.fd_limit and process.open_fds is not None and process.fd_limit > process.open_fds:
            return f"; at this rate its descriptors are gone in {span((process.fd_limit - process.open_fds) / growth * 60000)}"
    return ""


def _relief(sockets: Sequence[Socket]) -> tuple[Remedy, ...]:
    ports = {socket.local.port for socket in sockets}
    where = f" sport = :{min(ports)}" if len(ports) == 1 else ""
    pids = holders_of(sockets[0])
    where = where or (f" pid = {pids[0]}" if pids else "")
    return (
        command(
            f"tcpscope kill 'state close-wait{where}'   buys time: the program gets ECONNABORTED on each; it leaks again"
        ),
        command(f"tcpscope list 'state close-wait{where}'"),
    )


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
    for key, sockets in group(held, lambda socket: _holder_or_port(look, socket)).items():
        old, _ = look.older_than(sockets, look.limit_of("fin-wait2-half-closed-forever.age_s"))
        idle = [socket for socket in old if not _still_receives(look, socket)]
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


def _still_receives(look: Look, socket: Socket) -> bool:
    info = socket.tcp_info
    if info is None:
        return False
    earlier = look.before(socket)
    if earlier and earlier.tcp_info and info.bytes_received is not None and earlier.tcp_info.bytes_received is not None:
        return info.bytes_received > earlier.tcp_info.bytes_received
    return bool(info.data_segs_in) and info.last_data_recv_ms + 1000 < look.age(socket).ms


def fin_wait_1(look: Look) -> Iterator[Finding]:
    """F05 fin-wait1-stuck and F06 fin-wait1-zero-window."""
    waiting = look.states[State.FIN_WAIT_1]
    probing = [socket for socket in waiting if socket.timer and socket.timer.kind == "persist"]
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
    by_probes: int = 200 * ((1 << min(max(0, probes), 9)) - 1)
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
    grows = look.previous is not None and growth_per_minute(look, sockets, state) > 0 and is_pile
    severity = Severity.HIGH if grows and id == "fin-wait1-stuck" else Severity.MEDIUM if is_pile else Severity.LOW
    last_ack_line = "net.netfilter.nf_conntrack_tcp_timeout_last_ack"
    return case.close(
        severity,
        f"{many(len(sockets), 'FIN')} to {listing(remotes)} {'is' if len(sockets) == 1 else 'are'} not acknowledged",
        explanation,
        (
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


RULES = (close_wait, fin_wait_2_orphans, fin_wait_2_half_closed, fin_wait_1, last_ack, closing)
