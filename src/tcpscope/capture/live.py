"""Packets from an interface as they pass: a ring shared with the kernel (AF_PACKET, TPACKET_V3), no library.

Blocks of the ring are handed over at most ``_RETIRE_MS`` after their first packet, so lines appear at once; when
the capture is stopped the last block is waited for, so nothing that was on the wire before is missing. What the kernel
had to drop is counted. ``any`` sees all interfaces with a cooked header (Linux SLL2), as tcpdump does.

See networking/packet_mmap of the kernel's documentation.
"""

from __future__ import annotations

import os
from struct import Struct

from tcpscope.capture.packets import Chunk, Columns, Format, Interface
from tcpscope.model.damage import Damage
from tcpscope.model.errors import NotPermitted, TcpscopeError, Unsupported
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.wire import link

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcpscope.capture.libpcap_filter import PacketFilter

SNAPLEN = 262_144
_BLOCK_BYTES, _FRAME_BYTES = 1 << 19, 1 << 11
RING_BYTES = 16 << 20
_RETIRE_MS, _POLL_MS = 10, 100
#: After :meth:`LiveSource.stop`: how long to wait for the last block, and for one that is still being filled.
_SETTLE_S, _PATIENCE_S = 0.05, 1.0
_NS = 1_000_000_000

_ETH_P_ALL = 3
_SOL_PACKET, _SOL_SOCKET = 263, 1
_ADD_MEMBERSHIP, _RX_RING, _STATISTICS, _VERSION, _RESERVE = 1, 5, 6, 10, 12
_TPACKET_V3, _MR_PROMISC = 2, 1
_STATUS_KERNEL, _STATUS_USER = 0, 1
_VLAN_VALID, _VLAN_TPID_VALID = 1 << 4, 1 << 6
_PACKET_OUTGOING = 4
_ARPHRD_ETHERNET, _ARPHRD_LOOPBACK = 1, 772
_ARPHRD_RAW_IP = (519, 65534)  # ARPHRD_RAWIP, ARPHRD_NONE (tun)

_REQUEST = Struct("=7I")
_BLOCK = Struct("=II I I I")  # version, offset to private, status, packets, offset to the first
_STATUS_AT = 8
_PACKET = Struct("=IIIIIIHH II H")  # struct tpacket3_hdr up to hv1.tp_vlan_tpid
_LINK_ADDRESS = Struct("=HHiHBB8s")  # struct sockaddr_ll, sll_protocol in network order
_LINK_ADDRESS_AT = 48
_COOKED = Struct(">HHiHBB8s")
_COOKED_BYTES, _VLAN_BYTES = 20, 4
_MEMBERSHIP = Struct("=iHH8s")


class LiveSource:
    """Packets of one interface, or of ``any``, in the same chunks as a file; a context manager.

    ``dropped`` is what the kernel could not hand over, ``received`` what passed the filter. Ends after
    :meth:`stop`. Raises ``NotPermitted`` without CAP_NET_RAW, ``TcpscopeError`` for an unknown interface.
    """

    def __init__(
        self,
        interface: str = "any",
        *,
        ring_bytes: int = RING_BYTES,
        packet_filter: PacketFilter | None = None,
        promiscuous: bool = True,
    ) -> None:
        self.name = interface
        self.packets = self.received = self.dropped = 0
        self.damage: list[Damage] = []
        self._is_stopped = False
        self._is_cooked = interface == "any"
        self._loopback = _loopback_index()
        self.link_type = link_type_of(interface)
        self.interfaces = [Interface(self.link_type, SNAPLEN, interface, resolution="10^-9 s")]
        self.format = Format("live", ns_per_fraction=1, link_type=self.link_type, snaplen=SNAPLEN)
        self._blocks = max(2, ring_bytes // _BLOCK_BYTES)
        self._socket = _open_socket(is_cooked=self._is_cooked)
        try:
            self._set_up(packet_filter, promiscuous)
        except BaseException:
            self._socket.close()
            raise

    def iter_chunks(self, chunk_bytes: int = 0) -> Iterator[Chunk]:
        """Yield what each block of the ring holds, until stopped and empty. A chunk may be empty: time passes."""
        import select
        import time

        poll = select.poll()
        poll.register(self._socket, select.POLLIN | select.POLLERR)
        current, until = 0, 0.0
        while True:
            while self._is_ready(current):
                chunk = self._take(current)
                current = (current + 1) % self._blocks
                if chunk.offset:
                    yield chunk
            now = time.monotonic()
            if self._is_stopped and not until:
                until = now + _SETTLE_S
            if until and now >= until and (not self._is_filling(current) or now >= until + _PATIENCE_S):
                break
            if not poll.poll(_RETIRE_MS if until else _POLL_MS) and not until:
                yield self._chunk(bytearray(), Columns())
        self.count_drops()

    def stop(self) -> None:
        """End :meth:`iter_chunks` once the kernel has handed over what it has. Safe in a signal handler."""
        self._is_stopped = True

    def count_drops(self) -> int:
        """Bring ``received`` and ``dropped`` up to date; return ``dropped``."""
        raw = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 12)
        received, dropped, _ = Struct("=III").unpack(raw)
        self.received += received - dropped
        self.dropped += dropped
        return self.dropped

    def close(self) -> None:
        """Give the ring and the socket back."""
        self._ring.close()
        self._socket.close()

    def __enter__(self) -> LiveSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _set_up(self, packet_filter: PacketFilter | None, promiscuous: bool) -> None:
        import mmap

        set_option = self._socket.setsockopt
        if packet_filter is not None:
            packet_filter.attach(self._socket)
        set_option(_SOL_PACKET, _VERSION, _TPACKET_V3)
        set_option(_SOL_PACKET, _RESERVE, _COOKED_BYTES + _VLAN_BYTES)
        size = self._blocks * _BLOCK_BYTES
        request = _REQUEST.pack(_BLOCK_BYTES, self._blocks, _FRAME_BYTES, size // _FRAME_BYTES, _RETIRE_MS, 0, 0)
        try:
            set_option(_SOL_PACKET, _RX_RING, request)
            self._ring = mmap.mmap(self._socket.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError as error:
            raise Unsupported(f"no packet ring of {size} bytes: {error}; try a smaller one (-B)") from None
        index = 0 if self._is_cooked else _index_of(self.name)
        if index and promiscuous:
            set_option(_SOL_PACKET, _ADD_MEMBERSHIP, _MEMBERSHIP.pack(index, _MR_PROMISC, 0, b""))
        # Why last: before it is bound with a protocol the socket receives nothing, so the filter misses nothing.
        _bind(self._socket.fileno(), index)

    def _is_ready(self, block: int) -> bool:
        return bool(self._ring[block * _BLOCK_BYTES + _STATUS_AT] & _STATUS_USER)

    def _is_filling(self, block: int) -> bool:
        """Whether the kernel has put packets into a block that it still keeps."""
        return bool(_BLOCK.unpack_from(self._ring, block * _BLOCK_BYTES)[3])

    def _take(self, block: int) -> Chunk:
        start = block * _BLOCK_BYTES
        _, _, _, count, first = _BLOCK.unpack_from(self._ring, start)
        data = bytearray(self._ring[start : start + _BLOCK_BYTES])
        status = start + _STATUS_AT
        self._ring[status : status + 4] = _STATUS_KERNEL.to_bytes(4, "little")
        columns, at = Columns(), first
        for _ in range(count):
            at += self._take_packet(data, at, columns)
        columns.fill_interface(0, self.link_type)
        return self._chunk(data, columns)

    def _take_packet(self, data: bytearray, at: int, columns: Columns) -> int:
        """Append the packet whose header is at ``at``; return how far the next one is."""
        following, seconds, nanoseconds, captured, original, status, mac, net, _, tci, tpid = _PACKET.unpack_from(
            data, at
        )
        offset, more = at + mac, 0
        _, protocol, index, hardware, kind, size, address = _LINK_ADDRESS.unpack_from(data, at + _LINK_ADDRESS_AT)
        if index == self._loopback and kind == _PACKET_OUTGOING:
            return int(following)  # Why: it comes once more as incoming (as libpcap)
        if self._is_cooked:
            offset, more = at + net - _COOKED_BYTES, _COOKED_BYTES
            swapped = (protocol & 0xFF) << 8 | protocol >> 8
            _COOKED.pack_into(data, offset, swapped, 0, index, hardware, kind, size, address)
        elif status & _VLAN_VALID and self.link_type == link.ETHERNET:
            offset, more = offset - _VLAN_BYTES, _VLAN_BYTES  # Linux: the tag was taken out of the frame: put it back
            data[offset : offset + 12] = data[offset + _VLAN_BYTES : offset + _VLAN_BYTES + 12]
            tag = tpid if status & _VLAN_TPID_VALID else 0x8100
            data[offset + 12 : offset + 16] = tag.to_bytes(2, "big") + (tci & 0xFFFF).to_bytes(2, "big")
        columns.offset.append(offset)
        columns.captured_len.append(captured + more)
        columns.original_len.append(original + more)
        columns.t_ns.append(seconds * _NS + nanoseconds)
        return int(following)

    def _chunk(self, data: bytearray, columns: Columns) -> Chunk:
        first = self.packets + 1
        self.packets += len(columns)
        return Chunk(data, 0, first, *columns.as_columns())


def link_type_of(interface: str) -> int:
    """Return the link type that packets of ``interface`` have. Raises ``TcpscopeError`` when there is none."""
    if interface == "any":
        return link.LINUX_SLL2
    _index_of(interface)
    hardware = _hardware_type(interface)
    if hardware in (_ARPHRD_ETHERNET, _ARPHRD_LOOPBACK):
        return link.ETHERNET
    if hardware in _ARPHRD_RAW_IP:
        return link.RAW
    raise Unsupported(f"{interface} is of hardware type {hardware}, which is not known here: capture on 'any'")


def filter_link_type_of(interface: str) -> int:
    """Return the link type to compile a filter for: on ``any`` the kernel runs it from the IP header on."""
    return link.RAW if interface == "any" else link_type_of(interface)


def _open_socket(*, is_cooked: bool):  # type: ignore[no-untyped-def]  # noqa: ANN202  # Why: no import of socket here
    import socket

    if not hasattr(socket, "AF_PACKET"):
        raise Unsupported("live capture needs Linux; read a file instead: tcpdump -w - | tcpscope read -")
    kind = socket.SOCK_DGRAM if is_cooked else socket.SOCK_RAW
    try:
        return socket.socket(socket.AF_PACKET, kind, 0)
    except PermissionError:
        raise NotPermitted(
            "live capture needs root or the capability CAP_NET_RAW (sudo tcpscope capture ...)"
        ) from None


def _bind(descriptor: int, index: int) -> None:
    """Start receiving from an interface, 0 for all (which Python's own ``bind`` cannot name)."""
    import ctypes

    address = _LINK_ADDRESS.pack(17, _ETH_P_ALL << 8, index, 0, 0, 0, b"")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.bind(descriptor, address, len(address)):
        number = ctypes.get_errno()
        raise TcpscopeError(f"cannot capture: {os.strerror(number)}")


def _index_of(interface: str) -> int:
    import socket

    try:
        return socket.if_nametoindex(interface)
    except OSError:
        names = ", ".join(["any", *(name for _, name in socket.if_nameindex())])
        raise TcpscopeError(f"there is no interface {interface!r}; there are: {names}") from None


def _loopback_index() -> int:
    import socket

    try:
        return socket.if_nametoindex("lo")
    except OSError:
        return -1


def _hardware_type(interface: str) -> int:
    """Ask for ARPHRD_ by ioctl: /sys may show another network namespace."""
    import fcntl
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        raw = fcntl.ioctl(asker, 0x8927, interface.encode()[:15].ljust(40, b"\0"))  # SIOCGIFHWADDR
    return int.from_bytes(raw[16:18], "little")
