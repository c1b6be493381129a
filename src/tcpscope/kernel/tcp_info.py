"""``struct tcp_info`` and ``INET_DIAG_SKMEMINFO`` (``include/uapi/linux/tcp.h``, ``sock_diag.h``): bytes to words.

The structure has only ever grown at its end: what a kernel does not send is ``None`` (or 0 in the first 104 bytes,
which every kernel since 2.6 sends).
"""

from __future__ import annotations

from struct import Struct

from tcpscope.model.socket import SocketMemory, TcpInfo

#: The fields of :class:`TcpInfo` in their order, with gaps (``x``) where it has none: flags, fackets and
#: last_ack_sent (always 0 on Linux), max_pacing_rate, delivered_ce. The two window scales share one byte.
_FIELDS = Struct("=7Bx8I4xI4x13IQ8x2Q6I4QI4x2Q4I")
_BYTES = _FIELDS.size
_WSCALE = 6  #: index of the byte of the window scales; fields after it are one further in the word
_MIN_RTT = TcpInfo._fields.index("min_rtt_us")
_NO_RTT = 0xFFFFFFFF  # Linux: min_rtt before the first sample

_BASE_BYTES = 104
#: Where each field after the first 104 bytes ends.
_ENDS = (112, 128, 136, 140, 144, 148, 152, 156, 160, 168, 176, 184, 192, 196, 208, 216, 220, 224, 228, 232)
_BASE_FIELDS = len(TcpInfo._fields) - len(_ENDS)


def parse_tcp_info(data: bytes) -> TcpInfo | None:
    """Parse ``struct tcp_info`` of any kernel; ``None`` when it is shorter than the oldest one."""
    length = len(data)
    if length < _BASE_BYTES:
        return None
    values = _FIELDS.unpack_from(data if length >= _BYTES else data.ljust(_BYTES, b"\0"))
    wscale = values[_WSCALE]
    info = TcpInfo._make((*values[:_WSCALE], wscale & 15, wscale >> 4, *values[_WSCALE + 1 :]))
    if length < _BYTES:
        info = TcpInfo._make((*info[:_BASE_FIELDS], *_sent(info[_BASE_FIELDS:], length)))
    return info._replace(min_rtt_us=None) if info[_MIN_RTT] == _NO_RTT else info


def _sent(tail: tuple[int | None, ...], length: int) -> list[int | None]:
    """Keep the fields that the kernel sent; ``None`` for those behind its structure."""
    return [value if end <= length else None for value, end in zip(tail, _ENDS, strict=True)]


_MEMORY = Struct("=9I")


def parse_memory(data: bytes) -> SocketMemory | None:
    """Parse ``INET_DIAG_SKMEMINFO``: nine numbers, of which old kernels leave out the last."""
    if len(data) < 32:
        return None
    return SocketMemory(*_MEMORY.unpack(data[:36].ljust(36, b"\0")))
