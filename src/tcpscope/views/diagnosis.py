"""Findings on a terminal: the cause first, short lines, the next command at the end. Draws what it is handed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from tcpscope.model.finding import Finding, Severity

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


def render_findings(findings: Sequence[Finding], width: int = 80, colour: bool = False, brief: bool = False) -> str:
    """Draw findings no wider than ``width``; ``brief`` leaves out all but sentence and first evidence."""
    width = max(40, min(width, _WIDEST))
    shown = [finding for finding in findings if finding.severity > Severity.INFO]
    notes = [finding for finding in findings if finding.severity == Severity.INFO]
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
