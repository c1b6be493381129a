"""The loop of the compiled engine: a chunk's packets, their flows in a hash table, and what is judged by others.

Written in the subset of Python that numba compiles (integers, indexing, calls of each other and of the parts of
:mod:`tcpscope.packets.step` and :mod:`tcpscope.packets.headers`); only :mod:`tcpscope.packets.compiled` runs it.
"""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets.headers import FRAGMENT, be32, read_frame, read_syn_options
from tcpscope.packets.step import (
    ACK,
    EXTRA,
    EXTRAS,
    FIRST_NS,
    FIRST_PACKET,
    HALF_WORDS,
    INCARNATION,
    IS_IPV6,
    LOG_WORDS,
    PENDING_SYN_0,
    PENDING_SYN_1,
    PENDING_SYN_HIGH,
    PENDING_SYN_LOW,
    PENDING_SYN_PACKET,
    PENDING_SYN_SCALE,
    PENDING_SYN_SEQ,
    REOPENED,
    ROWS,
    S_TIME_WAIT,
    SELF,
    SHARED,
    STATE,
    SYN,
    M,
    is_routine,
    needs_extra,
    observe,
    opens_another,
    see_icmp,
    set_opened,
    start_flow,
    track,
)  # fmt: skip
from tcpscope.wire.view import be16

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Array = Any

#: 32-bit words of a key: two addresses of four words each (IPv4 uses the first of each), both ports.
KEY_WORDS = 9
# ``m`` beyond what :mod:`tcpscope.packets.step` counts
FLOWS = 2
MENTIONED = 3  #: the last of the rows of ``troubles`` that hold the key of an unknown flow an ICMP error quoted
MENTIONED_PREVIOUS, MENTIONED_IPV6 = 9, 10  #: words of such a row, after the key
SKIPPED = 4  #: counts by what :func:`tcpscope.packets.headers.read_frame` found
HELD = 11  #: 1: stopped at a fragment, which is not for this loop
COUNTERS = 12
#: Rows that one packet may add to the log, and then some.
ROOM_ROWS = 16


def run(
    data: Array, offset: Array, captured: Array, original: Array, times: Array, link: Array, at: int, first_packet: int,
    flows: Array, quads: Array, keys: Array, troubles: Array, log: Array, slots: Array, m: Array, table: Array,
) -> int:  # fmt: skip
    """Take in the packets of a chunk from ``at`` on; return how far it came before a table was full or a fragment."""
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
            if what == FRAGMENT:
                m[HELD] = 1
                return at
            at += 1
            continue
        see_packet(
            data, what, version, ip, tcp, end, cut, times[at], first_packet + at, flows, quads, keys, troubles, log,
            slots, m, table, mask,
        )  # fmt: skip
        at += 1
    return at


def see_packet(
    data: Array, what: int, version: int, ip: int, tcp: int, packet_end: int, cut: int, t: int, number: int, flows: Array,
    quads: Array, keys: Array, troubles: Array, log: Array, slots: Array, m: Array, table: Array, mask: int,
) -> None:  # fmt: skip
    """Find the flow of one packet and let :mod:`~tcpscope.packets.step` decide."""
    slot, end = find_slot(data, version, ip, tcp, flows, keys, slots, m, mask)
    serial = slots[slot] - 1
    if what != 1:
        if serial >= 0:
            reserve(flows, troubles, m, serial)
            f = flows[serial]
            see_icmp(f, troubles[f[EXTRA]], log, m, table, serial, end, number, t, what - 1)
        else:
            mention(data, version, ip, tcp, end, troubles, m)
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
        serial = open_flow(
            data,
            version,
            ip,
            tcp,
            end,
            number,
            t,
            -1,
            flags,
            ack,
            flows,
            quads,
            keys,
            troubles,
            log,
            slots,
            slot,
            m,
            table,
        )
    else:
        f = flows[serial]
        if is_routine(f, quads[serial], end, t, seq, ack, flags, wnd, text):
            return
        if opens_another(f, quads[serial], troubles[f[EXTRA]], end, t, seq, ack, flags):
            serial = open_flow(
                data,
                version,
                ip,
                tcp,
                end,
                number,
                t,
                serial,
                flags,
                ack,
                flows,
                quads,
                keys,
                troubles,
                log,
                slots,
                slot,
                m,
                table,
            )
    f = flows[serial]
    q = quads[serial]
    if not f[EXTRA] and needs_extra(f, q, end, seq, ack, flags, wnd, text):
        reserve(flows, troubles, m, serial)
    observe(f, q, troubles[f[EXTRA]], log, m, table, serial, end, number, t, seq, ack, flags, wnd, text, wscale, mss)


def find_slot(
    data: Array, version: int, ip: int, tcp: int, flows: Array, keys: Array, slots: Array, m: Array, mask: int
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


def order_ipv6(data: Array, ip: int, sport: int, dport: int) -> int:
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


def mention(data: Array, version: int, ip: int, tcp: int, end: int, troubles: Array, m: Array) -> None:
    """Remember the key of a flow that only an ICMP error knows: another capture may hold it."""
    row = m[EXTRAS]
    m[EXTRAS] += 1
    write_key(data, version, ip, tcp, end, troubles[row])
    troubles[row, MENTIONED_PREVIOUS] = m[MENTIONED]
    troubles[row, MENTIONED_IPV6] = 0 if version == 4 else 1
    m[MENTIONED] = row


def write_key(data: Array, version: int, ip: int, tcp: int, end: int, key: Array) -> None:
    """Write addresses and ports, the lower end first."""
    size = 4 if version == 4 else 16
    source = ip + 12 if version == 4 else ip + 8
    low = source + size if end else source
    high = source if end else source + size
    for word in range(size // 4):
        key[word] = be32(data, low + word * 4)
        key[4 + word] = be32(data, high + word * 4)
    ports = be32(data, tcp)
    key[8] = ports if end == 0 else (ports & 0xFFFF) << 16 | ports >> 16


def reserve(flows: Array, troubles: Array, m: Array, serial: int) -> None:
    """Give a flow its row for trouble."""
    if not flows[serial, EXTRA]:
        flows[serial, EXTRA] = m[EXTRAS]
        m[EXTRAS] += 1


def open_flow(
    data: Array, version: int, ip: int, tcp: int, end: int, number: int, t: int, previous: int, flags: int, ack: int,
    flows: Array, quads: Array, keys: Array, troubles: Array, log: Array, slots: Array, slot: int, m: Array, table: Array,
) -> int:  # fmt: skip
    """Start a connection, perhaps as the next incarnation of ``previous``; return its serial."""
    serial: int = m[FLOWS]
    m[FLOWS] += 1
    slots[slot] = serial + 1
    key = keys[serial]
    write_key(data, version, ip, tcp, end, key)
    is_same = key[8] >> 16 == key[8] & 0xFFFF
    for word in range(4):
        if key[word] != key[4 + word]:
            is_same = False
    incarnation = 0
    if previous >= 0:
        incarnation = flows[previous, INCARNATION] + 1
    shared = (SELF if is_same else 0) | (0 if version == 4 else IS_IPV6)
    start_flow(flows[serial], quads[serial], number, t, shared, incarnation)
    if previous >= 0 and flags & SYN:
        reincarnate(flows, quads, troubles, log, m, table, previous, serial, end, flags, ack)
    return serial


def reincarnate(
    flows: Array, quads: Array, troubles: Array, log: Array, m: Array, table: Array, previous: int, serial: int, end: int,
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


def rehash(flows: Array, keys: Array, slots: Array, count: int) -> None:
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


#: The functions one text is made of, in the order of need.
PARTS: tuple[Callable[..., Any], ...] = (
    mix,
    order_ipv6,
    find_slot,
    write_key,
    mention,
    reserve,
    reincarnate,
    open_flow,
    see_packet,
    run,
    rehash,
)
