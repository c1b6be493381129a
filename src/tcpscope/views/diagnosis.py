"""A diagnosis on a terminal (the cause first, short lines, the next command at the end), and as fields of JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence

from tcpscope.doctor import Diagnosis, Look
from tcpscope.doctor.wording import many
from tcpscope.model.finding import Finding, Severity
from tcpscope.views.socket_table import socket_object

_BOLD, _DIM, _PLAIN = "\033[1m", "\033[2m", "\033[0m"
_COLOURS = {
    Severity.CRITICAL: "\033[1;31m",
    Severity.HIGH: "\033[31m",
    Severity.MEDIUM: "\033[33m",
    Severity.LOW: "\033[36m",
    Severity.INFO: "\033[2m",
}
_LABELS = {
    Severity.CRITICAL: "CRIT",
    Severity.HIGH: "HIGH",
    Severity.MEDIUM: "MEDIUM",
    Severity.LOW: "LOW",
    Severity.INFO: "info",
}
_MARGIN = 8
_WIDEST = 120


def render_diagnosis(
    diagnosis: Diagnosis,
    looks: Sequence[Look],
    width: int = 80,
    colour: bool = False,
    brief: bool = False,
    asked: Collection[str] = (),
) -> str:
    """Draw what was looked at, the findings, and what could not be judged. ``looks`` are those that were judged.

    ``asked`` are the findings somebody asked for by name: they are told in full, and of others nothing is said.
    """
    alarms = [finding for finding in diagnosis.findings if finding.severity > Severity.INFO]
    lines = [_opening_line(looks), ""]
    if _has_counters_alone(looks) and not diagnosis.findings:
        lines.append("Nothing could be judged: counters since boot tell nothing until they are read twice.\n")
    elif asked and not diagnosis.findings:
        lines.append(f"Not found: {', '.join(sorted(asked))}. Others were not asked for.\n")
    elif not alarms and not asked:
        lines.append("Nothing wrong was found" + ("; worth knowing:\n" if diagnosis.findings else ".\n"))
    text = render_findings(diagnosis.findings, width, colour, brief, least=Severity.INFO if asked else Severity.LOW)
    return "\n".join(lines) + "\n" + text + "".join(f"{line}\n" for line in _closing_lines(diagnosis, looks, width))


def diagnosis_object(diagnosis: Diagnosis, looks: Sequence[Look]) -> dict[str, object]:
    """Return the fields ``findings`` and ``coverage`` of the public contract."""
    findings = []
    for finding in diagnosis.findings:
        row = finding._asdict()
        row["severity"] = finding.severity.name.lower()
        row["remedies"] = [remedy._asdict() for remedy in finding.remedies]
        row["sockets"] = [socket_object(socket) for socket in finding.sockets]
        findings.append(row)
    return {"findings": findings, "coverage": _coverage_object(diagnosis, looks)}


def _coverage_object(diagnosis: Diagnosis, looks: Sequence[Look]) -> dict[str, object]:
    snapshot = looks[0].snapshot
    coverage = snapshot.coverage
    return {
        "source": coverage.source,
        "listing": coverage.listing,
        "owners": coverage.owners,
        "sockets": sum(look.total for look in looks),
        "sockets_without_owner": sum(look.snapshot.coverage.sockets_without_owner for look in looks),
        "namespaces": len(looks) if coverage.source == "live" else 0,
        "looks": 1 if looks[0].previous is None else 2,
        "interval_ms": round(looks[0].elapsed_s * 1000),
        "host": snapshot.host._asdict(),
        "not_judged": [{"id": id, "reason": reason} for id, reason in diagnosis.not_judged],
        "thresholds_changed": looks[0].thresholds.changed,
        "notes": _notes(looks),
    }


def _notes(looks: Sequence[Look]) -> list[str]:
    return list(dict.fromkeys(note for look in looks for note in look.snapshot.coverage.notes))


def _opening_line(looks: Sequence[Look]) -> str:
    look = looks[0]
    host = look.snapshot.host
    parts = [host.name or "dump", host.kernel, many(sum(one.total for one in looks), "TCP socket")]
    if len(looks) > 1:
        parts.append(many(len(looks), "namespace" if look.snapshot.coverage.source == "live" else "host"))
    apart = f" {look.elapsed_s:.1f} s apart" if look.elapsed_s else ", how far apart is not known"
    parts.append(f"two looks{apart}" if look.previous else "a single look")
    return " · ".join(part for part in parts if part)


def _closing_lines(diagnosis: Diagnosis, looks: Sequence[Look], width: int) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for id, reason in diagnosis.not_judged:
        reasons.setdefault(reason, []).append(id)
    for reason, ids in reasons.items():
        shown = ", ".join(ids[:4]) + (f" and {len(ids) - 4} more" if len(ids) > 4 else "")
        yield from _hang(f"not judged: {shown}: {reason}", width)
    for note in _notes(looks):
        yield from _hang(f"note: {note}", width)
    if _has_counters_alone(looks):
        yield from _hang("a second 'netstat -s' a minute later tells rates: tcpscope doctor FIRST SECOND", width)
    elif looks[0].snapshot.coverage.source == "dump" and looks[0].previous is None:
        yield from _hang(
            "a second dump a minute later settles ages and growth: sudo ss -tanpioem > second.txt "
            "(with ages, timers and backlogs), then tcpscope doctor FIRST SECOND",
            width,
        )
    first = next((finding.id for finding in diagnosis.findings if finding.severity > Severity.INFO), "")
    if first:
        yield f"more: tcpscope explain {first} · tcpscope doctor --thresholds · tcpscope tune"


def _has_counters_alone(looks: Sequence[Look]) -> bool:
    coverage = looks[0].snapshot.coverage
    return coverage.source == "dump" and not coverage.listing and looks[0].previous is None


def _hang(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)


def render_findings(
    findings: Sequence[Finding],
    width: int = 80,
    colour: bool = False,
    brief: bool = False,
    least: Severity = Severity.LOW,
) -> str:
    """Draw findings no wider than ``width``: below ``least`` the sentence alone.

    ``brief`` leaves out all but sentence and first evidence.
    """
    width = max(40, min(width, _WIDEST))
    shown = [finding for finding in findings if finding.severity >= least]
    notes = [finding for finding in findings if finding.severity < least]
    blocks = ["\n".join(_finding_lines(finding, width, colour, brief)) for finding in shown]
    if notes:
        blocks.append("\n".join(line for finding in notes for line in _note_lines(finding, width, colour)))
    return "".join(block + "\n\n" for block in blocks)


def _finding_lines(finding: Finding, width: int, colour: bool, brief: bool) -> Iterator[str]:
    yield from _headline(finding, width, colour)
    if finding.explained_by:
        yield from _wrap(f"because of {finding.explained_by} above", width)
    elif not brief:
        yield from _wrap(finding.explanation, width)
    yield from _part("where", [finding.place] if finding.place else (), width, colour)
    yield from _part("evidence", finding.evidence[:1] if brief else finding.evidence, width, colour)
    if brief:
        return
    yield from _part("against", finding.counter_evidence, width, colour)
    if not finding.explained_by:
        yield from _part("do", [f"{remedy.kind}: {remedy.text}" for remedy in finding.remedies], width, colour)
        yield from _part("not", finding.avoid, width, colour)


def _headline(finding: Finding, width: int, colour: bool) -> Iterator[str]:
    label = f"{_LABELS[finding.severity]:<{_MARGIN}}"
    tail = f"{finding.id}  {finding.confidence:.0%}"
    lines = textwrap.wrap(finding.title, width - _MARGIN, break_on_hyphens=False) or [""]
    paint = _COLOURS[finding.severity] if colour else ""
    plain = _PLAIN if colour else ""
    bold = _BOLD if colour else ""
    if _MARGIN + len(lines[-1]) + 2 + len(tail) <= width:
        lines[-1] = f"{lines[-1]}{plain}{' ' * (width - _MARGIN - len(lines[-1]) - len(tail))}{tail}"
    else:
        lines.append(f"{plain}{tail:>{width - _MARGIN}}")
    yield f"{paint}{label}{plain}{bold}{lines[0]}{plain}"
    for line in lines[1:]:
        yield f"{' ' * _MARGIN}{bold}{line}{plain}"


def _note_lines(finding: Finding, width: int, colour: bool) -> list[str]:
    text = f"{finding.title} ({finding.id}{', ' if finding.place else ''}{finding.place})"
    lines = _wrap(text, width)
    lines[0] = f"{_LABELS[Severity.INFO]:<{_MARGIN}}{lines[0][_MARGIN:]}"
    return [f"{_DIM}{line}{_PLAIN}" for line in lines] if colour else lines


def _part(name: str, items: Sequence[str], width: int, colour: bool) -> Iterator[str]:
    column = 10
    for number, item in enumerate(items):
        head = name if number == 0 else ""
        label = f"{' ' * _MARGIN}{_DIM if colour else ''}{head:<{column}}{_PLAIN if colour else ''}"
        lines = textwrap.wrap(item, width - _MARGIN - column, break_on_hyphens=False, break_long_words=False) or [""]
        yield label + lines[0]
        for line in lines[1:]:
            yield " " * (_MARGIN + column) + line


def _wrap(text: str, width: int) -> list[str]:
    margin = " " * _MARGIN
    return textwrap.wrap(text, width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False) or [
        margin
    ]
