"""Names for numbers, for those who ask (``-r``): hosts by the resolver, ports and users by the system's tables."""

from __future__ import annotations

import socket
from functools import cache, lru_cache


@lru_cache(maxsize=10_000)
def host_name(address: str) -> str:
    """Return the name of an address, or the address; one lookup per address."""
    try:
        return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
    except OSError:
        return address


@cache
def port_name(port: int, proto: str) -> str:
    """Return the name of a port (``/etc/services``), or its number."""
    try:
        return socket.getservbyport(port, proto)
    except OSError:
        return str(port)


@cache
def user_name(uid: int) -> str:
    """Return the name of a user, or the number."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
