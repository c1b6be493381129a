"""Numbers nobody outside can guess: ISN, timestamp offset and SYN cookies, all from a secret that is handed in.

RFC 6528 (ISN = a clock of 4 microseconds + a keyed hash of the 4-tuple; MUST-8, MUST-9, SHLD-1), RFC 7323 §7.1
(timestamps start elsewhere for each connection), RFC 4987 §3.6 (SYN cookies). Pure: the clock is an argument.

A cookie is all that is kept of a SYN. Its 32 bits have room for the segment size alone; where the peer uses
timestamps, what both SYNs agreed on besides (window scale, SACK, ECN) travels in the lowest six bits of TSval and
comes back as TSecr, as with Linux: the stamp then is up to 64 ms older than the clock, never newer.
"""

from __future__ import annotations

from hashlib import blake2s

from tcpscope.machine.sequence import MASK
from tcpscope.model.address import Endpoint
from tcpscope.model.record import NamedTuple
from tcpscope.model.segment import CWR, ECE, SYN, Options, Segment

#: Segment sizes a cookie can remember; the peer's is rounded down to one of them.
COOKIE_MSS_BYTES = (216, 536, 1220, 1300, 1360, 1420, 1440, 1460)
COOKIE_SLOT_NS = 64 * 1_000_000_000
_SLOTS_ALIVE = 2
_STAMP_BITS = 63  #: of TSval: four of window scale, one of SACK, one of ECN
_NO_SCALE = 15


def keyed_hash(secret: bytes, purpose: bytes, local: Endpoint, remote: Endpoint, extra: int = 0) -> int:
    """Return 64 bits that only the holder of ``secret`` (up to 32 octets) can work out."""
    text = f"{local.address}|{local.port}|{remote.address}|{remote.port}|{extra}".encode()
    return int.from_bytes(blake2s(text, key=secret, person=purpose, digest_size=8).digest(), "big")


def initial_sequence_number(secret: bytes, local: Endpoint, remote: Endpoint, now_ns: int) -> int:
    """Return the ISN of a connection opened now (RFC 6528 §3)."""
    return (now_ns // 4000 + keyed_hash(secret, b"isn", local, remote)) & MASK


def timestamp_offset(secret: bytes, local: Endpoint, remote: Endpoint) -> int:
    """Return where the timestamps of this pair of endpoints start, in milliseconds."""
    return keyed_hash(secret, b"stamp", local, remote) & MASK


class Cookie(NamedTuple):
    """What a valid cookie tells of the SYN it answered: the SYN as far as it is remembered, and when (0: unknown)."""

    iss: int
    syn: Segment
    sent_ns: int = 0


def remember(segment: Segment, *, timestamps: bool) -> Segment:
    """Return what a cookie can remember of a SYN: without timestamps the segment size alone."""
    options = segment.options
    mss = COOKIE_MSS_BYTES[_mss_index(segment)]
    if options.timestamp is None or not timestamps:
        return Segment(segment.seq, 0, SYN, 65535, b"", Options(mss=mss))
    kept = Options(mss, options.window_scale, options.sack_permitted, (), options.timestamp)
    return Segment(segment.seq, 0, SYN | segment.flags & (ECE | CWR), 65535, b"", kept)


def cookie_for(secret: bytes, local: Endpoint, remote: Endpoint, segment: Segment, now_ns: int) -> int:
    """Return the ISS that answers a SYN without keeping anything: 5 bits of time, 3 of MSS, 24 of hash."""
    return _cookie(secret, local, remote, segment.seq, now_ns // COOKIE_SLOT_NS, _mss_index(segment))


def cookie_stamp(now_ms: int, syn: Segment) -> int:
    """Return a TSval (before the connection's offset) that carries what the cookie has no room for."""
    options = syn.options
    scale = _NO_SCALE if options.window_scale is None else options.window_scale
    bits = scale | options.sack_permitted << 4 | (syn.flags & (ECE | CWR) == ECE | CWR) << 5
    stamp = now_ms & ~_STAMP_BITS | bits
    return stamp if stamp <= now_ms else stamp - _STAMP_BITS - 1


def check_cookie(secret: bytes, local: Endpoint, remote: Endpoint, segment: Segment, now_ns: int) -> Cookie | None:
    """Return what the cookie acknowledged by ``segment`` says, or ``None`` when it is none of ours or too old."""
    iss, irs = (segment.ack - 1) & MASK, (segment.seq - 1) & MASK
    index = iss >> 24 & 7
    now_slot = now_ns // COOKIE_SLOT_NS
    for slot in range(now_slot, now_slot - _SLOTS_ALIVE, -1):
        if _cookie(secret, local, remote, irs, slot, index) == iss:
            syn = Segment(irs, 0, SYN, 65535, b"", Options(mss=COOKIE_MSS_BYTES[index]))
            if segment.options.timestamp is None:
                return Cookie(iss, syn)
            return _read_stamp(
                Cookie(iss, syn), segment.options.timestamp, _echoed(secret, local, remote, segment), now_ns
            )
    return None


def _echoed(secret: bytes, local: Endpoint, remote: Endpoint, segment: Segment) -> int:
    """Return the echoed TSval on the clock itself, without the connection's offset."""
    stamp = segment.options.timestamp
    return (stamp[1] - timestamp_offset(secret, local, remote)) & MASK if stamp is not None else 0


def _read_stamp(cookie: Cookie, stamp: tuple[int, int], echoed_ms: int, now_ns: int) -> Cookie | None:
    """Add what the echoed timestamp carries; a stamp older than a cookie may be, or of the future, is no stamp."""
    age_ns = ((now_ns // 1_000_000 - echoed_ms) & MASK) * 1_000_000
    if age_ns > _SLOTS_ALIVE * COOKIE_SLOT_NS:
        return None
    scale = echoed_ms & _NO_SCALE
    options = Options(
        cookie.syn.options.mss, None if scale == _NO_SCALE else scale, bool(echoed_ms & 16), (), (stamp[0], 0)
    )
    flags = SYN | (ECE | CWR if echoed_ms & 32 else 0)
    return Cookie(cookie.iss, cookie.syn._replace(flags=flags, options=options), now_ns - age_ns)


def _mss_index(segment: Segment) -> int:
    wanted = segment.options.mss or COOKIE_MSS_BYTES[1]
    return max((at for at, mss in enumerate(COOKIE_MSS_BYTES) if mss <= wanted), default=0)


def _cookie(secret: bytes, local: Endpoint, remote: Endpoint, irs: int, slot: int, index: int) -> int:
    mark = keyed_hash(secret, b"cookie", local, remote, irs << 40 | slot << 3 | index)
    return (slot & 31) << 27 | index << 24 | mark & 0xFFFFFF
