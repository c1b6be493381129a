"""The engine for large captures: the same rules compiled by numba (extra ``fast``), bytes in, rows out.

There is no second state machine here: :func:`build` compiles the very functions of :mod:`tcpscope.wire.view`,
:mod:`tcpscope.packets.headers`, :mod:`tcpscope.packets.step` and :mod:`tcpscope.machine.compiled`. What is added is the
loop over a chunk (:func:`run`, resumable: it stops when a table is full, the caller makes room and goes on) and the
table of flows.

A flow costs 156 + 48 + 36 bytes and 8 of the hash table. The compiled code is kept on disk, under a name that
changes with the text it was made of; ``NUMBA_CACHE_DIR`` moves it.
"""

from __future__ import annotations

import sys
from types import FunctionType

from tcpscope import extras
from tcpscope.machine import compiled as machine
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets import headers, step
from tcpscope.packets.headers import CUT, FRAGMENT, NOT_TCP
from tcpscope.packets.ledger import Ledger
from tcpscope.wire import view

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tcpscope.capture import Chunk

#: 32-bit words of a key: two addresses of four words each (IPv4 uses the first of each), both ports.
KEY_WORDS = 9
# ``m`` beyond what :mod:`tcpscope.packets.step` counts
FLOWS, SLOTS_USED = 2, 3
SKIPPED = 4  #: counts by what :func:`tcpscope.packets.headers.read_frame` found
COUNTERS = 12
_ROOM_ROWS = 16
_FIRST_FLOWS, _FIRST_EXTRAS, _FIRST_ROWS = 4096, 1024, 16384


class CompiledEngine:
    """Takes chunks, fills a :class:`CompiledLedger`. Raises ``Unsupported`` without numpy and numba."""

    name = "compiled"

    def __init__(self) -> None:
        np = extras.require("numpy", "the compiled engine")
        self._np = np
        self._run, self._rehash = build()
        self._flows = np.zeros((_FIRST_FLOWS, step.FLOW_WORDS), np.int32)
        self._quads = np.zeros((_FIRST_FLOWS, step.FLOW_QUADS), np.int64)
        self._keys = np.zeros((_FIRST_FLOWS, KEY_WORDS), np.uint32)
        self._extras = np.zeros((_FIRST_EXTRAS, step.EXTRA_WORDS), np.int32)
        self._log = np.zeros(_FIRST_ROWS * step.LOG_WORDS, np.int64)
        self._slots = np.zeros(_FIRST_FLOWS * 2, np.int32)
        self._m = np.zeros(COUNTERS, np.int64)
        self._m[step.EXTRAS] = 1
        self._table = np.frombuffer(machine.AFTER, np.uint8)
        self.ledger = CompiledLedger()

    def take(self, chunk: Chunk) -> None:
        """Take in every packet of a chunk."""
        np = self._np
        data = np.frombuffer(chunk.data, np.uint8)
        columns = [
            np.asarray(column)
            for column in (chunk.offset, chunk.captured_len, chunk.original_len, chunk.t_ns, chunk.link_type)
        ]
        at, count = 0, len(columns[0])
        while True:
            at = self._run(
                data, *columns, at, chunk.first_packet, self._flows, self._quads, self._keys, self._extras, self._log,
                self._slots, self._m, self._table,
            )  # fmt: skip
            if at >= count:
                break
            self._make_room()
        self.ledger.packets += count
        self.ledger.widen(int(columns[3].min()), int(columns[3].max()))

    def _make_room(self) -> None:
        """Double what is nearly full. Why resize in place: the kernel moves pages, nothing is copied or held twice."""
        m = self._m
        if m[FLOWS] + 2 >= len(self._flows):
            rows = len(self._flows) * 2
            for table in (self._flows, self._quads, self._keys):
                table.resize((rows, table.shape[1]), refcheck=False)
            self._slots = self._np.zeros(rows * 2, self._np.int32)
            self._rehash(self._flows, self._keys, self._slots, int(m[FLOWS]))
        if m[step.EXTRAS] + 2 >= len(self._extras):
            self._extras.resize((len(self._extras) * 2, step.EXTRA_WORDS), refcheck=False)
        if (m[step.ROWS] + 2 * _ROOM_ROWS) * step.LOG_WORDS >= len(self._log):
            self._log.resize(len(self._log) * 2, refcheck=False)

    def finish(self) -> CompiledLedger:
        """Return the ledger: views of what is filled."""
        m, ledger = self._m, self.ledger
        ledger.flows = self._flows[: m[FLOWS]]
        ledger.quads = self._quads[: m[FLOWS]]
        ledger.packed_keys = self._keys[: m[FLOWS]]
        ledger.extras = self._extras[: m[step.EXTRAS]]
        ledger.log = self._log[: m[step.ROWS] * step.LOG_WORDS]
        for what in (NOT_TCP, FRAGMENT, CUT):
            if m[SKIPPED + what]:
                ledger.skipped[what] = int(m[SKIPPED + what])
        return ledger


class CompiledLedger(Ledger):
    """A ledger whose rows are arrays."""

    def __init__(self) -> None:
        super().__init__()
        self.packed_keys: Any = None

    def key_of(self, serial: int) -> bytes:
        """Return addresses and ports, the lower end first."""
        words = self.packed_keys[serial].astype(">u4").tobytes()
        if self.flows[serial][step.SHARED] & step.IS_IPV6:
            return bytes(words)
        return bytes(words[:4] + words[16:20] + words[32:])


def run(
    data: Any, offset: Any, captured: Any, original: Any, times: Any, link: Any, at: int, first_packet: int,
    flows: Any, quads: Any, keys: Any, troubles: Any, log: Any, slots: Any, m: Any, table: Any,
) -> int:  # fmt: skip
    """Take in the packets of a chunk from ``at`` on; return how far it came before a table was full."""
    mask = len(slots) - 1
    most_rows = len(log) // LOG_WORDS - ROOM_ROWS
    most_flows = len(flows) - 2
    most_extras = len(troubles) - 2
    while at < len(offset):
        if m[ROWS] > most_rows or m[FLOWS] > most_flows or m[EXTRAS] > most_extras:
            return at
        start = offset[at]
        cut = start + captured[at]
        what = 1
        version = 4
        ip = start + 14
        tcp = start + 34
        end = ip
        if link[at] == 1 and cut >= start + 54 and be32(data, start + 12) & 0xFFFFFF00 == 0x08004500:
            end = ip + be16(data, start + 16)  # Ethernet, IPv4 without options: what nearly every packet is
        if end < start + 54 or data[start + 23] != 6 or be16(data, start + 20) & 0x3FFF:
            what, version, ip, tcp, end = read_frame(data, start, captured[at], original[at], link[at])
        if what == 0 or what > 4:
            m[SKIPPED + what] += 1
            at += 1
            continue
        see_packet(
            data, what, version, ip, tcp, end, cut, times[at], first_packet + at, flows, quads, keys, troubles, log,
            slots, m, table, mask,
        )  # fmt: skip
        at += 1
    return at


def see_packet(
    data: Any, what: int, version: int, ip: int, tcp: int, packet_end: int, cut: int, t: int, number: int, flows: Any,
    quads: Any, keys: Any, troubles: Any, log: Any, slots: Any, m: Any, table: Any, mask: int,
) -> None:  # fmt: skip
    """Find the flow of one packet and let :mod:`~tcpscope.packets.step` decide."""
    slot, end = find_slot(data, version, ip, tcp, flows, keys, slots, m, mask)
    serial = slots[slot] - 1
    if what != 1:
        if serial >= 0:
            reserve(flows, troubles, m, serial)
            f = flows[serial]
            see_icmp(f, troubles[f[EXTRA]], log, m, table, serial, end, number, t, what - 1)
        return
    seq = be32(data, tcp + 4)
    ack = be32(data, tcp + 8)
    flags = data[tcp + 13] + 0
    wnd = be16(data, tcp + 14)
    text = packet_end - tcp - (data[tcp + 12] // 16) * 4
    if text < 0:
        text = 0
    wscale = -1
    mss = 0
    if flags & SYN:
        options = read_syn_options(data, tcp, cut)
        wscale = (options & 0xFF) - 1
        mss = options >> 8
    if serial < 0:
        serial = open_flow(data, version, ip, tcp, end, number, t, -1, flags, ack, flows, quads, keys, troubles, log, slots, slot, m, table)
    else:
        f = flows[serial]
        if is_routine(f, quads[serial], end, t, seq, ack, flags, wnd, text):
            return
        if opens_another(f, quads[serial], troubles[f[EXTRA]], end, t, seq, ack, flags):
            serial = open_flow(data, version, ip, tcp, end, number, t, serial, flags, ack, flows, quads, keys, troubles, log, slots, slot, m, table)
    f = flows[serial]
    q = quads[serial]
    if not f[EXTRA] and needs_extra(f, q, end, seq, ack, flags, wnd, text):
        reserve(flows, troubles, m, serial)
    observe(f, q, troubles[f[EXTRA]], log, m, table, serial, end, number, t, seq, ack, flags, wnd, text, wscale, mss)


def find_slot(
    data: Any, version: int, ip: int, tcp: int, flows: Any, keys: Any, slots: Any, m: Any, mask: int
) -> tuple[int, int]:
    """Return the slot of the flow (used or free) and which end sent the packet."""
    ports = be32(data, tcp)
    sport = ports >> 16
    dport = ports & 0xFFFF
    if version == 4:
        low = be32(data, ip + 12)
        high = be32(data, ip + 16)
        end = 0
        if low > high or (low == high and sport > dport):
            low, high = high, low
            ports = dport << 16 | sport
            end = 1
        slot = mix(low, high, ports) & mask
        while True:
            serial = slots[slot] - 1
            if serial < 0:
                return slot, end
            key = keys[serial]
            if key[0] == low and key[4] == high and key[8] == ports and not flows[serial, SHARED] & IS_IPV6:
                return slot, end
            slot = (slot + 1) & mask
    end = order_ipv6(data, ip, sport, dport)
    source = ip + 8
    target = ip + 24
    if end:
        source, target = target, source
        ports = dport << 16 | sport
    low = 0
    high = 0
    for word in range(4):
        low = mix(low, be32(data, source + word * 4), word)
        high = mix(high, be32(data, target + word * 4), word)
    slot = mix(low, high, ports) & mask
    while True:
        serial = slots[slot] - 1
        if serial < 0:
            return slot, end
        if keys[serial, 8] == ports and flows[serial, SHARED] & IS_IPV6:
            same = True
            for word in range(4):
                if keys[serial, word] != be32(data, source + word * 4):
                    same = False
                if keys[serial, 4 + word] != be32(data, target + word * 4):
                    same = False
            if same:
                return slot, end
        slot = (slot + 1) & mask


def order_ipv6(data: Any, ip: int, sport: int, dport: int) -> int:
    """Return which end sent an IPv6 packet: 0 the lower address and port, 1 the higher."""
    for octet in range(16):
        one = data[ip + 8 + octet]
        other = data[ip + 24 + octet]
        if one != other:
            return 0 if one < other else 1
    return 0 if sport <= dport else 1


def mix(low: int, high: int, ports: int) -> int:
    """Spread a key over 62 bits. Why 32-bit halves: nothing may overflow, compilers take that for impossible."""
    number = (low & M) * 0x2545F491 ^ (high & M) * 0x1E3779B1 ^ (ports & M) * 0x3C6EF35F
    number = (number & M) * 0x27D4EB2F ^ number >> 31
    return (number ^ number >> 29) & 0x3FFFFFFFFFFFFFFF


def reserve(flows: Any, troubles: Any, m: Any, serial: int) -> None:
    """Give a flow its row for trouble."""
    if not flows[serial, EXTRA]:
        flows[serial, EXTRA] = m[EXTRAS]
        m[EXTRAS] += 1


def open_flow(
    data: Any, version: int, ip: int, tcp: int, end: int, number: int, t: int, previous: int, flags: int, ack: int,
    flows: Any, quads: Any, keys: Any, troubles: Any, log: Any, slots: Any, slot: int, m: Any, table: Any,
) -> int:  # fmt: skip
    """Start a connection, perhaps as the next incarnation of ``previous``; return its serial."""
    serial = m[FLOWS]
    m[FLOWS] += 1
    slots[slot] = serial + 1
    size = 4 if version == 4 else 16
    source = ip + 12 if version == 4 else ip + 8
    low = source + size if end else source
    high = source if end else source + size
    is_same = True
    for word in range(size // 4):
        keys[serial, word] = be32(data, low + word * 4)
        keys[serial, 4 + word] = be32(data, high + word * 4)
        if keys[serial, word] != keys[serial, 4 + word]:
            is_same = False
    ports = be32(data, tcp)
    keys[serial, 8] = ports if end == 0 else (ports & 0xFFFF) << 16 | ports >> 16
    is_same = is_same and ports >> 16 == ports & 0xFFFF
    incarnation = 0
    if previous >= 0:
        incarnation = flows[previous, INCARNATION] + 1
    shared = (SELF if is_same else 0) | (0 if version == 4 else IS_IPV6)
    start_flow(flows[serial], quads[serial], number, t, shared, incarnation)
    if previous >= 0 and flags & SYN:
        reincarnate(flows, quads, troubles, log, m, table, previous, serial, end, flags, ack)
    return serial


def reincarnate(
    flows: Any, quads: Any, troubles: Any, log: Any, m: Any, table: Any, previous: int, serial: int, end: int,
    flags: int, ack: int,
) -> None:  # fmt: skip
    """Carry over what the last incarnation leaves: TIME-WAIT at the end that will answer, a SYN that waited."""
    old = flows[previous]
    new = flows[serial]
    syn_end = 1 - end if flags & ACK else end
    answerer = HALF_WORDS - syn_end * HALF_WORDS
    if old[answerer + STATE] == S_TIME_WAIT:
        new[answerer + STATE] = S_TIME_WAIT
        set_opened(new, answerer, REOPENED)
    waits = PENDING_SYN_1 if syn_end else PENDING_SYN_0
    if not flags & ACK or not old[SHARED] & waits or old[SHARED] & SELF:
        return
    x = troubles[old[EXTRA]]
    if (x[PENDING_SYN_SEQ] + 1 - ack) & M:
        return
    t = x[PENDING_SYN_HIGH] << 31 | x[PENDING_SYN_LOW]
    number = x[PENDING_SYN_PACKET]
    quads[serial, FIRST_NS] = t
    new[FIRST_PACKET] = number
    seq = x[PENDING_SYN_SEQ] & M
    scale = x[PENDING_SYN_SCALE] + 0
    reserve(flows, troubles, m, serial)
    extra = troubles[new[EXTRA]]
    track(new, quads[serial], extra, log, m, table, serial, syn_end, number, t, seq, 0, SYN, 0, 0, scale)


def rehash(flows: Any, keys: Any, slots: Any, count: int) -> None:
    """Fill a larger hash table. A later incarnation takes the place of an earlier one."""
    mask = len(slots) - 1
    for serial in range(count):
        key = keys[serial]
        is_ipv6 = flows[serial, SHARED] & IS_IPV6
        low = 0
        high = 0
        if is_ipv6:
            for word in range(4):
                low = mix(low, key[word], word)
                high = mix(high, key[4 + word], word)
        else:
            low += key[0]
            high += key[4]
        slot = mix(low, high, key[8]) & mask
        while slots[slot]:
            other = slots[slot] - 1
            same = flows[other, SHARED] & IS_IPV6 == is_ipv6
            for word in range(KEY_WORDS):
                if keys[other, word] != key[word]:
                    same = False
            if same:
                break
            slot = (slot + 1) & mask
        slots[slot] = serial + 1


_LOOP: tuple[Callable[..., Any], ...] = (
    mix, order_ipv6, find_slot, reserve, reincarnate, open_flow, see_packet, run, rehash,
)  # fmt: skip
_built: tuple[Callable[..., int], Callable[..., None]] | None = None


def build() -> tuple[Callable[..., int], Callable[..., None]]:
    """Compile (or load from disk) and return :func:`run` and :func:`rehash`."""
    global _built
    if _built is None:
        numba = extras.require("numba", "the compiled engine")
        _keep_on_disk(numba)
        names: dict[str, Any] = {"range": range, "len": len, "min": min, "__name__": __name__}
        for module in (machine, step, headers):
            names.update({name: value for name, value in vars(module).items() if isinstance(value, int)})
        names |= {
            "KEY_WORDS": KEY_WORDS, "FLOWS": FLOWS, "SKIPPED": SKIPPED, "ROOM_ROWS": _ROOM_ROWS,
            "LOG_WORDS": step.LOG_WORDS,
        }  # fmt: skip
        for function in (*view.PARTS, *headers.PARTS, *machine.PARTS, *step.PARTS, *_LOOP):
            twin = FunctionType(function.__code__, names, function.__name__)
            # Why _nrt: no function here allocates, and counting references to rows doubles the cost of a packet.
            names[function.__name__] = _with_one_signature(
                numba.njit(twin, cache=function in (run, rehash), nogil=True, _nrt=False, error_model="numpy"), numba
            )
        names |= _loads(numba)
        _built = names["run"], names["rehash"]
    return _built


def _with_one_signature(dispatcher: Any, numba: Any) -> Any:
    """Let all integers in a call be 64-bit. Why: numba compiles anew for each mix of widths and constants."""
    unliteral, integer, int64 = numba.types.unliteral, numba.types.Integer, numba.types.int64
    ask = dispatcher.get_call_template

    def get_call_template(arguments: Any, keywords: Any) -> Any:
        kinds = (unliteral(kind) for kind in arguments)
        return ask(tuple(int64 if isinstance(kind, integer) else kind for kind in kinds), keywords)

    dispatcher.get_call_template = get_call_template
    return dispatcher


def _loads(numba: Any) -> dict[str, Any]:
    """One load and a byte swap in place of the sums of :func:`~tcpscope.wire.view.be16` and ``be32``."""
    from llvmlite import ir

    def make(bits: int) -> Any:
        @numba.extending.intrinsic  # type: ignore[untyped-decorator]
        def load(typing_context: Any, data: Any, at: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                array = context.make_array(signature.args[0])(context, builder, arguments[0])
                place = builder.gep(array.data, [arguments[1]])
                number = builder.load(builder.bitcast(place, ir.IntType(bits).as_pointer()), align=1)
                if sys.byteorder == "little":
                    number = builder.bswap(number)
                return builder.zext(number, ir.IntType(64))

            return numba.types.int64(data, numba.types.int64), generate

        return load

    loads = {"load_16": make(16), "load_32": make(32)}

    def be16(data: Any, at: int) -> int:
        return load_16(data, at)  # type: ignore[name-defined, no-any-return]  # noqa: F821

    def be32(data: Any, at: int) -> int:
        return load_32(data, at)  # type: ignore[name-defined, no-any-return]  # noqa: F821

    return {
        function.__name__: numba.njit(FunctionType(function.__code__, loads, function.__name__), _nrt=False)
        for function in (be16, be32)
    }


def _keep_on_disk(numba: Any) -> None:
    """Choose where compiled code is kept. Why: numba looks at the age of one file, our text comes from several."""
    import hashlib
    import os

    if "NUMBA_CACHE_DIR" not in os.environ:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        base = os.path.join(home, "tcpscope")
    else:
        base = os.environ["NUMBA_CACHE_DIR"]
    digest = hashlib.sha256(numba.__version__.encode())
    for module in (view, headers, machine, step):
        with open(module.__file__, "rb") as file:
            digest.update(file.read())
    numba.config.CACHE_DIR = os.path.join(base, "numba-" + digest.hexdigest()[:16])
