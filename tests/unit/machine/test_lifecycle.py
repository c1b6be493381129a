"""The table against itself and against the roads and rules it must contain."""

import re
from itertools import pairwise

import pytest

from tcpscope.machine.lifecycle import (
    CLIENT_ROAD,
    EDGES,
    ROWS,
    SERVER_ROAD,
    find_row,
    road_of,
    row_by_id,
    rows_between,
    ways_into,
    ways_out_of,
)
from tcpscope.machine.linux import DEVIATIONS, judge
from tcpscope.model.event import Event, Guard, Sends
from tcpscope.model.state import State

S = State
EXCLUSIVE = [
    {Guard.OPENED_PASSIVELY, Guard.OPENED_ACTIVELY},
    {Guard.REMOTE_GIVEN, Guard.REMOTE_UNSPECIFIED},
    {Guard.NOTHING_QUEUED, Guard.DATA_QUEUED, Guard.UNREAD_DATA},
]


def test_rows_are_unique():
    assert len({(row.before, row.event, row.guard) for row in ROWS}) == len(ROWS)


def test_rows_are_deterministic_given_their_guards():
    """Guards beside each other on one (state, event) exclude each other, or stand beside an ALWAYS row."""
    rivals: dict[tuple[State, Event], set[Guard]] = {}
    for row in ROWS:
        rivals.setdefault((row.before, row.event), set()).add(row.guard)
    for key, guards in rivals.items():
        special = guards - {Guard.ALWAYS, Guard.REOPENED}
        assert len(special) <= 1 or any(special <= family for family in EXCLUSIVE), key


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row_cites_its_section_and_says_something(row):
    assert re.fullmatch(r"3\.(5|6|8|9|10)(\.\d+)*", row.rfc)
    assert len(row.note) > 10
    assert row_by_id(row.id) is row
    guards = () if row.guard is Guard.ALWAYS else (row.guard,)
    assert find_row(row.before, row.event, guards) is row


def test_all_states_are_entered_and_left():
    for state in State:
        assert ways_into(state), state
        assert ways_out_of(state), state


def test_six_user_calls_have_a_row_in_every_state():
    calls = [event for event in Event if event.is_user_call]
    assert len(calls) == 7  # OPEN is two: passive and active
    for state in State:
        for call in calls:
            assert any(row.before == state and row.event == call for row in ROWS), (state, call)


def test_roads_of_the_seeds_are_present():
    def states(road):
        assert all(one.after == two.before for one, two in pairwise(road))
        return [road[0].before, *(row.after for row in road)]

    assert states(CLIENT_ROAD) == [
        S.CLOSED, S.SYN_SENT, S.ESTABLISHED, S.FIN_WAIT_1, S.FIN_WAIT_2, S.TIME_WAIT, S.CLOSED,
    ]  # fmt: skip
    assert states(SERVER_ROAD) == [
        S.CLOSED, S.LISTEN, S.SYN_RECEIVED, S.ESTABLISHED, S.CLOSE_WAIT, S.LAST_ACK, S.CLOSED,
    ]  # fmt: skip
    assert {road_of(row) for row in ROWS} == {"client", "server", "other"}


FIGURE_5 = [
    # the arrows of RFC 9293 figure 5, read from the drawing
    (S.CLOSED, S.LISTEN), (S.CLOSED, S.SYN_SENT), (S.LISTEN, S.CLOSED), (S.LISTEN, S.SYN_SENT),
    (S.LISTEN, S.SYN_RECEIVED), (S.SYN_SENT, S.CLOSED), (S.SYN_SENT, S.SYN_RECEIVED), (S.SYN_SENT, S.ESTABLISHED),
    (S.SYN_RECEIVED, S.ESTABLISHED), (S.SYN_RECEIVED, S.FIN_WAIT_1), (S.SYN_RECEIVED, S.LISTEN),
    (S.ESTABLISHED, S.FIN_WAIT_1), (S.ESTABLISHED, S.CLOSE_WAIT), (S.FIN_WAIT_1, S.FIN_WAIT_2),
    (S.FIN_WAIT_1, S.CLOSING), (S.FIN_WAIT_1, S.TIME_WAIT), (S.FIN_WAIT_2, S.TIME_WAIT), (S.CLOSE_WAIT, S.LAST_ACK),
    (S.CLOSING, S.TIME_WAIT), (S.LAST_ACK, S.CLOSED), (S.TIME_WAIT, S.CLOSED),
]  # fmt: skip


@pytest.mark.parametrize("edge", FIGURE_5, ids=lambda edge: f"{edge[0].name}->{edge[1].name}")
def test_figure_5_arrow_is_in_the_table(edge):
    assert edge in EDGES
    assert rows_between(*edge)


def test_reset_is_never_answered():
    for row in ROWS:
        if row.event in (Event.RST, Event.RST_UNACCEPTABLE):
            assert row.sends is Sends.NOTHING, row.id


def test_only_figure_states_come_out_of_closed():
    assert {row.after for row in ways_out_of(S.CLOSED)} == {S.LISTEN, S.SYN_SENT}


@pytest.mark.parametrize(
    ("before", "event", "guards", "after"),
    [
        (S.SYN_RECEIVED, Event.RST, (Guard.OPENED_PASSIVELY,), S.LISTEN),
        (S.SYN_RECEIVED, Event.RST, (Guard.OPENED_ACTIVELY,), S.CLOSED),
        (S.SYN_RECEIVED, Event.CLOSE, (Guard.NOTHING_QUEUED,), S.FIN_WAIT_1),
        (S.FIN_WAIT_1, Event.FIN_ACK_OF_FIN, (), S.TIME_WAIT),
        (S.FIN_WAIT_1, Event.FIN, (), S.CLOSING),
        (S.CLOSING, Event.ACK_OF_FIN, (), S.TIME_WAIT),
        (S.SYN_SENT, Event.SYN, (), S.SYN_RECEIVED),
        (S.TIME_WAIT, Event.SYN_REOPENS, (), S.SYN_RECEIVED),
        (S.LISTEN, Event.SEND, (Guard.REMOTE_GIVEN,), S.SYN_SENT),
    ],
)
def test_named_moves(before, event, guards, after):
    assert find_row(before, event, guards).after is after


def test_impossible_event_has_no_row():
    assert find_row(S.LISTEN, Event.TIME_WAIT_TIMEOUT) is None


def test_deviations_are_unique_and_real():
    assert len({row.name for row in DEVIATIONS}) == len(DEVIATIONS)
    for row in DEVIATIONS:
        edge = (row.before, row.after)
        if row.kind == "lacks":
            assert edge in EDGES, row.name  # Linux lacks only what the RFC has
        assert len(row.reason) > 20


def test_judge_names_what_linux_adds():
    assert judge(S.ESTABLISHED, S.FIN_WAIT_1) == (True, "")
    assert judge(S.FIN_WAIT_2, S.CLOSED) == (True, "time-wait-mini-socket")
    assert judge(S.CLOSED, S.ESTABLISHED) == (False, "repair-restores")
    assert judge(S.TIME_WAIT, S.ESTABLISHED) == (False, "")
