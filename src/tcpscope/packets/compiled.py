"""The engine for large captures: the same rules compiled by numba (extra ``fast``), bytes in, rows out.

There is no second state machine here: :func:`build` compiles the very functions of :mod:`tcpscope.wire.view`,
:mod:`tcpscope.packets.headers`, :mod:`tcpscope.packets.step` and :mod:`tcpscope.machine.compiled`, and the loop over a
chunk of :mod:`tcpscope.packets.loop`. That is resumable: it stops when a table is full, the engine makes room and it
goes on.

A flow costs 156 + 48 + 36 bytes and 8 of the hash table. The compiled code is kept on disk by :mod:`tcpscope.native`.
"""

from __future__ import annotations

import sys
from types import FunctionType

from tcpscope import extras, native
from tcpscope.capture import hop_compiled as reader
from tcpscope.capture.packets import Chunk
from tcpscope.machine import compiled as machine
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets import headers, loop, step
from tcpscope.packets.headers import CUT, FRAGMENT, NOT_TCP
from tcpscope.packets.ledger import Ledger
from tcpscope.packets.loop import (
    COUNTERS,
    FLOWS,
    HELD,
    KEY_WORDS,
    MENTIONED,
    MENTIONED_IPV6,
    MENTIONED_PREVIOUS,
    ROOM_ROWS,
    SKIPPED,
    rehash,
    run,
)
from tcpscope.packets.step import EXTRA_WORDS, FLOW_QUADS, FLOW_WORDS
from tcpscope.wire import link, view
from tcpscope.wire.fragments import Reassembler

if TYPE_CHECKING:
    from tcpscope.native import Thing, bytes_at, int_rows_at, ints_at, long_rows_at, longs_at, word_rows_at

#: From here on a table full of unanswered SYNs is emptied instead of doubled.
FOLD_FLOWS = 1 << 19
TABLE_BYTES = len(machine.AFTER)
_FIRST_FLOWS, _FIRST_EXTRAS, _FIRST_ROWS = 4096, 1024, 16384


class CompiledEngine:
    """Takes chunks, fills a :class:`CompiledLedger`. Raises ``Unsupported`` without numpy and numba."""

    name = "compiled"

    def __init__(self) -> None:
        np = extras.require("numpy", "the compiled engine")
        self._np = np
        entries = native.load(UNIT)
        self._run, self._enter_rehash = entries["run"], entries["rehash"]
        self._flows = np.zeros((_FIRST_FLOWS, step.FLOW_WORDS), np.int32)
        self._quads = np.zeros((_FIRST_FLOWS, step.FLOW_QUADS), np.int64)
        self._keys = np.zeros((_FIRST_FLOWS, KEY_WORDS), np.uint32)
        self._extras = np.zeros((_FIRST_EXTRAS, step.EXTRA_WORDS), np.int32)
        self._log = np.zeros(_FIRST_ROWS * step.LOG_WORDS, np.int64)
        self._slots = np.zeros(_FIRST_FLOWS * 2, np.int32)
        self._m = np.zeros(COUNTERS, np.int64)
        self._m[step.EXTRAS] = 1
        self._table = bytearray(machine.AFTER)
        self._fragments = Reassembler()
        self.ledger = CompiledLedger()

    def take(self, chunk: Chunk) -> None:
        """Take in every packet of a chunk."""
        self._run_on(chunk)
        count = len(chunk.offset)
        self.ledger.packets += count
        if count:
            t_ns = self._np.asarray(chunk.t_ns)
            self.ledger.widen(int(t_ns.min()), int(t_ns.max()))

    def _run_on(self, chunk: Chunk) -> None:
        np, address_of = self._np, native.address_of
        # Why asarray: the compiled reader fills numpy arrays, the usual one array('q'); both are 64 bits wide
        columns = [
            np.asarray(column)
            for column in (chunk.offset, chunk.captured_len, chunk.original_len, chunk.t_ns, chunk.link_type)
        ]
        at, count = 0, len(columns[0])
        while at < count:
            at = self._run(
                address_of(chunk.data), len(chunk.data), *map(address_of, columns), count, at, chunk.first_packet,
                address_of(self._flows), address_of(self._quads), address_of(self._keys), len(self._flows),
                address_of(self._extras), len(self._extras), address_of(self._log), len(self._log),
                address_of(self._slots), len(self._slots), address_of(self._m), address_of(self._table),
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
        self._run_on(Chunk(bytearray(whole.data), 0, number, *columns))

    def _make_room(self) -> None:
        """Enlarge by half what is nearly full. Why resize in place: the kernel moves pages, nothing is held twice."""
        m = self._m
        if m[FLOWS] + 2 >= len(self._flows) >= FOLD_FLOWS:
            self._fold()
        if m[FLOWS] + 2 >= len(self._flows):
            rows = len(self._flows) * 3 // 2
            for table in (self._flows, self._quads, self._keys):
                table.resize((rows, table.shape[1]), refcheck=False)
            self._slots = self._np.zeros(1 << (2 * rows - 1).bit_length(), self._np.int32)
            self._rehash(int(m[FLOWS]))
        if m[step.EXTRAS] + 2 >= len(self._extras):
            self._extras.resize((len(self._extras) * 2, step.EXTRA_WORDS), refcheck=False)
        if (m[step.ROWS] + 2 * ROOM_ROWS) * step.LOG_WORDS >= len(self._log):
            self._log.resize(len(self._log) // step.LOG_WORDS * 3 // 2 * step.LOG_WORDS, refcheck=False)

    def _rehash(self, count: int) -> None:
        address_of = native.address_of
        self._enter_rehash(
            address_of(self._flows), address_of(self._keys), len(self._flows), address_of(self._slots),
            len(self._slots), count,
        )  # fmt: skip

    def _fold(self) -> None:
        """Turn old unanswered SYNs into counts per server when they are most of what is held: a flood.

        The newest quarter stays, an answer may come. Rows of the log go with their connections, the others move up.
        """
        np, m = self._np, self._m
        count = int(m[FLOWS])
        flows, log = self._flows[:count], self._log[: int(m[step.ROWS]) * step.LOG_WORDS].reshape(-1, step.LOG_WORDS)
        low, high = flows[:, step.STATE], flows[:, step.HALF_WORDS + step.STATE]
        sent_low, sent_high = flows[:, step.PACKETS], flows[:, step.HALF_WORDS + step.PACKETS]
        silent = ((low == step.S_SYN_SENT) & (sent_high == 0)) | ((high == step.S_SYN_SENT) & (sent_low == 0))
        silent[count - count // 4 :] = False
        if silent.sum() * 2 < count:
            return
        self._count_folded(silent)
        keep = ~silent
        serial_of = np.cumsum(keep) - 1
        kept_rows = keep[log[:, step.LOG_WHAT] >> 20]
        row_of = np.cumsum(kept_rows)
        log = log[kept_rows]
        log[:, step.LOG_WHAT] += (serial_of[log[:, step.LOG_WHAT] >> 20] - (log[:, step.LOG_WHAT] >> 20)) << 20
        kept = int(keep.sum())
        for table in (self._flows, self._quads, self._keys):
            table[:kept] = table[:count][keep]
        words = [step.SYN_ROW]
        for half in (0, step.HALF_WORDS):
            words += [half + step.PENDING_1, half + step.PENDING_2]
        for word in words:
            column = self._flows[:kept, word]
            column[:] = np.where(column > 0, row_of[np.maximum(column - 1, 0)], 0)
        self._log[: log.size] = log.ravel()
        m[FLOWS], m[step.ROWS] = kept, len(log)
        self._slots[:] = 0
        self._rehash(kept)

    def _count_folded(self, silent: Thing) -> None:
        np = self._np
        flows, keys = self._flows[: len(silent)][silent], self._keys[: len(silent)][silent]
        server = np.where(flows[:, step.STATE] == step.S_SYN_SENT, 4, 0)  # the silent end's first word
        columns = [keys[np.arange(len(keys)), server + word] for word in range(4)]
        columns.append(np.where(server == 4, keys[:, 8] & 0xFFFF, keys[:, 8] >> 16))
        columns.append((flows[:, step.SHARED] & step.IS_IPV6).astype(np.uint32))
        servers, counts = np.unique(np.stack(columns, 1), axis=0, return_counts=True)
        for words, number in zip(servers, counts.tolist(), strict=True):
            name = words[: 4 if words[5] else 1].astype(">u4").tobytes() + int(words[4]).to_bytes(2)
            self.ledger.folded[name] = self.ledger.folded.get(name, 0) + number

    def finish(self) -> CompiledLedger:
        """Return the ledger: views of what is filled."""
        m, ledger = self._m, self.ledger
        ledger.flows = self._flows[: m[FLOWS]]
        ledger.quads = self._quads[: m[FLOWS]]
        ledger.packed_keys = self._keys[: m[FLOWS]]
        ledger.extras = self._extras[: m[step.EXTRAS]]
        ledger.log = self._log[: m[step.ROWS] * step.LOG_WORDS]
        ledger.note_fragmented(self._fragments.first)
        row = int(m[MENTIONED])
        while row:
            words = self._extras[row]
            ledger.mentioned.add(key_bytes(words[:KEY_WORDS], bool(words[MENTIONED_IPV6])))
            row = int(words[MENTIONED_PREVIOUS])
        for what in (NOT_TCP, FRAGMENT, CUT):
            if m[SKIPPED + what]:
                ledger.skipped[what] = int(m[SKIPPED + what])
        return ledger


class CompiledLedger(Ledger):
    """A ledger whose rows are arrays."""

    def __init__(self) -> None:
        super().__init__()
        self.packed_keys: Thing = None
        self._by_serial: tuple[Thing, Thing] | None = None

    def key_of(self, serial: int) -> bytes:
        """Return addresses and ports, the lower end first."""
        return key_bytes(self.packed_keys[serial], bool(self.flows[serial][step.SHARED] & step.IS_IPV6))

    def _plain(self, words: Thing) -> list[int]:
        return words.tolist()  # type: ignore[no-any-return]

    def _places_of(self, serial: int) -> list[int]:
        if self._by_serial is None:
            serials = self.log[:: step.LOG_WORDS] >> 20
            order = serials.argsort(kind="stable")
            self._by_serial = order, serials[order]
        order, serials = self._by_serial
        low, high = serials.searchsorted(serial), serials.searchsorted(serial, "right")
        return (order[low:high] * step.LOG_WORDS).tolist()  # type: ignore[no-any-return]


def key_bytes(words: Thing, is_ipv6: bool) -> bytes:
    """Spell the words of a key in network order: both addresses, both ports."""
    octets = words.astype(">u4").tobytes()
    return bytes(octets if is_ipv6 else octets[:4] + octets[16:20] + octets[32:])


def _enter_run(
    data: int, length: int, offset: int, captured: int, original: int, times: int, link: int, count: int, at: int,
    first_packet: int, flows: int, quads: int, keys: int, most_flows: int, troubles: int, most_troubles: int, log: int,
    log_words: int, slots: int, most_slots: int, m: int, table: int,
) -> int:  # fmt: skip
    """What :func:`tcpscope.packets.loop.run` takes, as addresses and lengths."""
    return run(
        bytes_at(data, length), longs_at(offset, count), longs_at(captured, count), longs_at(original, count),
        longs_at(times, count), longs_at(link, count), at, first_packet, int_rows_at(flows, most_flows, FLOW_WORDS),
        long_rows_at(quads, most_flows, FLOW_QUADS), word_rows_at(keys, most_flows, KEY_WORDS),
        int_rows_at(troubles, most_troubles, EXTRA_WORDS), longs_at(log, log_words), ints_at(slots, most_slots),
        longs_at(m, COUNTERS), bytes_at(table, TABLE_BYTES),
    )  # fmt: skip


def _enter_rehash(flows: int, keys: int, most_flows: int, slots: int, most_slots: int, count: int) -> int:
    f, k = int_rows_at(flows, most_flows, FLOW_WORDS), word_rows_at(keys, most_flows, KEY_WORDS)
    rehash(f, k, ints_at(slots, most_slots), count)
    return 0


def build(numba: Thing) -> dict[str, Thing]:
    """Return the entries of the engine, ready to be compiled."""
    names: dict[str, Thing] = {"range": range, "len": len, "min": min, "__name__": __name__, **native.arrays(numba)}
    for module in (machine, step, headers, loop):
        names.update({name: value for name, value in vars(module).items() if isinstance(value, int)})
    names["TABLE_BYTES"] = TABLE_BYTES
    for function in (*view.PARTS, *headers.PARTS, *machine.PARTS, *step.PARTS, *loop.PARTS, _enter_run, _enter_rehash):
        twin = FunctionType(function.__code__, names, function.__name__)
        names[function.__name__] = _with_one_signature(native.jit(twin, numba), numba)
    names |= _loads(numba)
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


def _loads(numba: Thing) -> dict[str, Thing]:
    """One load and a byte swap in place of the sums of :func:`~tcpscope.wire.view.be16` and ``be32``."""
    from llvmlite import ir

    def make(bits: int) -> Thing:
        @numba.extending.intrinsic  # type: ignore[untyped-decorator]
        def load(typing_context: Thing, data: Thing, at: Thing) -> Thing:
            def generate(context: Thing, builder: Thing, signature: Thing, arguments: Thing) -> Thing:
                array = context.make_array(signature.args[0])(context, builder, arguments[0])
                place = builder.gep(array.data, [arguments[1]])
                number = builder.load(builder.bitcast(place, ir.IntType(bits).as_pointer()), align=1)
                if sys.byteorder == "little":
                    number = builder.bswap(number)
                return builder.zext(number, ir.IntType(64))

            return numba.types.int64(data, numba.types.int64), generate

        return load

    @numba.extending.intrinsic  # type: ignore[untyped-decorator]
    def apart(typing_context: Thing) -> Thing:
        def generate(context: Thing, builder: Thing, signature: Thing, arguments: Thing) -> Thing:
            builder.function.attributes.add("noinline")
            return ir.Constant(ir.IntType(64), 0)

        return numba.types.int64(), generate

    loads = {"load_16": make(16), "load_32": make(32)}

    def be16(data: Thing, at: int) -> int:
        return load_16(data, at)  # type: ignore[name-defined, no-any-return]  # noqa: F821

    def be32(data: Thing, at: int) -> int:
        return load_32(data, at)  # type: ignore[name-defined, no-any-return]  # noqa: F821

    return {
        function.__name__: native.jit(FunctionType(function.__code__, loads, function.__name__), numba)
        for function in (be16, be32)
    } | {"apart": apart}


UNIT = native.Unit(
    "tracker", (view, headers, machine, step, loop, sys.modules[__name__]), {"run": 22, "rehash": 6}, build
)


def prepare() -> None:
    """Compile now what large captures need, and keep it on disk; takes some seconds, once."""
    for unit in (UNIT, reader.UNIT):
        native.load(unit)


def is_on_disk() -> bool:
    """Whether the compiled code is there already."""
    return native.is_kept(UNIT) and native.is_kept(reader.UNIT)
