"""``tcpscope states``: how many sockets are in which state, also per process, remote host, listener, namespace."""

from __future__ import annotations

from tcpscope.cli.filtering import read_chosen, read_selection
from tcpscope.cli.flags import Options, add_switches, check_output_options
from tcpscope.cli.parsing import add_output_options, join_values, new_parser
from tcpscope.cli.streams import is_coloured, warn, write
from tcpscope.live import counts
from tcpscope.live.counts import Count
from tcpscope.live.listing import read_listing
from tcpscope.live.sockets import describe_coverage, read_namespaces
from tcpscope.model.errors import UsageError
from tcpscope.model.snapshot import Coverage
from tcpscope.model.spelling import DIALECTS, IDENTIFIERS
from tcpscope.model.state import State
from tcpscope.views.row_table import escape, paint
from tcpscope.views.table import Column, render_csv, render_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcpscope.model.socket import Socket

GROUPS = ("state", "process", "remote", "listener", "netns")

#: What a row without key means.
_NO_KEY = {"process": "(no process)", "remote": "(none)", "listener": "(outgoing)"}
#: The key of a process that could not be seen; it is spelled out in the table.
_UNSEEN = {"?": "(not seen)"}

EPILOG = """examples:
  tcpscope states                          all eleven states
  tcpscope states --by process             who has the CLOSE_WAITs
  tcpscope states --by remote --sort -count --json
  tcpscope states --by netns               every network namespace

A socket that several processes hold is counted for each of them with --by process.
"""


def run(argv: list[str]) -> int:
    """Run ``tcpscope states``."""
    options = _parse(argv)
    if options.watch is None:
        _print_once(options)
        return 0
    from tcpscope.cli.watch import watch

    return watch(lambda: _print_once(options), options.watch, is_lines=options.json)


class StatesOptions(Options):
    """What was asked for."""

    by = "state"


def _parse(argv: list[str]) -> StatesOptions:
    parser = new_parser("states", "Count sockets per state.", EPILOG)
    add_switches(parser, "tuan46H")
    parser.add_argument("--by", choices=GROUPS, default="state", help="count per state and this")
    add_output_options(parser, timers=False)
    parser.add_argument("filter", nargs="*", metavar="FILTER", help="an expression as ss understands it")
    options = StatesOptions()
    vars(options).update(vars(parser.parse_intermixed_args(join_values(argv))))
    check_output_options(options)
    return options


def _print_once(options: StatesOptions) -> None:
    rows, coverage = _count(options)
    if options.json:
        _print_json(rows, coverage, options.by)
        return
    _print_table(rows, options)
    for note in coverage.notes:
        warn(note)


def _count(options: StatesOptions) -> tuple[list[Count], Coverage]:
    tcp, udp = 0xFFF if options.tcp or not options.udp else 0, 0xFFF if options.udp else 0
    family = 0 if options.ipv4 == options.ipv6 else 2 if options.ipv4 else 10
    if options.by == "state" and not options.netns and not options.all_namespaces and not options.filter:
        listing = read_listing(tcp=tcp, udp=udp, family=family)
        return counts.count_listing(listing), describe_coverage(listing)
    sockets, coverage, labels = _read(options, tcp, udp, family)
    if options.by == "state":
        return counts.count_sockets(sockets), coverage
    if options.by == "listener":
        # Why read again: a filter may have left the listeners out.
        listeners = _read_listeners(options)
        return counts.count_sockets(sockets, counts.by_listener(listeners)), coverage
    keys = {"process": counts.by_process, "remote": counts.by_remote, "netns": counts.by_netns(labels)}
    return counts.count_sockets(sockets, keys[options.by]), coverage


def _read(options: StatesOptions, tcp: int, udp: int, family: int) -> tuple[Sequence[Socket], Coverage, dict[int, str]]:
    selection = read_selection(options.filter)
    options.all_namespaces |= selection is not None and selection.needs_namespaces and not options.netns
    return read_chosen(
        selection,
        (tcp, udp, family),
        everywhere=options.all_namespaces or options.by == "netns",
        netns=options.netns,
        detail=False,
        owners=options.by == "process",
    )


def _read_listeners(options: StatesOptions) -> Sequence[Socket]:
    everywhere, only = options.all_namespaces, 1 << State.LISTEN
    return read_namespaces(everywhere=everywhere, netns=options.netns, tcp=only, udp=0, detail=False, owners=False)[0]


def _print_json(rows: Sequence[Count], coverage: Coverage, by: str) -> None:
    import json

    entries = []
    for row in rows:
        entry: dict[str, object] = {"state": IDENTIFIERS[row.state], "count": row.sockets}
        if by != "state":
            entry[by] = row.key or None
        entries.append(entry)
    document = {"schema": "tcpscope.states/1", "by": by, "counts": entries, "coverage": coverage._asdict()}
    write(json.dumps(document) + "\n")


def _print_table(rows: Sequence[Count], options: StatesOptions) -> None:
    columns = {
        "count": Column("count", "Count", 7, True),
        "state": Column("state", "State", 11),
        options.by: Column(options.by, "State" if options.by == "state" else options.by.capitalize()),
    }
    chosen = _choose(options.columns, list(columns))
    ordered = _sort(rows, options.sort, options.by)
    cells = [[_cell(row, key, options) for key in chosen] for row in ordered]
    shown = [columns[key] for key in chosen]
    header = not options.no_header
    if options.csv:
        write(render_csv(shown, cells, header=header))
        return
    colour = is_coloured(options.color)

    def painted(row: int, column: int, text: str) -> str:
        return paint(text, ordered[row].state) if chosen[column] == "state" and ordered[row].sockets else text

    write(render_table(shown, cells, header=header, paint=painted if colour else None))


def _cell(row: Count, key: str, options: StatesOptions) -> str:
    if key == "count":
        return str(row.sockets)
    if key == "state":
        return DIALECTS[options.names][row.state]
    return _UNSEEN.get(row.key) or escape(row.key) or _NO_KEY.get(options.by, "")


def _choose(wanted: str | None, known: list[str]) -> list[str]:
    if wanted is None:
        return known
    chosen = [word.strip().lstrip("+") for word in wanted.split(",") if word.strip()]
    if not chosen:
        raise UsageError(f"no column is named; known: {', '.join(known)}")
    if wanted.startswith("+"):
        chosen = list(dict.fromkeys((*known, *chosen)))
    for name in chosen:
        if name not in known:
            raise UsageError(f"no column {name!r}; known: {', '.join(known)}")
    return chosen


def _sort(rows: Sequence[Count], by: str | None, group: str) -> list[Count]:
    if not by:
        return list(rows)
    orders = {"count": lambda row: row.sockets, "state": lambda row: int(row.state), group: lambda row: row.key}
    name = by.lstrip("+-")
    if name not in orders:
        raise UsageError(f"no column {name!r}; known: {', '.join(orders)}")
    if name == "state":
        return sorted(rows, key=lambda row: int(row.state), reverse=by.startswith("-"))
    return sorted(rows, key=orders[name], reverse=by.startswith("-"))
