"""Sequence arithmetic against plain integers, across the wrap."""

from hypothesis import given
from hypothesis import strategies as st

from tcpscope.machine.sequence import HALF, MASK, add, distance, is_after, is_before, is_within, latest

NUMBERS = st.integers(0, MASK)
STEPS = st.integers(-HALF + 1, HALF - 1)


@given(NUMBERS, STEPS)
def test_distance_undoes_add(number, step):
    assert distance(add(number, step), number) == step


@given(NUMBERS, STEPS)
def test_comparisons_agree_with_the_distance(number, step):
    other = add(number, step)
    assert is_after(other, number) == (step > 0)
    assert is_before(other, number) == (step < 0)
    assert latest(other, number) == (other if step >= 0 else number)


@given(NUMBERS, st.integers(0, HALF - 1), st.integers(0, HALF - 1))
def test_is_within_counts_octets(left, offset, octets):
    assert is_within(add(left, offset), left, octets) == (offset < octets)
