"""What was read, in numbers: counts per final pair of states and what was skipped."""

from __future__ import annotations

from collections.abc import Mapping

from tcpscope.model.record import TYPE_CHECKING, NamedTuple
from tcpscope.model.state import State
from tcpscope.packets import step
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
    fragments: int = 0
    cut: int = 0
    engine: str = "python"
    state_pairs: Mapping[tuple[State, State], int] = {}
    folded: int = 0  #: unanswered SYNs counted only (a flood of more than fits)


def count_totals(ledger: Ledger, engine: str) -> Totals:
    """Count a ledger's connections and packets."""
    segments, pairs = _count_rows(ledger) if isinstance(ledger.flows, list) else _count_arrays(ledger)
    ordered = sorted(pairs.items(), key=lambda item: -item[1])
    return Totals(
        packets=ledger.packets,
        segments=segments,
        connections=len(ledger) + sum(ledger.folded.values()),
        first_ns=ledger.first_ns if ledger.packets else None,
        last_ns=ledger.last_ns if ledger.packets else None,
        not_tcp=ledger.skipped.get(NOT_TCP, 0),
        fragments=ledger.skipped.get(FRAGMENT, 0),
        cut=ledger.skipped.get(CUT, 0),
        engine=engine,
        state_pairs={(State(pair >> 4), State(pair & 15)): count for pair, count in ordered},
        folded=sum(ledger.folded.values()),
    )


def _count_rows(ledger: Ledger) -> tuple[int, dict[int, int]]:
    pairs: dict[int, int] = {}
    segments = 0
    for serial in range(len(ledger)):
        f = ledger.flows[serial]
        client, _ = client_end(f, ledger.key_of(serial))
        server = client if f[step.SHARED] & step.SELF else 1 - client
        pair = f[client * step.HALF_WORDS + step.STATE] << 4 | f[server * step.HALF_WORDS + step.STATE]
        pairs[pair] = pairs.get(pair, 0) + 1
        segments += f[step.PACKETS] + f[step.HALF_WORDS + step.PACKETS]
    return segments, pairs


def _count_arrays(ledger: Ledger) -> tuple[int, dict[int, int]]:
    """Do the same over all rows at once."""
    flows, keys = ledger.flows, ledger.packed_keys  # type: ignore[attr-defined]
    high = step.HALF_WORDS
    is_high = clients_are_high(flows, keys)
    low_state, high_state = flows[:, step.STATE], flows[:, high + step.STATE]
    is_self = (flows[:, step.SHARED] & step.SELF) != 0
    high_state = high_state * ~is_self + low_state * is_self
    pairs = (low_state << 4 | high_state) * ~is_high + (high_state << 4 | low_state) * is_high
    counts: dict[int, int] = {}
    for pair in range(16 * 16):
        count = int((pairs == pair).sum())
        if count:
            counts[pair] = count
    segments = int(flows[:, step.PACKETS].sum()) + int(flows[:, high + step.PACKETS].sum())
    return segments, counts
