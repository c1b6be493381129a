"""ICMP and ICMPv6 errors about a TCP segment: what they say and which connection they mean (RFC 792, 4443).

An error carries the IP header and at least the first eight octets of the segment it is about: ports and sequence
number. Messages that are no error, or not about TCP, are ``None`` here.
"""

from __future__ import annotations

from struct import Struct

from tcpscope.model.address import Endpoint
from tcpscope.model.record import TYPE_CHECKING, NamedTuple
from tcpscope.wire import link, view
from tcpscope.wire.address import format_address

if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

_LEAST_TCP_BYTES = 8
_PORTS_AND_SEQ = Struct(">HHI")
_PACKET_TOO_BIG = (6, 2)
_FRAGMENTATION_NEEDED = (4, 3, 4)
_IPV4_MEANINGS = {
    3: (
        "network unreachable", "host unreachable", "protocol unreachable", "port unreachable",
        "fragmentation needed", "source route failed", "network unknown", "host unknown", "host isolated",
        "network administratively prohibited", "host administratively prohibited",
        "network unreachable for this service", "host unreachable for this service", "administratively prohibited",
        "host precedence violation", "precedence cut off",
    ),
    11: ("time to live exceeded", "fragment reassembly time exceeded"),
    12: ("parameter problem", "a required option is missing", "bad length"),
}  # fmt: skip
_IPV6_MEANINGS = {
    1: (
        "no route", "administratively prohibited", "beyond scope of source address", "address unreachable",
        "port unreachable", "source address failed policy", "route rejected",
    ),
    2: ("packet too big",),
    3: ("hop limit exceeded", "fragment reassembly time exceeded"),
    4: ("erroneous header field", "unknown next header", "unknown IPv6 option"),
}  # fmt: skip


class IcmpError(NamedTuple):
    """One error about one segment. ``source`` and ``destination`` are those of the segment it is about."""

    version: int
    type: int
    code: int
    source: Endpoint
    destination: Endpoint
    seq: int
    mtu: int = 0  #: of the next hop, when the error names one

    @property
    def meaning(self) -> str:
        """What it says, in words."""
        known = (_IPV4_MEANINGS if self.version == 4 else _IPV6_MEANINGS).get(self.type, ())
        return known[self.code] if self.code < len(known) else f"ICMP type {self.type} code {self.code}"


def parse_icmp(data: Buffer, version: int) -> IcmpError | None:
    """Read an ICMP (``version`` 4) or ICMPv6 (6) message; ``None`` unless it is an error about a TCP segment."""
    octets = memoryview(data)
    known = _IPV4_MEANINGS if version == 4 else _IPV6_MEANINGS
    if len(octets) < 8 or octets[0] not in known:
        return None
    kind, code = octets[0], octets[1]
    inner = octets[8:]
    place = view.View(*view.locate(inner, 0, len(inner), len(inner), link.RAW))
    start = place.transport
    if place.protocol != 6 or place.kind not in (view.TCP, view.CUT) or start + _LEAST_TCP_BYTES > len(inner):
        return None
    width, first = (4, place.ip + 12) if place.version == 4 else (16, place.ip + 8)
    source_port, destination_port, seq = _PORTS_AND_SEQ.unpack_from(inner, start)
    return IcmpError(
        version,
        kind,
        code,
        Endpoint(format_address(inner[first : first + width]), source_port),
        Endpoint(format_address(inner[first + width : first + 2 * width]), destination_port),
        seq,
        _mtu(octets, version, kind, code),
    )


def _mtu(octets: memoryview, version: int, kind: int, code: int) -> int:
    if (version, kind, code) == _FRAGMENTATION_NEEDED:
        return view.be16(octets, 6)
    if (version, kind) == _PACKET_TOO_BIG:
        return int.from_bytes(octets[4:8], "big")
    return 0
