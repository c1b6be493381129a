"""CPU and wall time of commands, each in turn in every round, so that a busy machine is unfair to none of them.

CPU is user plus system time of the process and its children (``wait4``). Of several rounds the least CPU counts: it is
what the work costs; the rest is what others did to the caches. Wall time is the least, too.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from bench.crowd import set_namespace


class Cost(NamedTuple):
    """What one run took."""

    cpu_s: float
    wall_s: float


def run_once(command: Sequence[str], netns: str = "") -> Cost:
    """Run a command with its output thrown away, in a network namespace if one is given."""
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            if netns:
                set_namespace(netns)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
            os.execvp(command[0], list(command))
        finally:
            os._exit(127)
    _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - begun
    if os.waitstatus_to_exitcode(status) == 127:
        raise FileNotFoundError(command[0])
    return Cost(usage.ru_utime + usage.ru_stime, wall)


def interleave(
    commands: Mapping[str, Sequence[str]], rounds: int, netns: str = "", run: Callable[..., Cost] = run_once
) -> dict[str, Cost]:
    """Run all commands in turn, ``rounds`` times; gives the least of each. Commands that are missing are left out."""
    costs: dict[str, list[Cost]] = {}
    for number in range(rounds):
        for name, command in commands.items():
            show_progress(f"round {number + 1} of {rounds}: {name}")
            try:
                costs.setdefault(name, []).append(run(command, netns))
            except FileNotFoundError:
                costs.setdefault(name, [])
    show_progress("")
    return {
        name: Cost(min(cost.cpu_s for cost in runs), min(cost.wall_s for cost in runs))
        for name, runs in costs.items()
        if runs
    }


def print_costs(title: str, costs: Mapping[str, Cost], base: str, says: str) -> None:
    """Print a table: each command's times and its ratio to ``base``."""
    print(f"\n{title}\n")
    print(f"  {'command':<34} {'CPU ms':>10} {'wall ms':>10}   {says + ' CPU':>12} {'wall':>8}")
    for name, cost in costs.items():
        ratio = f"{cost.cpu_s / costs[base].cpu_s:>12.2f} {cost.wall_s / costs[base].wall_s:>8.2f}"
        print(f"  {name:<34} {cost.cpu_s * 1000:>10.1f} {cost.wall_s * 1000:>10.1f}   {ratio}")


def print_goal(what: str, reached: float, goal: float, *, at_least: bool) -> None:
    """Print one goal and what was reached."""
    is_met = reached >= goal if at_least else reached <= goal
    sign = ">=" if at_least else "<="
    print(f"  {'met ' if is_met else 'MISS'}  {what}: {reached:.2f} (goal {sign} {goal:g})")


def show_progress(text: str) -> None:
    """Say on a terminal what is going on."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
