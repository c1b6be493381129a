"""Which reader of the life cycle has shown which row, for real: the one report over all of them.

* ``linux``: a real kernel socket was brought into the state, the event was caused, and state and answer were those of
  the row (the scenes ``rows-of-...``); or Linux does something else, or cannot be brought to it, with the reason.
* ``trace``: the kernel's own tracepoints reported the move while those scenes ran.
* ``capture``: the tracker derived the move from the packets of those scenes.
* ``endpoint``: the project's own endpoint went through the same walk, in virtual time.
* ``teacher``: ``explain`` has the row.

A row that keeps its state leaves no transition, so ``trace`` and ``capture`` can only show rows that change it. A guard
is not visible from outside: a move is counted for the usual row between the two states on that event.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tcpscope.capture.pcap import PcapWriter
from tcpscope.explain.moves import explain_row
from tcpscope.kernel.raw_packets import SeenFrame
from tcpscope.lab.play import play_scene
from tcpscope.lab.scene import Outcome, load_scenes
from tcpscope.lab.stage import Stage
from tcpscope.lab.walk.walk import ELSEWHERE, NOT_ON_ENDPOINT, NOT_ON_LINUX, OTHERWISE, walk_endpoint
from tcpscope.machine.lifecycle import ROWS, Row, rows_between
from tcpscope.model.transition import Transition
from tcpscope.packets.analysis import analyse
from tcpscope.wire.link import ETHERNET

READERS = ("endpoint", "linux", "trace", "capture", "teacher")


class RowCoverage(NamedTuple):
    """One row and who has shown it.

    ``linux``: ``shown``, ``otherwise`` (verified to differ), ``impossible``, ``elsewhere`` (not played now) or
    ``missed`` (expected and not seen). ``reason`` says why where it is not ``shown``; ``endpoint_reason`` likewise.
    """

    row: Row
    endpoint: bool
    linux: str
    trace: bool
    capture: bool
    teacher: bool
    reason: str
    endpoint_reason: str


class Evidence(NamedTuple):
    """What one run of the scenes brought to light: row ids by reader, and what failed."""

    linux: frozenset[str]
    trace: frozenset[str]
    capture: frozenset[str]
    missed: dict[str, str]


def gather_evidence(*, slow: bool = False, progress: Callable[[str], None] = lambda name: None) -> Evidence:
    """Play the scenes that walk the table (with ``slow`` also the one that takes a minute) and collect what they show.

    Raises ``NotPermitted`` without root.
    """
    linux: set[str] = set()
    missed: dict[str, str] = {}
    moves: list[Transition] = []
    frames: list[SeenFrame] = []

    def keep(stage: Stage) -> None:
        if stage.recorder is not None:
            stage.recorder.read()
            frames.extend(stage.recorder.all_frames)

    for scene in load_scenes().values():
        if scene.name.startswith("rows-of-") or (slow and scene.name in ELSEWHERE.values()):
            progress(scene.name)
            outcome = play_scene(scene, hold=keep)
            moves += outcome.transitions
            _sort_facts(outcome, linux, missed)
    return Evidence(frozenset(linux), rows_moved(moves), rows_moved(_track(frames)), missed)


def _sort_facts(outcome: Outcome, linux: set[str], missed: dict[str, str]) -> None:
    names = {row.id for row in ROWS}
    for fact in outcome.facts:
        if fact.text in names and fact.ok:
            linux.add(fact.text)
        elif fact.text in names:
            missed[fact.text] = f"expected {fact.expected}, shown {fact.shown}"


def rows_moved(moves: Iterable[Transition]) -> frozenset[str]:
    """Return the ids of the rows that transitions stand for: same states, same event."""
    found = set()
    for move in moves:
        rows = [row for row in rows_between(move.before, move.after) if row.event == move.event]
        if rows and move.certainty in ("seen", "inferred"):
            found.add(rows[0].id)
    return frozenset(found)


def _track(frames: Iterable[SeenFrame]) -> list[Transition]:
    """Let the tracker follow recorded frames, through a capture file as it always does."""
    descriptor, path = tempfile.mkstemp(suffix=".pcap")
    try:
        with os.fdopen(descriptor, "wb") as file:
            writer = PcapWriter(file, ETHERNET)
            for seen in sorted(frames, key=lambda one: one.when_ns):
                writer.write(seen.when_ns, seen.octets)
        return [move for connection in analyse([path]).connections for move in connection.transitions]
    finally:
        os.unlink(path)


def cover_rows(evidence: Evidence) -> list[RowCoverage]:
    """Put everything together, in table order; takes our own endpoint through the table on the way."""
    endpoint = frozenset(shown.row.id for shown in walk_endpoint() if shown.ok)
    return [_cover(row, evidence, endpoint) for row in ROWS]


def _cover(row: Row, evidence: Evidence, endpoint: frozenset[str]) -> RowCoverage:
    linux, reason = "shown", ""
    if row.id in evidence.missed:
        linux, reason = "missed", evidence.missed[row.id]
    elif row.id in NOT_ON_LINUX:
        linux, reason = "impossible", NOT_ON_LINUX[row.id]
    elif row.id in OTHERWISE:
        after, sends, why = OTHERWISE[row.id]
        linux, reason = "otherwise", f"{after.name}, sends {sends.name}: {why}"
    elif row.id not in evidence.linux:
        linux, reason = "elsewhere", f"scene {ELSEWHERE.get(row.id, '?')} (lab coverage --slow)"
    teacher = row.note[1:] in explain_row(row).summary
    return RowCoverage(
        row,
        row.id in endpoint,
        linux,
        row.id in evidence.trace,
        row.id in evidence.capture,
        teacher,
        reason,
        "" if row.id in endpoint else NOT_ON_ENDPOINT.get(row.id, "not as the row says"),
    )
