"""``/proc/net/{tcp,tcp6,udp,udp6}``: the same rows as sock_diag, for kernels and containers that refuse netlink.

What procfs does not tell: the backlog of a listener (its tx_queue is 0), cookies, ``IPV6_V6ONLY``, ``tcp_info``.
Also the inodes of the other socket families, which sock_diag would need one module each for.

Rules of the file: a line that is cut or not understood is left out and counted, never guessed.
"""

from __future__ import annotations

from sys import byteorder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tcpscope.model.row import Row

_NET = "/proc/thread-self/net/"
_USER_HZ = 100  # Linux: procfs counts timers in USER_HZ, which is 100 on every architecture but alpha and ia64
_FILES = {6: (("tcp", 2), ("tcp6", 10)), 17: (("udp", 2), ("udp6", 10))}

#: Files of other families -> column of the inode (negative: from the end).
_OTHER_FAMILIES = {
    "unix": 6,
    "netlink": -1,
    "packet": -1,
    "raw": 9,
    "raw6": 9,
    "icmp": 9,
    "icmp6": 9,
    "udplite": 9,
    "udplite6": 9,
}


def read_proc_rows(proto: int, family: int = 0, states: int = 0xFFF) -> tuple[list[Row], int]:
    """Read all sockets of a protocol (6 or 17): rows, and how many lines were not understood.

    Raises ``OSError`` when the IPv4 file is missing or refused; a kernel without IPv6 has no second file.
    """
    rows: list[Row] = []
    damaged = 0
    for name, its_family in _FILES[proto]:
        if family not in (0, its_family):
            continue
        try:
            with open(_NET + name, encoding="ascii", errors="replace") as file:
                lines = file.readlines()
        except FileNotFoundError:
            if its_family == 2:
                raise
            continue
        for line in lines[1:]:
            row = parse_line(line, proto, its_family)
            damaged += row is None
            if row is not None and states >> row[2] & 1:
                rows.append(row)
    return rows, damaged


def parse_line(line: str, proto: int, family: int) -> Row | None:
    """Parse one line into a row (cookie 0, no attributes); ``None`` when it is cut or not understood."""
    words = line.split()
    try:
        source, sport = parse_endpoint(words[1])
        remote, dport = parse_endpoint(words[2])
        state = int(words[3], 16)
        send_q, recv_q = (int(part, 16) for part in words[4].split(":"))
        timer, expires = (int(part, 16) for part in words[5].split(":"))
        retransmits, uid, inode = int(words[6], 16), int(words[7]), int(words[9])
    except (IndexError, ValueError):
        return None
    if not 1 <= state <= 12 or len(source) != 16 or len(remote) != 16 or len(words[1]) != (13 if family == 2 else 37):
        return None
    state = 3 if state == 12 else state
    expires_ms = expires * 1000 // _USER_HZ if timer else 0
    return (
        *(proto, family, state, timer, retransmits, sport, dport, source, remote),
        *(0, 0, expires_ms, recv_q, send_q, uid, inode, b""),
    )


def read_other_inodes() -> frozenset[int]:
    """Read the inodes of the namespace's unix, netlink, packet, raw and ping sockets."""
    inodes: set[int] = set()
    for name, column in _OTHER_FAMILIES.items():
        try:
            with open(_NET + name, encoding="ascii", errors="replace") as file:
                lines = file.readlines()
        except OSError:
            continue
        for line in lines[1:]:
            words = line.split()
            if len(words) > abs(column) and words[column].isdecimal():
                inodes.add(int(words[column]))
    return frozenset(inodes)


def parse_endpoint(text: str) -> tuple[bytes, int]:
    """Parse ``0100007F:1F90``: words of 32 bits in the machine's own byte order, then the port.

    Returns 16 bytes of address (those of IPv4 padded) and the port; raises ``ValueError`` for anything else.
    """
    digits = len(text) - 5
    if digits not in (8, 32) or text[digits] != ":":
        raise ValueError(text)
    raw, port = bytes.fromhex(text[:digits]), int(text[digits + 1 :], 16)
    if byteorder == "little":
        raw = raw[::-1] if digits == 8 else b"".join(raw[start : start + 4][::-1] for start in (0, 4, 8, 12))
    return raw.ljust(16, b"\0"), port
