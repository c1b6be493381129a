"""Local ports and TIME_WAIT: who uses them up, who is in a server's way (F09 to F14, F68).

RFC 9293 §3.6.1, RFC 6191. Linux: TIME_WAIT lasts 60 s and no sysctl changes that. Outgoing ports are exhausted per
(local address, remote address, remote port), never globally, unless the program binds before it connects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcpscope.doctor.case import Case
from tcpscope.doctor.hints import change, code_for, command, config, sysctl
from tcpscope.doctor.look import Look, group
from tcpscope.doctor.wording import address, count, end, listing, many, percent, span
from tcpscope.model.finding import Finding, Remedy, Severity
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

Destination = tuple[str, str, int]
_RANGE = "net.ipv4.ip_local_port_range"
_RESERVED = "net.ipv4.ip_local_reserved_ports"
_HOLDING = (
    State.TIME_WAIT,
    State.FIN_WAIT_1,
    State.FIN_WAIT_2,
    State.CLOSE_WAIT,
    State.LAST_ACK,
    State.CLOSING,
    State.ESTABLISHED,
)
_GONE = (State.TIME_WAIT, State.FIN_WAIT_2)
_AVOID_TIME_WAIT = (
    "tcp_tw_recycle: removed in Linux 4.12, it broke clients behind NAT",
    "tcp_fin_timeout: it has no effect on TIME_WAIT (measured: 62 s with 60 and with 5)",
    "tcp_max_tw_buckets: lower it and the kernel answers late segments with RST",
)


def usable_ports(look: Look) -> tuple[int, int, int]:
    """Return (first, last, how many) of the ports connect() may take; reserved ones do not count."""
    pair = look.settings(_RANGE)
    first, last = pair if len(pair) == 2 and 0 < pair[0] <= pair[1] <= 65535 else (32768, 60999)
    reserved = sum(max(0, min(b, last) - max(a, first) + 1) for a, b in reserved_ports(look))
    return first, last, max(1, last - first + 1 - reserved)


def reserved_ports(look: Look) -> list[tuple[int, int]]:
    """Return ip_local_reserved_ports as ranges."""
    ranges = []
    for word in look.snapshot.sysctls.get(_RESERVED, "").replace(",", " ").split():
        low, _, high = word.partition("-")
        if low.isdecimal() and (high or low).isdecimal():
            ranges.append((int(low), int(high or low)))
    return ranges


def exhaustion(look: Look) -> Iterator[Finding]:
    """F10 and F11: ports to one destination, gone in TIME_WAIT or in live connections."""
    first, last, usable = usable_ports(look)
    floor = look.limit_of("port-exhaustion.medium") * usable
    crowded = {key: sockets for key, sockets in _outgoing(look, first, last, floor).items() if len(sockets) > floor}
    for destination, sockets in crowded.items():
        ports = {socket.local.port for socket in sockets}
        share = len(ports) / usable
        if share > look.limit_of("port-exhaustion.medium"):
            yield _exhausted(look, destination, sockets, share, usable)


def _outgoing(look: Look, first: int, last: int, floor: float) -> dict[Destination, list[Socket]]:
    """Group connections with a local port of the range by destination; two passes, the first only counts."""
    counts: dict[tuple[str, int], int] = {}
    buckets = [bucket for state, bucket in look.states.items() if state != State.LISTEN]
    for bucket in buckets:
        for socket in bucket:
            if first <= socket.local.port <= last:
                key = (socket.remote.address, socket.remote.port)
                counts[key] = counts.get(key, 0) + 1
    busy = {key for key, number in counts.items() if number > floor and key[1]}
    if not busy:
        return {}
    chosen = [
        socket for bucket in buckets for socket in bucket
        if (socket.remote.address, socket.remote.port) in busy and first <= socket.local.port <= last
    ]  # fmt: skip
    return group(
        chosen, lambda socket: (address(socket.local.address), address(socket.remote.address), socket.remote.port)
    )


def _exhausted(look: Look, to: Destination, sockets: Sequence[Socket], share: float, usable: int) -> Finding:
    gone = [socket for socket in sockets if socket.state in _GONE]
    is_time_wait = len(gone) * 2 >= len(sockets)
    where = end(to[1], to[2])
    case = Case(f"ephemeral-port-exhaustion-{'timewait' if is_time_wait else 'live'}", f"{to[0]} -> {where}")
    case.witness(
        min(0.95, share),
        f"{count(len(sockets))} of {many(usable, 'usable port')} ({percent(share)}) from {to[0]} to {where} are taken",
    )
    case.witness(0.3, f"{count(len(gone))} in TIME_WAIT or FIN_WAIT_2, {count(len(sockets) - len(gone))} live")
    if is_time_wait:
        case.witness(
            0.2, f"sustainable without reuse: {count(usable / 60)} new connections per second to this destination"
        )
    case.cleared("counted for this one destination, not all TIME_WAIT against the port range", 0.3)
    _doubt_reuse(look, case)
    critical, high = look.limit_of("port-exhaustion.critical"), look.limit_of("port-exhaustion.high")
    severity = Severity.CRITICAL if share >= critical else Severity.HIGH if share > high else Severity.MEDIUM
    fails = "connect() fails with EADDRNOTAVAIL" if share >= critical else "connect() will fail with EADDRNOTAVAIL"
    return case.close(
        severity,
        f"{percent(min(share, 1.0))} of the outgoing ports to {where} are taken: {fails}",
        "Each outgoing connection needs a local port of its own for its (local address, remote address, remote port). "
        + (
            "The side that closes first keeps the port for 60 s in TIME_WAIT."
            if is_time_wait
            else "These are held by live connections: a pool leak, or a proxy with a single upstream address."
        ),
        _port_remedies(look, sockets, is_time_wait),
        sockets,
        _AVOID_TIME_WAIT if is_time_wait else (),
    )


def _doubt_reuse(look: Look, case: Case) -> None:
    recycled = look.delta("TcpExt.TWRecycled")
    if recycled:
        case.doubt(0.3, f"TIME_WAIT ports are being reused (TWRecycled +{count(recycled)}): tcp_tw_reuse works here")
    elif recycled is None:
        case.unseen("whether TIME_WAIT ports are reused (TWRecycled needs two looks)")


def _port_remedies(look: Look, sockets: Sequence[Socket], is_time_wait: bool) -> tuple[Remedy, ...]:
    widen = sysctl(look, _RANGE, "1024 65535", "reserve the ports of your servers with it")
    wide = server_ports(look)
    reserve = reserving(look, wide[:8], "ports connect() must not take") if wide and widen else ()
    more = config(
        "more destination addresses or source addresses: each pair has the whole range; IP_BIND_ADDRESS_NO_PORT where the source is bound"
    )
    if not is_time_wait:
        return (*code_for(look, "close-on-eof", sockets), more, *widen, *reserve)
    reuse = sysctl(
        look,
        "net.ipv4.tcp_tw_reuse",
        "1",
        "on the client; safe, needs tcp_timestamps (measured: 10 ports gave 10 more connections each 1.2 s)",
    )
    return (*code_for(look, "pooling", sockets), *reuse, *widen, *reserve, more)


def reserving(look: Look, ports: Sequence[int], why: str) -> tuple[Remedy, ...]:
    """Return the line that reserves ``ports`` besides those that are reserved already; nothing when all of them are."""
    now = reserved_ports(look)
    missing = [str(port) for port in ports if not any(low <= port <= high for low, high in now)]
    if not missing:
        return ()
    kept = look.snapshot.sysctls.get(_RESERVED, "").strip()
    return (change(look, _RESERVED, ",".join([*kept.split(","), *missing] if kept else missing), why),)


def server_ports(look: Look) -> list[int]:
    """Return the listening ports above 1023, lowest first."""
    return sorted(port for port in look.listeners_by_port if port > 1023)


def time_wait_normal(look: Look) -> Iterator[Finding]:
    """F09 time-wait-normal: an explanation, no alarm."""
    waiting = look.states[State.TIME_WAIT]
    if len(waiting) <= look.limit_of("time-wait-normal.count"):
        return
    case = Case("time-wait-normal", "TIME_WAIT")
    case.witness(
        0.9, f"{many(len(waiting), 'socket')} in TIME_WAIT: about {count(len(waiting) / 60)} closes per second here"
    )
    buckets = look.snapshot.limits.get("tcp_max_tw_buckets") or look.known_setting("net.ipv4.tcp_max_tw_buckets")
    if buckets:
        case.cleared(f"the table holds {count(buckets)} ({percent(len(waiting) / buckets)} used)", 0.3)
    yield case.close(
        Severity.INFO,
        f"{many(len(waiting), 'connection')} in TIME_WAIT: normal, nothing to do",
        "The side that closes first keeps a small mini-socket for 60 s, so that a lost last ACK can be repeated and old "
        "segments cannot enter a new connection (RFC 9293 §3.6.1). By itself it costs a little memory.",
        (),
        (),
        _AVOID_TIME_WAIT,
    )


def tw_bucket_overflow(look: Look) -> Iterator[Finding]:
    """F12 tw-bucket-overflow."""
    skipped = look.delta("TcpExt.TCPTimeWaitOverflow")
    if not skipped:
        return
    case = Case("tw-bucket-overflow", "TIME_WAIT")
    case.witness(0.9, f"TCPTimeWaitOverflow +{count(skipped)} between the looks: so many closes got no TIME_WAIT")
    inuse = look.snapshot.limits.get("sockstat.TCP.tw")
    buckets = look.snapshot.limits.get("tcp_max_tw_buckets") or look.known_setting("net.ipv4.tcp_max_tw_buckets")
    if inuse is not None and buckets:
        case.witness(0.5, f"{count(inuse)} of tcp_max_tw_buckets {count(buckets)} in use")
    elif buckets is None:
        case.unseen("tcp_max_tw_buckets")
    yield case.close(
        Severity.MEDIUM,
        f"The TIME_WAIT table is full: {many(skipped, 'connection')} ended without it",
        "Past tcp_max_tw_buckets the kernel drops the connection at once and answers the peer's last segments with RST "
        "(measured: 12 closes with room for 5 gave 7 RSTs).",
        (*sysctl(look, "net.ipv4.tcp_max_tw_buckets", "262144", "never lower it"),),
        (),
        _AVOID_TIME_WAIT[2:],
    )


def bind_in_use(look: Look) -> Iterator[Finding]:
    """F13 bind-eaddrinuse-timewait, for ports that listened before, ports asked for, and well-known ones."""
    for port in sorted(look.wanted_ports):
        bound = [one for one in look.states[State.CLOSED] if one.local.port == port]
        holders = list(look.listeners_by_port.get(port, ())) or bound
        if holders:
            yield _already_bound(look, port, holders)
    first, last, _ = usable_ports(look)
    known = {port for netns, _, port in look.history.listeners if netns in (0, look.snapshot.place)}
    waiting = {socket.local.port for socket in look.states[State.TIME_WAIT]}
    # Why: without TIME_WAIT only a port somebody asks for matters; so very many live sockets cost one set look-up each.
    # Why: a source that shows no listener at all (netstat -tn, a capture) does not say that nobody listens.
    unasked = {port for port in waiting if not first <= port <= last} if look.listeners else set()
    candidates = unasked | known | look.wanted_ports
    candidates -= set(look.listeners_by_port)
    left: dict[int, list[Socket]] = {}
    if candidates:
        for state in _HOLDING:
            for socket in look.states[state]:
                if socket.local.port in candidates:
                    left.setdefault(socket.local.port, []).append(socket)
    for port, sockets in sorted(left.items()):
        is_asked = port in look.wanted_ports or port in known
        is_server = len({socket.remote for socket in sockets}) == len(sockets) and port != sockets[0].remote.port
        is_outgoing = first <= port <= last and _is_outgoing(sockets[0])
        if not is_outgoing and (is_asked or (is_server and any(socket.state == State.TIME_WAIT for socket in sockets))):
            yield _bind_refused(look, port, sockets, is_asked)


def _already_bound(look: Look, port: int, sockets: Sequence[Socket]) -> Finding:
    """A live holder of the port: no option but SO_REUSEPORT on both helps against that."""
    is_listening = sockets[0].is_listener
    does = "listens on it" if is_listening else "has bound it and does not listen"
    case = Case("bind-eaddrinuse-timewait", f"port {port}")
    case.witness(0.95, f"{look.whose_all(sockets)} {does}: {listing(str(one.local) for one in sockets)}")
    return case.close(
        Severity.INFO,
        f"Port {port} is in use: {look.whose_all(sockets)} {does}",
        "bind() gives EADDRINUSE while another socket is bound to the port on the same or on every address. SO_REUSEADDR "
        "does not help against a listener; only SO_REUSEPORT on both sockets, of the same user, does.",
        (command(f"tcpscope list -alnpB 'sport = :{port}'"),),
        sockets,
        ("SO_REUSEADDR: it is for what a stopped server leaves behind, not for one that runs",),
    )


def _is_outgoing(socket: Socket) -> bool:
    """Whether this end called connect(), as far as ports tell: its own port is the higher one."""
    return socket.local.port > socket.remote.port


def _bind_refused(look: Look, port: int, sockets: Sequence[Socket], is_asked: bool) -> Finding:
    case = Case("bind-eaddrinuse-timewait", f"port {port}")
    states = group(sockets, lambda socket: socket.state.name)
    case.witness(
        0.6,
        f"nobody listens on port {port}, and {', '.join(f'{count(len(v))} in {k}' for k, v in states.items())} still hold it",
    )
    if is_asked:
        case.witness(0.5, "the port was asked for, or listened at an earlier look")
    else:
        case.doubt(
            0.5, "whether a server wants this port is not known: clients that bind their source port look the same"
        )
    live = [socket for socket in sockets if socket.owners]
    if live:
        case.witness(0.2, f"still open in {look.whose(live[0])}")
    return case.close(
        Severity.MEDIUM if is_asked else Severity.INFO,
        f"A server that binds port {port} without SO_REUSEADDR gets EADDRINUSE",
        "Connections of the earlier server still use the port, mostly in TIME_WAIT (60 s). SO_REUSEADDR lets bind() "
        "pass; both the new socket and the old one must have had it (measured: without it on the old listener the new "
        "one still fails). It never allows two live listeners.",
        (
            *code_for(look, "reuse-address", live or sockets),
            config("systemd socket activation keeps the listener over restarts"),
        ),
        sockets,
        ("waiting 2 MSL before a restart: SO_REUSEADDR is for this",),
    )


def port_taken(look: Look) -> Iterator[Finding]:
    """F14 port-taken-by-outgoing: now (high), or possible after the next restart (low)."""
    first, last, _ = usable_ports(look)
    reserved = reserved_ports(look)
    known = {port for netns, _, port in look.history.listeners if netns in (0, look.snapshot.place)}
    wanted = {
        port for port in known | look.wanted_ports if first <= port <= last and port not in look.listeners_by_port
    }
    if wanted:
        for state, bucket in look.states.items():
            if state in (State.LISTEN, State.SYN_RECEIVED):
                continue
            for port, sockets in group(
                (one for one in bucket if one.local.port in wanted), lambda one: one.local.port
            ).items():
                if _is_outgoing(sockets[0]):
                    wanted.discard(port)
                    yield _taken(look, port, sockets)
    if look.snapshot.sysctls.get(_RANGE):
        yield from _may_be_taken(
            look,
            [
                port
                for port in server_ports(look)
                if first <= port <= last and not any(a <= port <= b for a, b in reserved)
            ],
        )


def _taken(look: Look, port: int, sockets: Sequence[Socket]) -> Finding:
    case = Case("port-taken-by-outgoing", f"port {port}")
    is_over = sockets[0].state == State.TIME_WAIT
    whose = "in TIME_WAIT" if is_over else f"of {look.whose(sockets[0])}"
    case.witness(
        0.8,
        f"nobody listens on port {port}; an outgoing connection uses it: {sockets[0].local} -> {sockets[0].remote} {whose}",
    )
    left = sockets[0].timer
    if is_over and left is not None:
        case.witness(0.2, f"TIME_WAIT ends in {span(left.expires_ms)} and frees the port, unless it is taken again")
    first, last, _ = usable_ports(look)
    case.witness(0.4, f"{port} lies in ip_local_port_range {first} {last} and is not reserved")
    return case.close(
        Severity.HIGH,
        f"Port {port} cannot be listened on: an outgoing connection {whose} has it",
        "connect() takes any free port of ip_local_port_range, the port of a stopped server included. Then bind() or "
        "listen() fails with EADDRINUSE though nobody listens, and SO_REUSEADDR does not help.",
        (
            *reserving(look, [port], "then restart the server"),
            command(f"tcpscope kill 'sport = :{port}'   frees it now"),
        ),
        sockets,
    )


def _may_be_taken(look: Look, ports: Sequence[int]) -> Iterator[Finding]:
    public = [port for port in ports if not all(one.local.is_loopback for one in look.listeners_by_port[port])]
    if not ports:
        return
    first, last, _ = usable_ports(look)
    case = Case("port-taken-by-outgoing", "listeners")
    case.witness(
        0.5,
        f"{many(len(ports), 'listener')} in ip_local_port_range {first} {last}, not reserved: {listing(map(str, ports), 8)}",
    )
    case.doubt(0.3, "a port the kernel chose (bind to port 0) needs no reservation; that cannot be told from here")
    if not public:
        case.doubt(0.3, "all of them listen on loopback alone")
    yield case.close(
        Severity.LOW if public else Severity.INFO,
        f"While {'it is' if len(ports) == 1 else 'they are'} down, any connect() may take {'port' if len(ports) == 1 else 'ports'} {listing(map(str, ports))}",
        "A server's port inside the range for outgoing connections can be taken between stop and start; the restart "
        "then fails with EADDRINUSE.",
        reserving(look, ports[:16], "works at once"),
        [look.listeners_by_port[port][0] for port in (public or ports)],
    )


def churn(look: Look) -> Iterator[Finding]:
    """F68 excessive-connection-churn."""
    opened = (look.rate("Tcp.ActiveOpens") or 0.0, look.rate("Tcp.PassiveOpens") or 0.0)
    busiest = max(opened)
    if busiest <= look.limit_of("excessive-connection-churn.rate"):
        return
    alive = len(look.states[State.ESTABLISHED]) + len(look.states[State.CLOSE_WAIT])
    life_s = alive / busiest
    if life_s >= look.limit_of("excessive-connection-churn.lifetime_s"):
        return
    case = Case("excessive-connection-churn", "this host")
    case.witness(0.7, f"{count(opened[0])} connections per second opened from here, {count(opened[1])} accepted")
    case.witness(0.4, f"{many(alive, 'connection')} alive: they live {life_s:.2f} s on average")
    waiting = group(
        look.states[State.TIME_WAIT], lambda socket: min(socket.local, socket.remote, key=lambda one: one.port)
    )
    if waiting:
        top = max(waiting, key=lambda one: len(waiting[one]))
        case.witness(0.2, f"most of them at {top} ({count(len(waiting[top]))} in TIME_WAIT)")
    yield case.close(
        Severity.INFO,
        f"{count(busiest)} short connections per second: pooling would save ports and round trips",
        "Each costs a handshake, a local port for 60 s on the side that closes first, and slow start. It is no illness, "
        "but it is what port exhaustion grows from.",
        code_for(look, "pooling", look.states[State.ESTABLISHED][:50]),
    )


RULES = (exhaustion, time_wait_normal, tw_bucket_overflow, bind_in_use, port_taken, churn)
