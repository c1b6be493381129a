"""The interfaces of a network namespace and their addresses, by rtnetlink (``include/uapi/linux/rtnetlink.h``).

Only reads; the laboratory's own :mod:`tcpscope.kernel.rtnetlink` is what makes interfaces.
"""

from __future__ import annotations

from _socket import inet_ntop
from struct import Struct
from sys import byteorder as _BYTE_ORDER  # noqa: N812  # a constant

from tcpscope.kernel.netlink import (
    NLM_F_DUMP,
    NLM_F_REQUEST,
    dump,
    iter_messages,
    open_netlink,
    pack_message,
    parse_attributes,
)
from tcpscope.model.snapshot import Interface

_NETLINK_ROUTE = 0
_RTM_NEWLINK, _RTM_GETLINK, _RTM_NEWADDR, _RTM_GETADDR = 16, 18, 20, 22
_IFLA_IFNAME, _IFLA_MTU, _IFA_ADDRESS, _IFA_LOCAL = 3, 4, 1, 2
_IFF_UP = 1
_ADDRESS_BYTES = {2: 4, 10: 16}

_LINK = Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ADDRESS = Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index


def read_interfaces() -> tuple[Interface, ...]:
    """Read the interfaces of the calling thread's namespace in the kernel's order; none when netlink is refused."""
    try:
        channel = open_netlink(_NETLINK_ROUTE)
    except OSError:
        return ()
    try:
        links = dump(channel, pack_message(_RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, bytes(_LINK.size)))
        addresses = dump(channel, pack_message(_RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, bytes(_ADDRESS.size)))
    except OSError:
        return ()
    finally:
        channel.close()
    return parse_interfaces(links, addresses)


def parse_interfaces(links: list[bytes], addresses: list[bytes]) -> tuple[Interface, ...]:
    """Parse the two dumps; a message that is cut is left out."""
    held = _addresses_by_index(addresses)
    found = []
    for kind, datagram, start, end in iter_messages(links):
        if kind != _RTM_NEWLINK or start + _LINK.size > end:
            continue
        _family, _type, index, flags, _change = _LINK.unpack_from(datagram, start)
        known = parse_attributes(datagram, start + _LINK.size, end)
        name = known.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode("utf-8", "backslashreplace")
        mtu = int.from_bytes(known.get(_IFLA_MTU, b"")[:4], _BYTE_ORDER)
        found.append(Interface(name, index, bool(flags & _IFF_UP), mtu, tuple(held.get(index, ()))))
    return tuple(found)


def _addresses_by_index(datagrams: list[bytes]) -> dict[int, list[str]]:
    held: dict[int, list[str]] = {}
    for kind, datagram, start, end in iter_messages(datagrams):
        if kind != _RTM_NEWADDR or start + _ADDRESS.size > end:
            continue
        family, prefix, _flags, _scope, index = _ADDRESS.unpack_from(datagram, start)
        known = parse_attributes(datagram, start + _ADDRESS.size, end)
        # Why local first: on a point-to-point interface IFA_ADDRESS is the other end.
        address = known.get(_IFA_LOCAL) or known.get(_IFA_ADDRESS, b"")
        if len(address) == _ADDRESS_BYTES.get(family, -1):
            held.setdefault(index, []).append(f"{inet_ntop(family, address)}/{prefix}")
    return held
