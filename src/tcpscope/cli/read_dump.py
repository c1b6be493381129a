"""``tcpscope read`` for a dump: what somebody's netstat, ss or lsof showed, with the doctor's remarks."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence

from tcpscope.cli.filtering import Selection
from tcpscope.cli.streams import is_coloured, write
from tcpscope.doctor import diagnose
from tcpscope.dumps.read import with_ages
from tcpscope.model.errors import UsageError
from tcpscope.model.finding import Finding
from tcpscope.model.snapshot import Snapshot
from tcpscope.model.state import State
from tcpscope.views import socket_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

_USUAL = (*socket_table.USUAL, "program")


def ordered_looks(looks: Iterable[Snapshot]) -> list[Snapshot]:
    """Put the looks of all files in order, oldest first; ages are bounds from look to look of the same sockets."""
    looks = sorted(looks, key=lambda look: look.taken_ns)
    for place in range(1, len(looks)):
        looks[place] = with_ages(looks[place - 1], looks[place])
    return looks


def show_looks(looks: Sequence[Snapshot], selection: Selection | None, options: Namespace) -> None:
    """Print what the options of the command line ask for. Raises ``UsageError`` for an unknown column."""
    try:
        print_looks(
            looks, selection, names=options.names, columns=options.columns, sort=options.sort, color=options.color,
            header=not options.no_header,
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(str(error)) from error


def print_looks(
    looks: Sequence[Snapshot],
    selection: Selection | None,
    *,
    names: str = "netstat",
    columns: str | None = None,
    sort: str | None = None,
    color: str = "auto",
    header: bool = True,
) -> None:
    """Print every look as a table, counts first, remarks last."""
    chosen = socket_table.choose_columns(columns, list(_USUAL))
    style = socket_table.Style(names)
    for place, look in enumerate(looks):
        sockets = [one for one in look.sockets if selection is None or selection.matches(one)]
        if sort:
            sockets = socket_table.sort_sockets(sockets, sort)
        write(_heading(place, len(looks), look, names))
        if look.coverage.listing:
            write(
                socket_table.render_sockets(
                    sockets, chosen, style, header=header, colour=is_coloured(color), info=False, extend=False
                )
            )
        for note in look.coverage.notes:
            print(f"tcpscope: {note}", file=sys.stderr)
        for finding in _findings(looks, place):
            write(f"\n{finding.severity.name:<8} {finding.title}  [{finding.id}]\n")
        write("\n" if place + 1 < len(looks) else "")


def looks_object(looks: Sequence[Snapshot], selection: Selection | None) -> dict[str, object]:
    """Return the fields of the public contract: the last look's sockets, and all looks when there are several."""
    objects = [_look_object(look, selection) for look in looks]
    whole = dict(objects[-1])
    if len(objects) > 1:
        whole["looks"] = objects
    return whole


def _look_object(look: Snapshot, selection: Selection | None) -> dict[str, object]:
    return {
        "taken_ns": look.taken_ns,
        "system": look.host.system,
        "coverage": look.coverage._asdict(),
        "counters": dict(look.counters),
        "sockets": [
            socket_table.socket_object(one) for one in look.sockets if selection is None or selection.matches(one)
        ],
    }


def _heading(place: int, total: int, look: Snapshot, names: str) -> str:
    counts = Counter(socket.state for socket in look.sockets if socket.proto == "tcp")
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    spelled = ", ".join(f"{count} {State(state).spell(names)}" for state, count in ordered)
    which = f"look {place + 1} of {total}: " if total > 1 else ""
    if not look.coverage.listing:
        again = "" if total > 1 else "; two of them tell rates: tcpscope doctor FIRST SECOND"
        return f"{which}counters alone ({len(look.counters)} read), no sockets{again}\n\n"
    count = "1 socket" if len(look.sockets) == 1 else f"{len(look.sockets)} sockets"
    return f"{which}{look.coverage.listing}, {count}: {spelled or 'no TCP'}\n\n"


def _findings(looks: Sequence[Snapshot], place: int) -> list[Finding]:
    previous = looks[place - 1] if place else None
    return diagnose(looks[place], previous)
