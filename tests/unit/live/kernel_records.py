"""A small kernel on paper: makes the records that tracepoints would write, in the bytes of the ring."""

import struct

from tcpscope.kernel.bpf import tcp_record as kinds
from tcpscope.kernel.bpf.tcp_record import RECORD, RECORD_BYTES

CLIENT, SERVER = (b"\x0a\0\0\x01" + bytes(12), 40000), (b"\x0a\0\0\x02" + bytes(12), 80)
ESTAB, SYN_SENT, SYN_RECV, FW1, FW2, TW, CLOSE, CW, LACK, LISTEN, CLOSING = range(1, 12)
MS = 1_000_000


class Paper:
    """Collects records; ``stretch()`` is what the ring would give."""

    def __init__(self):
        self.now_ns = 1000 * MS
        self.records = []

    def add(self, kind, address, before=0, after=0, ends=(CLIENT, SERVER), **extra):
        (local, local_port), (remote, remote_port) = ends
        self.now_ns += extra.pop("after_ns", 1000)
        self.records.append(
            struct.pack(
                RECORD, RECORD_BYTES, 0, self.now_ns, address, extra.pop("inode", 0), extra.pop("netns", 7),
                extra.pop("tgid", 99), kind, before, after, extra.pop("family", 2), extra.pop("port", local_port),
                remote_port, local, remote, extra.pop("error", 0), extra.pop("detail", 0), b"prog",
            )
        )  # fmt: skip
        assert not extra, extra

    def state(self, address, before, after, **extra):
        self.add(kinds.STATE, address, before, after, **extra)

    def stretch(self):
        return b"".join(self.records)


def whole_life(paper, client_ends=(CLIENT, SERVER), slow_fin=False, number=0):
    """A connection from connect() to the client's TIME-WAIT, as Linux 6.18 writes it (recorded on loopback)."""
    server_ends = client_ends[::-1]
    c, s, r, t = (base + number for base in (0x1000, 0x2000, 0x3000, 0x4000))
    paper.state(c, CLOSE, SYN_SENT, ends=client_ends, port=0, inode=11)
    paper.add(kinds.REQUEST_STARTED, r, 12, 12, ends=server_ends, inode=10)
    paper.add(kinds.SYN_SENT_FROM, c, SYN_SENT, SYN_SENT, ends=client_ends, inode=11)
    paper.state(c, SYN_SENT, ESTAB, ends=client_ends, inode=11)
    paper.state(s, LISTEN, SYN_RECV, ends=server_ends)
    paper.add(kinds.REQUEST_STOPPED, r, 12, 12, ends=server_ends, inode=10)
    paper.state(s, SYN_RECV, ESTAB, ends=server_ends)
    paper.state(c, ESTAB, FW1, ends=client_ends, inode=11, after_ns=MS)
    paper.state(s, ESTAB, CW, ends=server_ends, inode=12)
    paper.state(c, FW1, FW2, ends=client_ends)
    if slow_fin:  # the orphan waits as a mini-socket; the FIN comes to that
        paper.add(kinds.MINI_STARTED, t, TW, FW2, ends=client_ends)
        paper.state(c, FW2, CLOSE, ends=client_ends)
        paper.state(s, CW, LACK, ends=server_ends, inode=12, after_ns=50 * MS)
        paper.add(kinds.MINI_SEGMENT, t, TW, TW, ends=client_ends)
    else:
        paper.state(s, CW, LACK, ends=server_ends, inode=12)
        paper.add(kinds.MINI_STARTED, t, TW, TW, ends=client_ends)
        paper.state(c, FW2, CLOSE, ends=client_ends)
    paper.state(s, LACK, CLOSE, ends=server_ends)
    return t
