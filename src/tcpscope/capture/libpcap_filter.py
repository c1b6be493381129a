"""libpcap's filter language, through libpcap itself when it is installed (``man pcap-filter``).

A program runs in the kernel (:meth:`PacketFilter.attach`) or here, packet by packet (:meth:`PacketFilter.matches`,
:meth:`PacketFilter.select`), about a quarter of a microsecond each. Nothing of the language is written again.
"""

from __future__ import annotations

from tcpscope.capture.packets import Chunk, Columns
from tcpscope.model.errors import Unsupported, UsageError
from tcpscope.model.record import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes
    from socket import socket
    from typing import Any

_LIBRARIES = ("libpcap.so.0.8", "libpcap.so.1", "libpcap.so", "libpcap.dylib", "libpcap.A.dylib")
_NETMASK_UNKNOWN = 0xFFFF_FFFF
_SNAPLEN = 262_144
_INSTRUCTION_BYTES = 8
_SO_ATTACH_FILTER = 26
_DLT_RAW = 12
#: LINKTYPE_ numbers of files whose DLT_ number, which the library wants, is another on Linux.
_DLT = {101: _DLT_RAW}


class PacketFilter:
    """A compiled filter expression for one link type."""

    def __init__(self, expression: str, link_type: int) -> None:
        """Compile. Raises ``UsageError`` with libpcap's own words, ``Unsupported`` when libpcap is missing."""
        import ctypes

        self.expression = expression
        self.link_type = link_type
        self._library = _load()
        self._program = _program_type()()
        handle = self._library.pcap_open_dead(_DLT.get(link_type, link_type), _SNAPLEN)
        try:
            failed = self._library.pcap_compile(
                handle, ctypes.byref(self._program), expression.encode(errors="surrogateescape"), 1, _NETMASK_UNKNOWN
            )
            if failed:
                reason = self._library.pcap_geterr(handle).decode(errors="replace").strip()
                raise UsageError(f"the filter {expression!r} is not understood: {reason} (see man pcap-filter)")
        finally:
            self._library.pcap_close(handle)

    @property
    def instructions(self) -> bytes:
        """The classic BPF program as the kernel's ``struct sock_filter`` array."""
        import ctypes

        return ctypes.string_at(self._program.bf_insns, self._program.bf_len * _INSTRUCTION_BYTES)

    def attach(self, to: socket) -> None:
        """Let the kernel run it on ``to``: other packets never arrive."""
        import ctypes
        import socket as sockets
        import struct

        code = ctypes.create_string_buffer(self.instructions)
        count = len(self.instructions) // _INSTRUCTION_BYTES
        to.setsockopt(sockets.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HxxxxxxP", count, ctypes.addressof(code)))

    def matches(self, data: bytes, original_len: int = 0) -> bool:
        """Whether a packet passes."""
        import ctypes

        header = _header_type()(caplen=len(data), len=original_len or len(data))
        return bool(self._library.pcap_offline_filter(ctypes.byref(self._program), ctypes.byref(header), data))

    def select(self, chunk: Chunk) -> Chunk:
        """Return ``chunk`` with the packets that pass; those of other link types never do."""
        import ctypes

        header = _header_type()()
        run, program, place = self._library.pcap_offline_filter, ctypes.byref(self._program), ctypes.byref(header)
        start = ctypes.addressof((ctypes.c_char * len(chunk.data)).from_buffer(chunk.data))
        kept: list[int] = []
        for index, offset in enumerate(chunk.offset):
            header.caplen, header.len = chunk.captured_len[index], chunk.original_len[index]
            if chunk.link_type[index] == self.link_type and run(program, place, start + offset):
                kept.append(index)
        columns = Columns()
        for name in Columns.__slots__:
            column = getattr(chunk, name)
            getattr(columns, name).extend(column[index] for index in kept)
        return chunk._replace(**{name: getattr(columns, name) for name in Columns.__slots__})

    def close(self) -> None:
        """Free the program."""
        import ctypes

        self._library.pcap_freecode(ctypes.byref(self._program))


def is_available() -> bool:
    """Whether libpcap is installed."""
    try:
        _load()
    except Unsupported:
        return False
    return True


def _load() -> ctypes.CDLL:
    import ctypes

    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_open_dead.argtypes = (ctypes.c_int, ctypes.c_int)
        library.pcap_compile.argtypes = (
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32,
        )  # fmt: skip
        library.pcap_geterr.restype = ctypes.c_char_p
        library.pcap_geterr.argtypes = (ctypes.c_void_p,)
        library.pcap_close.argtypes = (ctypes.c_void_p,)
        library.pcap_freecode.argtypes = (ctypes.c_void_p,)
        library.pcap_offline_filter.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        return library
    raise Unsupported(
        "packet filters need libpcap, which is not installed (Debian: apt install libpcap0.8, Fedora: dnf install "
        "libpcap); without a filter everything is captured"
    )


def _program_type() -> type[Any]:
    import ctypes

    class Program(ctypes.Structure):
        """``struct bpf_program`` (pcap/bpf.h)."""

        _fields_ = (("bf_len", ctypes.c_uint), ("bf_insns", ctypes.c_void_p))

    return Program


def _header_type() -> type[Any]:
    import ctypes

    class Header(ctypes.Structure):
        """``struct pcap_pkthdr`` (pcap/pcap.h)."""

        _fields_ = (
            ("tv_sec", ctypes.c_long),
            ("tv_usec", ctypes.c_long),
            ("caplen", ctypes.c_uint32),
            ("len", ctypes.c_uint32),
        )

    return Header
