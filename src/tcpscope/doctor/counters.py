"""What the kernel counts between two looks: loss, reordering, resets, damage, drops (F36, F37, F40, F44 to F46, F53 to F55).

Always the growth between two samples, never a total since boot. Counters are those of the network namespace.
"""

from __future__ import annotations

from collections.abc import Iterator

from tcpscope.doctor.case import Case
from tcpscope.doctor.hints import code, command, config, runtime_of, sysctl
from tcpscope.doctor.look import Look
from tcpscope.doctor.wording import address, count, listing, many, percent
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.state import State

_EXT = "TcpExt."
#: Why RSTs of one's own were sent, as the kernel counts them.
_RST_REASONS = {
    "TCPAbortOnClose": "closed with unread data",
    "TCPAbortOnData": "SO_LINGER 0, or data after close()",
    "TCPAbortOnTimeout": "gave up after repetitions",
    "TCPAbortOnMemory": "out of TCP memory or too many orphans",
    "TCPTimeWaitOverflow": "TIME_WAIT table full",
}
_PRUNED = ("RcvPruned", "TCPRcvQDrop", "TCPOFODrop", "TCPZeroWindowDrop")
_SQUEEZED = ("PruneCalled", "TCPRcvCollapsed")


def grown(look: Look, *names: str) -> dict[str, int]:
    """Return those TcpExt counters that grew between the looks, with their growth."""
    deltas = {name: look.delta(_EXT + name) for name in names}
    return {name: value for name, value in deltas.items() if value}


def spelled(deltas: dict[str, int]) -> str:
    """``TCPTimeouts +12, TCPLostRetransmit +3``."""
    return ", ".join(f"{name} +{count(value)}" for name, value in deltas.items())


def loss(look: Look) -> Iterator[Finding]:
    """F36 packet-loss and F37 spurious-retransmit-reorder."""
    repeated, sent = look.delta("Tcp.RetransSegs"), look.delta("Tcp.OutSegs")
    if repeated is None or sent is None or sent < look.limit_of("packet-loss.segments"):
        return
    # Why: a repeated SYN counts too, and says something about a destination, not about loss.
    repeated -= look.delta(_EXT + "TCPSynRetrans") or 0
    data = look.delta(_EXT + "TCPOrigDataSent") or 0
    # Why: on a server that mostly acknowledges, OutSegs hides the loss of its data.
    base = data if data >= look.limit_of("packet-loss.segments") else sent
    share = repeated / base
    if share <= look.limit_of("packet-loss.low"):
        return
    duplicates = look.delta(_EXT + "TCPDSACKRecv") or 0
    if _is_mostly_spurious(look, repeated, duplicates):
        share = (repeated - duplicates) / base
        # Why: a host too busy to read its ACKs in time repeats without need; that hides no loss which users feel
        if share <= look.limit_of("packet-loss.medium"):
            yield _spurious(look, repeated, duplicates)
            return
    yield _lossy(look, repeated, base, share, duplicates)


def _is_mostly_spurious(look: Look, repeated: int, duplicates: int) -> bool:
    return duplicates > look.limit_of("packet-loss.spurious_share") * repeated


def _lossy(look: Look, repeated: int, base: int, share: float, duplicates: int) -> Finding:
    case = Case("packet-loss", "this host")
    case.witness(
        0.7,
        f"RetransSegs +{count(repeated)} of {count(base)} segments between the looks: {percent(share)}, repeated SYNs not counted",
    )
    kinds = grown(look, "TCPTimeouts", "TCPLostRetransmit", "TCPFastRetrans", "TCPSlowStartRetrans")
    if kinds:
        case.witness(0.2, spelled(kinds))
    if kinds.get("TCPTimeouts", 0) > look.limit_of("packet-loss.timeout_share") * repeated:
        case.witness(
            0.2,
            f"{percent(min(1.0, kinds['TCPTimeouts'] / repeated))} of them after a timeout: a bad tail, users wait 200 ms and more",
        )
    reported = f"peers reported {count(duplicates)} duplicates (TCPDSACKRecv)"
    if _is_mostly_spurious(look, repeated, duplicates):
        case.doubt(0.2, f"{reported}: only {count(repeated - duplicates)} of what was repeated was needed, and counts")
    else:
        case.cleared(f"{reported}: most of what was repeated was needed", 0.3)
    _where_lost(look, case)
    severity = (
        Severity.HIGH
        if share > look.limit_of("packet-loss.high")
        else Severity.MEDIUM
        if share > look.limit_of("packet-loss.medium")
        else Severity.LOW
    )
    return case.close(
        severity,
        f"{percent(share)} of the segments sent had to be repeated",
        "Segments get lost between here and the peers. At high loss the share over-reads (measured: 5 % loss reads as 10 %, "
        "20 % as 36 %).",
        (
            command("mtr -T -P PORT HOST   loss and jitter per hop, over TCP"),
            command("ethtool -S IF | grep -iE 'drop|err|miss'; ip -s -s link; cat /proc/net/softnet_stat"),
        ),
    )


def _where_lost(look: Look, case: Case) -> None:
    """Which peers: growth of ``bytes_retrans`` per remote address."""
    lost: dict[str, int] = {}
    for state in (State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT_1):
        for socket in look.states[state]:
            info = socket.tcp_info
            if info is None or not info.bytes_retrans:
                continue
            earlier = look.before(socket)
            then = earlier.tcp_info.bytes_retrans if earlier and earlier.tcp_info else None
            more = info.bytes_retrans - (then or 0)
            if more > 0:
                remote = address(socket.remote.address)
                lost[remote] = lost.get(remote, 0) + more
    if not lost:
        return
    worst = sorted(lost, key=lambda remote: -lost[remote])
    share = lost[worst[0]] / sum(lost.values())
    case.witness(
        0.1,
        f"repeated most to {listing(f'{remote} ({percent(lost[remote] / sum(lost.values()))})' for remote in worst)}",
    )
    if share > 0.8 and len(look.states[State.ESTABLISHED]) > 5:
        case.doubt(0.1, f"nearly all of it to {worst[0]}: that path, not this host's network")


def _spurious(look: Look, repeated: int, duplicates: int) -> Finding:
    case = Case("spurious-retransmit-reorder", "this host")
    case.witness(
        0.7, f"TCPDSACKRecv +{count(duplicates)} for RetransSegs +{count(repeated)}: the peers had most of it already"
    )
    signs = grown(look, "TCPSACKReorder", "TCPTSReorder", "TCPSpuriousRTOs", "TCPLossProbes")
    if signs:
        case.witness(0.3, spelled(signs))
    late = bool(grown(look, "TCPSACKReorder", "TCPTSReorder", "TCPSpuriousRTOs"))
    if not late:
        case.doubt(0.3, "no sign of reordering: tail loss probes of a busy host look like this and cost nothing")
    return case.close(
        Severity.LOW if late else Severity.INFO,
        "Segments are repeated without need: they are late or reordered, not lost",
        "Several paths, a busy receiver or a tail loss probe: the original arrived too. It costs bandwidth, not data.",
        (
            *sysctl(look, "net.ipv4.tcp_recovery", "1", "RACK tolerates reordering"),
            config("links: hash per flow, not per packet"),
        ),
    )


def pruning(look: Look) -> Iterator[Finding]:
    """F40 rcvbuf-pruning."""
    deltas = grown(look, *_PRUNED, *_SQUEEZED)
    if not deltas or sum(deltas.values()) <= look.limit_of("rcvbuf-pruning.rate") * look.elapsed_s:
        return
    dropped = {name: value for name, value in deltas.items() if name in _PRUNED}
    case = Case("rcvbuf-pruning", "this host")
    case.witness(0.7, spelled(deltas))
    if not dropped:
        case.doubt(0.2, "nothing was thrown away yet, buffers were only compacted")
    pressed = [one for one in look.states[State.ESTABLISHED] if one.memory and one.memory.drops]
    if pressed:
        case.witness(0.3, f"sockets that dropped: {listing(str(one.flow) for one in pressed)}")
    yield case.close(
        Severity.MEDIUM if dropped else Severity.LOW,
        "Receive buffers overflow: data that had arrived is " + ("thrown away" if dropped else "squeezed"),
        "The program reads too slowly for the buffer, or SO_RCVBUF was set small (which also switches autotuning off).",
        (
            config("do not set SO_RCVBUF"),
            *sysctl(look, "net.ipv4.tcp_rmem", "4096 131072 33554432"),
            *sysctl(look, "net.core.rmem_max", "33554432"),
        ),
        pressed,
    )


def resets_sent(look: Look) -> Iterator[Finding]:
    """F44 rst-storm-sent."""
    rate, sent = look.rate("Tcp.OutRsts"), look.delta("Tcp.OutRsts")
    if rate is None or not sent:
        return
    usual = sorted(value for _, value in look.history.trends.get(look.trend_name("rate:Tcp.OutRsts"), ()))
    baseline = usual[len(usual) // 2] if len(usual) >= 3 else None
    limit = max(5.0, 10.0 * baseline) if baseline is not None else look.limit_of("rst-storm-sent.rate")
    if rate <= limit:
        return
    case = Case("rst-storm-sent", "this host")
    case.witness(0.6, f"OutRsts {count(rate)}/s" + (f", usually {count(baseline)}/s" if baseline is not None else ""))
    if baseline is None:
        case.unseen("what is usual here (earlier looks)")
    reasons = grown(look, *_RST_REASONS)
    for name, value in reasons.items():
        case.witness(0.1, f"{name} +{count(value)}: {_RST_REASONS[name]}")
    without = sent - sum(reasons.values())
    if without > 0.1 * sent:
        case.witness(
            0.1,
            f"about {count(without)} for segments without a socket: nobody listens, or the connection was forgotten",
        )
    by_design = reasons.get("TCPAbortOnData", 0) > 0.8 * sent
    if by_design:
        case.doubt(0.5, "nearly all by SO_LINGER 0: HAProxy and health checks close so by design")
    yield case.close(
        Severity.HIGH if "TCPAbortOnMemory" in reasons else Severity.INFO if by_design else Severity.LOW,
        f"This host sends {count(rate)} RSTs per second",
        "Peers see ECONNRESET or EPIPE. The kernel counts the reasons it knows; the rest are answers to segments no socket "
        "wants.",
        (
            command("tcpscope trace   names the process of each reset"),
            command("tcpscope capture 'tcp[tcpflags] & tcp-rst != 0'"),
        ),
    )


def resets_received(look: Look) -> Iterator[Finding]:
    """F45 reset-by-peer-rate."""
    resets, opened = (
        look.delta("Tcp.EstabResets"),
        (look.delta("Tcp.ActiveOpens") or 0) + (look.delta("Tcp.PassiveOpens") or 0),
    )
    if not resets:
        return
    own = sum(grown(look, *_RST_REASONS).values())
    foreign = max(0, resets - own)
    if foreign <= look.limit_of("reset-by-peer-rate.share") * opened or foreign / look.elapsed_s <= look.limit_of(
        "reset-by-peer-rate.rate"
    ):
        return
    case = Case("reset-by-peer-rate", "this host")
    case.witness(0.6, f"EstabResets +{count(resets)} while {count(opened)} connections were opened")
    if own:
        case.doubt(0.2, f"{count(own)} of them are this host's own aborts and timeouts, not counted")
    else:
        case.cleared("none of them is an abort or timeout of this host's own", 0.3)
    yield _reset_finding(look, case, foreign)


def _reset_finding(look: Look, case: Case, foreign: int) -> Finding:
    seen = look.snapshot.resets
    for one in seen[:3]:
        who = f"{one.by.name} ({one.by.pid})" if one.by else "a program"
        way = f"{one.remote} on port {one.port} here" if one.is_served else f"{one.remote}:{one.port}"
        case.witness(
            0.4, f"seen between the looks: {who} was reset {many(one.number, 'time')} by {way}, in {one.state.name}"
        )
    if not seen:
        case.unseen("by whom: a reset connection leaves no socket behind; 'tcpscope trace' shows them")
    total = sum(one.number for one in seen)
    late = sum(one.number for one in seen if one.state == State.CLOSE_WAIT and not one.is_served)
    checks = sum(one.young for one in seen if one.is_served)
    is_late, is_check = late > 0.8 * total > 0, checks > 0.8 * total > 0
    if is_check:
        case.doubt(
            0.5,
            f"{count(checks)} of them within a second of the handshake: health checks that end with RST look like this",
        )
    traced = f"port {seen[0].port}" if seen else "'state established'"
    pool = code("close-on-eof", runtime_of(look, seen[0].by)) if is_late else None
    return case.close(
        Severity.INFO if is_check else Severity.MEDIUM,
        f"{count(foreign)} connections were reset by their peers between the looks"
        + (": written to after the server had closed them" if is_late else ""),
        "The program here sends on connections whose end it has not read: the server closed them while they lay idle in a "
        "pool. Requests fail now and then, after a pause."
        if is_late
        else "Peers, or something on the way, abort connections in use: crashes, idle limits of a load balancer, or clients "
        "that close with unread data.",
        (
            *((pool,) if pool else ()),
            config("keep-alive limits: the client's shorter than the server's"),
            command(f"tcpscope trace {traced}   shows each of them"),
        ),
    )


def ghost_reconnect(look: Look) -> Iterator[Finding]:
    """F46 ghost-reconnect."""
    rate = look.rate(_EXT + "TCPSYNChallenge")
    if rate is None or rate <= look.limit_of("ghost-reconnect.rate"):
        return
    skipped = look.rate(_EXT + "TCPACKSkippedChallenge") or 0.0
    # Why: a SYN|ACK that a server repeats to a connected client counts here as well; clients come back to listeners only.
    if not look.listeners and not skipped:
        return
    case = Case("ghost-reconnect", "this host")
    case.witness(0.6, f"TCPSYNChallenge {count(rate)}/s: SYNs on connections that are alive here")
    answers = grown(look, "TCPChallengeACK")
    resets = look.delta("Tcp.EstabResets")
    if answers and resets:
        case.witness(
            0.4, f"{spelled(answers)}, EstabResets +{count(resets)}: the ghost goes with the client's RST (about 10 ms)"
        )
    elif not resets:
        case.doubt(
            0.2,
            "no connection was reset: the challenge ACKs may not arrive (the client then hangs in SYN_SENT), or the SYNs are forged",
        )
    is_attack = skipped > 10
    if is_attack:
        case.witness(
            0.3, f"TCPACKSkippedChallenge {count(skipped)}/s: more than the kernel answers, injection looks like this"
        )
    yield case.close(
        Severity.MEDIUM if is_attack else Severity.LOW,
        "Clients come back on connections this host still has"
        if not is_attack
        else "SYNs or RSTs are injected into live connections",
        "A client that lost its connections (power, crash, NAT) reuses the same 4-tuple. Linux answers with a challenge ACK "
        "(RFC 5961), the client resets, and its next SYN succeeds. InErrs grows too; it is no damage.",
        (
            config("keepalive notices dead clients earlier (see half-open-stale)"),
            config("firewalls must let challenge ACKs and RSTs pass"),
        ),
    )


def damaged(look: Look) -> Iterator[Finding]:
    """F53 checksum-errors."""
    bad = look.delta("Tcp.InCsumErrors")
    if not bad:
        return
    case = Case("checksum-errors", "this host")
    case.witness(0.8, f"Tcp.InCsumErrors +{count(bad)} between the looks")
    all_errors = look.delta("Tcp.InErrs")
    if all_errors is not None:
        case.cleared(
            f"InErrs grew by {count(all_errors)}: "
            + ("all of it checksums" if all_errors <= bad else "the rest is challenged SYNs, no damage")
        )
    yield case.close(
        Severity.MEDIUM,
        f"{count(bad)} damaged TCP segments arrived",
        "The checksum was wrong: a network card, a broken offload, or a middlebox that rewrites badly. Each is dropped and "
        "repeated.",
        (command("ethtool -S IF | grep -i csum; ethtool -K IF rx off   (as a test)"),),
    )


def paws(look: Look) -> Iterator[Finding]:
    """F54 paws-drops."""
    deltas = grown(look, "PAWSEstab", "PAWSActive", "PAWSTimewait", "TSEcrRejected")
    opened = look.delta("Tcp.PassiveOpens") or 0
    if deltas.get("PAWSTimewait", 0) <= look.limit_of("paws-drops.opens_share") * opened:
        deltas.pop("PAWSTimewait", None)
    per_s = sum(deltas.values()) / look.elapsed_s if deltas else 0.0
    if per_s <= look.limit_of("paws-drops.rate"):
        return
    case = Case("paws-drops", "this host")
    case.witness(0.6, spelled(deltas))
    case.doubt(0.1, "late duplicates of healthy connections count here too")
    yield case.close(
        Severity.MEDIUM if per_s > 10 * look.limit_of("paws-drops.rate") else Severity.LOW,
        f"{count(per_s)} segments per second are dropped for old timestamps",
        "Protection against wrapped sequence numbers (RFC 7323 §5): several hosts with different clocks behind one address, "
        "or a middlebox that rewrites timestamps.",
        (config("NAT: give each host its own address, or clear timestamps on the NAT"),),
        (),
        ("tcp_timestamps = 0: it takes PAWS, tw_reuse and cookie options away",),
    )


def backlog(look: Look) -> Iterator[Finding]:
    """F55 backlog-drop."""
    deltas = grown(look, "TCPBacklogDrop", "TCPRcvQDrop")
    if "TCPBacklogDrop" not in deltas or sum(deltas.values()) <= look.limit_of("backlog-drop.rate") * look.elapsed_s:
        return
    case = Case("backlog-drop", "this host")
    case.witness(0.7, spelled(deltas))
    held = [one for one in look.states[State.ESTABLISHED] if one.memory and one.memory.drops]
    if held:
        case.witness(0.3, f"sockets that dropped: {listing(str(one.flow) for one in held)}")
    yield case.close(
        Severity.MEDIUM,
        "Segments are dropped while a program's system call holds the socket",
        "While a call (a large send, a slow copy) owns the socket, arriving segments queue in its backlog; that was full.",
        (
            *sysctl(look, "net.ipv4.tcp_rmem", "4096 131072 33554432", "its third number bounds the backlog too"),
            config("smaller writes, more threads"),
        ),
        held,
    )


RULES = (loss, pruning, resets_sent, resets_received, ghost_reconnect, damaged, paws, backlog)
