"""What runs out: memory, orphans, descriptors, sockets, conntrack entries, CPU queues (F42, F43, F47 to F50, F56, F57).

``/proc/net/sockstat``: ``inuse`` and ``tw`` are of the namespace, ``orphan``, ``alloc`` and ``mem`` of the whole machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcpscope.doctor.accepting import used_share
from tcpscope.doctor.case import Case
from tcpscope.doctor.close_wait import is_rising
from tcpscope.doctor.hints import code, command, config, sysctl
from tcpscope.doctor.look import Look, group, holders_of
from tcpscope.doctor.wording import count, example, listing, many, percent, size
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.snapshot import ControlGroup, Process
from tcpscope.model.socket import Socket
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


def zombies(look: Look) -> Iterator[Finding]:
    """F47 zombie-socket-fds."""
    for process, hidden in hidden_inodes(look):
        share = len(hidden) / process.open_fds if process.open_fds and process.open_fds > 0 else 0.0
        is_share = share > look.limit_of("zombie-socket-fds.share") and len(hidden) >= look.limit_of(
            "zombie-socket-fds.floor"
        )
        if len(hidden) > look.limit_of("zombie-socket-fds.count") or is_share:
            yield _zombie(look, process, hidden, share)


def hidden_inodes(look: Look) -> list[tuple[Process, list[int]]]:
    """Return processes with the inodes of their socket descriptors that are in no list."""
    # Why: sockets of a process in another namespace are in that namespace's lists.
    local = [one for one in look.processes if one.socket_inodes and one.netns in (0, look.snapshot.netns)]
    if not local:
        return []
    listed = set(look.snapshot.other_inodes)
    for source in (look.snapshot, *look.others):
        listed.update(socket.inode for socket in source.sockets)
        listed.update(source.other_inodes)
    hidden = [(process, [inode for inode in process.socket_inodes if inode not in listed]) for process in local]
    return [row for row in hidden if row[1]]


def _zombie(look: Look, process: Process, hidden: Sequence[int], share: float) -> Finding:
    case = Case("zombie-socket-fds", f"pid {process.pid}")
    case.witness(
        0.6,
        f"{process.name} ({process.pid}) holds {many(len(hidden), 'socket descriptor')} that no list shows ({percent(min(1.0, share))} of its descriptors)",
    )
    earlier = look.previous.processes.get(process.pid) if look.previous else None
    grew = bool(earlier and len(process.socket_inodes) > len(earlier.socket_inodes)) or is_rising(
        look, f"hidden:pid {process.pid}", len(hidden)
    )
    if grew:
        case.witness(0.5, "and their number grows")
    if look.snapshot.other_inodes:
        case.cleared("UNIX, netlink, packet and raw sockets were looked up too", 0.3)
    else:
        case.unseen("sockets of other families (UNIX, netlink, packet)", 0.4)
    case.doubt(0.15, "sockets opened in another network namespace look the same")
    return case.close(
        Severity.HIGH if grew else Severity.MEDIUM,
        f"{process.name} ({process.pid}) does not close {many(len(hidden), 'dead socket')}",
        "A socket that its peer reset, whose connect() failed, or that was never bound or connected, is in no list of ss or netstat; it lives only as "
        "a descriptor of the process (lsof: 'can't identify protocol'). The program misses close() on an error path.",
        (
            code("close-on-eof", process.runtime),
            command(f"lsof -nP -p {process.pid} -a -d 0-999999 | grep -E 'sock|identify'"),
        ),
    )


def descriptors(look: Look) -> Iterator[Finding]:
    """F48 fd-exhaustion-near."""
    for process in look.processes:
        share = used_share(process)
        if share is not None and share >= look.limit_of("fd-exhaustion-near.medium"):
            yield _running_out(look, process, share)
    now, most = look.snapshot.limits.get("file-nr.allocated"), look.snapshot.limits.get("file-nr.max")
    if now and most and most > 0 and now / most >= look.limit_of("fd-exhaustion-near.medium"):
        case = Case("fd-exhaustion-near", "machine")
        case.witness(0.9, f"file-nr: {count(now)} of file-max {count(most)} ({percent(now / most)})")
        yield case.close(
            Severity.HIGH,
            f"The machine has used {percent(now / most)} of its file handles",
            "Past fs.file-max every open() and socket() of every process fails with ENFILE.",
            (*sysctl(look, "fs.file-max", str(most * 2)), command("tcpscope states --by process")),
        )


def _running_out(look: Look, process: Process, share: float) -> Finding:
    case = Case("fd-exhaustion-near", f"pid {process.pid}")
    case.witness(
        min(0.95, share),
        f"{process.name} ({process.pid}): {count(process.open_fds or 0)} of {count(process.fd_limit or 0)} descriptors ({percent(share)})",
    )
    mine = group(look.held_by(process.pid), lambda one: one.state)
    held = sorted(((len(found), state.name) for state, found in mine.items() if found), reverse=True)
    if held:
        case.witness(0.2, "its TCP sockets: " + ", ".join(f"{count(number)} {name}" for number, name in held[:4]))
    sockets = look.held_by(process.pid)
    earlier = look.previous.processes.get(process.pid) if look.previous else None
    if earlier and earlier.open_fds is not None and process.open_fds is not None:
        if process.open_fds > earlier.open_fds:
            case.witness(0.3, f"+{count(process.open_fds - earlier.open_fds)} between the looks")
        else:
            case.doubt(0.1, "it did not grow between the looks")
    return case.close(
        Severity.HIGH if share >= look.limit_of("fd-exhaustion-near.high") else Severity.MEDIUM,
        f"{process.name} ({process.pid}) has used {percent(share)} of its descriptors",
        "At the limit accept(), socket() and open() fail with EMFILE. A larger limit helps a busy program and only delays a "
        "leak.",
        (
            config(f"systemd: LimitNOFILE=65536 (now {process.fd_limit}); shell: ulimit -n 65536"),
            command(f"prlimit --pid {process.pid} --nofile=65536:65536   at once, without a restart"),
            command(
                f"ls -l /proc/{process.pid}/fd | awk '{{print $NF}}' | sed 's/:.*//' | sort | uniq -c | sort -rn | head"
            ),
        ),
        sockets,
    )


def unlisted(look: Look) -> Iterator[Finding]:
    """F49 system-sockets-leak."""
    now = unlisted_now(look)
    values = [value for _, value in look.history.trends.get(unlisted_name(look), ())[-2:]] + (
        [] if now is None else [now]
    )
    if (
        len(values) < 3
        or not values[0] < values[1] < values[2]
        or values[2] - values[0] < look.limit_of("system-sockets-leak.growth")
    ):
        return
    case = Case("system-sockets-leak", "machine")
    case.witness(
        0.6, f"sockstat alloc without those in use and orphans: {' then '.join(map(count, values))} over three looks"
    )
    if not look.others:
        case.doubt(0.4, "sockets of other namespaces count here too, and only this one was looked at (--netns all)")
    else:
        case.cleared(f"{many(len(look.others), 'other namespace')} subtracted", 0.3)
    yield case.close(
        # Why: on a host with containers this number moves with what they do.
        Severity.MEDIUM if look.others else Severity.INFO,
        f"The machine holds {count(values[2] - values[0])} more sockets than at the first of three looks, in no list",
        "TCP sockets are allocated that are neither in use nor orphaned: bound only, reset and not closed, or never used.",
        (command("tcpscope doctor --only zombie-socket-fds   names processes that hold them"),),
    )


def unlisted_name(look: Look) -> str:
    """Return the name under which that number is remembered: looks at more namespaces leave less unlisted."""
    return f"unlisted:{len(look.others) + 1} seen"


def unlisted_now(look: Look) -> int | None:
    """Return how many sockets are allocated on the machine that are neither in use in a seen namespace nor orphans."""
    limits = look.snapshot.limits
    alloc, orphan = limits.get("sockstat.TCP.alloc"), limits.get("sockstat.TCP.orphan")
    if alloc is None or orphan is None:
        return None
    inuse = sum(source.limits.get("sockstat.TCP.inuse", 0) for source in (look.snapshot, *look.others))
    return alloc - inuse - orphan


def shared(look: Look) -> Iterator[Finding]:
    """F50 shared-socket-holders."""
    held = [
        one
        for state, bucket in look.states.items()
        if state != State.LISTEN
        for one in bucket
        if len(one.owners) > 1 and len(holders_of(one)) > 1
    ]
    lasting_ms = look.limit_of("close-wait-leak.age_s") * 1000
    waiting = [one for one in held if one.state == State.CLOSE_WAIT and look.age(one).ms >= lasting_ms]
    stuck = group(waiting, holders_of)

    def together(socket: Socket) -> tuple[object, ...]:
        # Why: a server that forks for each connection shares every one with another child; that is one thing to say.
        pids = holders_of(socket)
        return pids if pids in stuck else tuple(sorted({owner.name for owner in socket.owners}))

    for sockets in group(held, together).values():
        yield _held_by_several(sockets, stuck.get(holders_of(sockets[0]), ()))


def _held_by_several(sockets: Sequence[Socket], stuck: Sequence[Socket]) -> Finding:
    sets = group(sockets, holders_of)
    pids, names = next(iter(sets)), sorted({owner.name for owner in sockets[0].owners})
    is_one = len(sets) == 1
    case = Case("shared-socket-holders", "pids " + ",".join(map(str, pids)) if is_one else " and ".join(names))
    holders = [f"{owner.name} ({owner.pid}) fd {owner.fd}" for owner in sockets[0].owners]
    case.witness(
        0.9,
        f"{many(len(sockets), 'socket')} held by {f'{len(pids)} processes' if is_one else 'several processes each'}, e.g. {example(sockets)}: {listing(holders, 6)}",
    )
    if stuck:
        case.witness(0.5, f"{count(len(stuck))} of them in CLOSE_WAIT: every holder has to close")
    else:
        case.doubt(0.2, "sshd and prefork servers share descriptors on purpose")
    who = (
        f"{len(pids)} processes: {listing((f'{one.name} ({one.pid})' for one in sockets[0].owners), 6)}"
        if is_one
        else f"several processes of {listing(names)} each"
    )
    return case.close(
        Severity.MEDIUM if stuck else Severity.INFO,
        f"{many(len(sockets), 'connection')} {'is' if len(sockets) == 1 else 'are'} held by {who}; ending one of them frees nothing",
        "The FIN goes out when the last holder closes (measured: killing one of two changed nothing). Descriptors are "
        "inherited over fork().",
        (config("close after fork, open with SOCK_CLOEXEC (Python does since 3.4, except fork without exec)"),),
        sockets,
        ("kill -9 of one of them: the other still holds the socket",),
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


RULES = (descriptors, memory, memory_of_groups, orphans, zombies, unlisted, shared, softnet, conntrack)
