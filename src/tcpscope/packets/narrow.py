"""Some connections of a ledger, chosen by what ``ss`` would show of either end: addresses, ports, state."""

from __future__ import annotations

from tcpscope.model.address import Endpoint
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.model.socket import Socket
from tcpscope.model.state import State
from tcpscope.packets import layout
from tcpscope.packets.ledger import Ledger
from tcpscope.packets.merge import copy_chosen
from tcpscope.packets.roles import spell_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def narrow(ledger: Ledger, matches: Callable[[Socket], bool]) -> tuple[Ledger, list[int]]:
    """Return a ledger with the connections of which one end matches, and which serials these were.

    What was read stays as it is: packets, time, what was skipped.
    """
    chosen = [serial for serial in range(len(ledger)) if any(map(matches, _ends(ledger, serial)))]
    narrowed = Ledger()
    copy_chosen(narrowed, ledger, 0, chosen)
    narrowed.packets, narrowed.skipped = ledger.packets, ledger.skipped
    narrowed.first_ns, narrowed.last_ns = ledger.first_ns, ledger.last_ns
    return narrowed, chosen


def _ends(ledger: Ledger, serial: int) -> Iterator[Socket]:
    f, key = ledger.flows[serial], ledger.key_of(serial)
    half = (len(key) - 4) // 2
    low = Endpoint(spell_address(key[:half]), int.from_bytes(key[-4:-2]))
    high = Endpoint(spell_address(key[half:-4]), int.from_bytes(key[-2:]))
    yield Socket("tcp", State(int(f[layout.STATE])), low, high)
    if not f[layout.SHARED] & layout.SELF:
        yield Socket("tcp", State(int(f[layout.HALF_WORDS + layout.STATE])), high, low)
