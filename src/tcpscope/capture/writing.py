"""Open a capture for writing: the name chooses the format."""

from __future__ import annotations

import sys

from tcpscope.capture.packets import Interface
from tcpscope.capture.pcap import PcapWriter
from tcpscope.capture.pcapng_write import PcapngWriter
from tcpscope.model.record import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

_BUFFER_BYTES = 1 << 20


class CaptureFile:
    """A capture being written; a context manager. ``-`` is standard output, ``.pcapng`` chooses pcapng."""

    def __init__(self, path: str, interface: Interface) -> None:
        self._is_stdout = path == "-"
        self._file: BinaryIO = sys.stdout.buffer
        if not self._is_stdout:
            self._file = open(path, "wb", buffering=_BUFFER_BYTES)  # noqa: SIM115  # Why: close() is this class's
        self._writer: PcapWriter | PcapngWriter
        if path.endswith(".pcapng"):
            self._writer = PcapngWriter(self._file, [interface])
        else:
            self._writer = PcapWriter(self._file, interface.link_type, snaplen=interface.snaplen or 262_144)

    def write(self, t_ns: int, data: bytes | bytearray | memoryview, original_len: int = 0) -> None:
        """Append one packet."""
        self._writer.write(t_ns, data, original_len)

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        self._file.flush()

    def close(self) -> None:
        """Write everything out and close."""
        self._file.flush()
        if not self._is_stdout:
            self._file.close()

    def __enter__(self) -> CaptureFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
