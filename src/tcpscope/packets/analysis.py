"""The entry of this room: captures in, connections, findings, damage and totals out."""

from __future__ import annotations

from collections.abc import Sequence

from tcpscope.capture import open_capture
from tcpscope.model.connection import Connection
from tcpscope.model.damage import Damage
from tcpscope.model.errors import TcpscopeError, UsageError
from tcpscope.model.finding import Finding
from tcpscope.model.record import TYPE_CHECKING, NamedTuple
from tcpscope.packets.interpreted import InterpretedEngine
from tcpscope.packets.records import Connections
from tcpscope.packets.totals import Totals, count_totals

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from concurrent.futures import Executor

    from tcpscope.packets.ledger import Ledger

#: Engines by name; ``auto`` takes the compiled one when it is installed and the capture large enough.
ENGINES = ("auto", "python", "compiled")


class Analysis(NamedTuple):
    """Everything found in one or more captures. ``connections`` builds each connection when it is asked for."""

    connections: Sequence[Connection]
    findings: tuple[Finding, ...]
    damage: tuple[Damage, ...]
    totals: Totals


def analyse(
    paths: Sequence[str | os.PathLike[str]],
    *,
    engine: str = "auto",
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Analysis:
    """Follow every connection in the captures ``paths`` (``-``: standard input).

    Several captures are taken as parts of one: connections that span them are joined. ``executor`` runs one file
    per task; ``progress(done_bytes, all_bytes)`` is called now and then. Raises ``UsageError`` for an unknown
    engine, ``OSError`` and ``TcpscopeError`` for a file that cannot be opened; damage inside a file is reported.
    """
    if engine not in ENGINES:
        raise UsageError(f"no engine {engine!r}: choose from {', '.join(ENGINES)}")
    if not paths:
        raise TcpscopeError("no capture to read")
    tracker = InterpretedEngine()
    damage: list[Damage] = []
    for path in paths:
        with open_capture(path) as source:
            for chunk in source.iter_chunks():
                tracker.take(chunk)
            damage += source.damage
    return summarize(tracker.finish(), tuple(damage), tracker.name)


def summarize(ledger: Ledger, damage: tuple[Damage, ...], engine: str) -> Analysis:
    """Turn an engine's ledger into an :class:`Analysis`."""
    connections = Connections(ledger)
    return Analysis(connections, (), damage, count_totals(ledger, engine))
