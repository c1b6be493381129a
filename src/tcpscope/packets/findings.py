"""What a capture says is wrong, as findings with the ids of the doctor: pure rules over :mod:`tcpscope.packets.cases`.

A capture has one vantage: what was lost behind it looks like silence of the other end. Every finding therefore says
what would refute it. Thresholds are small: a capture is usually taken because something is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tcpscope.model.finding import Finding, Remedy, Severity
from tcpscope.packets.cases import Cases, Group
from tcpscope.packets.roles import spell_address

#: A flood is called one from here on, when hardly any of its SYNs led to a connection.
FLOOD_CLIENTS = 200
#: Retransmitted share of a direction's segments that is worth a word, and that is serious.
LOSS_SHARE, HEAVY_LOSS_SHARE = 0.01, 0.05


def find(cases: Cases) -> tuple[Finding, ...]:
    """Judge all groups; the most serious finding first."""
    found = [finding for rule in RULES for finding in rule(cases)]
    return tuple(sorted(found, key=lambda finding: (-finding.severity, -finding.confidence, finding.id)))


def _flood_or_silence(cases: Cases) -> Iterator[Finding]:
    """F19 syn-flood, F21 syn-sent-blackhole."""
    for group in cases.of("unanswered"):
        count, answered = group.total, cases.answered.get(group.server, 0)
        clients = max(group.clients, group.sums.get("forged", 0))
        if clients >= FLOOD_CLIENTS and answered < count / 10:
            yield _flood(group, f"{count} SYNs from {_many(clients)} addresses, {answered} completed handshakes")
            continue
        repeats = group.sums.get("repeats", 0)
        where = _spell(group.server)
        yield Finding(
            "syn-sent-blackhole",
            Severity.MEDIUM if repeats or count >= 3 else Severity.LOW,
            0.9 if repeats else 0.6,
            f"{where} does not answer: {_times(count, 'connection')} never got past the SYN",
            "The SYNs pass here and nothing comes back: a filter drops them (or the answer), the host is gone, or its "
            "accept queue is full. A closed port of a living host would answer with a reset at once.",
            scope=where,
            evidence=(
                _times(repeats, "repeated SYN"),
                f"{answered} other connections to it were answered",
                _numbers(group),
            ),
            counter_evidence=(f"the answer in a capture taken at {where}: then it is lost on the way back",),
            remedies=(
                Remedy("command", f"capture at the server too: tcpscope capture 'host {where.rpartition(':')[0]}'"),
                Remedy("code", "set a connect timeout of 1 to 5 s; the default gives up after 2 minutes"),
            ),
        )


def _half_open(cases: Cases) -> Iterator[Finding]:
    """F19 syn-flood, F20 syn-recv-ack-lost."""
    for group in cases.of("half-open"):
        count, answered = group.total, cases.answered.get(group.server, 0)
        if group.clients >= FLOOD_CLIENTS and answered < count / 10:
            yield _flood(group, f"{count} SYN|ACKs without an ACK, {answered} completed handshakes")
            continue
        where, repeats = _spell(group.server), group.sums.get("repeats", 0)
        if not repeats and count < 3:
            continue
        yield Finding(
            "syn-recv-ack-lost",
            Severity.MEDIUM,
            0.8,
            f"{where}: {_times(count, 'handshake')} stop after the SYN|ACK",
            "The server answers, but the last ACK of the handshake does not reach it: lost by asymmetric routing or a "
            "firewall, or the accept queue is full and the server ignores it.",
            scope=where,
            evidence=(f"{repeats} repeated SYN|ACKs", _numbers(group)),
            counter_evidence=("the ACK in this capture after the SYN|ACK: then the server's queue is the suspect",),
            remedies=(Remedy("command", "on the server: tcpscope doctor --only accept-queue-overflow"),),
        )


def _flood(group: Group, evidence: str) -> Finding:
    where = _spell(group.server)
    return Finding(
        "syn-flood",
        Severity.HIGH,
        0.9 if group.clients >= 1000 or group.sums.get("forged") else 0.75,
        f"SYN flood against {where}",
        "Far more addresses begin handshakes than ever complete one: forged sources, or a scan from many hosts.",
        scope=where,
        evidence=(evidence,),
        counter_evidence=("completed handshakes from the same addresses before or after: then it is overload",),
        remedies=(
            Remedy("config", "keep net.ipv4.tcp_syncookies=1; larger listen backlog and net.core.somaxconn"),
            Remedy("config", "net.ipv4.tcp_synack_retries=2 shortens what a forged SYN holds"),
        ),
    )


def _refused(cases: Cases) -> Iterator[Finding]:
    """F22 connection-refused-storm."""
    for group in cases.of("refused"):
        where, count = _spell(group.server), group.total
        yield Finding(
            "connection-refused-storm",
            Severity.MEDIUM if count >= 5 else Severity.LOW,
            0.9,
            f"{where} refused {_times(count, 'connection')}",
            "A reset answered the SYN at once: nothing listens on that port, or a firewall rejects for it.",
            scope=where,
            evidence=(_numbers(group), f"{cases.answered.get(group.server, 0)} connections to it were accepted"),
            counter_evidence=("a listener on that port at that time: then a firewall answers",),
            remedies=(Remedy("command", f"on the server: tcpscope list state listening 'sport = {_port(group)}'"),),
        )


def _rejected(cases: Cases) -> Iterator[Finding]:
    """F19 syn-flood, F45 reset-by-peer-rate: a handshake that its client resets."""
    for group in cases.of("rejected"):
        where, count, answered = _spell(group.server), group.total, cases.answered.get(group.server, 0)
        if group.clients >= FLOOD_CLIENTS and answered < count / 10:
            yield _flood(group, f"{count} SYN|ACKs answered by a reset, {answered} completed handshakes")
        elif count >= 3:
            yield Finding(
                "reset-by-peer-rate",
                Severity.LOW,
                0.7,
                f"the client answers the SYN|ACK with a reset: {_times(count, 'connection')} with {where}",
                "No connection was meant: a port scan, a health check that only knocks, or an address that somebody "
                "else uses.",
                scope=where,
                evidence=(f"{answered} other connections to it were opened", _numbers(group)),
                counter_evidence=("data or an ACK of the client before its reset",),
                remedies=(Remedy("config", "nothing to do at the server: its program never saw these"),),
            )


def _never_closes(cases: Cases) -> Iterator[Finding]:
    """F01 close-wait-leak, at either end."""
    for role, other in (("server", "client"), ("client", "server")):
        for group in cases.of(f"{role}-never-closes"):
            where, count = _spell(group.server), group.total
            idle_s = group.sums.get("idle_ms", 0) / count / 1000
            yield Finding(
                "close-wait-leak",
                Severity.HIGH if count >= 100 else Severity.MEDIUM if count >= 5 else Severity.LOW,
                0.9 if idle_s > 60 else 0.5,
                f"the {role} does not close: {_times(count, 'connection')} with {where} wait for its FIN",
                f"The {other} has closed, the {role}'s kernel has acknowledged it (CLOSE_WAIT there), and the {role}'s "
                "program has not closed since. No timer ends that.",
                scope=where,
                evidence=(
                    f"on average {idle_s:.1f} s from the last segment to the end of the capture",
                    _numbers(group),
                ),
                counter_evidence=(f"data still sent by the {role}: a half-close in use, not a leak",),
                remedies=(
                    Remedy("code", f"in the {role}: close the socket when recv() returns 0, in a finally block"),
                ),
            )


def _resets(cases: Cases) -> Iterator[Finding]:
    """F45 reset-by-peer-rate: who resets."""
    for role in ("client", "server"):
        for group in cases.of(f"reset-by-{role}"):
            where, count = _spell(group.server), group.total
            share = count / max(cases.answered.get(group.server, 0), count)
            if count < 3 and share < 0.5:
                continue
            yield Finding(
                "reset-by-peer-rate",
                Severity.MEDIUM if count >= 20 else Severity.LOW,
                0.7,
                f"the {role} resets: {_times(count, 'connection')} with {where} ended by its RST",
                "A reset loses what was in flight. Usual causes: closing with unread data, SO_LINGER 0, a crash, "
                "or a connection this end no longer knew.",
                scope=where,
                evidence=(f"{share:.0%} of the connections looked at with this server", _numbers(group)),
                counter_evidence=("a time to live of the resets unlike that of the data: then somebody in between",),
                remedies=(Remedy("code", f"in the {role}: read to the end before close(), no SO_LINGER 0"),),
            )


def _forged_resets(cases: Cases) -> Iterator[Finding]:
    for group in cases.of("blind-resets"):
        resets = group.sums["resets"]
        if resets < 3:
            continue
        where = _spell(group.server)
        yield Finding(
            "rst-storm-sent",
            Severity.MEDIUM,
            0.6,
            f"{resets} resets outside the window on connections with {where}",
            "A living end resets with its exact next number. These guess (an attack), or are very late.",
            scope=where,
            evidence=(_numbers(group),),
            counter_evidence=("packets missing in the capture just before each of them",),
            remedies=(Remedy("config", "nothing to do on Linux: it drops them (RFC 5961)"),),
        )


def _loss(cases: Cases) -> Iterator[Finding]:
    """F36 packet-loss: here or beyond."""
    for group in cases.of("loss"):
        repeats, before = group.sums["repeats"], group.sums["before"]
        share = repeats / max(cases.segments.get(group.server, 0), 1)
        if share < LOSS_SHARE or repeats < 5:
            continue
        where = _spell(group.server)
        beyond = repeats - before
        place = "before the capture" if before > beyond else "behind the capture"
        yield Finding(
            "packet-loss",
            _severity_of(share),
            0.8 if max(before, beyond) > 3 * min(before, beyond) else 0.5,
            f"segments are lost {place}: {share:.1%} of all with {where} are sent again",
            "What was captured once and is sent again was lost between here and the receiver (or its ACK was); what "
            "is sent again though it was never captured was lost between the sender and here.",
            scope=where,
            evidence=(f"{beyond} sent again after they had passed here", f"{before} filled a hole", _numbers(group)),
            counter_evidence=("drops of the capture itself: they look like loss before it",),
            remedies=(Remedy("command", "capture on both sides of the suspect and compare"),),
        )  # fmt: skip


def _severity_of(share: float) -> Severity:
    if share < HEAVY_LOSS_SHARE:
        return Severity.LOW
    return Severity.HIGH if share >= 2 * HEAVY_LOSS_SHARE else Severity.MEDIUM


def _black_hole(cases: Cases) -> Iterator[Finding]:
    """F52 pmtu-blackhole."""
    for group in cases.of("pmtu"):
        where, told = _spell(group.server), group.sums["too_big"]
        yield Finding(
            "pmtu-blackhole",
            Severity.HIGH if told else Severity.MEDIUM,
            0.9 if told else 0.5,
            f"large segments do not arrive: {_times(group.total, 'connection')} with {where}",
            "Full-size segments are repeated without end while small ones pass: something on the way drops what is "
            "larger than its MTU" + (" and says so, but the sender does not hear it." if told else "."),
            scope=where,
            evidence=(f"{told} ICMP 'too big'", f"{group.sums['waiting']} octets unacknowledged", _numbers(group)),
            counter_evidence=("a repeated segment smaller than 600 octets: then it is plain loss",),
            remedies=(
                Remedy("config", "net.ipv4.tcp_mtu_probing=1; let ICMP type 3 code 4 and ICMPv6 type 2 pass"),
                Remedy("config", "clamp the MSS: nft ... tcp flags syn tcp option maxseg size set rt mtu"),
            ),
        )


def _vanished(cases: Cases) -> Iterator[Finding]:
    """F35 retransmission-stall: one end is gone."""
    for role, other in (("client", "server"), ("server", "client")):
        for group in cases.of(f"{role}-gone"):
            where, repeats, probes = _spell(group.server), group.sums["repeats"], group.sums["probes"]
            spoken = (f"{repeats} retransmissions", f"{probes} keepalive probes without an answer, then a reset")
            remedy = (
                Remedy("code", f"in the {other}: TCP_USER_TIMEOUT of 10 to 30 s, keepalive on idle links")
                if repeats
                else Remedy(
                    "config", f"nothing to do at the {other}: keepalive found it out; look at the {role}'s host"
                )
            )
            yield Finding(
                "retransmission-stall",
                Severity.MEDIUM,
                0.7,
                f"the {role} vanished: {_times(group.total, 'connection')} with {where} speak into silence",
                f"The {other} sends the same again and again and nothing comes back, no reset either: the {role} lost "
                "power or network, or a firewall forgot the connection.",
                scope=where,
                evidence=(
                    *(said for said, count in zip(spoken, (repeats, probes), strict=True) if count),
                    _numbers(group),
                ),
                counter_evidence=(f"ACKs in a capture taken at the {role}: then they are lost on the way back",),
                remedies=(remedy,),
            )


def _broken_path(cases: Cases) -> Iterator[Finding]:
    """F35 retransmission-stall: both ends are there and neither hears the other."""
    for group in cases.of("both-repeat"):
        where = _spell(group.server)
        yield Finding(
            "retransmission-stall",
            Severity.MEDIUM,
            0.7,
            f"the path is cut on both sides of this capture: {_times(group.total, 'connection')} with {where}",
            "Both ends send the same again and again, and neither acknowledges the other, so both live and what passes "
            "here reaches neither of them.",
            scope=where,
            evidence=(f"{group.sums['repeats']} retransmissions of both", _numbers(group)),
            counter_evidence=("an ACK of either end in this capture after the other's repeats",),
            remedies=(Remedy("command", "capture at both ends and compare with this one"),),
        )


def _zero_windows(cases: Cases) -> Iterator[Finding]:
    """F38 zero-window-peer-slow."""
    for role in ("client", "server"):
        for group in cases.of(f"{role}-zero-window"):
            where, last = _spell(group.server), group.sums["last"]
            yield Finding(
                "zero-window-peer-slow",
                Severity.MEDIUM if last else Severity.LOW,
                0.9,
                f"the {role} does not read: its window closed on {_times(group.total, 'connection')} with {where}",
                f"A zero window means that the {role}'s receive buffer is full: its program reads too slowly or not.",
                scope=where,
                evidence=(f"{group.sums['zeros']} zero windows, {last} connections ended so", _numbers(group)),
                counter_evidence=("a pause that the program wants (back-pressure)",),
                remedies=(Remedy("command", f"at the {role}: tcpscope list, column Recv-Q; what is it doing?"),),
            )  # fmt: skip


def _self_connects(cases: Cases) -> Iterator[Finding]:
    """F25 self-connect."""
    for group in cases.of("self-connect"):
        where = _spell(group.server)
        yield Finding(
            "self-connect",
            Severity.HIGH,
            1.0,
            f"{where} is connected to itself",
            "A client that retries a dead local service in the port range for outgoing connections met its own port.",
            scope=where,
            evidence=(_numbers(group),),
            remedies=(Remedy("config", "net.ipv4.ip_local_reserved_ports, or a service port below 32768"),),
        )


RULES: tuple[Callable[[Cases], Iterator[Finding]], ...] = (
    _flood_or_silence,
    _half_open,
    _refused,
    _rejected,
    _never_closes,
    _resets,
    _forged_resets,
    _loss,
    _black_hole,
    _vanished,
    _broken_path,
    _zero_windows,
    _self_connects,
)


def _spell(end: bytes) -> str:
    address = spell_address(end[:-2])
    port = int.from_bytes(end[-2:])
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _port(group: Group) -> int:
    return int.from_bytes(group.server[-2:])


def _times(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _many(clients: int) -> str:
    return "1000 and more" if clients >= 1000 else str(clients)


def _numbers(group: Group) -> str:
    shown = [str(number + 1) for number in group.examples[:5] if number >= 0]
    more = " ..." if group.total > len(shown) else ""
    noun = "connection" if group.total == 1 else "connections"
    return f"{noun} {', '.join(shown)}{more}" if shown else f"{group.total} {noun}"
