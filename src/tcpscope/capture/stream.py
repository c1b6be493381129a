"""One streaming source of bytes for files, pipes (``-``) and compressed captures.

It knows nothing of packets and holds nothing but what was peeked at. A broken compressed file gives what could be
decompressed and one :class:`~tcpscope.model.damage.Damage`.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys

from tcpscope.capture import decompress
from tcpscope.model.damage import Damage
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.record import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

_PIPE_BYTES = 1 << 20  # Linux: the most an unprivileged process may ask for (fs.pipe-max-size)
_FOLLOW_S = 0.1


class ByteStream:
    """Bytes in order from a binary file object; ``peek`` looks ahead, ``readinto`` takes.

    ``name`` is for messages. ``follow`` waits at the end of the file for more (a capture being written).
    """

    def __init__(self, file: BinaryIO, name: str, *, follow: bool = False) -> None:
        self.name = name
        self.damage: list[Damage] = []
        self.compression = ""
        self.place_bytes = 0  #: bytes handed out so far, after decompression
        self._file = file
        self._follow = follow
        self._raw_readinto = _readinto_of(file)
        self._is_pipe = _is_pipe(file)
        self._ahead = b""
        self._decoder: decompress.Decoder | None = None
        self.compression = decompress.recognise(self.peek(decompress.MAGIC_BYTES))
        if self.compression:
            start, self._ahead = self._ahead, b""
            self._decoder = decompress.Decoder(self.compression, start, self._read)

    def peek(self, count: int) -> bytes:
        """Return the next ``count`` bytes, fewer at the end, without taking them."""
        while len(self._ahead) < count:
            more = bytearray(count - len(self._ahead))
            got = self._pull(memoryview(more))
            if not got:
                break
            self._ahead += more[:got]
        return self._ahead[:count]

    def readinto(self, view: memoryview) -> int:
        """Fill ``view``; a pipe gives what it has, but at least one byte. Return how many, 0 at the end."""
        have = min(len(self._ahead), len(view))
        view[:have] = self._ahead[:have]
        self._ahead = self._ahead[have:]
        while have < len(view):
            if have and (self._is_pipe or self._follow) and not self._is_ready():
                break
            got = self._pull(view[have:])
            if not got:
                break
            have += got
        self.place_bytes += have
        return have

    def has_grown(self) -> bool:
        """Whether the file is longer than what was read of it: somebody is still writing."""
        try:
            return not self.compression and os.fstat(self._file.fileno()).st_size > self.place_bytes
        except (OSError, AttributeError, ValueError):
            return False

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _is_ready(self) -> bool:
        if not self._is_pipe:
            return False
        import select

        poll = select.poll()
        poll.register(self._file.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _pull(self, view: memoryview) -> int:
        if self._decoder is None:
            return self._read(view)
        got, problem = self._decoder.readinto(view)
        if problem:
            place = self.place_bytes + len(self._ahead)
            self.damage.append(Damage(place, f"{self.compression} data {problem}", self.name))
        return got

    def _read(self, view: memoryview) -> int:
        got = self._raw_readinto(view)
        while not got and self._follow and not self._is_pipe:
            import time

            time.sleep(_FOLLOW_S)
            got = self._raw_readinto(view)
        return got or 0


def open_stream(path_or_file: str | os.PathLike[str] | BinaryIO, *, follow: bool = False) -> ByteStream:
    """Open a path, ``-`` (standard input) or a binary file object. Raises ``OSError`` and ``TcpscopeError``."""
    if not isinstance(path_or_file, (str, os.PathLike)):
        return ByteStream(path_or_file, str(getattr(path_or_file, "name", "stream")), follow=follow)
    name = os.fspath(path_or_file)
    if name == "-":
        if sys.stdin.isatty():
            raise TcpscopeError("standard input is a terminal: pipe a capture into it, or name a file")
        return ByteStream(sys.stdin.buffer, "-", follow=follow)  # Why: somebody may have looked ahead in its buffer
    if os.path.isdir(name):
        raise TcpscopeError(f"{name} is a directory: name a capture in it")
    return ByteStream(open(name, "rb", buffering=0), name, follow=follow)


def _readinto_of(file: BinaryIO) -> Callable[[memoryview], int]:
    for name in ("readinto1", "readinto"):
        found: Callable[[memoryview], int] | None = getattr(file, name, None)
        if found is not None:
            return found

    def readinto(view: memoryview) -> int:
        data = file.read(len(view))
        view[: len(data)] = data
        return len(data)

    return readinto


def _is_pipe(file: BinaryIO) -> bool:
    try:
        number = file.fileno()
        mode = os.fstat(number).st_mode
    except (OSError, AttributeError, ValueError):
        return False
    if stat.S_ISFIFO(mode):
        import fcntl

        with contextlib.suppress(OSError):  # Why: only faster; the administrator may allow less
            fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return not stat.S_ISREG(mode)
