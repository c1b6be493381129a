"""Scenes as text: what a person reads while a scene plays and when it is over, and the JSON of its outcome."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from tcpscope.lab.scene import KINDS, Outcome, Scene
from tcpscope.lab.shown import Checkpoint, Diagnosis, End, owner_of
from tcpscope.lab.stage import Moment
from tcpscope.model.socket import Socket

WIDTH = 100


def list_scenes(scenes: Sequence[Scene]) -> Iterator[str]:
    """Yield the register: kind by kind, one line for each scene."""
    width = max(len(scene.name) for scene in scenes)
    for kind, meaning in KINDS.items():
        group = [scene for scene in scenes if scene.kind == kind]
        if group:
            yield f"{kind}: {meaning}"
            yield from (f"  {scene.name:<{width}}  {scene.title}" for scene in group)
            yield ""
    yield "tcpscope lab run NAME... (a kind stands for all of it) · lab run NAME --explain tells the story"


def open_story(scene: Scene, width: int = WIDTH) -> Iterator[str]:
    """Yield the head of an explained scene."""
    yield f"{scene.name}: {scene.title}"
    yield ""
    yield from textwrap.wrap(scene.story, width - 4, initial_indent="    ", subsequent_indent="    ")
    yield ""


def tell_moment(moment: Moment, width: int = WIDTH) -> Iterator[str]:
    """Yield the lines of one moment of an explained scene."""
    if moment.diagnosis is not None:
        yield from draw_diagnosis(moment.diagnosis, width)
        yield ""
        return
    if moment.checkpoint is None:
        mark = "= " if moment.kind == "fact" else "> "
        yield from textwrap.wrap(moment.text, width - 4, initial_indent=mark, subsequent_indent="  ")
        return
    yield from draw_checkpoint(moment.checkpoint)
    yield ""


def draw_checkpoint(checkpoint: Checkpoint) -> Iterator[str]:
    """Yield both ends as ``list`` shows them, and whether that is what was expected."""
    rows = [(end.host, *row) for end in checkpoint.ends for row in _rows(end.sockets)]
    heads = ("host", "Recv-Q", "Send-Q", "Local Address", "Foreign Address", "State", "PID/Program", "Timer")
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    yield f"  {checkpoint.text}"
    for row in (heads, *rows):
        cells = [
            cell.rjust(width) if column in (1, 2) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"    {'  '.join(cells).rstrip()}"
    yield from (f"  {line}" for end in checkpoint.ends for line in _verdict(end))


def draw_diagnosis(diagnosis: Diagnosis, width: int = WIDTH) -> Iterator[str]:
    """Yield what the doctor said of a host, the worst first, with its evidence; and whether that was expected."""
    yield f"  the doctor on {diagnosis.host}:"
    if not diagnosis.findings:
        yield "    nothing to report"
    for finding in sorted(diagnosis.findings, key=lambda one: -one.severity):
        because = f" (because of {finding.explained_by})" if finding.explained_by else ""
        head = f"{finding.severity.name:<8} {finding.id}: {finding.title}{because}"
        yield from textwrap.wrap(head, width - 4, initial_indent="    ", subsequent_indent="             ")
        for line in finding.evidence:
            yield from textwrap.wrap(
                line, width - 4, initial_indent="             - ", subsequent_indent="               "
            )
    if not diagnosis.ok:
        yield f"  NOT AS EXPECTED: {_judge(diagnosis)}"


def sum_up(outcome: Outcome) -> Iterator[str]:
    """Yield the last lines of a scene: the verdict, and everything that was not as expected."""
    if outcome.skipped:
        yield f"skipped: {outcome.scene.name}: {outcome.skipped}"
        return
    mark = "ok" if outcome.ok else "NOT AS EXPECTED"
    yield f"{mark}: {outcome.scene.name}: {outcome.scene.title} ({outcome.elapsed_s:.1f} s)"
    for checkpoint in outcome.checkpoints:
        if not checkpoint.ok:
            yield from draw_checkpoint(checkpoint)
    for diagnosis in outcome.diagnoses:
        if not diagnosis.ok:
            yield f"  doctor on {diagnosis.host}: {_judge(diagnosis)}"
    for fact in outcome.facts:
        if not fact.ok:
            yield f"  {fact.text}: expected {fact.expected}, shown {fact.shown}"
    if outcome.error:
        yield f"  the scene broke off: {outcome.error}"


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return the JSON object of one outcome (``tcpscope.lab/1``)."""
    return {
        "name": outcome.scene.name,
        "kind": outcome.scene.kind,
        "title": outcome.scene.title,
        "state": outcome.scene.state.name if outcome.scene.state else None,
        "ok": None if outcome.skipped else outcome.ok,
        "skipped": outcome.skipped or None,
        "expected": [_ends(checkpoint, "expected") for checkpoint in outcome.checkpoints],
        "shown": [_ends(checkpoint, "shown") for checkpoint in outcome.checkpoints],
        "ss": sorted({end.ss for checkpoint in outcome.checkpoints for end in checkpoint.ends}),
        "facts": [{**fact._asdict(), "ok": fact.ok} for fact in outcome.facts],
        "findings": [
            {
                "host": diagnosis.host,
                "ids": [finding.id for finding in diagnosis.findings],
                "expected": list(diagnosis.wanted),
                "unexpected": list(diagnosis.surprises),
                "ok": diagnosis.ok,
            }
            for diagnosis in outcome.diagnoses
        ],
        "transitions": [
            {
                "t_ns": one.when_ns,
                "local": str(one.flow.local),
                "remote": str(one.flow.remote),
                "before": one.before.name,
                "after": one.after.name,
                "event": one.event.name if one.event is not None else None,
                "source": one.source,
                "legal": one.legal,
                "deviation": one.deviation or None,
            }
            for one in outcome.transitions
        ],
        "error": outcome.error or None,
        "elapsed_s": round(outcome.elapsed_s, 3),
    }


_ALIKE = 3


def _rows(sockets: Sequence[Socket]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a host; of many alike the first, and how many more there are."""
    groups: dict[object, list[Socket]] = {}
    for socket in sockets:
        groups.setdefault((socket.state, socket.recv_q, socket.send_q, owner_of(socket)), []).append(socket)
    for alike in groups.values():
        shown = alike if len(alike) <= _ALIKE else alike[: _ALIKE - 1]
        yield from map(_row, shown)
        if len(alike) > len(shown):
            first = _row(alike[0])
            yield (first[0], first[1], "", f"({len(alike) - len(shown)} more like it)", *first[4:6], "")


def _row(socket: Socket) -> tuple[str, ...]:
    owners = ",".join(f"{owner.pid}/{owner.name}" for owner in socket.owners) or "-"
    timer = f"{socket.timer.kind} {socket.timer.expires_ms / 1000:.1f} s" if socket.timer else ""
    return (
        str(socket.recv_q),
        str(socket.send_q),
        str(socket.local),
        str(socket.remote),
        socket.state.spell("netstat"),
        owners,
        timer,
    )


def _verdict(end: End) -> Iterator[str]:
    if end.ok and end.ss in ("agrees", "absent"):
        return
    if not end.ok:
        yield f"NOT AS EXPECTED on {end.host}: expected {', '.join(end.expected) or 'nothing'}"
        yield f"  shown: {', '.join(end.shown) or 'nothing'}"
    if end.ss not in ("agrees", "absent"):
        yield f"ss DISAGREES on {end.host}: {end.ss}"


def _judge(diagnosis: Diagnosis) -> str:
    found = {finding.id for finding in diagnosis.findings}
    parts = [f"missed {name}" for name in diagnosis.wanted if name not in found]
    parts += [f"must not say {name}" for name in diagnosis.unwanted if name in found]
    parts += [f"unexplained {name}" for name in diagnosis.surprises]
    return ", ".join(parts)


def _ends(checkpoint: Checkpoint, what: str) -> dict[str, Any]:
    return {"at": checkpoint.text, **{end.host: list(getattr(end, what)) for end in checkpoint.ends}}
