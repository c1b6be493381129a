"""CLOSE_WAIT that lasts: the peer has closed, the program here has not (F01, F02).

RFC 9293 §3.6. A FIN counts 1 in Recv-Q of the side that received it, so in CLOSE_WAIT Recv-Q tells whether the program
has read the end of file: 0 it has, 1 or more it has not. Who has not read may be stuck, or may have put the connection
aside: a client's pool reads none of its idle connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tcpscope.doctor.case import Case
from tcpscope.doctor.halted import halted_holders, spell_halted, wake
from tcpscope.doctor.hints import code_for, command
from tcpscope.doctor.look import Look, group, holders_of
from tcpscope.doctor.wording import count, example, many, percent, size, span
from tcpscope.model.finding import Finding, Remedy, Severity
from tcpscope.model.socket import Socket, TcpInfo
from tcpscope.model.state import State

#: One way of a connection: bytes and data segments so far (``None``: kernel too old), milliseconds since the last.
Traffic = tuple[int | None, int | None, int]

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
        stuck = [
            socket for socket in old if not is_half_close_used(look, socket, sent) and not _still_reads(look, socket)
        ]
        suspects = stuck + unknown
        if len(suspects) < look.limit_of("close-wait-leak.count"):
            yield from _few(look, suspects, key)
            continue
        if _is_blocked(look, suspects):
            yield _blocked(look, suspects, key)
        else:
            yield _leak(look, suspects, unknown, len(old) - len(stuck), key)


def _few(look: Look, suspects: Sequence[Socket], key: str) -> Iterator[Finding]:
    """Too few to alarm, but who has to close is known, and surely so where the other end is visible."""
    if not suspects:
        return
    seen = [socket for socket in suspects if look.is_own(socket.remote.address) or look.others]
    pairs = [(one, there) for one in seen if (there := look.other_end(one)) and there.state == State.FIN_WAIT_2]
    here = [one for one, _ in pairs] or list(suspects)
    case = Case("close-wait-leak", key)
    if pairs:
        case.witness(
            0.7, f"FIN_WAIT_2 there / CLOSE_WAIT here on {many(len(pairs), 'connection')}, e.g. {example(here)}"
        )
    else:
        oldest = look.oldest_ms(here)
        aged = f", the oldest for at least {span(oldest)}" if oldest else ""
        case.witness(0.5, f"{many(len(here), 'socket')} in CLOSE_WAIT{aged}, e.g. {example(here)}")
    case.doubt(0.2, "so few may be slow single requests or a half-close in use")
    who = look.whose(here[0]) if here[0].owners else f"the program on {key}"
    by = look.whose(pairs[0][1]) if pairs and pairs[0][1].owners else "the other end"
    yield case.close(
        Severity.INFO,
        f"{who} {'have' if len(holders_of(here[0])) > 1 else 'has'} not closed {many(len(here), 'connection')} that {by} has closed",
        "The FIN came from the other end and was acknowledged; CLOSE_WAIT lasts until the program here closes.",
        code_for(look, "close-on-eof", here),
        here,
        _AVOID_CLOSE_WAIT,
    )


def leaking(look: Look) -> dict[str, list[Socket]]:
    """Return the accepted sockets in CLOSE_WAIT by process, or by port where nobody can be named."""
    waiting = [socket for socket in look.states[State.CLOSE_WAIT] if not look.is_unaccepted(socket)]
    return group(waiting, lambda socket: holder_or_port(look, socket))


def _leak(look: Look, sockets: Sequence[Socket], unknown: Sequence[Socket], sending: int, key: str) -> Finding:
    case = Case("close-wait-leak", key)
    share = descriptor_share(look, sockets)
    growth = growth_per_minute(look, sockets)
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


def sent(info: TcpInfo) -> Traffic:
    """Return what went the way out."""
    return info.bytes_sent, info.data_segs_out, info.last_data_sent_ms


def received(info: TcpInfo) -> Traffic:
    """Return what came the way in."""
    return info.bytes_received, info.data_segs_in, info.last_data_recv_ms


def is_half_close_used(look: Look, socket: Socket, way: Callable[[TcpInfo], Traffic]) -> bool:
    """Whether data went the way that is still open, after the FIN of the other (ssh, rsync, HTTP/1.0 proxies)."""
    info = socket.tcp_info
    if info is None:
        return False
    octets, segments, idle_ms = way(info)
    earlier = look.before(socket)
    octets_before = way(earlier.tcp_info)[0] if earlier and earlier.tcp_info else None
    if octets is not None and octets_before is not None:
        return octets > octets_before
    return bool(segments) and idle_ms + 1000 < look.age(socket).ms


def _still_reads(look: Look, socket: Socket) -> bool:
    """Whether the program took something out of the socket between the looks: slow, not stuck."""
    earlier = look.before(socket)
    return earlier is not None and earlier.state == socket.state and socket.recv_q < earlier.recv_q


def holder_or_port(look: Look, socket: Socket) -> str:
    """Spell whose it is: the pids, or the server's port where nobody can be named."""
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


def growth_per_minute(look: Look, sockets: Sequence[Socket]) -> float:
    """Return how many of these sockets entered their state per minute between the two looks."""
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


RULES = (close_wait,)
