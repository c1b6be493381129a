"""Links, addresses and routes of a network namespace, through rtnetlink (``man 7 rtnetlink``).

Only what a laboratory needs: veth pairs, addresses, a default route, up. Messages are ``struct nlmsghdr`` and
attributes as in ``include/uapi/linux/rtnetlink.h`` and ``if_link.h``.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct

from tcpscope.model.errors import NotPermitted, TcpscopeError

_NETLINK_ROUTE = 0
_NLMSG_ERROR = 2
_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWROUTE = 16, 20, 24
_REQUEST, _ACK, _CREATE, _EXCL = 0x01, 0x04, 0x400, 0x200
_IFF_UP = 1
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_FD, _IFLA_GSO_MAX_SEGS = 3, 18, 28, 40
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_F_NODAD = 1, 2, 0x02
_RTA_OIF, _RTA_GATEWAY = 4, 5
_RT_TABLE_MAIN, _RTPROT_STATIC, _RTN_UNICAST = 254, 4, 1


class RouteSocket:
    """A NETLINK_ROUTE socket of the namespace the calling thread is in; every method waits for the kernel's answer."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
        self._seq = 0

    def __enter__(self) -> RouteSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def add_veth(self, name: str, peer: str, peer_netns_fd: int) -> None:
        """Make a veth pair: ``name`` here, ``peer`` in the namespace of ``peer_netns_fd``."""
        far = _ifinfo(0, 0) + _text(_IFLA_IFNAME, peer) + _attr(_IFLA_NET_NS_FD, struct.pack("=i", peer_netns_fd))
        info = _text(_IFLA_INFO_KIND, "veth") + _attr(_IFLA_INFO_DATA, _attr(_VETH_INFO_PEER, far))
        self._ask(
            _RTM_NEWLINK, _CREATE | _EXCL, _ifinfo(0, 0) + _text(_IFLA_IFNAME, name) + _attr(_IFLA_LINKINFO, info)
        )

    def set_up(self, name: str) -> None:
        """Bring an interface up."""
        self._ask(_RTM_NEWLINK, 0, _ifinfo(_index(name), _IFF_UP))

    def limit_gso(self, name: str, segments: int) -> None:
        """Limit super-packets to ``segments`` segments; 1 makes every packet on the wire one TCP segment."""
        self._ask(_RTM_NEWLINK, 0, _ifinfo(_index(name), 0, 0) + _attr(_IFLA_GSO_MAX_SEGS, struct.pack("=I", segments)))

    def add_address(self, name: str, address: str, prefix: int) -> None:
        """Give an interface an address; IPv6 without duplicate address detection, so that it can be used at once."""
        packed = ipaddress.ip_address(address).packed
        family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
        head = struct.pack("=BBBBI", family, prefix, _IFA_F_NODAD, 0, _index(name))
        self._ask(_RTM_NEWADDR, _CREATE | _EXCL, head + _attr(_IFA_LOCAL, packed) + _attr(_IFA_ADDRESS, packed))

    def add_default_route(self, name: str, gateway: str) -> None:
        """Send everything without a better route to ``gateway``."""
        packed = ipaddress.ip_address(gateway).packed
        family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
        head = struct.pack("=BBBBBBBBI", family, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, 0, _RTN_UNICAST, 0)
        oif = _attr(_RTA_OIF, struct.pack("=I", _index(name)))
        self._ask(_RTM_NEWROUTE, _CREATE | _EXCL, head + _attr(_RTA_GATEWAY, packed) + oif)

    def _ask(self, kind: int, flags: int, payload: bytes) -> None:
        self._seq += 1
        head = struct.pack("=IHHII", 16 + len(payload), kind, flags | _REQUEST | _ACK, self._seq, 0)
        self._socket.send(head + payload)
        answer = self._socket.recv(65536)
        _, answered, _, seq, _ = struct.unpack_from("=IHHII", answer)
        code = -struct.unpack_from("=i", answer, 16)[0] if answered == _NLMSG_ERROR and seq == self._seq else 0
        if code == 1:
            raise NotPermitted("changing network devices needs CAP_NET_ADMIN: run as root (sudo)")
        if code:
            raise TcpscopeError(f"rtnetlink request {kind} failed: {os.strerror(code)}")


def _index(name: str) -> int:
    return socket.if_nametoindex(name)


def _ifinfo(index: int, flags: int, change: int = _IFF_UP) -> bytes:
    """``struct ifinfomsg``: family, pad, type, index, flags, mask of flags to change."""
    return struct.pack("=BBHiII", 0, 0, 0, index, flags, change)


def _attr(kind: int, payload: bytes) -> bytes:
    size = 4 + len(payload)
    return struct.pack("=HH", size, kind) + payload + b"\0" * (-size % 4)


def _text(kind: int, text: str) -> bytes:
    return _attr(kind, text.encode() + b"\0")
