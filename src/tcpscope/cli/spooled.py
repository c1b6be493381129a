"""The FILEs of a command line, each of which can be read twice and is a capture or a dump.

A pipe is copied to a file; what tcpdump printed is written down as the capture it was made from.
"""

from __future__ import annotations

import os
import sys
import tempfile

#: A text of tcpdump shows it within this much; every line of TCP that tcpdump prints has the mark.
_LOOK_BYTES = 1 << 20
_MARK = b": Flags ["


class Spooled:
    """The words of the command line, each of which can be read twice, and is a capture or a dump.

    A pipe (``<(zcat big.pcap.gz)``) is copied to a file; what tcpdump printed is written down as the capture it was.
    """

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._copies: list[str] = []

    def __enter__(self) -> list[str]:
        try:
            return [self._spool(word) for word in self._words]
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        for name in self._copies:
            os.unlink(name)

    def _spool(self, word: str) -> str:
        name = self._copy(word) if _is_pipe(word) else word
        if not _looks_printed(name):
            return name
        copy = _write_printed(name, word)
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


def _looks_printed(path: str) -> bool:
    """Whether a file is what tcpdump printed, and no dump of sockets besides."""
    if path == "-" or not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            start = file.read(_LOOK_BYTES)
    except OSError:
        return False  # Why: it is named with its reason by its reader
    if _MARK not in start or b"\0" in start:
        return False
    from tcpscope.dumps.read import parse_dumps

    return not parse_dumps(start.decode("utf-8", "replace"))


def _write_printed(path: str, name: str) -> str:
    """Write the packets of a text to a new capture and return its path; say what was not understood."""
    from tcpscope.capture.packets import Interface
    from tcpscope.capture.writing import CaptureFile
    from tcpscope.dumps.tcpdump import emit_packets, read_tcpdump
    from tcpscope.wire.link import RAW

    with open(path, encoding="utf-8", errors="replace") as file:
        reader = read_tcpdump(file)
    with tempfile.NamedTemporaryFile(prefix="tcpscope-tcpdump-", suffix=".pcap", delete=False) as copy:
        pass
    with CaptureFile(copy.name, Interface(RAW)) as capture:
        for t_ns, headers, original_len in emit_packets(reader.packets()):
            capture.write(t_ns, headers, original_len)
    notes = [f"{name}: read from what tcpdump printed"]
    if reader.unread:
        lines = "1 line looks" if reader.unread == 1 else f"{reader.unread} lines look"
        notes.append(f"{lines} like a packet and cannot be read, such as: {reader.samples[0]}")
    notes += [f"{host} stands as {address}" for host, address in reader.hosts.items() if address.startswith("192.0.2.")]
    sys.stderr.writelines(f"tcpscope: {note}\n" for note in notes[:8])
    return copy.name
