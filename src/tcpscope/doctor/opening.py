"""The side that connects: SYNs without an answer, refusals, scans, oneself, no route (F21 to F26).

RFC 9293 §3.5. Linux: connect() gives up after 131 s; a refused connection leaves no socket behind, only counters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcpscope.doctor.accepting import fill
from tcpscope.doctor.case import Case
from tcpscope.doctor.filtering import find_refusal, grown_rejects, witness_filter
from tcpscope.doctor.hints import code_for, command, config, sysctl, trace_path
from tcpscope.doctor.look import Look, group, has_address, holders_of
from tcpscope.doctor.ports import reserving
from tcpscope.doctor.wording import address, count, end, example, listing, many, percent, span
from tcpscope.model.address import Endpoint
from tcpscope.model.finding import Finding, Remedy, Severity
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

#: Ports that worms like; they add weight to a scan.
WORM_PORTS = frozenset((22, 23, 445, 2375, 3389, 5555, 6379))
_FAMILY = "TcpExt."
#: How a refusal that was seen is told; :mod:`~tcpscope.doctor.causes` asks for it.
WAS_REFUSED = " was refused "


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
        f"{many(len(sockets), 'socket')} of {look.whose_all(sockets)} in SYN_SENT to {where}, SYN repeated up to {max(map(_syns_repeated, sockets))} times, oldest {span(oldest)}",
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
    blocked = witness_filter(look, case, remote)
    return case.close(
        Severity.MEDIUM,
        f"SYNs to {where} are {f'dropped by {blocked.by}' if blocked.is_sure else 'not answered'} ({many(len(sockets), 'connection')} of {look.whose_all(sockets)})",
        (
            "A rule drops them without an answer. "
            if blocked.is_sure
            else "Nothing comes back: a firewall drops them, the host is gone, or the server's accept queue is full (it then "
            "drops SYNs silently). A closed port would have answered RST at once, a missing neighbour EHOSTUNREACH after 3 s. "
        )
        + f"connect() gives up after {_give_up(look)} s.",
        (
            *blocked.remedies,
            *code_for(look, "connect-timeout", sockets),
            *(() if blocked.is_sure else _find_out(look, remote)),
        ),
        sockets,
    )


def _find_out(look: Look, remote: Endpoint) -> tuple[Remedy, ...]:
    better = "gives up after 19 s; better per socket: TCP_SYNCNT, TCP_USER_TIMEOUT"
    return trace_path(remote), *sysctl(look, "net.ipv4.tcp_syn_retries", "3", better)


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
    elif sent is not None and not any(look.is_own(one.remote.address) for one in look.snapshot.refused):
        case.cleared(
            "this host sends no RSTs in that number: the refusal comes from elsewhere, or from a firewall's reject"
        )
    if passive:
        case.doubt(0.3, f"EmbryonicRsts +{count(passive)}: some are incoming handshakes that were reset")
    for rule in grown_rejects(look):
        case.witness(0.5, f"this host's own packet filter rejects: {rule} between the looks")
    seen = list(look.snapshot.refused)
    if not seen:
        case.unseen("to which port: a refused connection leaves no socket behind; 'tcpscope trace' shows them")
    for one in seen[:3]:
        who = f"{one.by.name} ({one.by.pid})" if one.by else "a program"
        case.witness(0.4, f"seen between the looks: {who}{WAS_REFUSED}{many(one.attempts, 'time')} by {one.remote}")
    where = f" by {listing(dict.fromkeys(str(one.remote) for one in seen), 2)}" if seen else ""
    is_one = len({one.remote for one in seen}) == 1
    reason = _why_refused(look, seen[0].remote) if seen else ""
    if reason:
        case.witness(0.7, f"{seen[0].remote.address}: {reason}")
    yield case.close(
        Severity.MEDIUM,
        f"{count(rate)} connection attempts per second are refused{where}"
        + (f": {reason}" if reason and is_one else ""),
        "connect() gets ECONNREFUSED: nothing listens at the destination, or a firewall answers for it (reject with tcp "
        "reset or port-unreachable look the same to the program). Health checks before a service starts do this too.",
        (
            *(
                (
                    command(
                        f"ss -tln 'sport = :{seen[0].remote.port}'   at {seen[0].remote.address}: who listens, and on which address"
                    ),
                )
                if seen
                else ()
            ),
            command("tcpscope trace 'state syn-sent'   names process and destination of each attempt"),
        ),
    )


def _why_refused(look: Look, remote: Endpoint) -> str:
    """Say what the visible host of a destination has on that port; empty when it cannot be seen."""
    is_own = look.is_own(remote.address)
    source = look.snapshot if is_own else next((one for one in look.others if has_address(one, remote.unmapped)), None)
    if source is None:
        return ""
    there = [one for one in source.sockets if one.is_listener and one.local.port == remote.port]
    reject = find_refusal(
        source.packet_filter, "input", "ip6" if ":" in remote.unmapped else "ip", remote.port, over_loopback=is_own
    )
    if reject is not None and reject.rule.verdict == "reject":
        return f"its packet filter rejects them, {reject}"
    if not there:
        return f"nothing listens on port {remote.port} there"
    if any(one.local.is_wildcard or one.local.unmapped == remote.unmapped for one in there):
        return ""
    return f"{look.whose(there[0])} listens there on {listing(str(one.local) for one in there)} alone"


def inbound_scan(look: Look) -> Iterator[Finding]:
    """F24 inbound-scan."""
    rate = look.rate("Tcp.OutRsts")
    if rate is None or rate <= look.limit_of("inbound-scan.rate"):
        return
    own = (
        (look.rate("Tcp.ActiveOpens") or 0) + (look.rate("Tcp.AttemptFails") or 0) + (look.rate("Tcp.EstabResets") or 0)
    )
    aborted = sum(look.rate(_FAMILY + name) or 0 for name in ("TCPAbortOnClose", "TCPAbortOnData", "TCPAbortOnTimeout"))
    # Why: where connections come in as well, RSTs answer data that arrives after close().
    served = look.rate("Tcp.PassiveOpens") or 0
    if own > 0.1 * rate or aborted > 0.1 * rate or served > 0.3 * rate:
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
            *reserving(look, [found[0].local.port], "or give services ports below the range"),
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


RULES = (blackhole, scanner, refused, inbound_scan, self_connected, no_route)
