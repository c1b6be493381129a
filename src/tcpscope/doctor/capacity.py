"""What of the machine runs out: memory, orphans, conntrack entries, CPU queues (F42, F43, F56, F57).

``/proc/net/sockstat``: ``inuse`` and ``tw`` are of the namespace, ``orphan``, ``alloc`` and ``mem`` of the whole machine.
"""

from __future__ import annotations

from collections.abc import Iterator

from tcpscope.doctor.case import Case
from tcpscope.doctor.hints import command, config, sysctl
from tcpscope.doctor.look import Look
from tcpscope.doctor.wording import count, example, many, percent, size
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.snapshot import ControlGroup
from tcpscope.model.state import State


def memory(look: Look) -> Iterator[Finding]:
    """F42 tcp-memory-pressure."""
    limits = look.snapshot.limits
    used, pressure, high = (limits.get(name) for name in ("sockstat.TCP.mem", "tcp_mem.pressure", "tcp_mem.high"))
    if used is None or not pressure or not high or pressure < 0 or high < 0:
        return
    critical = look.limit_of("tcp-memory-pressure.critical") * high
    aborted = look.delta("TcpExt.TCPAbortOnMemory")
    if used <= pressure and not aborted:
        return
    page = limits.get("page_bytes", 4096)
    case = Case("tcp-memory-pressure", "machine")
    if used > pressure:
        case.witness(
            0.8,
            f"TCP uses {size(used * page)}; pressure begins at {size(pressure * page)}, the limit is {size(high * page)}",
        )
    if aborted:
        case.witness(0.7, f"TCPAbortOnMemory +{count(aborted)}: connections were reset for lack of memory")
    entered = look.delta("TcpExt.TCPMemoryPressures")
    if entered:
        case.witness(
            0.4,
            f"TCPMemoryPressures +{count(entered)}, {count(look.delta('TcpExt.TCPMemoryPressuresChrono') or 0)} ms in it",
        )
    heavy = sorted(
        (
            one
            for bucket in look.states.values()
            for one in bucket
            if one.state != State.LISTEN and one.recv_q + one.send_q > 65536
        ),
        key=lambda one: -one.recv_q - one.send_q,
    )
    if heavy:
        case.witness(
            0.1,
            f"{size(sum(one.recv_q + one.send_q for one in heavy))} wait in {many(len(heavy), 'queue')} of 64 KiB or more here, the largest {example(heavy)}",
        )
    case.doubt(0.05, "the number is that of the whole machine, the pile may be in another namespace")
    yield case.close(
        Severity.CRITICAL if used > critical or aborted else Severity.HIGH,
        f"TCP's memory is {percent(used / high)} used",
        "Above the pressure line the kernel shrinks buffers of all sockets, at the limit it drops data and resets orphans "
        "('out of memory -- consider tuning tcp_mem').",
        (
            command("tcpscope list -e --sort -recv-q   (and -send-q) shows whose queues are long"),
            *sysctl(
                look, "net.ipv4.tcp_mem", f"{pressure} {high} {high * 3 // 2}", "pages; only when the memory is there"
            ),
        ),
        heavy,
    )


def memory_of_groups(look: Look) -> Iterator[Finding]:
    """F42 tcp-memory-pressure, of one control group: the innermost of those that are full of socket buffers."""
    full = [one for one in look.snapshot.control_groups if _is_full_of_sockets(look, one)]
    for one in full:
        if any(other is not one and _is_within(other.path, one.path) for other in full):
            continue
        members = [process for process in look.processes if _is_within(process.cgroup or "", one.path)]
        case = Case("tcp-memory-pressure", f"cgroup {one.path}")
        case.witness(
            0.7,
            f"socket buffers take {size(one.socket_bytes)} of its memory.max {size(one.limit_bytes)} ({percent(one.socket_bytes / one.limit_bytes)})",
        )
        case.witness(0.4, f"memory.current is {size(one.used_bytes)} ({percent(one.used_bytes / one.limit_bytes)})")
        held = [socket for process in members for socket in look.held_by(process.pid)]
        heavy = sorted((socket for socket in held if not socket.is_listener), key=lambda one: -one.recv_q - one.send_q)
        if heavy and heavy[0].recv_q + heavy[0].send_q:
            case.witness(
                0.3,
                f"longest queue: {size(heavy[0].recv_q + heavy[0].send_q)} of {look.whose(heavy[0])}, {example(heavy)}",
            )
        yield case.close(
            Severity.HIGH,
            f"Control group {one.path} is full, and {percent(one.socket_bytes / one.limit_bytes)} of it are socket buffers",
            "The buffers of sockets are charged to the control group. At its limit the kernel shrinks TCP's windows and "
            "drops data of these sockets alone, while the machine has memory to spare; in the end the OOM killer comes.",
            (
                command(f"cat /sys/fs/cgroup{one.path}/memory.stat /sys/fs/cgroup{one.path}/memory.events"),
                command("tcpscope list -e --sort -recv-q   (and -send-q) shows whose queues are long"),
                config(f"systemd: MemoryMax= above {size(one.limit_bytes)}; containers: a larger memory limit"),
            ),
            heavy,
            ("net.ipv4.tcp_mem: it is the limit of the whole machine, not of this group",),
        )


def _is_within(path: str, group: str) -> bool:
    return f"{path}/".startswith(group.rstrip("/") + "/")


def _is_full_of_sockets(look: Look, group: ControlGroup) -> bool:
    if group.limit_bytes <= 0 or group.socket_bytes < 0:
        return False
    used, sockets = group.used_bytes / group.limit_bytes, group.socket_bytes / group.limit_bytes
    return used >= look.limit_of("tcp-memory-pressure.group_used") and sockets >= look.limit_of(
        "tcp-memory-pressure.group_sockets"
    )


def orphans(look: Look) -> Iterator[Finding]:
    """F43 too-many-orphans."""
    now = look.snapshot.limits.get("sockstat.TCP.orphan")
    limit = look.snapshot.limits.get("tcp_max_orphans") or look.known_setting("net.ipv4.tcp_max_orphans")
    if now is None or not limit or limit < 0 or now <= look.limit_of("too-many-orphans.medium") * limit:
        return
    case = Case("too-many-orphans", "machine")
    case.witness(0.8, f"{count(now)} orphans of tcp_max_orphans {count(limit)} ({percent(now / limit)})")
    case.witness(0.2, "the kernel counts suspicious ones twice or four times")
    here = {
        state: len([one for one in look.states[state] if one.is_orphan])
        for state in (State.FIN_WAIT_1, State.LAST_ACK, State.CLOSING)
    }
    case.witness(
        0.1, "in this namespace: " + ", ".join(f"{count(number)} in {state.name}" for state, number in here.items())
    )
    aborted = look.delta("TcpExt.TCPAbortOnMemory")
    if aborted:
        case.witness(0.6, f"TCPAbortOnMemory +{count(aborted)}: they are being reset")
    yield case.close(
        Severity.CRITICAL if now > look.limit_of("too-many-orphans.critical") * limit else Severity.MEDIUM,
        f"{count(now)} closed connections have not finished: {percent(now / limit)} of the limit",
        "An orphan is a socket its program has closed while data or FIN are not acknowledged. Past the limit the kernel "
        "resets them ('too many orphaned sockets'). The number is that of the machine.",
        (
            *sysctl(look, "net.ipv4.tcp_orphan_retries", "3", "they give up after 7 s instead of 107 s"),
            *sysctl(look, "net.ipv4.tcp_max_orphans", str(limit * 2), "up to 64 KiB each at worst"),
        ),
    )


def softnet(look: Look) -> Iterator[Finding]:
    """F56 softnet-drop."""
    dropped = look.delta("softnet.dropped")
    if not dropped:
        return
    case = Case("softnet-drop", "machine")
    case.witness(0.8, f"softnet dropped +{count(dropped)} packets between the looks")
    squeezed = look.delta("softnet.time_squeeze")
    if squeezed:
        case.witness(0.2, f"time_squeeze +{count(squeezed)}: the budget ran out")
    case.doubt(0.05, "the number is that of the whole machine")
    yield case.close(
        Severity.MEDIUM,
        f"The kernel dropped {many(dropped, 'packet')} before TCP saw them",
        "A CPU's input queue was full: packets come faster than one core takes them. Often the real cause of packet loss.",
        (
            *sysctl(look, "net.core.netdev_max_backlog", "10000"),
            *sysctl(look, "net.core.netdev_budget", "600"),
            command("spread interrupts: ethtool -X IF equal N; RPS: echo f > /sys/class/net/IF/queues/rx-0/rps_cpus"),
        ),
    )


def conntrack(look: Look) -> Iterator[Finding]:
    """F57 conntrack-table-full."""
    used, most = look.snapshot.limits.get("nf_conntrack_count"), look.snapshot.limits.get("nf_conntrack_max")
    refused = {name: value for name in ("drop", "insert_failed") if (value := look.delta(f"nf_conntrack.{name}"))}
    share = used / most if used is not None and most and most > 0 else 0.0
    if share < look.limit_of("conntrack-table-full.medium"):
        return
    case = Case("conntrack-table-full", "conntrack")
    case.witness(0.7, f"{count(used or 0)} of nf_conntrack_max {count(most or 0)} entries ({percent(share)})")
    if refused:
        case.witness(0.7, ", ".join(f"{name} +{count(value)}" for name, value in refused.items()))
    evicted = look.delta("nf_conntrack.early_drop")
    if evicted and not refused:
        case.doubt(
            0.4,
            f"early_drop +{count(evicted)}: unassured entries make room, nobody is refused yet (only assured ones fill it hard)",
        )
    yield case.close(
        Severity.HIGH if share >= look.limit_of("conntrack-table-full.high") or refused else Severity.MEDIUM,
        f"The connection tracking table is {percent(share)} full",
        "When it is full of assured flows, packets of new connections are dropped ('nf_conntrack: table full, dropping "
        "packet'): clients hang in SYN_SENT.",
        (
            *sysctl(look, "net.netfilter.nf_conntrack_max", str((most or 65536) * 2)),
            *sysctl(
                look,
                "net.netfilter.nf_conntrack_tcp_timeout_established",
                "86400",
                "the default keeps idle flows for 5 days",
            ),
            config("nft: notrack for hot ports that need no state"),
        ),
    )


RULES = (memory, memory_of_groups, orphans, softnet, conntrack)
