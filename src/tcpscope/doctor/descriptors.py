"""Sockets and the descriptors that hold them: used up, leaked unseen, held by several processes (F47 to F50).

``/proc/net/sockstat``: ``inuse`` and ``tw`` are of the namespace, ``orphan`` and ``alloc`` of the whole machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcpscope.doctor.accepting import used_share
from tcpscope.doctor.case import Case
from tcpscope.doctor.close_wait import is_rising
from tcpscope.doctor.hints import code, command, config, sysctl
from tcpscope.doctor.look import Look, group, holders_of
from tcpscope.doctor.wording import count, example, listing, many, percent
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.snapshot import Process
from tcpscope.model.socket import Socket
from tcpscope.model.state import State


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


RULES = (descriptors, zombies, unlisted, shared)
