"""netstat's table straight from rows of sock_diag or procfs: the quick path of ``tcpscope list``.

Columns, widths and padding are netstat's (``Proto`` left 5, queues right 6, addresses left 23, state left 11, program
left 20), but queues and addresses are as wide as the widest, so that columns stay columns.
:mod:`tcpscope.views.bulk_table` writes the same bytes from columns, and :mod:`tcpscope.views.socket_table` from words;
a test compares the three.

Nothing is imported here that start-up would pay for.
"""

from __future__ import annotations

from _socket import inet_ntop

from tcpscope.model.spelling import DIALECTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tcpscope.model.row import Row

QUEUE_WIDTH, ADDRESS_WIDTH, PROGRAM_WIDTH, STATE_WIDTH = 6, 23, 20, 11
PROGRAM_TITLE = "PID/Program name"

TCP, UDP, AF_INET, AF_INET6 = 6, 17, 2, 10
PROTO_NAMES = {(TCP, AF_INET): "tcp", (TCP, AF_INET6): "tcp6", (UDP, AF_INET): "udp", (UDP, AF_INET6): "udp6"}

#: What stands in the program column of a socket without inode, by state number: nobody *can* hold it.
NOBODY = {
    1: "(not accepted)",
    8: "(not accepted)",
    3: "(handshake)",
    4: "(orphan)",
    5: "(orphan)",
    9: "(orphan)",
    11: "(orphan)",
    6: "(time-wait)",
}
#: In the program column of a socket that has an inode and no visible holder.
UNSEEN = "-"

#: SGR colours by state number; all of one length, so that padded columns stay aligned.
COLOURS = {1: "32", 10: "36", 2: "33", 3: "33", 4: "35", 5: "35", 6: "90", 7: "90", 8: "31", 9: "35", 11: "35"}


def render_rows(
    rows: Sequence[Row],
    holders: Mapping[int, Sequence[tuple[int, int]]] | None,
    names: Mapping[int, str],
    *,
    header: bool = True,
    colour: bool = False,
) -> str:
    """Render rows as a table; ``holders`` is ``None`` without the program column."""
    local = [spell_endpoint(row[1], row[7], row[5]) for row in rows]
    remote = [spell_endpoint(row[1], row[8], row[6]) for row in rows]
    widths = (
        queue_width(max((row[12] for row in rows), default=0)),
        queue_width(max((row[13] for row in rows), default=0)),
        _width(local),
        _width(remote),
    )
    recv_width, send_width, local_width, remote_width = widths
    states = spell_states(colour)
    lines = [header_line(widths, holders is not None)] if header else []
    for row, here, there in zip(rows, local, remote, strict=True):
        proto, state = row[0], row[2]
        line = (
            f"{PROTO_NAMES[proto, row[1]]:<5} {row[12]:>{recv_width}} {row[13]:>{send_width}} "
            f"{here:<{local_width}} {there:<{remote_width}} {states[proto][state]}"
        )
        if holders is not None:
            line += f" {spell_program(proto, state, row[15], holders.get(row[15]), names):<{PROGRAM_WIDTH}}"
        lines.append(line)
    lines.append("")
    return "\n".join(lines)


def header_line(widths: tuple[int, int, int, int], programs: bool) -> str:
    """Spell netstat's header for these widths (receive queue, send queue, local, remote address)."""
    recv, send, local, remote = widths
    line = f"Proto {'Recv-Q':>{recv}} {'Send-Q':>{send}} {'Local Address':<{local}} {'Foreign Address':<{remote}}"
    line += f" {'State':<{STATE_WIDTH}}"
    return f"{line} {PROGRAM_TITLE:<{PROGRAM_WIDTH}}" if programs else line


def queue_width(largest: int) -> int:
    """How wide the column of a queue is: netstat's six, or as many digits as the fullest has."""
    return max(QUEUE_WIDTH, len(str(largest)))


def spell_states(colour: bool) -> dict[int, tuple[str, ...]]:
    """Spell every state as netstat does, padded, by protocol; an unconnected UDP socket has a blank one."""
    spelled = [f"{name:<{STATE_WIDTH}}" for name in DIALECTS["netstat"]]
    if colour:
        spelled = [paint(text, number) for number, text in enumerate(spelled)]
    udp = list(spelled)
    udp[7] = paint(" " * STATE_WIDTH, 7) if colour else " " * STATE_WIDTH
    return {TCP: tuple(spelled), UDP: tuple(udp)}


def paint(text: str, state: int) -> str:
    """Colour a text as its state is coloured."""
    return f"\x1b[{COLOURS.get(state, '39')}m{text}\x1b[0m"


def spell_endpoint(family: int, address: bytes, port: int) -> str:
    """Spell an address as netstat does: no brackets, ``*`` for no port, a v4-mapped address without its prefix."""
    text = _SPELLED.get((family, address))
    if text is None:
        text = inet_ntop(family, address[:4] if family == AF_INET else address)
        if text.startswith("::ffff:") and "." in text:
            text = text[7:]
        _SPELLED[family, address] = text
    return f"{text}:{port or '*'}"


_SPELLED: dict[tuple[int, bytes], str] = {}


def spell_program(
    proto: int, state: int, inode: int, held: Sequence[tuple[int, int]] | None, names: Mapping[int, str]
) -> str:
    """Spell all holders (``812/nginx,813/nginx``), or why there is none."""
    if held:
        return ",".join(f"{pid}/{escape(names.get(pid, ''))}" for pid in sorted({pid for pid, _ in held}))
    return UNSEEN if inode or proto != TCP else NOBODY.get(state, UNSEEN)


def escape(name: str) -> str:
    """Make a program's name harmless for a terminal: what is not printable is written as an escape."""
    if name.isprintable():
        return name
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in name)


def _width(texts: Sequence[str]) -> int:
    return max(ADDRESS_WIDTH, max(map(len, texts), default=0))
