"""Files to Snapshots: reads in pieces, decodes kindly, and says soon when a file is no dump."""

from __future__ import annotations

import os
import sys
import time

from tcpscope.capture.stream import ByteStream, open_stream
from tcpscope.dumps.looks import DumpReader
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.snapshot import Snapshot
from tcpscope.model.socket import Age, Socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from codecs import IncrementalDecoder
    from typing import IO

_PIECE_BYTES = 1 << 20
#: A dump shows its first row within this much text; a longer file of something else is refused there.
_PATIENCE_BYTES = 4 << 20
_LONGEST_LINE = 1 << 16


def read_dumps(path: str) -> list[Snapshot]:
    """Read all looks in a file (``-``: standard input), oldest first.

    Raises ``OSError`` when the file cannot be opened and ``TcpscopeError`` when it holds no row of any known tool.
    """
    if path == "-":
        return _read_stream(sys.stdin.buffer, "standard input", time.time_ns())
    with open(path, "rb") as file:
        stream = open_stream(file)
        looks = _read_stream(stream, path, os.fstat(file.fileno()).st_mtime_ns)
    if stream.damage:
        why = f"{path}: {stream.damage[0].what} at byte {stream.damage[0].place_bytes}: the dump may go on."
        looks[-1] = with_note(looks[-1], why)
    return looks


def read_dump(path: str) -> Snapshot:
    """Read the last look in a file; ages are bounds from the looks before it."""
    looks = read_dumps(path)
    snapshot = looks[0]
    for later in looks[1:]:
        snapshot = with_ages(snapshot, later)
    return snapshot


def parse_dumps(text: str, taken_ns: int = 0) -> list[Snapshot]:
    """Read all looks in a text; an empty list when it holds no row of any known tool."""
    reader = DumpReader()
    begin = 0
    while begin < len(text):  # in pieces: all the lines at once leave the processor's caches before they are read
        end = text.find("\n", begin + _PIECE_BYTES) + 1 or len(text)
        reader.read_lines(text[begin:end].splitlines())
        begin = end
    return reader.snapshots(taken_ns)


def with_ages(previous: Snapshot, snapshot: Snapshot) -> Snapshot:
    """Return ``snapshot`` with ages: a socket in the same state in both looks is at least as old as their distance.

    Where one look tells its time and the other does not, their distance is not known, and both get the same time.
    """
    snapshot = _with_comparable_time(previous, snapshot)
    distance_ms = max(0, (snapshot.taken_ns - previous.taken_ns) // 10**6)
    before = {(socket.flow, socket.state): socket for socket in previous.sockets}

    def aged(socket: Socket) -> Socket:
        known = before.get((socket.flow, socket.state))
        if known is None or not _may_be_one(known, socket):
            return socket
        return socket._replace(age=Age(known.age.ms + distance_ms, "bound"))

    return snapshot._replace(sockets=[aged(socket) for socket in snapshot.sockets])


def _with_comparable_time(previous: Snapshot, snapshot: Snapshot) -> Snapshot:
    times = {previous.coverage.time_from, snapshot.coverage.time_from}
    if "file" not in times:
        return snapshot
    if len(times) > 1:
        note = "One look tells its time and the one before it does not: how far they are apart is not known."
        snapshot = snapshot._replace(taken_ns=previous.taken_ns)
    elif snapshot.taken_ns == previous.taken_ns:
        return snapshot
    else:
        note = (
            "The time between the looks is that between their files: "
            "ages and rates are right if each was written when its tool ran."
        )
    return with_note(snapshot, note)


def _may_be_one(first: Socket, second: Socket) -> bool:
    """Whether two looks may show one socket: addresses come again, cookies and inodes of living sockets do not."""
    cookies, inodes = {first.cookie, second.cookie}, {first.inode, second.inode}
    return (len(cookies) < 2 or 0 in cookies) and (len(inodes) < 2 or min(inodes) < 1)


def with_note(snapshot: Snapshot, note: str) -> Snapshot:
    """Return the snapshot with one more sentence about what could not be seen."""
    coverage = snapshot.coverage
    return snapshot._replace(coverage=coverage._replace(notes=(*coverage.notes, note)))


def _read_stream(stream: ByteStream | IO[bytes], name: str, taken_ns: int) -> list[Snapshot]:
    reader = DumpReader()
    total, tail = 0, ""
    decoder = None
    while piece := _read_piece(stream):
        if decoder is None:
            decoder = _choose_decoder(piece, name)
        total += len(piece)
        text = tail + decoder.decode(piece).replace("\0", "\n")  # lsof -F0 ends its fields so
        if "\r" in text:  # Windows; alone: a classic Mac, or a terminal's record
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.split("\n")
        tail = lines.pop()
        if len(tail) > _LONGEST_LINE:
            tail = tail[:_LONGEST_LINE]
        reader.read_lines(lines)
        if total > _PATIENCE_BYTES and not reader.rows_seen:
            raise _no_dump(name, f"the first {_PATIENCE_BYTES >> 20} MiB")
    if tail:
        reader.read_last(tail)
    looks = reader.snapshots(taken_ns)
    if not looks:
        raise _no_dump(name, "all")
    return looks


def _read_piece(stream: ByteStream | IO[bytes]) -> bytes:
    if not isinstance(stream, ByteStream):
        return stream.read(_PIECE_BYTES)
    piece = bytearray(_PIECE_BYTES)
    return bytes(piece[: stream.readinto(memoryview(piece))])


def _choose_decoder(piece: bytes, name: str) -> IncrementalDecoder:
    import codecs

    if piece[:2] in (b"\xff\xfe", b"\xfe\xff"):  # what PowerShell writes with >
        return codecs.getincrementaldecoder("utf-16")("replace")
    start = piece[:512]
    if not any(start[1::2]) and all(start[::2]) and len(start) > 7:  # the same without its mark
        return codecs.getincrementaldecoder("utf-16-le")("replace")
    if b"\0" in piece[:4096] and not _is_fields(piece):
        raise TcpscopeError(
            f"{name} is no text: expected a capture, or the output of netstat, ss, lsof or /proc/net/tcp"
        )
    return codecs.getincrementaldecoder("utf-8-sig")("replace")


def _is_fields(piece: bytes) -> bool:
    """Whether a file begins as the output of ``lsof -F0``: ``p``, a number, a zero."""
    first = piece[:16].partition(b"\0")[0]
    return first[:1] == b"p" and first[1:].isdigit()


def _no_dump(name: str, where: str) -> TcpscopeError:
    return TcpscopeError(
        f"no row of netstat, ss, lsof or /proc/net/tcp in {where} of {name}: "
        "take a dump with 'netstat -anp', 'ss -tanpioem' or 'lsof -nP -i'"
    )
