"""``tcpscope list`` with more than netstat's table: details, JSON, CSV, chosen columns, order, other namespaces."""

from __future__ import annotations

from tcpscope.cli.filtering import Selection, read_chosen, read_selection
from tcpscope.cli.flags import Options, select
from tcpscope.cli.streams import is_coloured, warn, write
from tcpscope.model.errors import UsageError
from tcpscope.model.snapshot import Coverage
from tcpscope.model.socket import Socket
from tcpscope.views import socket_table
from tcpscope.views.socket_table import Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Columns that are empty unless the kernel is asked for details.
_NEED_DETAIL = frozenset(("age", "congestion", "cgroup", "drops", "memory", *socket_table.INFO_COLUMNS))
_NEED_OWNERS = frozenset(("program", "pid", "comm", "fd"))


def run_words(options: Options) -> int:
    """Run ``tcpscope list`` by words, once or again and again."""
    selection = read_selection(options.filter)
    # Why: 'netns web' asks about another namespace than this one
    options.all_namespaces |= selection is not None and selection.needs_namespaces and not options.netns
    columns = _columns(options)
    if options.watch is None:
        _print_once(options, columns, selection)
        return 0
    from tcpscope.cli.watch import watch

    return watch(lambda: _print_once(options, columns, selection), options.watch, is_lines=options.json)


def _columns(options: Options) -> list[str]:
    """Choose the columns; complains about unknown ones before anything is read."""
    usual = list(socket_table.USUAL)
    if options.all_namespaces:
        usual.insert(0, "netns")
    if options.extend:
        usual += ["user", "inode"]
    if options.programs:
        usual.append("program")
    try:
        if options.sort:
            socket_table.find_column(options.sort.lstrip("+-"))
        return socket_table.choose_columns(options.columns, usual)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _print_once(options: Options, columns: list[str], selection: Selection | None) -> None:
    sockets, coverage, labels = _read(options, columns, selection)
    if options.sort:
        sockets = socket_table.sort_sockets(sockets, options.sort)
    if options.json:
        write_json(sockets, coverage, separator="\n" if options.watch is None else "")
        return
    style = _style(options, labels)
    header = not options.no_header
    if options.csv:
        write(socket_table.render_sockets_csv(sockets, columns, style, header=header))
    else:
        colour = is_coloured(options.color)
        write(
            socket_table.render_sockets(
                sockets, columns, style, header=header, colour=colour, info=options.info, extend=options.extend
            )
        )
    for note in coverage.notes:
        warn(note)


def _read(
    options: Options, columns: list[str], selection: Selection | None
) -> tuple[list[Socket], Coverage, dict[int, str]]:
    wanted = {*columns, (options.sort or "").lstrip("+-")}
    return read_chosen(
        selection,
        select(options),
        everywhere=options.all_namespaces,
        netns=options.netns,
        detail=options.json or options.info or options.extend or bool(_NEED_DETAIL & wanted),
        owners=options.json or options.programs or bool(_NEED_OWNERS & wanted),
    )


def _style(options: Options, labels: dict[int, str]) -> Style:
    if not options.resolve or options.numeric:
        return Style(options.names, labels)
    from tcpscope.cli import resolve

    return Style(options.names, labels, resolve.host_name, resolve.port_name, resolve.user_name)


def write_json(
    sockets: list[Socket], coverage: Coverage, schema: str = "tcpscope.list/1", *, separator: str = "\n"
) -> None:
    """Write one JSON object without holding it all as text; each socket begins after ``separator``."""
    import json

    encode: Callable[[object], str] = json.JSONEncoder(separators=(",", ":")).encode
    write(f'{{"schema":"{schema}","coverage":{encode(coverage._asdict())},"sockets":[')
    for number, socket in enumerate(sockets):
        write(("," if number else "") + separator + encode(socket_table.socket_object(socket)))
    write(separator + "]}\n")
