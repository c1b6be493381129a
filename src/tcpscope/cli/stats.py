"""``tcpscope stats``: rates of the kernel's TCP counters."""

from __future__ import annotations

import sys

from tcpscope.cli.parsing import add_netns_option, new_parser, number_between
from tcpscope.cli.streams import write
from tcpscope.live.stats import ETCP, TCP, Interval, follow_intervals
from tcpscope.model.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

EPILOG = """examples:
  tcpscope stats             one look over one second
  tcpscope stats 5           every 5 seconds until Ctrl-C
  tcpscope stats 1 60 --json | jq .etcp
  tcpscope stats 10 1 --all  every counter that moves, not only those findings use
  tcpscope stats --list      what each counter means

SOCK, TCP and ETCP are those of sar -n SOCK,TCP,ETCP. Below them: counters that moved, with what one count means.
"""


class Shape(NamedTuple):
    """How to print."""

    json: bool
    meanings: bool
    width: int


def run(argv: list[str]) -> int:
    """Run ``tcpscope stats``."""
    arguments = _parse(argv)
    from tcpscope.explain.counters import COUNTERS

    if arguments.list and arguments.json:
        import json

        rows = [{"name": name, "meaning": meaning} for name, meaning in COUNTERS.items()]
        write(json.dumps({"schema": "tcpscope.stats.catalogue/1", "counters": rows}, indent=1) + "\n")
        return 0
    if arguments.list:
        write("".join(f"{name}\n    {meaning}\n" for name, meaning in COUNTERS.items()))
        return 0
    count = arguments.count if arguments.count or arguments.interval else 1
    interval_s = arguments.interval or 1.0
    shape = Shape(arguments.json, not arguments.brief, _terminal_width())
    wanted = () if arguments.all else tuple(COUNTERS)
    try:
        for found in follow_intervals(interval_s, count, wanted, netns=arguments.netns):
            _print(found, shape, COUNTERS)
    except KeyboardInterrupt:
        # Why: Ctrl-C is how an endless run is meant to end; one with a COUNT was cut short
        return 130 if count else 0
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = new_parser("stats", "Rates of the kernel's TCP counters in this network namespace.", EPILOG)
    add = parser.add_argument
    add("interval", nargs="?", type=_interval, metavar="INTERVAL", help="seconds between two readings (default 1)")
    add("count", nargs="?", type=_count, metavar="COUNT", help="how many (default: 1 without INTERVAL, else endless)")
    add("--json", action="store_true", help="one JSON object per interval")
    add("--all", action="store_true", help="every counter that moves")
    add("--brief", action="store_true", help="without the meanings")
    add("--list", action="store_true", help="print what each counter means, and stop")
    add_netns_option(parser)
    return parser.parse_args(argv)


def _interval(text: str) -> float:
    return number_between(text, 0.01, 1e9, "seconds from 0.01")


def _count(text: str) -> int:
    return int(number_between(text, 1, 1e15, "a number from 1"))


def _terminal_width() -> int:
    """Meanings are cut to the terminal's width; in a pipe they are whole."""
    if not sys.stdout.isatty():
        return 0
    import os

    return os.get_terminal_size(sys.stdout.fileno()).columns


def _print(found: Interval, shape: Shape, meanings: dict[str, str]) -> None:
    if shape.json:
        import json

        print(json.dumps(interval_object(found), separators=(",", ":")), flush=True)
        return
    from time import localtime, strftime

    from tcpscope.views.counters import render_block, render_growth, spell_rate

    clock = strftime("%H:%M:%S", localtime(found.taken_ns // 10**9))
    text = render_block(
        clock, "SOCK", {title: "-" if value is None else str(value) for title, value in found.sock.items()}
    )
    for group, values in (("TCP", found.tcp), ("ETCP", found.etcp)):
        text += render_block("", group, {title: spell_rate(value) for title, value in values.items()})
    shown = {*TCP.values(), *ETCP.values()}
    rows = [
        (growth.name, growth.per_s, growth.delta, meanings.get(growth.name, "") if shape.meanings else "")
        for growth in found.growth
        if growth.name not in shown
    ]
    text += render_growth(rows, shape.width)
    if found.restarted:
        text += f"  # went down, no rate: {', '.join(found.restarted)}\n"
    text += "".join(f"  # {note}\n" for note in found.notes)
    write(text + "\n")
    sys.stdout.flush()


def interval_object(found: Interval) -> dict[str, object]:
    """Return the JSON object of one interval."""
    return {
        "schema": "tcpscope.stats/1",
        "t_ns": found.taken_ns,
        "interval_ms": round(found.seconds * 1000, 3),
        "sock": dict(found.sock),
        "tcp": dict(found.tcp),
        "etcp": dict(found.etcp),
        "counters": {
            growth.name: {"per_s": growth.per_s, "delta": growth.delta, "total": growth.total}
            for growth in found.growth
        },
        "restarted": list(found.restarted),
        "coverage": {"source": "live", "notes": list(found.notes)},
    }
