"""Looks compared on paper: moves, jumps, other lives on the same addresses."""

from itertools import pairwise

import pytest

from tcpscope.live.trace_poll import UNSEEN_STEPS, Comparison
from tcpscope.machine.lifecycle import EDGES
from tcpscope.model.event import Event
from tcpscope.model.state import State

S = State
A, B = b"\x0a\0\0\x01" + bytes(12), b"\x0a\0\0\x02" + bytes(12)
KEY = (2, 40000, 80, A, B)


def row(state, cookie=1, port=40000):
    return (6, 2, int(state), 0, 0, port, 80, A, B, 0, cookie, 0, 0, 0, 0, 0, b"")


def moves_of(found):
    return [(move.before, move.event, move.after, move.cause) for move in found]


def after_looks(*looks):
    comparison = Comparison(7)
    found = []
    for number, rows in enumerate(looks):
        found = comparison.look(rows, {}, number * 1000)
    return found


def test_first_look_tells_nothing():
    assert after_looks([row(S.ESTABLISHED), row(S.LISTEN, 2, 80)]) == []


def test_step_has_its_event_and_both_bounds():
    (move,) = after_looks([row(S.ESTABLISHED)], [row(S.CLOSE_WAIT)])
    assert (move.before, move.event, move.after) == (S.ESTABLISHED, Event.FIN, S.CLOSE_WAIT)
    assert (move.certainty, move.source, move.earliest_ns, move.latest_ns, move.netns) == (
        "inferred",
        "poll",
        0,
        1000,
        7,
    )
    assert move.in_state_ns is None, "it was there before the trace"


def test_jump_is_told_as_a_jump():
    assert moves_of(after_looks([row(S.ESTABLISHED)], [row(S.TIME_WAIT, 9)])) == [
        (S.ESTABLISHED, None, S.TIME_WAIT, UNSEEN_STEPS)
    ]


def test_state_that_one_life_cannot_reach_is_another_life():
    assert moves_of(after_looks([row(S.TIME_WAIT)], [row(S.ESTABLISHED, 5)])) == [
        (S.TIME_WAIT, None, S.CLOSED, ""),
        (S.CLOSED, None, S.ESTABLISHED, UNSEEN_STEPS),
    ]


def test_same_state_with_another_cookie_is_another_life():
    found = moves_of(after_looks([row(S.ESTABLISHED, 1)], [row(S.ESTABLISHED, 2)]))
    assert [(before, after) for before, _, after, _ in found] == [
        (S.ESTABLISHED, S.CLOSED),
        (S.CLOSED, S.ESTABLISHED),
    ]


def test_mini_socket_has_a_cookie_of_its_own_and_is_the_same_life():
    assert after_looks([row(S.FIN_WAIT_2, 1)], [row(S.FIN_WAIT_2, 2)]) == []


def test_announced_end_has_its_own_time_and_source():
    comparison = Comparison(7)
    comparison.look([row(S.ESTABLISHED)], {}, 0)
    (move,) = comparison.look([], {KEY: 600}, 1000)
    assert (move.after, move.when_ns, move.source, move.latest_ns) == (S.CLOSED, 600, "destroy", 600)
    assert comparison.unseen_lives == 0


def test_announced_end_of_what_was_never_seen_is_counted():
    comparison = Comparison(7)
    comparison.look([], {}, 0)
    assert comparison.look([], {KEY: 600}, 1000) == []
    assert comparison.unseen_lives == 1


def test_time_in_state_counts_from_the_look_that_saw_it_first():
    comparison = Comparison(7)
    for now, state in ((0, None), (1000, S.SYN_SENT), (2000, S.SYN_SENT), (3000, S.ESTABLISHED)):
        found = comparison.look([row(state)] if state else [], {}, now)
    assert found[0].in_state_ns == 2000


@pytest.mark.parametrize("before", list(State))
@pytest.mark.parametrize("after", list(State))
def test_any_two_looks_give_moves_that_lead_from_one_to_the_other(before, after):
    found = after_looks([row(before)], [row(after)])
    if before is after:
        assert found == []
        return
    assert (found[0].before, found[-1].after) == (before, after)
    for first, second in pairwise(found):
        assert first.after is second.before is S.CLOSED
    assert all(move.event is None or (move.before, move.after) in EDGES for move in found)
