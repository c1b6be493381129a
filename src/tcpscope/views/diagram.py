"""The life cycle as a picture, drawn from the table: SVG placed as in RFC 9293's figure 5, and Mermaid.

What is drawn comes from :mod:`tcpscope.machine.lifecycle`; this module holds places and pens only. The client's road
is a solid blue line, the server's a dashed vermilion one (both told apart without colour, and with any colour
blindness), every other move of the figure a thin grey line. Moves outside the figure are listed below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from tcpscope.explain.events import spell_event, spell_sends
from tcpscope.machine.lifecycle import EDGES, LIFE_ORDER, Row, road_of, rows_between
from tcpscope.model.event import Guard
from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State

S = State
WIDTH, HEIGHT = 1000, 1190
BOX_WIDTH, BOX_HEIGHT = 156, 46

#: Middle of each state's box.
PLACES: dict[State, tuple[int, int]] = {
    S.CLOSED: (500, 100), S.LISTEN: (500, 245), S.SYN_RECEIVED: (130, 395), S.SYN_SENT: (870, 395),
    S.ESTABLISHED: (500, 530), S.FIN_WAIT_1: (130, 695), S.CLOSE_WAIT: (870, 695), S.FIN_WAIT_2: (130, 865),
    S.CLOSING: (500, 865), S.LAST_ACK: (870, 865), S.TIME_WAIT: (500, 1015),
}  # fmt: skip
#: As in the figure, the end of all roads is drawn a second time: CLOSED again, so that no line crosses the page.
CLOSED_AGAIN = (870, 1015)


class Arc(NamedTuple):
    """How one arrow runs (an SVG path), where its label stands and how it is anchored."""

    path: str
    x: int
    y: int
    anchor: str = "middle"


#: The arrows of figure 5 (its note 2, FIN_WAIT_1 to TIME_WAIT, included).
ARCS: dict[tuple[State, State], Arc] = {
    (S.CLOSED, S.LISTEN): Arc("M480,123 V222", 470, 176, "end"),
    (S.LISTEN, S.CLOSED): Arc("M520,222 V123", 530, 176, "start"),
    (S.CLOSED, S.SYN_SENT): Arc("M578,92 C760,100 890,190 893,372", 800, 150, "start"),
    (S.SYN_SENT, S.CLOSED): Arc("M845,372 C835,220 730,125 578,110", 742, 240, "middle"),
    (S.LISTEN, S.SYN_RECEIVED): Arc("M450,268 C410,345 320,378 208,381", 372, 335, "end"),
    (S.LISTEN, S.SYN_SENT): Arc("M550,268 C590,345 680,378 792,381", 628, 335, "start"),
    (S.SYN_RECEIVED, S.LISTEN): Arc("M105,372 C115,290 240,247 422,245", 198, 256, "end"),
    (S.SYN_SENT, S.SYN_RECEIVED): Arc("M792,397 H208", 500, 416, "middle"),
    (S.SYN_RECEIVED, S.ESTABLISHED): Arc("M208,410 C330,416 420,445 455,507", 318, 468, "middle"),
    (S.SYN_SENT, S.ESTABLISHED): Arc("M792,410 C670,416 580,445 545,507", 682, 468, "middle"),
    (S.SYN_RECEIVED, S.FIN_WAIT_1): Arc("M105,418 V672", 115, 560, "start"),
    (S.ESTABLISHED, S.FIN_WAIT_1): Arc("M455,553 C425,635 330,680 208,684", 352, 620, "end"),
    (S.ESTABLISHED, S.CLOSE_WAIT): Arc("M545,553 C575,635 670,680 792,684", 648, 620, "start"),
    (S.FIN_WAIT_1, S.CLOSING): Arc("M208,702 C400,710 490,750 498,842", 440, 733, "start"),
    (S.FIN_WAIT_1, S.FIN_WAIT_2): Arc("M62,718 V842", 72, 784, "start"),
    (S.FIN_WAIT_1, S.TIME_WAIT): Arc("M208,712 C240,870 330,990 422,1003", 262, 826, "start"),
    (S.FIN_WAIT_2, S.TIME_WAIT): Arc("M130,888 C135,985 260,1023 422,1023", 222, 1034, "middle"),
    (S.CLOSING, S.TIME_WAIT): Arc("M500,888 V992", 510, 944, "start"),
    (S.CLOSE_WAIT, S.LAST_ACK): Arc("M870,718 V842", 860, 784, "end"),
    (S.LAST_ACK, S.CLOSED): Arc("M870,888 V992", 860, 944, "end"),
    (S.TIME_WAIT, S.CLOSED): Arc("M578,1015 H792", 685, 1034, "middle"),
}  # fmt: skip

_PENS = {"client": "#0072B2", "server": "#C24A00", "other": "#666666"}
_STYLE = """
  text { font-family: 'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif; font-size: 13px; fill: #222222 }
  .title { font-size: 20px; font-weight: bold } .note { font-size: 12px; fill: #444444 }
  .box { fill: #f7f7f7; stroke: #222222; stroke-width: 1.6 } .again { stroke-dasharray: 3 3; stroke-width: 1.2 }
  .marked { fill: #ffe9a8; stroke-width: 3 }
  .state { font-size: 15px; font-weight: bold; text-anchor: middle }
  .arc { fill: none; stroke-width: 1.3; stroke: #666666 }
  .client { stroke: #0072B2; stroke-width: 3.2 } .server { stroke: #C24A00; stroke-width: 3.2; stroke-dasharray: 9 5 }
  .label { stroke: #ffffff; stroke-width: 4px; paint-order: stroke; stroke-linejoin: round; fill: #444444 }
  .label.on-client { fill: #00568a; font-weight: bold } .label.on-server { fill: #9c3b00; font-weight: bold }
"""


def usual_row(before: State, after: State) -> Row:
    """Return the row an arrow is named after: the one on a road, else the first that needs no guard, else the first."""
    rows = rows_between(before, after)
    return min(rows, key=lambda row: (road_of(row) == "other", row.guard is not Guard.ALWAYS))


def road_between(before: State, after: State) -> str:
    """Say on whose road the arrow lies: ``client``, ``server`` or ``other``."""
    return road_of(usual_row(before, after))


def label_of(row: Row) -> str:
    """Write a row as the figure does: ``event / sends``."""
    return f"{spell_event(row.event)} / {spell_sends(row.sends)}"


def emit_svg(marked: State | None = None) -> str:
    """Draw the life cycle as SVG; ``marked`` is one state to set off."""
    return "\n".join((
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"',
        'role="img" aria-label="TCP connection states">',
        f"<style>{_STYLE}</style>",
        f"<defs>{''.join(_arrow_head(road, pen) for road, pen in _PENS.items())}</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        '<text class="title" x="30" y="38">TCP connection states (RFC 9293)</text>',
        *_legend(),
        *_arcs(),
        *(_box(state, PLACES[state], "marked" if state is marked else "") for state in LIFE_ORDER),
        _box(S.CLOSED, CLOSED_AGAIN, "again"),
        *_labels(),
        *_notes(),
        "</svg>",
        "",
    ))  # fmt: skip


def _arrow_head(road: str, pen: str) -> str:
    size = 11 if road == "other" else 14
    return (
        f'<marker id="to-{road}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="{size}" markerHeight="{size}" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0,0 L10,5 L0,10 z" fill="{pen}"/></marker>'
    )


def _legend() -> Iterator[str]:
    roads = (
        ("client", "opens and closes first (client)"),
        ("server", "listens and closes second (server)"),
        ("other", "every other move of the figure"),
    )
    for number, (road, text) in enumerate(roads):
        y = 60 + 20 * number
        yield f'<path class="arc {road}" d="M30,{y} H84" marker-end="url(#to-{road})"/>'
        yield f'<text class="note" x="94" y="{y + 4}">{text}</text>'
    yield '<text class="note" x="30" y="124">label: event / what is sent</text>'


def _arcs() -> Iterator[str]:
    order = sorted(ARCS, key=lambda edge: road_between(*edge) != "other")
    for before, after in order:
        road = road_between(before, after)
        title = "&#10;".join(escape(f"{row.id}: {row.note}") for row in rows_between(before, after))
        yield (
            f'<path class="arc {road}" data-from="{before.name}" data-to="{after.name}" d="{ARCS[before, after].path}" '
            f'marker-end="url(#to-{road})"><title>{title}</title></path>'
        )


def _labels() -> Iterator[str]:
    for edge, arc in ARCS.items():
        road = road_between(*edge)
        text = escape(label_of(usual_row(*edge)))
        yield f'<text class="label on-{road}" x="{arc.x}" y="{arc.y}" text-anchor="{arc.anchor}">{text}</text>'


def _box(state: State, place: tuple[int, int], kind: str) -> str:
    x, y = place
    corner = f'x="{x - BOX_WIDTH // 2}" y="{y - BOX_HEIGHT // 2}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}"'
    return (
        f'<g><rect class="box {kind}" {corner} rx="6"/><text class="state" x="{x}" y="{y + 5}">{state.name}</text></g>'
    )


def moves_outside_figure() -> tuple[tuple[State, State], ...]:
    """Return the moves of the table that figure 5 has no arrow for, in the order of life."""
    return tuple(edge for edge in _in_life_order() if edge not in ARCS)


def _notes() -> Iterator[str]:
    outside = moves_outside_figure()
    others = [
        f"{before.name} to {after.name} ({label_of(usual_row(before, after))})"
        for before, after in outside
        if after is not S.CLOSED
    ]
    ends = [before.name for before, after in outside if after is S.CLOSED]
    lines = [
        "Not drawn, as in the figure:",
        f"to CLOSED by ABORT, RST, a hard ICMP error or a timeout, from {', '.join(ends)};",
        *(f"{text};" for text in others[:-1]),
        f"{others[-1]}. CLOSED is drawn twice.",
    ]
    for number, line in enumerate(lines):
        yield f'<text class="note" x="30" y="{HEIGHT - 18 * (len(lines) - number) + 4}">{escape(line)}</text>'


def emit_mermaid(marked: State | None = None) -> str:
    """Draw the life cycle as a Mermaid flow chart with every move of the table."""
    edges = _in_life_order()
    lines = ["flowchart TD", *(f"    {state.name}([{state.name}])" for state in LIFE_ORDER)]
    arrows = {"client": "==>", "server": "-.->", "other": "-->"}
    lines += [
        f'    {before.name} {arrows[road_between(before, after)]}|"{_mermaid_label(before, after)}"| {after.name}'
        for before, after in edges
    ]
    for road in ("client", "server"):
        numbers = ",".join(str(number) for number, edge in enumerate(edges) if road_between(*edge) == road)
        lines.append(f"    linkStyle {numbers} stroke:{_PENS[road]},stroke-width:3px")
    if marked is not None:
        lines.append(f"    style {marked.name} fill:#ffe9a8,stroke-width:3px")
    return "\n".join(lines) + "\n"


def emit_mermaid_around(state: State) -> str:
    """Draw one state with the moves into it and out of it as a Mermaid flow chart, left to right."""
    lines = [
        "flowchart LR",
        f"    {state.name}([{state.name}])",
        f"    style {state.name} fill:#ffe9a8,stroke-width:3px",
    ]
    before = [edge for edge in _in_life_order() if edge[1] is state]
    after = [edge for edge in _in_life_order() if edge[0] is state]
    lines += [f'    from_{one.name}([{one.name}]) -->|"{_mermaid_label(one, two)}"| {two.name}' for one, two in before]
    lines += [f'    {one.name} -->|"{_mermaid_label(one, two)}"| to_{two.name}([{two.name}])' for one, two in after]
    return "\n".join(lines) + "\n"


def _in_life_order() -> list[tuple[State, State]]:
    return sorted(EDGES, key=lambda edge: (LIFE_ORDER.index(edge[0]), LIFE_ORDER.index(edge[1])))


def _mermaid_label(before: State, after: State) -> str:
    rows = rows_between(before, after)
    first = usual_row(before, after)
    more = f"<br/>and {len(rows) - 1} more" if len(rows) > 1 else ""
    return f"{label_of(first)}{more}"
