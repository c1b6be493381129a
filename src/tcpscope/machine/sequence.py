"""Sequence arithmetic modulo 2**32 (RFC 9293 §3.4): sums, distances and comparisons that survive wrap-around.

Numbers are plain ``int`` in ``range(2**32)``. A comparison is right as long as the two numbers are less than 2**31
apart, which a window of at most 2**30 octets guarantees (RFC 7323 §2.3). Paths that run per segment write
``(a - b) & MASK`` in place instead of calling these.
"""

from __future__ import annotations

MASK = 0xFFFFFFFF
HALF = 0x80000000


def add(number: int, octets: int) -> int:
    """Return ``number`` moved by ``octets`` (which may be negative)."""
    return (number + octets) & MASK


def distance(later: int, earlier: int) -> int:
    """Return how far ``later`` lies after ``earlier``; negative when it lies before (-2**31 .. 2**31 - 1)."""
    return ((later - earlier + HALF) & MASK) - HALF


def latest(one: int, other: int) -> int:
    """Return the later of the two."""
    return other if (one - other) & MASK >= HALF else one
