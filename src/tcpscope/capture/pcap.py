"""pcap: the classic format, read and written (draft-ietf-opsawg-pcap).

Both byte orders, microseconds and nanoseconds, and the variant with 24-byte record headers ("modified", Kuznetzov).
Reading is resumable: :meth:`PcapReader.hop` eats whole records out of a buffer and says how far it came. What does
not make sense is reported with its place; reading goes on at the next two records that make sense.
"""

from __future__ import annotations

from struct import Struct

from tcpscope.capture.damage_log import DamageLog
from tcpscope.capture.hop_compiled import CompiledColumns
from tcpscope.capture.packets import MAX_PACKET_BYTES, MAX_SEARCH_BYTES, Columns, Format, Interface
from tcpscope.model.record import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

#: First four bytes -> (byte order, nanoseconds per fraction, bytes of a record's header).
MAGICS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000, 16),
    b"\xd4\xc3\xb2\xa1": ("<", 1000, 16),
    b"\xa1\xb2\x3c\x4d": (">", 1, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 1, 16),
    b"\xa1\xb2\xcd\x34": (">", 1000, 24),
    b"\x34\xcd\xb2\xa1": ("<", 1000, 24),
}
HEADER_BYTES = 24
_NS = 1_000_000_000
#: A record further than this from the one before makes no sense when looking for the next record.
_PLAUSIBLE_GAP_S = 86_400 * 366
_LEAST_PACKET_BYTES = 14


def parse_header(start: bytes) -> Format | None:
    """Read a file header; ``None`` when ``start`` is no pcap. A header cut short is filled up with zeros."""
    known = MAGICS.get(bytes(start[:4]))
    if known is None:
        return None
    order, ns_per_fraction, record_header_bytes = known
    padded = bytes(start[:HEADER_BYTES]).ljust(HEADER_BYTES, b"\0")
    _, major, minor, _, _, snaplen, network = Struct(order + "IHHiIII").unpack(padded)
    # Why: the upper bits of the last word hold the length of the frame check sequence.
    return Format(
        "pcap", order, ns_per_fraction, network & 0xFFFF, snaplen, HEADER_BYTES, record_header_bytes, (major, minor)
    )


class PcapReader:
    """Hops over the records of one file."""

    def __init__(self, facts: Format, damage: DamageLog) -> None:
        self.format = facts
        self.damage = damage
        digits = 9 if facts.ns_per_fraction == 1 else 6
        self.interfaces = [Interface(facts.link_type, facts.snaplen, resolution=f"10^-{digits} s")]
        self.wanted = facts.record_header_bytes  #: bytes that must be in the buffer to get on
        self._header = Struct(facts.byte_order + "IIII")
        self._last_s = -1
        self._lost_at = -1  #: place in the file where the thread was lost, while looking for it
        self._has_given_up = False

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
        """Append every whole record in ``data[start:end]`` to ``columns``; return where the rest begins.

        ``place_bytes`` is where ``data[0]`` stands in the file; ``is_end``: nothing follows.
        """
        rest = self._hop_on(data, start, end, columns, place_bytes, is_end)
        columns.fill_interface(0, self.format.link_type)
        return rest

    def _hop_on(
        self,
        data: bytearray,
        position: int,
        end: int,
        columns: Columns | CompiledColumns,
        place_bytes: int,
        is_end: bool,
    ) -> int:
        while not self._has_given_up:
            if self._lost_at >= 0:
                position = self._find_record(data, position, end, place_bytes, is_end)
                if self._lost_at >= 0:
                    return position
            if isinstance(columns, CompiledColumns):
                position, is_sound = self._hop_compiled(data, position, end, columns)
            else:
                position, is_sound = self._hop_records(data, position, end, columns)
            if is_sound:
                return position
            self._lose(data, position, place_bytes)
            position += 1
        return end

    def finish(self, data: bytearray, start: int, end: int, place_bytes: int, *, is_growing: bool) -> None:
        """Say what is left over at the end of the file."""
        if self._lost_at >= 0:
            self.damage.close_gap(place_bytes + end)
            return
        left, skip = end - start, self.format.record_header_bytes
        if not left:
            return
        if left < skip:
            what = f"the file ends inside a record header ({left} of {skip} bytes)"
        else:
            captured = self._header.unpack_from(data, start)[2]
            what = f"the file ends inside a packet ({left - skip} of {captured} captured bytes)"
        what += "; it is still being written" if is_growing else ""
        self.damage.add(place_bytes + start, what, left)

    def _hop_records(self, data: bytearray, position: int, end: int, columns: Columns) -> tuple[int, bool]:
        unpack, skip = self._header.unpack_from, self.format.record_header_bytes
        limit, per_fraction = self.format.max_captured_bytes, self.format.ns_per_fraction
        offsets, captureds = columns.offset.append, columns.captured_len.append
        originals, times = columns.original_len.append, columns.t_ns.append
        self.wanted = skip
        while position + skip <= end:
            seconds, fraction, captured, original = unpack(data, position)
            after = position + skip + captured
            if after > end:
                self.wanted = skip + captured
                return position, captured <= limit
            if captured > limit:
                return position, False
            offsets(position + skip)
            captureds(captured)
            originals(original if original > captured else captured)
            times(seconds * _NS + fraction * per_fraction)
            position = after
            self._last_s = seconds
        return position, True

    def _hop_compiled(self, data: bytearray, position: int, end: int, columns: CompiledColumns) -> tuple[int, bool]:
        facts, limit = self.format, self.format.max_captured_bytes
        skip = self.wanted = facts.record_header_bytes
        position = columns.hop_records(data, position, end, facts.byte_order == ">", skip, limit, facts.ns_per_fraction)
        if columns.size:
            self._last_s = int(columns.columns[3][columns.size - 1]) // _NS
        if position + skip > end:
            return position, True
        captured = self._header.unpack_from(data, position)[2]
        self.wanted = skip + captured
        return position, captured <= limit

    def _lose(self, data: bytearray, position: int, place_bytes: int) -> None:
        captured = self._header.unpack_from(data, position)[2]
        self._lost_at = place_bytes + position
        limit = self.format.max_captured_bytes
        self.damage.add(self._lost_at, f"a record claims {captured} captured bytes (more than {limit} makes no sense)")

    def _find_record(self, data: bytearray, position: int, end: int, place_bytes: int, is_end: bool) -> int:
        """Look for two plausible records in a row; return where they begin, or where to go on looking."""
        while position < end:
            needed = self._needed_to_believe(data, position, end, is_end)
            if not needed:
                self.damage.close_gap(place_bytes + position)
                self._lost_at = -1
                return position
            if needed > end - position and not is_end:
                self.wanted = needed
                return position
            position += 1
            if place_bytes + position - self._lost_at > MAX_SEARCH_BYTES:
                self.damage.close_gap(place_bytes + position)
                self.damage.add(place_bytes + position, f"no sound record in {MAX_SEARCH_BYTES} bytes: reading stopped")
                self._has_given_up = True
                return end
        return position

    def _needed_to_believe(self, data: bytearray, start: int, end: int, is_end: bool) -> int:
        """Return 0 when two sound records begin here, 1 when they do not, else how many bytes must be seen."""
        position, skip = start, self.format.record_header_bytes
        for _ in range(2):
            if position == end and is_end and position > start:
                return 0
            if position + skip > end:
                return position + skip - start
            seconds, fraction, captured, original = self._header.unpack_from(data, position)
            if not self._is_plausible(seconds, fraction, captured, original):
                return 1
            position += skip + captured
        return 0 if position <= end else position - start

    def _is_plausible(self, seconds: int, fraction: int, captured: int, original: int) -> bool:
        return (
            _LEAST_PACKET_BYTES <= captured <= original <= MAX_PACKET_BYTES
            and fraction * self.format.ns_per_fraction < _NS
            and (self._last_s < 0 or abs(seconds - self._last_s) < _PLAUSIBLE_GAP_S)
        )


class PcapWriter:
    """Writes a pcap file, nanoseconds by default. ``file`` is binary and stays open."""

    def __init__(
        self, file: BinaryIO, link_type: int, *, snaplen: int = 262_144, byte_order: str = "<", nanoseconds: bool = True
    ) -> None:
        self._file = file
        self._ns_per_fraction = 1 if nanoseconds else 1000
        self._record = Struct(byte_order + "IIII")
        magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
        file.write(Struct(byte_order + "IHHiIII").pack(magic, 2, 4, 0, 0, snaplen, link_type))

    def write(self, t_ns: int, data: bytes | bytearray | memoryview, original_len: int = 0) -> None:
        """Append one packet; ``original_len`` is its length on the wire when more than was captured."""
        seconds, nanoseconds = divmod(t_ns, _NS)
        fraction, length = nanoseconds // self._ns_per_fraction, len(data)
        self._file.write(self._record.pack(seconds & 0xFFFFFFFF, fraction, length, max(original_len, length)))
        self._file.write(data)
