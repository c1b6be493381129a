"""The opening side: handshakes that do not finish, are refused, or are too many (F18 to F27).

RFC 9293 §3.5. Linux: a request socket in SYN_RECEIVED repeats SYN|ACK after 1, 2, 4 ... s (63 s in all); its number is
capped at backlog + 1, so an absolute count of SYN_RECV proves nothing. A client gives up after 131 s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcpscope.doctor import ages
from tcpscope.doctor.accepting import fill
from tcpscope.doctor.case import Case
from tcpscope.doctor.hints import code_for, command, config, sysctl
from tcpscope.doctor.look import Look, group, holders_of
from tcpscope.doctor.wording import address, count, end, example, listing, many, percent, span
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

#: Ports that worms like; they add weight to a scan.
WORM_PORTS = frozenset((22, 23, 445, 2375, 3389, 5555, 6379))
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
    repeated = sum(ages.handshake_ms(socket) >= 1000 for socket in sockets)
    cookies = _cookies_rate(look)
    is_full = (
        backlog
        and len(sockets) >= look.limit_of("syn-flood.queue_share") * backlog
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
    case.witness(
        0.3 if len(sources) * 2 > len(sockets) else 0.05,
        f"from {many(len(sources), 'address', 'addresses')}, e.g. {listing(sorted(sources))}",
    )
    return _judge_flood(look, case, port, is_high, sockets)


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
    return case.close(
        Severity.HIGH if is_high else Severity.MEDIUM,
        f"SYN flood on {where}" if is_high else f"The SYN queue of {where} is full at times",
        "Handshakes are begun and not finished. Linux keeps at most backlog + 1 of them per listener; with "
        "tcp_syncookies=1 further SYNs are answered without memory, so real clients still get in, and with 0 they are dropped.",
        (
            sysctl(
                look,
                "net.ipv4.tcp_syncookies",
                "1",
                "keep it: measured, a real client needs 0.000 s with it and 7.1 s without",
            ),
            sysctl(look, "net.ipv4.tcp_timestamps", "1", "cookies without timestamps lose window scaling and SACK"),
            sysctl(look, "net.ipv4.tcp_synack_retries", "2", "half-open ones leave after 7 s instead of 63 s"),
            sysctl(look, "net.core.somaxconn", "4096", "with a larger listen() backlog: restart the program"),
            config(
                "nft add rule inet filter input 'tcp flags & (fin|syn|rst|ack) == syn meter syns { ip saddr limit rate over 20/second burst 50 packets } drop'"
            ),
        ),
        sockets,
        (
            "tcp_syncookies = 0: it turns an attack into an outage",
            "a threshold on the number of SYN_RECV: it is capped at backlog + 1",
        ),
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
            command(f"tcpscope capture 'tcp port {port}' --ladder   shows which segment is missing"),
            command("nft monitor trace   (with 'meta nftrace set 1' on the port) shows the rule that drops it"),
        ),
        sockets,
    )


def blackhole(look: Look) -> Iterator[Finding]:
    """F21 syn-sent-blackhole."""
    repeats = look.limit_of("syn-sent-blackhole.retransmits")
    hung = [socket for socket in look.states[State.SYN_SENT] if _syns_repeated(socket) >= repeats]
    scanners = set(_scanning(look))
    for sockets in group(hung, lambda socket: socket.remote).values():
        if all(_whose(socket) in scanners for socket in sockets):
            continue
        oldest = max(look.age(socket).ms for socket in sockets)
        if (
            len(sockets) >= look.limit_of("syn-sent-blackhole.count")
            or oldest > look.limit_of("syn-sent-blackhole.age_s") * 1000
        ):
            yield _vanishing(look, sockets, oldest, len(hung) - len(sockets))


def _syns_repeated(socket: Socket) -> int:
    return max(socket.timer.retransmits if socket.timer else 0, socket.tcp_info.retransmits if socket.tcp_info else 0)


def _vanishing(look: Look, sockets: Sequence[Socket], oldest: int, elsewhere: int) -> Finding:
    remote = sockets[0].remote
    where = end(remote.address, remote.port)
    case = Case("syn-sent-blackhole", where)
    case.witness(
        0.7,
        f"{many(len(sockets), 'socket')} of {look.whose(sockets[0])} in SYN_SENT to {where}, SYN repeated up to {max(map(_syns_repeated, sockets))} times, oldest {span(oldest)}",
    )
    opened, repeated = look.delta("Tcp.ActiveOpens"), look.delta(_FAMILY + "TCPSynRetrans")
    if opened and repeated is not None and repeated > 0.1 * opened:
        case.witness(0.2, f"TCPSynRetrans +{count(repeated)} for ActiveOpens +{count(opened)}")
    alive = sum(socket.remote == remote for socket in look.states[State.ESTABLISHED])
    if alive:
        case.doubt(
            0.2,
            f"{many(alive, 'connection')} to the same address and port {'is' if alive == 1 else 'are'} established: it takes some",
        )
    else:
        case.cleared("no connection to it is established", 0.3)
    case.cleared("no RST and no ICMP error came (either would have ended SYN_SENT at once)", 0.2)
    if elsewhere:
        case.doubt(0.1, f"{count(elsewhere)} more hang towards other destinations: look at the uplink too")
    listener = look.listener_at(remote)
    if listener is not None and fill(listener) >= 1:
        case.witness(
            0.9,
            f"the accept queue of {listener.local} is full ({listener.recv_q}/{listener.backlog}): its kernel drops the SYNs",
        )
    return case.close(
        Severity.MEDIUM,
        f"SYNs to {where} are not answered ({many(len(sockets), 'connection')} of {look.whose(sockets[0])})",
        "Nothing comes back: a firewall drops them, the host is gone, or the server's accept queue is full (it then drops "
        "SYNs silently). A closed port would have answered RST at once, a missing neighbour EHOSTUNREACH after 3 s. "
        f"connect() gives up after {_give_up(look)} s.",
        (
            *code_for(look, "connect-timeout", sockets),
            command(f"tcpscope reach {where}   (or traceroute -T -p {remote.port}) shows how far SYNs get"),
            sysctl(
                look,
                "net.ipv4.tcp_syn_retries",
                "3",
                "gives up after 19 s; better per socket: TCP_SYNCNT, TCP_USER_TIMEOUT",
            ),
        ),
        sockets,
    )


def _give_up(look: Look) -> int:
    retries = look.setting("net.ipv4.tcp_syn_retries", 6)
    linear = look.known_setting("net.ipv4.tcp_syn_linear_timeouts", 4 if not look.snapshot.sysctls else 0)
    need: int = 2 ** (max(0, min(retries, 20)) + 1) - 1
    if not linear:
        return need
    return next((s for s in (1, 2, 3, 4, 5, 7, 11, 19, 35, 67, 131) if s >= need), need)


def _whose(socket: Socket) -> object:
    return holders_of(socket) or ("uid", socket.uid)


def _scanning(look: Look) -> dict[object, tuple[str, list[Socket]]]:
    """Who scans: holder -> (kind, its SYN_SENT sockets)."""
    found: dict[object, tuple[str, list[Socket]]] = {}
    for who, sockets in group(look.states[State.SYN_SENT], _whose).items():
        hosts = {socket.remote.address for socket in sockets}
        ports = {socket.remote.port for socket in sockets}
        if len(hosts) >= look.limit_of("scanner.hosts") and len(ports) <= look.limit_of("scanner.ports_limit"):
            found[who] = "horizontal", sockets
        elif len(ports) >= look.limit_of("scanner.ports") and len(hosts) <= 3:
            found[who] = "vertical", sockets
        elif len(hosts) >= look.limit_of("scanner.weak_hosts") and _success(look, who, sockets) < look.limit_of(
            "scanner.success_share"
        ):
            found[who] = "weak", sockets
    return found


def _success(look: Look, who: object, sockets: Sequence[Socket]) -> float:
    """Which part of its connections got anywhere."""
    alive = sum(
        1 for socket in look.states[State.ESTABLISHED] if _whose(socket) == who and not look.is_server_side(socket)
    )
    return alive / (alive + len(sockets))


def scanner(look: Look) -> Iterator[Finding]:
    """F23 scanner-or-worm-pattern."""
    for who, (kind, sockets) in _scanning(look).items():
        hosts = {socket.remote.address for socket in sockets}
        ports = sorted({socket.remote.port for socket in sockets})
        case = Case("scanner-or-worm-pattern", look.whose(sockets[0]))
        case.witness(
            0.4 if kind == "weak" else 0.6,
            f"{many(len(sockets), 'socket')} in SYN_SENT to {many(len(hosts), 'address', 'addresses')} on {many(len(ports), 'port')} ({listing(map(str, ports), 5)})",
        )
        success = _success(look, who, sockets)
        if success < look.limit_of("scanner.success_share"):
            case.witness(0.4, f"only {percent(success)} of its connections got anywhere")
        else:
            case.doubt(
                0.4, f"{percent(success)} of its connections are established: a crawler or a monitor looks like this"
            )
        liked = [port for port in ports if port in WORM_PORTS]
        if liked:
            case.witness(0.3, f"ports that worms like: {listing(map(str, liked))}")
        nets = {address(host).rpartition(".")[0] for host in hosts}
        if len(nets) == 1 and "." in next(iter(nets)):
            case.doubt(0.2, f"all in {next(iter(nets))}.0/24: service discovery in a broken network looks like this")
        yield _scan_finding(look, case, kind, sockets, hosts, ports)


def _scan_finding(
    look: Look, case: Case, kind: str, sockets: Sequence[Socket], hosts: set[str], ports: Sequence[int]
) -> Finding:
    pids = holders_of(sockets[0])
    process = look.snapshot.processes.get(pids[0]) if pids else None
    title = {
        "horizontal": f"tries {count(len(hosts))} hosts on port {listing(map(str, ports))}",
        "vertical": f"tries {count(len(ports))} ports on {listing(sorted(hosts))}",
        "weak": f"tries {count(len(hosts))} hosts and reaches next to none",
    }[kind]
    if process and process.executable:
        case.witness(0.1, f"executable {process.executable}, uid {process.uid}, {process.cgroup or 'no cgroup known'}")
    pid = pids[0] if pids else "PID"
    return case.close(
        Severity.MEDIUM if kind == "weak" else Severity.HIGH,
        f"{look.whose(sockets[0])} {title}",
        "Many SYNs to many places from one process and next to no answers: a scan, a worm, a crawler, or service discovery "
        "while the network is broken.",
        (
            command(
                f"ls -l /proc/{pid}/exe; tr '\\0' ' ' < /proc/{pid}/cmdline; cat /proc/{pid}/cgroup; ps -o ppid= -p {pid}"
            ),
            command(
                f"systemctl kill or isolate the container; nft: meta skuid {sockets[0].uid if sockets[0].uid is not None else 'UID'} tcp flags syn drop"
            ),
        ),
        sockets,
    )


def refused(look: Look) -> Iterator[Finding]:
    """F22 connection-refused-storm."""
    rate, opened = look.rate("Tcp.AttemptFails"), look.rate("Tcp.ActiveOpens")
    if rate is None or rate <= look.limit_of("connection-refused-storm.rate"):
        return
    if opened and rate <= look.limit_of("connection-refused-storm.share") * opened:
        return
    case = Case("connection-refused-storm", "this host")
    # AttemptFails also counts handshakes that failed on the passive side.
    passive = look.delta(_FAMILY + "EmbryonicRsts") or 0
    case.witness(0.7, f"AttemptFails {count(rate)}/s of ActiveOpens {count(opened or 0)}/s between the looks")
    sent = look.rate("Tcp.OutRsts")
    if sent and sent >= rate * 0.9:
        case.witness(0.4, f"OutRsts {count(sent)}/s: the refusing end is this host too, nothing listens on the port")
    elif sent is not None:
        case.cleared(
            "this host sends no RSTs in that number: the refusal comes from elsewhere, or from a firewall's reject"
        )
    if passive:
        case.doubt(0.3, f"EmbryonicRsts +{count(passive)}: some are incoming handshakes that were reset")
    case.unseen("to which port: a refused connection leaves no socket behind; 'tcpscope trace' shows them")
    yield case.close(
        Severity.MEDIUM,
        f"{count(rate)} connection attempts per second are refused",
        "connect() gets ECONNREFUSED: nothing listens at the destination, or a firewall answers for it (reject with tcp "
        "reset or port-unreachable look the same to the program). Health checks before a service starts do this too.",
        (command("tcpscope trace 'state syn-sent'   names process and destination of each attempt"),),
    )


def inbound_scan(look: Look) -> Iterator[Finding]:
    """F24 inbound-scan."""
    rate = look.rate("Tcp.OutRsts")
    if rate is None or rate <= look.limit_of("inbound-scan.rate"):
        return
    own = (
        (look.rate("Tcp.ActiveOpens") or 0) + (look.rate("Tcp.AttemptFails") or 0) + (look.rate("Tcp.EstabResets") or 0)
    )
    aborted = sum(look.rate(_FAMILY + name) or 0 for name in ("TCPAbortOnClose", "TCPAbortOnData", "TCPAbortOnTimeout"))
    if own > 0.1 * rate or aborted > 0.1 * rate:
        return
    case = Case("inbound-scan", "this host")
    case.witness(0.6, f"OutRsts {count(rate)}/s, and next to no connections of this host's own ({count(own)}/s)")
    reset = look.delta(_FAMILY + "EmbryonicRsts")
    if reset:
        case.witness(0.3, f"EmbryonicRsts +{count(reset)}: handshakes begun and reset by the other side")
    yield case.close(
        Severity.LOW,
        f"Somebody tries ports here: {count(rate)} RSTs per second for segments without a socket",
        "A port scan, clients of a service that is down, or the answers to a flood with forged addresses.",
        (
            command("tcpscope capture 'tcp[tcpflags] & tcp-rst != 0'   shows who"),
            config("nft: a default policy of drop answers nothing"),
        ),
    )


def self_connected(look: Look) -> Iterator[Finding]:
    """F25 self-connect."""
    found = [socket for socket in look.states[State.ESTABLISHED] if socket.local == socket.remote]
    if not found:
        return
    case = Case("self-connect", str(found[0].local))
    case.witness(0.99, f"local and remote are the same: {example(found)} of {look.whose(found[0])}")
    first, last = look.settings("net.ipv4.ip_local_port_range") or (32768, 60999)
    if first <= found[0].local.port <= last:
        case.witness(0.3, f"port {found[0].local.port} lies in ip_local_port_range {first} {last}")
    yield case.close(
        Severity.HIGH,
        f"{look.whose(found[0])} is connected to itself on {found[0].local}",
        "A client retried a local port nobody listened on until the kernel chose that very port as its source: its SYN met "
        "itself (simultaneous open, RFC 9293 §3.5). It now reads what it writes, and the real service cannot bind.",
        (
            sysctl(
                look,
                "net.ipv4.ip_local_reserved_ports",
                str(found[0].local.port),
                "or give services ports below the range",
            ),
            command(f"tcpscope kill 'sport = :{found[0].local.port} and dport = :{found[0].local.port}'"),
            config("in code: compare getsockname() with getpeername() after connect() and close when they are equal"),
        ),
        found,
    )


def no_route(look: Look) -> Iterator[Finding]:
    """F26 no-route."""
    rate = look.rate("Ip.OutNoRoutes")
    failed = look.snapshot.limits.get("neighbours.failed", 0)
    if (rate or 0) <= look.limit_of("no-route.rate"):
        return
    case = Case("no-route", "this host")
    case.witness(0.7, f"OutNoRoutes {count(rate or 0)}/s: packets without a route (ENETUNREACH)")
    if failed:
        case.witness(0.4, f"{many(failed, 'neighbour')} FAILED: no ARP or ND answer (EHOSTUNREACH after 3 s)")
    yield case.close(
        Severity.MEDIUM,
        "Destinations cannot be reached: no route, or nobody answers on the link",
        "The kernel refuses to send, so no connection exists to look at; programs see ENETUNREACH (101) or EHOSTUNREACH (113).",
        (command("ip route get ADDRESS; ip neigh show nud failed; ip -br address"),),
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


def _ghosts(look: Look, sockets: Sequence[Socket], where: str) -> Finding:
    case = Case("ghost-established-by-overflow", where)
    case.witness(
        0.5,
        f"{many(len(sockets), 'connection')} to {where} younger than 2 min, not one byte acknowledged, first data repeated",
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
    return case.close(
        Severity.HIGH if sockets else Severity.MEDIUM,
        f"{many(len(sockets), 'connection') if sockets else 'Connections'} of {where} exist on one side only: the server forgot them",
        "The handshake finished for the client, but its last ACK met a full accept queue, so the server kept nothing. The "
        "client repeats its first data into the void until it times out.",
        (
            *code_for(look, "accept-faster", ()),
            *code_for(look, "backlog", ()),
            sysctl(look, "net.core.somaxconn", "4096", "then listen() again"),
        ),
        sockets,
    )


RULES = (handshakes, forgotten, blackhole, scanner, refused, inbound_scan, self_connected, no_route)
