"""The readers' inner loops compiled by numba, for captures large enough to repay its start (extra ``fast``).

It does the ordinary and leaves the rest: at anything but a sound record, or a sound enhanced packet block of a known
interface with a time within 62 bits, it stops and the reader's own text goes on. So there is one judge of damage.
"""

from __future__ import annotations

import sys
from array import array
from types import FunctionType

from tcpscope import extras, native
from tcpscope.model.record import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableSequence, Sequence
    from typing import Any

    from tcpscope.native import Thing, longs_at, octets_at

    Column = MutableSequence[int]

_HUGE = 1 << 62
_LEAST_RECORD_BYTES = 16


class CompiledColumns:
    """Columns of a chunk as numpy arrays of one size, used again for each chunk; ``size`` packets are in them.

    Raises ``Unsupported`` when numpy or numba is missing.
    """

    def __init__(self, buffer_bytes: int) -> None:
        self._numpy = extras.require("numpy", "the compiled reader")
        entries = native.load(UNIT)
        self._hop_records, self._hop_blocks = entries["hop_records"], entries["hop_blocks"]
        self.size = 0
        self.buffer_bytes = buffer_bytes
        self._capacity = buffer_bytes // _LEAST_RECORD_BYTES + 1
        empty = self._numpy.empty
        self.columns: list[Any] = [empty(self._capacity, self._numpy.int64) for _ in range(6)]
        self._places = [native.address_of(column) for column in self.columns]
        self._count = array("q", [0])
        self._tables: Any = None

    @property
    def is_new(self) -> bool:
        """Whether it does not know any interfaces yet."""
        return self._tables is None

    def __len__(self) -> int:
        return self.size

    def add(self, *facts: int) -> None:
        """Append one packet: offset, captured and original length, time, interface, link type."""
        for column, fact in zip(self.columns, facts, strict=True):
            column[self.size] = fact
        self.size += 1

    def fill_interface(self, interface: int, link_type: int) -> None:
        """Set these two columns for every packet."""
        self.columns[4][: self.size] = interface
        self.columns[5][: self.size] = link_type

    def as_columns(self) -> tuple[Any, ...]:
        """Return the six columns, each as long as there are packets."""
        return tuple(column[: self.size] for column in self.columns)

    def hop_records(
        self, data: bytearray, position: int, end: int, is_big: bool, skip: int, limit: int, ns_per_fraction: int
    ) -> int:
        """Append sound pcap records; return where the first other one begins."""
        position = self._hop_records(
            native.address_of(data), position, end, is_big, skip, limit, ns_per_fraction, *self._room()
        )
        self.size = self._count[0]
        return position

    def set_interfaces(self, interfaces: list[tuple[int, int, int, int, int]]) -> None:
        """Take ``(index, link type, multiplier, divisor, offset_ns)`` of the interfaces of the present section."""
        rows = []
        for index, link_type, multiplier, divisor, offset_ns in interfaces:
            is_simple = multiplier * divisor < _HUGE and abs(offset_ns) < _HUGE
            most_ticks = min(_HUGE // multiplier * divisor, _HUGE) if is_simple else -1
            rows.append(
                (index, link_type, multiplier, divisor if is_simple else 1, offset_ns if is_simple else 0, most_ticks)
            )
        self._tables = self._numpy.array(rows or [(0, 0, 1, 1, 0, -1)], self._numpy.int64)

    def hop_blocks(self, data: bytearray, position: int, end: int, is_big: bool, interfaces: int) -> int:
        """Append sound enhanced packet blocks; return where the first other block begins."""
        if not interfaces:
            return position
        position = self._hop_blocks(
            native.address_of(data), position, end, is_big, interfaces, native.address_of(self._tables),
            *self._room(),
        )  # fmt: skip
        self.size = self._count[0]
        return position

    def _room(self) -> tuple[int, ...]:
        self._count[0] = self.size
        return native.address_of(self._count), self._capacity, *self._places


def _read_32(data: Sequence[int], at: int, is_big: bool) -> int:
    """Read 32 bits. Why not shifts: compiled, a shifted octet is unsigned and mixes badly."""
    if is_big:
        return data[at] * 0x1000000 + data[at + 1] * 0x10000 + data[at + 2] * 0x100 + data[at + 3]
    return data[at + 3] * 0x1000000 + data[at + 2] * 0x10000 + data[at + 1] * 0x100 + data[at]


def _hop_records(
    data: Sequence[int], position: int, end: int, is_big: bool, skip: int, limit: int, unit: int, count: Column,
    room: int, offsets: Column, captureds: Column, originals: Column, times: Column,
) -> int:  # fmt: skip
    size = count[0]
    while position + skip <= end and size < room:
        captured = _read_32(data, position + 8, is_big)
        if captured > limit or position + skip + captured > end:
            break
        original = _read_32(data, position + 12, is_big)
        offsets[size] = position + skip
        captureds[size] = captured
        originals[size] = original if original > captured else captured
        times[size] = _read_32(data, position, is_big) * 1_000_000_000 + _read_32(data, position + 4, is_big) * unit
        size += 1
        position += skip + captured
    count[0] = size
    return position


def _hop_blocks(
    data: Sequence[int], position: int, end: int, is_big: bool, interfaces: int, table: Sequence[int],
    count: Column, room: int, offsets: Column, captureds: Column, originals: Column, times: Column, indexes: Column,
    link_types: Column,
) -> int:  # fmt: skip
    size = count[0]
    while position + 32 <= end and size < room:
        length = _read_32(data, position + 4, is_big)
        if _read_32(data, position, is_big) != 6 or length < 32 or length & 3 or position + length > end:
            break
        number = _read_32(data, position + 8, is_big)
        high = _read_32(data, position + 12, is_big)
        captured = _read_32(data, position + 20, is_big)
        if number >= interfaces or captured > length - 32 or high >= 1 << 30:
            break
        ticks = high << 32 | _read_32(data, position + 16, is_big)
        if ticks > table[number * 6 + 5] or _read_32(data, position + length - 4, is_big) != length:
            break
        multiplier, divisor = table[number * 6 + 2], table[number * 6 + 3]
        original = _read_32(data, position + 24, is_big)
        offsets[size] = position + 28
        captureds[size] = captured
        originals[size] = original if original > captured else captured
        times[size] = ticks // divisor * multiplier + ticks % divisor * multiplier // divisor + table[number * 6 + 4]
        indexes[size] = table[number * 6]
        link_types[size] = table[number * 6 + 1]
        size += 1
        position += length
    count[0] = size
    return position


def _enter_records(
    data: int, position: int, end: int, is_big: int, skip: int, limit: int, unit: int, count: int, room: int,
    offsets: int, captureds: int, originals: int, times: int, indexes: int, link_types: int,
) -> int:  # fmt: skip
    return _hop_records(
        octets_at(data), position, end, is_big != 0, skip, limit, unit, longs_at(count), room, longs_at(offsets),
        longs_at(captureds), longs_at(originals), longs_at(times),
    )  # fmt: skip


def _enter_blocks(
    data: int, position: int, end: int, is_big: int, interfaces: int, table: int, count: int, room: int,
    offsets: int, captureds: int, originals: int, times: int, indexes: int, link_types: int,
) -> int:  # fmt: skip
    return _hop_blocks(
        octets_at(data), position, end, is_big != 0, interfaces, longs_at(table), longs_at(count), room,
        longs_at(offsets), longs_at(captureds), longs_at(originals), longs_at(times), longs_at(indexes),
        longs_at(link_types),
    )  # fmt: skip


def _build(numba: Thing) -> dict[str, Thing]:
    names: dict[str, Thing] = {"__name__": __name__, **native.pointers(numba)}
    for function in (_read_32, _hop_records, _hop_blocks, _enter_records, _enter_blocks):
        names[function.__name__] = native.jit(FunctionType(function.__code__, names, function.__name__), numba)
    return {"hop_records": names["_enter_records"], "hop_blocks": names["_enter_blocks"]}


UNIT = native.Unit("reader", (sys.modules[__name__],), {"hop_records": 15, "hop_blocks": 14}, _build)
