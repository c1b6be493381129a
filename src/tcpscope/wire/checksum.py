"""The Internet checksum (RFC 1071), for IPv4 headers, TCP and ICMP (RFC 9293 §3.1, RFC 8200 §8.1).

Why ``% 65535``: 2**16 is 1 modulo 65535, so a whole packet read as one big number leaves the same remainder as the
sum of its 16-bit words; one division in C instead of a loop.
"""

from __future__ import annotations

import sys
from struct import Struct

from tcpscope.model.record import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    Buffer = bytes | bytearray | memoryview

_NUMPY_BYTES = 2048  # below, the division is faster than two calls into numpy
_PSEUDO_6 = Struct(">I3xB")
_PSEUDO_4 = Struct(">xBH")


def remainder(data: Buffer) -> int:
    """Return the one's complement sum of ``data`` (an odd last octet is padded with zero) as 0 to 65535."""
    size = len(data)
    if size >= _NUMPY_BYTES and "numpy" in sys.modules:
        return _remainder_numpy(sys.modules["numpy"], data)
    total = int.from_bytes(data, "big") << (size % 2 * 8)
    return total % 65535 or (65535 if total else 0)


def _remainder_numpy(numpy: ModuleType, data: Buffer) -> int:
    even = len(data) & ~1
    total = int(numpy.frombuffer(data, dtype=">u2", count=even // 2).sum(dtype=numpy.uint64))
    total += data[-1] << 8 if len(data) != even else 0
    return total % 65535 or (65535 if total else 0)


def add(left: int, right: int) -> int:
    """Add two sums in one's complement."""
    total = left + right
    return total % 65535 or (65535 if total else 0)


def checksum(*parts: Buffer) -> int:
    """Return the checksum of ``parts`` one after another; every part but the last has an even length."""
    total = 0
    for part in parts:
        total = add(total, remainder(part))
    return 65535 - total


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """Build the pseudo-header of IPv4 (RFC 9293 §3.1) or IPv6 (RFC 8200 §8.1), by the length of the addresses."""
    tail = _PSEUDO_4.pack(protocol, length & 0xFFFF) if len(source) == 4 else _PSEUDO_6.pack(length, protocol)
    return source + destination + tail


def transport_checksum(source: bytes, destination: bytes, protocol: int, parts: Sequence[Buffer]) -> int:
    """Return the checksum of a TCP segment or ICMPv6 message whose own field is zero."""
    length = sum(map(len, parts))
    return checksum(pseudo_header(source, destination, protocol, length), *parts)


def is_good(source: bytes, destination: bytes, protocol: int, data: Buffer) -> bool:
    """Whether a whole segment, its checksum included, adds up."""
    return add(remainder(pseudo_header(source, destination, protocol, len(data))), remainder(data)) == 65535
