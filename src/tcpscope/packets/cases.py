"""Which connections of a ledger deserve a word: sorted by what is wrong with them and by the server concerned.

One pass over plain integers, no :class:`~tcpscope.model.connection.Connection` is built. Where the ledger is made of
arrays, what is in order is put aside with a few comparisons over all rows at once. The prose is in
:mod:`tcpscope.packets.findings`.
"""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING, NamedTuple
from tcpscope.packets import step
from tcpscope.packets.roles import client_end, clients_are_high

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from tcpscope.packets.ledger import Ledger

#: Most examples (numbers of connections) and clients that a group remembers.
MOST_EXAMPLES = 20
MOST_CLIENTS = 1000
_GONE = (step.S_CLOSED, step.S_TIME_WAIT)
_CLOSERS = (step.S_FIN_WAIT_1, step.S_FIN_WAIT_2, *_GONE)


class Group(NamedTuple):
    """Connections of one kind to one server (address and port, packed)."""

    kind: str
    server: bytes
    total: list[int]
    clients: set[bytes]
    examples: list[int]
    sums: dict[str, int]


class Cases:
    """Groups by kind and server."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, bytes], Group] = {}
        self.answered: dict[bytes, int] = {}  #: completed handshakes per server
        self.segments: dict[bytes, int] = {}  #: segments of them

    def add(self, kind: str, server: bytes, client: bytes, serial: int, count: int = 1, **sums: int) -> None:
        """Count one connection."""
        group = self.groups.get((kind, server))
        if group is None:
            group = self.groups[kind, server] = Group(kind, server, [0], set(), [], {})
        group.total[0] += count
        if len(group.clients) < MOST_CLIENTS:
            group.clients.add(client)
        if len(group.examples) < MOST_EXAMPLES:
            group.examples.append(serial)
        for name, number in sums.items():
            group.sums[name] = group.sums.get(name, 0) + number

    def of(self, kind: str) -> list[Group]:
        """Return the groups of a kind, largest first."""
        return sorted((g for g in self.groups.values() if g.kind == kind), key=lambda g: -g.total[0])


def collect(ledger: Ledger, places: Sequence[int]) -> Cases:
    """Sort the connections of a ledger; ``places`` gives the position by which people know each of them."""
    cases = Cases()
    for serial, f, q, extra, key in _worth_a_look(ledger, cases):
        client, _ = client_end(f, key)
        half_bytes = (len(key) - 4) // 2
        ends = (key[:half_bytes] + key[-4:-2], key[half_bytes:-4] + key[-2:])
        _sort_one(cases, ledger.last_ns, places[serial], f, q, extra, client, ends)
    for server, count in ledger.folded.items():
        cases.add("unanswered", server, b"", -1, count, forged=count)
    return cases


def _worth_a_look(ledger: Ledger, cases: Cases) -> Iterator[tuple[int, list[int], list[int], list[int], bytes]]:
    """Yield the rows of connections that may be out of order; count the others as answered."""
    flows = ledger.flows
    if isinstance(flows, list):
        for serial in range(len(flows)):
            f = flows[serial]
            yield serial, f, ledger.quads[serial], ledger.extras[f[step.EXTRA]], ledger.keys[serial]
        return
    low, high = flows[:, step.STATE], flows[:, step.HALF_WORDS + step.STATE]
    in_order = (flows[:, step.EXTRA] == 0) & ((low == _GONE[0]) | (low == _GONE[1]))
    in_order &= (high == _GONE[0]) | (high == _GONE[1])
    _count_answered(ledger, in_order, cases)
    (chosen,) = (~in_order).nonzero()
    for begin in range(0, len(chosen), 4096):  # Why: lists of a few thousand rows, not of a million
        part = chosen[begin : begin + 4096]
        rows = flows[part]
        extras = ledger.extras[rows[:, step.EXTRA]]
        for serial, f, q, extra in zip(
            part.tolist(), rows.tolist(), ledger.quads[part].tolist(), extras.tolist(), strict=True
        ):
            yield serial, f, q, extra, ledger.key_of(serial)


def _count_answered(ledger: Ledger, in_order: Any, cases: Cases) -> None:  # noqa: ANN401 - an array
    """Count connections that are in order, and their segments, per server."""
    import numpy

    (chosen,) = in_order.nonzero()
    flows, keys = ledger.flows[chosen], ledger.packed_keys[chosen]  # type: ignore[attr-defined]
    is_low = clients_are_high(flows, keys)  # the server is the low end
    columns = [numpy.where(is_low, keys[:, word], keys[:, 4 + word]) for word in range(4)]
    columns.append(numpy.where(is_low, keys[:, 8] >> 16, keys[:, 8] & 0xFFFF))
    columns.append((flows[:, step.SHARED] & step.IS_IPV6).astype("u4"))
    segments = flows[:, step.PACKETS] + flows[:, step.HALF_WORDS + step.PACKETS]
    servers, places, counts = numpy.unique(numpy.stack(columns, 1), axis=0, return_inverse=True, return_counts=True)
    sums = numpy.bincount(places.ravel(), segments, len(servers))
    for words, count, segment_count in zip(servers, counts.tolist(), sums.tolist(), strict=True):
        octets = words[: 4 if words[5] else 1].astype(">u4").tobytes()
        server = octets + int(words[4]).to_bytes(2)
        cases.answered[server] = cases.answered.get(server, 0) + count
        cases.segments[server] = cases.segments.get(server, 0) + int(segment_count)


def _sort_one(
    cases: Cases,
    last_ns: int,
    serial: int,
    f: list[int],
    q: list[int],
    extra: list[int],
    client: int,
    ends: tuple[bytes, bytes],
) -> None:
    c, s = client * step.HALF_WORDS, (1 - client) * step.HALF_WORDS
    mine, theirs = f[c + step.STATE], f[s + step.STATE]
    server_key, client_key = ends[1 - client], ends[client]
    if f[step.SHARED] & step.SELF:
        cases.add("self-connect", server_key, client_key, serial)
        return
    idle_ns = last_ns - max(q[step.LAST_NS], q[step.LAST_NS + 1])
    if mine == step.S_SYN_SENT and not f[s + step.PACKETS]:
        cases.add("unanswered", server_key, client_key, serial, repeats=f[c + step.PACKETS] - 1)
    elif theirs == step.S_SYN_RECEIVED:
        cases.add("half-open", server_key, client_key, serial, repeats=extra[_x(1 - client, step.RETRANSMISSIONS)])
    else:
        segments = f[c + step.PACKETS] + f[s + step.PACKETS]
        cases.answered[server_key] = cases.answered.get(server_key, 0) + 1
        cases.segments[server_key] = cases.segments.get(server_key, 0) + segments
    repeats = [extra[_x(end, step.RETRANSMISSIONS)] for end in (0, 1)]
    if any(repeats) and f[s + step.PACKETS]:
        before = extra[step.FILLED_HOLES] + extra[step.FILLED_HOLES + 1]
        cases.add("loss", server_key, client_key, serial, repeats=sum(repeats), before=before)
    for end, state, peer_state in ((client, mine, theirs), (1 - client, theirs, mine)):
        role = "client" if end == client else "server"
        if state == step.S_CLOSE_WAIT and peer_state in _CLOSERS and idle_ns > 0:
            cases.add(f"{role}-never-closes", server_key, client_key, serial, idle_ms=idle_ns // 10**6)
        _sort_troubles(cases, serial, f, extra, end, role, server_key, client_key)


def _sort_troubles(
    cases: Cases,
    serial: int,
    f: list[int],
    extra: list[int],
    end: int,
    role: str,
    server_key: bytes,
    client_key: bytes,
) -> None:
    half = end * step.HALF_WORDS
    peer = step.HALF_WORDS - half
    resets = extra[_x(end, step.RESETS_LEGAL)] + extra[_x(end, step.RESETS_CHALLENGED)]
    if resets and f[half + step.STATE] == step.S_CLOSED:
        is_refusal = role == "server" and not f[half + step.BITS] >> step.LETTERS_SHIFT >> step.L_SYN_ACK & 1
        cases.add("refused" if is_refusal else f"reset-by-{role}", server_key, client_key, serial)
    if extra[_x(end, step.RESETS_BLIND)]:
        cases.add("blind-resets", server_key, client_key, serial, resets=extra[_x(end, step.RESETS_BLIND)])
    if extra[_x(end, step.ZERO_WINDOWS)]:
        is_last = 0 if f[half + step.WINDOW_MSS] & 0xFFFF else 1
        zeros = extra[_x(end, step.ZERO_WINDOWS)]
        cases.add(f"{role}-zero-window", server_key, client_key, serial, zeros=zeros, last=is_last)
    repeats = extra[_x(end, step.RETRANSMISSIONS)]
    if not repeats:
        return
    numbers = f[half + step.BITS] & f[peer + step.BITS]
    if repeats < 3 or not numbers & step.HAS_ACKED or not f[half + step.BITS] & step.HAS_NXT:
        return
    waiting = (f[half + step.NXT] - f[peer + step.ACKED]) & step.M
    if not 0 < waiting < step.HALFWAY or f[half + step.STATE] == step.S_CLOSED:
        return
    too_big = extra[step.ICMP_TOO_BIG_SEEN]
    peer_spoke = extra[_x(1 - end, step.DUPLICATE_ACKS)] > 0
    mss = f[peer + step.WINDOW_MSS] >> 16 & 0x7FFF or 1220
    kind = (
        "pmtu" if waiting >= mss and (too_big or peer_spoke) else f"{'server' if role == 'client' else 'client'}-gone"
    )
    cases.add(kind, server_key, client_key, serial, repeats=repeats, waiting=waiting, too_big=too_big)


def _x(end: int, word: int) -> int:
    return end * step.EXTRA_HALF + word
