"""IP addresses: bytes to text (RFC 5952) and back, without :mod:`socket`."""

from __future__ import annotations

_MAPPED = b"\0" * 10 + b"\xff\xff"


def format_address(raw: bytes | bytearray | memoryview) -> str:
    """Spell 4 or 16 octets. Raises ``ValueError`` for any other number."""
    if len(raw) == 4:
        return f"{raw[0]}.{raw[1]}.{raw[2]}.{raw[3]}"
    if len(raw) != 16:
        raise ValueError(f"an address has 4 or 16 octets, not {len(raw)}")
    octets = bytes(raw)
    if octets.startswith(_MAPPED):
        return "::ffff:" + format_address(octets[12:])
    from ipaddress import IPv6Address

    return str(IPv6Address(octets))


def parse_address(text: str) -> bytes:
    """Read an IPv4 or IPv6 address; a scope (``%eth0``) is dropped. Raises ``ValueError``."""
    from ipaddress import ip_address

    return ip_address(text.partition("%")[0]).packed
