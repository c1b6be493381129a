"""Copies: one packet captured twice or more, by a mirror port or at several interfaces. No retransmissions.

A copy says the same as a frame shortly before it, from the addresses to the last TCP option, and was not sent again:

* its IPv4 identification is the same and says something: whoever sends again takes a new one, but 0 stands for none
  (RFC 6864 §4.1) and 1 in all that scapy writes; or
* it passed another place: the hop limit, the link header or the interface differ from those of the frame before, and
  at its own place no such frame has passed yet; or
* it has no identification (IPv6, or DF and 0), passed the same place, and comes sooner than anything is sent again:
  no timer is that short, and the peer has said nothing in between that could have been the reason; or
* as that, in a connection of which at least every second segment passes its place twice. Why: without identification
  an ACK or a reset may well be sent twice in a millisecond, so nothing less will do for them.

The frames before are looked for among the last :data:`MOST_FRAMES` of the capture, and only for a segment that brings
nothing new, so the usual segment pays nothing. Written in the subset that CPython and numba both run.
"""

from __future__ import annotations

from array import array

from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets.headers import SEGMENT, read_frame
from tcpscope.packets.layout import (
    ACK,
    ACKED,
    BITS,
    COPIES,
    COPIES_HERE,
    FIN,
    HALF_WORDS,
    HALFWAY,
    HAS_ACKED,
    HAS_ISN,
    HAS_NXT,
    ISN,
    L_RESET,
    LAST_NS,
    LETTERS_SHIFT,
    NXT,
    PACKETS,
    RST,
    SEG_ACK,
    SEG_FLAGS,
    SEG_NS,
    SEG_SEQ,
    SEG_TEXT,
    SELF,
    SENT_SYN,
    SHARED,
    SYN,
    M,
)
from tcpscope.packets.moves import apart
from tcpscope.wire.view import be16

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence, Sequence
    from typing import Any

    from tcpscope.capture import Chunk

    Ints = MutableSequence[int]
    Column = Sequence[int]
    Octets = bytes | bytearray | memoryview

#: How far to look back, in frames. For comparison: editcap -d looks at 5.
MOST_FRAMES = 32
#: So much later a copy may come that shows its being one ...
MARKED_NS = 100_000_000
#: ... and one that does not. Why: retransmission timers do not run for less than two milliseconds.
UNMARKED_NS = 1_000_000
#: Octets of a frame that are remembered beyond its chunk; headers that reach further are not compared.
FRAME_BYTES = 192
#: What is remembered with them: captured and original length, time, link type, interface.
FRAME_FACTS = 5
#: What :func:`find_original` found; from :data:`SOONER` on it is how much sooner an unmarked one came, added to that.
NO_ORIGINAL, ELSEWHERE, NUMBERED, SOONER = -1, 0, 1, 2


class Recent:
    """The last frames before a chunk: ``octets`` of each, and ``facts``, of which the first counts the frames."""

    def __init__(self) -> None:
        self.octets = bytearray(MOST_FRAMES * FRAME_BYTES)
        self.facts = array("q", bytes(8 * (1 + MOST_FRAMES * FRAME_FACTS)))

    def note(self, data: bytes | bytearray, columns: Sequence[Sequence[int]]) -> None:
        """Remember the last frames of a chunk that has been taken in; for ``columns`` see :func:`last_of`."""
        known, octets, facts = self.facts[0], self.octets, self.facts
        for start, captured, original, t_ns, link, interface in zip(*columns, strict=True):
            slot, size = known % MOST_FRAMES, captured if captured < FRAME_BYTES else FRAME_BYTES
            place, fact = slot * FRAME_BYTES, 1 + slot * FRAME_FACTS
            octets[place : place + size] = data[start : start + size]
            facts[fact] = captured
            facts[fact + 1] = original
            facts[fact + 2] = t_ns
            facts[fact + 3] = link
            facts[fact + 4] = interface
            known += 1
        facts[0] = known


def last_of(chunk: Chunk) -> list[Sequence[int]]:
    """Return offset, captured and original length, time, link type and interface of the last frames of a chunk."""
    columns = (chunk.offset, chunk.captured_len, chunk.original_len, chunk.t_ns, chunk.link_type, chunk.interface)
    return [column[-MOST_FRAMES:] for column in columns]


def is_nothing_new(f: Ints, q: Ints, g: Ints, end: int) -> int:
    """Whether a segment of ``end`` repeats what it has said, so that it may be a copy."""
    if g[SEG_NS] - q[LAST_NS + end] > MARKED_NS:
        return 0
    s = 0 if f[SHARED] & SELF else end * HALF_WORDS
    bits, flags, seq = f[s + BITS], g[SEG_FLAGS], g[SEG_SEQ]
    if flags & RST:
        return bits >> (LETTERS_SHIFT + L_RESET) & 1
    if flags & SYN:
        return 1 if bits & HAS_ISN and bits & SENT_SYN and (f[s + ISN] - seq) & M == 0 else 0
    if not bits & HAS_NXT or 0 < (seq + g[SEG_TEXT] + (flags & FIN) - f[s + NXT]) & M < HALFWAY:
        return 0
    if flags & ACK and (not bits & HAS_ACKED or 0 < (g[SEG_ACK] - f[s + ACKED]) & M < HALFWAY):
        return 0
    return 1


def is_copy(f: Ints, q: Ints, x: Ints, g: Ints, end: int, found: int) -> int:
    """Whether a segment that brings nothing new is one, by what :func:`find_original` found."""
    if ELSEWHERE <= found < SOONER:
        return 1
    sooner_ns = found - SOONER
    if found == NO_ORIGINAL or sooner_ns >= UNMARKED_NS:
        return 0
    if x[COPIES_HERE] * 2 >= f[PACKETS] + f[HALF_WORDS + PACKETS]:
        return 1
    flags = g[SEG_FLAGS]
    if flags & RST or f[SHARED] & SELF or not (g[SEG_TEXT] or flags & (SYN | FIN)):
        return 0
    if flags & SYN:
        return 1
    return 1 if f[HALF_WORDS - end * HALF_WORDS + PACKETS] and q[LAST_NS + 1 - end] <= g[SEG_NS] - sooner_ns else 0


def note_copy(x: Ints, end: int, found: int) -> None:
    """Count a copy."""
    x[COPIES + end] += 1
    if found != ELSEWHERE:
        x[COPIES_HERE] += 1


def find_original(
    octets: Octets, places: Column, lengths: Column, original: Column, clock: Column, links: Column,
    interfaces: Column, at: int, version: int, ip: int, tcp: int, end: int, recent: Octets, facts: Column,
) -> int:  # fmt: skip
    """Look for the frame that frame ``at`` is a copy of."""
    apart()
    start, link, text = places[at], links[at], end - tcp
    after = tcp + (octets[tcp + 12] // 16) * 4
    if after - start > FRAME_BYTES or after - start > lengths[at]:
        return NO_ORIGINAL
    has_number = 1 if version == 4 and be16(octets, ip + 4) > 1 else 0
    tap = tap_of(octets, start, ip, version, link, interfaces[at])
    here = 0
    there = 0
    other = 0
    found = NO_ORIGINAL + 0
    for back in range(1, MOST_FRAMES + 1):
        data = octets
        frame = at - back
        if frame >= 0:
            first, captured, t = places[frame], lengths[frame], clock[frame]
            whole, its_link, interface = original[frame], links[frame], interfaces[frame]
        else:
            frame += facts[0]
            if frame < 0:
                break
            data = recent
            first = frame % MOST_FRAMES * FRAME_BYTES
            fact = 1 + frame % MOST_FRAMES * FRAME_FACTS
            captured, whole, t = facts[fact], facts[fact + 1], facts[fact + 2]
            its_link, interface = facts[fact + 3], facts[fact + 4]
            if captured > FRAME_BYTES:
                captured = FRAME_BYTES + 0
        sooner_ns = clock[at] - t
        if sooner_ns > MARKED_NS or sooner_ns < -MARKED_NS:
            break
        if its_link == link and has_other_seq(data, first, captured, octets, start, tcp, link):
            continue
        its_ip = compare(data, first, captured, whole, its_link, octets, ip, tcp, text, version)
        if its_ip < 0:
            continue
        its_tap = tap_of(data, first, its_ip, version, its_link, interface)
        if has_number:
            return NUMBERED if its_tap == tap else ELSEWHERE
        if its_tap == tap:
            here += 1
            if here == 1:
                found = SOONER + (sooner_ns if sooner_ns > 0 else -sooner_ns)
        elif there == 0 or its_tap == other:
            other = its_tap
            there += 1
    return ELSEWHERE if there > here else found


def has_other_seq(data: Octets, first: int, captured: int, octets: Octets, start: int, tcp: int, link: int) -> int:
    """Whether a frame of the same shape has another sequence number: nearly all end here."""
    if captured < 14:
        return 1
    if link == 1 and (data[first + 12] != octets[start + 12] or data[first + 13] != octets[start + 13]):
        return 0  # of another shape
    seq = tcp - start + 4
    if captured < seq + 4:
        return 1
    return 1 if data[first + seq + 3] != octets[tcp + 7] or data[first + seq + 2] != octets[tcp + 6] else 0


def compare(
    data: Octets, first: int, captured: int, whole: int, link: int, octets: Octets, ip: int, tcp: int, text: int,
    version: int,
) -> int:  # fmt: skip
    """Return where the IP header of a frame is that says the same as the segment at ``tcp``, else -1."""
    what, its_version, its_ip, its_tcp, end = read_frame(data, first, captured, whole, link)
    size = (octets[tcp + 12] // 16) * 4
    if what != SEGMENT or its_version != version or end - its_tcp != text:
        return -1
    if its_tcp + size > first + captured or its_tcp + size > first + FRAME_BYTES:
        return -1
    if not are_equal(data, its_tcp, octets, tcp, size):
        return -1
    if version != 4:
        return its_ip if are_equal(data, its_ip + 8, octets, ip + 8, 32) else -1
    if not are_equal(data, its_ip + 4, octets, ip + 4, 4) or not are_equal(data, its_ip + 12, octets, ip + 12, 8):
        return -1
    return its_ip


def are_equal(one: Octets, at: int, other: Octets, there: int, size: int) -> int:
    """Whether so many octets are the same."""
    for octet in range(size):
        if one[at + octet] != other[there + octet]:
            return 0
    return 1


def tap_of(data: Octets, start: int, ip: int, version: int, link: int, interface: int) -> int:
    """Return a number for the place that a frame passed: hop limit, link header, interface."""
    number = interface * 0x10000 + link * 0x100 + data[ip + (8 if version == 4 else 7)]
    if link != 239:  # Why: the header of nflog holds the time
        for place in range(start, ip):
            number = (number & 0xFFFFFFFFFFFF) * 31 + data[place]
    return number


#: The functions one text is made of, in the order of need; they also need those of the headers.
PARTS: tuple[Callable[..., Any], ...] = (
    is_nothing_new, is_copy, note_copy, has_other_seq, are_equal, compare, tap_of, find_original,
)  # fmt: skip
