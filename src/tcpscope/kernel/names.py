"""Names of this system for the filter language: services, hosts, devices, users, network namespaces.

Uses ``_socket``, not ``socket``. Why: a filter stands on the path of ``tcpscope list``, and :mod:`socket` costs as
much as a bare interpreter start.
"""

from __future__ import annotations

import _socket
import os

from tcpscope.filters.parse import Names
from tcpscope.kernel.namespaces import resolve_path


def read_names() -> Names:
    """Return look-ups in this system's own tables (``/etc/services``, resolver, interfaces, users, ``/run/netns``)."""
    return Names(_port, _addresses, _device, _user, _netns, _ephemeral_ports())


def _port(name: str) -> int | None:
    for proto in ("tcp", "udp"):
        try:
            return _socket.getservbyname(name, proto)
        except (OSError, UnicodeError):
            continue
    return None


def _addresses(name: str) -> list[str]:
    try:
        found = _socket.getaddrinfo(name, None, 0, _socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(address[0]) for *_, address in found]


def _device(name: str) -> int | None:
    try:
        return _socket.if_nametoindex(name)
    except (OSError, ValueError, UnicodeError):
        return None


def _user(name: str) -> int | None:
    import pwd

    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None


def _netns(name: str) -> int | None:
    """A name, a path or ``pid:N``, as for ``--netns``."""
    try:
        return os.stat(resolve_path(name)).st_ino
    except (OSError, ValueError):
        return None


def _ephemeral_ports() -> tuple[int, int]:
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            first, last = file.read().split()
        return int(first), int(last)
    except (OSError, ValueError):
        return 32768, 60999
