"""Handshakes that do not finish: floods, lost last ACKs, deferred and forgotten ones (F18 to F20, F27).

RFC 9293 §3.5. Linux: a request socket in SYN_RECEIVED repeats SYN|ACK after 1, 2, 4 ... s (63 s in all); its number is
capped at backlog + 1, so an absolute count of SYN_RECV proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcpscope.doctor import ages
from tcpscope.doctor.accepting import fill
from tcpscope.doctor.case import Case
from tcpscope.doctor.hints import at_peer, code_for, command, config, filter_rule, sysctl
from tcpscope.doctor.look import Look, group
from tcpscope.doctor.wording import address, count, end, example, listing, many, percent, span
from tcpscope.model.address import Endpoint
from tcpscope.model.finding import Finding, Remedy, Severity
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

_FAMILY = "TcpExt."


def handshakes(look: Look) -> Iterator[Finding]:
    """F19 syn-flood, F20 syn-recv-ack-lost and F27 deferred-accept-misread: each SYN_RECV counts for one of them."""
    waiting = look.states[State.SYN_RECEIVED]
    deferred = [socket for socket in waiting if is_deferred(look, socket)]
    set_aside = set(map(id, deferred))
    begun = [socket for socket in waiting if id(socket) not in set_aside]
    if deferred:
        yield _deferred(look, deferred)
    flooded: set[int] = set()
    for port, sockets in group(begun, lambda socket: socket.local.port).items():
        finding = _flood_on(look, port, sockets)
        if finding:
            flooded.add(port)
            yield finding
    if not flooded:
        yield from _flood_by_counters(look, begun)
    yield from _ack_lost(look, [socket for socket in begun if socket.local.port not in flooded])


def is_deferred(look: Look, socket: Socket) -> bool:
    """Whether TCP_DEFER_ACCEPT holds it: its timer has grown past the first second, yet no SYN|ACK was repeated.

    Linux: after the client's ACK the timer of the request goes on doubling but nothing is sent.
    """
    timer = socket.timer
    if timer is None or timer.retransmits:
        return False
    if timer.expires_ms > 1100:
        return True
    if look.before(socket) is not None and look.elapsed_s > 1.2:
        return True
    other = look.other_end(socket)
    return bool(look.delta(_FAMILY + "TCPDeferAcceptDrop")) and other is not None and other.state == State.ESTABLISHED


def _deferred(look: Look, sockets: Sequence[Socket]) -> Finding:
    case = Case("deferred-accept-misread", listing(sorted({f"port {socket.local.port}" for socket in sockets})))
    case.witness(
        0.7,
        f"{many(len(sockets), 'socket')} in SYN_RECEIVED whose timer runs but no SYN|ACK was repeated, e.g. {example(sockets)}",
    )
    held = look.delta(_FAMILY + "TCPDeferAcceptDrop")
    if held:
        case.witness(0.6, f"TCPDeferAcceptDrop +{count(held)} between the looks")
    ends = [
        one for socket in sockets[:20] if (one := look.other_end(socket)) is not None and one.state == State.ESTABLISHED
    ]
    if ends:
        case.witness(
            0.6, f"SYN_RECEIVED here / ESTABLISHED there: {count(len(ends))} of the clients are visible and connected"
        )
    return case.close(
        Severity.INFO,
        f"{many(len(sockets), 'connection')} in SYN_RECEIVED: TCP_DEFER_ACCEPT, not an attack",
        "The server asked the kernel to wait for the client's first data before accept(). The client is connected and "
        "silent; after the deferral the connection becomes ESTABLISHED or is dropped.",
        (),
        sockets,
    )


def _flood_on(look: Look, port: int, sockets: Sequence[Socket]) -> Finding | None:
    backlog = max((one.backlog or 0 for one in look.listeners_by_port.get(port, ())), default=0)
    reserve = _room_without_cookies(look)
    room = min(backlog, reserve) if reserve else backlog
    repeated = sum(ages.handshake_ms(socket) >= 1000 for socket in sockets)
    cookies = _cookies_rate(look)
    is_full = (
        room
        and len(sockets) >= look.limit_of("syn-flood.queue_share") * room
        and len(sockets) >= look.limit_of("syn-flood.count")
    )
    # Linux prunes old requests to half the backlog after some seconds: then only the cookies tell.
    is_high = (is_full and repeated * 2 > len(sockets)) or (cookies or 0) > look.limit_of("syn-flood.cookies_high")
    if not is_high and not (cookies or 0) > look.limit_of("syn-flood.cookies_medium"):
        return None
    if len(sockets) < look.limit_of("syn-flood.count") and not cookies:
        return None
    case = Case("syn-flood", f"port {port}")
    sources = {address(socket.remote.address) for socket in sockets}
    case.witness(
        0.5 if is_full else 0.2,
        f"{many(len(sockets), 'handshake')} not finished on port {port}, backlog {count(backlog)}; SYN|ACK repeated on {count(repeated)}",
    )
    dropped = look.delta(_FAMILY + "ListenDrops")
    if room < backlog:
        case.witness(
            0.4 if dropped else 0.1,
            f"cookies are off, so three quarters of tcp_max_syn_backlog are all there is: room for {count(room)}, ListenDrops +{count(dropped or 0)}",
        )
    case.witness(
        0.3 if len(sources) * 2 > len(sockets) else 0.05,
        f"from {many(len(sources), 'address', 'addresses')}, e.g. {listing(sorted(sources))}",
    )
    return _judge_flood(look, case, port, is_high, sockets)


def _room_without_cookies(look: Look) -> int:
    """Linux: with tcp_syncookies 0 the last quarter of tcp_max_syn_backlog is for known peers; 0 where that is not so."""
    most = look.known_setting("net.ipv4.tcp_max_syn_backlog")
    return most - (most >> 2) if most and look.known_setting("net.ipv4.tcp_syncookies") == 0 else 0


def _flood_by_counters(look: Look, begun: Sequence[Socket]) -> Iterator[Finding]:
    """A flood whose requests are gone already (cookies keep no memory), or dropped without cookies."""
    cookies = _cookies_rate(look)
    if cookies is None or cookies <= look.limit_of("syn-flood.cookies_medium"):
        return
    finding = _judge_flood(
        look, Case("syn-flood", "some listener"), 0, cookies > look.limit_of("syn-flood.cookies_high"), begun
    )
    if finding:
        yield finding


def _cookies_rate(look: Look) -> float | None:
    rates = [look.rate(_FAMILY + name) for name in ("TCPReqQFullDoCookies", "TCPReqQFullDrop", "SyncookiesSent")]
    known = [rate for rate in rates if rate is not None]
    return max(known) if known else None


def _judge_flood(look: Look, case: Case, port: int, is_high: bool, sockets: Sequence[Socket]) -> Finding | None:
    sent, back = look.delta(_FAMILY + "SyncookiesSent"), look.delta(_FAMILY + "SyncookiesRecv")
    dropped, forged = look.delta(_FAMILY + "TCPReqQFullDrop"), look.delta(_FAMILY + "SyncookiesFailed")
    if sent and back is not None and back / sent > look.limit_of("syn-flood.real_share"):
        return None  # real clients come back with their cookie: overload, and accept-queue-overflow says so
    full = look.delta(_FAMILY + "TCPReqQFullDoCookies")
    if sent:
        case.witness(0.6, f"SyncookiesSent +{count(sent)} between the looks")
    elif full:
        case.witness(0.5, f"TCPReqQFullDoCookies +{count(full)}: SYNs met a full queue and were answered with cookies")
    if dropped:
        case.witness(
            0.6, f"TCPReqQFullDrop +{count(dropped)}: SYNs dropped because the queue is full and cookies are off"
        )
    if forged:
        case.witness(0.3, f"SyncookiesFailed +{count(forged)}: ACKs with a wrong cookie")
    if sent and back is not None:
        case.cleared(
            f"only {percent(back / sent)} of the cookies came back (SyncookiesRecv +{count(back)}): not real clients in overload",
            0.4,
        )
    elif look.previous is None:
        case.unseen("whether cookies are sent (two looks)")
    case.cleared("none of these is held by TCP_DEFER_ACCEPT")
    where = f"port {port}" if port else "a listener here"
    is_open = look.known_setting("net.ipv4.tcp_syncookies") == 0
    rest = (
        "tcp_syncookies is 0: further SYNs are dropped, those of real clients too."
        if is_open
        else "Further SYNs are answered with cookies, which need no memory, so real clients still get in."
    )
    return case.close(
        Severity.HIGH if is_high else Severity.MEDIUM,
        f"SYN flood on {where}" if is_high else f"The SYN queue of {where} is full at times",
        f"Handshakes are begun and not finished. Linux keeps at most backlog + 1 of them per listener. {rest}",
        _flood_remedies(look, port, sockets),
        sockets,
        (
            "tcp_syncookies = 0: it turns an attack into an outage",
            "a threshold on the number of SYN_RECV: it is capped at backlog + 1",
        ),
    )


def _flood_remedies(look: Look, port: int, sockets: Sequence[Socket]) -> tuple[Remedy, ...]:
    sources = {address(socket.remote.address) for socket in sockets}
    is_forged = len(sources) * 2 > len(sockets) or not sockets
    small = [one for one in look.listeners_by_port.get(port, ()) if (one.backlog or 0) < 1024]
    limit = (
        "tcp flags & (fin|syn|rst|ack) == syn meter syns { ip saddr limit rate over 20/second burst 50 packets } drop"
    )
    return (
        *sysctl(look, "net.ipv4.tcp_syncookies", "1", "measured: a real client needs 0.000 s with it, 7.1 s without"),
        *sysctl(look, "net.ipv4.tcp_timestamps", "1", "cookies without timestamps lose window scaling and SACK"),
        *sysctl(look, "net.ipv4.tcp_synack_retries", "2", "half-open ones leave after 7 s instead of 63 s"),
        *(code_for(look, "backlog", small) if small else ()),
        *(sysctl(look, "net.core.somaxconn", "4096", "for the larger backlog: restart the program") if small else ()),
        config(
            "filter it upstream: nearly every SYN has another source address, so a limit per address here does not help"
        )
        if is_forged
        else filter_rule(limit),
    )


def _ack_lost(look: Look, begun: Sequence[Socket]) -> Iterator[Finding]:
    """F20 syn-recv-ack-lost."""
    limit_ms = look.limit_of("syn-recv-ack-lost.age_s") * 1000
    old = [socket for socket in begun if max(look.age(socket).ms, ages.handshake_ms(socket)) >= limit_ms]
    for port, sockets in group(old, lambda socket: socket.local.port).items():
        listeners = look.listeners_by_port.get(port, ())
        backlog = max((one.backlog or 0 for one in listeners), default=0)
        if (
            backlog
            and len(sockets) >= look.limit_of("syn-recv-ack-lost.queue_share") * backlog
            and len(sockets) >= look.limit_of("syn-flood.count")
        ):
            continue
        if any(fill(one) >= 1 for one in listeners):
            continue  # the last ACK waits for room in the accept queue
        yield _lost(look, port, sockets)


def _lost(look: Look, port: int, sockets: Sequence[Socket]) -> Finding:
    remotes = group(sockets, lambda socket: address(socket.remote.address))
    case = Case("syn-recv-ack-lost", f"port {port}")
    oldest = max(max(look.age(socket).ms, ages.handshake_ms(socket)) for socket in sockets)
    case.witness(
        0.5, f"{many(len(sockets), 'handshake')} on port {port} wait for the last ACK, the oldest for {span(oldest)}"
    )
    case.witness(
        0.3 if len(remotes) <= 3 else 0.1,
        f"from {listing(f'{remote} ({len(found)})' for remote, found in remotes.items())}",
    )
    ends = [one for socket in sockets[:20] if (one := look.other_end(socket)) is not None]
    if any(one.state == State.ESTABLISHED for one in ends):
        case.witness(0.8, "SYN_RECEIVED here / ESTABLISHED there: the client is visible and believes it is connected")
    challenged = look.delta(_FAMILY + "TCPSYNChallenge")
    if challenged:
        case.witness(0.3, f"TCPSYNChallenge +{count(challenged)}: repeated SYN|ACKs reach a client that is connected")
    case.cleared("the SYN queue is far from full, so it is no flood")
    return case.close(
        Severity.MEDIUM,
        f"The last ACK of {many(len(sockets), 'handshake')} on port {port} does not arrive",
        "SYN|ACK is repeated to the same few peers (63 s in all). They think they are connected; their first data will be "
        "answered with RST. Usual causes: asymmetric routing, a firewall that sees one direction, or drops pure ACKs.",
        (
            command(f"tcpscope capture --ladder 1 tcp port {port}   shows which segment is missing"),
            command("nft monitor trace   (with 'meta nftrace set 1' on the port) shows the rule that drops it"),
        ),
        sockets,
    )


def forgotten(look: Look) -> Iterator[Finding]:
    """F18 ghost-established-by-overflow, seen from the client or from the server."""
    young = look.limit_of("ghost-established.age_s")
    repeats = look.limit_of("ghost-established.retransmits")
    ghosts = []
    for socket in look.established_silent():
        info = socket.tcp_info
        if info is None or info.bytes_acked is None or info.bytes_acked > 1 or ages.retransmits(socket) < repeats:
            continue
        if info.last_ack_recv_ms <= young * 1000 and not info.bytes_received and not look.is_server_side(socket):
            ghosts.append(socket)
    ghosts += _closed_ghosts(look, repeats)
    for remote, sockets in group(ghosts, lambda socket: socket.remote).items():
        if len(sockets) >= look.limit_of("ghost-established.count"):
            yield _ghosts(look, sockets, end(remote.address, remote.port))
    back, over = look.rate(_FAMILY + "SyncookiesRecv"), look.rate(_FAMILY + "ListenOverflows")
    if back and over and not ghosts:
        case = Case("ghost-established-by-overflow", "listeners here")
        case.witness(
            0.5,
            f"SyncookiesRecv {count(back)}/s and ListenOverflows {count(over)}/s grow together: cookies come back to a full accept queue",
        )
        case.doubt(0.1, "SyncookiesRecv counts every repetition, it is no count of clients")
        yield _ghost_finding(look, case, (), "clients of this host")


def _closed_ghosts(look: Look, repeats: float) -> list[Socket]:
    """The same after the program lost patience: the FIN of a connection on which nothing was ever acknowledged.

    Why: a path that died looks the same, so somebody must have heard from that very address and port since.
    """
    silent = [
        socket for socket in look.states[State.FIN_WAIT_1]
        if (info := socket.tcp_info) and info.bytes_acked is not None and info.bytes_acked <= 1
        and not info.bytes_received and ages.retransmits(socket) >= repeats and not look.is_server_side(socket)
    ]  # fmt: skip
    if not silent:
        return []
    heard: dict[Endpoint, int] = {}
    for socket in look.states[State.ESTABLISHED]:
        if socket.tcp_info and 0 <= socket.tcp_info.last_ack_recv_ms < heard.get(socket.remote, 1 << 40):
            heard[socket.remote] = socket.tcp_info.last_ack_recv_ms
    return [socket for socket in silent if heard.get(socket.remote, 1 << 40) < ages.unanswered_ms(socket) * 0.9]


def _ghosts(look: Look, sockets: Sequence[Socket], where: str) -> Finding:
    case = Case("ghost-established-by-overflow", where)
    case.witness(
        0.5,
        f"{many(len(sockets), 'connection')} to {where} younger than 2 min, not one byte acknowledged, first data or FIN repeated",
    )
    ends = [one for socket in sockets[:20] if (one := look.other_end(socket)) is not None]
    listener = look.listener_at(sockets[0].remote)
    if listener is not None and not ends:
        case.witness(
            0.8,
            f"ESTABLISHED here / nothing there: {look.whose(listener)} listens on {listener.local} and has no such socket",
        )
    elif ends:
        case.doubt(0.5, f"the other end of {count(len(ends))} is visible ({ends[0].state.name})")
    else:
        case.unseen("the server's side; a dead path after the handshake looks the same", 0.2)
    return _ghost_finding(look, case, sockets, where)


def _ghost_finding(look: Look, case: Case, sockets: Sequence[Socket], where: str) -> Finding:
    remedies = (
        *code_for(look, "accept-faster", ()),
        *code_for(look, "backlog", ()),
        *(() if sockets else sysctl(look, "net.core.somaxconn", "4096", "then listen() again")),
    )
    return case.close(
        Severity.HIGH if sockets else Severity.MEDIUM,
        f"{many(len(sockets), 'connection') if sockets else 'Connections'} of {where} exist on one side only: the server forgot them",
        "The handshake finished for the client, but its last ACK met a full accept queue, so the server kept nothing. The "
        "client repeats its first data (or its FIN) into the void until it times out.",
        at_peer(remedies, "server") if sockets else remedies,
        sockets,
    )


RULES = (handshakes, forgotten)
