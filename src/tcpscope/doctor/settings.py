"""Kernel settings that hurt, and what the doctor itself could not see (F66, F67)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tcpscope.doctor.case import Case
from tcpscope.doctor.hints import change
from tcpscope.doctor.look import Look
from tcpscope.doctor.wording import many, percent
from tcpscope.model.finding import Finding, Remedy, Severity
from tcpscope.model.record import NamedTuple


class Lint(NamedTuple):
    """One setting: ``is_bad`` judges its numbers, ``better`` is what to set, ``says`` the sentence after its value."""

    name: str
    is_bad: Callable[[tuple[int, ...]], bool]
    severity: Severity
    better: str
    says: str
    why: str


def _is(value: int) -> Callable[[tuple[int, ...]], bool]:
    return lambda numbers: numbers[0] == value


def _below(value: int) -> Callable[[tuple[int, ...]], bool]:
    return lambda numbers: 0 <= numbers[0] < value


def _few_ports(numbers: tuple[int, ...]) -> bool:
    return len(numbers) == 2 and numbers[1] - numbers[0] + 1 < 10000


_IP = "net.ipv4."
# fmt: off
LINTS: tuple[Lint, ...] = (
    Lint(_IP + "tcp_syncookies", _is(0), Severity.HIGH, "1", "a full SYN queue drops real clients", "measured under a flood: a real client needs 7.1 s without cookies, 0.000 s with them"),
    Lint(_IP + "tcp_syncookies", _is(2), Severity.LOW, "1", "every handshake uses a cookie, also without need", "2 is for tests; options are kept only in timestamps"),
    Lint(_IP + "tcp_timestamps", _is(0), Severity.MEDIUM, "1", "tcp_tw_reuse, PAWS and the options in SYN cookies need timestamps", "without them a cookie connection has neither SACK nor window scaling (measured)"),
    Lint(_IP + "tcp_window_scaling", _is(0), Severity.MEDIUM, "1", "no connection gets more than 64 KiB in flight", "RFC 7323"),
    Lint(_IP + "tcp_sack", _is(0), Severity.MEDIUM, "1", "each loss costs a round trip per segment", "RFC 2018"),
    Lint(_IP + "tcp_tw_reuse", _is(1), Severity.INFO, "2", "outgoing connections may take ports in TIME_WAIT after a second", "safe for clients with timestamps; 2 (loopback only) is the default"),
    Lint(_IP + "tcp_tw_recycle", _is(1), Severity.CRITICAL, "0", "clients behind one NAT address lose their connections", "removed in Linux 4.12 for that reason"),
    Lint(_IP + "tcp_tw_recycle", _is(0), Severity.INFO, "0", "this kernel is older than 4.12", "never switch it on"),
    Lint(_IP + "tcp_abort_on_overflow", _is(1), Severity.LOW, "0", "short bursts become connection resets", "it does nothing for dropped SYNs (measured); enlarge the backlog instead"),
    Lint(_IP + "tcp_max_orphans", _below(4096), Severity.LOW, "65536", "closing connections are reset early", "the limit protects memory; lowering it breaks closing"),
    Lint(_IP + "tcp_max_tw_buckets", _below(4096), Severity.LOW, "131072", "closes end with RST once it is full", "measured: 12 closes with room for 5 gave 7 RSTs"),
    Lint(_IP + "tcp_fin_timeout", _below(10), Severity.LOW, "60", "slow peers get RST instead of a close", "it shortens orphan FIN_WAIT_2 alone and never TIME_WAIT"),
    Lint(_IP + "tcp_retries2", _below(5), Severity.LOW, "15", "connections die after a few seconds of loss", "measured: 3 gives up after 6.9 s; RFC 9293 asks for 100 s or more"),
    Lint(_IP + "tcp_orphan_retries", _is(1), Severity.LOW, "0", "closing connections give up after 1.9 s", "measured; 3 (7.2 s) is low enough"),
    Lint(_IP + "ip_local_port_range", _few_ports, Severity.LOW, "32768 60999", "few outgoing ports per destination", "each destination can have ports/60 new connections per second"),
    Lint(_IP + "conf.all.route_localnet", _is(1), Severity.LOW, "0", "127.0.0.1 can be reached from outside through DNAT", "services on loopback are not private then"),
    Lint("net.core.somaxconn", _below(129), Severity.LOW, "4096", "no listener can have a larger backlog", "128 was the default before Linux 5.4"),
)
# fmt: on


def is_harmful(name: str, value: str) -> bool:
    """Whether a value of a setting is one of those the table warns of."""
    words = value.split()
    numbers = tuple(map(int, words)) if all(word.isdecimal() for word in words) else ()
    return bool(numbers) and any(
        row.name == name and row.severity > Severity.INFO and row.is_bad(numbers) for row in LINTS
    )


def lint(look: Look) -> Iterator[Finding]:
    """F66 sysctl-lint: one finding for each setting."""
    for row in LINTS:
        numbers = look.settings(row.name)
        if numbers and row.is_bad(numbers):
            yield _linted(look, row, " ".join(map(str, numbers)))


def _linted(look: Look, row: Lint, now: str) -> Finding:
    case = Case("sysctl-lint", row.name)
    case.witness(0.9, f"{row.name} = {now}")
    remedies: tuple[Remedy, ...] = (change(look, row.name, row.better),)
    return case.close(row.severity, f"{row.name} = {now}: {row.says}", f"{row.why[0].upper()}{row.why[1:]}.", remedies)


def visibility(look: Look) -> Iterator[Finding]:
    """F67 tool-visibility."""
    coverage = look.snapshot.coverage
    if coverage.source != "live" or not look.total:
        return
    hidden = coverage.sockets_without_owner
    if not hidden and coverage.owners != "none":
        return
    case = Case("tool-visibility", "this look")
    seen = 1 - min(1.0, hidden / look.total)
    case.witness(
        0.9,
        f"a process is known of {percent(seen)} of {many(look.total, 'TCP socket')}; sockets by {coverage.listing or 'unknown'}, owners by {coverage.owners or 'unknown'}",
    )
    for note in coverage.notes:
        case.witness(0.1, note)
    yield case.close(
        Severity.INFO,
        f"{many(hidden, 'socket')} {'has' if hidden == 1 else 'have'} no owner that could be seen"
        if hidden
        else "No owner could be looked up",
        "Findings that need the process, its descriptors or its memory are incomplete. Absence is not health here.",
        (Remedy("command", "sudo tcpscope doctor"),),
    )


RULES = (lint, visibility)
