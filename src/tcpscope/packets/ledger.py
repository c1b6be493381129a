"""The book an engine fills: rows of flows, the log of transitions, what was skipped. No judgement, no prose.

The interpreted engine fills lists, the compiled one arrays; both are read through the same methods, one row at a time.
"""

from __future__ import annotations

from array import array

from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets import layout
from tcpscope.packets.rows import RETRACTED, TransitionRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any


class Ledger:
    """Everything an engine found in one capture.

    ``flows``, ``quads`` and ``extras`` are rows as :mod:`tcpscope.packets.layout` lays them out; ``keys`` addresses
    and ports, the lower end first; ``log`` transitions, :data:`~tcpscope.packets.layout.LOG_WORDS` integers each, from
    the second row on.
    """

    def __init__(self) -> None:
        self.flows: Any = []
        self.quads: Any = []
        self.keys: Any = []
        self.extras: Any = [[0] * layout.EXTRA_WORDS]
        self.log: Any = array("q", [1, *[0] * (layout.LOG_WORDS - 1)])
        self.packets = 0
        self.skipped: dict[int, int] = {}
        self.mentioned: set[bytes] = set()  #: keys of flows that ICMP errors quote and nothing else showed before
        self.fragmented: set[bytes] = set()  #: keys of flows that sent a first fragment
        self.folded: dict[bytes, int] = {}  #: unanswered connections only counted, per server (a flood)
        self.folded_segments = 0  #: SYNs of them
        self.first_ns = -1
        self.last_ns = -1
        self._rows_of: dict[int, list[int]] | None = None

    def __len__(self) -> int:
        return len(self.flows)

    def key_of(self, serial: int) -> bytes:
        """Return addresses and ports of a connection, the lower end first."""
        return bytes(self.keys[serial])

    def skip(self, what: int, count: int = 1) -> None:
        """Count packets that are not followed."""
        self.skipped[what] = self.skipped.get(what, 0) + count
        if not self.skipped[what]:
            del self.skipped[what]

    def note_fragmented(self, first: Iterable[bytes]) -> None:
        """Remember flows by addresses and ports in packet order."""
        self.fragmented |= {canonical(key) for key in first}

    def keep(self, serials: Sequence[int]) -> None:
        """Drop all connections but these, while an engine fills lists; they are counted anew in this order."""
        for rows in (self.flows, self.quads, self.keys):
            rows[:] = [rows[serial] for serial in serials]
        extras = [self.extras[0]]
        for f in self.flows:
            if f[layout.EXTRA]:
                extras.append(self.extras[f[layout.EXTRA]])
                f[layout.EXTRA] = len(extras) - 1
        self.extras[:] = extras
        self._keep_rows({serial: place for place, serial in enumerate(serials)})

    def _keep_rows(self, new_serial: dict[int, int]) -> None:
        log, words = self.log, layout.LOG_WORDS
        new_row = {0: 0}
        for row in range(1, log[layout.LOG_NEXT]):
            what = log[row * words]
            serial = new_serial.get(what >> 20)
            if serial is not None:
                to = new_row[row] = len(new_row)
                log[to * words : (to + 1) * words] = log[row * words : (row + 1) * words]
                log[to * words] = what & 0xFFFFF | serial << 20
        log[layout.LOG_NEXT] = len(new_row)
        for f in self.flows:
            for word in layout.ROWS_OF_LOG:
                f[word] = new_row[f[word]]

    def widen(self, low: int, high: int) -> None:
        """Widen the span of the capture."""
        self.first_ns = low if self.first_ns < 0 else min(self.first_ns, low)
        self.last_ns = max(self.last_ns, high)

    def flow(self, serial: int) -> tuple[list[int], list[int], list[int], bytes]:
        """Return one connection's rows as lists: 32-bit words, 64-bit words, trouble, and its key."""
        f = [word & layout.M for word in self._plain(self.flows[serial])]
        extra = [0] * layout.EXTRA_WORDS
        if f[layout.EXTRA]:
            extra = [word & layout.M for word in self._plain(self.extras[f[layout.EXTRA]])]
        return f, list(self._plain(self.quads[serial])), extra, self.key_of(serial)

    def _plain(self, words: Any) -> Sequence[int]:  # noqa: ANN401 - a list, or in other ledgers an array
        """Return words as integers of Python."""
        numbers: Sequence[int] = words
        return numbers

    def rows(self) -> Iterator[TransitionRow]:
        """Yield all transitions that stand, in the order in which the engine found them."""
        for at in range(layout.LOG_WORDS, len(self.log), layout.LOG_WORDS):
            row = self._row(at)
            if row.basis != RETRACTED:
                yield row

    def rows_of(self, serial: int) -> list[TransitionRow]:
        """Return the transitions of one connection that stand, in order."""
        rows = (self._row(at) for at in self._places_of(serial))
        return [row for row in rows if row.basis != RETRACTED]

    def _places_of(self, serial: int) -> list[int]:
        """Return where the log speaks of a connection. It is sorted through once, at the first question."""
        if self._rows_of is None:
            self._rows_of = {}
            for at in range(layout.LOG_WORDS, len(self.log), layout.LOG_WORDS):
                self._rows_of.setdefault(self.log[at] >> 20, []).append(at)
        return self._rows_of.get(serial, [])

    def _row(self, at: int) -> TransitionRow:
        what, packet, t_ns, earliest, latest = self._plain(self.log[at : at + layout.LOG_WORDS])
        return TransitionRow(
            what >> 20, packet, what >> 17 & 1, what >> 12 & 15, what & 0xFF, what >> 8 & 15, what >> 18 & 3,
            t_ns, earliest, latest,
        )  # fmt: skip


def canonical(key: bytes) -> bytes:
    """Put the lower address and port first."""
    half = (len(key) - 4) // 2
    if key[:half] + key[-4:-2] <= key[half:-4] + key[-2:]:
        return key
    return reverse(key)


def reverse(key: bytes) -> bytes:
    """Return addresses and ports as the other end's packets bear them."""
    half = (len(key) - 4) // 2
    return key[half:-4] + key[:half] + key[-2:] + key[-4:-2]


def in_order(ledger: Ledger) -> tuple[Sequence[int], Sequence[int]]:
    """Return the serials in order of the first packet, and for each serial its place in that order."""
    if isinstance(ledger.flows, list):
        firsts = [f[layout.FIRST_PACKET] for f in ledger.flows]
        order = sorted(range(len(firsts)), key=firsts.__getitem__)
        places = [0] * len(order)
        for place, serial in enumerate(order):
            places[serial] = place
        return order, places
    by_packet = ledger.flows[:, layout.FIRST_PACKET].argsort(kind="stable")
    return by_packet, by_packet.argsort(kind="stable")
