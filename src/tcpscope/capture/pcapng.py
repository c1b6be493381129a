"""pcapng: blocks, several sections and interfaces, both byte orders (draft-ietf-opsawg-pcapng).

Section header, interface description, enhanced, simple and obsolete packet blocks are read; name resolution,
statistics, secrets, custom and unknown blocks are skipped by their length. A block is believed when its length
stands at both of its ends; otherwise it is reported and reading goes on at the next block that can be believed.

A simple packet block has no time: it gets the time of the packet before it.
"""

from __future__ import annotations

from struct import Struct

from tcpscope.capture.damage_log import DamageLog
from tcpscope.capture.hop_compiled import CompiledColumns
from tcpscope.capture.packets import MAX_BLOCK_BYTES, MAX_PACKET_BYTES, MAX_SEARCH_BYTES, Columns, Format, Interface
from tcpscope.model.record import NamedTuple

SECTION_HEADER, INTERFACE_DESCRIPTION, OBSOLETE_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
#: Name resolution, interface statistics, systemd journal, decryption secrets, custom (two kinds).
_SKIPPED = (4, 5, 9, 10, 0x00000BAD, 0x40000BAD)
_KNOWN = frozenset((SECTION_HEADER, INTERFACE_DESCRIPTION, OBSOLETE_PACKET, SIMPLE_PACKET, ENHANCED_PACKET, *_SKIPPED))
MAGIC = b"\x0a\x0d\x0d\x0a"
_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
MAX_INTERFACES = 65_536
_MAX_TEXT_BYTES = 1024
_MAX_INT64, _MIN_INT64 = (1 << 63) - 1, -(1 << 63)
_NS = 1_000_000_000
_IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL, _IF_FILTER, _IF_OS, _IF_TSOFFSET = 2, 3, 9, 11, 12, 14


class Clock(NamedTuple):
    """Turns ticks into nanoseconds: ``ticks * multiplier // divisor + offset_ns``."""

    multiplier: int = 1000
    divisor: int = 1
    offset_ns: int = 0
    resolution: str = "10^-6 s"

    def to_ns(self, ticks: int) -> int:
        """Return nanoseconds since the epoch, held within 64 bits."""
        return max(_MIN_INT64, min(_MAX_INT64, ticks * self.multiplier // self.divisor + self.offset_ns))


def clock_of(resolution: int, offset_s: int) -> Clock:
    """Build the clock for an ``if_tsresol`` octet and ``if_tsoffset`` seconds."""
    exponent, offset_ns = resolution & 0x7F, offset_s * _NS
    if resolution & 0x80:
        return Clock(_NS, 1 << exponent, offset_ns, f"2^-{exponent} s")
    if exponent <= 9:
        return Clock(10 ** (9 - exponent), 1, offset_ns, f"10^-{exponent} s")
    return Clock(1, 10 ** (exponent - 9), offset_ns, f"10^-{exponent} s")


class _Local(NamedTuple):
    """What the packets of one interface of the present section need."""

    interface: int  #: into ``PcapngReader.interfaces``, -1 when that is full
    link_type: int
    snaplen: int
    clock: Clock


class PcapngReader:
    """Hops over the blocks of one file."""

    def __init__(self, damage: DamageLog, byte_order: str = "<") -> None:
        self.format = Format("pcapng", byte_order, header_bytes=0, record_header_bytes=0, version=(1, 0))
        self.damage = damage
        self.interfaces: list[Interface] = []
        self.wanted = 12
        self._locals: list[_Local] = []
        self._are_locals_new = True
        self._last_ns = 0
        self._lost_at = -1
        self._has_given_up = False
        self._set_order(byte_order)

    def _set_order(self, order: str) -> None:
        self._order = order
        self._head = Struct(order + "II")
        self._length = Struct(order + "I")
        self._enhanced = Struct(order + "IIIII")
        self._usual = Struct(order + "IIIIIII")
        self._obsolete = Struct(order + "HHIIII")

    def hop(
        self,
        data: bytearray,
        start: int,
        end: int,
        columns: Columns | CompiledColumns,
        place_bytes: int,
        *,
        is_end: bool,
    ) -> int:
        """Append the packets of every whole block in ``data[start:end]``; return where the rest begins."""
        position = start
        while not self._has_given_up:
            if self._lost_at >= 0:
                position = self._find_block(data, position, end, place_bytes, is_end)
                if self._lost_at >= 0:
                    return position
            position, problem = self._hop_blocks(data, position, end, columns, place_bytes)
            if not problem:
                return position
            self._lost_at = place_bytes + position
            self.damage.add(self._lost_at, problem)
            position += 4
        return end

    def finish(self, data: bytearray, start: int, end: int, place_bytes: int, *, is_growing: bool) -> None:
        """Say what is left over at the end of the file."""
        if self._lost_at >= 0:
            self.damage.close_gap(place_bytes + end)
            return
        left = end - start
        if left:
            claimed = self._length.unpack_from(data, start + 4)[0] if left >= 8 else 12
            what = f"the file ends inside a block ({left} of {claimed} bytes)"
            what += "; it is still being written" if is_growing else ""
            self.damage.add(place_bytes + start, what, left)

    def _hop_blocks(
        self, data: bytearray, position: int, end: int, columns: Columns | CompiledColumns, place: int
    ) -> tuple[int, str]:
        """Hop until the bytes end or something is wrong: ``(position, problem or "")``."""
        self.wanted = 12
        while position + 12 <= end:
            hop = self._hop_compiled if isinstance(columns, CompiledColumns) else self._hop_usual
            position = hop(data, position, end, columns)  # type: ignore[arg-type]  # chosen by its type
            if position + 12 > end:
                break
            kind, length = self._head.unpack_from(data, position)
            if kind == SECTION_HEADER:
                order = _ORDERS.get(bytes(data[position + 8 : position + 12]))
                if order is None:
                    return position, "a section header without a byte-order magic"
                self._set_order(order)
                length = self._length.unpack_from(data, position + 4)[0]
            if not 12 <= length <= MAX_BLOCK_BYTES:
                return position, f"a block claims {length} bytes (12 to {MAX_BLOCK_BYTES} make sense)"
            padded = length + 3 & ~3
            if position + padded > end:
                self.wanted = padded
                return position, ""
            trailer = self._length.unpack_from(data, position + padded - 4)[0]
            if trailer != length:
                return position, f"a block begins with length {length} and ends with length {trailer}"
            problem = self._eat(kind, data, position + 8, position + length - 4, columns)
            if problem:
                self.damage.add(place + position, problem, padded)
            position += padded
        return position, ""

    def _hop_usual(self, data: bytearray, position: int, end: int, columns: Columns) -> int:
        """Append enhanced packet blocks as long as nothing else comes; anything odd is left to the caller."""
        unpack, trailer = self._usual.unpack_from, self._length.unpack_from
        known, count = self._locals, len(self._locals)
        offsets, captureds, originals = columns.offset.append, columns.captured_len.append, columns.original_len.append
        times, interfaces, link_types = columns.t_ns.append, columns.interface.append, columns.link_type.append
        while position + 32 <= end:
            kind, length, number, high, low, captured, original = unpack(data, position)
            after = position + length
            if kind != ENHANCED_PACKET or number >= count or after > end or length & 3 or captured + 32 > length:
                break
            if trailer(data, after - 4)[0] != length:
                break
            index, link_type, _, (multiplier, divisor, offset_ns, _) = known[number]
            t_ns = (high << 32 | low) * multiplier // divisor + offset_ns
            if not _MIN_INT64 <= t_ns <= _MAX_INT64:
                break
            self._last_ns = t_ns
            offsets(position + 28)
            captureds(captured)
            originals(original if original > captured else captured)
            times(t_ns)
            interfaces(index)
            link_types(link_type)
            position = after
        return position

    def _hop_compiled(self, data: bytearray, position: int, end: int, columns: CompiledColumns) -> int:
        if self._are_locals_new or columns.is_new:
            columns.set_interfaces([(each.interface, each.link_type, *each.clock[:3]) for each in self._locals])
            self._are_locals_new = False
        before = columns.size
        position = columns.hop_blocks(data, position, end, self._order == ">", len(self._locals))
        if columns.size > before:
            self._last_ns = int(columns.columns[3][columns.size - 1])
        return position

    def _eat(self, kind: int, data: bytearray, start: int, end: int, columns: Columns | CompiledColumns) -> str:
        """Read one block's body; return what is wrong with it, or an empty string."""
        if kind == ENHANCED_PACKET:
            if end - start < 20:
                return "an enhanced packet block too short for its fields"
            number, high, low, captured, original = self._enhanced.unpack_from(data, start)
            return self._add(number, high << 32 | low, captured, original, start + 20, end, columns)
        if kind == SIMPLE_PACKET:
            return self._eat_simple(data, start, end, columns)
        if kind == OBSOLETE_PACKET:
            if end - start < 20:
                return "a packet block too short for its fields"
            number, _drops, high, low, captured, original = self._obsolete.unpack_from(data, start)
            return self._add(number, high << 32 | low, captured, original, start + 20, end, columns)
        if kind == INTERFACE_DESCRIPTION:
            return self._eat_interface(data, start, end)
        if kind == SECTION_HEADER:
            return self._eat_section(data, start, end)
        return ""

    def _add(
        self,
        number: int,
        ticks: int,
        captured: int,
        original: int,
        offset: int,
        end: int,
        columns: Columns | CompiledColumns,
    ) -> str:
        if number >= len(self._locals):
            return f"a packet of interface {number}, which is not described"
        if offset + captured > end:
            return f"a packet claims {captured} captured bytes in a block with room for {end - offset}"
        index, link_type, _, clock = self._locals[number]
        self._last_ns = t_ns = clock.to_ns(ticks)
        columns.add(offset, captured, max(original, captured), t_ns, index, link_type)
        return ""

    def _eat_simple(self, data: bytearray, start: int, end: int, columns: Columns | CompiledColumns) -> str:
        if end - start < 4:
            return "a simple packet block too short for its fields"
        if not self._locals:
            return "a packet of interface 0, which is not described"
        original = self._length.unpack_from(data, start)[0]
        index, link_type, snaplen, _ = self._locals[0]
        captured = min(original, snaplen or original, end - start - 4)
        columns.add(start + 4, captured, original, self._last_ns, index, link_type)
        return ""

    def _eat_section(self, data: bytearray, start: int, end: int) -> str:
        self._locals = []
        self._are_locals_new = True
        if end - start < 16:
            return "a section header too short for its fields"
        major, minor = Struct(self._order + "HH").unpack_from(data, start + 4)
        return "" if major == 1 else f"a section of pcapng version {major}.{minor} (only 1.x is known)"

    def _eat_interface(self, data: bytearray, start: int, end: int) -> str:
        if end - start < 8:
            return "an interface description too short for its fields"
        if len(self._locals) >= MAX_INTERFACES:
            return f"more than {MAX_INTERFACES} interfaces: this one is left out"
        link_type, _, snaplen = Struct(self._order + "HHI").unpack_from(data, start)
        options = self._options(data, start + 8, end)
        offset = options.get(_IF_TSOFFSET, b"")
        offset_s = Struct(self._order + "q").unpack(offset)[0] if len(offset) == 8 else 0
        clock = clock_of((options.get(_IF_TSRESOL) or b"\x06")[0], offset_s)
        index = len(self.interfaces) if len(self.interfaces) < MAX_INTERFACES else -1
        self._are_locals_new = True
        self._locals.append(_Local(index, link_type, snaplen, clock))
        if index >= 0:
            self.interfaces.append(_interface(link_type, snaplen, options, clock, offset_s))
        return ""

    def _options(self, data: bytearray, position: int, end: int) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        unpack = Struct(self._order + "HH").unpack_from
        while position + 4 <= end:
            code, length = unpack(data, position)
            if not code or position + 4 + length > end:
                break
            found.setdefault(code, bytes(data[position + 4 : position + 4 + min(length, _MAX_TEXT_BYTES)]))
            position += 4 + (length + 3 & ~3)
        return found

    def _find_block(self, data: bytearray, position: int, end: int, place_bytes: int, is_end: bool) -> int:
        """Look for a block whose two lengths agree; return where it begins, or where to go on looking."""
        while position + 12 <= end:
            needed = self._needed_to_believe(data, position, end)
            if needed > end - position and not is_end:
                self.wanted = needed
                return position
            if not needed:
                self.damage.close_gap(place_bytes + position)
                self._lost_at = -1
                return position
            position += 1
            if place_bytes + position - self._lost_at > MAX_SEARCH_BYTES:
                self.damage.close_gap(place_bytes + position)
                self.damage.add(place_bytes + position, f"no sound block in {MAX_SEARCH_BYTES} bytes: reading stopped")
                self._has_given_up = True
                return end
        return position

    def _needed_to_believe(self, data: bytearray, position: int, end: int) -> int:
        """Return 0 when a sound block begins here, 1 when none does, else how many bytes must be seen."""
        if bytes(data[position : position + 4]) == MAGIC:
            return 0 if bytes(data[position + 8 : position + 12]) in _ORDERS else 1
        kind, length = self._head.unpack_from(data, position)
        if kind not in _KNOWN or not 12 <= length <= 2 * MAX_PACKET_BYTES or length % 4:
            return 1
        if position + length > end:
            return int(length)
        return 0 if self._length.unpack_from(data, position + length - 4)[0] == length else 1


def _interface(link_type: int, snaplen: int, options: dict[int, bytes], clock: Clock, offset_s: int) -> Interface:
    packet_filter = options.get(_IF_FILTER, b"")
    return Interface(
        link_type,
        snaplen,
        _text(options.get(_IF_NAME, b"")),
        _text(options.get(_IF_DESCRIPTION, b"")),
        _text(packet_filter[1:]) if packet_filter[:1] == b"\0" else "",
        _text(options.get(_IF_OS, b"")),
        clock.resolution,
        offset_s,
    )


def _text(raw: bytes) -> str:
    """Decode a string of the file; what a terminal would obey is replaced."""
    return "".join(char if char.isprintable() else "?" for char in raw.decode("utf-8", "replace").rstrip("\0"))
