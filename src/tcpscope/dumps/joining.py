"""One list of sockets of what several tools, or several rows of one tool, say of the same sockets."""

from __future__ import annotations

from operator import itemgetter

from tcpscope.dumps.rows import INODE_UNKNOWN
from tcpscope.model.snapshot import Process
from tcpscope.model.socket import Socket

_inode_of = itemgetter(Socket._fields.index("inode"))


def join_holders(sockets: list[Socket]) -> list[Socket]:
    """Make one socket of rows with one inode: lsof prints a row for every process that holds it.

    Where it does not tell the inode, a connection is known by its ends; listeners may share theirs (``SO_REUSEPORT``).
    """
    inodes = set(map(_inode_of, sockets))
    if len(inodes) == len(sockets) and min(inodes) > 0:
        return sockets
    joined: dict[object, Socket] = {}
    for index, socket in enumerate(sockets):
        key: object = socket.inode if socket.inode > 0 else socket.flow if socket.remote.port else index
        known = joined.get(key)
        if known is None:
            joined[key] = socket
        elif socket.owners[0] not in known.owners:
            joined[key] = known._replace(owners=known.owners + socket.owners)
    return list(joined.values())


def join_tools(rows: dict[str, list[Socket]]) -> list[Socket]:
    """Join the tables of several tools: the longest one leads, the others add what it does not tell."""
    if len(rows) <= 1:
        return list(*rows.values()) if rows else []
    tables = sorted(rows.values(), key=len, reverse=True)
    joined = list(tables[0])
    places: dict[object, list[int]] = {}
    for place, socket in enumerate(joined):
        places.setdefault(socket.flow, []).append(place)
    for table in tables[1:]:
        free = {flow: list(reversed(found)) for flow, found in places.items()}
        for socket in table:
            found = free.get(socket.flow)
            if not found:
                joined.append(socket)
                continue
            place = found.pop()
            joined[place] = _enrich(joined[place], socket)
    return joined


def _enrich(socket: Socket, other: Socket) -> Socket:
    changes: dict[str, object] = {}
    if len(other.owners) > len(socket.owners):
        changes["owners"] = other.owners
    if socket.inode == INODE_UNKNOWN and other.inode != INODE_UNKNOWN:
        changes["inode"] = other.inode
    for field in ("uid", "timer", "tcp_info", "memory", "backlog"):
        if getattr(socket, field) is None and getattr(other, field) is not None:
            changes[field] = getattr(other, field)
    if not socket.recv_q and not socket.send_q and (other.recv_q or other.send_q):
        changes["recv_q"], changes["send_q"] = other.recv_q, other.send_q
    return socket._replace(**changes) if changes else socket  # type: ignore[arg-type]  # names are fields


def find_processes(sockets: list[Socket]) -> dict[int, Process]:
    """Return the holders of the sockets by their numbers."""
    names = {pid: name for socket in sockets for pid, name, _ in socket.owners}
    return {pid: Process(pid, name) for pid, name in names.items()}
