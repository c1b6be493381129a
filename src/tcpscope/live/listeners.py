"""Through which listening socket a connection came in, and how busy each listening address is.

The choice is the kernel's (``compute_score()`` in ``net/ipv4/inet_hashtables.c`` and its IPv6 twin): the port must be
the same, an address or an interface the listener is bound to must fit, and the listener that is bound to more wins.
Two kinds of ``[::]:80`` differ: one takes IPv4 too (``*:80``, as ss writes it), the other IPv6 alone.
"""

from __future__ import annotations

from tcpscope.model.record import NamedTuple
from tcpscope.model.socket import Socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Listener(NamedTuple):
    """One listening address: its first socket, how many sockets share it (``SO_REUSEPORT``), connections through it.

    ``waiting`` connections nobody has accepted yet; ``backlog`` is how many may wait (``None``: not told).
    """

    socket: Socket
    sockets: int
    connections: int
    waiting: int
    backlog: int | None


def find_listeners(sockets: Sequence[Socket]) -> list[Listener]:
    """Return the listening addresses, those with waiting connections first, then those with many."""
    listening: dict[tuple[object, ...], list[Socket]] = {}
    for socket in sockets:
        if socket.is_listener:
            listening.setdefault(_place(socket), []).append(socket)
    find = listener_finder(group[0] for group in listening.values())
    busy: dict[int, int] = {}
    for socket in sockets:
        listener = None if socket.is_listener else find(socket)
        if listener is not None:
            busy[id(listener)] = busy.get(id(listener), 0) + 1
    found = [_sum_up(group, busy.get(id(group[0]), 0)) for group in listening.values()]
    return sorted(found, key=lambda one: (-one.waiting, -one.connections, one.socket.local.port))


def listener_finder(listeners: Iterable[Socket]) -> Callable[[Socket], Socket | None]:
    """Make a function that gives the listener a connection came in through; ``None`` for all others."""
    by_port: dict[tuple[int, str, int], list[Socket]] = {}
    for listener in listeners:
        by_port.setdefault((listener.netns, listener.proto, listener.local.port), []).append(listener)
    known: dict[tuple[object, ...], Socket | None] = {}

    def find(socket: Socket) -> Socket | None:
        candidates = by_port.get((socket.netns, socket.proto, socket.local.port))
        if candidates is None:
            return None
        key = (socket.netns, socket.proto, socket.local, socket.interface)
        if key not in known:
            best = max(candidates, key=lambda one: _score(one, socket))
            known[key] = best if _score(best, socket) else None
        return known[key]

    return find


def _score(listener: Socket, socket: Socket) -> int:
    """How well the listener fits; 0: not at all."""
    if listener.interface not in (0, socket.interface):
        return 0
    is_exact = listener.local.unmapped == socket.local.unmapped
    if not is_exact and not (listener.local.is_wildcard and _takes_family(listener, socket)):
        return 0
    # Linux: a connection has the family of the listener it was accepted through
    is_same_family = listener.local.is_ipv6 == socket.local.is_ipv6
    return 1 + is_same_family + 2 * bool(listener.interface) + 4 * is_exact


def _takes_family(listener: Socket, socket: Socket) -> bool:
    is_ipv4 = ":" not in socket.local.unmapped
    return is_ipv4 if not listener.local.is_ipv6 else not (is_ipv4 and listener.v6only)


def _place(listener: Socket) -> tuple[object, ...]:
    return listener.netns, listener.local, listener.interface, listener.v6only


def _sum_up(group: Sequence[Socket], connections: int) -> Listener:
    backlogs = [one.backlog for one in group if one.backlog is not None]
    backlog = sum(backlogs) if len(backlogs) == len(group) else None
    return Listener(group[0], len(group), connections, sum(one.recv_q for one in group), backlog)
