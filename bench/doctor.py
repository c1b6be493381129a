"""Diagnose at scale: 200 000 sockets (SOCKETS=N), both looks included, and what of it is judging alone.

Needs root. The goal is less than 3 s of CPU for ``tcpscope doctor`` with two looks.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path

from bench.crowd import crowd
from bench.measure import interleave, print_costs, print_goal

DOCTOR = [sys.executable, "-I", "-S", str(Path(__file__).resolve().parent.parent / "tcpscope"), "doctor", "--no-store"]
ROUNDS = 3


def run() -> None:
    """Measure and print."""
    count = int(os.environ.get("SOCKETS", "200000"))
    commands = {
        "tcpscope doctor": [*DOCTOR, "--interval", "0.5"],
        "tcpscope doctor --once": [*DOCTOR, "--once"],
        "ss -tanip": ["ss", "-tanip"],
    }
    with crowd(count, share_of_ipv6=0.1) as netns:
        costs = interleave(commands, ROUNDS, netns)
        judging_s, findings = _judge(netns)
    print_costs(f"{count} sockets, {ROUNDS} rounds in turn", costs, "tcpscope doctor", "to ours")
    print(f"\n  judging alone (two snapshots in memory): {judging_s * 1000:.0f} ms CPU, {findings} findings\n")
    print_goal("CPU seconds of tcpscope doctor, both looks", costs["tcpscope doctor"].cpu_s, 3, at_least=False)


def _judge(netns: str) -> tuple[float, int]:
    from tcpscope.doctor import diagnose
    from tcpscope.live.snapshot import take_snapshot

    gc.disable()  # as the command does
    before = take_snapshot(netns=netns, owners=False, defer=True)
    after = take_snapshot(netns=netns)
    begun = time.process_time()
    findings = diagnose(after, before)
    return time.process_time() - begun, len(findings)
