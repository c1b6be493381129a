"""The engine for large captures: the same rules compiled by numba (extra ``fast``), bytes in, rows out.

There is no second state machine here: :func:`build` compiles the very functions of :mod:`tcpscope.wire.view`,
:mod:`tcpscope.packets.headers`, :mod:`tcpscope.packets.step` and :mod:`tcpscope.machine.compiled`, and the loop over a
chunk of :mod:`tcpscope.packets.loop`. That is resumable: it stops when a table is full, the engine makes room and it
goes on.

A flow costs 148 + 48 + 36 bytes in one row, and 6 to 12 of the hash table. The compiled code is kept on disk by
:mod:`tcpscope.native`.
"""

from __future__ import annotations

import sys
from itertools import count as count_up
from types import FunctionType

from tcpscope import extras, native
from tcpscope.capture import hop_compiled as reader
from tcpscope.capture.packets import Chunk
from tcpscope.machine import compiled as machine
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets import (
    bounds,
    copies,
    counting,
    exchange,
    handshake,
    headers,
    layout,
    loop,
    moves,
    resets,
    routine,
    step,
)
from tcpscope.packets.copies import Recent, last_of
from tcpscope.packets.flood import fold_arrays
from tcpscope.packets.headers import CUT, FRAGMENT, NOT_TCP
from tcpscope.packets.ledger import Ledger
from tcpscope.packets.loop import (
    CHUNK_AT,
    COUNTERS,
    EXTRAS,
    F_AT,
    FLOWS,
    HELD,
    KEY_AT,
    KEY_WORDS,
    MENTIONED,
    MENTIONED_IPV6,
    MENTIONED_PREVIOUS,
    MOST_EXTRAS,
    MOST_FLOWS,
    MOST_ROWS,
    ROW_WORDS,
    SKIPPED,
    rehash,
    run,
)
from tcpscope.wire import link, view
from tcpscope.wire.fragments import Reassembler

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcpscope.native import Thing, ints_at, longs_at, octets_at

#: From here on a table full of unanswered SYNs is folded instead of enlarged.
FOLD_FLOWS = 1 << 19
#: Rows of the log are sorted by connection for so many connections at once, looked for among so many rows.
_BLOCK_SERIALS, _PIECE_ROWS = 1 << 16, 1 << 18
_FIRST_FLOWS, _FIRST_EXTRAS, _FIRST_ROWS = 4096, 1024, 16384


class CompiledEngine:
    """Takes chunks, fills a :class:`CompiledLedger`. Raises ``Unsupported`` without numpy and numba."""

    name = "compiled"

    def __init__(self) -> None:
        np = extras.require("numpy", "the compiled engine")
        self._np = np
        entries = native.load(UNIT)
        self._run, self._rehash = entries["run"], entries["rehash"]
        self._rows = np.zeros(_FIRST_FLOWS * ROW_WORDS, np.int32)
        self._extras = np.zeros(_FIRST_EXTRAS * layout.EXTRA_WORDS, np.int32)
        self._log = np.zeros(_FIRST_ROWS * layout.LOG_WORDS, np.int64)
        self._slots = np.zeros(_FIRST_FLOWS * 2, np.int32)
        self._m = np.zeros(COUNTERS, np.int64)
        self._m[EXTRAS] = self._log[layout.LOG_NEXT] = 1
        self._set_limits()
        self._fragments = Reassembler()
        self._recent = Recent()
        self.ledger = CompiledLedger()

    def take(self, chunk: Chunk) -> None:
        """Take in every packet of a chunk."""
        self._run_on(chunk, self._recent)
        self._recent.note(chunk.data, [self._np.asarray(column).tolist() for column in last_of(chunk)])
        count = len(chunk.offset)
        self.ledger.packets += count
        if count:
            t_ns = self._np.asarray(chunk.t_ns)
            self.ledger.widen(int(t_ns.min()), int(t_ns.max()))

    def _run_on(self, chunk: Chunk, recent: Recent) -> None:
        np, address_of = self._np, native.address_of
        # Why asarray: the compiled reader fills numpy arrays, the usual one array('q'); both are 64 bits wide
        columns = [
            np.asarray(column)
            for column in (chunk.offset, chunk.captured_len, chunk.original_len, chunk.t_ns, chunk.link_type)
        ]
        apart = (np.asarray(chunk.interface), recent.octets, recent.facts)
        at, count = 0, len(columns[0])
        while at < count:
            self._m[CHUNK_AT:] = (chunk.first_packet, *map(address_of, (*columns, *apart)))
            at = self._run(
                address_of(chunk.data), *map(address_of, columns), count, at, chunk.first_packet,
                *map(address_of, (self._rows, self._extras, self._log, self._slots)), len(self._slots),
                address_of(self._m),
            )  # fmt: skip
            if self._m[HELD]:
                self._m[HELD] = 0
                self._take_fragment(chunk, at)
                at += 1
            elif at < count:
                self._make_room()

    def _take_fragment(self, chunk: Chunk, at: int) -> None:
        """Hold a fragment; go on with the datagram that it completes, under its number."""
        start, captured, original, t_ns, link_type = (
            int(column[at])
            for column in (chunk.offset, chunk.captured_len, chunk.original_len, chunk.t_ns, chunk.link_type)
        )
        whole = self._fragments.take(chunk.data, start, captured, original, link_type, t_ns)
        if whole is None:
            return
        self._m[SKIPPED + FRAGMENT] -= whole.fragments
        number, size = chunk.first_packet + at, len(whole.data)
        words = ([value] for value in (0, size, whole.original_len, t_ns, 0, link.RAW))
        columns = (self._np.array(word, self._np.int64) for word in words)
        self._run_on(Chunk(bytearray(whole.data), 0, number, *columns), Recent())

    def _set_limits(self) -> None:
        """Tell the loop when a table is so full that one more packet may not fit."""
        m = self._m
        m[MOST_FLOWS] = len(self._rows) // ROW_WORDS - 2
        m[MOST_EXTRAS] = len(self._extras) // layout.EXTRA_WORDS - 2
        m[MOST_ROWS] = len(self._log) // layout.LOG_WORDS - layout.ROOM_ROWS

    def _make_room(self) -> None:
        """Enlarge by half what is full. Why resize in place: the kernel moves pages, nothing is held twice."""
        m = self._m
        is_large = m[FLOWS] > m[MOST_FLOWS] >= FOLD_FLOWS - 2
        if is_large and fold_arrays(self._rows, self._log, self._extras, m, self.ledger):
            self._slots[:] = 0
            self._fill_slots()
        if m[FLOWS] > m[MOST_FLOWS]:
            rows = len(self._rows) // ROW_WORDS * 3 // 2
            self._rows.resize(rows * ROW_WORDS, refcheck=False)
            self._slots = self._np.zeros(1 << (rows * 3 // 2).bit_length(), self._np.int32)
            self._fill_slots()
        if m[EXTRAS] > m[MOST_EXTRAS]:
            self._extras.resize(len(self._extras) // layout.EXTRA_WORDS * 3 // 2 * layout.EXTRA_WORDS, refcheck=False)
        if self._log[layout.LOG_NEXT] > m[MOST_ROWS]:
            self._log.resize(len(self._log) // layout.LOG_WORDS * 3 // 2 * layout.LOG_WORDS, refcheck=False)
        self._set_limits()

    def _fill_slots(self) -> None:
        address_of = native.address_of
        self._rehash(address_of(self._rows), address_of(self._slots), len(self._slots), int(self._m[FLOWS]))

    def finish(self) -> CompiledLedger:
        """Return the ledger: views of what is filled."""
        m, ledger = self._m, self.ledger
        ledger.flows, ledger.quads, ledger.packed_keys = _split(self._rows.reshape(-1, ROW_WORDS)[: m[FLOWS]])
        ledger.extras = self._extras.reshape(-1, layout.EXTRA_WORDS)[: m[EXTRAS]]
        ledger.log = self._log[: self._log[layout.LOG_NEXT] * layout.LOG_WORDS]
        ledger.note_fragmented(self._fragments.first)
        row = int(m[MENTIONED])
        while row:
            words = ledger.extras[row]
            ledger.mentioned.add(key_bytes(words[:KEY_WORDS].view("u4"), bool(words[MENTIONED_IPV6])))
            row = int(words[MENTIONED_PREVIOUS])
        for what in (NOT_TCP, FRAGMENT, CUT):
            if m[SKIPPED + what]:
                ledger.skipped[what] = int(m[SKIPPED + what])
        return ledger


def _split(rows: Thing) -> tuple[Thing, Thing, Thing]:
    """Return flows, their 64-bit words and their keys as views of rows."""
    return rows[:, F_AT:KEY_AT], rows.view("i8")[:, : layout.FLOW_QUADS], rows.view("u4")[:, KEY_AT:]


class CompiledLedger(Ledger):
    """A ledger whose rows are arrays."""

    def __init__(self) -> None:
        super().__init__()
        self.packed_keys: Thing = None
        self._by_serial: dict[int, tuple[Thing, Thing]] = {}

    def key_of(self, serial: int) -> bytes:
        """Return addresses and ports, the lower end first."""
        return key_bytes(self.packed_keys[serial], bool(self.flows[serial][layout.SHARED] & layout.IS_IPV6))

    def _plain(self, words: Thing) -> list[int]:
        return words.tolist()  # type: ignore[no-any-return]

    def _places_of(self, serial: int) -> list[int]:
        block = serial // _BLOCK_SERIALS
        if block not in self._by_serial:
            self._by_serial[block] = self._sort_block(block)
        serials, places = self._by_serial[block]
        low, high = serials.searchsorted(serial), serials.searchsorted(serial, "right")
        return places[low:high].tolist()  # type: ignore[no-any-return]

    def _sort_block(self, block: int) -> tuple[Thing, Thing]:
        """Return the serials of a block for each of its rows in the log, sorted, and where these are.

        Why not of all: a table shows few of a million connections.
        """
        import numpy as np

        what = self.log[:: layout.LOG_WORDS]
        found = [
            np.flatnonzero(what[begin : begin + _PIECE_ROWS] // (_BLOCK_SERIALS << 20) == block) + begin
            for begin in range(1, len(what), _PIECE_ROWS)
        ]
        rows = np.concatenate(found) if found else np.zeros(0, np.int64)
        serials = what[rows] >> 20
        order = serials.argsort(kind="stable")
        return serials[order], rows[order] * layout.LOG_WORDS


def key_bytes(words: Thing, is_ipv6: bool) -> bytes:
    """Spell the words of a key in network order: both addresses, both ports."""
    octets = words.astype(">u4").tobytes()
    return bytes(octets if is_ipv6 else octets[:4] + octets[16:20] + octets[32:])


def _enter_run(
    data: int, offset: int, captured: int, original: int, times: int, link: int, count: int, at: int,
    first_packet: int, rows: int, troubles: int, log: int, slots: int, most_slots: int, m: int,
) -> int:  # fmt: skip
    """What :func:`tcpscope.packets.loop.run` takes, as addresses."""
    return run(
        octets_at(data), longs_at(offset), longs_at(captured), longs_at(original), longs_at(times), longs_at(link),
        count, at, first_packet, ints_at(rows), ints_at(troubles), longs_at(log), ints_at(slots), most_slots - 1,
        longs_at(m),
    )  # fmt: skip


def _enter_rehash(rows: int, slots: int, most_slots: int, count: int) -> int:
    rehash(ints_at(rows), ints_at(slots), most_slots - 1, count)
    return 0


def build(numba: Thing) -> dict[str, Thing]:
    """Return the entries of the engine, ready to be compiled."""
    names: dict[str, Thing] = {"range": range, "__name__": __name__, "AFTER": _table()}
    for module in (machine, layout, counting, routine, headers, copies, loop):
        names.update({name: value for name, value in vars(module).items() if isinstance(value, int)})
    for function in (
        *view.PARTS,
        *headers.PARTS,
        *machine.PARTS,
        *step.PARTS,
        *copies.PARTS,
        *loop.PARTS,
        _enter_run,
        _enter_rehash,
    ):
        twin = FunctionType(function.__code__, names, function.__name__)
        names[function.__name__] = _with_one_signature(native.jit(twin, numba), numba)
    names |= native.pointers(numba) | _primitives(numba)
    return {"run": names["_enter_run"], "rehash": names["_enter_rehash"]}


def _with_one_signature(dispatcher: Thing, numba: Thing) -> Thing:
    """Let all integers in a call be 64-bit. Why: numba compiles anew for each mix of widths and constants."""
    unliteral, integer, int64 = numba.types.unliteral, numba.types.Integer, numba.types.int64
    ask = dispatcher.get_call_template

    def get_call_template(arguments: Thing, keywords: Thing) -> Thing:
        kinds = (unliteral(kind) for kind in arguments)
        return ask(tuple(int64 if isinstance(kind, integer) else kind for kind in kinds), keywords)

    dispatcher.get_call_template = get_call_template
    return dispatcher


def _table() -> Thing:
    import numpy

    return numpy.frombuffer(machine.AFTER, numpy.uint8)


def _primitives(numba: Thing) -> dict[str, Thing]:
    """Return what compiled code does in place of some functions.

    Rows and buffers are bare pointers: no bounds, no strides, one word to pass on. ``be16`` and ``be32`` of
    :mod:`tcpscope.wire.view` are one load and a byte swap instead of sums.
    """
    from llvmlite import ir

    types, intrinsic = numba.types, numba.extending.intrinsic
    octets, longs = types.CPointer(types.uint8), types.CPointer(types.int64)

    def load(bits: int) -> Thing:
        def generate(context: Thing, builder: Thing, signature: Thing, arguments: Thing) -> Thing:
            place = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), ir.IntType(bits).as_pointer())
            number = builder.load(place, align=1)
            if sys.byteorder == "little":
                number = builder.bswap(number)
            return builder.zext(number, ir.IntType(64))

        def typing(context: Thing, data: Thing, at: Thing) -> Thing:
            return types.int64(octets, types.int64), generate

        return intrinsic(typing)

    def generate_part(context: Thing, builder: Thing, signature: Thing, arguments: Thing) -> Thing:
        return builder.gep(arguments[0], [arguments[1]])

    def part(context: Thing, array: Thing, at: Thing) -> Thing:
        return array(array, types.int64), generate_part

    def generate_quads(context: Thing, builder: Thing, signature: Thing, arguments: Thing) -> Thing:
        return builder.bitcast(arguments[0], context.get_data_type(longs))

    def as_quads(context: Thing, words: Thing) -> Thing:
        return longs(words), generate_quads

    def generate_apart(context: Thing, builder: Thing, signature: Thing, arguments: Thing) -> Thing:
        builder.function.attributes.add("noinline")
        return ir.Constant(ir.IntType(64), 0)

    def apart(context: Thing) -> Thing:
        return types.int64(), generate_apart

    return {
        "be16": load(16), "be32": load(32), "part": intrinsic(part), "as_quads": intrinsic(as_quads),
        "apart": intrinsic(apart),
    }  # fmt: skip


_TEXTS = (
    view, headers, machine, layout, moves, bounds, exchange, handshake, resets, counting, routine, step,
    copies, loop, sys.modules[__name__],
)  # fmt: skip
UNIT = native.Unit("tracker", _TEXTS, {"run": 15, "rehash": 4}, build)
#: All that large captures need.
UNITS = (UNIT, reader.UNIT)


def prepare(progress: Callable[[int], None] | None = None) -> None:
    """Compile now what large captures need, and keep it on disk: some 15 s, once.

    ``progress`` is told how many functions are compiled. Raises ``Unsupported`` without the extra ``fast``.
    """
    done = count_up(1)
    for unit in UNITS:
        native.load(unit, None if progress is None else lambda _: progress(next(done)))


def is_ready() -> bool:
    """Whether :func:`prepare` has nothing to do."""
    return all(map(native.is_ready, UNITS))


def is_kept() -> bool:
    """Whether the next process finds what this one has compiled."""
    return all(map(native.is_kept, UNITS))
