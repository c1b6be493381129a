"""``tcpscope`` alone: this host at a glance."""

from __future__ import annotations

import time

from tcpscope.cli.flags import Options
from tcpscope.cli.parsing import add_color_option, add_names_option, add_netns_option, new_parser
from tcpscope.cli.streams import is_coloured, write
from tcpscope.live.snapshot import take_snapshot
from tcpscope.model.finding import Finding
from tcpscope.model.snapshot import Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

EPILOG = """examples:
  tcpscope                     this network namespace
  tcpscope --netns web         another one
  tcpscope --json | jq .states

The findings come from one look; 'tcpscope doctor' takes two and judges rates too.
"""


def run(argv: list[str]) -> int:
    """Run ``tcpscope overview``."""
    options = _parse(argv)
    started = time.monotonic()
    snapshot = take_snapshot(netns=options.netns)
    findings = _diagnose(snapshot)
    took_ms = (time.monotonic() - started) * 1000
    if options.json:
        _print_json(snapshot, findings, took_ms)
        return 0
    import shutil

    from tcpscope.views.overview import render_overview

    width, colour = shutil.get_terminal_size((100, 24)).columns, is_coloured(options.color)
    write(render_overview(snapshot, findings, took_ms, names=options.names, colour=colour, width=width))
    return 0


def _parse(argv: list[str]) -> Options:
    parser = new_parser("overview", "Show this host at a glance.", EPILOG)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_netns_option(parser)
    add_names_option(parser)
    add_color_option(parser)
    options = Options()
    vars(options).update(vars(parser.parse_args(argv)))
    return options


def _diagnose(snapshot: Snapshot) -> list[Finding]:
    from tcpscope.doctor import diagnose

    return sorted(diagnose(snapshot), key=lambda finding: (-finding.severity, -finding.confidence))


def _print_json(snapshot: Snapshot, findings: Sequence[Finding], took_ms: float) -> None:
    import json

    from tcpscope.live.listeners import find_listeners
    from tcpscope.views.overview import count_states

    document = {
        "schema": "tcpscope.overview/1",
        "host": snapshot.host._asdict(),
        "netns": snapshot.netns,
        "taken_ns": snapshot.taken_ns,
        "took_ms": round(took_ms, 1),
        "states": {state.name: count for state, count in count_states(snapshot.sockets).items()},
        "udp_sockets": sum(1 for socket in snapshot.sockets if socket.proto == "udp"),
        "listeners": [
            {
                "local": one.socket.local._asdict(),
                "v6only": one.socket.v6only,
                "sockets": one.sockets,
                "processes": [owner._asdict() for owner in one.socket.owners],
                "connections": one.connections,
                "waiting": one.waiting,
                "backlog": one.backlog,
            }
            for one in find_listeners(snapshot.sockets)
        ],
        "findings": [
            {"id": one.id, "severity": one.severity.name.lower(), "confidence": one.confidence, "title": one.title}
            for one in findings
        ],
        "coverage": snapshot.coverage._asdict(),
    }
    write(json.dumps(document) + "\n")
