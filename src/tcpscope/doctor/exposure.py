"""Who listens, for whom, and whether it should (F60 to F65).

It says "listens", never "is reachable": a firewall before this host is not seen. Linux: a listener on `::` without
IPV6_V6ONLY serves IPv4 as well, and only sock_diag tells; netstat prints `:::PORT` for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcpscope.doctor.case import Case
from tcpscope.doctor.filtering import Refusal, find_refusal, grown_packets, show_chain
from tcpscope.doctor.hints import command, config, filter_rule
from tcpscope.doctor.look import Look, group
from tcpscope.doctor.wording import count, end, listing, many, span
from tcpscope.model.address import Endpoint
from tcpscope.model.finding import Finding, Remedy, Severity
from tcpscope.model.record import NamedTuple
from tcpscope.model.snapshot import Process
from tcpscope.model.socket import Socket


class Service(NamedTuple):
    """A sensitive port: ``is_open`` when the service asks for no password by default; ``bind`` is how to bind it.

    ``programs``: how the names of its processes begin; an owner of another name is most likely another service.
    ``words``: of a program that runs anything (python, java, node) the command line must have one of these.
    """

    name: str
    is_open: bool = False
    bind: str = ""
    programs: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


# fmt: off
SENSITIVE: dict[int, Service] = {
    22: Service("SSH"), 23: Service("telnet", True, "use SSH"), 111: Service("rpcbind"),
    135: Service("MS RPC"), 136: Service("NetBIOS"), 137: Service("NetBIOS"), 138: Service("NetBIOS"), 139: Service("SMB"), 445: Service("SMB"),
    1433: Service("MS SQL"), 1521: Service("Oracle"), 2049: Service("NFS"),
    2375: Service("Docker API", True, "dockerd -H unix:// only, or TLS on 2376", ("dockerd",)), 2376: Service("Docker API (TLS)"),
    2379: Service("etcd", True, "--listen-client-urls https://127.0.0.1:2379 with client certificates", ("etcd",)),
    3306: Service("MySQL", False, "bind_address = 127.0.0.1"), 3389: Service("RDP"),
    5432: Service("PostgreSQL", False, "listen_addresses = 'localhost'"), 5601: Service("Kibana", True, "server.host: localhost", ("kibana", "node"), ("kibana",)),
    5900: Service("VNC"), 6379: Service("Redis", True, "bind 127.0.0.1 -::1 and protected-mode yes, or requirepass", ("redis", "valkey", "keydb")),
    8086: Service("InfluxDB", True, programs=("influx",)), 9000: Service("PHP-FPM or ClickHouse", True, "listen = /run/php-fpm.sock", ("php", "clickhouse")),
    9200: Service("Elasticsearch", True, "network.host: _local_", ("java", "elastic"), ("elastic", "opensearch")), 9300: Service("Elasticsearch transport", True, "network.host: _local_", ("java", "elastic"), ("elastic", "opensearch")),
    10250: Service("kubelet"), 11211: Service("memcached", True, "-l 127.0.0.1", ("memcached",)), 15672: Service("RabbitMQ management"),
    27017: Service("MongoDB", True, "net.bindIp: 127.0.0.1", ("mongo",)),
    5005: Service("Java debugger (JDWP)", True, "address=127.0.0.1:5005", ("java",), ("jdwp",)), 5678: Service("Python debugger (debugpy)", True, "--listen 127.0.0.1:5678", ("python", "debugpy"), ("debugpy",)),
    9229: Service("Node inspector", True, "--inspect=127.0.0.1:9229", ("node",), ("--inspect",)), 6006: Service("TensorBoard", True, "--bind_all off", ("tensorboard", "python"), ("tensorboard",)),
    8888: Service("Jupyter", False, "--ip=127.0.0.1", ("jupyter", "python"), ("jupyter", "notebook")),
}
# fmt: on
_SHELLS = frozenset(
    (
        "sh",
        "bash",
        "dash",
        "zsh",
        "ksh",
        "ash",
        "busybox",
        "nc",
        "ncat",
        "netcat",
        "nc.openbsd",
        "nc.traditional",
        "socat",
    )
)
#: They hold ports for programs in containers, whose names they hide.
_PROXIES = ("docker-proxy", "rootlessport", "conmon", "systemd", "kube-proxy")
#: They run any program: only the command line tells which.
_RUNNERS = ("python", "java", "node")
_HIDING = ("/tmp/", "/dev/shm/", "/var/tmp/", "/memfd:", "memfd:")


def is_public(socket: Socket) -> bool:
    """Whether it listens beyond this host on every address or on a global one."""
    return socket.local.is_wildcard or is_global(socket.local.unmapped)


def is_global(address: str) -> bool:
    """Whether an address is routed in the Internet (RFC 6890 in short: not private, shared, link-local or loopback)."""
    if ":" in address:
        return address[:1] in "23"
    numbers = [int(word) for word in address.split(".") if word.isdecimal()]
    if len(numbers) != 4:
        return False
    a, b = numbers[:2]
    private = (
        a in (0, 10, 127)
        or a >= 224
        or (a == 172 and 16 <= b < 32)
        or (a, b) in ((192, 168), (169, 254), (198, 18), (198, 19))
    )
    return not private and not (a == 100 and 64 <= b < 128)


def families(socket: Socket) -> str:
    """Return which families a listener serves: ``v4``, ``v6``, ``v4+v6`` or, when the source does not tell, both."""
    if not socket.local.is_ipv6 and socket.local.address != "*":
        return "v4"
    if socket.v6only:
        return "v6"
    if socket.local.address in ("::", "*"):
        return "v4+v6" if socket.v6only is False or socket.local.address == "*" else "v6, and v4 unless v6only"
    return "v4" if socket.local.unmapped != socket.local.address else "v6"


def exposed(look: Look) -> Iterator[Finding]:
    """F60 exposed-listener."""
    public = [one for one in look.listeners if one.local.port in SENSITIVE and is_public(one)]
    for port, listeners in group(public, lambda one: one.local.port).items():
        service = SENSITIVE[port]
        if port == 22 and _program(listeners[0]) in ("sshd", "systemd", "dropbear"):
            continue  # an SSH server is meant to be reached, and asks who comes
        case = Case("exposed-listener", f"port {port}")
        served = sorted({families(one) for one in listeners})
        case.witness(
            0.6,
            f"{look.whose(listeners[0])} listens on {listing(str(one.local) for one in listeners)} ({', '.join(served)})",
        )
        other = _other_program(look, listeners[0], service)
        is_open = service.is_open and not other
        case.witness(
            0.4 if is_open else 0.2,
            f"port {port} is usually {service.name}'s"
            + (", which asks for no password by default" if service.is_open else ""),
        )
        if other:
            case.doubt(0.2, f"{other} is no program of {service.name}: the port may serve something else")
        if _is_filtered(look, port, served):
            continue
        _weigh_firewall(look, case, port, served)
        yield case.close(
            Severity.INFO if other else Severity.HIGH if is_open else Severity.MEDIUM,
            f"{other or service.name} (port {port}) listens to the world",
            "It is bound to every address (or a global one). That does not yet mean that anybody can reach it: a firewall "
            "or cloud rules before this host are not visible from here.",
            _bind_remedies(port, Service(other) if other else service, served),
            listeners,
        )


def _program(socket: Socket) -> str:
    return socket.owners[0].name if socket.owners else ""


def _other_program(look: Look, socket: Socket, service: Service) -> str:
    """Return the owner's name when what is known of it says that it is none of the service's programs."""
    name = _program(socket)
    if not name or not service.programs or name.startswith(_PROXIES):
        return ""
    if not name.startswith(service.programs):
        return name
    process = look.process(socket.owners[0])
    command = " ".join(process.command).lower() if process else ""
    is_runner = bool(command and service.words) and name.startswith(_RUNNERS)
    return name if is_runner and not any(word in command for word in service.words) else ""


def _bind_remedies(port: int, service: Service, served: Sequence[str]) -> tuple[Remedy, ...]:
    # Why: without iifname the rules would cut off the programs of this host too; `ip saddr` is about IPv4 alone.
    rules = (
        [f'iifname != "lo" ip saddr != 10.0.0.0/8 tcp dport {port} drop'] if any("v4" in one for one in served) else []
    )
    rules += [f'iifname != "lo" meta nfproto ipv6 tcp dport {port} drop'] if any("v6" in one for one in served) else []
    return (
        config(service.bind or f"bind {service.name} to 127.0.0.1 or to an internal address"),
        *map(filter_rule, rules),
        config(
            f"Docker: -p 127.0.0.1:{port}:{port} instead of -p {port}:{port} (published ports bypass the input chain)"
        ),
        command(f"tcpscope list -l 'sport = :{port}'"),
    )


def _refusals(look: Look, port: int, served: Sequence[str]) -> list[Refusal | None]:
    """Return what this host's packet filter does with the port, for each family it is served on."""
    needed = [family for family, word in (("ip", "v4"), ("ip6", "v6")) if any(word in text for text in served)]
    return [find_refusal(look.snapshot.packet_filter, "input", family, port) for family in needed]


def _is_filtered(look: Look, port: int, served: Sequence[str]) -> bool:
    return all(found is not None and found.is_total for found in _refusals(look, port, served))


def _weigh_firewall(look: Look, case: Case, port: int, served: Sequence[str]) -> None:
    found = [one for one in _refusals(look, port, served) if one is not None]
    if look.snapshot.packet_filter is None:
        case.unseen("this host's packet filter", 0.15)
    elif not found:
        case.cleared("no rule and no policy of this host's packet filter (nftables) refuses it", 0.05)
    else:
        case.doubt(0.3, f"the packet filter refuses it to some: {found[0]}")


def unexpected(look: Look) -> Iterator[Finding]:
    """F61 unexpected-listener."""
    for listener in look.listeners:
        if listener.local.is_loopback or not listener.owners:
            continue
        program = _program(listener)
        process = look.process(listener.owners[0])
        base = (process.executable or "").rsplit("/", 1)[-1].removesuffix(" (deleted)") if process else ""
        is_shell = program in _SHELLS or base in _SHELLS
        is_new = _is_new(look, listener)
        if is_shell and listener.local.port > 1023:
            yield _unexpected(
                look,
                listener,
                process,
                f"a shell or relay ({base or program}) listens on {listener.local}",
                0.6,
                Severity.MEDIUM,
            )
        elif is_new:
            since = span((look.snapshot.taken_ns - look.history.started_ns) // 1_000_000)
            severity = Severity.MEDIUM if _is_strange_uid(look, listener) else Severity.INFO
            yield _unexpected(
                look,
                listener,
                process,
                f"{program} on {listener.local} was not there in {count(look.history.looks)} looks over {since}",
                0.4,
                severity,
            )


def _is_new(look: Look, listener: Socket) -> bool:
    history, now = look.history, look.snapshot.taken_ns
    baseline_ns = look.limit_of("unexpected-listener.baseline_s") * 1e9
    if not history.started_ns or now - history.started_ns < baseline_ns:
        return False
    key = (look.snapshot.place, listener.local.address, listener.local.port)
    known = history.listeners.get(key)
    return known is None or known.first_ns >= now


def _is_strange_uid(look: Look, listener: Socket) -> bool:
    uids = {known.uid for known in look.history.listeners.values()}
    return listener.uid is not None and listener.uid not in uids


def _unexpected(
    look: Look, listener: Socket, process: Process | None, text: str, weight: float, severity: Severity
) -> Finding:
    case = Case("unexpected-listener", str(listener.local))
    case.witness(weight, text)
    if process and process.executable:
        case.witness(
            0.1,
            f"executable {process.executable}, command {' '.join(process.command)[:120] or 'not known'}, uid {process.uid}",
        )
    case.doubt(0.2, "an administrator may have started it on purpose")
    pid = listener.owners[0].pid
    return case.close(
        severity,
        f"{look.whose(listener)} listens on {listener.local}, which nobody expects",
        "A listener that was not there before, or that a shell opened: a back door looks like this, and so does a colleague.",
        (
            command(
                f"tr '\\0' ' ' < /proc/{pid}/cmdline; ls -l /proc/{pid}/exe /proc/{pid}/cwd; ps -o ppid,user,lstart -p {pid}"
            ),
        ),
        [listener],
    )


def deleted(look: Look) -> Iterator[Finding]:
    """F62 deleted-executable-listening."""
    for listener in look.listeners:
        for owner in listener.owners[:1]:
            process = look.process(owner)
            path = process.executable if process else None
            if path and path.endswith(" (deleted)"):
                yield _deleted(look, listener, path)


def _deleted(look: Look, listener: Socket, path: str) -> Finding:
    is_hiding = path.startswith(_HIDING)
    case = Case("deleted-executable-listening", str(listener.local))
    case.witness(0.9, f"{look.whose(listener)} listens on {listener.local} and runs from {path}")
    if is_hiding:
        case.witness(0.6, "a place for temporary files, or memory alone: nothing is installed there")
    else:
        case.doubt(0.1, "a package upgrade leaves this until the restart")
    pid = listener.owners[0].pid
    return case.close(
        Severity.HIGH if is_hiding else Severity.LOW,
        f"{look.whose(listener)} listens from a deleted file" + ("" if is_hiding else ": restart it"),
        "The file of the running program is gone. After an upgrade that means old code still runs; from /tmp, /dev/shm or "
        "a memfd it is how malware hides.",
        (
            command(f"cp /proc/{pid}/exe /root/evidence-{pid}; ls -l /proc/{pid}/exe")
            if is_hiding
            else command("systemctl restart SERVICE   (needrestart lists all of them)"),
        ),
        [listener],
    )


def dual_stack(look: Look) -> Iterator[Finding]:
    """F63 dual-stack-surprise."""
    dual = [one for one in look.listeners if one.local.address in ("::", "*") and one.v6only is False]
    ways = {
        one.local.port: (_is_filtered(look, one.local.port, ["v4"]), _is_filtered(look, one.local.port, ["v6"]))
        for one in dual
    }
    both = [one for one in dual if ways[one.local.port][0] != ways[one.local.port][1]]
    if not both:
        return
    v4, _ = ways[both[0].local.port]
    filtered, open_ = ("IPv4", "IPv6") if v4 else ("IPv6", "IPv4")
    refusal = _refusals(look, both[0].local.port, ["v4" if v4 else "v6"])[0]
    case = Case("dual-stack-surprise", "listeners")
    case.witness(
        0.7,
        f"{many(len(both), 'listener')} on [::] without IPV6_V6ONLY: ports {listing(str(one.local.port) for one in both)}",
    )
    case.witness(0.5, f"the packet filter refuses new connections over {filtered} and not over {open_}: {refusal}")
    sensitive = any(one.local.port in SENSITIVE for one in both)
    yield case.close(
        Severity.MEDIUM if sensitive else Severity.LOW,
        f"{many(len(both), 'listener')} can be reached over {open_}, where nothing is filtered",
        "A socket on :: serves both families unless IPV6_V6ONLY is set; a rule set for one family leaves the other open.",
        (
            config("nft: use 'table inet' so that one rule set covers both families"),
            config("in the program: bind to 0.0.0.0, or set IPV6_V6ONLY"),
        ),
        both,
    )


def loopback_only(look: Look) -> Iterator[Finding]:
    """F64 loopback-only-service: one explanation for all of them."""
    reachable = {one.local.port for one in look.listeners if not one.local.is_loopback}
    local = [one for one in look.listeners if one.local.is_loopback and one.local.port not in reachable]
    if not local:
        return
    case = Case("loopback-only-service", "listeners")
    case.witness(0.9, f"{listing((f'{one.local} ({look.whose(one)})' for one in local), 5)}")
    if look.snapshot.sysctls.get("net.ipv4.conf.all.route_localnet") == "1":
        case.doubt(0.3, "route_localnet is 1: DNAT to 127.0.0.1 may reach them from outside")
    yield case.close(
        Severity.INFO,
        f"{'One service listens' if len(local) == 1 else f'{len(local)} services listen'} on loopback alone: {listing((str(one.local) for one in local), 8)}",
        "They work from this host and are refused from others. If that surprises somebody: bind to an address of the network.",
        (),
        local,
    )


def filtered_only(look: Look) -> Iterator[Finding]:
    """F64 loopback-only-service: the same for a service that this host's own packet filter keeps from the others."""
    shut: dict[int, Refusal] = {}
    for one in look.listeners:
        ways = [] if one.local.is_loopback else _refusals(look, one.local.port, [families(one)])
        if ways and all(way is not None and way.is_sure for way in ways) and ways[0] is not None:
            shut[one.local.port] = ways[0]
    if not shut:
        return
    verdicts = {refusal.rule.verdict for refusal in shut.values()}
    does = f"{verdicts.pop()}s" if len(verdicts) == 1 else "refuses"
    case = Case("loopback-only-service", "packet filter")
    for port, refusal in list(shut.items())[:8]:
        more = grown_packets(look, refusal)
        counted = f", +{count(more)} packets between the looks" if more else ""
        case.witness(0.5, f"port {port}: {refusal}{counted}")
    yield case.close(
        Severity.INFO,
        f"This host's own packet filter {does} new connections to {'port' if len(shut) == 1 else 'ports'} {listing(map(str, shut), 8)} from outside",
        "They listen for other hosts too and work from this one. Whether that is meant cannot be told from here.",
        [
            command(f"{shown}   to see the rules")
            for shown in dict.fromkeys(show_chain(one.chain) for one in shut.values())
        ],
        [one for one in look.listeners if one.local.port in shut],
    )


def ownerless(look: Look) -> Iterator[Finding]:
    """F65 world-listening-without-owner."""
    if look.snapshot.coverage.owners in ("", "none"):
        return
    unknown = [one for one in look.listeners if not one.owners and is_public(one)]
    if not unknown:
        return
    case = Case("world-listening-without-owner", "listeners")
    case.witness(
        0.6,
        f"{many(len(unknown), 'public listener')} without a visible process: {listing(end(*_pair(one.local)) for one in unknown)}",
    )
    kernel = [one for one in unknown if not one.inode or one.local.port in (111, 2049)]
    if kernel:
        case.witness(
            0.2, f"ports {listing(str(one.local.port) for one in kernel)}: the kernel itself serves NFS and RPC"
        )
    case.unseen("the holder: another pid namespace, the kernel, or missing privilege")
    yield case.close(
        Severity.INFO,
        f"{many(len(unknown), 'public listener')} {'has' if len(unknown) == 1 else 'have'} no visible owner",
        "The process is in another pid namespace, the socket belongs to the kernel, or the privilege to look is missing.",
        (command("sudo tcpscope list -tlnp"),),
        unknown,
    )


def _pair(one: Endpoint) -> tuple[str, int]:
    return one.address, one.port


RULES = (exposed, unexpected, deleted, dual_stack, loopback_only, filtered_only, ownerless)
