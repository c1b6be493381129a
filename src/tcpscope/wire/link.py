"""Link types that :mod:`tcpscope.wire.view` reads, by number (https://www.tcpdump.org/linktypes.html)."""

from __future__ import annotations

NULL = 0
ETHERNET = 1
PPP = 9
RAW_BSD, RAW_OPENBSD = 12, 14  #: DLT_RAW, which old writers put into files as it is
PPP_HDLC = 50
PPP_ETHER = 51
RAW = 101
C_HDLC = 104
LOOP = 108
LINUX_SLL = 113
IPV4 = 228
IPV6 = 229
NFLOG = 239
LINUX_SLL2 = 276

#: Number -> name as tcpdump spells it.
NAMES = {
    NULL: "NULL",
    ETHERNET: "EN10MB",
    PPP: "PPP",
    RAW_BSD: "RAW",
    RAW_OPENBSD: "RAW",
    PPP_HDLC: "PPP_SERIAL",
    PPP_ETHER: "PPP_ETHER",
    RAW: "RAW",
    C_HDLC: "C_HDLC",
    LOOP: "LOOP",
    LINUX_SLL: "LINUX_SLL",
    IPV4: "IPV4",
    IPV6: "IPV6",
    NFLOG: "NFLOG",
    LINUX_SLL2: "LINUX_SLL2",
}


def name_of(link_type: int) -> str:
    """Name a link type; a number nobody here reads stays a number."""
    return NAMES.get(link_type, f"link type {link_type}")
