"""gzip, zstd, bzip2 and xz as streams with bounded output: a bomb costs time, not memory.

gzip, bzip2 and xz come with Python; zstd with Python 3.14 (``compression.zstd``) or the library ``zstandard``.
"""

from __future__ import annotations

from tcpscope import extras
from tcpscope.model.errors import Unsupported
from tcpscope.model.record import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_READ_BYTES = 1 << 18
_MAGICS = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"))
MAGIC_BYTES = 6


def recognise(start: bytes) -> str:
    """Name the compression a file that begins with ``start`` uses, or return an empty string."""
    return next((name for magic, name in _MAGICS if start.startswith(magic)), "")


class Decoder:
    """Decompresses what ``read`` gives, ``start`` first; several members in one file are one stream."""

    def __init__(self, name: str, start: bytes, read: Callable[[memoryview], int]) -> None:
        self._make = _maker(name)
        self._engine = self._make()
        self._input = start
        self._read = read
        self._is_between = False
        self._is_over = False

    def readinto(self, view: memoryview) -> tuple[int, str]:
        """Fill a part of ``view``: ``(bytes, "")``; at the end ``(0, what is wrong or "")``."""
        while not self._is_over:
            if not self._input and self._engine.needs_input and not self._refill():
                self._is_over = True
                return 0, "" if self._is_between else "ends early"
            try:
                output = self._decompress(len(view))
            except Exception as error:  # each library has its own: zlib.error, OSError, LZMAError, ZstdError
                self._is_over = True
                return 0, f"is damaged: {error}"
            if output:
                view[: len(output)] = output
                return len(output), ""
        return 0, ""

    def _decompress(self, room: int) -> bytes:
        if self._is_between:
            self._input = self._input.lstrip(b"\0")  # padding between members
            if not self._input:
                return b""
            self._engine, self._is_between = self._make(), False
        output: bytes = self._engine.decompress(self._input, room)
        self._input = b""
        if self._engine.eof:
            self._input, self._is_between = self._engine.unused_data, True
            self._engine = _Between
        return output

    def _refill(self) -> bool:
        buffer = bytearray(_READ_BYTES)
        got = self._read(memoryview(buffer))
        self._input = bytes(buffer[:got])
        return got > 0


class _Between:
    """Stands for the engine between two members."""

    needs_input = True


class _Gzip:
    """zlib's decompressor in the shape that bz2, lzma and compression.zstd share."""

    def __init__(self) -> None:
        import zlib

        self._engine = zlib.decompressobj(wbits=31)

    @property
    def needs_input(self) -> bool:
        return not self._engine.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data

    def decompress(self, data: bytes, room: int) -> bytes:
        return self._engine.decompress(self._engine.unconsumed_tail + data, room)


class _Zstandard:
    """The library ``zstandard``, which bounds its output only as a reader: fed in small pieces instead."""

    _PIECE_BYTES = 512

    def __init__(self) -> None:
        self._engine: Any = extras.require("zstandard", "reading zstd").ZstdDecompressor().decompressobj()
        self._data = b""
        self._output = b""
        self.unused_data = b""
        self.eof = False

    @property
    def needs_input(self) -> bool:
        return not self._data and not self._output

    def decompress(self, data: bytes, room: int) -> bytes:
        self._data += data
        while not self._output and self._data and not self._engine.eof:
            piece, self._data = self._data[: self._PIECE_BYTES], self._data[self._PIECE_BYTES :]
            self._output = self._engine.decompress(piece)
        output, self._output = self._output[:room], self._output[room:]
        if self._engine.eof and not self._output:
            self.eof, self.unused_data = True, self._engine.unused_data + self._data
        return output


def _maker(name: str) -> Callable[[], Any]:
    if name == "gzip":
        return _Gzip
    if name == "bzip2":
        import bz2

        return bz2.BZ2Decompressor
    if name == "xz":
        import lzma

        return lzma.LZMADecompressor
    zstd = extras.load("compression.zstd")
    if zstd is not None:
        engine: Callable[[], Any] = zstd.ZstdDecompressor
        return engine
    if extras.load("zstandard") is None:
        raise Unsupported(
            "a zstd file needs Python 3.14 or the library zstandard (pip install zstandard); "
            "or decompress it first: zstd -dc FILE | tcpscope read -"
        )
    return _Zstandard
