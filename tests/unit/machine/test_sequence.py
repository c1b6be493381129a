"""Sequence arithmetic against plain integers, across the wrap."""

from hypothesis import given
from hypothesis import strategies as st

from tcpscope.machine.sequence import HALF, MASK, add, distance, latest

NUMBERS = st.integers(0, MASK)
STEPS = st.integers(-HALF + 1, HALF - 1)


@given(NUMBERS, STEPS)
def test_distance_undoes_add(number, step):
    assert distance(add(number, step), number) == step


@given(NUMBERS, STEPS)
def test_latest_agrees_with_the_distance(number, step):
    other = add(number, step)
    assert latest(other, number) == (other if step >= 0 else number)
