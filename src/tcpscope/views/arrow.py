"""Connections and transitions as Arrow tables, Parquet or Feather files (extra ``arrow``: pyarrow)."""

from __future__ import annotations

from collections.abc import Iterable

from tcpscope import extras
from tcpscope.model.connection import Connection
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.model.spelling import IDENTIFIERS

if TYPE_CHECKING:
    from typing import Any

_PURPOSE = "writing Parquet or Arrow"
_COUNTED = (
    "packets", "text_bytes", "retransmissions", "out_of_order", "duplicate_acks", "zero_windows", "window_full",
    "keepalives", "resets", "missed_bytes", "rtt_min_ms",
)  # fmt: skip


def write_tables(connections: Iterable[Connection], path: str, kind: str) -> list[str]:
    """Write ``PATH.connections.KIND`` and ``PATH.transitions.KIND``; return the names.

    ``kind`` is ``parquet`` or ``arrow`` (Feather 2). Raises ``Unsupported`` without pyarrow.
    """
    tables = build_tables(connections)
    stem = path.removesuffix(f".{kind}")
    names = []
    for name, table in zip(("connections", "transitions"), tables, strict=True):
        names.append(f"{stem}.{name}.{kind}")
        if kind == "parquet":
            extras.require("pyarrow.parquet", _PURPOSE).write_table(table, names[-1])
        else:
            extras.require("pyarrow.feather", _PURPOSE).write_feather(table, names[-1])
    return names


def build_tables(connections: Iterable[Connection]) -> tuple[Any, Any]:
    """Return the two tables; ``transitions.connection`` refers to ``connections.number``."""
    pyarrow = extras.require("pyarrow", _PURPOSE)
    rows: list[dict[str, object]] = []
    moves: list[dict[str, object]] = []
    for connection in connections:
        rows.append(_connection_row(connection))
        moves += _transition_rows(connection)
    return (
        pyarrow.Table.from_pylist(rows, schema=_connection_schema(pyarrow)),
        pyarrow.Table.from_pylist(moves, schema=_transition_schema(pyarrow)),
    )


def _connection_row(connection: Connection) -> dict[str, object]:
    row: dict[str, object] = {
        "number": connection.number,
        "community_id": connection.community_id,
        "client": connection.client.address,
        "client_port": connection.client.port,
        "server": connection.server.address,
        "server_port": connection.server.port,
        "start": connection.start_ns,
        "end": connection.end_ns,
        "client_state": IDENTIFIERS[connection.client_state],
        "server_state": IDENTIFIERS[connection.server_state],
        "opened_by": connection.opened_by,
        "closed_by": connection.closed_by,
        "closed_how": connection.closed_how,
        "handshake_ms": connection.handshake_ms,
        "conn_state": connection.conn_state,
        "history": connection.history,
        "verdict": connection.verdict,
    }
    for name in _COUNTED:
        row[f"client_{name}"] = getattr(connection.to_server, name)
        row[f"server_{name}"] = getattr(connection.to_client, name)
    return row


def _transition_rows(connection: Connection) -> list[dict[str, object]]:
    return [
        {
            "connection": connection.number,
            "packet": move.packet,
            "end": move.end,
            "before": IDENTIFIERS[move.before],
            "event": "" if move.event is None else move.event.name,
            "after": IDENTIFIERS[move.after],
            "certainty": move.certainty,
            "time": move.when_ns,
            "earliest": move.earliest_ns,
            "latest": move.latest_ns,
        }
        for move in connection.transitions
    ]


def _connection_schema(pyarrow: Any) -> Any:  # noqa: ANN401  # Why: pyarrow has no types of its own
    word = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    time, text, count = pyarrow.timestamp("ns", tz="UTC"), pyarrow.string(), pyarrow.int64()
    fields = [
        ("number", count), ("community_id", text), ("client", text), ("client_port", pyarrow.uint16()),
        ("server", text), ("server_port", pyarrow.uint16()), ("start", time), ("end", time),
        ("client_state", word), ("server_state", word), ("opened_by", word), ("closed_by", word),
        ("closed_how", word), ("handshake_ms", pyarrow.float64()), ("conn_state", word), ("history", text),
        ("verdict", word),
    ]  # fmt: skip
    for name in _COUNTED:
        kind = pyarrow.float64() if name.endswith("_ms") else count
        fields += [(f"client_{name}", kind), (f"server_{name}", kind)]
    return pyarrow.schema(fields)


def _transition_schema(pyarrow: Any) -> Any:  # noqa: ANN401  # Why: pyarrow has no types of its own
    word = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    time, count = pyarrow.timestamp("ns", tz="UTC"), pyarrow.int64()
    return pyarrow.schema(
        [
            ("connection", count), ("packet", count), ("end", word), ("before", word), ("event", word),
            ("after", word), ("certainty", word), ("time", time), ("earliest", time), ("latest", time),
        ]
    )  # fmt: skip
