"""Numbers nobody outside can guess: ISN, timestamp offset and SYN cookies, all from a secret that is handed in.

RFC 6528 (ISN = a clock of 4 microseconds + a keyed hash of the 4-tuple; MUST-8, MUST-9, SHLD-1), RFC 7323 §7.1
(timestamps start elsewhere for each connection), RFC 4987 §3.6 (SYN cookies). Pure: the clock is an argument.
"""

from __future__ import annotations

from hashlib import blake2s

from tcpscope.machine.sequence import MASK
from tcpscope.model.address import Endpoint
from tcpscope.model.record import NamedTuple
from tcpscope.model.segment import Options, Segment

#: Segment sizes a cookie can remember; the peer's is rounded down to one of them.
COOKIE_MSS_BYTES = (216, 536, 1220, 1300, 1360, 1420, 1440, 1460)
COOKIE_SLOT_NS = 64 * 1_000_000_000
_SLOTS_ALIVE = 2


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
    """What a valid cookie tells of the SYN it answered."""

    iss: int
    irs: int
    mss_bytes: int


def cookie_for(secret: bytes, local: Endpoint, remote: Endpoint, segment: Segment, now_ns: int) -> int:
    """Return the ISS that answers a SYN without keeping anything: 5 bits of time, 3 of MSS, 24 of hash."""
    wanted = segment.options.mss or 536
    index = max((at for at, mss in enumerate(COOKIE_MSS_BYTES) if mss <= wanted), default=0)
    return _cookie(secret, local, remote, segment.seq, now_ns // COOKIE_SLOT_NS, index)


def check_cookie(secret: bytes, local: Endpoint, remote: Endpoint, segment: Segment, now_ns: int) -> Cookie | None:
    """Return what the cookie acknowledged by ``segment`` says, or ``None`` when it is none of ours or too old."""
    iss, irs = (segment.ack - 1) & MASK, (segment.seq - 1) & MASK
    index = iss >> 24 & 7
    now_slot = now_ns // COOKIE_SLOT_NS
    for slot in range(now_slot, now_slot - _SLOTS_ALIVE, -1):
        if _cookie(secret, local, remote, irs, slot, index) == iss:
            return Cookie(iss, irs, COOKIE_MSS_BYTES[index])
    return None


def syn_of(cookie: Cookie) -> Segment:
    """Return the SYN again, as far as the cookie remembers it: window scale, SACK and timestamps are lost."""
    return Segment(cookie.irs, 0, 0x02, 65535, b"", Options(mss=cookie.mss_bytes))


def _cookie(secret: bytes, local: Endpoint, remote: Endpoint, irs: int, slot: int, index: int) -> int:
    mark = keyed_hash(secret, b"cookie", local, remote, irs << 40 | slot << 3 | index)
    return (slot & 31) << 27 | index << 24 | mark & 0xFFFFFF
