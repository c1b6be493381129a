"""Source routes in IPv4 options (RFC 791 §3.1, RFC 1122 §3.2.1.8): where a packet has been and where it is to go.

Loose ones are written; loose and strict ones are read. Other options are skipped (MUST-50). Today most routers drop
packets with either (RFC 7126); TCP still has to know them (RFC 9293 §3.9.2.1).
"""

from __future__ import annotations

from tcpscope.model.record import TYPE_CHECKING
from tcpscope.wire.address import format_address, parse_address

if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

END, NOP, LOOSE, STRICT = 0, 1, 131, 137
_FIRST_POINTER = 4


def parse_source_route(options: Buffer) -> tuple[tuple[str, ...], bool] | None:
    """Return the addresses of a source route and whether it is completed; ``None`` when there is none that is sound."""
    at = 0
    while at < len(options) and options[at] != END:
        if options[at] == NOP:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            return None
        if options[at] in (LOOSE, STRICT):
            return _read_route(bytes(options[at : at + length]))
        at += length
    return None


def _read_route(option: bytes) -> tuple[tuple[str, ...], bool] | None:
    if len(option) < 3 or len(option) % 4 != 3:
        return None
    hops = tuple(format_address(option[at : at + 4]) for at in range(3, len(option), 4))
    return hops, option[2] > len(option)


def return_route(hops: tuple[str, ...]) -> tuple[str, ...]:
    """Return the routers to pass on the way back, nearest first, of a completed route (RFC 9293 MUST-53)."""
    return tuple(reversed(hops))


def emit_source_route(route: tuple[str, ...], destination: str) -> tuple[bytes, bytes]:
    """Return ``(address of the first router, option)`` that lead to ``destination`` by way of ``route``."""
    first, *others = (*route, destination)
    addresses = b"".join(map(parse_address, others))
    option = bytes((LOOSE, 3 + len(addresses), _FIRST_POINTER)) + addresses
    return parse_address(first), option + bytes(-len(option) % 4)
