"""``struct tcp_info`` and ``INET_DIAG_SKMEMINFO`` (``include/uapi/linux/tcp.h``, ``sock_diag.h``): bytes to words.

The structure has only ever grown at its end: what a kernel does not send is ``None`` (or 0 in the first 104 bytes,
which every kernel since 2.6 sends).
"""

from __future__ import annotations

from struct import Struct

from tcpscope.model.socket import SocketMemory, TcpInfo

_BASE_BYTES = 104
_FULL = Struct("=8B24I4Q6I4Q2I2Q4I")
_FULL_BYTES = _FULL.size

#: Fields after the first 104 bytes in the order of the structure, with the offset where each ends.
_TAIL = (
    ("pacing_rate", 112),
    ("", 120),  # max_pacing_rate
    ("bytes_acked", 128),
    ("bytes_received", 136),
    ("segs_out", 140),
    ("segs_in", 144),
    ("notsent_bytes", 148),
    ("min_rtt_us", 152),
    ("data_segs_in", 156),
    ("data_segs_out", 160),
    ("delivery_rate", 168),
    ("busy_time_us", 176),
    ("rwnd_limited_us", 184),
    ("sndbuf_limited_us", 192),
    ("delivered", 196),
    ("", 200),  # delivered_ce
    ("bytes_sent", 208),
    ("bytes_retrans", 216),
    ("dsack_dups", 220),
    ("reord_seen", 224),
    ("rcv_ooopack", 228),
    ("snd_wnd", 232),
)
_NO_RTT = 0xFFFFFFFF  # Linux: min_rtt before the first sample


def parse_tcp_info(data: bytes) -> TcpInfo | None:
    """Parse ``struct tcp_info`` of any kernel; ``None`` when it is shorter than the oldest one."""
    if len(data) < _BASE_BYTES:
        return None
    values = _FULL.unpack(data[:_FULL_BYTES].ljust(_FULL_BYTES, b"\0"))
    wscale = values[6]
    tail = [
        value if end <= len(data) and not (name == "min_rtt_us" and value == _NO_RTT) else None
        for (name, end), value in zip(_TAIL, values[32:], strict=True)
        if name
    ]
    base = values[8:32]
    # Why the gaps: fackets and last_ack_sent are always 0 on Linux.
    return TcpInfo._make((*values[:6], wscale & 15, wscale >> 4, *base[:8], base[9], *base[11:], *tail))


_MEMORY = Struct("=9I")


def parse_memory(data: bytes) -> SocketMemory | None:
    """Parse ``INET_DIAG_SKMEMINFO``: nine numbers, of which old kernels leave out the last."""
    if len(data) < 32:
        return None
    return SocketMemory(*_MEMORY.unpack(data[:36].ljust(36, b"\0")))
