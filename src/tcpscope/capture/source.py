"""``CaptureSource``: one way to read packets, whatever file, pipe, compression or format they come from.

Bounded memory: one buffer of a chunk, grown only to a block's own length (at most 16 MiB), and the columns of one
chunk. Damage never raises: it is collected in words with its place, and what could be read is handed out.
"""

from __future__ import annotations

from tcpscope.capture import pcap, pcapng
from tcpscope.capture.damage_log import DamageLog
from tcpscope.capture.hop_compiled import CompiledColumns
from tcpscope.capture.packets import (
    CHUNK_BYTES,
    MAX_BLOCK_BYTES,
    Chunk,
    Columns,
    Format,
    Interface,
    Packet,
)
from tcpscope.capture.stream import ByteStream, open_stream
from tcpscope.model.damage import Damage
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.record import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from typing import BinaryIO

_LEAST_CHUNK_BYTES = 64
#: Beginnings of files that are captures of another kind, or no captures at all.
_OTHERS = (
    (b"snoop\0\0\0", "a Solaris snoop capture (convert it: editcap -F pcap IN OUT)"),
    (b"GMBU", "a Microsoft Network Monitor capture (convert it: editcap -F pcap IN OUT)"),
    (b"RTSS", "a Microsoft Network Monitor 1 capture (convert it: editcap -F pcap IN OUT)"),
    (b"btsnoop\0", "a Bluetooth capture, no TCP in it"),
    (b"\x7fELF", "a program"),
    (b"PK\x03\x04", "a zip archive (unpack it first)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive (unpack it first)"),
    (b"\x04\x22\x4d\x18", "an lz4 file (decompress it first: lz4 -dc FILE | tcpscope read -)"),
)


class CaptureSource:
    """Packets of one file, in chunks. Made by :func:`open_capture`; a context manager.

    ``format`` says how the file is made, ``interfaces`` where packets were captured (it grows while a pcapng is
    read), ``packets`` how many were handed out so far.
    """

    def __init__(self, stream: ByteStream) -> None:
        self.name = stream.name
        self.packets = 0
        self._stream = stream
        self._damage = DamageLog(stream.name)
        self._carry = 0
        self._is_end = False
        self._reader = self._open_reader()

    @property
    def format(self) -> Format:
        """What the file is; see :class:`~tcpscope.capture.packets.Format`."""
        return self._reader.format._replace(compression=self._stream.compression)

    @property
    def interfaces(self) -> list[Interface]:
        """The interfaces described so far."""
        return self._reader.interfaces

    @property
    def damage(self) -> list[Damage]:
        """What is wrong with the file, as far as it was read, in order of place."""
        return self._damage.as_list() + self._stream.damage

    def iter_chunks(self, chunk_bytes: int = CHUNK_BYTES, *, compiled: bool = False) -> Iterator[Chunk]:
        """Yield the packets in chunks of about ``chunk_bytes``; each is valid until the next is asked for.

        ``compiled`` hops with numba and gives the columns as numpy arrays, also used again for the next chunk.
        Raises ``Unsupported`` when the extra ``fast`` is not installed.
        """
        reader = self._reader
        arrays: CompiledColumns | None = None
        for data, end, place in self._iter_filled(chunk_bytes):
            columns: Columns | CompiledColumns = Columns()
            if compiled:
                if arrays is None or arrays.buffer_bytes < len(data):
                    arrays = CompiledColumns(len(data))
                arrays.size = 0
                columns = arrays
            rest = reader.hop(data, 0, end, columns, place, is_end=self._is_end)
            self._carry = end - rest
            if len(columns):
                yield self._chunk(data, place, columns)
            if self._is_end:
                reader.finish(data, rest, end, place, is_growing=self._stream.has_grown())

    def iter_packets(self) -> Iterator[Packet]:
        """Yield packets one by one, copied: for small captures and tests; chunks are the fast way."""
        for chunk in self.iter_chunks():
            for index, offset in enumerate(chunk.offset):
                yield Packet(
                    chunk.first_packet + index,
                    chunk.t_ns[index],
                    bytes(chunk.data[offset : offset + chunk.captured_len[index]]),
                    chunk.original_len[index],
                    chunk.link_type[index],
                    chunk.interface[index],
                )

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> CaptureSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_reader(self) -> pcap.PcapReader | pcapng.PcapngReader:
        start = self._stream.peek(pcap.HEADER_BYTES)
        if start.startswith(pcapng.MAGIC):
            return pcapng.PcapngReader(self._damage)
        facts = pcap.parse_header(start)
        if facts is None:
            broken = next((damage.what for damage in self._stream.damage), "")
            raise TcpscopeError(f"{self.name} is no capture: {broken or _describe_start(start)}")
        if len(start) < pcap.HEADER_BYTES:
            self._damage.add(0, f"the file ends inside its header ({len(start)} of {pcap.HEADER_BYTES} bytes)")
        self._stream.readinto(memoryview(bytearray(len(start))))
        return pcap.PcapReader(facts, self._damage)

    def _iter_filled(self, chunk_bytes: int) -> Iterator[tuple[bytearray, int, int]]:
        """Yield ``(buffer, end, place of its first byte)``, what the user did not use moved to the front."""
        buffer = bytearray(max(chunk_bytes, _LEAST_CHUNK_BYTES))
        end = 0
        while not self._is_end:
            carry = self._carry
            if max(self._reader.wanted, carry + 1) > len(buffer):
                larger = bytearray(max(min(self._reader.wanted, 2 * MAX_BLOCK_BYTES), carry + _LEAST_CHUNK_BYTES))
                larger[:carry] = buffer[end - carry : end]
                buffer = larger
            else:
                buffer[:carry] = buffer[end - carry : end]
            with memoryview(buffer) as view:
                got = self._stream.readinto(view[carry:])
            end = carry + got
            self._is_end = not got
            yield buffer, end, self._stream.place_bytes - end

    def _chunk(self, data: bytearray, place: int, columns: Columns | CompiledColumns) -> Chunk:
        first = self.packets + 1
        self.packets += len(columns)
        return Chunk(data, place, first, *columns.as_columns())


def open_capture(path_or_file: str | os.PathLike[str] | BinaryIO, *, follow: bool = False) -> CaptureSource:
    """Open a capture: a path, ``-`` for standard input, or a binary file object; gzip, bzip2, xz, zstd included.

    ``follow`` waits at the end of a file for more. Raises ``OSError`` when it cannot be opened and ``TcpscopeError``
    when it is no capture, in one line.
    """
    stream = open_stream(path_or_file, follow=follow)
    try:
        return CaptureSource(stream)
    except BaseException:
        stream.close()
        raise


def is_capture(start: bytes) -> bool:
    """Whether a file that begins with ``start`` (decompressed, 24 bytes) is a pcap or pcapng."""
    return start.startswith(pcapng.MAGIC) or pcap.parse_header(start) is not None


def _describe_start(start: bytes) -> str:
    if not start:
        return "it is empty"
    for magic, meaning in _OTHERS:
        if start.startswith(magic):
            return f"it is {meaning}"
    if all(byte >= 32 or byte in b"\t\r\n" for byte in start):
        return f"it begins like text ({start[:16].decode('ascii', 'replace')!r})"
    return f"it begins with {start[:8].hex(' ')}, neither pcap nor pcapng"
