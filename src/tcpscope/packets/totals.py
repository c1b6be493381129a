"""What was read, in numbers: counts per final pair of states and what was skipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tcpscope.model.record import TYPE_CHECKING, NamedTuple
from tcpscope.model.state import State
from tcpscope.packets import layout
from tcpscope.packets.headers import CUT, FRAGMENT, NOT_TCP
from tcpscope.packets.roles import client_end, clients_are_high

if TYPE_CHECKING:
    from tcpscope.packets.ledger import Ledger


class Totals(NamedTuple):
    """What was read. ``state_pairs`` counts connections by (client state, server state), most frequent first."""

    packets: int = 0
    segments: int = 0
    connections: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    not_tcp: int = 0
    fragments: int = 0  #: those that made no whole datagram
    cut: int = 0
    engine: str = "python"
    state_pairs: Mapping[tuple[State, State], int] = {}
    twice: int = 0  #: connections captured at two points, counted once
    copies: int = 0  #: packets captured once more, by a mirror port or at another interface; counted once
    translated: int = 0  #: pairs of connections that look like one before and after NAT
    folded: int = 0  #: connections among them that are only counted: SYNs without an answer, more than fit (a flood)


class Pair(NamedTuple):
    """A final pair of states: how many connections ended so, and the serials of the first ones."""

    client: State
    server: State
    connections: int
    serials: Sequence[int]


def count_totals(ledger: Ledger, engine: str) -> Totals:
    """Count a ledger's connections and packets."""
    folded = sum(ledger.folded.values())
    pairs = {(pair.client, pair.server): pair.connections for pair in final_pairs(ledger, 0)}
    if folded:
        flood = State.SYN_SENT, State.LISTEN
        pairs[flood] = pairs.get(flood, 0) + folded
        pairs = dict(sorted(pairs.items(), key=lambda item: -item[1]))
    return Totals(
        packets=ledger.packets,
        segments=_count_segments(ledger) + ledger.folded_segments,
        connections=len(ledger) + folded,
        first_ns=ledger.first_ns if ledger.packets else None,
        last_ns=ledger.last_ns if ledger.packets else None,
        not_tcp=ledger.skipped.get(NOT_TCP, 0),
        fragments=ledger.skipped.get(FRAGMENT, 0),
        cut=ledger.skipped.get(CUT, 0),
        engine=engine,
        state_pairs=pairs,
        copies=_count_copies(ledger),
        folded=folded,
    )


def final_pairs(ledger: Ledger, most_serials: int) -> list[Pair]:
    """Return the final pairs of states, most frequent first, then by state, with up to ``most_serials`` serials."""
    count = _pairs_of_rows if isinstance(ledger.flows, list) else _pairs_of_arrays
    return sorted(count(ledger, most_serials), key=lambda pair: (-pair.connections, pair.client, pair.server))


def _count_segments(ledger: Ledger) -> int:
    flows, other = ledger.flows, layout.HALF_WORDS + layout.PACKETS
    if isinstance(flows, list):
        return sum(f[layout.PACKETS] + f[other] for f in flows)
    return int(flows[:, layout.PACKETS].sum()) + int(flows[:, other].sum())


def _count_copies(ledger: Ledger) -> int:
    words = slice(layout.COPIES, layout.COPIES + 2)
    if isinstance(ledger.extras, list):
        return sum(sum(extra[words]) for extra in ledger.extras)
    return int(ledger.extras[:, words].sum())


def _pairs_of_rows(ledger: Ledger, most_serials: int) -> list[Pair]:
    serials_of: dict[tuple[int, int], list[int]] = {}
    for serial, f in enumerate(ledger.flows):
        client, _ = client_end(f, ledger.keys[serial])
        server = client if f[layout.SHARED] & layout.SELF else 1 - client
        states = f[client * layout.HALF_WORDS + layout.STATE], f[server * layout.HALF_WORDS + layout.STATE]
        serials_of.setdefault(states, []).append(serial)
    return [
        Pair(State(client), State(server), len(serials), serials[:most_serials])
        for (client, server), serials in serials_of.items()
    ]


def _pairs_of_arrays(ledger: Ledger, most_serials: int) -> list[Pair]:
    """Do the same over all rows at once."""
    import numpy

    flows, keys = ledger.flows, ledger.packed_keys  # type: ignore[attr-defined]
    is_high = clients_are_high(flows, keys)
    is_self = (flows[:, layout.SHARED] & layout.SELF) != 0
    low = flows[:, layout.STATE]
    high = numpy.where(is_self, low, flows[:, layout.HALF_WORDS + layout.STATE])
    codes = numpy.where(is_high, high << 4 | low, low << 4 | high)
    pairs = []
    for code in numpy.bincount(codes).nonzero()[0].tolist():
        (serials,) = (codes == code).nonzero()
        pairs.append(Pair(State(code >> 4), State(code & 15), len(serials), serials[:most_serials].tolist()))
    return pairs
