"""The connections of a capture as a table: pairs of final states with verdicts first, then one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tcpscope.model.connection import Connection
from tcpscope.model.record import NamedTuple
from tcpscope.model.spelling import DIALECTS
from tcpscope.model.state import State
from tcpscope.views.table import Column, render_csv, render_table


class _Field(NamedTuple):
    """One column: how it is headed, how a connection is spelled in it, what it is sorted by."""

    column: Column
    spell: Callable[[Connection, str], str]
    key: Callable[[Connection], object]


def _field(
    name: str,
    title: str,
    key: Callable[[Connection], object],
    spell: Callable[[Connection, str], str] | None = None,
    *,
    is_right: bool = False,
) -> _Field:
    def plain(connection: Connection, _names: str) -> str:
        value = key(connection)
        return "" if value is None else str(value)

    return _Field(Column(name, title, is_right=is_right), spell or plain, key)


def _state(which: str) -> Callable[[Connection, str], str]:
    return lambda connection, names: DIALECTS[names][getattr(connection, which)]


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value < 100 else f"{value:.0f}"


def _duration_ms(connection: Connection) -> float:
    return (connection.end_ns - connection.start_ns) / 1e6


_FIELDS = [
    _field("number", "#", lambda c: c.number, is_right=True),
    _field("client", "Client", lambda c: c.client, lambda c, _: str(c.client) + ("" if c.is_client_certain else "?")),
    _field("server", "Server", lambda c: c.server, lambda c, _: str(c.server)),
    _field("client-state", "Client is", lambda c: int(c.client_state), _state("client_state")),
    _field("server-state", "Server is", lambda c: int(c.server_state), _state("server_state")),
    _field("packets", "Pkts", lambda c: c.packets, is_right=True),
    _field("bytes", "Bytes", lambda c: c.bytes, is_right=True),
    _field("duration", "ms", _duration_ms, lambda c, _: _ms(_duration_ms(c)), is_right=True),
    _field("retrans", "Retr", lambda c: c.retransmissions, is_right=True),
    _field("closed", "Closed", lambda c: f"{c.closed_by} {c.closed_how}".strip()),
    _field("zeek", "Zeek", lambda c: f"{c.conn_state} {c.history}"),
    _field("start", "Start", lambda c: c.start_ns, lambda c, _: f"{c.start_ns / 1e9:.6f}", is_right=True),
    _field("handshake", "Handshake ms", lambda c: c.handshake_ms or 0.0, lambda c, _: _ms(c.handshake_ms)),
    _field("rtt", "RTT ms", lambda c: c.to_server.rtt_min_ms or 0.0, lambda c, _: _ms(c.to_server.rtt_min_ms)),
    _field("out-of-order", "OOO", lambda c: c.out_of_order, is_right=True),
    _field("zero-windows", "Zwin", lambda c: c.zero_windows, is_right=True),
    _field("resets", "RST", lambda c: c.resets, is_right=True),
    _field("icmp", "ICMP", lambda c: c.icmp_errors, is_right=True),
    _field("incarnation", "Life", lambda c: c.incarnation, is_right=True),
    _field("community-id", "Community ID", lambda c: c.community_id),
    _field("verdict", "Verdict", lambda c: c.verdict),
    _field("notes", "Notes", lambda c: "; ".join(c.notes)),
]  # fmt: skip
COLUMNS: Mapping[str, _Field] = {field.column.key: field for field in _FIELDS}
USUAL = (
    "number", "client", "server", "client-state", "server-state", "packets", "bytes", "duration", "retrans",
    "closed", "zeek",
)  # fmt: skip


def choose_columns(text: str | None) -> list[str]:
    """Read ``-o``: names with commas, ``+name`` adds to the usual. Raises ``ValueError`` naming the choices."""
    if not text:
        return list(USUAL)
    names = text.split(",")
    chosen = [name.lstrip("+") for name in names]
    unknown = [name for name in chosen if name not in COLUMNS]
    if unknown:
        raise ValueError(f"no column {unknown[0]!r}; there are: {', '.join(COLUMNS)}")
    return [*USUAL, *chosen] if any(name.startswith("+") for name in names) else chosen


def sort_connections(connections: Iterable[Connection], by: str) -> list[Connection]:
    """Sort by a column, ``-`` in front: descending. Raises ``ValueError`` naming the choices."""
    name = by.removeprefix("-")
    if name not in COLUMNS:
        raise ValueError(f"no column {name!r} to sort by; there are: {', '.join(COLUMNS)}")
    return sorted(connections, key=COLUMNS[name].key, reverse=by.startswith("-"))  # type: ignore[arg-type]


def render_connections(
    connections: Sequence[Connection], columns: Sequence[str], names: str, *, header: bool = True, csv: bool = False
) -> str:
    """Render one line for each connection."""
    fields = [COLUMNS[name] for name in columns]
    rows = [[field.spell(connection, names) for field in fields] for connection in connections]
    render = render_csv if csv else render_table
    return render([field.column for field in fields], rows, header=header)


def draw_pairs(
    pairs: Mapping[tuple[State, State], int], verdicts: Mapping[tuple[State, State], Mapping[str, int]], names: str
) -> Iterator[str]:
    """Draw how many connections ended in which pair of states, and what that means, one line for each verdict.

    ``verdicts`` may count fewer connections than ``pairs``; then the most frequent one stands for all, and says so.
    """
    spelled = DIALECTS[names]
    for (client, server), count in pairs.items():
        seen = sorted(verdicts.get((client, server), {"": count}).items(), key=lambda item: -item[1])
        if sum(number for _, number in seen) != count:
            seen = [(seen[0][0] + (" (most of them)" if len(seen) > 1 else ""), count)]
        for verdict, number in seen:
            yield f"{number:>9}  {spelled[client]:<11} {spelled[server]:<11}  {verdict}".rstrip()
