"""Connections of a capture as JSON, in the shape of the public contract."""

from __future__ import annotations

from tcpscope.model.connection import Connection, Direction
from tcpscope.model.damage import Damage
from tcpscope.model.finding import Finding
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.model.spelling import IDENTIFIERS

if TYPE_CHECKING:
    from tcpscope.model.address import Endpoint
    from tcpscope.model.transition import Transition


def connection_object(connection: Connection) -> dict[str, object]:
    """Return one connection."""
    return {
        "number": connection.number,
        "client": endpoint_object(connection.client),
        "server": endpoint_object(connection.server),
        "start_ns": connection.start_ns,
        "end_ns": connection.end_ns,
        "client_state": IDENTIFIERS[connection.client_state],
        "server_state": IDENTIFIERS[connection.server_state],
        "transitions": [transition_object(move) for move in connection.transitions],
        "packets": connection.packets,
        "bytes": connection.bytes,
        "retransmissions": connection.retransmissions,
        "out_of_order": connection.out_of_order,
        "zero_windows": connection.zero_windows,
        "resets": connection.resets,
        "zeek": {"conn_state": connection.conn_state, "history": connection.history},
        "community_id": connection.community_id,
        "handshake_ms": connection.handshake_ms,
        "opened_by": connection.opened_by or None,
        "closed_by": connection.closed_by or None,
        "closed_how": connection.closed_how or None,
        "is_client_certain": connection.is_client_certain,
        "incarnation": connection.incarnation,
        "icmp_errors": connection.icmp_errors,
        "to_server": direction_object(connection.to_server),
        "to_client": direction_object(connection.to_client),
        "verdict": connection.verdict,
        "refuted_by": connection.refuted_by,
        "first_packet": connection.first_packet,
        "notes": list(connection.notes),
    }


def transition_object(move: Transition) -> dict[str, object]:
    """Return one transition; ``earliest_ns`` and ``latest_ns`` bound when it can have happened at that end."""
    return {
        "t_ns": move.when_ns,
        "packet": move.packet,
        "end": move.end,
        "before": IDENTIFIERS[move.before],
        "event": None if move.event is None else move.event.name,
        "after": IDENTIFIERS[move.after],
        "certainty": move.certainty,
        "earliest_ns": move.earliest_ns,
        "latest_ns": move.latest_ns,
        "cause": move.cause,
    }


def direction_object(direction: Direction) -> dict[str, object]:
    """Return what one end sent."""
    return direction._asdict()


def endpoint_object(end: Endpoint) -> dict[str, object]:
    """Return one address and port."""
    return {"address": end.address, "port": end.port}


def finding_object(finding: Finding) -> dict[str, object]:
    """Return one finding about a capture; its sockets as both addresses and the state."""
    row: dict[str, object] = finding._asdict()
    row["severity"] = finding.severity.name.lower()
    row["remedies"] = [remedy._asdict() for remedy in finding.remedies]
    row["sockets"] = [
        {
            "state": IDENTIFIERS[socket.state],
            "local": endpoint_object(socket.local),
            "remote": endpoint_object(socket.remote),
        }
        for socket in finding.sockets
    ]
    return row


def damage_object(damage: Damage) -> dict[str, object]:
    """Return one damaged place."""
    return damage._asdict()
