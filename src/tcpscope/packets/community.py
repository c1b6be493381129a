"""Community ID: one short name for a connection that all tools compute alike (version 1, RFC-less, Corelight)."""

from __future__ import annotations

_TCP = 6


def community_id(low: bytes, high: bytes, low_port: int, high_port: int, seed: int = 0) -> str:
    """Return ``1:...`` for packed addresses and ports; the order of the ends does not matter."""
    import hashlib
    from base64 import b64encode
    from struct import pack

    if (high, high_port) < (low, low_port):
        low, high, low_port, high_port = high, low, high_port, low_port
    data = pack("!H", seed) + low + high + pack("!BBHH", _TCP, 0, low_port, high_port)
    return "1:" + b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()
