"""The pictures hold what the table holds."""

import re
import xml.etree.ElementTree as ET

import pytest

from tcpscope.machine.lifecycle import CLIENT_ROAD, EDGES, LIFE_ORDER, SERVER_ROAD
from tcpscope.model.state import State
from tcpscope.views.diagram import (
    ARCS,
    BOX_HEIGHT,
    BOX_WIDTH,
    CLOSED_AGAIN,
    HEIGHT,
    PLACES,
    WIDTH,
    emit_mermaid,
    emit_svg,
    moves_outside_figure,
)

SVG = "{http://www.w3.org/2000/svg}"
S = State
FIGURE_5 = {
    # the arrows of RFC 9293 figure 5, read from the drawing; the last is its note 2
    (S.CLOSED, S.LISTEN), (S.CLOSED, S.SYN_SENT), (S.LISTEN, S.CLOSED), (S.LISTEN, S.SYN_SENT),
    (S.LISTEN, S.SYN_RECEIVED), (S.SYN_SENT, S.CLOSED), (S.SYN_SENT, S.SYN_RECEIVED), (S.SYN_SENT, S.ESTABLISHED),
    (S.SYN_RECEIVED, S.ESTABLISHED), (S.SYN_RECEIVED, S.FIN_WAIT_1), (S.SYN_RECEIVED, S.LISTEN),
    (S.ESTABLISHED, S.FIN_WAIT_1), (S.ESTABLISHED, S.CLOSE_WAIT), (S.FIN_WAIT_1, S.FIN_WAIT_2),
    (S.FIN_WAIT_1, S.CLOSING), (S.FIN_WAIT_2, S.TIME_WAIT), (S.CLOSE_WAIT, S.LAST_ACK), (S.CLOSING, S.TIME_WAIT),
    (S.LAST_ACK, S.CLOSED), (S.TIME_WAIT, S.CLOSED), (S.FIN_WAIT_1, S.TIME_WAIT),
}  # fmt: skip


def drawn_arcs(text):
    root = ET.fromstring(text)
    return {
        (S[path.get("data-from")], S[path.get("data-to")]): path
        for path in root.iter(f"{SVG}path")
        if path.get("data-from")
    }


def test_svg_draws_the_arrows_of_the_figure_and_only_moves_of_the_table():
    arcs = drawn_arcs(emit_svg())
    assert set(arcs) == FIGURE_5
    assert set(arcs) <= EDGES


def test_svg_names_every_state_once_and_closed_twice():
    root = ET.fromstring(emit_svg())
    names = [text.text for text in root.iter(f"{SVG}text") if text.get("class") == "state"]
    assert sorted(names) == sorted([*(state.name for state in State), "CLOSED"])


def test_roads_are_drawn_differently():
    arcs = drawn_arcs(emit_svg())
    for road, rows in (("client", CLIENT_ROAD), ("server", SERVER_ROAD)):
        drawn = {edge for edge, path in arcs.items() if road in path.get("class").split()}
        assert drawn == {(row.before, row.after) for row in rows}


def test_moves_outside_the_figure_are_listed_below_it():
    text = emit_svg()
    assert set(moves_outside_figure()) == EDGES - FIGURE_5
    for before, after in moves_outside_figure():
        assert before.name in text
        if after is not S.CLOSED:
            assert f"{before.name} to {after.name}" in text


def test_arrows_start_and_end_at_their_boxes():
    def near(point, places):
        return any(
            abs(point[0] - x) <= BOX_WIDTH / 2 + 2 and abs(point[1] - y) <= BOX_HEIGHT / 2 + 2 for x, y in places
        )

    for (before, after), arc in ARCS.items():
        numbers = [float(number) for number in re.findall(r"[\d.]+", arc.path)]
        start = (numbers[0], numbers[1])
        end = (numbers[-2], numbers[-1])
        if "V" in arc.path:
            end = (numbers[0], numbers[-1])
        if "H" in arc.path:
            end = (numbers[-1], numbers[1])
        ends = [PLACES[after], *([CLOSED_AGAIN] if after is S.CLOSED else [])]
        assert near(start, [PLACES[before]]), (before, after)
        assert near(end, ends), (before, after)


def test_labels_stay_inside_the_picture():
    root = ET.fromstring(emit_svg())
    for text in root.iter(f"{SVG}text"):
        length = len(text.text or "") * 8.0
        left = {"end": -length, "middle": -length / 2}.get(text.get("text-anchor", "start"), 0)
        if text.get("class") == "note":
            length *= 6.6 / 8.0
        if text.get("class") != "title":
            assert 0 <= float(text.get("x")) + left <= WIDTH, text.text
            assert float(text.get("x")) + left + length <= WIDTH + 1 or text.get("class") == "state", text.text
        assert 0 < float(text.get("y")) < HEIGHT


@pytest.mark.parametrize("state", State)
def test_highlight_marks_one_state(state):
    root = ET.fromstring(emit_svg(state))
    groups = [(group.find(f"{SVG}rect"), group.find(f"{SVG}text")) for group in root.iter(f"{SVG}g")]
    marked = [name.text for box, name in groups if "marked" in box.get("class")]
    assert marked == [state.name]
    assert f"style {state.name} " in emit_mermaid(state)


def test_mermaid_holds_every_state_and_every_move_once():
    text = emit_mermaid()
    moves = re.findall(r"^    (\w+) (==>|-\.->|-->)\|\"[^\"]+\"\| (\w+)$", text, re.MULTILINE)
    assert sorted((S[before], S[after]) for before, _, after in moves) == sorted(EDGES)
    assert {before for before, arrow, _ in moves if arrow == "==>"} == {row.before.name for row in CLIENT_ROAD}
    for state in LIFE_ORDER:
        assert f"    {state.name}([{state.name}])" in text
    numbers = [line.split()[1].split(",") for line in text.splitlines() if "linkStyle" in line]
    for road, chosen in zip((CLIENT_ROAD, SERVER_ROAD), numbers, strict=True):
        assert {(moves[int(n)][0], moves[int(n)][2]) for n in chosen} == {(r.before.name, r.after.name) for r in road}
