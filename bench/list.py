"""List at scale: 200 000 sockets (SOCKETS=N) against ss, netstat, lsof and psutil.

Also ten sockets in another namespace beside them. Needs root. ``without BPF`` runs with CAP_BPF, CAP_PERFMON and
CAP_SYS_ADMIN taken away, as in a container.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.crowd import crowd
from bench.measure import Cost, interleave, print_costs, print_goal

TCPSCOPE = [sys.executable, "-I", "-S", str(Path(__file__).resolve().parent.parent / "tcpscope"), "list"]
NO_BPF = ["setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin", "--inh-caps", "-bpf,-perfmon,-sys_admin"]
PSUTIL = "import psutil; psutil.net_connections('tcp')"
ROUNDS = 3


def run() -> None:
    """Measure and print."""
    count = int(os.environ.get("SOCKETS", "200000"))
    with crowd(count, share_of_ipv6=0.1) as netns, crowd(10) as small:
        many = interleave(_commands(), ROUNDS, netns)
        few = interleave({"tcpscope list -tanp": [*TCPSCOPE, "-tanp"], "ss -tanp": ["ss", "-tanp"]}, ROUNDS, small)
    print_costs(f"{count} sockets, one in ten IPv6, {ROUNDS} rounds in turn", many, "tcpscope list -tanp", "to ours")
    print_costs(f"10 sockets, {count} in another namespace", few, "tcpscope list -tanp", "to ours")
    print()
    _print_goals(many, few)


def _commands() -> dict[str, list[str]]:
    return {
        "tcpscope list -tanp": [*TCPSCOPE, "-tanp"],
        "tcpscope list -tanp, without BPF": [*NO_BPF, *TCPSCOPE, "-tanp"],
        "ss -tanp": ["ss", "-tanp"],
        "netstat -tanp": ["netstat", "-tanp"],
        "lsof -nP -iTCP": ["lsof", "-nP", "-iTCP"],
        "psutil.net_connections": [sys.executable, "-c", PSUTIL],
        "tcpscope list -tan": [*TCPSCOPE, "-tan"],
        "ss -tan": ["ss", "-tan"],
        "netstat -tan": ["netstat", "-tan"],
    }


def _print_goals(many: dict[str, Cost], few: dict[str, Cost]) -> None:
    ours, no_bpf = many["tcpscope list -tanp"], many["tcpscope list -tanp, without BPF"]
    ss = many["ss -tanp"]
    print_goal("CPU, ss -tanp to ours", ss.cpu_s / ours.cpu_s, 10, at_least=True)
    print_goal("CPU, ss -tanp to ours without BPF", ss.cpu_s / no_bpf.cpu_s, 5, at_least=True)
    print_goal("wall, ss -tanp to ours", ss.wall_s / ours.wall_s, 8, at_least=True)
    for peer in ("lsof -nP -iTCP", "psutil.net_connections"):
        if peer in many:
            print_goal(f"wall, {peer} to ours", many[peer].wall_s / ours.wall_s, 4, at_least=True)
    share = few["tcpscope list -tanp"].cpu_s / few["ss -tanp"].cpu_s
    print_goal("10 sockets beside a crowd: CPU, ours to ss -tanp", share, 1 / 3, at_least=False)
