"""What tcpdump printed, for ``tcpscope read``: found among the files, and written down as the capture it was."""

from __future__ import annotations

import os
import sys

#: A text of tcpdump shows it within this much; every line of TCP that tcpdump prints has the mark.
_LOOK_BYTES = 1 << 20
_MARK = b": Flags ["


def looks_printed(path: str) -> bool:
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


def write_printed(path: str, name: str) -> str:
    """Write the packets of a text to a new capture and return its path; say what was not understood."""
    import tempfile

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
