"""``SOCK_DESTROY``: make the kernel abort one socket, and hear of every one that is destroyed.

The request names the socket by addresses, interface *and cookie*: a socket that took over the same addresses since the
listing has another cookie and is not hit. Needs CAP_NET_ADMIN and ``CONFIG_INET_DIAG_DESTROY``.

Linux: the program gets ECONNABORTED from its next call, the peer a reset. A time-wait or request socket just goes.
"""

from __future__ import annotations

import errno

from tcpscope.kernel import sock_diag
from tcpscope.kernel.netlink import HEADER, NETLINK_SOCK_DIAG, open_netlink
from tcpscope.model.errors import NotPermitted, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from tcpscope.model.address import Endpoint
    from tcpscope.model.row import Row
    from tcpscope.model.socket import Socket

CLOSED, GONE = "closed", "gone"
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_TCP_DESTROY_GROUP = 1  # SKNLGRP_INET_TCP_DESTROY
_SO_RCVBUF, _SO_RCVBUFFORCE, _SOL_SOCKET = 8, 33, 1
_ANNOUNCEMENT_BYTES = 1 << 15


def open_destroyer() -> _socket.socket:
    """Open the channel for :func:`destroy_socket`. Raises ``Unsupported`` or ``NotPermitted`` where there is none."""
    try:
        return open_netlink()
    except PermissionError as error:
        raise NotPermitted(
            f"closing sockets needs netlink sock_diag, which is refused here ({error.strerror})"
        ) from error
    except OSError as error:
        raise Unsupported(f"closing sockets needs netlink sock_diag, which is not there ({error.strerror})") from error


def destroy_socket(channel: _socket.socket, victim: Socket) -> str:
    """Destroy exactly ``victim``; return :data:`CLOSED`, or :data:`GONE` when it is not there any more.

    Raises :class:`NotPermitted` without CAP_NET_ADMIN, :class:`Unsupported` on a kernel that cannot, ``OSError`` else.
    """
    channel.send(destroy_request(victim))
    answer = channel.recv(1 << 13)
    number = -int.from_bytes(answer[16:20], "little" if _is_little() else "big", signed=True)
    if number == 0:
        return CLOSED
    if number in (errno.ENOENT, errno.ESTALE):
        return GONE
    if number in (errno.EPERM, errno.EACCES):
        raise NotPermitted("closing sockets of others needs CAP_NET_ADMIN: run as root (sudo)")
    if number in (errno.EOPNOTSUPP, errno.EINVAL):
        raise Unsupported("this kernel cannot destroy sockets (CONFIG_INET_DIAG_DESTROY)")
    from os import strerror

    raise OSError(number, f"SOCK_DESTROY: {strerror(number)}")


def destroy_request(victim: Socket) -> bytes:
    """Build the request. A victim without a cookie is refused: it could be another by now."""
    if not victim.cookie:
        raise Unsupported("a socket without a cookie cannot be named safely: netlink sock_diag has to list it")
    family = sock_diag.AF_INET6 if victim.local.is_ipv6 else sock_diag.AF_INET
    ends = victim.local.port, victim.remote.port, _packed(victim.local, family), _packed(victim.remote, family)
    row = (sock_diag.IPPROTO_TCP, family, 0, 0, 0, *ends, victim.interface, victim.cookie, 0, 0, 0, 0, 0, b"")
    return sock_diag.lookup_request(row, 0, sock_diag.SOCK_DESTROY)


def open_announcements(buffer_bytes: int = 1 << 24) -> _socket.socket:
    """Subscribe to the destroyed TCP sockets of this namespace; needs no privilege. Raises ``OSError`` when refused."""
    channel = open_netlink(NETLINK_SOCK_DIAG)
    try:
        channel.bind((0, 0))
        channel.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _TCP_DESTROY_GROUP)
        try:
            channel.setsockopt(_SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
        except PermissionError:
            channel.setsockopt(_SOL_SOCKET, _SO_RCVBUF, buffer_bytes)
    except OSError:
        channel.close()
        raise
    return channel


def read_announcements(channel: _socket.socket) -> tuple[list[Row], bool]:
    """Read all announcements that wait, without waiting; also whether some were lost for lack of room."""
    datagrams: list[bytes] = []
    lost = False
    channel.setblocking(False)
    while True:
        try:
            datagrams.append(channel.recv(_ANNOUNCEMENT_BYTES))
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            lost = True
    return sock_diag.parse_rows(datagrams, sock_diag.IPPROTO_TCP), lost


def _packed(end: Endpoint, family: int) -> bytes:
    from _socket import inet_pton

    return inet_pton(family, end.address.partition("%")[0]).ljust(16, b"\0")


def _is_little() -> bool:
    return HEADER.pack(1, 0, 0, 0, 0)[0] == 1
