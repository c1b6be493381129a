"""The doctor: pure functions from what was seen to what is wrong, why we think so, and what to do.

:func:`diagnose` looks at one snapshot (and one a moment before); :func:`examine` says besides what could not be judged.
A rule is a function of a :class:`~tcpscope.doctor.look.Look` that yields findings; the modules hold one family each:

``close_wait close_side ports accepting handshaking opening idle sending small_writes counters capacity descriptors exposure
settings``

All numbers they judge by are in :mod:`~tcpscope.doctor.thresholds`, all ids in :mod:`~tcpscope.doctor.catalogue`, which
finding explains which in :mod:`~tcpscope.doctor.causes`. The room reads nothing, waits for nothing and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from tcpscope.doctor import (
    accepting,
    capacity,
    close_side,
    close_wait,
    counters,
    descriptors,
    exposure,
    handshaking,
    idle,
    opening,
    ports,
    sending,
    settings,
    small_writes,
)
from tcpscope.doctor.catalogue import CATALOGUE, Entry, entry_of
from tcpscope.doctor.causes import arrange
from tcpscope.doctor.look import Look
from tcpscope.doctor.thresholds import TABLE, Threshold, Thresholds
from tcpscope.doctor.trends import trends
from tcpscope.model.finding import Finding
from tcpscope.model.history import History
from tcpscope.model.record import NamedTuple
from tcpscope.model.snapshot import Snapshot
from tcpscope.model.verb import make_verb

__all__ = [
    "CATALOGUE",
    "TABLE",
    "Diagnosis",
    "Entry",
    "Look",
    "Threshold",
    "Thresholds",
    "diagnose",
    "entry_of",
    "examine",
    "trends",
]

Rule = Callable[[Look], Iterator[Finding]]
RULES: tuple[Rule, ...] = (
    *close_wait.RULES,
    *close_side.RULES,
    *accepting.RULES,
    *handshaking.RULES,
    *opening.RULES,
    *ports.RULES,
    *idle.RULES,
    *sending.RULES,
    *small_writes.RULES,
    *counters.RULES,
    *capacity.RULES,
    *descriptors.RULES,
    *exposure.RULES,
    *settings.RULES,
)


class Diagnosis(NamedTuple):
    """The findings, and for each finding of the catalogue that could not be judged the reason."""

    findings: tuple[Finding, ...]
    not_judged: tuple[tuple[str, str], ...] = ()


def diagnose(
    snapshot: Snapshot,
    previous: Snapshot | None = None,
    *,
    history: History | None = None,
    thresholds: Thresholds | None = None,
    others: Sequence[Snapshot] = (),
    wanted_ports: Collection[int] = (),
) -> list[Finding]:
    """Return what is wrong in ``snapshot``: the cause first, each symptom once.

    ``previous`` is the same place a moment before (rates come from the difference, never from totals since boot);
    ``others`` are snapshots of other namespaces or of the other host, so that both ends of a connection can be named;
    ``wanted_ports`` are ports a server here wants to bind. Never raises for missing or senseless data.
    """
    look = Look(snapshot, previous, history=history, thresholds=thresholds, others=others, wanted_ports=wanted_ports)
    return arrange(judge(look))


def examine(looks: Sequence[Look]) -> Diagnosis:
    """Judge several namespaces (or hosts) together, and say what could not be judged in any of them.

    Where there are several, each finding names its place (``Look.place``).
    """
    findings = [finding._replace(place=look.place) for look in looks for finding in judge(look)]
    return Diagnosis(tuple(arrange(findings)), tuple(unjudged(looks)))


def judge(look: Look) -> Iterator[Finding]:
    """Run every rule; the findings come in the order of the rules."""
    for rule in RULES:
        yield from rule(look)


def unjudged(looks: Sequence[Look]) -> Iterator[tuple[str, str]]:
    """Yield (finding id, reason) for what none of the looks could judge."""
    missing = [missing_inputs(look) for look in looks]
    for entry in CATALOGUE.values():
        reasons = [next((lacks[need] for need in entry.needs if need in lacks), "") for lacks in missing]
        if reasons and all(reasons):
            yield entry.id, reasons[0]


def missing_inputs(look: Look) -> dict[str, str]:
    """Return which inputs of the catalogue's ``needs`` a look lacks, each with a reason."""
    snapshot = look.snapshot
    tcp = [socket for bucket in look.states.values() for socket in bucket[:50]]
    # Why: where no socket has an owner there is no process to look at.
    is_owned = snapshot.coverage.owners in ("", "none") or any(socket.inode or socket.owners for socket in tcp)
    # Why: mini-sockets and requests have no tcp_info to see.
    whole = [socket for socket in tcp if socket.kind == "full"]
    tests = {
        "two-looks": (look.previous is None or look.elapsed_s <= 0, _why_no_rates(look)),
        "counters": (not snapshot.counters, "the kernel's counters were not seen"),
        "tcp_info": (bool(whole) and not any(socket.tcp_info for socket in whole), "tcp_info was not seen"),
        "timers": (
            snapshot.coverage.source != "live" and not any(one.timer for one in tcp),
            "the source shows no timers",
        ),
        "backlog": (bool(look.listeners) and not look.has_backlogs, "the source shows no backlogs (sock_diag does)"),
        "owners": (snapshot.coverage.owners == "none", "owners were not seen (root sees all)"),
        "processes": (not snapshot.processes and is_owned, "processes were not seen"),
        "sysctls": (not snapshot.sysctls, "the kernel's settings were not seen"),
        "limits": (not snapshot.limits, "the kernel's limits were not seen"),
        "history": (look.history.looks == 0, "needs earlier looks (none are remembered since boot)"),
        "firewall": (snapshot.packet_filter is None, "the packet filter was not looked at"),
    }
    return {need: reason for need, (is_missing, reason) in tests.items() if is_missing}


def _why_no_rates(look: Look) -> str:
    if look.previous is None:
        return "needs two looks (this was a single one)"
    return "needs two looks with a known time between them"


make_verb(__name__)
