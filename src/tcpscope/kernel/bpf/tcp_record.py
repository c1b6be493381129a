"""One record of the TCP tracer: what it holds, and the kinds there are. Written by BPF programs, read by ``live``."""

from __future__ import annotations

#: One record behind its ring head (2 x u32): time ns (CLOCK_MONOTONIC), address of the kernel object, inode, netns,
#: thread group, kind, before, after, family, local port, remote port, local and remote address, sk_err, detail, comm.
RECORD = "<II QQQ II BBBB HH 16s16s iI 16s"
RECORD_BYTES = 96

# kinds of record
STATE, REQUEST_STARTED, REQUEST_STOPPED, REQUEST_EXPIRED = 1, 2, 3, 4
MINI_STARTED, MINI_STOPPED, MINI_EXPIRED, MINI_SEGMENT = 5, 6, 7, 8
RESET_SENT, RESET_RECEIVED, RETRANSMITTED, ERROR_REPORTED, SYN_SENT_FROM = 9, 10, 11, 12, 13
