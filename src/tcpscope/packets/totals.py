"""What was read, in numbers: counts per final pair of states and what was skipped."""

from __future__ import annotations

from collections.abc import Mapping

from tcpscope.model.record import TYPE_CHECKING, NamedTuple
from tcpscope.model.state import State
from tcpscope.packets import step
from tcpscope.packets.headers import CUT, FRAGMENT, NOT_TCP
from tcpscope.packets.records import client_end

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


def count_totals(ledger: Ledger, engine: str) -> Totals:
    """Count a ledger's connections and packets."""
    pairs: dict[tuple[int, int], int] = {}
    segments = 0
    for serial in range(len(ledger)):
        f = ledger.flows[serial]
        client, _ = client_end(f, ledger.key_of(serial), ())
        server = client if f[step.SHARED] & step.SELF else 1 - client
        pair = (f[client * step.HALF_WORDS + step.STATE], f[server * step.HALF_WORDS + step.STATE])
        pairs[pair] = pairs.get(pair, 0) + 1
        segments += f[step.PACKETS] + f[step.HALF_WORDS + step.PACKETS]
    ordered = sorted(pairs.items(), key=lambda item: -item[1])
    return Totals(
        packets=ledger.packets,
        segments=segments,
        connections=len(ledger),
        first_ns=ledger.first_ns if ledger.packets else None,
        last_ns=ledger.last_ns if ledger.packets else None,
        not_tcp=ledger.skipped.get(NOT_TCP, 0),
        fragments=ledger.skipped.get(FRAGMENT, 0),
        cut=ledger.skipped.get(CUT, 0),
        engine=engine,
        state_pairs={(State(client), State(server)): count for (client, server), count in ordered},
    )
