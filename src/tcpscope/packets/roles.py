"""Which end of a captured connection is the client, and how addresses are spelled."""

from __future__ import annotations

from collections.abc import Sequence

from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets import layout

if TYPE_CHECKING:
    from typing import Any


def client_end(f: Sequence[int], key: bytes) -> tuple[int, bool]:
    """Return which end is the client, and whether a handshake says so. Of two that opened it is the first."""
    opened = [f[end * layout.HALF_WORDS + layout.BITS] >> layout.OPENED_SHIFT & 3 for end in (0, 1)]
    if f[layout.SHARED] & layout.SELF:
        return 0, opened[0] != layout.UNKNOWN
    if opened[0] == layout.ACTIVELY and opened[1] == layout.ACTIVELY:
        return (1 if f[layout.SHARED] & layout.HIGH_FIRST else 0), True
    for end in (0, 1):
        if opened[end] == layout.ACTIVELY or opened[1 - end] in (layout.PASSIVELY, layout.REOPENED):
            return end, True
    low_port, high_port = int.from_bytes(key[-4:-2]), int.from_bytes(key[-2:])
    return (1, False) if low_port < high_port else (0, False)


def clients_are_high(flows: Any, keys: Any) -> Any:  # noqa: ANN401 - arrays
    """Say for each row whether the higher end is the client: :func:`client_end` over columns."""
    high, shared = layout.HALF_WORDS, flows[:, layout.SHARED]
    opened_low = flows[:, layout.BITS] >> layout.OPENED_SHIFT & 3
    opened_high = flows[:, high + layout.BITS] >> layout.OPENED_SHIFT & 3
    says_low = (opened_low == layout.ACTIVELY) | (opened_high == layout.PASSIVELY) | (opened_high == layout.REOPENED)
    says_high = (opened_high == layout.ACTIVELY) | (opened_low == layout.PASSIVELY) | (opened_low == layout.REOPENED)
    are_both = (opened_low == layout.ACTIVELY) & (opened_high == layout.ACTIVELY)
    is_high_first = are_both & ((shared & layout.HIGH_FIRST) != 0)
    by_port = (keys[:, 8] >> 16) < (keys[:, 8] & 0xFFFF)
    return ((shared & layout.SELF) == 0) & (is_high_first | (~says_low & (says_high | by_port)))


class NumberedEnds:
    """One end of each row, equal ends under one number. ``number_of`` is the column of them, from 0 to ``count``."""

    def __init__(self, flows: Any, keys: Any, is_high: Any, *, with_port: bool = True) -> None:  # noqa: ANN401 - arrays
        import numpy

        self._flows, self._keys, self._is_high = flows, keys, is_high
        words = [numpy.where(is_high, keys[:, 4 + word], keys[:, word]).astype(numpy.int64) for word in range(4)]
        is_ipv6 = (flows[:, layout.SHARED] & layout.IS_IPV6) != 0
        names = words[0] << 17 | is_ipv6
        if with_port:
            names |= numpy.where(is_high, keys[:, 8] & 0xFFFF, keys[:, 8] >> 16).astype(numpy.int64) << 1
        _, self._firsts, self.number_of = numpy.unique(names, return_index=True, return_inverse=True)
        if is_ipv6.any():
            for word in words[1:]:
                names = self.number_of << 32 | word
                _, self._firsts, self.number_of = numpy.unique(names, return_index=True, return_inverse=True)
        self.count = len(self._firsts)

    def pack(self, number: int) -> bytes:
        """Pack address and port of an end."""
        row = int(self._firsts[number])
        key = self._keys[row].tolist()
        start, port = (4, key[8] & 0xFFFF) if self._is_high[row] else (0, key[8] >> 16)
        size = 4 if self._flows[row, layout.SHARED] & layout.IS_IPV6 else 1
        octets = b"".join(word.to_bytes(4) for word in key[start : start + size])
        return octets + int(port).to_bytes(2)


def spell_address(packed: bytes) -> str:
    """Spell four or sixteen octets."""
    if len(packed) == 4:
        return ".".join(map(str, packed))
    from ipaddress import IPv6Address

    return str(IPv6Address(packed))
