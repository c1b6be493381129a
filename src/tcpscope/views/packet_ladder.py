"""The ladder of one connection in a capture: both ends' states left and right of every segment, and what it means.

A state is written when it changes. ``?`` behind it: inferred from the other end's answer; ``??``: assumed, nothing
contradicts it. Text for a terminal, and the same as SVG.
"""

from __future__ import annotations

from tcpscope.machine.lifecycle import road_of, rows_between
from tcpscope.model.captured import CapturedSegment
from tcpscope.model.connection import Connection
from tcpscope.model.event import Event
from tcpscope.model.record import TYPE_CHECKING, NamedTuple
from tcpscope.model.segment import RST, spell_flags
from tcpscope.model.spelling import DIALECTS
from tcpscope.model.state import State
from tcpscope.views.packet_line import LineStyle, spell_clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tcpscope.model.transition import Transition

_MARKS = {"seen": "", "inferred": "?", "assumed": "??", "expected": "…"}
_TIME, _STATE, _ARROW = 12, 14, 38
_INK = {"client": "#0b5cad", "server": "#b3431b", "expected": "#777"}
_ROW, _MARGIN, _LEFT, _RIGHT, _NOTES = 30, 74, 260, 680, 830
_NOTE_PIXELS = 7  # of one letter


class Step(NamedTuple):
    """One line of the ladder: a segment, or a move that no segment shows (``towards`` is empty)."""

    time: str
    client: str
    text: str
    towards: str  #: ``server``, ``client`` or empty
    server: str
    meaning: str
    packet: int | None = None


def iter_steps(connection: Connection, segments: Iterable[CapturedSegment], names: str = "netstat") -> Iterator[Step]:
    """Yield the steps of a connection; ``segments`` are its own, in order of capture."""
    moves: dict[int | None, list[Transition]] = {}
    for move in connection.transitions:
        moves.setdefault(move.packet, []).append(move)
    style = LineStyle(names)
    shown: set[str] = set()
    for seen in segments:
        here = moves.pop(seen.number, [])
        towards = "server" if seen.source == connection.client else "client"
        client, server = (_states(end, here, connection, names, shown) for end in ("client", "server"))
        text = spell_segment(style, seen)
        elapsed = spell_elapsed(seen.t_ns - connection.start_ns)
        yield Step(elapsed, client, text, towards, server, _meaning(here, seen), seen.number)
    for move in (move for left in moves.values() for move in left):
        spelled = DIALECTS[names][move.after] + _MARKS[move.certainty]
        client, server = (spelled if move.end == end else "" for end in ("client", "server"))
        yield Step(spell_elapsed(move.when_ns - connection.start_ns), client, "", "", server, _explain(move))


def draw_ladder(connection: Connection, steps: Iterable[Step]) -> Iterator[str]:
    """Draw the ladder as lines of text."""
    yield (
        f"connection {connection.number}: {connection.client} (client, left) and {connection.server} (server, right), "
        f"from {spell_clock(connection.start_ns)}"
    )
    for note in connection.notes:
        yield f"  {note}"
    yield ""
    yield from map(draw_step, steps)
    yield ""
    if connection.verdict:
        yield f"verdict: {connection.verdict}"
        yield f"refuted by: {connection.refuted_by}"
    yield "? inferred from the other end's answer   ?? assumed   … expected (a timer, not to be seen)"


def draw_step(step: Step) -> str:
    """Draw one line of the ladder."""
    ends = f"{step.client:<{_STATE}} {_arrow(step)} {step.server:<{_STATE}}"
    return f"{step.time:>{_TIME}}  {ends}  {step.meaning}".rstrip()


def draw_ladder_svg(connection: Connection, steps: Iterable[Step]) -> str:
    """Draw the ladder as a picture that stands alone."""
    from html import escape

    rows = list(steps)
    height = _MARGIN + _ROW * len(rows) + 40
    longest = max((len(part) for step in rows for part in _split_meaning(step.meaning)), default=0)
    width = _NOTES + max(longest, 20) * _NOTE_PIXELS
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="monospace" '
        f'font-size="12" role="img"><title>{escape(str(connection.client))} and {escape(str(connection.server))}'
        "</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="30" text-anchor="middle" font-weight="bold">{escape(str(connection.client))}</text>',
        f'<text x="{_RIGHT}" y="30" text-anchor="middle" font-weight="bold">{escape(str(connection.server))}</text>',
    ]
    body += [f'<line x1="{x}" y1="44" x2="{x}" y2="{height - 24}" stroke="#999"/>' for x in (_LEFT, _RIGHT)]
    for index, step in enumerate(rows):
        body += _svg_step(step, _MARGIN + index * _ROW)
    body.append(f'<text x="12" y="{height - 8}" fill="#555">{escape(connection.verdict)}</text></svg>')
    return "\n".join(body) + "\n"


def _svg_step(step: Step, y: int) -> Iterator[str]:
    from html import escape

    yield f'<text x="8" y="{y + 4}" fill="#555">{escape(step.time)}</text>'
    if step.client:
        place = f'x="{_LEFT - 10}" y="{y + 4}" text-anchor="end"'
        yield f'<text {place} fill="{_INK["client"]}">{escape(step.client)}</text>'
    if step.server:
        yield f'<text x="{_RIGHT + 10}" y="{y + 4}" fill="{_INK["server"]}">{escape(step.server)}</text>'
    if step.towards:
        start, end = (_LEFT, _RIGHT) if step.towards == "server" else (_RIGHT, _LEFT)
        back = -8 if step.towards == "server" else 8
        ink = _INK["client" if step.towards == "server" else "server"]
        tip = y + 8
        yield f'<line x1="{start}" y1="{y}" x2="{end}" y2="{tip}" stroke="{ink}" stroke-width="1.4"/>'
        yield f'<path d="M{end},{tip} l{back},-5 v9 z" fill="{ink}"/>'
        middle = (_LEFT + _RIGHT) // 2
        yield f'<text x="{middle}" y="{y - 3}" text-anchor="middle">{escape(step.text)}</text>'
    parts = _split_meaning(step.meaning)
    first = y + 4 - 7 * (len(parts) - 1)
    for index, part in enumerate(parts):
        yield f'<text x="{_NOTES}" y="{first + 13 * index}" fill="#333" font-size="11">{escape(part)}</text>'


def _split_meaning(meaning: str) -> list[str]:
    """One line for each end."""
    import re

    return re.split(r"; (?=(?:client|server): )", meaning)


def _states(end: str, moves: list[Transition], connection: Connection, names: str, shown: set[str]) -> str:
    """Spell the last state that the moves of one end lead to; before the first segment, where it stands."""
    mine = [move for move in moves if move.end == end]
    if mine:
        shown.add(end)
        return DIALECTS[names][mine[-1].after] + _MARKS[mine[-1].certainty]
    if end in shown:
        return ""
    shown.add(end)
    state = initial_state(connection, end)
    return DIALECTS[names][state] + "??"


def initial_state(connection: Connection, end: str) -> State:
    """Return the state of an end (``client`` or ``server``) before the first packet, as assumed."""
    first = next((move for move in connection.transitions if move.end == end), None)
    if first is not None:
        return first.before
    return connection.client_state if end == "client" else connection.server_state


def spell_segment(style: LineStyle, seen: CapturedSegment) -> str:
    """Spell a segment for the shaft of an arrow."""
    seq, ack = style.relative(seen)
    text = f" {seen.text_bytes} B" if seen.text_bytes else ""
    acked = f" ack {ack}" if seen.segment.flags & 0x10 else ""
    return f"{spell_flags(seen.segment.flags)} seq {seq}{acked}{text}"


def _meaning(moves: list[Transition], seen: CapturedSegment) -> str:
    parts = [_explain(move) for move in moves]
    return "; ".join(dict.fromkeys(parts)) + ("".join(f" [{problem}]" for problem in seen.problems))


def _explain(move: Transition) -> str:
    return f"{move.end}: {move.cause.partition(' (RFC')[0]}"


def _arrow(step: Step) -> str:
    if not step.towards:
        return " " * _ARROW
    shaft = f" {step.text} ".center(_ARROW - 2, "─")
    return f"{shaft}─▶" if step.towards == "server" else f"◀─{shaft}"


def spell_elapsed(nanoseconds: int) -> str:
    """Spell a time since the start of the connection, in seconds."""
    return f"+{nanoseconds / 1e9:.6f}" if nanoseconds >= 0 else f"{nanoseconds / 1e9:.6f}"


def draw_live_head(first: CapturedSegment) -> str:
    """Draw who stands where when only the first segment is known: its sender left."""
    return f"{first.source} (left) and {first.destination} (right), from {spell_clock(first.t_ns)}\n"


def live_step(seen: CapturedSegment, style: LineStyle, names: str, start_ns: int, is_client: bool) -> Step:
    """Return the step of a segment that carries the states known at its time."""
    spelled = DIALECTS[names]
    ends = [
        ("" if after is None or before == after else spelled[after])
        for before, after in (
            (seen.source_before, seen.source_state),
            (seen.destination_before, seen.destination_state),
        )
    ]
    client, server = ends if is_client else ends[::-1]
    text, elapsed = spell_segment(style, seen), spell_elapsed(seen.t_ns - start_ns)
    towards = "server" if is_client else "client"
    return Step(elapsed, client, text, towards, server, "; ".join(_live_meaning(seen)), seen.number)


def _live_meaning(seen: CapturedSegment) -> Iterator[str]:
    moves = (
        (seen.source, seen.source_before, seen.source_state),
        (seen.destination, seen.destination_before, seen.destination_state),
    )
    for end, before, after in moves:
        if before is not None and after is not None and before != after:
            yield f"{end}: {_usual_note(before, after, bool(seen.segment.flags & RST))}"


def _usual_note(before: State, after: State, is_reset: bool) -> str:
    """Say why an end usually moves so: by a reset, on the road of client or server, or as the table says first."""
    rows = rows_between(before, after)
    resets = [row for row in rows if is_reset and row.event in (Event.RST, Event.ABORT)]
    usual = resets or [row for row in rows if road_of(row) != "other"] or list(rows)
    return usual[0].note if usual else "several steps at once"
