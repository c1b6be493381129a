"""Moves: what leads from one state to another, what an event does, and the whole table as a list.

Everything here is generated from :mod:`tcpscope.machine.lifecycle` and :mod:`tcpscope.machine.linux`.
"""

from __future__ import annotations

from itertools import pairwise

from tcpscope.explain.answer import Answer, Grid, Section, fold, prose_sections
from tcpscope.explain.calls import calls_grid
from tcpscope.explain.events import describe_event, row_as_json, rows_on, spell_event, spell_sends, spell_stimulus
from tcpscope.explain.experiments import make_move_commands
from tcpscope.explain.portraits import PORTRAITS
from tcpscope.explain.states import state_named
from tcpscope.machine.lifecycle import ROWS, Row, road_of, rows_between, rows_from, ways_into, ways_out_of
from tcpscope.machine.linux import DEVIATIONS, Deviation
from tcpscope.model.event import Event
from tcpscope.model.state import State

_FLAGS = {
    "SYN": (
        "Synchronize: opens a connection and tells the initial sequence number; counts as one octet.",
        (Event.SYN, Event.SYN_ACK, Event.SYN_IN_SYNCHRONIZED, Event.SYN_REOPENS, Event.SYN_OLD_DUPLICATE),
    ),
    "SYN,ACK": ("The answer to SYN: acknowledges it and opens the other direction.", (Event.SYN_ACK,)),
    "ACK": (
        (
            "Acknowledges everything before its number. Set in every segment after the first; takes no sequence number,"
            " so it is never acknowledged itself."
        ),
        (Event.ACK, Event.ACK_OF_SYN, Event.ACK_OF_FIN, Event.ACK_UNACCEPTABLE, Event.ACK_MISSING),
    ),
    "FIN": (
        (
            "The sender has no more data. Counts as one octet, is retransmitted until acknowledged, and closes one"
            " direction only."
        ),
        (Event.FIN, Event.FIN_ACK_OF_FIN, Event.ACK_OF_FIN),
    ),
    "RST": (
        (
            "The connection is gone, at once and without an answer. Sent for a segment that belongs to no connection,"
            " and to abort."
        ),
        (Event.RST, Event.RST_IN_WINDOW, Event.RST_UNACCEPTABLE),
    ),
    "PSH": (
        "Push: give what you have to the program. Changes no state; Linux sets it on the last segment of a write.",
        (),
    ),
    "URG": ("Urgent data up to the urgent pointer. Changes no state; new programs should not use it (RFC 6093).", ()),
    "ECE": ("Explicit congestion notification: a router marked a packet (RFC 3168). Changes no state.", ()),
    "CWR": ("Congestion window reduced: the answer to ECE (RFC 3168). Changes no state.", ()),
    "challenge ACK": (
        "An ACK in answer to a suspicious RST or SYN: a real peer answers it with a provable RST (RFC 5961).",
        (Event.RST_IN_WINDOW, Event.SYN_IN_SYNCHRONIZED),
    ),
}
_FLAG_NAMES = {fold(name): name for name in _FLAGS} | {
    "reset": "RST",
    "push": "PSH",
    "urgent": "URG",
    **{f"syn{between}ack": "SYN,ACK" for between in ("", "/", "+", "|", "&")},
    **{f"fin{between}ack": "FIN" for between in ("", ",", "/", "+", "|", "&")},
    **{f"rst{between}ack": "RST" for between in ("", ",", "/", "+", "|", "&")},
    # tcpdump's letters
    "[s]": "SYN",
    "[s.]": "SYN,ACK",
    "[.]": "ACK",
    "[p.]": "PSH",
    "[f.]": "FIN",
    "[fp.]": "FIN",
    "[r]": "RST",
    "[r.]": "RST",
    "s.": "SYN,ACK",
}


def parse_move(text: str) -> tuple[State, ...] | None:
    """Read ``A -> B`` or ``A -> B -> C`` (also ``→``, ``=>``, `` to ``); ``None`` when a part is no state."""
    parts = text.replace("→", "->").replace("=>", "->").replace(" to ", "->").split("->")
    states = [state_named(part.strip().strip("'\"")) for part in parts]
    if len(parts) < 2 or None in states:
        return None
    return tuple(state for state in states if state is not None)


def _why(before: State, after: State) -> str:
    rows = rows_between(before, after)
    if not rows:
        return "RFC 9293 has no such move."
    first = rows[0]
    sends = "" if first.sends.name == "NOTHING" else f" It sends {spell_sends(first.sends)}."
    note = f"{first.note[0].upper()}{first.note[1:]}"
    return f"{note}.{sends}" if len(rows) == 1 else f"{note}.{sends} {len(rows)} events lead there."


def explain_move(before: State, after: State) -> Answer:
    """Explain a change of state, or say that there is none and what there is instead."""
    rows = rows_between(before, after)
    deviations = tuple(row for row in DEVIATIONS if (row.before, row.after) == (before, after))
    sections = []
    if rows:
        sections.append(Section("What leads there", grid=_rows_grid(rows)))
    if before == after:
        stays = tuple(row for row in rows_from(before) if not row.changes_state)
        sections.append(Section("What happens without leaving the state", grid=_rows_grid(stays)))
    elif not rows:
        sections.append(Section(f"Out of {before.name}", grid=_rows_grid(ways_out_of(before), "to")))
        sections.append(Section(f"Into {after.name}", grid=_rows_grid(ways_into(after), "from")))
    if deviations:
        sections.append(Section("Linux", items=tuple(f"{row.name} ({row.kind}): {row.reason}" for row in deviations)))
    sections += prose_sections(("After it", PORTRAITS[after].summary if rows else ""))
    if rows:
        sections.append(Section("Make it", commands=make_move_commands(before, after)))
    summary = _why(before, after) if before != after else "The state stays; these events happen in it."
    facts = {
        "before": before.name,
        "after": after.name,
        "legal": bool(rows) or before == after,
        "rows": [row_as_json(row) for row in rows],
        "roads": sorted({road_of(row) for row in rows} - {"other"}),
        "deviations": [row.name for row in deviations],
    }
    name = f"{before.name} -> {after.name}"
    return Answer("transition", name, name, summary, tuple(sections), (before.name, after.name, "table"), facts)


def explain_walk(states: tuple[State, ...]) -> Answer:
    """Explain several moves in a row."""
    if len(states) == 2:
        return explain_move(*states)
    steps = tuple(pairwise(states))
    grid = Grid(("move", "event", "sends", "why"), tuple(_step_cells(*step) for step in steps))
    legal = all(rows_between(*step) for step in steps)
    name = " -> ".join(state.name for state in states)
    summary = "Every step is a move of RFC 9293." if legal else "Not every step is a move of RFC 9293."
    facts: dict[str, object] = {
        "states": [state.name for state in states],
        "legal": legal,
        "rows": [row_as_json(row) for step in steps for row in rows_between(*step)],
    }
    return Answer(
        "walk", name, name, summary, (Section("Steps", grid=grid),), tuple(state.name for state in states), facts
    )


def _step_cells(before: State, after: State) -> tuple[str, str, str, str]:
    rows = rows_between(before, after)
    event = spell_event(rows[0].event) if rows else "-"
    return (f"{before.name} -> {after.name}", event, spell_sends(rows[0].sends) if rows else "-", _why(before, after))


def _rows_grid(rows: tuple[Row, ...], end: str = "") -> Grid:
    states = {"to": lambda row: row.after.name, "from": lambda row: row.before.name}
    cells = []
    for row in rows:
        lead = (states[end](row),) if end else ()
        cells.append((*lead, spell_stimulus(row), spell_sends(row.sends), row.rfc, row.note))
    return Grid((*((end,) if end else ()), "event", "sends", "RFC 9293", "note"), tuple(cells))


def explain_row(row: Row) -> Answer:
    """Explain one row by its id."""
    return Answer(
        "row",
        row.id,
        f"{row.id}: {row.before.name} -> {row.after.name}",
        f"{row.note[0].upper()}{row.note[1:]}.",
        (
            Section(
                "The row",
                items=(
                    f"event: {spell_stimulus(row)}",
                    f"sends: {spell_sends(row.sends)}",
                    f"section: RFC 9293 {row.rfc}",
                    f"usual road: {road_of(row)}",
                ),
            ),
        ),
        (row.before.name, row.after.name),
        row_as_json(row),
    )


def explain_event(event: Event) -> Answer:
    """Explain one event of the table and what it does in each state."""
    rows = rows_on(event)
    section = Section("What it does in each state", grid=calls_grid(rows))
    facts: dict[str, object] = {"event": event.name, "rows": [row_as_json(row) for row in rows]}
    return Answer(
        "event", event.name, f"{event.name}: {spell_event(event)}", describe_event(event), (section,), ("table",), facts
    )


def flag_named(text: str) -> str | None:
    """Return the name of a segment flag (``SYN``, ``syn-ack``, ``reset``), or ``None``."""
    return _FLAG_NAMES.get(fold(text).removeprefix("flags"))


def explain_flag(name: str) -> Answer:
    """Explain a flag of a segment and what its arrival does."""
    summary, events = _FLAGS[name]
    rows = tuple(row for event in events for row in rows_on(event))
    meanings = tuple(f"{event.name}: {describe_event(event)}" for event in events)
    sections = []
    if events:
        sections = [
            Section("What it can be, judged against the connection's numbers", items=meanings),
            Section("What its arrival does", grid=_rows_grid_by_state(rows)),
        ]
    return Answer(
        "segment",
        name,
        f"Segment {name}",
        summary,
        tuple(sections),
        tuple(f"event {event.name}" for event in events[:3]),
        {"flag": name, "events": [event.name for event in events], "rows": [row_as_json(row) for row in rows]},
    )


def _rows_grid_by_state(rows: tuple[Row, ...]) -> Grid:
    cells = ((row.before.name, spell_stimulus(row), row.after.name, spell_sends(row.sends)) for row in rows)
    return Grid(("in", "event", "then", "sends"), tuple(cells))


def explain_table(state: State | None = None) -> Answer:
    """List all rows of the table, or those that start or end in ``state``."""
    rows = ROWS if state is None else tuple(row for row in ROWS if state in (row.before, row.after))
    cells = tuple(
        (row.id, row.after.name if row.changes_state else "=", spell_sends(row.sends), row.rfc, row.note)
        for row in rows
    )
    moving = sum(row.changes_state for row in rows)
    title = "The table" if state is None else f"The table: rows of {state.name}"
    summary = f"{len(rows)} rows, {moving} of them change the state. '=' keeps it."
    return Answer(
        "table",
        "table" if state is None else f"table {state.name}",
        title,
        summary,
        (Section("Rows", grid=Grid(("row", "after", "sends", "RFC 9293", "note"), cells)),),
        ("diagram", "states"),
        {"rows": [row_as_json(row) for row in rows]},
    )


def explain_deviation(row: Deviation) -> Answer:
    """Explain one way in which Linux differs from RFC 9293."""
    kinds = {
        "adds": "Linux makes a move that RFC 9293 does not have.",
        "hides": "Linux makes the move, but its own trace of state changes does not show it so.",
        "lacks": "RFC 9293 has the move, Linux does not.",
        "answers": "Linux answers otherwise; the state is the same.",
    }
    facts: dict[str, object] = {"before": row.before.name, "after": row.after.name, "deviation": row.kind}
    return Answer(
        "deviation",
        row.name,
        f"{row.name}: {row.before.name} -> {row.after.name}",
        f"{row.reason[0].upper()}{row.reason[1:]}.",
        prose_sections(("What kind", kinds[row.kind])),
        (row.before.name, row.after.name, "deviations"),
        facts,
    )


def explain_deviations() -> Answer:
    """List every way in which Linux differs."""
    cells = tuple((row.name, row.kind, f"{row.before.name} -> {row.after.name}", row.reason) for row in DEVIATIONS)
    return Answer(
        "deviations",
        "deviations",
        "What Linux does otherwise",
        f"{len(DEVIATIONS)} named differences from RFC 9293, measured on Linux 6.18.",
        (Section("Deviations", grid=Grid(("name", "kind", "move", "reason"), cells)),),
        ("table",),
        {"deviations": [row.name for row in DEVIATIONS]},
    )
