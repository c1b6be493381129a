"""Snapshots of very many sockets: what nobody looks at is not made.

A quiet connection (established, empty queues, held by a program, no timer but keepalive) becomes a word without memory,
control group and congestion control, and its ``tcp_info`` stays the kernel's bytes until a field is asked for. Every
other socket is made whole, as in :mod:`tcpscope.live.sockets`. The sockets of a look that only serves comparison are
made when they are first asked for at all.

Why: at 200 000 sockets making every word whole costs ten times what the kernel needs to tell them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import Struct

from tcpscope.kernel import sock_diag
from tcpscope.kernel.netlink import parse_attributes
from tcpscope.kernel.tcp_info import parse_tcp_info
from tcpscope.live.listing import Listing
from tcpscope.live.sockets import build_socket, read_cgroup_paths, spell_address
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Age, Owner, Socket, TcpInfo, Timer
from tcpscope.model.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, overload

    from tcpscope.model.row import Row

#: From so many bytes of answer on a snapshot is made this way: about 10 000 sockets with details.
MANY_BYTES = 10_000 * 400
_INFO_BYTES = 280
_INFO_HEAD = Struct("=HH")
_ESTABLISHED, _KEEPALIVE = 1, 2


#: Why not ``[]``: a named tuple's items are its fields, here they are where the bytes lie.
_item: Any = tuple.__getitem__


class LazyTcpInfo(TcpInfo):
    """``tcp_info`` as the kernel's bytes; items are (bytes, offset, length), fields are read when asked for."""

    __slots__ = ()

    def whole(self) -> TcpInfo:
        """Return the word itself."""
        data, offset, length = _item(self, 0), _item(self, 1), _item(self, 2)
        found = parse_tcp_info(data[offset : offset + length])
        return found if found is not None else TcpInfo()

    def _asdict(self) -> dict[str, Any]:
        return self.whole()._asdict()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.whole())

    def __eq__(self, other: object) -> bool:
        return tuple(self) == (tuple(other) if isinstance(other, tuple) else other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(self.whole())

    def __reduce__(self) -> tuple[Callable[..., TcpInfo], tuple[Any, ...]]:
        return TcpInfo, tuple(self)


def _field(name: str) -> property:
    return property(lambda self: getattr(self.whole(), name))


def _direct(layout: str, at: int) -> property:
    """Read one field at its place in ``struct tcp_info``; ``None`` when this kernel's is shorter."""
    form = Struct(f"={layout}")
    unpack, end = form.unpack_from, at + form.size

    def read(self: LazyTcpInfo) -> int | None:
        if _item(self, 2) < end:
            return None
        value: int = unpack(_item(self, 0), _item(self, 1) + at)[0]
        return value

    return property(read)


#: Where rules look at very many sockets (``include/uapi/linux/tcp.h``).
_PLACES = {
    "retransmits": ("B", 2),
    "backoff": ("B", 4),
    "last_data_sent_ms": ("I", 44),
    "last_data_recv_ms": ("I", 52),
    "last_ack_recv_ms": ("I", 56),
    "rtt_us": ("I", 68),
    "bytes_acked": ("Q", 120),
    "bytes_received": ("Q", 128),
    "segs_in": ("I", 140),
    "min_rtt_us": ("I", 148),
    "data_segs_in": ("I", 152),
    "data_segs_out": ("I", 156),
    "bytes_sent": ("Q", 200),
    "bytes_retrans": ("Q", 208),
}
for _name in TcpInfo._fields:
    setattr(LazyTcpInfo, _name, _direct(*_PLACES[_name]) if _name in _PLACES else _field(_name))
for _name, _method in {"_replace": lambda self, **changes: self.whole()._replace(**changes)}.items():
    setattr(LazyTcpInfo, _name, _method)


class DeferredSockets(Sequence[Socket]):
    """Sockets that are made when somebody asks for the first of them."""

    def __init__(self, make: Callable[[], list[Socket]]) -> None:
        self._make: Callable[[], list[Socket]] | None = make
        self._made: list[Socket] = []

    def _sockets(self) -> list[Socket]:
        if self._make is not None:
            make, self._make = self._make, None
            self._made = make()
        return self._made

    def __len__(self) -> int:
        return len(self._sockets())

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> Socket: ...
        @overload
        def __getitem__(self, index: slice) -> Sequence[Socket]: ...

    def __getitem__(self, index: int | slice) -> Socket | Sequence[Socket]:
        return self._sockets()[index]

    def __iter__(self) -> Iterator[Socket]:
        return iter(self._sockets())


def build_crowd(listing: Listing, rows: Sequence[Row], syn_linear: int) -> list[Socket]:
    """Make words of ``rows``, quiet ones lean; see the module's docstring."""
    paths = read_cgroup_paths()
    lean = _LeanMaker(listing)
    owners, netns = listing.owners, listing.netns
    return [lean.make(row) or build_socket(row, owners, netns, paths, syn_linear) for row in rows]


class _LeanMaker:
    """Make words of quiet connections, quickly."""

    def __init__(self, listing: Listing) -> None:
        self._holders = listing.owners.holders if listing.owners else {}
        self._names = listing.owners.names if listing.owners else {}
        self._netns = listing.netns
        #: Why: the attributes of sockets of one kind have one layout; the header there is checked each time.
        self._info_places: dict[int, int] = {}

    def make(self, row: Row) -> Socket | None:
        """Make one word, or return ``None`` when the socket is not quiet."""
        proto, family, state, timer, retransmits, sport, dport, source, remote = row[:9]
        interface, cookie, expires_ms, recv_q, send_q, uid, inode, attributes = row[9:]
        if state != _ESTABLISHED or recv_q or send_q or not inode or timer not in (0, _KEEPALIVE):
            return None
        if proto != sock_diag.IPPROTO_TCP:
            return None
        new = tuple.__new__
        names = self._names
        held = self._holders.get(inode, ())
        return new(
            Socket,
            (
                "tcp",
                State.ESTABLISHED,
                new(Endpoint, (spell_address(family, source), sport)),
                new(Endpoint, (spell_address(family, remote), dport)),
                0,
                0,
                None,
                tuple([new(Owner, (pid, names.get(pid, ""), fd)) for pid, fd in sorted(held)]),
                uid,
                inode,
                cookie,
                self._netns,
                Timer("keepalive", expires_ms, retransmits) if timer else None,
                _UNKNOWN,
                self._info(attributes),
                None,
                None,
                None,
                interface,
                None,
                None,
                None,
                "full",
            ),
        )

    def _info(self, attributes: bytes) -> TcpInfo | None:
        size = len(attributes)
        place = self._info_places.get(size, 0)
        if place:
            length, kind = _INFO_HEAD.unpack_from(attributes, place - 4)
            if kind == sock_diag.INET_DIAG_INFO and place - 4 + length <= size:
                return tuple.__new__(LazyTcpInfo, (attributes, place, length - 4))
        info = parse_attributes(attributes, 0, size).get(sock_diag.INET_DIAG_INFO, b"")
        if len(info) >= _INFO_BYTES:
            self._info_places[size] = attributes.find(_INFO_HEAD.pack(len(info) + 4, sock_diag.INET_DIAG_INFO)) + 4
        return parse_tcp_info(info)


_UNKNOWN = Age()
