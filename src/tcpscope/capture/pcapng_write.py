"""Writing pcapng: one section, its interfaces with nanosecond clocks, enhanced packet blocks."""

from __future__ import annotations

from struct import Struct

from tcpscope.capture.packets import Interface
from tcpscope.capture.pcapng import ENHANCED_PACKET, INTERFACE_DESCRIPTION, SECTION_HEADER
from tcpscope.model.record import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_USER_APPLICATION, _IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL, _IF_FILTER = 4, 2, 3, 9, 11
_NANOSECONDS = b"\x09"


class PcapngWriter:
    """Writes a pcapng file. ``file`` is binary and stays open."""

    def __init__(
        self, file: BinaryIO, interfaces: Sequence[Interface], *, byte_order: str = "<", application: str = "tcpscope"
    ) -> None:
        self._file = file
        self._order = byte_order
        self._head = Struct(byte_order + "II")
        self._length = Struct(byte_order + "I")
        self._packet = Struct(byte_order + "IIIIIII")
        section = Struct(byte_order + "IHHq").pack(_BYTE_ORDER_MAGIC, 1, 0, -1)
        self._write_block(SECTION_HEADER, section + self._options((_USER_APPLICATION, application.encode())))
        for interface in interfaces:
            self._write_interface(interface)

    def write(self, t_ns: int, data: bytes | bytearray | memoryview, original_len: int = 0, interface: int = 0) -> None:
        """Append one packet of ``interface``; ``original_len`` is its length on the wire when more was there."""
        length, ticks = len(data), t_ns & 0xFFFF_FFFF_FFFF_FFFF
        total = 32 + (length + 3 & ~3)
        write = self._file.write
        write(
            self._packet.pack(
                ENHANCED_PACKET, total, interface, ticks >> 32, ticks & 0xFFFF_FFFF, length, max(original_len, length)
            )
        )
        write(data)
        write(b"\0" * (-length % 4) + self._length.pack(total))

    def _write_interface(self, interface: Interface) -> None:
        fixed = Struct(self._order + "HHI").pack(interface.link_type, 0, interface.snaplen)
        options = self._options(
            (_IF_NAME, interface.name.encode()),
            (_IF_DESCRIPTION, interface.description.encode()),
            (_IF_FILTER, b"\0" + interface.filter.encode() if interface.filter else b""),
            (_IF_TSRESOL, _NANOSECONDS),
        )
        self._write_block(INTERFACE_DESCRIPTION, fixed + options)

    def _write_block(self, kind: int, body: bytes) -> None:
        total = 12 + len(body)
        self._file.write(self._head.pack(kind, total) + body + self._length.pack(total))

    def _options(self, *options: tuple[int, bytes]) -> bytes:
        head = Struct(self._order + "HH").pack
        raw = b"".join(head(code, len(value)) + value + b"\0" * (-len(value) % 4) for code, value in options if value)
        return raw + head(0, 0)
