"""Connections as Zeek's ``conn.log``: tab-separated as Zeek writes it, or one JSON object per line.

Only what a capture's TCP shows is filled: ``service``, ``local_orig``, ``tunnel_parents`` stay unset (``-``), and
``uid`` is made from the Community ID and the start, so the same capture gives the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tcpscope.model.connection import Connection

_FIELDS = (
    ("ts", "time"), ("uid", "string"), ("id.orig_h", "addr"), ("id.orig_p", "port"), ("id.resp_h", "addr"),
    ("id.resp_p", "port"), ("proto", "enum"), ("service", "string"), ("duration", "interval"),
    ("orig_bytes", "count"), ("resp_bytes", "count"), ("conn_state", "string"), ("local_orig", "bool"),
    ("local_resp", "bool"), ("missed_bytes", "count"), ("history", "string"), ("orig_pkts", "count"),
    ("orig_ip_bytes", "count"), ("resp_pkts", "count"), ("resp_ip_bytes", "count"), ("tunnel_parents", "set[string]"),
    ("community_id", "string"),
)  # fmt: skip
_UNSET = "-"


def iter_zeek_tsv(connections: Iterable[Connection], opened: str = "") -> Iterator[str]:
    """Yield the lines of a ``conn.log``; ``opened`` is the time of writing as Zeek spells it."""
    yield "#separator \\x09"
    yield "#set_separator\t,"
    yield "#empty_field\t(empty)"
    yield f"#unset_field\t{_UNSET}"
    yield "#path\tconn"
    if opened:
        yield f"#open\t{opened}"
    yield "\t".join(("#fields", *(name for name, _ in _FIELDS)))
    yield "\t".join(("#types", *(kind for _, kind in _FIELDS)))
    for connection in connections:
        values = zeek_object(connection)
        yield "\t".join(_spell(values.get(name)) for name, _ in _FIELDS)
    if opened:
        yield f"#close\t{opened}"


def iter_zeek_json(connections: Iterable[Connection]) -> Iterator[str]:
    """Yield one JSON object per connection, fields as Zeek names them, unset ones left out."""
    import json

    for connection in connections:
        yield json.dumps(zeek_object(connection))


def zeek_object(connection: Connection) -> dict[str, object]:
    """Return the fields of one connection. Bytes are counted as Zeek does: the stretch of the sequence space."""
    out, back = connection.to_server, connection.to_client
    duration_s = (connection.end_ns - connection.start_ns) / 1e9
    values: dict[str, object] = {
        "ts": round(connection.start_ns / 1e9, 6),
        "uid": _uid(connection),
        "id.orig_h": connection.client.address,
        "id.orig_p": connection.client.port,
        "id.resp_h": connection.server.address,
        "id.resp_p": connection.server.port,
        "proto": "tcp",
    }
    if connection.packets > 1:
        values["duration"] = round(duration_s, 6)
    values |= {
        "orig_bytes": out.text_bytes if out.stream_bytes is None else out.stream_bytes,
        "resp_bytes": back.text_bytes if back.stream_bytes is None else back.stream_bytes,
        "conn_state": connection.conn_state,
        "missed_bytes": out.missed_bytes + back.missed_bytes,
        "history": connection.history,
        "orig_pkts": out.packets,
        "orig_ip_bytes": out.ip_bytes,
        "resp_pkts": back.packets,
        "resp_ip_bytes": back.ip_bytes,
        "community_id": connection.community_id,
    }
    return values


def _spell(value: object) -> str:
    if value is None or value == "":
        return _UNSET
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _uid(connection: Connection) -> str:
    import hashlib

    seed = f"{connection.community_id} {connection.start_ns} {connection.incarnation}".encode()
    number = int.from_bytes(hashlib.sha1(seed, usedforsecurity=False).digest()[:11], "big")
    letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    text = ""
    while number:
        number, digit = divmod(number, 62)
        text += letters[digit]
    return "C" + text
