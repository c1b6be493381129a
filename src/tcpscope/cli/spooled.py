"""The FILEs of a command line, each of which can be read twice and is a capture or a dump.

A pipe is copied to a file; what tcpdump printed is written down as the capture it was made from. Standard input is
looked at and read once.
"""

from __future__ import annotations

import os
import sys
import tempfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO, TextIO

#: A text of tcpdump shows it within this much; every line of TCP that tcpdump prints has the mark.
_LOOK_BYTES = 1 << 20
_MARK = b": Flags ["


class _Rewound:
    """Standard input whose beginning was looked at, and is read again."""

    def __init__(self, start: bytes, rest: BinaryIO) -> None:
        self.buffer = self
        self._start, self._rest = start, rest

    def read(self, size: int = -1) -> bytes:
        if not self._start or size < 0:
            start, self._start = self._start, b""
            return start + self._rest.read(size)
        piece, self._start = self._start[:size], self._start[size:]
        return piece

    def peek(self, _size: int = 0) -> bytes:
        return self._start


class Spooled:
    """The words of the command line, each of which can be read twice, and is a capture or a dump.

    A pipe (``<(zcat big.pcap.gz)``) is copied to a file; what tcpdump printed is written down as the capture it was.
    """

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._copies: list[str] = []
        self._stdin: TextIO = sys.stdin

    def __enter__(self) -> list[str]:
        try:
            return [self._spool(word) for word in self._words]
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        sys.stdin = self._stdin
        for name in self._copies:
            os.unlink(name)

    def _spool(self, word: str) -> str:
        if word == "-":
            return self._spool_input()
        name = self._copy(word) if _is_pipe(word) else word
        if not _is_printed(_beginning(name)):
            return name
        with open(name, "rb") as file:
            return self._keep((line.decode("utf-8", "replace") for line in _iter_lines(file)), word)

    def _spool_input(self) -> str:
        """Take standard input when tcpdump printed it; leave it to be read from its beginning when not."""
        from tcpscope.cli.read_files import is_capture

        if is_capture("-"):
            return "-"
        stream = sys.stdin.buffer
        start = stream.read(_LOOK_BYTES)
        if not _is_printed(start):
            sys.stdin = _Rewound(start, stream)  # only its bytes are read
            return "-"
        import io
        from itertools import chain

        first, end, rest = start.rpartition(b"\n")
        lines = chain(io.BytesIO(first + end), [rest + stream.readline()], stream)
        return self._keep((line.decode("utf-8", "replace") for line in lines), "standard input")

    def _keep(self, lines: Iterable[str], name: str) -> str:
        copy = _write_printed(lines, name)
        self._copies.append(copy)
        return copy

    def _copy(self, word: str) -> str:
        import shutil

        with open(word, "rb") as pipe, tempfile.NamedTemporaryFile(prefix="tcpscope-pipe-", delete=False) as copy:
            self._copies.append(copy.name)
            shutil.copyfileobj(pipe, copy)
        return copy.name


def _is_pipe(word: str) -> bool:
    import stat

    try:
        return word != "-" and stat.S_ISFIFO(os.stat(word).st_mode)
    except OSError:
        return False


def _beginning(path: str) -> bytes:
    from tcpscope.capture.stream import open_stream
    from tcpscope.model.errors import TcpscopeError

    try:
        if not os.path.isfile(path):
            return b""
        with open(path, "rb") as file:
            return open_stream(file).peek(_LOOK_BYTES)
    except (OSError, TcpscopeError):
        return b""  # Why: it is named with its reason by its reader


def _iter_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a text, compressed or not; a line longer than any of tcpdump is left out."""
    from tcpscope.capture.stream import open_stream

    stream, tail, piece = open_stream(file), b"", bytearray(_LOOK_BYTES)
    while got := stream.readinto(memoryview(piece)):
        *lines, tail = (tail + piece[:got]).split(b"\n")
        yield from lines
        if len(tail) > _LOOK_BYTES:
            tail = b""
    yield tail


def _is_printed(start: bytes) -> bool:
    """Whether a file that begins so is what tcpdump printed, and no dump of sockets besides."""
    if _MARK not in start or b"\0" in start:
        return False
    from tcpscope.dumps.read import parse_dumps

    return not parse_dumps(start.decode("utf-8", "replace"))


def _write_printed(lines: Iterable[str], name: str) -> str:
    """Write the packets of a text to a new capture and return its path; say what was not understood."""
    from tcpscope.capture.packets import Interface
    from tcpscope.capture.writing import CaptureFile
    from tcpscope.dumps.tcpdump import emit_packets, read_tcpdump
    from tcpscope.wire.link import RAW

    reader = read_tcpdump(lines)
    with tempfile.NamedTemporaryFile(prefix="tcpscope-tcpdump-", suffix=".pcap", delete=False) as copy:
        pass
    with CaptureFile(copy.name, Interface(RAW)) as capture:
        for t_ns, headers, original_len in emit_packets(reader.packets()):
            capture.write(t_ns, headers, original_len)
    notes = [f"{name}: read from what tcpdump printed"]
    if reader.unread:
        count = "1 line looks" if reader.unread == 1 else f"{reader.unread} lines look"
        notes.append(f"{count} like a packet and cannot be read, such as: {reader.samples[0]}")
    notes += [f"{host} stands as {address}" for host, address in reader.hosts.items() if address.startswith("192.0.2.")]
    sys.stderr.writelines(f"tcpscope: {note}\n" for note in notes[:8])
    return copy.name
