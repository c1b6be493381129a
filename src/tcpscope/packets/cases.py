"""Which connections of a ledger deserve a word: sorted by what is wrong with them and by the server concerned.

The rules, :func:`iter_kinds`, are written once, with operators that mean the same for one number and for a column of
them: rows in lists are judged one by one, arrays a few thousand at a time. No
:class:`~tcpscope.model.connection.Connection` is built. The prose is in :mod:`tcpscope.packets.findings`.
"""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING, NamedTuple
from tcpscope.packets import layout
from tcpscope.packets.roles import NumberedEnds, client_end, clients_are_high
from tcpscope.packets.verdict import MANY_PROBES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from tcpscope.packets.ledger import Ledger

    Numbers = Any  #: an integer, or an array of them
    Truth = Any  #: a truth value, or an array of them

#: Most examples (numbers of connections) that a group remembers.
MOST_EXAMPLES = 20
_GONE = (layout.S_CLOSED, layout.S_TIME_WAIT)
_BLOCK_ROWS = 4096  # Why: columns of a block stay in the processor's cache


class Group:
    """Connections of one kind to one server (address and port, packed)."""

    __slots__ = ("clients", "examples", "kind", "server", "sums", "total")

    def __init__(self, kind: str, server: bytes) -> None:
        self.kind = kind
        self.server = server
        self.total = 0
        self.clients = 0  #: addresses of clients among them
        self.examples: list[int] = []
        self.sums: dict[str, int] = {}

    def add(self, count: int, sums: dict[str, int]) -> None:
        """Count connections."""
        self.total += count
        for name, number in sums.items():
            self.sums[name] = self.sums.get(name, 0) + number


class Cases:
    """Groups by kind and server."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, bytes], Group] = {}
        self.answered: dict[bytes, int] = {}  #: completed handshakes per server
        self.segments: dict[bytes, int] = {}  #: segments of them

    def group(self, kind: str, server: bytes) -> Group:
        """Return the group of a kind and a server, empty at first."""
        found = self.groups.get((kind, server))
        if found is None:
            found = self.groups[kind, server] = Group(kind, server)
        return found

    def count_answered(self, server: bytes, count: int, segments: int) -> None:
        """Count connections that got an answer, and their segments."""
        self.answered[server] = self.answered.get(server, 0) + count
        self.segments[server] = self.segments.get(server, 0) + segments

    def of(self, kind: str) -> list[Group]:
        """Return the groups of a kind, largest first."""
        return sorted((g for g in self.groups.values() if g.kind == kind), key=lambda g: (-g.total, g.server))


class Side(NamedTuple):
    """What the rules ask about one end: numbers, or columns of them."""

    state: Numbers
    bits: Numbers
    packets: Numbers
    nxt: Numbers
    acked: Numbers
    window_mss: Numbers
    retransmissions: Numbers
    duplicate_acks: Numbers
    zero_windows: Numbers
    keepalives: Numbers
    resets_legal: Numbers
    resets_challenged: Numbers
    resets_blind: Numbers


#: Where a :class:`Side` comes from: words of its half of a flow, then words of its half of the row for trouble.
HALF_FIELDS = (layout.STATE, layout.BITS, layout.PACKETS, layout.NXT, layout.ACKED, layout.WINDOW_MSS)
EXTRA_FIELDS = (
    layout.RETRANSMISSIONS, layout.DUPLICATE_ACKS, layout.ZERO_WINDOWS, layout.KEEPALIVES, layout.RESETS_LEGAL,
    layout.RESETS_CHALLENGED, layout.RESETS_BLIND,
)  # fmt: skip


class Both(NamedTuple):
    """What the rules ask about a connection, or about many."""

    client: Side
    server: Side
    is_self: Truth
    idle_ns: Numbers
    filled_holes: Numbers
    too_big: Numbers


def iter_kinds(both: Both) -> Iterator[tuple[str, Truth, dict[str, Numbers]]]:
    """Yield ``(kind, whether it is one, what to add up)``; the kind ``answered`` is not wrong."""
    client, server, is_self = both.client, both.server, both.is_self
    yield "self-connect", is_self, {}
    is_pair = is_self ^ True
    is_unanswered = is_pair & (client.state == layout.S_SYN_SENT) & (server.packets == 0)
    is_half_open = is_pair & (is_unanswered ^ True) & (server.state == layout.S_SYN_RECEIVED)
    yield "unanswered", is_unanswered, {"repeats": client.packets - 1}
    yield "half-open", is_half_open, {"repeats": server.retransmissions}
    client_resets = client.resets_legal + client.resets_challenged
    is_rejected = is_pair & (server.state == layout.S_LISTEN) & (server.packets > 0) & (client_resets > 0)
    yield "rejected", is_rejected, {}
    yield (
        "answered",
        (is_self | is_unanswered | is_half_open | is_rejected) ^ True,
        {"segments": client.packets + server.packets},
    )
    repeats = client.retransmissions + server.retransmissions
    is_loss = is_pair & (repeats > 0) & (server.packets > 0)
    yield "loss", is_loss, {"repeats": repeats, "before": both.filled_holes}
    blind = client.resets_blind + server.resets_blind
    yield "blind-resets", is_pair & (blind > 0), {"resets": blind}
    silences = [_is_repeating_into_silence(both, *ends) for ends in ((client, server), (server, client))]
    is_broken = is_pair & silences[0][0] & silences[1][0]
    yield "both-repeat", is_broken, {"repeats": repeats}
    for role, end, other, peer in (("client", client, "server", server), ("server", server, "client", client)):
        peer_closed = _is_one_of(peer.state, (layout.S_FIN_WAIT_1, layout.S_FIN_WAIT_2, *_GONE))
        never_closes = is_pair & (end.state == layout.S_CLOSE_WAIT) & peer_closed & (both.idle_ns > 0)
        yield f"{role}-never-closes", never_closes, {"idle_ms": both.idle_ns // 10**6}
        is_reset = is_pair & (end.resets_legal + end.resets_challenged > 0) & (end.state == layout.S_CLOSED)
        has_answered = (end.bits >> (layout.LETTERS_SHIFT + layout.L_SYN_ACK) & 1) > 0
        has_asked = (peer.bits >> (layout.LETTERS_SHIFT + layout.L_SYN) & 1) > 0
        is_refusal = is_reset & (has_answered ^ True) & has_asked if role == "server" else is_reset & False
        yield "refused", is_refusal, {}
        has_given_up = is_reset & (end.keepalives - peer.duplicate_acks >= MANY_PROBES)
        yield f"reset-by-{role}", (is_reset ^ is_refusal) & ((is_rejected | has_given_up) ^ True), {}
        is_last = ((end.window_mss & 0xFFFF) == 0) * 1
        yield f"{role}-zero-window", is_pair & (end.zero_windows > 0), {"zeros": end.zero_windows, "last": is_last}
        is_silence, is_large, sums = silences[0 if role == "client" else 1]
        is_one_sided = is_pair & is_silence & (is_broken ^ True)
        yield "pmtu", is_one_sided & is_large, sums
        is_gone = is_one_sided & (is_large ^ True) | has_given_up
        yield f"{other}-gone", is_gone, {**sums, "probes": end.keepalives * has_given_up}


def _is_repeating_into_silence(both: Both, end: Side, peer: Side) -> tuple[Truth, Truth, dict[str, Numbers]]:
    """Whether an end sends again and again what nobody acknowledges; whether only large segments get lost."""
    has_numbers = ((end.bits & peer.bits & layout.HAS_ACKED) > 0) & ((end.bits & layout.HAS_NXT) > 0)
    waiting = (end.nxt - peer.acked) & layout.M
    is_waiting = (waiting > 0) & (waiting < layout.HALFWAY)
    is_silence = (end.retransmissions >= 3) & has_numbers & is_waiting & (end.state != layout.S_CLOSED)
    mss = peer.window_mss >> 16 & 0xFFFF
    is_large = (waiting >= mss + (mss == 0) * 1220) & ((both.too_big > 0) | (peer.duplicate_acks > 0))
    return is_silence, is_large, {"repeats": end.retransmissions, "waiting": waiting, "too_big": both.too_big}


def _is_one_of(state: Numbers, states: tuple[int, ...]) -> Truth:
    found = state == states[0]
    for other in states[1:]:
        found = found | (state == other)
    return found


def collect(ledger: Ledger, places: Sequence[int]) -> Cases:
    """Sort the connections of a ledger; ``places`` gives the position by which people know each of them."""
    cases = Cases()
    if isinstance(ledger.flows, list):
        _collect_rows(ledger, places, cases)
    elif len(ledger):
        _collect_arrays(ledger, places, cases)
    for server, count in ledger.folded.items():
        group = cases.group("unanswered", server)
        group.add(count, {"forged": count})
        group.clients += 1
    return cases


def _collect_rows(ledger: Ledger, places: Sequence[int], cases: Cases) -> None:
    """Judge one connection after the other."""
    clients: dict[tuple[str, bytes], set[bytes]] = {}
    for serial in sorted(range(len(ledger)), key=places.__getitem__):
        f, q, key = ledger.flows[serial], ledger.quads[serial], ledger.keys[serial]
        extra = ledger.extras[f[layout.EXTRA]]
        client, _ = client_end(f, key)
        half = (len(key) - 4) // 2
        addresses, ports = (key[:half], key[half:-4]), (key[-4:-2], key[-2:])
        server = addresses[1 - client] + ports[1 - client]
        for kind, is_one, sums in iter_kinds(_both_of_row(ledger, f, q, extra, client)):
            if not is_one:
                continue
            if kind == "answered":
                cases.count_answered(server, 1, sums["segments"])
                continue
            group = cases.group(kind, server)
            group.add(1, sums)
            if len(group.examples) < MOST_EXAMPLES:
                group.examples.append(places[serial])
            clients.setdefault((kind, server), set()).add(addresses[client])
            group.clients = len(clients[kind, server])


def _both_of_row(ledger: Ledger, f: list[int], q: list[int], extra: list[int], client: int) -> Both:
    sides = [
        Side(
            *(f[end * layout.HALF_WORDS + word] for word in HALF_FIELDS),
            *(extra[end * layout.EXTRA_HALF + word] for word in EXTRA_FIELDS),
        )
        for end in (client, 1 - client)
    ]
    return Both(
        sides[0],
        sides[1],
        f[layout.SHARED] & layout.SELF != 0,
        ledger.last_ns - max(q[layout.LAST_NS], q[layout.LAST_NS + 1]),
        extra[layout.FILLED_HOLES] + extra[layout.EXTRA_HALF + layout.FILLED_HOLES],
        extra[layout.ICMP_TOO_BIG_SEEN],
    )


def _collect_arrays(ledger: Ledger, places: Sequence[int], cases: Cases) -> None:
    """Judge blocks of rows, then count what was found by server."""
    import numpy

    flows, keys = ledger.flows, ledger.packed_keys  # type: ignore[attr-defined]
    is_high = clients_are_high(flows, keys)
    servers = NumberedEnds(flows, keys, ~is_high)
    client_of = NumberedEnds(flows, keys, is_high, with_port=False).number_of
    for kind, (serials, sums) in _find_in_blocks(ledger).items():
        at = servers.number_of[serials]
        totals = numpy.bincount(at, minlength=servers.count)
        added = {name: numpy.bincount(at, column, servers.count) for name, column in sums.items()}
        if kind == "answered":
            for place in totals.nonzero()[0].tolist():
                cases.count_answered(servers.pack(place), int(totals[place]), int(added["segments"][place]))
            continue
        clients = numpy.bincount(numpy.unique(at << 32 | client_of[serials]) >> 32, minlength=servers.count)
        by_server, stops = numpy.argsort(at, kind="stable"), numpy.cumsum(totals)
        for place in totals.nonzero()[0].tolist():
            group = cases.group(kind, servers.pack(place))
            group.add(int(totals[place]), {name: int(column[place]) for name, column in added.items()})
            group.clients = int(clients[place])
            members = by_server[stops[place] - totals[place] : stops[place]]
            group.examples += numpy.sort(numpy.asarray(places)[serials[members]])[:MOST_EXAMPLES].tolist()


def _find_in_blocks(ledger: Ledger) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return for each kind the serials found and what is to be added up of them."""
    import numpy

    found: dict[str, list[tuple[Any, dict[str, Any]]]] = {}
    for begin in range(0, len(ledger), _BLOCK_ROWS):
        for kind, is_one, sums in iter_kinds(_both_of_block(ledger, begin)):
            (chosen,) = is_one.nonzero()
            if len(chosen):
                part = {name: numbers[chosen] for name, numbers in sums.items()}
                found.setdefault(kind, []).append((chosen + begin, part))
    whole = {}
    for kind, parts in found.items():
        sums = {name: numpy.concatenate([part[name] for _, part in parts]) for name in parts[0][1]}
        whole[kind] = numpy.concatenate([serials for serials, _ in parts]), sums
    return whole


def _both_of_block(ledger: Ledger, begin: int) -> Both:
    import numpy

    rows = ledger.flows[begin : begin + _BLOCK_ROWS]
    quads = ledger.quads[begin : begin + _BLOCK_ROWS]
    keys = ledger.packed_keys[begin : begin + _BLOCK_ROWS]  # type: ignore[attr-defined]
    extras = ledger.extras[rows[:, layout.EXTRA]]
    is_high = clients_are_high(rows, keys)
    sides = []
    for high in (is_high, ~is_high):
        words = [numpy.where(high, rows[:, layout.HALF_WORDS + word], rows[:, word]) for word in HALF_FIELDS]
        words += [numpy.where(high, extras[:, layout.EXTRA_HALF + word], extras[:, word]) for word in EXTRA_FIELDS]
        sides.append(Side(*(word.astype(numpy.int64) for word in words)))
    return Both(
        sides[0],
        sides[1],
        (rows[:, layout.SHARED] & layout.SELF) != 0,
        ledger.last_ns - numpy.maximum(quads[:, layout.LAST_NS], quads[:, layout.LAST_NS + 1]),
        extras[:, layout.FILLED_HOLES] + extras[:, layout.EXTRA_HALF + layout.FILLED_HOLES],
        extras[:, layout.ICMP_TOO_BIG_SEEN],
    )
