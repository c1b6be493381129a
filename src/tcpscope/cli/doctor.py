"""``tcpscope doctor``: what is wrong with this host's connections (or those of a dump), why, and what to do.

It looks twice, a few seconds apart, because rates and changes tell more than totals. It sends nothing and changes
nothing; the one thing it writes is its own small store of when it first saw what (``--no-store`` leaves that out).
"""

from __future__ import annotations

from collections.abc import Sequence

from tcpscope.cli.doctor_looks import look_at_files, look_at_host
from tcpscope.cli.parsing import add_color_option, new_parser, number_between
from tcpscope.cli.streams import is_coloured, write
from tcpscope.doctor import CATALOGUE, TABLE, Diagnosis, Look, Thresholds, entry_of, examine
from tcpscope.model.collector import collector_paused
from tcpscope.model.errors import UsageError
from tcpscope.model.finding import Finding, Severity

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EXAMPLES = """\
examples:
  tcpscope doctor                           this host, two looks 2 s apart
  tcpscope doctor --interval 60             a longer look: slow growth, silent peers
  tcpscope doctor --netns all               every network namespace (containers); pairs both ends
  tcpscope doctor customer.txt              a dump of netstat, ss or lsof
  tcpscope doctor trace.pcapng              both ends of each connection as a capture ended
  tcpscope doctor first.txt second.txt      two looks at one host, or both ends of its connections
  tcpscope doctor --port 8080               why a server cannot bind port 8080
  tcpscope doctor --only close-wait-leak --threshold close-wait-leak.age_s=10
  tcpscope doctor --json --fail-on medium   for scripts: exit code 10 when there is anything

exit codes: 0 nothing at or above --fail-on, 10 something, 1 failed, 2 usage, 4 not permitted
"""


def run(argv: list[str]) -> int:
    """Run ``tcpscope doctor``."""
    options = _parser().parse_args(argv)
    with collector_paused():
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    if options.list:
        return _print_catalogue(options.json)
    thresholds = _thresholds(options)
    if options.thresholds:
        return _print_thresholds(thresholds, options.json)
    only = {_known(name) for name in options.only}
    if options.files:
        looks, told = look_at_files(options, thresholds)
    else:
        looks, told = look_at_host(options, thresholds), []
    diagnosis = _with_told(examine(looks), told)
    if only:
        chosen = tuple(finding for finding in diagnosis.findings if finding.id in only)
        diagnosis = Diagnosis(chosen, tuple(row for row in diagnosis.not_judged if row[0] in only))
    _print(diagnosis, looks, options, only)
    return 10 if any(finding.severity >= options.fail_on for finding in diagnosis.findings) else 0


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "doctor",
        "Say what is wrong with the TCP connections of this host or of a dump, why, and what to do.",
        _EXAMPLES,
    )
    add = parser.add_argument
    add(
        "files",
        metavar="FILE",
        nargs="*",
        help="dumps (netstat, ss, lsof, /proc/net/tcp) or captures ('-': stdin)",
    )
    add("--interval", metavar="SECONDS", type=_seconds, default=2.0, help="time between the two looks (default 2)")
    add("--once", action="store_true", help="a single look; says what it could not judge")
    add(
        "--netns",
        metavar="NAME",
        action="append",
        default=[],
        help="a namespace (name, path, pid:N) or 'all'; repeatable",
    )
    add(
        "--fail-on",
        metavar="SEVERITY",
        type=_severity,
        default=Severity.HIGH,
        help="exit 10 from here on (default high)",
    )
    add("--only", metavar="ID", action="append", default=[], help="show this finding alone, in full; repeatable")
    add("--port", metavar="PORT", type=_port, action="append", default=[], help="a port a server here wants to bind")
    add(
        "--threshold",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="judge by another number (see --thresholds)",
    )
    add("--config", metavar="FILE", help="a TOML file with a table [thresholds]")
    add("--no-store", action="store_true", help="neither read nor write the store of first sightings")
    add("--brief", action="store_true", help="sentences and first evidence only")
    add_color_option(parser)
    add("--json", action="store_true", help="one JSON object (schema tcpscope.doctor/1)")
    add("--list", action="store_true", help="list every finding it knows")
    add("--thresholds", action="store_true", help="list every number it judges by, with the reason")
    return parser


def _seconds(text: str) -> float:
    return number_between(text, 0.05, 86_400, "seconds between 0.05 and 86400")


def _severity(text: str) -> Severity:
    import argparse

    try:
        return Severity.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _port(text: str) -> int:
    return int(number_between(text, 1, 65535, "a port between 1 and 65535"))


def _known(name: str) -> str:
    try:
        return entry_of(name).id
    except ValueError as error:
        raise UsageError(str(error)) from error


def _thresholds(options: argparse.Namespace) -> Thresholds:
    from tcpscope.doctor.thresholds import flatten, parse_override

    overrides: dict[str, float] = {}
    if options.config:
        overrides |= flatten(_read_config(options.config))
    overrides |= dict(parse_override(text) for text in options.threshold)
    return Thresholds(overrides)


def _read_config(path: str) -> dict[str, object]:
    import tomllib

    try:
        with open(path, "rb") as file:
            tree = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML: {error}") from error
    table = tree.get("thresholds", {})
    unknown = sorted(set(tree) - {"thresholds"})
    if unknown or not isinstance(table, dict):
        raise UsageError(f"{path}: only a table [thresholds] is known, not {unknown[0] if unknown else 'this'!r}")
    return table


def _with_told(diagnosis: Diagnosis, told: Sequence[Finding]) -> Diagnosis:
    """Add what the packets themselves tell, where the rules have not found the same from the states at the end."""
    from tcpscope.doctor.causes import arrange

    known = {(finding.id, finding.place) for finding in diagnosis.findings}
    new = [finding for finding in told if (finding.id, finding.place) not in known]
    if not new:
        return diagnosis
    ids = {finding.id for finding in new}
    return Diagnosis(
        tuple(arrange([*diagnosis.findings, *new])), tuple(row for row in diagnosis.not_judged if row[0] not in ids)
    )


def _print(diagnosis: Diagnosis, looks: Sequence[Look], options: argparse.Namespace, only: set[str]) -> None:
    from tcpscope.views.diagnosis import diagnosis_object, render_diagnosis

    if options.json:
        import json

        tree = {"schema": "tcpscope.doctor/1", **diagnosis_object(diagnosis, looks)}
        write(json.dumps(tree, indent=1) + "\n")
        return
    import shutil

    width, colour = shutil.get_terminal_size((100, 24)).columns, is_coloured(options.color)
    write(render_diagnosis(diagnosis, looks, width, colour, options.brief, only))


def _print_catalogue(as_json: bool) -> int:
    if as_json:
        import json

        rows = [{**entry._asdict(), "recipe": entry.recipe} for entry in CATALOGUE.values()]
        write(json.dumps({"schema": "tcpscope.doctor.catalogue/1", "findings": rows}, indent=1) + "\n")
        return 0
    width = max(map(len, CATALOGUE))
    write("".join(f"F{entry.number:02}  {entry.id:<{width}}  {entry.title}\n" for entry in CATALOGUE.values()))
    return 0


def _print_thresholds(thresholds: Thresholds, as_json: bool) -> int:
    if as_json:
        import json

        rows = [{**row._asdict(), "value": thresholds[row.name], "default": row.value} for row in TABLE]
        write(json.dumps({"schema": "tcpscope.doctor.thresholds/1", "thresholds": rows}, indent=1) + "\n")
        return 0
    width = max(len(row.name) for row in TABLE)
    for row in TABLE:
        changed = f" (default {row.value:g})" if row.name in thresholds.changed else ""
        write(f"{row.name:<{width}}  {thresholds[row.name]:>8g} {row.unit:<6} {row.reason}{changed}\n")
    return 0
