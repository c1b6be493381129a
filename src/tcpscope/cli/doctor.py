"""``tcpscope doctor``: what is wrong with this host's connections (or those of a dump), why, and what to do.

It looks twice, a few seconds apart, because rates and changes tell more than totals. It sends nothing and changes
nothing; the one thing it writes is its own small store of when it first saw what (``--no-store`` leaves that out).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tcpscope.cli.parsing import add_color_option, new_parser
from tcpscope.cli.streams import is_coloured, write
from tcpscope.doctor import CATALOGUE, TABLE, Diagnosis, Look, Thresholds, entry_of, examine
from tcpscope.model.errors import UsageError
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.history import History
from tcpscope.model.snapshot import Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from tcpscope.live.witness import Witnessed

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
    import gc

    # Why: it ends soon, and walking hundreds of thousands of words for cycles costs as much as reading them.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return _run(_parser().parse_args(argv))
    finally:
        if was_enabled:
            gc.enable()


def _run(options: argparse.Namespace) -> int:
    if options.list:
        return _print_catalogue(options.json)
    thresholds = _thresholds(options)
    if options.thresholds:
        return _print_thresholds(thresholds, options.json)
    only = {_known(name) for name in options.only}
    told: list[Finding] = []
    looks = _look_at_files(options, thresholds, told) if options.files else _look_at_host(options, thresholds)
    diagnosis = _with_told(examine(looks), told)
    if only:
        chosen = tuple(finding for finding in diagnosis.findings if finding.id in only)
        diagnosis = Diagnosis(chosen, tuple(row for row in diagnosis.not_judged if row[0] in only))
    if options.json:
        _print_json(diagnosis, looks)
    else:
        _print_text(diagnosis, looks, options)
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
    add("--only", metavar="ID", action="append", default=[], help="show this finding alone; repeatable")
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
    return _between(text, 0.05, 86_400, "seconds between 0.05 and 86400")


def _between(text: str, low: float, high: float, what: str) -> float:
    import argparse

    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {what}")
    return value


def _severity(text: str) -> Severity:
    import argparse

    try:
        return Severity.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _port(text: str) -> int:
    return int(_between(text, 1, 65535, "a port between 1 and 65535"))


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


def _look_at_host(options: argparse.Namespace, thresholds: Thresholds) -> list[Look]:
    from tcpscope.live.snapshot import take_snapshot
    from tcpscope.live.witness import Witnessed, with_witnessed

    places = _places(options.netns)
    earlier = {}
    seen = Witnessed({})
    if not options.once:
        # Why: the first look needs no owners; who holds a socket is asked when it is reported.
        earlier = {place: take_snapshot(netns=place, owners=False, defer=True) for place in places}
        # Why: beside a crowd of sockets watching would cost more than looking.
        is_quiet = all(isinstance(one.sockets, list) for one in earlier.values())
        seen = _wait(options.interval, is_witnessed=is_quiet, all_namespaces=places != [None])
    snapshots = {place: take_snapshot(netns=place) for place in places}
    snapshots = {place: with_witnessed(snapshot, seen) for place, snapshot in snapshots.items()}
    first = next(iter(snapshots.values()))
    history = _history(first, options)
    looks = []
    for place, snapshot in snapshots.items():
        others = [one for one in snapshots.values() if one is not snapshot]
        look = Look(
            snapshot,
            earlier.get(place),
            history=history,
            thresholds=thresholds,
            others=others,
            wanted_ports=options.port,
            place=_spell_place(place) if len(snapshots) > 1 else "",
        )
        looks.append(look)
    if not options.no_store:
        _remember(history, looks)
    return looks


def _places(wanted: Sequence[str]) -> list[str | None]:
    if "all" not in wanted:
        return list(dict.fromkeys(wanted)) or [None]
    from tcpscope.kernel.namespaces import find_namespaces

    found, _ = find_namespaces()
    return [None, *(one.path for one in found[1:])]


def _spell_place(place: str | None) -> str:
    """Spell a namespace as ``--netns`` takes it."""
    return "this namespace" if place is None else f"--netns {place.removeprefix('/run/netns/')}"


def _wait(seconds: float, *, is_witnessed: bool, all_namespaces: bool) -> Witnessed:
    """Wait for the second look; unless there is a crowd, note which sockets enter their state meanwhile."""
    import time

    from tcpscope.live.witness import Witnessed, watch

    shows = sys.stderr.isatty()

    def tell(left: float) -> None:
        if shows:
            sys.stderr.write(f"\rlooking again in {left:.0f} s ")
            sys.stderr.flush()

    if is_witnessed:
        seen = watch(seconds, tell, all_namespaces=all_namespaces)
    else:
        tell(seconds)
        time.sleep(seconds)
        seen = Witnessed({})
    if shows:
        sys.stderr.write("\r\033[K")
    return seen


def _history(snapshot: Snapshot, options: argparse.Namespace) -> History:
    if options.no_store:
        return History()
    from tcpscope.history.first_seen import read_history

    return read_history(snapshot.host.boot_id)


def _remember(history: History, looks: Sequence[Look]) -> None:
    from tcpscope.doctor import trends
    from tcpscope.history.first_seen import write_history
    from tcpscope.history.remember import remember

    looked = history.looks
    told: set[str] = set()
    for look in looks:
        # Why: a number of the whole machine is remembered once for all of its namespaces.
        numbers = {name: value for name, value in trends(look).items() if name not in told}
        told.update(numbers)
        history = remember(history, look.snapshot, numbers)
    write_history(history._replace(looks=looked + 1), looks[0].snapshot.host.boot_id)


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


def _look_at_files(options: argparse.Namespace, thresholds: Thresholds, told: list[Finding]) -> list[Look]:
    """Look at dumps and captures; what a capture's packets tell by themselves is added to ``told``."""
    from tcpscope.cli.read_files import is_capture
    from tcpscope.cli.spooled import Spooled
    from tcpscope.dumps.read import read_dumps, with_ages

    if options.netns:
        raise UsageError("--netns is for this host, not for files")
    with Spooled(options.files) as files:
        rows = [
            _read_capture(path, name, told) if is_capture(path) else read_dumps(path)
            for path, name in zip(files, options.files, strict=True)
        ]
    hosts: list[list[Snapshot]] = []
    names: list[str] = []
    for path, row in zip(options.files, rows, strict=True):
        same = next((known for known in hosts if _is_same_host(known[-1], row[0])), None)
        if same is None:
            hosts.append(list(row))
            names.append(path)
        else:
            same.extend(row)
    if len(hosts) == 1:
        told[:] = [finding._replace(place="") for finding in told]
    looks = []
    last = [_aged(row, with_ages) for row in hosts]
    for number, row in enumerate(hosts):
        others = [snapshot for index, snapshot in enumerate(last) if index != number]
        previous = row[-2] if len(row) > 1 else None
        place = names[number] if len(hosts) > 1 else ""
        looks.append(
            Look(last[number], previous, thresholds=thresholds, others=others, wanted_ports=options.port, place=place)
        )
    return looks


def _read_capture(path: str, name: str, told: list[Finding]) -> list[Snapshot]:
    from tcpscope.doctor.connections import snapshot_of_connections
    from tcpscope.packets import analyse

    analysis = analyse([path])
    told += [finding._replace(place=name) for finding in analysis.findings]
    return [snapshot_of_connections(analysis.connections, name)]


def _aged(row: list[Snapshot], with_ages: object) -> Snapshot:
    snapshot = row[0]
    for later in row[1:]:
        snapshot = with_ages(snapshot, later)  # type: ignore[operator]
    return snapshot


def _is_same_host(first: Snapshot, second: Snapshot) -> bool:
    """Whether two dumps show one host: its own addresses are the same, or what it listens for and connects to."""
    mine, others = _own_addresses(first), _own_addresses(second)
    if mine and others:
        return len(mine & others) * 2 > min(len(mine), len(others))
    ends, other_ends = _held_ends(first), _held_ends(second)
    return len(ends & other_ends) * 2 >= min(len(ends), len(other_ends))


def _held_ends(snapshot: Snapshot) -> set[object]:
    return {(one.flow, tuple(owner.pid for owner in one.owners)) for one in snapshot.sockets}


def _own_addresses(snapshot: Snapshot) -> set[str]:
    return {one.local.unmapped for one in snapshot.sockets if not one.local.is_wildcard and not one.local.is_loopback}


def _print_json(diagnosis: Diagnosis, looks: Sequence[Look]) -> None:
    import json

    from tcpscope.views.socket_table import socket_object

    findings = []
    for finding in diagnosis.findings:
        row = finding._asdict()
        row["severity"] = finding.severity.name.lower()
        row["remedies"] = [remedy._asdict() for remedy in finding.remedies]
        row["sockets"] = [socket_object(socket) for socket in finding.sockets]
        findings.append(row)
    tree = {"schema": "tcpscope.doctor/1", "findings": findings, "coverage": _coverage(diagnosis, looks)}
    write(json.dumps(tree, indent=1) + "\n")


def _coverage(diagnosis: Diagnosis, looks: Sequence[Look]) -> dict[str, object]:
    snapshot = looks[0].snapshot
    coverage = snapshot.coverage
    return {
        "source": coverage.source,
        "listing": coverage.listing,
        "owners": coverage.owners,
        "sockets": sum(look.total for look in looks),
        "sockets_without_owner": sum(look.snapshot.coverage.sockets_without_owner for look in looks),
        "namespaces": len(looks) if coverage.source == "live" else 0,
        "looks": 1 if looks[0].previous is None else 2,
        "interval_ms": round(looks[0].elapsed_s * 1000),
        "host": snapshot.host._asdict(),
        "not_judged": [{"id": id, "reason": reason} for id, reason in diagnosis.not_judged],
        "thresholds_changed": looks[0].thresholds.changed,
        "notes": list(_notes(looks)),
    }


def _notes(looks: Sequence[Look]) -> list[str]:
    return list(dict.fromkeys(note for look in looks for note in look.snapshot.coverage.notes))


def _print_text(diagnosis: Diagnosis, looks: Sequence[Look], options: argparse.Namespace) -> None:
    from tcpscope.views.diagnosis import render_findings

    width = _width()
    lines = [_opening_line(looks), ""]
    text = render_findings(diagnosis.findings, width, is_coloured(options.color), options.brief)
    alarms = [finding for finding in diagnosis.findings if finding.severity > Severity.INFO]
    if not alarms:
        lines.append("Nothing wrong was found" + ("; worth knowing:\n" if diagnosis.findings else ".\n"))
    write("\n".join(lines) + "\n" + text + _closing_lines(diagnosis, looks, alarms, width))


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((100, 24)).columns


def _opening_line(looks: Sequence[Look]) -> str:
    from tcpscope.doctor.wording import many

    look = looks[0]
    host = look.snapshot.host
    parts = [host.name or "dump", host.kernel, many(sum(one.total for one in looks), "TCP socket")]
    if len(looks) > 1:
        parts.append(many(len(looks), "namespace" if look.snapshot.coverage.source == "live" else "host"))
    apart = f" {look.elapsed_s:.1f} s apart" if look.elapsed_s else ", how far apart is not known"
    parts.append(f"two looks{apart}" if look.previous else "a single look")
    return " · ".join(part for part in parts if part)


def _closing_lines(diagnosis: Diagnosis, looks: Sequence[Look], alarms: Sequence[Finding], width: int) -> str:
    import textwrap

    lines = []
    reasons: dict[str, list[str]] = {}
    for id, reason in diagnosis.not_judged:
        reasons.setdefault(reason, []).append(id)
    for reason, ids in reasons.items():
        shown = ", ".join(ids[:4]) + (f" and {len(ids) - 4} more" if len(ids) > 4 else "")
        lines += textwrap.wrap(f"not judged: {shown}: {reason}", width, subsequent_indent="  ", break_on_hyphens=False)
    lines += [line for note in _notes(looks) for line in textwrap.wrap(f"note: {note}", width, subsequent_indent="  ")]
    dump = looks[0].snapshot.coverage.source == "dump"
    if dump and looks[0].previous is None:
        lines += textwrap.wrap(
            "a second dump a minute later settles ages and growth: sudo ss -tanpioem > second.txt "
            "(with ages, timers and backlogs), then tcpscope doctor FIRST SECOND",
            width,
            subsequent_indent="  ",
        )
    if alarms:
        lines.append(f"more: tcpscope explain {alarms[0].id} · tcpscope doctor --thresholds · tcpscope tune")
    return "\n".join(lines) + "\n" if lines else ""


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
