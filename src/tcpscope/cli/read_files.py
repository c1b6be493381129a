"""The FILEs of ``tcpscope read``: captures, dumps, and what cannot be read, with the reason."""

from __future__ import annotations

import os
import sys

from tcpscope.model.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from tcpscope.model.snapshot import Snapshot

#: The first bytes of pcap (both byte orders, micro- and nanoseconds), pcapng, and what compresses them.
CAPTURE_MAGICS = (
    b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a",
    b"\xa1\xb2\xcd\x34", b"\x34\xcd\xb2\xa1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zX",
)  # fmt: skip


_MARKS = (b"\xff\xfe", b"\xfe\xff")  #: of UTF-16
_TEXT = frozenset((*b"\t\r\n\x1b", *range(32, 256)))


class Refused(NamedTuple):
    """A file that gives nothing, why, and the exit code of that reason alone."""

    file: str
    why: str
    code: int = 1


class Files(NamedTuple):
    """What was named, sorted. ``looks`` are what the ``dumps`` hold, a row for each."""

    captures: list[str]
    dumps: list[str]
    looks: list[Snapshot]
    refused: list[Refused]

    @property
    def code(self) -> int:
        """What the refusals alone make the exit code."""
        return max((refused.code for refused in self.refused), default=0) if self._is_of_one_kind else 1

    @property
    def _is_of_one_kind(self) -> bool:
        return len({refused.code for refused in self.refused}) < 2


def refused_object(refused: Refused) -> dict[str, object]:
    """Return a file that could not be read as JSON, in the shape of a damaged place."""
    return {"place_bytes": 0, "what": refused.why, "file": refused.file, "skipped_bytes": 0}


def sort_files(words: Sequence[str]) -> Files:
    """Look at each file (a folder and a pattern stand for the captures in them) and read the dumps."""
    from tcpscope.model.errors import TcpscopeError

    found = Files([], [], [], [])
    for path in _expand(words, found):
        try:
            if is_capture(path):
                _check_capture(path)
                found.captures.append(path)
            else:
                from tcpscope.dumps.read import read_dumps

                found.looks.extend(read_dumps(path))
                found.dumps.append(path)
        except TcpscopeError as error:
            found.refused.append(Refused(path, str(error), error.exit_code))
        except OSError as error:
            from tcpscope.cli.complaints import spell_os_error

            found.refused.append(Refused(path, spell_os_error(error), 4 if isinstance(error, PermissionError) else 1))
    return found


def is_capture(path: str) -> bool:
    """Whether a file begins as a capture does; looks ahead on standard input without consuming it.

    A folder, and a pattern the shell has left as it is, stand for captures. Raises ``OSError``.
    """
    if path == "-":
        ahead: bytes = getattr(sys.stdin.buffer, "peek", lambda size: b"")(4)
        return ahead.startswith(CAPTURE_MAGICS)
    if os.path.isdir(path) or _is_pattern(path):
        return True
    with open(path, "rb") as file:
        start = file.read(4)
        if not start.startswith(CAPTURE_MAGICS):
            return False
        file.seek(0)
        return not _holds_text(file)


def _holds_text(file: BinaryIO) -> bool:
    """Whether a file is compressed, and text."""
    from tcpscope.capture.stream import open_stream
    from tcpscope.model.errors import TcpscopeError

    try:
        stream = open_stream(file)
        start = stream.peek(24) if stream.compression else b""
    except TcpscopeError:  # Why: its reader says what is missing
        return False
    return bool(start) and not stream.damage and (start[:2] in _MARKS or all(byte in _TEXT for byte in start))


def _expand(words: Sequence[str], found: Files) -> Iterator[str]:
    import glob

    for word in words:
        try:
            if os.path.isdir(word):
                inside = (os.path.join(word, name) for name in sorted(os.listdir(word)))
                names = [path for path in inside if os.path.isfile(path) and _seems_capture(path)]
            else:
                names = sorted(glob.glob(word)) if _is_pattern(word) else [word]
        except OSError as error:
            found.refused.append(Refused(word, f"{word}: {error.strerror}", 4))
            continue
        if not names:
            found.refused.append(Refused(word, f"no capture in {word}"))
        yield from names


def _seems_capture(path: str) -> bool:
    try:
        return is_capture(path)
    except OSError:
        return True  # Why: it is named with its reason afterwards


def _is_pattern(path: str) -> bool:
    return "*" in path and not os.path.exists(path)


def _check_capture(path: str) -> None:
    """Open a file as a capture and close it. Standard input cannot be looked at twice: its reader speaks for itself."""
    if path == "-":
        return
    from tcpscope.capture import open_capture

    with open_capture(path):
        pass
