"""Listeners: the queue of completed connections and what keeps accept() from emptying it (F15 to F17, F28 to F30).

Linux: Recv-Q of a listener is that queue, Send-Q (``backlog``) its size, min(listen argument, somaxconn) at the time of
listen(); it holds backlog + 1. A SYN that meets a full queue is dropped, so clients sit in SYN_SENT and the server shows
nothing. ListenOverflows counts SYNs with their repetitions, not clients, and is global for the namespace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcpscope.doctor.case import Case
from tcpscope.doctor.halted import halted_holders, spell_halted, wake
from tcpscope.doctor.hints import code, code_for, command, config, sysctl
from tcpscope.doctor.look import Look, group, holders_of
from tcpscope.doctor.wording import count, listing, many, percent
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.snapshot import Process
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

_AVOID_OVERFLOW = (
    "tcp_abort_on_overflow = 1: it does nothing for SYNs and cookies, it only resets handshakes at their last ACK",
    "raising net.core.somaxconn alone: a live listener keeps its backlog until listen() is called again",
    "raising tcp_max_syn_backlog alone: the listener's limit is min(backlog, somaxconn)",
)


def fill(listener: Socket) -> float:
    """Return how full the accept queue is, as a share of the backlog; 0 when the source does not tell."""
    return listener.recv_q / max(1, listener.backlog) if listener.backlog is not None else 0.0


def accept_queue(look: Look) -> Iterator[Finding]:
    """F15 accept-queue-overflow."""
    overflows = look.delta("TcpExt.ListenOverflows")
    full_share = look.limit_of("accept-queue-overflow.full_share")
    full = [one for one in look.listeners if fill(one) >= full_share]
    for listener in full:
        yield _overflow(look, listener, overflows)
    if overflows and not full:
        busy = max(look.listeners, key=fill, default=None)
        is_near = busy is not None and fill(busy) > look.limit_of("accept-queue-overflow.warn_share")
        yield _overflow(look, busy, overflows) if is_near and busy is not None else _somewhere(look, overflows)
        return
    for listener in look.listeners:
        warn = look.limit_of("accept-queue-overflow.warn_share")
        if not warn < fill(listener) < full_share:
            continue
        earlier = look.before(listener)
        if earlier is not None and fill(earlier) > warn:
            yield _filling(look, listener, earlier)


def _overflow(look: Look, listener: Socket, overflows: int | None) -> Finding:
    case = Case("accept-queue-overflow", f"port {listener.local.port}")
    case.witness(
        0.6,
        f"Recv-Q {count(listener.recv_q)} of backlog {count(listener.backlog or 0)} on {listener.local} ({look.whose(listener)})",
    )
    earlier = look.before(listener)
    is_steady = earlier is not None and fill(earlier) >= look.limit_of("accept-queue-overflow.full_share")
    if overflows:
        case.witness(
            0.8,
            f"ListenOverflows +{count(overflows)} ({count(overflows / look.elapsed_s)}/s): SYNs dropped, repetitions included; it is no count of clients",
        )
    elif overflows == 0:
        case.doubt(0.3, "ListenOverflows did not grow between the looks: nobody was turned away just now")
    else:
        case.unseen("whether SYNs are being dropped (ListenOverflows needs two looks)")
    if is_steady:
        case.witness(0.6, "it was full in both looks")
    elif earlier is not None and not overflows:
        case.doubt(0.3, f"it was not full a moment ago (Recv-Q {earlier.recv_q})")
    waiting = _unaccepted(look, listener)
    if waiting:
        case.witness(
            0.4,
            f"{many(len(waiting), 'connection')} on this port without an inode: established, and no accept() has taken them",
        )
    clients = [
        one
        for one in look.states[State.SYN_SENT]
        if one.remote.port == listener.local.port and look.is_own(one.remote.address)
    ]
    if clients:
        case.witness(0.4, f"{many(len(clients), 'client')} on this host hang in SYN_SENT towards it")
    for process in halted_holders(look, [listener])[:3]:
        case.witness(0.6, spell_halted(process))
    is_stopped = _accepts_nothing(look, listener, waiting)
    if is_stopped:
        case.witness(0.6, "all that waited at the first look still wait: accept() took none of them in between")
    severity = Severity.HIGH if overflows or is_steady or look.previous is None else Severity.MEDIUM
    return _full_queue(look, case, severity, [listener, *waiting], is_stopped)


def _full_queue(look: Look, case: Case, severity: Severity, sockets: Sequence[Socket], is_stopped: bool) -> Finding:
    listener = sockets[0]
    who = look.whose(listener)
    halted = halted_holders(look, [listener])
    fault = "no accept() takes them any more" if is_stopped else "accept() is not called fast enough, or not at all"
    enlarge = (
        *code_for(look, "backlog", [listener]),
        *sysctl(look, "net.core.somaxconn", "4096", "then listen() again: restart the program"),
    )
    return case.close(
        severity,
        f"port {listener.local.port} turns new connections away"
        + (f": {who} {'do' if len(holders_of(listener)) > 1 else 'does'} not accept" if is_stopped else ""),
        f"The queue of completed connections ({who}) is {'full' if fill(listener) >= 1 else 'full at times'}: {fault}. The kernel drops further SYNs, so clients wait in "
        "SYN_SENT for 1, 2, 3, 4 s between attempts and the server sees nothing of them.",
        (*map(wake, halted[:2]), *code_for(look, "unblock-loop", [listener]))
        if is_stopped
        else (*code_for(look, "accept-faster", [listener]), *enlarge),
        sockets,
        ("a larger backlog: nobody empties it", _AVOID_OVERFLOW[0]) if is_stopped else _AVOID_OVERFLOW,
    )


def _accepts_nothing(look: Look, listener: Socket, waiting: Sequence[Socket]) -> bool:
    """Whether every connection that waited for accept() at the first look waits still."""
    if look.previous is None or look.before(listener) is None:
        return False
    now = {socket.cookie for socket in waiting}
    both = (State.ESTABLISHED, State.CLOSE_WAIT)
    then = {
        one.cookie for one in look.previous.sockets
        if one.local.port == listener.local.port and one.state in both and look.is_unaccepted(one)
    }  # fmt: skip
    return bool(then) and 0 not in now and then <= now


def _unaccepted(look: Look, listener: Socket) -> list[Socket]:
    return look.unaccepted.get(listener.local.port, [])


def _somewhere(look: Look, overflows: int) -> Finding:
    case = Case("accept-queue-overflow", "some listener")
    case.witness(0.7, f"ListenOverflows +{count(overflows)} between the looks, SYNs and their repetitions")
    busiest = sorted(look.listeners, key=fill, reverse=True)[:1]
    if busiest and fill(busiest[0]) > 0:
        case.witness(
            0.2,
            f"fullest now: {busiest[0].local} of {look.whose(busiest[0])}, Recv-Q {busiest[0].recv_q} of {busiest[0].backlog}",
        )
    else:
        case.doubt(0.2, "no accept queue is full at this moment: it was a burst between the looks")
    if not look.has_backlogs:
        case.unseen("the backlogs: this source does not tell them (only sock_diag does)")
    is_often = overflows / look.elapsed_s > look.limit_of("accept-queue-overflow.rate")
    return case.close(
        Severity.HIGH if is_often else Severity.MEDIUM,
        f"A listener turned {many(overflows, 'SYN')} away between the two looks",
        "The counter is global for the namespace and says that an accept queue was full; no queue is full now, so it comes "
        "in bursts.",
        (*code_for(look, "backlog", busiest), *sysctl(look, "net.core.somaxconn", "4096", "then listen() again")),
        busiest,
        _AVOID_OVERFLOW,
    )


def _filling(look: Look, listener: Socket, earlier: Socket) -> Finding:
    case = Case("accept-queue-overflow", f"port {listener.local.port}")
    case.witness(
        0.6,
        f"Recv-Q {earlier.recv_q} then {listener.recv_q} of backlog {listener.backlog} on {listener.local} ({look.whose(listener)})",
    )
    case.doubt(0.2, "nothing was dropped yet; short bursts are normal")
    return case.close(
        Severity.MEDIUM,
        f"port {listener.local.port}: the accept queue is {percent(fill(listener))} full and stays so",
        "Connections complete faster than the program accepts them. At 100 % the kernel drops SYNs.",
        (*code_for(look, "accept-faster", [listener]), *code_for(look, "backlog", [listener])),
        [listener],
        _AVOID_OVERFLOW,
    )


def small_backlog(look: Look) -> Iterator[Finding]:
    """F16 backlog-too-small."""
    rate = look.rate("Tcp.PassiveOpens")
    if rate is None or rate <= look.limit_of("backlog-too-small.opens_rate"):
        return
    limit = look.limit_of("backlog-too-small.backlog")
    small = [
        one for one in look.listeners if one.backlog is not None and one.backlog < limit and not one.local.is_loopback
    ]
    served = (
        group(look.states[State.ESTABLISHED] + look.states[State.TIME_WAIT], lambda socket: socket.local.port)
        if small
        else {}
    )
    for listener in small:
        connections = len(served.get(listener.local.port, ()))
        if not connections:
            continue
        case = Case("backlog-too-small", f"port {listener.local.port}")
        case.witness(
            0.6,
            f"backlog {listener.backlog} on {listener.local} ({look.whose(listener)}), {count(rate)} connections per second arrive on this host",
        )
        case.witness(0.2, f"{many(connections, 'connection')} on this port now")
        if len(look.listeners) > 1:
            case.doubt(0.2, "the rate is that of all listeners together")
        earlier = look.before(listener)
        longest = max(listener.recv_q, earlier.recv_q if earlier else 0)
        overflows = look.snapshot.counters.get("TcpExt.ListenOverflows", 0)
        if longest:
            case.witness(0.3, f"{many(longest, 'connection')} waited in it at a look")
        elif overflows:
            case.witness(0.2, f"ListenOverflows is {count(overflows)} since this namespace was made")
        else:
            case.doubt(0.3, "its queue was empty at both looks, and no listener here has ever overflowed")
        yield case.close(
            Severity.LOW if longest or overflows else Severity.INFO,
            f"port {listener.local.port} has a backlog of only {listener.backlog}",
            f"At this rate a pause of {(listener.backlog or 0) / rate:.1f} s fills the queue and SYNs are dropped.",
            (*code_for(look, "backlog", [listener]), *sysctl(look, "net.core.somaxconn", "4096", "the upper limit")),
            [listener],
        )


def stalled_by_descriptors(look: Look) -> Iterator[Finding]:
    """F17 accept-stalled-by-fd-limit."""
    for process in look.processes:
        share = used_share(process)
        if share is None or share < look.limit_of("accept-stalled-by-fd-limit.medium"):
            continue
        mine = [one for one in look.listeners if process.pid in holders_of(one)]
        waiting = [one for one in mine if one.recv_q or _unaccepted(look, one)]
        if waiting:
            yield _stalled(look, process, share, waiting)


def used_share(process: Process) -> float | None:
    """Return the used part of the soft descriptor limit."""
    if not process.fd_limit or process.fd_limit <= 0 or process.open_fds is None or process.open_fds < 0:
        return None
    # Why: a limit lowered at run time leaves descriptors above it open.
    return min(1.0, process.open_fds / process.fd_limit)


def _stalled(look: Look, process: Process, share: float, waiting: Sequence[Socket]) -> Finding:
    is_full = share >= look.limit_of("accept-stalled-by-fd-limit.high")
    case = Case("accept-stalled-by-fd-limit", f"pid {process.pid}")
    case.witness(
        min(0.9, share),
        f"{process.name} ({process.pid}) has {count(process.open_fds or 0)} of {count(process.fd_limit or 0)} descriptors open ({percent(share)})",
    )
    case.witness(
        0.4,
        f"{many(sum(one.recv_q for one in waiting), 'connection')} wait for accept() on {listing(str(one.local) for one in waiting)}",
    )
    still = [
        one
        for one in waiting
        if (earlier := look.before(one)) is not None and earlier.recv_q and one.recv_q >= earlier.recv_q
    ]
    if still:
        case.witness(0.4, "the queue did not get shorter between the looks")
    elif look.previous is not None:
        case.doubt(0.3, "the queue moved between the looks: it still accepts")
    held = group((one for one in look.held_by(process.pid) if one.state != State.LISTEN), lambda one: one.state.name)
    if held:
        shares = sorted(((len(found), state) for state, found in held.items()), reverse=True)
        case.witness(0.2, "its connections: " + ", ".join(f"{count(number)} {state}" for number, state in shares[:4]))
    return case.close(
        Severity.HIGH if is_full else Severity.MEDIUM,
        f"{process.name} ({process.pid}) {'cannot accept any more' if is_full else 'will soon not be able to accept'}: {percent(share)} of its descriptors are gone",
        "accept() fails with EMFILE. The kernel completes handshakes without the program, so clients believe they are "
        "connected and get no answer; when the accept queue is full too, new clients hang in SYN_SENT.",
        (
            code("close-on-eof", process.runtime),
            config(f"systemd: LimitNOFILE=65536 (now {process.fd_limit}); shell: ulimit -n 65536"),
            command(f"prlimit --pid {process.pid} --nofile=65536:65536   at once, without a restart"),
        ),
        waiting,
    )


def reuseport(look: Look) -> Iterator[Finding]:
    """F30 reuseport-imbalance."""
    share = look.limit_of("reuseport-imbalance.share")
    for where, listeners in group(look.listeners, lambda socket: (socket.local, socket.v6only)).items():
        if len(listeners) < 2:
            continue
        worst = max(listeners, key=fill)
        if fill(worst) <= share or _middle([one.recv_q for one in listeners if one is not worst]) > 0:
            continue
        case = Case("reuseport-imbalance", str(where[0]))
        queues = ", ".join(f"{one.recv_q}/{one.backlog}" for one in listeners[:8])
        case.witness(0.8, f"{len(listeners)} listeners on {where[0]} (SO_REUSEPORT), queues {queues}")
        halted = halted_holders(look, [worst])
        case.witness(0.2, f"the full one belongs to {look.whose(worst)}")
        for process in halted[:3]:
            case.witness(0.6, spell_halted(process))
        earlier = look.before(worst)
        if earlier is not None and fill(earlier) > share:
            case.witness(0.4, "it was so in both looks")
        elif look.previous is not None:
            case.doubt(0.4, "a moment ago it was not")
        is_full = fill(worst) >= look.limit_of("accept-queue-overflow.full_share")
        yield case.close(
            Severity.HIGH if is_full else Severity.MEDIUM,
            f"One of {len(listeners)} workers on {where[0]} is stuck: one client in {len(listeners)} hangs",
            "With SO_REUSEPORT the kernel deals new connections out by hash, also to a listener nobody accepts from.",
            (
                *map(wake, halted[:2]),
                config(f"restart or unblock {look.whose(worst)}; a worker that stalls should close its listener"),
                *(() if halted else code_for(look, "unblock-loop", [worst])),
            ),
            [worst],
        )


def _middle(numbers: list[int]) -> int:
    return sorted(numbers)[len(numbers) // 2]


def vanished(look: Look) -> Iterator[Finding]:
    """F28 listener-missing and F29 listener-closed-with-queue."""
    yield from _closed_with_queue(look)
    resets = look.delta("Tcp.OutRsts")
    for (netns, where, port), known in look.history.listeners.items():
        if netns not in (0, look.snapshot.place) or port in look.listeners_by_port:
            continue
        ago_s = max(0, look.snapshot.taken_ns - known.last_ns) // 1_000_000_000
        if ago_s > look.limit_of("listener-missing.recent_s"):
            continue
        refused = [
            one for one in look.states[State.SYN_SENT] if one.remote.port == port and look.is_own(one.remote.address)
        ]
        case = Case("listener-missing", f"port {port}")
        case.witness(
            0.5,
            f"{known.name or 'a program'} listened on {where} port {port} until at most {count(ago_s)} s ago; nobody does now",
        )
        if resets:
            case.witness(0.6, f"{count(resets)} RSTs went out between the looks (not all need to be for this port)")
        elif resets == 0:
            case.doubt(0.5, "nobody was refused between the looks")
        else:
            case.unseen("whether clients are refused (OutRsts needs two looks)", 0.4)
        if refused:
            case.witness(0.4, f"{many(len(refused), 'client')} on this host try it now")
        yield case.close(
            Severity.HIGH if resets or refused else Severity.INFO,
            f"Nobody listens on port {port} any more",
            f"An earlier look saw {known.name or 'a listener'} there. Clients now get connection refused.",
            (
                command(f"systemctl status {known.name or 'SERVICE'}; journalctl -u {known.name or 'SERVICE'} -n 50"),
                command(f"tcpscope doctor --port {port}   says what is in the way of bind()"),
            ),
        )


def _is_still_there(look: Look, listener: Socket) -> bool:
    now = look.listeners_by_port.get(listener.local.port, ())
    return any(one.cookie == listener.cookie and one.local == listener.local for one in now)


def _closed_with_queue(look: Look) -> Iterator[Finding]:
    resets, sent = look.delta("Tcp.EstabResets"), look.delta("Tcp.OutRsts")
    if look.previous is None or not resets or not sent:
        return
    for one in look.previous.sockets:
        if one.state != State.LISTEN or not one.recv_q or _is_still_there(look, one):
            continue
        case = Case("listener-closed-with-queue", f"port {one.local.port}")
        case.witness(
            0.7, f"a listener on {one.local} with {many(one.recv_q, 'connection')} waiting was closed between the looks"
        )
        case.witness(0.5, f"EstabResets +{count(resets)}, OutRsts +{count(sent)} at the same time")
        if resets < one.recv_q:
            case.doubt(0.3, "fewer resets than connections that waited")
        yield case.close(
            Severity.MEDIUM,
            f"The restart of port {one.local.port} reset up to {many(one.recv_q, 'client')} that waited for accept()",
            "close() of a listener resets every connection in its queue: those clients were connected and get ECONNRESET.",
            (
                config("systemd socket activation: the listener outlives the program"),
                *sysctl(
                    look, "net.ipv4.tcp_migrate_req", "1", "with SO_REUSEPORT: the queue moves to the other listener"
                ),
            ),
            [one],
        )


RULES = (stalled_by_descriptors, accept_queue, small_backlog, reuseport, vanished)
