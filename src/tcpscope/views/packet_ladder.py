"""The ladder of one connection in a capture: both ends' states left and right of every segment, and what it means.

A state is written when it changes. ``?`` behind it: inferred from the other end's answer; ``??``: assumed, nothing
contradicts it. The client stands left. Drawn by :mod:`tcpscope.views.ladder` and :mod:`tcpscope.views.ladder_svg`.
"""

from __future__ import annotations

from tcpscope.machine.lifecycle import road_of, rows_between
from tcpscope.model.captured import CapturedSegment
from tcpscope.model.connection import Connection
from tcpscope.model.event import Event
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.model.rung import AT_LEFT, AT_RIGHT, TO_LEFT, TO_RIGHT, Rung
from tcpscope.model.segment import RST, spell_flags
from tcpscope.model.spelling import DIALECTS
from tcpscope.model.state import State
from tcpscope.views.ladder import WIDE, draw_rungs
from tcpscope.views.packet_line import LineStyle, spell_clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tcpscope.model.transition import Transition

_MARKS = {"seen": "", "inferred": "?", "assumed": "??", "expected": "…"}


def iter_rungs(connection: Connection, segments: Iterable[CapturedSegment], names: str = "netstat") -> Iterator[Rung]:
    """Yield the rungs of a connection; ``segments`` are its own, in order of capture."""
    moves: dict[int | None, list[Transition]] = {}
    for move in connection.transitions:
        moves.setdefault(move.packet, []).append(move)
    style = LineStyle(names)
    shown: set[str] = set()
    for seen in segments:
        here = moves.pop(seen.number, [])
        towards = TO_RIGHT if seen.source == connection.client else TO_LEFT
        client, server = (_states(end, here, connection, names, shown) for end in ("client", "server"))
        elapsed = spell_elapsed(seen.t_ns - connection.start_ns)
        yield Rung(elapsed, client, server, spell_segment(style, seen), towards, _meaning(here, seen))
    for move in (move for left in moves.values() for move in left):
        spelled = DIALECTS[names][move.after] + _MARKS[move.certainty]
        client, server = (spelled if move.end == end else "" for end in ("client", "server"))
        elapsed, place = spell_elapsed(move.when_ns - connection.start_ns), AT_LEFT if client else AT_RIGHT
        yield Rung(elapsed, client, server, "", place, _explain(move))


def draw_packet_ladder(connection: Connection, rungs: Iterable[Rung]) -> Iterator[str]:
    """Draw the ladder as lines of text, with who stands where before it and the verdict behind it."""
    yield (
        f"connection {connection.number}: {connection.client} (client, left) and {connection.server} (server, right), "
        f"from {spell_clock(connection.start_ns)}"
    )
    for note in connection.notes:
        yield f"  {note}"
    yield ""
    yield from draw_rungs(rungs, WIDE)
    yield ""
    if connection.verdict:
        yield f"verdict: {connection.verdict}"
        yield f"refuted by: {connection.refuted_by}"
    yield "? inferred from the other end's answer   ?? assumed   … expected (a timer, not to be seen)"


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


def spell_elapsed(nanoseconds: int) -> str:
    """Spell a time since the start of the connection, in seconds."""
    return f"+{nanoseconds / 1e9:.6f}" if nanoseconds >= 0 else f"{nanoseconds / 1e9:.6f}"


def draw_live_head(first: CapturedSegment) -> str:
    """Draw who stands where when only the first segment is known: its sender left."""
    return f"{first.source} (left) and {first.destination} (right), from {spell_clock(first.t_ns)}\n"


def live_rung(seen: CapturedSegment, style: LineStyle, names: str, start_ns: int, is_client: bool) -> Rung:
    """Return the rung of a segment that carries the states known at its time."""
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
    towards = TO_RIGHT if is_client else TO_LEFT
    return Rung(elapsed, client, server, text, towards, "; ".join(_live_meaning(seen)))


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
