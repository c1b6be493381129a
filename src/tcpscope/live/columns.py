"""A large listing as arrays: sock_diag's datagrams are split and read by columns, holders are joined by sorting.

No object is made per socket. The answers are the same as :func:`tcpscope.kernel.sock_diag.parse_rows` gives, whatever
mixture of message lengths the kernel sends (IPv4, IPv6, listeners, time-wait, handshakes); a test compares them.

Needs numpy; :func:`read_columns` gives ``None`` without it, and for bytes that are not a clean chain of messages:
the row path knows how to keep what is whole.
"""

from __future__ import annotations

from sys import byteorder as _BYTE_ORDER  # noqa: N812  # a constant

from tcpscope import extras
from tcpscope.kernel.netlink import HEADER_BYTES
from tcpscope.kernel.sock_diag import AF_INET, AF_INET6, MESSAGE, MESSAGE_BYTES, SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK
from tcpscope.model.row import SocketColumns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from tcpscope.kernel.processes import Owners
    from tcpscope.live.listing import Listing
    from tcpscope.model.row import Row

    Array = Any  # numpy is optional: its types are not there to be imported

_HEADER_WORDS = HEADER_BYTES // 4
_STATES = 11


def load_numpy() -> ModuleType | None:
    """Load numpy with one thread: nothing here multiplies matrices, and starting the threads costs 50 ms."""
    from posix import environ, putenv

    if b"OPENBLAS_NUM_THREADS" not in environ:
        putenv(b"OPENBLAS_NUM_THREADS", b"1")
    return extras.load("numpy")


def read_columns(listing: Listing) -> SocketColumns | None:
    """Read the columns of a listing, TCP first, in the kernel's order; ``None`` when the row path has to do it."""
    numpy = load_numpy()
    if numpy is None or listing.proc_rows or listing.damaged:
        return None
    parts = [(proto, b"".join(datagrams)) for proto, datagrams in listing.datagrams]
    data = b"".join(part for _, part in parts)
    if len(data) < HEADER_BYTES or len(data) % 4:
        return None
    words = numpy.frombuffer(data, numpy.uint32)
    starts = _split(numpy, words)
    if starts is None:
        return None
    columns = _gather(numpy, data, words, starts + _HEADER_WORDS, parts)
    is_known = ((columns.family == AF_INET) | (columns.family == AF_INET6)) & (columns.state - 1 < _STATES)
    return columns if bool(is_known.all()) else None


def read_row(columns: SocketColumns, index: int) -> Row:
    """Read one socket of the columns as a row."""
    from _socket import ntohs

    offset = int(columns.offsets[index])
    family, state, timer, retransmits, sport, dport, *rest = MESSAGE.unpack_from(columns.data, offset)
    length = int.from_bytes(columns.data[offset - HEADER_BYTES : offset - HEADER_BYTES + 4], _BYTE_ORDER)
    attributes = columns.data[offset + MESSAGE_BYTES : offset - HEADER_BYTES + length]
    proto = int(columns.proto[index])
    return (proto, family, state, timer, retransmits, ntohs(sport), ntohs(dport), *rest, attributes)


def find_holders(listing: Listing, columns: SocketColumns) -> None:
    """Find and fill in who holds each socket, by BPF or else by the scan of ``/proc``; notes what could not be seen."""
    from tcpscope.kernel.processes import scan_owners
    from tcpscope.live.listing import read_owner_records

    owners, reason = read_owner_records()
    if owners is None:
        wanted = set(columns.inode.tolist()) - {0}
        owners = scan_owners(wanted, listing.netns, sufficient=len(wanted))
        owners.reason = owners.reason or reason
    listing.owners = owners
    listing.note_unseen(attach_holders(columns, owners))


def attach_holders(columns: SocketColumns, owners: Owners) -> int:
    """Fill in who holds each socket; returns how many with an inode have no visible holder."""
    numpy = load_numpy()
    if numpy is None:
        raise RuntimeError("columns exist only with numpy")
    inodes, pids = _held(numpy, owners)
    columns.names = owners.names
    order = numpy.argsort(inodes, kind="stable")
    inodes, pids = inodes[order], pids[order]
    wanted = columns.inode
    first = numpy.searchsorted(inodes, wanted)
    count = numpy.searchsorted(inodes, wanted, "right") - first
    count[wanted == 0] = 0
    columns.holders = numpy.full(len(wanted), -1, numpy.int64)
    columns.holder_sets = []
    single = count == 1
    columns.holders[single] = _number_pids(numpy, columns, pids[first[single]])
    _number_sets(columns, numpy.flatnonzero(count > 1), first, count, pids)
    if owners.records:
        _name_holders(numpy, columns, owners.records)
    return int(numpy.count_nonzero((columns.holders < 0) & (wanted != 0)))


def _held(numpy: ModuleType, owners: Owners) -> tuple[Array, Array]:
    """Return inodes and process ids of everything held: the iterator's records, or what the scan found."""
    if owners.records:
        table = _records(numpy, owners.records)
        return table["inode"], table["pid"]
    pairs = [(inode, pid) for inode, held in owners.holders.items() for pid, _ in held]
    table = numpy.array(pairs or [(0, 0)], numpy.int64)
    return table[:, 0], table[:, 1]


def _records(numpy: ModuleType, records: bytes) -> Array:
    layout = [("inode", numpy.int64), ("pid", numpy.int32), ("fd", numpy.int32), ("comm", "S16")]
    return numpy.frombuffer(records, numpy.dtype(layout))


def _number_pids(numpy: ModuleType, columns: SocketColumns, pids: Array) -> Array:
    distinct = numpy.unique(pids)
    columns.holder_sets += [(int(pid),) for pid in distinct]
    return numpy.searchsorted(distinct, pids)


def _number_sets(columns: SocketColumns, rows: Array, first: Array, count: Array, pids: Array) -> None:
    """Number the sets of processes of sockets that have several holders; descriptors of one process are one holder."""
    known: dict[tuple[int, ...], int] = {}
    for row in rows.tolist():
        begin = first[row]
        held = tuple(sorted(set(pids[begin : begin + count[row]].tolist())))
        if held not in known:
            known[held] = len(columns.holder_sets)
            columns.holder_sets.append(held)
        columns.holders[row] = known[held]


def _name_holders(numpy: ModuleType, columns: SocketColumns, records: bytes) -> None:
    """Take the names out of the records: the process may be gone by now."""
    table = _records(numpy, records)
    held = {pid for pids in columns.holder_sets for pid in pids}
    distinct, where = numpy.unique(table["pid"], return_index=True)
    columns.names = {
        int(pid): bytes(table["comm"][index]).decode("utf-8", "backslashreplace")
        for pid, index in zip(distinct, where, strict=True)
        if int(pid) in held
    }


def _split(numpy: ModuleType, words: Array) -> Array | None:
    """Find where each message starts, in words of 32 bits; ``None`` when they do not follow each other without gap.

    Why by sequence number: every header repeats ours, so that one comparison of the whole buffer finds them all. That
    a value in the middle of a message looks the same is noticed, because the chain of lengths breaks.
    """
    sequence = words[2]
    starts = numpy.flatnonzero(words == sequence) - 2
    lengths = (words[starts] + 3) >> 2
    ends = starts + lengths
    kinds = words[starts + 1] & 0xFFFF if _BYTE_ORDER == "little" else words[starts + 1] >> 16
    is_chain = starts[0] == 0 and ends[-1] == len(words) and bool((ends[:-1] == starts[1:]).all())
    is_known = bool(numpy.isin(kinds, (TCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY)).all())
    is_long = bool((lengths >= (HEADER_BYTES + MESSAGE_BYTES) // 4).all())
    return starts if is_chain and is_known and is_long else None


def _gather(
    numpy: ModuleType, data: bytes, words: Array, messages: Array, parts: list[tuple[int, bytes]]
) -> SocketColumns:
    """Pick the columns out of the words; a message starts with family, state, timer, retransmits, then the ports."""
    octets = numpy.frombuffer(data, numpy.uint8)
    offsets = messages * 4
    columns = SocketColumns()
    columns.data, columns.offsets = data, offsets
    columns.family, columns.state = octets[offsets], octets[offsets + 1]
    ports = words[messages + 1]
    columns.sport, columns.dport = _port(numpy, ports, 0), _port(numpy, ports, 1)
    address = numpy.arange(4)
    columns.source = words[(messages + 2)[:, None] + address]
    columns.remote = words[(messages + 6)[:, None] + address]
    columns.recv_q, columns.send_q, columns.inode = (words[messages + field] for field in (14, 15, 17))
    columns.inode = columns.inode.astype(numpy.int64)
    columns.proto = numpy.empty(len(messages), numpy.uint8)
    end = 0
    for proto, part in parts:
        begin, end = end, end + len(part)
        columns.proto[numpy.searchsorted(offsets, begin) : numpy.searchsorted(offsets, end)] = proto
    columns.holders, columns.holder_sets, columns.names = None, [], {}
    return columns


def _port(numpy: ModuleType, ports: Array, which: int) -> Array:
    """Pick the first or second big-endian half of each word."""
    pair = ports.view(numpy.uint8).reshape(-1, 4)
    return pair[:, 2 * which].astype(numpy.int32) << 8 | pair[:, 2 * which + 1]
