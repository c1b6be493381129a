"""One connection captured before and after an address translation (NAT), as at all interfaces of a router.

Its packets bear other addresses on each side and are followed as two connections; both stay. What tells them: the
numbers of both ends begin and end alike, both were there at the same time, and one end is the same. Initial numbers are
random, so real connections never agree in both; captures made up by programs may.
"""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcpscope.packets.ledger import Ledger

#: So much later, at most, the other side is captured.
_APART_NS = 100_000_000
_HIGH = layout.HALF_WORDS


def find_translated(ledger: Ledger) -> list[tuple[int, int]]:
    """Return pairs of serials that look like one connection before and after NAT."""
    candidates = _equals_in_lists(ledger) if isinstance(ledger.flows, list) else _equals_in_arrays(ledger)
    return [(one, other) for one, other in candidates if _are_one(ledger, one, other)]


def _equals_in_lists(ledger: Ledger) -> Iterator[tuple[int, int]]:
    """Yield pairs whose initial numbers are those of no third connection."""
    serials_of: dict[tuple[int, int], list[int]] = {}
    for serial, f in enumerate(ledger.flows):
        if f[layout.BITS] & f[_HIGH + layout.BITS] & layout.HAS_ISN:
            isns = f[layout.ISN] & layout.M, f[_HIGH + layout.ISN] & layout.M
            serials_of.setdefault((min(isns), max(isns)), []).append(serial)
    yield from ((found[0], found[1]) for found in serials_of.values() if len(found) == 2)


def _equals_in_arrays(ledger: Ledger) -> Iterator[tuple[int, int]]:
    """Do the same over all rows at once."""
    import numpy as np

    flows = ledger.flows
    (serials,) = (flows[:, layout.BITS] & flows[:, _HIGH + layout.BITS] & layout.HAS_ISN).nonzero()
    low, high = (flows[serials, half + layout.ISN].astype(np.uint32).astype(np.uint64) for half in (0, _HIGH))
    names = np.minimum(low, high) << np.uint64(32) | np.maximum(low, high)
    order = names.argsort(kind="stable")
    is_equal = np.zeros(len(names) + 1, bool)  # to the one before; there is none before the first, nor behind the last
    is_equal[1:-1] = names[order[1:]] == names[order[:-1]]
    for place in (is_equal[1:-1] & ~is_equal[:-2] & ~is_equal[2:]).nonzero()[0].tolist():
        yield int(serials[order[place]]), int(serials[order[place + 1]])


def _are_one(ledger: Ledger, one: int, other: int) -> bool:
    ends, numbers, times = [], [], []
    for serial in (one, other):
        f, q, _, key = ledger.flow(serial)
        half = (len(key) - 4) // 2
        ends.append({key[:half] + key[-4:-2], key[half:-4] + key[-2:]})
        numbers.append(sorted((f[end + layout.ISN], f[end + layout.NXT]) for end in (0, _HIGH)))
        times.append((q[layout.FIRST_NS], max(q[layout.LAST_NS], q[layout.LAST_NS + 1])))
    is_near = all(abs(here - there) <= _APART_NS for here, there in zip(*times, strict=True))
    return is_near and numbers[0] == numbers[1] and len(ends[0] & ends[1]) == 1
