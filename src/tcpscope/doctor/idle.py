"""Connections that are silent, and addresses that hold many (F31 to F34, F58).

A TCP connection without data and without keepalive lasts for ever; nothing tells one end that the other is gone. One
idle number proves nothing: keepalive refreshes it only on the probing side. What counts is ``segs_in`` over a minute,
the same client coming back, and whether anything would ever notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcpscope.doctor import ages
from tcpscope.doctor.case import Case
from tcpscope.doctor.hints import change, code_for, command, config, filter_rule, sysctl
from tcpscope.doctor.look import Look, group
from tcpscope.doctor.wording import address, count, example, listing, many, percent, span
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.socket import Socket
from tcpscope.model.state import State


def half_open(look: Look) -> Iterator[Finding]:
    """F31 half-open-stale."""
    least_ms = look.limit_of("half-open-stale.idle_s") * 1000
    silent = [socket for socket in _quiet(look) if is_silent(socket, least_ms) and not look.is_unaccepted(socket)]
    silent = [socket for socket in silent if not _is_alive(look, socket)]
    for (is_server, port), sockets in group(silent, lambda socket: _service(look, socket)).items():
        finding = _stale(look, sockets, is_server, port)
        if finding:
            yield finding


def _quiet(look: Look) -> list[Socket]:
    """Return what both rules about silence begin with: one pass over very many sockets instead of two."""
    names = ("half-open-stale.idle_s", "no-keepalive-on-long-idle.idle_s")
    return look.established_quiet(min(look.limit_of(name) for name in names) * 1000)


def is_silent(socket: Socket, least_ms: float) -> bool:
    """Whether nothing was sent or heard for so long, nothing is queued, and no timer would ever find out."""
    info = socket.tcp_info
    # Why: on a busy host this one comparison sorts out nearly all of very many sockets.
    if info is None or info.last_ack_recv_ms < least_ms or socket.send_q or socket.timer is not None:
        return False
    idle = ages.idle_ms(socket)
    return idle is not None and idle >= least_ms


def _is_alive(look: Look, socket: Socket) -> bool:
    """Whether the peer is known to be there: it moved between the looks, or its end is visible."""
    other = look.other_end(socket) if look.is_own(socket.remote.address) or look.others else None
    if other is not None and other.state == State.ESTABLISHED:
        return True
    earlier = look.before(socket)
    now, then = socket.tcp_info, earlier.tcp_info if earlier else None
    return bool(now and then and now.segs_in is not None and then.segs_in is not None and now.segs_in > then.segs_in)


def _service(look: Look, socket: Socket) -> tuple[bool, int]:
    return (True, socket.local.port) if look.is_server_side(socket) else (False, socket.remote.port)


def watched_ms(look: Look, socket: Socket) -> int:
    """Return for how long it has been seen that no segment came in."""
    watched = 0
    earlier = look.before(socket)
    if (
        earlier
        and earlier.tcp_info
        and socket.tcp_info
        and earlier.tcp_info.segs_in == socket.tcp_info.segs_in is not None
    ):
        watched = int(look.elapsed_s * 1000)
    sighting = look.history.sightings.get((socket.netns or look.snapshot.netns, socket.cookie, int(socket.state)))
    if sighting and socket.tcp_info and sighting.silent_since_ns and sighting.segs_in == socket.tcp_info.segs_in:
        watched = max(watched, (look.snapshot.taken_ns - sighting.silent_since_ns) // 1_000_000)
    return watched


def _stale(look: Look, sockets: Sequence[Socket], is_server: bool, port: int) -> Finding | None:
    pool = [one for one in look.states[State.ESTABLISHED] if (one.local if is_server else one.remote).port == port]
    came_back = _came_back(sockets, pool) if is_server else {}
    ghosts = sum(map(len, came_back.values()))
    watch_ms = look.limit_of("half-open-stale.watch_s") * 1000
    confirmed = [socket for socket in sockets if watched_ms(look, socket) >= watch_ms]
    is_many = len(sockets) > look.limit_of("half-open-stale.count") or len(sockets) > look.limit_of(
        "half-open-stale.pool_share"
    ) * len(pool)
    is_ghosts = ghosts >= look.limit_of("half-open-stale.ghosts")
    if not is_many and not is_ghosts:
        return None
    case = Case("half-open-stale", f"{'port' if is_server else 'to port'} {port}")
    longest = max(ages.idle_ms(socket) or 0 for socket in sockets)
    case.witness(
        0.3,
        f"{many(len(sockets), 'connection')} of {count(len(pool))} silent for up to {span(longest)}, without keepalive or any other timer",
    )
    if confirmed:
        case.witness(
            0.3,
            f"on {count(len(confirmed))} no segment came in while we watched (up to {span(max(watched_ms(look, one) for one in confirmed))})",
        )
    else:
        case.unseen(
            f"whether their peers probe us: that needs two looks {span(watch_ms)} apart (run doctor again then)", 0.3
        )
    for client, found in list(came_back.items())[:3]:
        case.witness(
            0.5, f"{client} has come back and uses a newer connection; {count(len(found))} older ones are silent"
        )
    if not came_back:
        case.doubt(0.4, "idle pools, SSH, websockets and database sessions are silent like this and healthy")
    return _stale_finding(look, case, sockets, is_server, port, bool(is_ghosts or confirmed))


def _came_back(silent: Sequence[Socket], pool: Sequence[Socket]) -> dict[str, list[Socket]]:
    """Clients with silent connections and one that was used since: they crashed, or lost their address, and came back."""
    active: dict[str, int] = {}
    for socket in pool:
        idle = ages.idle_ms(socket)
        if idle is not None:
            remote = address(socket.remote.address)
            active[remote] = min(idle, active.get(remote, idle))
    back: dict[str, list[Socket]] = {}
    for socket in silent:
        remote = address(socket.remote.address)
        if active.get(remote, 1 << 62) * 2 < (ages.idle_ms(socket) or 0):
            back.setdefault(remote, []).append(socket)
    return back


def _stale_finding(
    look: Look, case: Case, sockets: Sequence[Socket], is_server: bool, port: int, is_sure: bool
) -> Finding:
    share = _descriptor_share(look, sockets)
    severity = Severity.MEDIUM if is_sure else Severity.INFO
    if share > 0.8 and is_sure:
        severity = Severity.HIGH
    what = f"port {port}" if is_server else f"connections to port {port}"
    return case.close(
        severity,
        f"{many(len(sockets), 'connection')} of {what} {'have probably' if case.confidence >= 0.5 else 'may have'} lost {'their peers' if len(sockets) > 1 else 'the peer'}",
        "ESTABLISHED, nothing queued, nothing heard for hours, and no keepalive: when a peer loses power or its NAT entry, "
        "no segment tells this end. Each keeps a descriptor until the program gives up by itself. It cannot be proved by "
        "looking alone.",
        (
            *code_for(look, "keepalive", sockets),
            command(
                f"tcpscope list -i 'state established {'sport' if is_server else 'dport'} = :{port}'   lastrcv and lastack: how long each is silent"
            ),
        ),
        sockets,
        (
            "killing them unseen: a live idle session looks the same",
            "tcp_keepalive_* sysctls alone: only sockets with SO_KEEPALIVE use them, and armed timers do not change",
        ),
    )


def _descriptor_share(look: Look, sockets: Sequence[Socket]) -> float:
    for owner in sockets[0].owners:
        process = look.process(owner)
        if process and process.fd_limit and process.open_fds is not None:
            return process.open_fds / max(1, process.fd_limit)
    return 0.0


def no_keepalive(look: Look) -> Iterator[Finding]:
    """F32 no-keepalive-on-long-idle."""
    least_ms = look.limit_of("no-keepalive-on-long-idle.idle_s") * 1000
    silent = [socket for socket in _quiet(look) if is_silent(socket, least_ms) and is_far(look, socket)]
    if len(silent) <= look.limit_of("no-keepalive-on-long-idle.count"):
        return
    remotes = group(silent, lambda socket: address(socket.remote.address))
    case = Case("no-keepalive-on-long-idle", "this host")
    case.witness(
        0.6,
        f"{many(len(silent), 'connection')} idle for more than {span(least_ms)} without keepalive, e.g. {example(silent)}",
    )
    case.witness(0.1, f"to {listing(f'{remote} ({count(len(found))})' for remote, found in remotes.items())}")
    case.unseen("whether a load balancer or a stateful firewall is on the way")
    yield case.close(
        Severity.LOW,
        f"{many(len(silent), 'idle connection')} may be forgotten on the way without notice",
        "Load balancers and firewalls drop idle connections after 240 to 350 s, silently; the next data then times out.",
        code_for(look, "keepalive", silent),
        silent,
    )


def is_far(look: Look, socket: Socket) -> bool:
    """Whether something may stand in between: not this host, not the same /24 (or /64)."""
    remote, local = address(socket.remote.address), address(socket.local.address)
    if look.is_own(socket.remote.address):
        return False
    if ":" in remote:
        return remote.split(":")[:4] != local.split(":")[:4]
    return remote.rpartition(".")[0] != local.rpartition(".")[0]


def keepalive_late(look: Look) -> Iterator[Finding]:
    """F33 keepalive-sysctl-too-long."""
    seconds = look.known_setting("net.ipv4.tcp_keepalive_time")
    limit_s = look.limit_of("keepalive-sysctl-too-long.idle_s")
    if seconds is None or seconds <= limit_s:
        return
    armed = [
        socket for socket in look.states[State.ESTABLISHED]
        if socket.timer is not None and socket.timer.kind == "keepalive" and socket.timer.expires_ms > limit_s * 1000 and is_far(look, socket)
    ]  # fmt: skip
    if not armed:
        return
    case = Case("keepalive-sysctl-too-long", "this host")
    case.witness(
        0.6,
        f"{many(len(armed), 'connection')} with keepalive due in more than {span(limit_s * 1000)}, e.g. {example(armed)}",
    )
    case.witness(0.3, f"net.ipv4.tcp_keepalive_time is {seconds}")
    case.unseen("whether a middlebox on the way forgets earlier")
    yield case.close(
        Severity.INFO,
        f"Keepalive of {many(len(armed), 'connection')} starts later than common middleboxes forget",
        "AWS NLB forgets after 350 s, Azure LB after 240 s. The setting is only the default for sockets with SO_KEEPALIVE, "
        "and does not touch timers already armed.",
        (
            *code_for(look, "keepalive", armed),
            *sysctl(look, "net.ipv4.tcp_keepalive_time", "200", "for new connections"),
        ),
        armed,
    )


def keepalive_hasty(look: Look) -> Iterator[Finding]:
    """F34 keepalive-too-aggressive."""
    interval = look.known_setting("net.ipv4.tcp_keepalive_intvl")
    probes = look.known_setting("net.ipv4.tcp_keepalive_probes")
    if interval is None or probes is None or interval * probes >= look.limit_of("keepalive-too-aggressive.probe_s"):
        return
    case = Case("keepalive-too-aggressive", "net.ipv4.tcp_keepalive_*")
    case.witness(
        0.9,
        f"tcp_keepalive_intvl {interval} s x tcp_keepalive_probes {probes} = {interval * probes} s until a connection is dropped",
    )
    yield case.close(
        Severity.LOW,
        f"Keepalive gives a peer only {interval * probes} s: a short loss kills healthy connections",
        "A route change or a busy peer takes longer than that.",
        (change(look, "net.ipv4.tcp_keepalive_intvl", "10"), change(look, "net.ipv4.tcp_keepalive_probes", "6")),
    )


def concentration(look: Look) -> Iterator[Finding]:
    """F58 conn-concentration."""
    least = look.limit_of("conn-concentration.count")
    served = [socket for socket in look.states[State.ESTABLISHED] if socket.local.port in look.listeners_by_port]
    if len(served) <= least:
        return
    ports: dict[int, int] = {}
    for socket in served:
        ports[socket.local.port] = ports.get(socket.local.port, 0) + 1
    for (remote, port), sockets in group(served, lambda one: (one.remote.address, one.local.port)).items():
        if len(sockets) > least and not look.is_own(remote):
            yield _concentrated(look, sockets, remote, port, ports[port])


def _concentrated(look: Look, sockets: Sequence[Socket], remote: str, port: int, total: int) -> Finding:
    case = Case("conn-concentration", f"{address(remote)} -> port {port}")
    share = len(sockets) / total
    is_share = share > look.limit_of("conn-concentration.share")
    case.witness(
        0.6 if is_share else 0.4,
        f"{address(remote)} holds {many(len(sockets), 'connection')} to port {port} ({percent(share)} of them)",
    )
    limit = look.limit_of("conn-concentration.slow_bytes")
    slow = [
        one
        for one in sockets
        if one.tcp_info
        and one.tcp_info.bytes_received is not None
        and one.tcp_info.bytes_received < limit
        and not one.tcp_info.data_segs_out
        # Linux: where nothing was ever sent this counts from the end of the handshake.
        and one.tcp_info.last_data_sent_ms >= look.limit_of("conn-concentration.slow_s") * 1000
    ]
    is_slow = len(slow) > 0.8 * len(sockets)
    if is_slow:
        case.witness(
            0.6,
            f"{count(len(slow))} of them have sent less than {count(limit)} bytes in {span(min(one.tcp_info.last_data_sent_ms for one in slow if one.tcp_info))} or more and got no answer: slowloris looks like this",
        )
    else:
        case.doubt(0.5, "they are in use: a NAT, a proxy, a load balancer or a large pool looks like this")
    return case.close(
        Severity.MEDIUM if is_slow else Severity.INFO,
        f"{address(remote)} holds {many(len(sockets), 'connection')} to port {port}",
        "One address with very many connections is a NAT, a load balancer, a pool without a limit, or an attack that opens "
        "connections and never finishes a request.",
        (
            config("limit per address in the program (nginx: limit_conn_zone, client_header_timeout 10s)"),
            filter_rule(f"tcp dport {port} ct state new meter conns {{ ip saddr limit rate over 50/second }} drop"),
        ),
        sockets,
    )


RULES = (half_open, no_keepalive, keepalive_late, keepalive_hasty, concentration)
