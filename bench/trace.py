"""Reader CPU per transition, rate and loss of ``tcpscope trace``, beside perf trace and bpftrace when installed.

Each reader follows the same load: connections opened and closed over loopback in a namespace made for it, by two
processes. A reader's CPU (``wait4``) is taken without what it costs to start and to stand idle. The load's own CPU
tells what the probes cost inside the kernel. Readers take turns; numbers of one run may be compared with each other,
not with another run's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench.measure import print_goal, show_progress
from tcpscope.kernel.namespace import NetworkNamespace
from tcpscope.kernel.rtnetlink import RouteSocket

CONNECTIONS = 20_000
_WORKERS = 2
_ROUNDS = 2
_MOVES_PER_CONNECTION = 10
_TRACEFS = "mount -t tracefs none /sys/kernel/tracing 2>/dev/null; exec "


class Run(NamedTuple):
    """One reader under load."""

    transitions: int
    lost: int
    reader_cpu_s: float
    load_cpu_s: float
    load_wall_s: float


class Reader(NamedTuple):
    """A command, how to know that it is ready, and how to read from its output what it saw: ``(transitions, lost)``."""

    name: str
    command: Sequence[str]
    counted: Callable[[str], tuple[int, int]]
    ready_s: float = 0.0  #: how long to wait when it says nothing at its start


def run() -> None:
    """Measure and print."""
    runs: dict[str, list[Run]] = {}
    idle: dict[str, float] = {}
    bare: list[Run] = []
    for number in range(_ROUNDS):
        bare.append(_measure(None, CONNECTIONS))
        for reader in _readers():
            show_progress(f"round {number + 1} of {_ROUNDS}: {reader.name}")
            if reader.name not in idle:
                idle[reader.name] = _measure(reader, 0).reader_cpu_s
            runs.setdefault(reader.name, []).append(_measure(reader, CONNECTIONS))
    show_progress("")
    _print(runs, idle, min(one.load_cpu_s for one in bare))


def _readers() -> list[Reader]:
    own = (sys.executable, "-m", "tcpscope", "trace")
    found = [
        Reader("trace --summary (counts)", (*own, "--summary", "--json"), _count_summary),
        Reader("trace (text)", own, _count_lines),
        Reader("trace --json", (*own, "--json"), _count_json),
        Reader("trace --tier B --summary", (*own, "--tier", "B", "--summary", "--json"), _count_summary),
    ]
    if shutil.which("perf"):
        script = _TRACEFS + "perf trace -a -e sock:inet_sock_set_state"
        found.append(Reader("perf trace", ("unshare", "-m", "sh", "-c", script), _count_perf, 2.0))
    if shutil.which("bpftrace"):
        program = 'tracepoint:sock:inet_sock_set_state { printf("%d %d %d\\n", pid, args->oldstate, args->newstate); }'
        found.append(Reader("bpftrace", ("bpftrace", "-e", program), _count_lines, 4.0))
    return found


def _count_summary(text: str) -> tuple[int, int]:
    """Ends of TIME_WAIT are left out, here as below: how many come meanwhile is the kernel's business (reuse)."""
    told = json.loads(text.splitlines()[-1])
    return sum(row["count"] for row in told["counts"] if row["before"] != "TIME_WAIT"), told["lost"]


def _count_json(text: str) -> tuple[int, int]:
    told = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return sum(one.get("before", "TIME_WAIT") != "TIME_WAIT" for one in told), sum(one.get("lost", 0) for one in told)


def _count_lines(text: str) -> tuple[int, int]:
    lines = text.splitlines()
    lost = sum(int(line.split()[2]) for line in lines if line.startswith("# lost "))
    return sum(line[:1].isdigit() and line.split()[1] != "TIME_WAIT" for line in lines), lost


def _count_perf(text: str) -> tuple[int, int]:
    lost = sum(
        int(line.split()[1]) for line in text.splitlines() if line.startswith("LOST ") and line.split()[1].isdigit()
    )
    return text.count("inet_sock_set_state"), lost


def _measure(reader: Reader | None, connections: int) -> Run:
    space = NetworkNamespace.create()
    try:
        with space.entered(), RouteSocket() as route:
            route.set_up("lo")
            if reader is None:
                return Run(0, 0, 0.0, *_load(connections))
            return _follow(reader, connections)
    finally:
        space.close()


def _follow(reader: Reader, connections: int) -> Run:
    with tempfile.NamedTemporaryFile("w+", prefix="tcpscope-bench-", errors="replace") as output:
        pid = os.posix_spawnp(
            reader.command[0],
            list(reader.command),
            {**os.environ, "PYTHONPATH": "src"},
            file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), 1), (os.POSIX_SPAWN_DUP2, output.fileno(), 2)],
        )
        deadline = time.monotonic() + 10
        while not reader.ready_s and not os.fstat(output.fileno()).st_size and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(reader.ready_s or 0.2)
        load_cpu, load_wall = _load(connections)
        time.sleep(1.0)
        os.kill(pid, signal.SIGINT)
        _, _, usage = os.wait4(pid, 0)
        output.seek(0)
        text = output.read()
    transitions, lost = reader.counted(text) if connections else (0, 0)
    return Run(transitions, lost, usage.ru_utime + usage.ru_stime, load_cpu, load_wall)


def _load(connections: int) -> tuple[float, float]:
    """Open and close so many connections; return the CPU and wall time it took."""
    if not connections:
        time.sleep(1.0)
        return 0.0, 0.0
    begun = time.monotonic()
    workers = []
    for number in range(_WORKERS):
        pid = os.fork()
        if not pid:
            try:
                _connect(connections // _WORKERS, f"127.0.0.{10 + number}")
                os._exit(0)
            except BaseException as error:
                print(f"load: {error!r}", file=sys.stderr)
                os._exit(1)
        workers.append(pid)
    cpu = 0.0
    for pid in workers:
        _, status, usage = os.wait4(pid, 0)
        if status:
            raise RuntimeError("the load failed")
        cpu += usage.ru_utime + usage.ru_stime
    return cpu, time.monotonic() - begun


def _connect(number: int, address: str) -> None:
    listener = socket.create_server((address, 0))
    target = listener.getsockname()
    for _ in range(number):
        client = socket.socket()
        client.connect(target)
        server, _ = listener.accept()
        client.close()
        server.recv(1)
        server.close()


def _print(runs: dict[str, list[Run]], idle: dict[str, float], bare_cpu_s: float) -> None:
    moves = CONNECTIONS * _MOVES_PER_CONNECTION
    print(f"\nFollowing {CONNECTIONS} connections ({moves} transitions), best of {_ROUNDS}\n")
    print(f"  {'reader':<26} {'seen':>8} {'lost':>7} {'moves/s':>9} {'us CPU/move':>12} {'load CPU':>9}")
    best: dict[str, float] = {}
    for name, found in runs.items():
        each = [(one, max(one.reader_cpu_s - idle[name], 0.0)) for one in found]
        one, cpu = min(each, key=lambda pair: pair[1] / max(pair[0].transitions, 1))
        best[name] = cpu / max(one.transitions, 1) * 1e6
        rate = one.transitions / one.load_wall_s
        load = one.load_cpu_s / bare_cpu_s
        print(f"  {name:<26} {one.transitions:>8} {one.lost:>7} {rate:>9.0f} {best[name]:>12.2f} {load:>8.2f}x")
    print("\n  load CPU: the load's own CPU beside the same load unobserved (what probes cost in the kernel)\n")
    counts = runs["trace --summary (counts)"]
    print_goal("CPU of the reader per transition, us", best["trace --summary (counts)"], 1.0, at_least=False)
    print_goal("transitions/s one processor can count", 1e6 / best["trace --summary (counts)"], 100_000, at_least=True)
    expected = moves + 2 * _WORKERS  # each worker's listener opens and closes
    print_goal("seen / expected", min(one.transitions / expected for one in counts), 1.0, at_least=True)
    own = [one for name, found in runs.items() if name.startswith("trace") for one in found]
    print_goal("records lost by any of ours", max(one.lost for one in own), 0, at_least=False)
    for peer in ("perf trace", "bpftrace"):
        if best.get(peer):
            times = ", ".join(
                f"{best[peer] / best[name]:.1f} times that of {name}" for name in runs if name.startswith("trace ")
            )
            print(f"  CPU per event of {peer}: {times}")
