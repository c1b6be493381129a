"""Captures taken at two points of one path: recognised by the connections they share, and counted once.

Files that follow each other in time are one capture in pieces (:mod:`tcpscope.packets.merge`). Files whose times
overlap are two points when connections with the same addresses, ports and initial sequence numbers are in both. Such a
connection is taken from the point that saw more of it; what passed one point and not the other was lost between them.
Clocks of two hosts differ: nothing here orders packets of different points.
"""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING, NamedTuple
from tcpscope.packets import layout
from tcpscope.packets.ledger import Ledger
from tcpscope.packets.merge import Part, Source, copy_chosen, read_parts_in_order
from tcpscope.packets.roles import client_end

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Points(NamedTuple):
    """Two or more points of capture joined. ``notes`` are about connections, by their serial in the part's ledger."""

    part: Part
    points: tuple[tuple[Source, ...], ...]
    shared: int
    notes: dict[int, str]

    def chosen(self, serials: Sequence[int]) -> Points:
        """Return the same for a choice of connections, counted anew."""
        notes = {new: self.notes[old] for new, old in enumerate(serials) if old in self.notes}
        return self._replace(shared=len(notes), notes=notes)


def join_points(sources: Sequence[Source], engine: str) -> Points | None:
    """Read the files again point by point and join these; ``None`` when they are pieces of one capture."""
    groups = _group(sources)
    if len(groups) < 2:
        return None
    parts = [read_parts_in_order([source.path for source in group], engine) for group in groups]
    twins = _find_twins([part.ledger for part in parts])
    if not twins:
        return None
    joined, notes = Ledger(), {}
    dropped = {twin for pair in twins for twin in pair[1:]}
    before = 0
    for place, part in enumerate(parts):
        kept = [serial for serial in range(len(part.ledger)) if (place, serial) not in dropped]
        new_serial = {serial: len(joined) + position for position, serial in enumerate(kept)}
        for one, other, *_ in twins:
            if one[0] == place:
                notes[new_serial[one[1]]] = _note(parts, one, other)
        copy_chosen(joined, part.ledger, before, kept)
        _count(joined, part.ledger)
        before += part.packets
    sources_in_order = tuple(source for part in parts for source in part.sources)
    damage = tuple(damage for part in parts for damage in part.damage)
    return Points(
        Part(sources_in_order, joined, damage, parts[0].engine),
        tuple(part.sources for part in parts),
        len(twins),
        notes,
    )


def _group(sources: Sequence[Source]) -> list[list[Source]]:
    """Put each file behind the first point that had ended when it began."""
    groups: list[list[Source]] = []
    for source in sources:
        for group in groups:
            if not _overlap(group[-1], source):
                group.append(source)
                break
        else:
            groups.append([source])
    return groups


def _overlap(one: Source, other: Source) -> bool:
    """Whether two files cover the same time, by half of the shorter at least. Why half: pieces may touch."""
    common = min(one.last_ns, other.last_ns) - max(one.first_ns, other.first_ns)
    shorter = min(one.last_ns - one.first_ns, other.last_ns - other.first_ns)
    return bool(one.packets and other.packets) and common >= 0 and 2 * common >= shorter


def _find_twins(ledgers: Sequence[Ledger]) -> list[list[tuple[int, int]]]:
    """Return for each connection seen at several points (point, serial), that with most segments first."""
    seen: dict[tuple[bytes, int, int], list[tuple[int, int]]] = {}
    for place, ledger in enumerate(ledgers):
        for serial, name in _named(ledger):
            seen.setdefault(name, []).append((place, serial))
    return [
        sorted(found, key=lambda one: -sum(_segments(ledgers[one[0]], one[1])))
        for found in seen.values()
        if len({place for place, _ in found}) > 1
    ]


def _named(ledger: Ledger) -> Iterator[tuple[int, tuple[bytes, int, int]]]:
    """Yield connections whose handshake was seen: serial, then addresses, ports and both initial numbers."""
    high = layout.HALF_WORDS
    for serial in range(len(ledger)):
        f, _, _, key = ledger.flow(serial)
        if f[layout.BITS] & f[high + layout.BITS] & layout.HAS_ISN:
            yield serial, (key, f[layout.ISN], f[high + layout.ISN])


def _segments(ledger: Ledger, serial: int) -> tuple[int, int]:
    """Return segments to the server and to the client."""
    f, _, _, key = ledger.flow(serial)
    client, _ = client_end(f, key)
    sent = f[layout.PACKETS], f[layout.HALF_WORDS + layout.PACKETS]
    return sent[client], sent[1 - client]


def _note(parts: Sequence[Part], one: tuple[int, int], other: tuple[int, int]) -> str:
    names = [parts[place].sources[0].path for place, _ in (one, other)]
    here, there = (_segments(parts[place].ledger, serial) for place, serial in (one, other))
    lost = []
    for count, beyond, end in zip(here, there, ("server", "client"), strict=True):
        if count != beyond:
            passed, missed = names if count > beyond else names[::-1]
            lost.append(f"{abs(count - beyond)} to the {end} passed {passed} and not {missed}")
    what = "; ".join(lost) if lost else "nothing was lost between them"
    return f"captured at two points, {names[0]} and {names[1]}: {what}"


def _count(joined: Ledger, ledger: Ledger) -> None:
    joined.packets += ledger.packets
    if ledger.packets:
        joined.widen(ledger.first_ns, ledger.last_ns)
    for what, count in ledger.skipped.items():
        joined.skip(what, count)
    joined.folded_segments += ledger.folded_segments
    for server, count in ledger.folded.items():
        joined.folded[server] = joined.folded.get(server, 0) + count
