"""IP fragments put together again, as far as a reader of TCP headers needs them (RFC 791, 815, 8200 §4.5).

No payload is kept, only which octets came and the first :data:`HEAD_BYTES` of them: enough for the TCP header even when
a tiny first fragment cuts it (RFC 1858). So memory is bounded by :data:`MOST_RUNS` stretches; the oldest datagram goes
first. The clock is that of the capture. What is accepted is what Linux accepts (``ip_frag_queue``,
``ipv6_frag_rcv``, ``inet_frag_queue_insert``):

* an overlap ends the datagram (RFC 5722, for IPv4 too); what repeats a part of one stretch is a duplicate and dropped;
* the end may not move, and nothing may lie behind it;
* 30 s for IPv4, 60 s for IPv6 from the first fragment on;
* IPv4: octets that do not fill eight are cut off; IPv6: such a fragment is dropped, and so is a first one that does not
  hold the whole TCP header.
"""

from __future__ import annotations

from bisect import bisect_right

from tcpscope.model.record import TYPE_CHECKING, NamedTuple
from tcpscope.wire.view import CUT, FRAGMENT, TCP, TCP_HEADER_BYTES, be16, locate

if TYPE_CHECKING:
    Octets = bytes | bytearray | memoryview

#: Octets kept from the start of the fragmentable part: extension headers, and a TCP header with all its options.
HEAD_BYTES = 256
#: Stretches of octets held over all unfinished datagrams.
MOST_RUNS = 16_384
_PATIENCE_NS = {4: 30 * 10**9, 6: 60 * 10**9}
_MOST_BYTES = 65_535
_FRAGMENT_HEADER = 44
LOST, REPEATED, KEPT, WHOLE = range(4)
#: TCP, and the headers that may stand between the fragment header of IPv6 and it.
_LEADING_TO_TCP = (6, 0, 43, 51, 60, 135, 139, 140)


class Whole(NamedTuple):
    """A datagram put together: an IP packet (link type RAW) cut behind its headers, and how long it was."""

    data: bytes
    original_len: int
    fragments: int


class _Piece(NamedTuple):
    """One fragment: ``header`` is everything in front of the fragmentable part, ``start`` and ``end`` count in that."""

    version: int
    key: bytes
    header: bytes
    start: int
    end: int
    is_last: bool
    head: bytes
    ports: bytes


class _Datagram:
    """What came of one datagram. Runs are ``[start, end]``, in order, not joined: so does Linux tell duplicates."""

    __slots__ = ("end", "fragments", "has_end", "header", "heads", "known_bytes", "runs", "since_ns")

    def __init__(self, since_ns: int) -> None:
        self.since_ns = since_ns
        self.runs: list[list[int]] = []
        self.heads: list[tuple[int, bytes]] = []
        self.header = b""
        self.end = self.known_bytes = self.fragments = 0
        self.has_end = False

    def add(self, piece: _Piece) -> int:
        """Take in where a piece lies. When it contradicts what came before the datagram is :data:`LOST`."""
        self.fragments += 1
        if piece.end <= piece.start:
            return LOST
        if piece.is_last:
            if piece.end < self.end or (self.has_end and piece.end != self.end):
                return LOST
            self.has_end = True
        elif piece.end > self.end and self.has_end:
            return LOST
        self.end = max(self.end, piece.end)
        found = self._insert(piece)
        return WHOLE if found == KEPT and self.has_end and self.known_bytes == self.end else found

    def _insert(self, piece: _Piece) -> int:
        start, end, runs = piece.start, piece.end, self.runs
        if runs and start <= runs[-1][1] < end:
            if start < runs[-1][1]:
                return LOST
            runs[-1][1] = end
        else:
            place = bisect_right(runs, start, key=_start_of)
            if place and start < runs[place - 1][1]:
                return REPEATED if end <= runs[place - 1][1] else LOST
            if place < len(runs) and runs[place][0] < end:
                return LOST
            runs.insert(place, [start, end])
        self.known_bytes += end - start
        if not start:
            self.header = piece.header
        if piece.head:
            self.heads.append((start, piece.head))
        return KEPT

    def head(self) -> bytes:
        """Return what was captured of the start without a gap."""
        found = b""
        for start, octets in sorted(self.heads):
            if start != len(found):
                break
            found += octets
        return found


class Reassembler:
    """Takes fragments in order of capture, gives datagrams.

    ``first`` holds addresses and ports of the first fragments, as they stand in the packets.
    """

    def __init__(self) -> None:
        self.first: set[bytes] = set()
        self._datagrams: dict[bytes, _Datagram] = {}
        self._runs = 0

    def take(
        self, data: Octets, start: int, captured_len: int, original_len: int, link_type: int, t_ns: int
    ) -> Whole | None:
        """Take in the frame at ``start``; return the datagram that it completes. What is no fragment is ignored."""
        piece = _parse_piece(data, start, captured_len, original_len, link_type)
        if piece is None:
            return None
        if not piece.start and piece.ports:
            self.first.add(piece.key[-8 if piece.version == 4 else -32 :] + piece.ports)
        known = self._datagrams.get(piece.key)
        if known is not None and t_ns - known.since_ns > _PATIENCE_NS[piece.version]:
            self._forget(piece.key)
            known = None
        if known is None:
            known = self._datagrams[piece.key] = _Datagram(t_ns)
        runs_before = len(known.runs)
        found = known.add(piece)
        self._runs += len(known.runs) - runs_before
        if found in (LOST, WHOLE):
            self._forget(piece.key)
            return _join(known, piece.version) if found == WHOLE else None
        while self._runs > MOST_RUNS:
            self._forget(next(iter(self._datagrams)))
        return None

    def _forget(self, key: bytes) -> None:
        self._runs -= len(self._datagrams.pop(key).runs)


def _start_of(run: list[int]) -> int:
    return run[0]


def _parse_piece(data: Octets, start: int, captured_len: int, original_len: int, link_type: int) -> _Piece | None:
    """Read a fragment that is, or may turn out to be, part of a TCP segment."""
    kind, ip, version, transport, end, protocol, offset, more, _ = locate(
        data, start, captured_len, original_len, link_type
    )
    cut = start + captured_len
    if offset < 0 or kind not in (TCP, FRAGMENT, CUT):
        return None
    if version == 4:
        following, payload = data[ip + 9], ip + (data[ip] & 15) * 4
        key = bytes(data[ip + 4 : ip + 6]) + bytes(data[ip + 12 : ip + 20])
    else:
        at = _find_fragment_header(data, ip)
        following, payload = data[at], at + 8
        key = bytes(data[at + 4 : at + 8]) + bytes(data[ip + 8 : ip + 40])
        is_header_cut = not offset and protocol == 6 and transport + TCP_HEADER_BYTES > end
        if is_header_cut or (more and (end - payload) % 8):
            return None
    if following not in _LEADING_TO_TCP or payload > cut:
        return None
    length = (end - payload) & ~7 if more else end - payload
    head = b""
    if offset < HEAD_BYTES:
        head = bytes(data[payload : min(payload + min(length, HEAD_BYTES - offset), cut)])
    ports = b"" if offset or transport + 4 > cut else bytes(data[transport : transport + 4])
    return _Piece(version, key, bytes(data[ip:payload]), offset, offset + length, not more, head, ports)


def _find_fragment_header(data: Octets, ip: int) -> int:
    """Return where it is. :func:`~tcpscope.wire.view.locate` has found one, inside the capture."""
    at, following = ip + 40, data[ip + 6]
    while following != _FRAGMENT_HEADER or not be16(data, at + 2) & 0xFFF9:
        length = 8 if following == _FRAGMENT_HEADER else (data[at + 1] + 1) * 8
        if following == 51:
            length = (data[at + 1] + 2) * 4
        following = data[at]
        at += length
    return at


def _join(known: _Datagram, version: int) -> Whole | None:
    """Write the packet that the fragments were cut from; ``None`` when it is larger than IP allows."""
    header = bytearray(known.header)
    total = len(header) + known.end
    stated = total if version == 4 else total - 40
    if stated > _MOST_BYTES:
        return None
    if version == 4:
        header[2:4] = stated.to_bytes(2, "big")
        header[6:8] = (be16(header, 6) & 0xC000).to_bytes(2, "big")
    else:
        header[4:6] = stated.to_bytes(2, "big")
        header[-6:-4] = (be16(header, len(header) - 6) & 6).to_bytes(2, "big")
    return Whole(bytes(header) + known.head(), total, known.fragments)
