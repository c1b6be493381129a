"""Played stories as ladders, measured transfers as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcpscope.model.rung import AT_LEFT, AT_RIGHT, TO_LEFT, TO_RIGHT, Rung
from tcpscope.model.simulated import AGAIN, Step, Transfer
from tcpscope.model.state import State
from tcpscope.views.ladder import Shape, draw_head, draw_rungs
from tcpscope.views.table import Column, render_table

_LEAST_MIDDLE, _ARROW = 30, 6
_FATES = {"lost": "✗ lost", "full": "✗ queue full", "corrupted": "✗ corrupted", "too-big": "✗ too big"}


def draw_story(steps: Sequence[Step], names: str, *, windows: bool) -> Iterator[str]:
    """Draw a story line by line; ``windows`` adds cwnd, flight and the peer's window of the sender."""
    middle = max([_LEAST_MIDDLE, *(len(step.text) + _ARROW * (step.kind == "segment") for step in steps)])
    shape = Shape(middle=middle)
    yield from draw_head("client 192.0.2.1:40000", "server 192.0.2.2:80", shape)
    yield from draw_rungs(_rungs(steps, names, windows), shape)
    segments = [step for step in steps if step.kind == "segment"]
    gone = sum(step.fate in _FATES for step in segments)
    again = sum(step.note.startswith(AGAIN) for step in segments)
    yield ""
    yield f"segments: {len(segments)}, did not arrive: {gone}, sent again: {again}"


def _rungs(steps: Sequence[Step], names: str, windows: bool) -> Iterator[Rung]:
    shown: tuple[State | None, State | None] = (None, None)
    for step in steps:
        left, right = (
            state.spell(names) if state is not before else "" for state, before in zip(step.states, shown, strict=True)
        )
        shown = step.states
        towards = (TO_RIGHT, TO_LEFT)[step.end] if step.kind == "segment" else (AT_LEFT, AT_RIGHT)[step.end]
        yield Rung(f"{step.when_ns / 1e9:.3f} s", left, right, step.text, towards, _note(step, windows))


def _note(step: Step, windows: bool) -> str:
    parts = [_FATES[step.fate]] if step.fate in _FATES else []
    if step.note:
        parts.append(step.note)
    if windows and step.kind == "segment" and step.numbers[0]:
        cwnd, flight, peer = step.numbers
        parts.append(f"cwnd {cwnd} flight {flight} wnd {peer}")
    return "  ".join(parts)


def render_loss_table(losses: Sequence[float], rows: Sequence[tuple[int, Sequence[Transfer]]]) -> str:
    """Render throughput in bytes per second: one row per buffer, one column per loss."""
    columns = [
        Column("buffer", "Buffer", is_right=True),
        *(Column("loss", f"{loss:.1%}", is_right=True) for loss in losses),
    ]
    cells = [[str(size), *(f"{one.bytes_per_second:.0f}" for one in transfers)] for size, transfers in rows]
    return render_table(columns, cells)
