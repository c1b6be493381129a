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
