"""Captures in pieces: each analysed alone, joined so that nothing shows where the cuts were.

The law: ``merge([part(A), part(B)])`` is ``part(A + B)``, wherever the cut is, and ``merge`` is associative. It holds
because nothing is guessed: connections whose addresses and ports are in one piece only are taken over as they are;
those in several pieces are followed once more through all pieces, in order, and nothing else is. So the second look
costs one decoding of the pieces and as much judgement as there are spanning connections. The compiled engine judges
faster than rows are taken over: it reads all pieces once more instead.

A :class:`Part` is a plain value: it can be sent to another process or host that sees the same files.
"""

from __future__ import annotations

from collections.abc import Sequence

from tcpscope.capture import open_capture
from tcpscope.model.damage import Damage
from tcpscope.model.record import TYPE_CHECKING, NamedTuple
from tcpscope.packets import layout
from tcpscope.packets.headers import FRAGMENT
from tcpscope.packets.interpreted import InterpretedEngine
from tcpscope.packets.ledger import Ledger, canonical, in_order
from tcpscope.wire.address import parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tcpscope.model.address import Endpoint
    from tcpscope.packets.compiled import CompiledEngine


_LOG_BLOCK = 4096


class Source(NamedTuple):
    """A capture of a part, how many packets it has, and from when to when."""

    path: str
    packets: int
    first_ns: int = -1
    last_ns: int = -1


class Part(NamedTuple):
    """What one or more captures in a row hold."""

    sources: tuple[Source, ...]
    ledger: Ledger
    damage: tuple[Damage, ...] = ()
    engine: str = "python"

    @property
    def packets(self) -> int:
        """Packets of all its captures."""
        return sum(source.packets for source in self.sources)


def read_part(path: str, engine: str = "python", progress: Callable[[int], None] | None = None) -> Part:
    """Follow every connection in one capture. ``progress`` is told the bytes read so far."""
    tracker = new_engine(engine)
    damage, span = feed(tracker, path, 0, progress)
    ledger = tracker.finish()
    return Part((Source(path, ledger.packets, *span),), ledger, damage, tracker.name)


def read_parts_in_order(
    paths: Sequence[str], engine: str = "python", progress: Callable[[int], None] | None = None
) -> Part:
    """Follow captures in a row with one engine: no second look is needed."""
    tracker = new_engine(engine)
    damage: list[Damage] = []
    sources: list[Source] = []
    done = 0
    for path in paths:
        before = tracker.ledger.packets
        start = done

        def tell(count: int, start: int = start) -> None:
            nonlocal done
            done = start + count
            if progress is not None:
                progress(done)

        found, span = feed(tracker, path, before, tell)
        damage += found
        sources.append(Source(path, tracker.ledger.packets - before, *span))
    return Part(tuple(sources), tracker.finish(), tuple(damage), tracker.name)


def new_engine(name: str) -> InterpretedEngine | CompiledEngine:
    """Make the engine of this name (``python`` or ``compiled``)."""
    if name == "compiled":
        from tcpscope.packets.compiled import CompiledEngine

        return CompiledEngine()
    return InterpretedEngine()


def feed(
    tracker: InterpretedEngine | CompiledEngine,
    path: str,
    packets_before: int = 0,
    progress: Callable[[int], None] | None = None,
) -> tuple[tuple[Damage, ...], tuple[int, int]]:
    """Give a capture to an engine, its packets numbered after those before; return the damage and about the span."""
    first_ns = last_ns = -1
    with open_capture(path) as source:
        for chunk in source.iter_chunks(compiled=tracker.name == "compiled"):
            tracker.take(chunk._replace(first_packet=chunk.first_packet + packets_before))
            if len(chunk.t_ns):
                last_ns = int(chunk.t_ns[-1])
                first_ns = int(chunk.t_ns[0]) if first_ns < 0 else first_ns
            if progress is not None:
                progress(chunk.place_bytes + len(chunk.data))
        return tuple(source.damage), (first_ns, last_ns)


def find_copied(paths: Sequence[str], ends: tuple[Endpoint, Endpoint]) -> set[int]:
    """Return the numbers of the packets between two ends that are copies of others, counted over all captures."""
    key = b"".join(parse_address(end.address) for end in ends) + b"".join(end.port.to_bytes(2) for end in ends)
    copied: list[int] = []
    tracker = InterpretedEngine(only={canonical(key)}, copied=copied)
    for path in paths:
        feed(tracker, path, tracker.ledger.packets)
    return set(copied)


def merge(parts: Sequence[Part]) -> Part:
    """Join parts in the order of time. Raises ``ValueError`` for none."""
    if not parts:
        raise ValueError("no parts to merge")
    if len(parts) == 1:
        return parts[0]
    sources = tuple(source for part in parts for source in part.sources)
    spanning = _spanning_keys([part.ledger for part in parts])
    needs_second_look = spanning or any(FRAGMENT in part.ledger.skipped for part in parts)
    if needs_second_look and all(part.engine == "compiled" for part in parts):
        # Why: it has read every packet again before the rows of the pieces could be copied.
        return read_parts_in_order([source.path for source in sources], "compiled")
    joined = Ledger()
    before = 0
    for part in parts:
        own = part.ledger
        copy_chosen(joined, own, before, [serial for serial in range(len(own)) if own.key_of(serial) not in spanning])
        before += part.packets
    _count(joined, parts)
    if needs_second_look:
        _follow_again(joined, sources, spanning)
        _put_in_order(joined)
    return Part(sources, joined, tuple(damage for part in parts for damage in part.damage), parts[0].engine)


def _spanning_keys(ledgers: list[Ledger]) -> set[bytes]:
    """Return the addresses and ports that occur in more than one ledger, or sent fragments: they may span too."""
    known: set[bytes] = set()
    spanning = {key for ledger in ledgers for key in ledger.fragmented}
    for ledger in ledgers:
        own = {ledger.key_of(serial) for serial in range(len(ledger))} | ledger.mentioned
        spanning |= own & known
        known |= own
    return spanning


def copy_chosen(joined: Ledger, ledger: Ledger, packets_before: int, serials: Iterable[int]) -> None:
    """Append connections of ``ledger``, numbers of packets moved; nothing can be added to them afterwards."""
    new_serial: dict[int, int] = {}
    for serial in serials:
        new_serial[serial] = len(joined)
        f, q, extra, key = ledger.flow(serial)
        f[layout.FIRST_PACKET] += packets_before
        if extra[layout.PENDING_SYN_PACKET]:
            extra[layout.PENDING_SYN_PACKET] += packets_before
        _append(joined, key, f, q, extra)
    size = layout.LOG_WORDS
    for begin in range(size, len(ledger.log), _LOG_BLOCK * size):
        words = ledger.log[begin : begin + _LOG_BLOCK * size].tolist()
        for at in range(0, len(words), size):
            moved = new_serial.get(words[at] >> 20)
            if moved is not None:
                words[at] = moved << 20 | words[at] & 0xFFFFF
                words[at + layout.LOG_PACKET] += packets_before
                joined.log.extend(words[at : at + size])


def _append(joined: Ledger, key: bytes, f: list[int], q: list[int], extra: list[int]) -> None:
    for half in (0, layout.HALF_WORDS):  # Why: what was pending pointed into another log, and nothing more will come
        f[half + layout.PENDING_1] = f[half + layout.PENDING_2] = 0
    f[layout.SYN_ROW] = 0
    if f[layout.EXTRA]:
        f[layout.EXTRA] = len(joined.extras)
        joined.extras.append(extra)
    joined.keys.append(key)
    joined.flows.append(f)
    joined.quads.append(q)


def _follow_again(joined: Ledger, sources: tuple[Source, ...], spanning: set[bytes]) -> None:
    """Follow the spanning connections through all captures and append them."""
    tracker = InterpretedEngine(only=spanning)
    before = 0
    for source in sources:
        feed(tracker, source.path, before)
        before += source.packets
    again = tracker.finish()
    copy_chosen(joined, again, 0, range(len(again)))
    if FRAGMENT in again.skipped:
        joined.skipped[FRAGMENT] = again.skipped[FRAGMENT]


def _count(joined: Ledger, parts: Sequence[Part]) -> None:
    joined.packets = sum(part.ledger.packets for part in parts)
    for part in parts:
        ledger = part.ledger
        if ledger.packets:
            joined.widen(ledger.first_ns, ledger.last_ns)
        joined.mentioned |= ledger.mentioned
        joined.fragmented |= ledger.fragmented
        joined.folded_segments += ledger.folded_segments
        for server, count in ledger.folded.items():
            joined.folded[server] = joined.folded.get(server, 0) + count
        for what, count in ledger.skipped.items():
            if what != FRAGMENT:  # Why: what is unfinished in a part may be whole in all
                joined.skip(what, count)


def _put_in_order(ledger: Ledger) -> None:
    """Put connections in the order in which one reading would have found them: what is listed by it stays the same."""
    order, places = in_order(ledger)
    for rows in (ledger.flows, ledger.quads, ledger.keys):
        rows[:] = [rows[serial] for serial in order]
    log = ledger.log
    for at in range(layout.LOG_WORDS, len(log), layout.LOG_WORDS):
        log[at] = places[log[at] >> 20] << 20 | log[at] & 0xFFFFF
