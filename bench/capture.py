"""Reading captures: our readers, interpreted and compiled, against ``tcpdump --count`` and ``capinfos -c``.

Whole processes, interleaved, imports included. ``TCPSCOPE_BENCH_PACKETS`` sets the size (default 1 000 000).
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import tempfile
from pathlib import Path

from bench.measure import Cost, interleave, print_costs
from bench.traffic import write_capture
from tcpscope.capture import Interface, open_capture
from tcpscope.capture.pcapng_write import PcapngWriter

_ROUNDS = 3
_SOURCE = str(Path(__file__).resolve().parent.parent / "src")
_READ = (
    "import sys; sys.path.insert(0, {source!r}); from tcpscope.capture import open_capture; "
    "print(sum(len(chunk.offset) for chunk in open_capture({path!r}).iter_chunks(compiled={compiled})))"
)


def run() -> None:
    """Make the captures, read them with everything, print packets per CPU second and ratios."""
    packets = int(os.environ.get("TCPSCOPE_BENCH_PACKETS", "1000000"))
    with tempfile.TemporaryDirectory(prefix="tcpscope-bench-") as folder:
        plain, blocks, packed = (os.path.join(folder, name) for name in ("a.pcap", "a.pcapng", "a.pcap.gz"))
        write_capture(plain, packets)
        _convert(plain, blocks)
        with open(plain, "rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        for path in (plain, blocks, packed):
            _compare(path, packets)


def _compare(path: str, packets: int) -> None:
    commands = {
        "compiled": _reader(path, compiled=True),
        "interpreted": _reader(path, compiled=False),
        "capinfos -c": ["capinfos", "-Mc", path],
    }
    if not path.endswith(".gz"):
        commands["tcpdump --count"] = ["tcpdump", "-n", "--count", "-r", path]
    interleave({name: commands[name] for name in ("compiled",)}, 1)  # Why: the first run compiles
    costs = interleave(commands, _ROUNDS)
    size = os.path.getsize(path) >> 20
    base = "tcpdump --count" if "tcpdump --count" in costs else "capinfos -c"
    if base not in costs:
        base = "interpreted"
    print_costs(f"{os.path.basename(path)}: {packets:,} packets, {size} MiB", costs, base, f"to {base}")
    for name, cost in costs.items():
        print(f"  {name:<34} {_rate(packets, cost):>10.2f} M packets per CPU second")


def _rate(packets: int, cost: Cost) -> float:
    return packets / max(cost.cpu_s, 1e-6) / 1e6


def _reader(path: str, *, compiled: bool) -> list[str]:
    return [sys.executable, "-c", _READ.format(source=_SOURCE, path=path, compiled=compiled)]


def _convert(source: str, target: str) -> None:
    with open_capture(source) as capture, open(target, "wb", buffering=1 << 20) as file:
        writer = PcapngWriter(file, [Interface(capture.format.link_type, capture.format.snaplen, "eth0")])
        for chunk in capture.iter_chunks():
            for index, offset in enumerate(chunk.offset):
                data = chunk.data[offset : offset + chunk.captured_len[index]]
                writer.write(chunk.t_ns[index], data, chunk.original_len[index])
