"""``Segment``: what one TCP header means, with the payload by reference."""

from __future__ import annotations

from tcpscope.model.record import NamedTuple

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80
_LETTERS = ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (URG, "U"), (ECE, "E"), (CWR, "W"), (ACK, "."))


def spell_flags(flags: int) -> str:
    """Spell a flag octet as tcpdump does (``S.``, ``F.``, ``R``; ``none`` for 0)."""
    return "".join(letter for bit, letter in _LETTERS if flags & bit) or "none"


class Options(NamedTuple):
    """TCP options that carry meaning here; ``None`` or empty means absent (RFC 9293 §3.2, 7323, 2018, 5482)."""

    mss: int | None = None
    window_scale: int | None = None
    sack_permitted: bool = False
    sack: tuple[tuple[int, int], ...] = ()
    timestamp: tuple[int, int] | None = None  #: (TSval, TSecr)
    user_timeout_ms: int | None = None
    fast_open_cookie: bytes | None = None


NO_OPTIONS = Options()


class Segment(NamedTuple):
    """One segment as its receiver sees it. Sequence numbers are modulo 2**32; ``wnd`` is as on the wire."""

    seq: int
    ack: int = 0
    flags: int = 0
    wnd: int = 0
    payload: bytes | bytearray | memoryview = b""
    options: Options = NO_OPTIONS
    urgent_pointer: int = 0
    gso_bytes: int = 0  #: size of the pieces when this stands for several segments; 0 for one
    uncaptured_bytes: int = 0  #: octets of text that were on the wire behind ``payload`` but not captured
    #: the ECN field of the IP header (RFC 3168): 0 not capable, 1 and 2 capable, 3 congestion experienced
    ip_ecn: int = 0

    @property
    def seg_len(self) -> int:
        """SEG.LEN: octets of text, SYN and FIN counted (RFC 9293 §3.4)."""
        return len(self.payload) + self.uncaptured_bytes + (self.flags & SYN != 0) + (self.flags & FIN != 0)

    def has(self, flags: int) -> bool:
        """Whether all of ``flags`` are set."""
        return self.flags & flags == flags
