"""The entry of this room: captures in, connections, findings, damage and totals out."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tcpscope.model.damage import Damage
from tcpscope.model.errors import TcpscopeError, UsageError
from tcpscope.model.finding import Finding
from tcpscope.model.record import TYPE_CHECKING, NamedTuple
from tcpscope.packets.cases import collect
from tcpscope.packets.choosing import ENGINES, choose_engine
from tcpscope.packets.findings import find
from tcpscope.packets.ledger import in_order
from tcpscope.packets.merge import Source, merge, read_parts_in_order
from tcpscope.packets.records import Connections
from tcpscope.packets.spread import read_parts
from tcpscope.packets.totals import Totals, count_totals
from tcpscope.packets.translated import find_translated
from tcpscope.packets.vantage import Points, join_points

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from tcpscope.model.socket import Socket
    from tcpscope.packets.ledger import Ledger

#: From here on several files are read by several processes.
SPREAD_BYTES = 64 << 20


class Analysis(NamedTuple):
    """Everything found in one or more captures. ``connections`` builds each connection when it is asked for."""

    connections: Connections
    findings: tuple[Finding, ...]
    damage: tuple[Damage, ...]
    totals: Totals
    sources: tuple[tuple[Source, ...], ...] = ()  #: when taken at several points: the captures of each


def analyse(
    paths: Sequence[str | os.PathLike[str]],
    *,
    engine: str = "auto",
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
    matches: Callable[[Socket], bool] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Analysis:
    """Follow every connection in the captures ``paths`` (``-``: standard input).

    Several captures are taken as parts of one: connections that span them are joined. ``executor`` runs one file
    per task; ``progress(done_bytes, all_bytes)`` is called now and then, ``tell`` with a line about a long wait.
    ``matches`` keeps the connections of which one end, as the socket that ``ss`` would show, passes (see
    :mod:`tcpscope.filters`). Raises ``UsageError`` for an unknown engine, ``OSError`` and ``TcpscopeError`` for a file
    that cannot be opened; damage inside is reported.
    """
    if engine not in ENGINES:
        raise UsageError(f"no engine {engine!r}: choose from {', '.join(ENGINES)}")
    if not paths:
        raise TcpscopeError("no capture to read")
    names = [os.fspath(path) for path in paths]
    sizes = [os.path.getsize(name) if os.path.isfile(name) else 0 for name in names]
    advance = None if progress is None else (lambda done: progress(min(done, sum(sizes)), sum(sizes)))
    chosen = choose_engine(engine, names, tell)
    # Why: standard input cannot be looked at twice, small files do not repay processes, and the compiled engine has
    # read two files before what two processes found is merged (10 times over).
    is_worth_it = chosen == "python" and sum(sizes) >= SPREAD_BYTES and (os.cpu_count() or 1) > 1
    is_spread = executor is not None or is_worth_it
    if len(names) > 1 and is_spread and "-" not in names:
        part = merge(read_parts(names, chosen, executor, advance))
    else:
        part = read_parts_in_order(names, chosen, advance)
    points = join_points(part.sources, chosen) if len(names) > 1 and "-" not in names else None
    if points is not None:
        part = points.part
    if matches is None:
        return summarize(part.ledger, part.damage, part.engine, points=points)
    from tcpscope.packets.narrow import narrow

    ledger, serials = narrow(part.ledger, matches)
    _, places = in_order(part.ledger)
    if points is not None:
        points = points.chosen(serials)
    return summarize(ledger, part.damage, part.engine, [int(places[serial]) for serial in serials], points)


def summarize(
    ledger: Ledger,
    damage: tuple[Damage, ...],
    engine: str,
    places: Sequence[int] | None = None,
    points: Points | None = None,
) -> Analysis:
    """Turn an engine's ledger into an :class:`Analysis`; for ``places`` see :class:`Connections`."""
    notes = {} if points is None else dict(points.notes)
    pairs = find_translated(ledger)
    places = in_order(ledger)[1] if places is None else places
    for one, other in (*pairs, *((other, one) for one, other in pairs)):
        note = f"looks like connection {int(places[other]) + 1} on the other side of NAT"
        notes[one] = f"{notes[one]}; {note}" if one in notes else note
    connections = Connections(ledger, places, notes)
    twice = 0 if points is None else points.shared
    totals = count_totals(ledger, engine)._replace(twice=twice, translated=len(pairs))
    sources = () if points is None else points.points
    return Analysis(connections, find(collect(ledger, connections.places)), damage, totals, sources)
