"""Start-up: list on ten sockets against a bare interpreter, ss, netstat, lsof and psutil.

The interpreter is the real one, not a version manager's shim. Needs root (a network namespace of its own).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.crowd import crowd
from bench.measure import interleave, print_costs, print_goal

PYTHON = os.path.realpath(sys.executable)
TCPSCOPE = str(Path(__file__).resolve().parent.parent / "tcpscope")
ROUNDS = 25
PSUTIL = "import psutil; psutil.net_connections('tcp')"


def run() -> None:
    """Measure and print."""
    commands = {
        "python -I -S -c pass": [PYTHON, "-I", "-S", "-c", "pass"],
        "tcpscope list -tan": [PYTHON, "-I", "-S", TCPSCOPE, "list", "-tan"],
        "ss -tan": ["ss", "-tan"],
        "netstat -tan": ["netstat", "-tan"],
        "tcpscope list -tanp": [PYTHON, "-I", "-S", TCPSCOPE, "list", "-tanp"],
        "ss -tanp": ["ss", "-tanp"],
        "netstat -tanp": ["netstat", "-tanp"],
        "lsof -nP -iTCP": ["lsof", "-nP", "-iTCP"],
        "psutil.net_connections": [sys.executable, "-c", PSUTIL],
    }
    with crowd(10) as netns:
        costs = interleave(commands, ROUNDS, netns)
    base = "python -I -S -c pass"
    print_costs(f"ten sockets, {ROUNDS} rounds in turn", costs, base, "to bare")
    print()
    for name, goal in (("tcpscope list -tan", 2.0), ("tcpscope list -tanp", 3.0)):
        print_goal(
            f"{name}, CPU of bare interpreter starts", costs[name].cpu_s / costs[base].cpu_s, goal, at_least=False
        )
