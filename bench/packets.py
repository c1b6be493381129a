"""The tracker against its peers on made captures: whole processes, interleaved, medians of CPU time.

5 million packets (``BENCH_PACKETS``), ``BENCH_ROUNDS`` 5; ours is ``tcpscope read FILE`` with its findings and table.
The captures are written to the temporary folder and deleted. Peers that are not installed are left out, aloud; NFStream
may live in an interpreter of its own (``BENCH_NFSTREAM_PYTHON``). Needs the extra ``fast``.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
NFSTREAM_PYTHON = os.environ.get("BENCH_NFSTREAM_PYTHON", sys.executable)
NFSTREAM = (
    "import nfstream; print(sum(1 for _ in nfstream.NFStreamer({path!r}, n_dissections=0, n_meters=1, "
    "statistical_analysis=False)))"
)


def run_once(command: list[str]) -> tuple[float, float, int]:
    """Run one process: CPU seconds, wall seconds, peak resident bytes."""
    began = time.monotonic()
    pid = os.posix_spawnp(
        command[0], command, {**os.environ, "PYTHONPATH": _source()},
        file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)],
    )  # fmt: skip
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f"{command[0]} failed with status {status}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - began, usage.ru_maxrss * 1024


def compare(title: str, commands: dict[str, list[str]], packets: int, rounds: int = ROUNDS) -> None:
    """Interleave the commands and print medians and ratios to the first."""
    results: dict[str, list[tuple[float, float, int]]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            results[name].append(run_once(command))
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in results.items()
    }
    first = next(iter(medians.values()))[0]
    print(f"\n{title}: {packets:,} packets, median of {rounds} interleaved runs")
    print(f"{'':34}{'CPU s':>8}{'wall s':>8}{'RSS MB':>8}{'CPU ratio':>11}")
    for name, (cpu, wall, rss) in medians.items():
        print(f"{name:34}{cpu:8.2f}{wall:8.2f}{rss / 1e6:8.0f}{cpu / first:11.2f}")


def measure_engine(path: str, name: str) -> None:
    """Time reading, and the engine alone: warm, tables empty at first, best of three."""
    from tcpscope.capture import open_capture
    from tcpscope.packets.merge import new_engine

    best, best_read, packets = 1e9, 1e9, 0
    for _ in range(3):
        engine, spent, packets = new_engine(name), 0.0, 0
        first = time.process_time()
        with open_capture(path) as source:
            for chunk in source.iter_chunks(compiled=name == "compiled"):
                began = time.process_time()
                engine.take(chunk)
                spent += time.process_time() - began
                packets += len(chunk.offset)
        best, best_read = min(best, spent), min(best_read, time.process_time() - first - spent)
    print(
        f"engine alone, warm, {name}: {packets / best / 1e6:.2f} M packets/s, {best / packets * 1e9:.0f} ns a packet; "
        f"reading {best_read / packets * 1e9:.0f} ns ({os.path.basename(path)})"
    )


def measure_memory() -> None:
    """Bytes per open connection: rows, key and hash slot of connections that stay open."""
    from tcpscope.packets.loop import ROW_WORDS

    print(f"open connection: {4 * ROW_WORDS} bytes in a row, 8 of hash table on average = {4 * ROW_WORDS + 8} bytes")


def run() -> None:
    """Run the benchmark."""
    import tempfile

    sys.path.insert(0, _source())

    packets = int(os.environ.get("BENCH_PACKETS", "5000000"))
    # Why in processes of their own: a child's peak memory starts at its parent's.
    _run_aside("from tcpscope.packets.compiled import prepare; prepare()")
    folder = tempfile.mkdtemp(prefix="tcpscope-bench-")
    paths = {name: os.path.join(folder, f"{name}.pcap") for name in ("small", "few", "million", "tiny", "flood")}
    try:
        for name, count, snaplen in (
            ("small", packets, 96), ("few", 200_000, 96), ("million", packets // 5, 262144), ("tiny", 1_000, 96),
        ):  # fmt: skip
            _run_aside(
                f"from bench.traffic import write_capture; write_capture({paths[name]!r}, {count}, snaplen={snaplen})"
            )
        compare("snaplen 96", _peers(paths["small"]), packets)
        compare("full length", _peers(paths["million"], with_flows=True), packets // 5)
        _run_aside(f"from bench.traffic import write_flood; write_flood({paths['flood']!r}, {2 * packets})")
        compare("forged SYNs", {"tcpscope (compiled)": _ours(paths["flood"], "compiled")}, 2 * packets, 1)
        compare("what every run costs", _starts(paths["tiny"]), 1_000)
        measure_engine(paths["small"], "compiled")
        measure_engine(paths["million"], "compiled")
        measure_engine(paths["few"], "python")
        measure_memory()
    finally:
        for path in paths.values():
            if os.path.exists(path):
                os.unlink(path)
        os.rmdir(folder)


def _run_aside(code: str) -> None:
    path = f"{_source()}:{os.path.dirname(_source())}"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


def _peers(path: str, with_flows: bool = False) -> dict[str, list[str]]:
    commands = {"tcpscope (compiled)": _ours(path, "compiled")}
    known: list[tuple[str, list[str], Callable[[], bool]]] = [
        ("tcpdump --count FILTER", ["tcpdump", "-nr", path, "--count", "tcp[13] & 7 != 0"], lambda: True),
        ("tcptrace -n", ["tcptrace", "-n", path], lambda: True),
        ("tshark -q -z conv,tcp", ["tshark", "-n", "-q", "-z", "conv,tcp", "-r", path], lambda: True),
        ("NFStream", [NFSTREAM_PYTHON, "-c", NFSTREAM.format(path=path)], _has_nfstream),
    ]
    for name, command, is_there in known:
        if name == "NFStream" and not with_flows:
            continue
        if shutil.which(command[0], path=os.environ["PATH"] + ":/usr/sbin") and is_there():
            commands[name] = command
        else:
            print(f"{name}: not installed, left out", file=sys.stderr)
    return commands


def _starts(path: str) -> dict[str, list[str]]:
    """A capture so small that only the start counts, by both engines; and what of it is not ours."""
    read = [sys.executable, "-m", "tcpscope", "read", path, "--engine"]
    return {
        "tcpscope read --engine python": [*read, "python"],
        "tcpscope read --engine compiled": [*read, "compiled"],
        "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
        "python -c 'import numba'": [sys.executable, "-c", "import numba"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }


def _ours(path: str, engine: str) -> list[str]:
    return [sys.executable, "-m", "tcpscope", "read", path, "--engine", engine]


def _has_nfstream() -> bool:
    return subprocess.run([NFSTREAM_PYTHON, "-c", "import nfstream"], capture_output=True).returncode == 0


def _source() -> str:
    return os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src")
