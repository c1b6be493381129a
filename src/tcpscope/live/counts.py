"""Counting sockets: per state, and per state and process, remote host, listener or namespace."""

from __future__ import annotations

from tcpscope.kernel.namespaces import inside
from tcpscope.live.listeners import listener_finder
from tcpscope.live.listing import Listing, read_listing
from tcpscope.model.record import NamedTuple
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


class Count(NamedTuple):
    """How many sockets are in ``state``; ``key`` is the process, remote host, listener or namespace, or empty."""

    state: State
    sockets: int
    key: str = ""


def count_states(*, netns: str | None = None) -> dict[State, int]:
    """Count the TCP sockets of a network namespace per state, all eleven: ``tcpscope states``.

    ``netns`` is a name, a path or ``pid:N`` (``None``: the caller's own). Raises ``UsageError`` or ``NotPermitted``
    when it cannot be entered.
    """
    with inside(netns):
        return {state: sockets for state, sockets, _ in count_listing(read_listing(udp=0))}


def count_listing(listing: Listing) -> list[Count]:
    """Count a raw listing per state, all eleven, without making words."""
    from tcpscope.live.columns import load_numpy, read_columns

    numbers = [0] * 14
    is_large = listing.payload_bytes > 30_000 * 124
    columns = read_columns(listing) if is_large else None
    numpy = load_numpy() if columns is not None else None
    if columns is not None and numpy is not None:
        numbers = numpy.bincount(columns.state, minlength=14).tolist()
    else:
        for row in listing.rows():
            numbers[row[2]] += 1
    return [Count(state, numbers[state]) for state in State]


def count_sockets(sockets: Iterable[Socket], keys_of: Callable[[Socket], Iterable[str]] | None = None) -> list[Count]:
    """Count words per state (all eleven), or per state and key, the most first."""
    numbers: dict[tuple[State, str], int] = {}
    if keys_of is None:
        numbers = dict.fromkeys(((state, "") for state in State), 0)
    for socket in sockets:
        for key in keys_of(socket) if keys_of else ("",):
            numbers[socket.state, key] = numbers.get((socket.state, key), 0) + 1
    counts = [Count(state, count, key) for (state, key), count in numbers.items()]
    return sorted(counts, key=lambda count: (-count.sockets, count.key, count.state)) if keys_of else counts


def by_process(socket: Socket) -> Iterator[str]:
    """Every process that holds it; the empty key where nobody does, ``?`` where the holder was not seen."""
    holders = sorted({(owner.pid, owner.name) for owner in socket.owners})
    if not holders:
        yield "?" if socket.inode else ""
    for pid, name in holders:
        yield f"{pid}/{name}"


def by_remote(socket: Socket) -> Iterator[str]:
    """The address at the other end, IPv4 and v4-mapped alike; listeners have the empty key."""
    yield socket.remote.unmapped if socket.remote.port else ""


def by_listener(listeners: Iterable[Socket]) -> Callable[[Socket], Iterator[str]]:
    """Make a key: the address of the listener a connection came in through, ``*:80`` for both families; else empty."""
    find = listener_finder(listeners)

    def key(socket: Socket) -> Iterator[str]:
        listener = socket if socket.is_listener else find(socket)
        yield listener.listening_at if listener else ""

    return key


def by_netns(labels: Mapping[int, str]) -> Callable[[Socket], Iterator[str]]:
    """Make a key: the name of the network namespace."""
    return lambda socket: iter((labels.get(socket.netns, str(socket.netns)),))
