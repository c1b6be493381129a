"""Netlink dumps: one request out, datagrams of messages back.

Rules of the file: bytes only, no meaning; nothing a kernel (or a test in its place) sends may raise anything but
``OSError`` or be walked past its end. Damage is counted, whole messages before it are kept.

Why ``_socket`` and not :mod:`socket`: the latter builds enums of every constant, which costs as much as starting the
interpreter; this module is on the path of ``tcpscope list``. Constants are spelled out for the same reason.
"""

from __future__ import annotations

import _socket
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

AF_NETLINK = 16
SOCK_DGRAM_CLOEXEC = 2 | 0o2000000
NETLINK_SOCK_DIAG = 4
SOL_SOCKET, SO_RCVBUF = 1, 8

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3

#: ``struct nlmsghdr``: length, type, flags, sequence, port.
HEADER = Struct("=IHHII")
HEADER_BYTES = 16

#: Linux: a dump fills datagrams of at most 32 KiB, whatever buffer is offered (``netlink_recvmsg``).
_BUFFER_BYTES = 1 << 16
_TIMEOUT_S = 10.0
_SEQUENCE = 0x7C95C09E  # any value that is no plausible length, port or address


def open_netlink(protocol: int = NETLINK_SOCK_DIAG) -> _socket.socket:
    """Open a netlink socket in the namespace of the calling thread."""
    channel = _socket.socket(AF_NETLINK, SOCK_DGRAM_CLOEXEC, protocol)
    channel.settimeout(_TIMEOUT_S)
    return channel


def pack_message(kind: int, flags: int, payload: bytes, sequence: int = _SEQUENCE) -> bytes:
    """Put a header before ``payload``."""
    return HEADER.pack(HEADER_BYTES + len(payload), kind, flags, sequence, 0) + payload


def dump(channel: _socket.socket, message: bytes) -> list[bytes]:
    """Send a dump request and receive all its datagrams, the end mark cut off.

    Raises ``OSError`` with the kernel's errno when it refuses, ``TimeoutError`` when the end never comes.
    """
    channel.send(message)
    datagrams: list[bytes] = []
    while True:
        datagram = channel.recv(_BUFFER_BYTES)
        refused = _error_number(datagram)
        if refused:
            raise _os_error(refused)
        end = _end_of_dump(datagram)
        if end is None:
            datagrams.append(datagram)
            continue
        if end:
            datagrams.append(datagram[:end])
        return datagrams


def iter_messages(datagrams: Iterable[bytes]) -> Iterator[tuple[int, bytes, int, int]]:
    """Iterate ``(type, datagram, start of payload, end of payload)``; a message that does not fit ends its datagram."""
    unpack = HEADER.unpack_from
    for datagram in datagrams:
        offset, size = 0, len(datagram)
        while offset + HEADER_BYTES <= size:
            length, kind, _flags, _sequence, _port = unpack(datagram, offset)
            end = offset + length
            if length < HEADER_BYTES or end > size:
                break
            yield kind, datagram, offset + HEADER_BYTES, end
            offset = (end + 3) & ~3


def count_damaged(datagrams: Iterable[bytes]) -> int:
    """Count the datagrams that do not end where their last message ends."""
    damaged = 0
    for datagram in datagrams:
        end = 0
        for _kind, _datagram, _start, last in iter_messages((datagram,)):
            end = last
        damaged += (end + 3) & ~3 != (len(datagram) + 3) & ~3
    return damaged


def parse_attributes(data: bytes, offset: int, end: int) -> dict[int, bytes]:
    """Parse ``struct rtattr`` (length u16, type u16, value, padding to 4); the part that does not fit is dropped."""
    attributes: dict[int, bytes] = {}
    while offset + 4 <= end:
        length = data[offset] | data[offset + 1] << 8 if _LITTLE else data[offset] << 8 | data[offset + 1]
        kind = data[offset + 2] | data[offset + 3] << 8 if _LITTLE else data[offset + 2] << 8 | data[offset + 3]
        if length < 4 or offset + length > end:
            break
        attributes[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return attributes


_LITTLE = HEADER.pack(1, 0, 0, 0, 0)[0] == 1


def _error_number(datagram: bytes) -> int:
    """Return the errno when the datagram is a refusal, else 0 (an error message of 0 is an acknowledgement)."""
    if len(datagram) < HEADER_BYTES + 4:
        return 0
    _length, kind, _flags, _sequence, _port = HEADER.unpack_from(datagram)
    if kind != NLMSG_ERROR:
        return 0
    return -int.from_bytes(datagram[16:20], "little" if _LITTLE else "big", signed=True)


def _end_of_dump(datagram: bytes) -> int | None:
    """Return where the end mark starts: after the last message of a datagram, or alone in one. ``None``: not here.

    An acknowledgement counts as the end of a dump that gave nothing. The status after the mark is an errno.
    """
    if not datagram:
        return 0
    kind = HEADER.unpack_from(datagram)[1] if len(datagram) >= HEADER_BYTES else 0
    if kind in (NLMSG_DONE, NLMSG_ERROR):
        _raise_status(datagram, 0)
        return 0
    tail = len(datagram) - HEADER_BYTES - 4
    if tail < 0:
        return None
    length, kind, _flags, sequence, _port = HEADER.unpack_from(datagram, tail)
    if kind != NLMSG_DONE or length != HEADER_BYTES + 4 or sequence != _SEQUENCE:
        return None
    _raise_status(datagram, tail)
    return tail


def _raise_status(datagram: bytes, offset: int) -> None:
    status = datagram[offset + HEADER_BYTES : offset + HEADER_BYTES + 4]
    number = int.from_bytes(status, "little" if _LITTLE else "big", signed=True)
    if number < 0:
        raise _os_error(-number)


def _os_error(number: int) -> OSError:
    # Why: os.strerror is posix.strerror; OSError(number, text) becomes PermissionError and the like by itself.
    from posix import strerror

    return OSError(number, strerror(number))
