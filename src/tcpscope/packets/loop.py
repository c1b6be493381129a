"""The loop of the compiled engine: a chunk's packets, their flows in a hash table, and what is judged by others.

Written in the subset of Python that numba compiles (integers, indexing, calls of each other and of the parts of
:mod:`tcpscope.packets.step` and :mod:`tcpscope.packets.headers`); only :mod:`tcpscope.packets.compiled` runs it.

Why one row holds all of a flow: a packet touches neighbouring cache lines. Why a slot of the hash table holds bits of
the hash beside the number of the flow: rows of other flows are hardly ever looked at.
"""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets.copies import find_original, is_copy, is_nothing_new, note_copy
from tcpscope.packets.counting import needs_extra
from tcpscope.packets.handshake import answers_pending_syn, inherit, opens_another
from tcpscope.packets.headers import FRAGMENT, be32, read_frame, read_syn_options
from tcpscope.packets.layout import (
    ACK,
    EXTRA,
    EXTRA_WORDS,
    FLOW_QUADS,
    FLOW_WORDS,
    HALF_WORDS,
    INCARNATION,
    IS_IPV6,
    LOG_NEXT,
    SEG_ACK,
    SEG_FLAGS,
    SEG_HEADER_BYTES,
    SEG_MSS,
    SEG_NS,
    SEG_NUMBER,
    SEG_SCALE,
    SEG_SEQ,
    SEG_SERIAL,
    SEG_TEXT,
    SEG_WND,
    SEG_WORDS,
    SELF,
    SHARED,
    SYN,
    M,
)  # fmt: skip
from tcpscope.packets.moves import apart
from tcpscope.packets.routine import is_routine
from tcpscope.packets.step import begin_with_pending_syn, observe, see_icmp, start_flow
from tcpscope.wire.view import be16

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tcpscope.native import longs_at, octets_at

    Array = Any

#: 32-bit words of a key: two addresses of four words each (IPv4 uses the first of each), both ports.
KEY_WORDS = 9
#: A row: ``q``, then ``f``, then the key.
F_AT = FLOW_QUADS * 2
KEY_AT = F_AT + FLOW_WORDS
ROW_WORDS = KEY_AT + KEY_WORDS
# ``m``: flows and rows for trouble in use; how many of each, and rows of the log, there is room for
FLOWS, EXTRAS, MOST_FLOWS, MOST_EXTRAS, MOST_ROWS = range(5)
MENTIONED = 5  #: the last of the rows of ``troubles`` that hold the key of an unknown flow an ICMP error quoted
MENTIONED_PREVIOUS, MENTIONED_IPV6 = 9, 10  #: words of such a row, after the key
SKIPPED = 6  #: counts by what :func:`tcpscope.packets.headers.read_frame` found
HELD = 13  #: 1: stopped at a fragment, which is not for this loop
SEGMENT_AT = 14  #: the segment at hand, and one to spare
#: The chunk once more, for :func:`take_copy`: its first number, addresses of its columns and of the frames before it.
#: Why not arguments: the loop would have to hold them all.
CHUNK_AT = SEGMENT_AT + 2 * SEG_WORDS
FIRST_NUMBER, PLACES, LENGTHS, ORIGINAL, CLOCK, LINKS, INTERFACES, RECENT_OCTETS, RECENT_FACTS = range(
    CHUNK_AT, CHUNK_AT + 9
)
COUNTERS = CHUNK_AT + 9


def part(array: Array, at: int) -> Array:
    """Return the array from ``at`` on. Compiled it is a pointer: no bounds, and one word instead of seven to pass."""
    return array[at:]


def as_quads(words: Array) -> Array:
    """Return 32-bit words as 64-bit numbers."""
    return words.view("i8")


def run(
    octets: Array, places: Array, lengths: Array, original: Array, clock: Array, links: Array, count: int, at: int,
    first_packet: int, words: Array, trouble: Array, log: Array, slots: Array, mask: int, m: Array,
) -> int:  # fmt: skip
    """Take in the packets of a chunk from ``at`` on; return how far it came before a table was full or a fragment."""
    while at < count:
        start = places[at]
        cut = start + lengths[at]
        what = 1
        version = 4
        ip = start + 14
        tcp = start + 34
        end = ip
        if links[at] == 1 and cut >= start + 54 and be32(octets, start + 12) & 0xFFFFFF00 == 0x08004500:
            end = ip + be16(octets, start + 16)  # Ethernet, IPv4 without options: what nearly every packet is
        if end < start + 54 or octets[start + 23] != 6 or be16(octets, start + 20) & 0x3FFF:
            what, version, ip, tcp, end = read_frame(octets, start, lengths[at], original[at], links[at])
        if what == 0 or what > 4:
            m[SKIPPED + what] += 1
            if what == FRAGMENT:
                m[HELD] = 1
                return at
            at += 1
            continue
        found = find_slot(octets, version, ip, tcp, words, slots, mask)
        side = found & 1
        serial = (slots[found >> 1] & mask) - 1
        text = -1
        if what == 1:  # Why only then: of what an ICMP error quotes, 8 octets are there
            text = end - tcp - (octets[tcp + 12] // 16) * 4
        if serial >= 0 and text >= 0:
            row = part(words, serial * ROW_WORDS)
            if is_routine(
                part(row, F_AT), as_quads(row), side, clock[at], be32(octets, tcp + 4), be32(octets, tcp + 8),
                octets[tcp + 13], be16(octets, tcp + 14), text, end - ip - text,
            ):  # fmt: skip
                at += 1
                continue
        if log[LOG_NEXT] > m[MOST_ROWS] or m[FLOWS] > m[MOST_FLOWS] or m[EXTRAS] > m[MOST_EXTRAS]:
            return at
        g = part(m, SEGMENT_AT)
        g[SEG_NUMBER] = first_packet + at
        g[SEG_NS] = clock[at]
        g[SEG_SERIAL] = serial
        g[SEG_TEXT] = text if text > 0 else 0
        g[SEG_HEADER_BYTES] = end - ip - g[SEG_TEXT]
        if what == 1:
            read_segment(octets, tcp, cut, g)
            see_segment_of(octets, version, ip, tcp, end, found, words, trouble, log, slots, m, mask)
        elif serial >= 0:
            f = part(words, serial * ROW_WORDS + F_AT)
            see_icmp(f, reserve(f, trouble, m), log, g, side, what - 1)
        else:
            mention(octets, version, ip, tcp, side, trouble, m)
        at += 1
    return at


def read_segment(octets: Array, tcp: int, cut: int, g: Array) -> None:
    """Read a TCP header and what the options of a SYN say."""
    apart()
    g[SEG_SEQ] = be32(octets, tcp + 4)
    g[SEG_ACK] = be32(octets, tcp + 8)
    g[SEG_FLAGS] = octets[tcp + 13]
    g[SEG_WND] = be16(octets, tcp + 14)
    g[SEG_SCALE] = -1
    g[SEG_MSS] = 0
    if g[SEG_FLAGS] & SYN:
        options = read_syn_options(octets, tcp, cut)
        g[SEG_SCALE] = (options & 0xFF) - 1
        g[SEG_MSS] = options >> 8


def take_copy(
    octets: Array, version: int, ip: int, tcp: int, stop: int, row: Array, trouble: Array, m: Array, end: int
) -> int:  # fmt: skip
    """Count the segment at hand when it is a copy; say whether it is."""
    apart()
    f = part(row, F_AT)
    q = as_quads(row)
    x = part(trouble, f[EXTRA] * EXTRA_WORDS)
    g = part(m, SEGMENT_AT)
    if not is_nothing_new(f, q, g, end):
        return 0
    found = find_original(
        octets, longs_at(m[PLACES]), longs_at(m[LENGTHS]), longs_at(m[ORIGINAL]), longs_at(m[CLOCK]),
        longs_at(m[LINKS]), longs_at(m[INTERFACES]), g[SEG_NUMBER] - m[FIRST_NUMBER], version, ip, tcp, stop,
        octets_at(m[RECENT_OCTETS]), longs_at(m[RECENT_FACTS]),
    )  # fmt: skip
    if not is_copy(f, q, x, g, end, found):
        return 0
    note_copy(x, end, found)
    return 1


def see_segment_of(
    octets: Array, version: int, ip: int, tcp: int, stop: int, found: int, words: Array, trouble: Array, log: Array,
    slots: Array, m: Array, mask: int,
) -> None:  # fmt: skip
    """Let :mod:`~tcpscope.packets.step` judge a segment of the flow in a slot, or of a new one."""
    apart()
    g = part(m, SEGMENT_AT)
    end = found & 1
    serial = g[SEG_SERIAL]
    is_new = 1
    if serial >= 0:
        row = part(words, serial * ROW_WORDS)
        f = part(row, F_AT)
        is_new = opens_another(f, as_quads(row), part(trouble, f[EXTRA] * EXTRA_WORDS), g, end)
    if is_new:
        open_flow(octets, version, ip, tcp, found, words, trouble, log, slots, m, mask)
    row = part(words, g[SEG_SERIAL] * ROW_WORDS)
    f = part(row, F_AT)
    q = as_quads(row)
    if not f[EXTRA] and needs_extra(f, q, g, end):
        reserve(f, trouble, m)
    if f[EXTRA] and not is_new and take_copy(octets, version, ip, tcp, stop, row, trouble, m, end):
        return
    observe(f, q, part(trouble, f[EXTRA] * EXTRA_WORDS), log, g, end)


def find_slot(octets: Array, version: int, ip: int, tcp: int, words: Array, slots: Array, mask: int) -> int:
    """Return the slot of the flow (used or free) << 1 | which end sent the packet."""
    if version != 4:
        return find_slot_ipv6(octets, ip, tcp, words, slots, mask)
    ports = be32(octets, tcp)
    low = be32(octets, ip + 12)
    high = be32(octets, ip + 16)
    end = 0
    if low > high or (low == high and ports >> 16 > ports & 0xFFFF):
        low, high = high, low
        ports = (ports & 0xFFFF) << 16 | ports >> 16
        end = 1
    number = mix(low, high, ports)
    slot = number & mask
    while slots[slot]:
        if not (slots[slot] ^ number) & M & ~mask:
            row = part(words, ((slots[slot] & mask) - 1) * ROW_WORDS)
            key = part(row, KEY_AT)
            if (key[0] ^ low) & M == 0 and (key[4] ^ high) & M == 0 and (key[8] ^ ports) & M == 0:
                if not row[F_AT + SHARED] & IS_IPV6:
                    return slot << 1 | end
        slot = (slot + 1) & mask
    return slot << 1 | end


def find_slot_ipv6(octets: Array, ip: int, tcp: int, words: Array, slots: Array, mask: int) -> int:
    """Do the same for IPv6."""
    apart()
    ports = be32(octets, tcp)
    end = order_ipv6(octets, ip, ports >> 16, ports & 0xFFFF)
    source = ip + 24 if end else ip + 8
    target = ip + 8 if end else ip + 24
    if end:
        ports = (ports & 0xFFFF) << 16 | ports >> 16
    low = 0
    high = 0
    for word in range(4):
        low = mix(low, be32(octets, source + word * 4), word)
        high = mix(high, be32(octets, target + word * 4), word)
    number = mix(low, high, ports)
    slot = number & mask
    while slots[slot]:
        if not (slots[slot] ^ number) & M & ~mask:
            row = part(words, ((slots[slot] & mask) - 1) * ROW_WORDS)
            if row[F_AT + SHARED] & IS_IPV6 and is_key_ipv6(octets, source, target, ports, part(row, KEY_AT)):
                return slot << 1 | end
        slot = (slot + 1) & mask
    return slot << 1 | end


def is_key_ipv6(octets: Array, source: int, target: int, ports: int, key: Array) -> int:
    """Whether a key is that of these addresses and ports."""
    if (key[8] ^ ports) & M:
        return 0
    for word in range(4):
        if (key[word] ^ be32(octets, source + word * 4)) & M or (key[4 + word] ^ be32(octets, target + word * 4)) & M:
            return 0
    return 1


def order_ipv6(octets: Array, ip: int, sport: int, dport: int) -> int:
    """Return which end sent an IPv6 packet: 0 the lower address and port, 1 the higher."""
    for octet in range(16):
        one = octets[ip + 8 + octet]
        other = octets[ip + 24 + octet]
        if one != other:
            return 0 if one < other else 1
    return 0 if sport <= dport else 1


def mix(low: int, high: int, ports: int) -> int:
    """Spread a key over 62 bits. Why 32-bit halves: nothing may overflow, compilers take that for impossible."""
    number = (low & M) * 0x2545F491 ^ (high & M) * 0x1E3779B1 ^ (ports & M) * 0x3C6EF35F
    number = (number & M) * 0x27D4EB2F ^ number >> 31
    return (number ^ number >> 29) & 0x3FFFFFFFFFFFFFFF


def mention(octets: Array, version: int, ip: int, tcp: int, end: int, trouble: Array, m: Array) -> None:
    """Remember the key of a flow that only an ICMP error knows: another capture may hold it."""
    apart()
    x = part(trouble, m[EXTRAS] * EXTRA_WORDS)
    write_key(octets, version, ip, tcp, end, x)
    x[MENTIONED_PREVIOUS] = m[MENTIONED]
    x[MENTIONED_IPV6] = 0 if version == 4 else 1
    m[MENTIONED] = m[EXTRAS]
    m[EXTRAS] += 1


def write_key(octets: Array, version: int, ip: int, tcp: int, end: int, key: Array) -> None:
    """Write addresses and ports, the lower end first."""
    size = 4 if version == 4 else 16
    source = ip + 12 if version == 4 else ip + 8
    low = source + size if end else source
    high = source if end else source + size
    for word in range(8):
        key[word] = 0
    for word in range(size // 4):
        key[word] = be32(octets, low + word * 4)
        key[4 + word] = be32(octets, high + word * 4)
    ports = be32(octets, tcp)
    key[8] = ports if end == 0 else (ports & 0xFFFF) << 16 | ports >> 16


def reserve(f: Array, trouble: Array, m: Array) -> Array:
    """Give a flow its row for trouble, if it has none; return that."""
    if not f[EXTRA]:
        f[EXTRA] = m[EXTRAS]
        m[EXTRAS] += 1
    return part(trouble, f[EXTRA] * EXTRA_WORDS)


def open_flow(
    octets: Array, version: int, ip: int, tcp: int, found: int, words: Array, trouble: Array, log: Array, slots: Array,
    m: Array, mask: int,
) -> None:  # fmt: skip
    """Start a connection, perhaps as the next incarnation of the one before; the segment is now of it."""
    apart()
    g = part(m, SEGMENT_AT)
    end = found & 1
    previous = g[SEG_SERIAL]
    serial = m[FLOWS]
    m[FLOWS] += 1
    g[SEG_SERIAL] = serial
    row = part(words, serial * ROW_WORDS)
    f = part(row, F_AT)
    q = as_quads(row)
    key = part(row, KEY_AT)
    write_key(octets, version, ip, tcp, end, key)
    slots[found >> 1] = hash_key(key, version != 4) & M & ~mask | (serial + 1)
    shared = 0 if version == 4 else IS_IPV6
    if key[0] == key[4] and key[1] == key[5] and key[2] == key[6] and key[3] == key[7]:
        if (key[8] >> 16 ^ key[8]) & 0xFFFF == 0:
            shared |= SELF
    start_flow(f, q, g, shared, 0)
    if previous < 0:
        return
    old = part(words, previous * ROW_WORDS + F_AT)
    f[INCARNATION] = old[INCARNATION] + 1
    if g[SEG_FLAGS] & SYN:
        reincarnate(old, f, q, trouble, log, m, end)


def reincarnate(old: Array, f: Array, q: Array, trouble: Array, log: Array, m: Array, end: int) -> None:
    """Carry over what the last incarnation leaves: TIME-WAIT at the end that will answer, a SYN that waited."""
    apart()
    g = part(m, SEGMENT_AT)
    syn_end = 1 - end if g[SEG_FLAGS] & ACK else end
    inherit(old, f, HALF_WORDS - syn_end * HALF_WORDS)
    old_x = part(trouble, old[EXTRA] * EXTRA_WORDS)
    if g[SEG_FLAGS] & ACK and answers_pending_syn(old, old_x, g, syn_end * HALF_WORDS):
        waited = part(m, SEGMENT_AT + SEG_WORDS)
        waited[SEG_SERIAL] = g[SEG_SERIAL]
        begin_with_pending_syn(f, q, reserve(f, trouble, m), old_x, log, waited, syn_end)


def hash_key(key: Array, is_ipv6: int) -> int:
    """Return the hash of a key in a row."""
    low = key[0] + 0
    high = key[4] + 0
    if is_ipv6:
        low = 0
        high = 0
        for word in range(4):
            low = mix(low, key[word], word)
            high = mix(high, key[4 + word], word)
    return mix(low, high, key[8])


def rehash(words: Array, slots: Array, mask: int, count: int) -> None:
    """Fill a larger hash table. A later incarnation takes the place of an earlier one."""
    for serial in range(count):
        row = part(words, serial * ROW_WORDS)
        is_ipv6 = row[F_AT + SHARED] & IS_IPV6
        number = hash_key(part(row, KEY_AT), is_ipv6)
        slot = number & mask
        while slots[slot]:
            other = part(words, ((slots[slot] & mask) - 1) * ROW_WORDS)
            same = row[F_AT + INCARNATION] > 0 and other[F_AT + SHARED] & IS_IPV6 == is_ipv6
            for word in range(KEY_WORDS):
                if other[KEY_AT + word] != row[KEY_AT + word]:
                    same = False
            if same:
                break
            slot = (slot + 1) & mask
        slots[slot] = number & M & ~mask | (serial + 1)


#: The functions one text is made of, in the order of need.
PARTS: tuple[Callable[..., Any], ...] = (
    mix, hash_key, order_ipv6, is_key_ipv6, find_slot_ipv6, find_slot, write_key, mention, reserve, reincarnate,
    open_flow, read_segment, take_copy, see_segment_of, run, rehash,
)  # fmt: skip
