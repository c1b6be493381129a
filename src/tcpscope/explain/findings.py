"""A finding of the doctor as a topic: what it means, in which states it shows, what it needs to be judged.

The catalogue lives in the doctor's room, which this one does not know: its entries are handed in as :class:`Illness`.
"""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section
from tcpscope.explain.claim_table import CLAIMS
from tcpscope.explain.clocks import CLOCKS
from tcpscope.explain.portraits import PORTRAITS
from tcpscope.explain.sysctls import SETTINGS
from tcpscope.machine.lifecycle import LIFE_ORDER
from tcpscope.model.record import NamedTuple

_NEEDS = {
    "two-looks": "two looks, for rates",
    "tcp_info": "tcp_info of the sockets",
    "counters": "the kernel's counters",
    "timers": "the timers of the sockets",
    "backlog": "the backlog of listeners (sock_diag tells it, netstat does not)",
    "owners": "the owners of the sockets (root, for other people's)",
    "processes": "the processes and their descriptors",
    "sysctls": "the kernel's settings",
    "limits": "the kernel's limits",
    "history": "earlier looks",
    "firewall": "the firewall's rules",
}


#: What the kernel writes to its log (dmesg, journalctl -k) -> the finding about it.
_KERNEL_LINES = (
    ("possible syn flooding on port", "syn-flood"),
    ("table full, dropping packet", "conntrack-table-full"),
    ("out of memory -- consider tuning tcp_mem", "tcp-memory-pressure"),
    ("time wait bucket table overflow", "tw-bucket-overflow"),
    ("too many orphaned sockets", "too-many-orphans"),
)

_RUNTIMES = {
    "": "C, and any other",
    "apache": "Apache",
    "beam": "Erlang, Elixir",
    "cpython": "Python",
    "dotnet": ".NET",
    "go": "Go",
    "haproxy": "HAProxy",
    "jvm": "Java",
    "mysql": "MySQL",
    "nginx": "nginx",
    "node": "Node.js",
    "openssh": "OpenSSH",
    "php": "PHP",
    "postgresql": "PostgreSQL",
    "redis": "Redis",
    "ruby": "Ruby",
}


def finding_in_kernel_line(text: str) -> str:
    """Return the id of the finding that a line of the kernel's log speaks of; empty when it is none of them."""
    said = " ".join(text.lower().split())
    return next((id for words, id in _KERNEL_LINES if words in said), "")


class Illness(NamedTuple):
    """One entry of the doctor's catalogue, in words.

    ``thresholds`` are ``(name, value, reason)``, ``lines`` ``(runtime, what to write)``; ``scenes`` and ``traps`` are
    ``(name, title)`` of the lab's: the illness itself, and what looks like it and is none.
    """

    id: str
    title: str
    meaning: str
    needs: tuple[str, ...] = ()
    is_verified: bool = False
    thresholds: tuple[tuple[str, str, str], ...] = ()
    lines: tuple[tuple[str, str], ...] = ()
    scenes: tuple[tuple[str, str], ...] = ()
    traps: tuple[tuple[str, str], ...] = ()


def explain_finding(illness: Illness) -> Answer:
    """Explain one finding; where it shows is gathered from the states, timers, settings and claims that name it."""
    sections = (
        *_where(illness.id),
        *_thresholds(illness),
        *_lines(illness),
        *_needs(illness),
        Section("See it here and now", commands=(f"tcpscope doctor --only {illness.id}",)),
        *_scenes("Make it", illness.scenes),
        *_scenes("What looks like it and is none", illness.traps),
    )
    facts: dict[str, object] = {
        "finding": illness.id,
        "meaning": illness.meaning,
        "needs": list(illness.needs),
        "verified": illness.is_verified,
        "thresholds": [{"name": name, "value": value, "reason": reason} for name, value, reason in illness.thresholds],
        "remedies": [{"kind": "code", "runtime": runtime, "text": text} for runtime, text in illness.lines],
        "scenes": [name for name, _ in illness.scenes],
        "traps": [name for name, _ in illness.traps],
    }
    meaning = f"{illness.title}. {illness.meaning[:1].upper()}{illness.meaning[1:]}."
    return Answer("finding", illness.id, f"Finding {illness.id}", meaning, sections, _see_also(illness.id), facts)


def _lines(illness: Illness) -> tuple[Section, ...]:
    rows = tuple((_RUNTIMES.get(runtime, runtime), text) for runtime, text in illness.lines)
    return (Section("What to change in the program", grid=Grid(("in", "write or look at"), rows)),) if rows else ()


def _scenes(heading: str, scenes: tuple[tuple[str, str], ...]) -> tuple[Section, ...]:
    if not scenes:
        return ()
    items = tuple(f"{name}: {title}" for name, title in scenes)
    return (Section(heading, items=items, commands=tuple(f"tcpscope lab run {name} --explain" for name, _ in scenes)),)


def _where(name: str) -> tuple[Section, ...]:
    rows = tuple(
        (state.name, pile.when, pile.meaning)
        for state in LIFE_ORDER
        for pile in PORTRAITS[state].piles
        if name in pile.findings
    )
    return (Section("Where it shows", grid=Grid(("state", "when", "meaning"), rows)),) if rows else ()


def _thresholds(illness: Illness) -> tuple[Section, ...]:
    if not illness.thresholds:
        return ()
    hint = f"tcpscope doctor --threshold {illness.thresholds[0][0]}=..."
    return (Section("From when on", grid=Grid(("threshold", "value", "why"), illness.thresholds), commands=(hint,)),)


def _needs(illness: Illness) -> tuple[Section, ...]:
    checked = (
        "The illness was made for real on Linux 6.18 and found."
        if illness.is_verified
        else "Checked on constructed snapshots, not yet on a real illness."
    )
    items = tuple(_NEEDS.get(need, need) for need in illness.needs)
    head = "To judge it the doctor needs:" if items else "The list of sockets is enough to judge it."
    return (Section("What it needs", (checked, head), items),)


def _see_also(name: str) -> tuple[str, ...]:
    states = [state.name for state in LIFE_ORDER if any(name in pile.findings for pile in PORTRAITS[state].piles)]
    clocks = [f"timer {clock.key}" for clock in CLOCKS if name in clock.see_also]
    settings = [setting.name for setting in SETTINGS if name in setting.see_also]
    claims = [f"claim {claim.id}" for claim in CLAIMS if name in claim.see_also]
    return (*states, *clocks, *settings, *claims)


def explain_findings(catalogue: tuple[tuple[str, str], ...]) -> Answer:
    """List the findings of a catalogue of ``(id, title)``."""
    section = Section("Findings", grid=Grid(("finding", "what is wrong"), catalogue))
    facts = {"findings": [name for name, _ in catalogue]}
    return Answer(
        "findings", "findings", "Findings", f"{len(catalogue)} illnesses the doctor looks for.", (section,), (), facts
    )
