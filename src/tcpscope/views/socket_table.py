"""Sockets as tables, detail lines, CSV and JSON: what ``tcpscope list`` prints from words.

The usual columns give netstat's table to the byte (:mod:`tcpscope.views.row_table`). Each column knows how it is
spelled and how it is sorted; JSON follows the public contract.
"""

from __future__ import annotations

from tcpscope.model.record import NamedTuple
from tcpscope.model.socket import Socket, TcpInfo
from tcpscope.model.spelling import DIALECTS, IDENTIFIERS
from tcpscope.views.row_table import ADDRESS_WIDTH, NOBODY, PROGRAM_TITLE, PROGRAM_WIDTH, UNSEEN, escape, paint
from tcpscope.views.table import Column, render_csv, render_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tcpscope.model.address import Endpoint


class Style(NamedTuple):
    """How to spell: dialect of the states, names of namespaces, and resolvers (``None``: numbers)."""

    names: str = "netstat"
    netns_labels: Mapping[int, str] = {}
    host_name: Callable[[str], str] | None = None
    port_name: Callable[[int, str], str] | None = None
    user_name: Callable[[int], str] | None = None


class Field(NamedTuple):
    """A column of sockets: how to spell it and what to sort by."""

    column: Column
    spell: Callable[[Socket, Style], str]
    order: Callable[[Socket], object]


def spell_proto(socket: Socket) -> str:
    """``tcp``, ``tcp6``, ``udp`` or ``udp6``, as netstat."""
    return f"{socket.proto}6" if socket.local.is_ipv6 else socket.proto


def spell_state(socket: Socket, names: str) -> str:
    """Spell the state; netstat leaves it blank for an unconnected UDP socket."""
    if socket.proto == "udp" and socket.state == 7 and names == "netstat":
        return ""
    return DIALECTS[names][socket.state]


def spell_endpoint(socket: Socket, end: Endpoint, style: Style) -> str:
    """Spell one end as netstat (``:::22``) or as ss (``*:22`` for both families, ``[::]:22`` for IPv6 alone)."""
    port = "*" if not end.port else style.port_name(end.port, socket.proto) if style.port_name else str(end.port)
    if style.names == "ss":
        return f"{_ss_address(socket, end, style)}:{port}"
    return f"{_host(end.unmapped, style)}:{port}"


def _ss_address(socket: Socket, end: Endpoint, style: Style) -> str:
    # Linux: only listeners and unconnected sockets report IPV6_V6ONLY.
    is_dual = socket.local.address == "::" and socket.v6only is False
    if end.address == "::" and (is_dual or (end is socket.remote and socket.v6only is False)):
        return "*"
    text = _host(end.address, style)
    if end.is_ipv6 and ":" in text:
        text = f"[{text}]"
    if socket.interface and end is socket.local:
        text += f"%{_interface_name(socket.interface)}"
    return text


def _host(address: str, style: Style) -> str:
    return style.host_name(address) if style.host_name and address not in ("0.0.0.0", "::") else address


def _interface_name(index: int) -> str:
    from _socket import if_indextoname

    try:
        return if_indextoname(index)
    except OSError:
        return f"if{index}"


def spell_program(socket: Socket) -> str:
    """Spell all holders, or why there is none."""
    if socket.owners:
        holders = {owner.pid: owner.name for owner in reversed(socket.owners)}
        return ",".join(f"{pid}/{escape(holders[pid])}" for pid in sorted(holders))
    return UNSEEN if socket.inode or socket.proto != "tcp" else NOBODY.get(socket.state, UNSEEN)


def spell_timer(socket: Socket) -> str:
    """``on(0.20s,3)``: kind, seconds left, retransmissions."""
    timer = socket.timer
    return f"{timer.kind}({timer.expires_ms / 1000:.2f}s,{timer.retransmits})" if timer else ""


def spell_age(socket: Socket) -> str:
    """``>=12s`` for a lower bound, ``12s`` when it is exact, ``?`` when nothing is known."""
    if socket.age.known == "unknown":
        return "?"
    return ("" if socket.age.known == "exact" else ">=") + spell_duration(socket.age.ms)


def spell_duration(ms: int) -> str:
    """``640ms``, ``12.0s``, ``3m05s``, ``4h10m``, ``2d03h``."""
    if ms < 1000:
        return f"{ms}ms"
    seconds = ms // 1000
    if seconds < 60:
        return f"{ms / 1000:.1f}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    if seconds < 86400:
        return f"{seconds // 3600}h{seconds // 60 % 60:02}m"
    return f"{seconds // 86400}d{seconds // 3600 % 24:02}h"


def _info_field(key: str, title: str, attribute: str, scale: float = 1.0, digits: int = 0) -> Field:
    def value(socket: Socket) -> int | None:
        # Linux: a listener's numbers are defaults, or mean something else (unacked: waiting for accept())
        number: int | None = None if socket.is_listener else getattr(socket.tcp_info, attribute, None)
        return None if attribute == "rtt_us" and not number else number  # 0: nothing measured yet

    def spell(socket: Socket, style: Style) -> str:
        number = value(socket)
        return "" if number is None else f"{number / scale:.{digits}f}" if digits else str(number)

    return Field(Column(key, title, 0, True), spell, lambda socket: value(socket) if value(socket) is not None else -1)


def _text_field(column: Column, spell: Callable[[Socket, Style], str]) -> Field:
    return Field(column, spell, lambda socket: spell(socket, Style()))


def _spell_netns(socket: Socket, style: Style) -> str:
    return style.netns_labels.get(socket.netns, str(socket.netns))


def _spell_user(socket: Socket, style: Style) -> str:
    if socket.uid is None:
        return "-"
    return style.user_name(socket.uid) if style.user_name else str(socket.uid)


def _fields() -> dict[str, Field]:
    fields = [
        _text_field(Column("proto", "Proto", 5), lambda s, _: spell_proto(s)),
        Field(Column("recv-q", "Recv-Q", 6, True), lambda s, _: str(s.recv_q), lambda s: s.recv_q),
        Field(Column("send-q", "Send-Q", 6, True), lambda s, _: str(s.send_q), lambda s: s.send_q),
        Field(
            Column("local", "Local Address", ADDRESS_WIDTH),
            lambda s, style: spell_endpoint(s, s.local, style),
            lambda s: s.local,
        ),
        Field(
            Column("remote", "Foreign Address", ADDRESS_WIDTH),
            lambda s, style: spell_endpoint(s, s.remote, style),
            lambda s: s.remote,
        ),
        Field(Column("state", "State", 11), lambda s, style: spell_state(s, style.names), lambda s: int(s.state)),
        Field(Column("user", "User", 10), _spell_user, lambda s: -1 if s.uid is None else s.uid),
        Field(Column("inode", "Inode", 10), lambda s, _: str(s.inode), lambda s: s.inode),
        Field(
            Column("program", PROGRAM_TITLE, PROGRAM_WIDTH, False, True),
            lambda s, _: spell_program(s),
            lambda s: (s.owners[0].pid if s.owners else -1, spell_program(s)),
        ),
        Field(
            Column("pid", "PID", 0, True),
            lambda s, _: ",".join(map(str, sorted({owner.pid for owner in s.owners}))),
            lambda s: s.owners[0].pid if s.owners else -1,
        ),
        _text_field(Column("comm", "Program"), lambda s, _: ",".join(sorted({escape(o.name) for o in s.owners}))),
        _text_field(Column("fd", "FD"), lambda s, _: ",".join(f"{o.pid}:{o.fd}" for o in s.owners)),
        Field(Column("port", "Port", 0, True), lambda s, _: str(s.local.port), lambda s: s.local.port),
        Field(Column("age", "Age", 0, True), lambda s, _: spell_age(s), lambda s: s.age.ms),
        Field(Column("timer", "Timer"), lambda s, _: spell_timer(s), lambda s: s.timer.expires_ms if s.timer else -1),
        Field(
            Column("retransmits", "Retr", 0, True),
            lambda s, _: str(s.timer.retransmits if s.timer else 0),
            lambda s: s.timer.retransmits if s.timer else 0,
        ),
        Field(
            Column("backlog", "Backlog", 0, True),
            lambda s, _: "" if s.backlog is None else str(s.backlog),
            lambda s: -1 if s.backlog is None else s.backlog,
        ),
        Field(Column("cookie", "Cookie"), lambda s, _: f"{s.cookie:x}", lambda s: s.cookie),
        Field(Column("netns", "Netns"), _spell_netns, lambda s: s.netns),
        _text_field(Column("cgroup", "Cgroup"), lambda s, _: escape(s.cgroup or "")),
        _text_field(Column("congestion", "Congestion"), lambda s, _: s.congestion or ""),
        _text_field(Column("kind", "Kind"), lambda s, _: s.kind),
        Field(Column("mark", "Mark", 0, True), lambda s, _: f"{s.mark or 0:#x}", lambda s: s.mark or 0),
        Field(
            Column("drops", "Drops", 0, True),
            lambda s, _: "" if s.memory is None else str(s.memory.drops),
            lambda s: s.memory.drops if s.memory else -1,
        ),
        Field(
            Column("memory", "Memory", 0, True),
            lambda s, _: "" if s.memory is None else str(s.memory.rmem_alloc_bytes + s.memory.wmem_queued_bytes),
            lambda s: s.memory.rmem_alloc_bytes + s.memory.wmem_queued_bytes if s.memory else -1,
        ),
    ]
    return {field.column.key: field for field in fields}


def _info_fields() -> dict[str, Field]:
    """Columns that come out of ``tcp_info``."""
    fields = [
        _info_field("rtt", "RTT ms", "rtt_us", 1000, 3),
        _info_field("rto", "RTO ms", "rto_us", 1000, 1),
        _info_field("cwnd", "Cwnd", "snd_cwnd"),
        _info_field("unacked", "Unacked", "unacked"),
        _info_field("notsent", "Not sent", "notsent_bytes"),
        _info_field("retrans", "Retrans", "total_retrans"),
        _info_field("bytes-sent", "Bytes out", "bytes_sent"),
        _info_field("bytes-received", "Bytes in", "bytes_received"),
        _info_field("snd-wnd", "Snd wnd", "snd_wnd"),
        _info_field("mss", "MSS", "snd_mss"),
    ]
    return {field.column.key: field for field in fields}


_INFO_FIELDS = _info_fields()
FIELDS = _fields() | _INFO_FIELDS
#: Columns that come out of ``tcp_info``.
INFO_COLUMNS = tuple(_INFO_FIELDS)
ALIASES = {
    "recvq": "recv-q",
    "rq": "recv-q",
    "sendq": "send-q",
    "sq": "send-q",
    "peer": "remote",
    "foreign": "remote",
    "owner": "program",
    "uid": "user",
    "process": "program",
    "retr": "retransmits",
}
USUAL = ("proto", "recv-q", "send-q", "local", "remote", "state")


def choose_columns(wanted: str | None, usual: Sequence[str]) -> list[str]:
    """Read ``a,b`` (exactly these) or ``+a,+b`` (the usual ones and these). Raises ``ValueError`` naming them all."""
    if wanted is None:
        return list(usual)
    words = [word.strip().lower() for word in wanted.split(",") if word.strip()]
    if not words:
        raise ValueError("no column is named; known: " + ", ".join(FIELDS))
    chosen = list(usual) if words[0].startswith("+") else []
    for word in words:
        key = find_column(word.removeprefix("+"))
        if key not in chosen:
            chosen.append(key)
    return chosen


def find_column(name: str) -> str:
    """Find a column by name or alias. Raises ``ValueError`` naming the choices."""
    key = name.replace("_", "-")
    key = ALIASES.get(key, key)
    if key not in FIELDS:
        raise ValueError(f"no column {name!r}; known: {', '.join(FIELDS)}")
    return key


def sort_sockets(sockets: Sequence[Socket], by: str) -> list[Socket]:
    """Sort by a column; ``-name`` descending. Raises ``ValueError`` for an unknown one."""
    field = FIELDS[find_column(by.removeprefix("-").removeprefix("+"))]
    return sorted(sockets, key=field.order, reverse=by.startswith("-"))  # type: ignore[arg-type]  # each order is of one type


def render_sockets(
    sockets: Sequence[Socket],
    columns: Sequence[str],
    style: Style,
    *,
    header: bool = True,
    colour: bool = False,
    info: bool = False,
    extend: bool = False,
) -> str:
    """Render a table; ``info`` and ``extend`` add an indented line below each socket."""
    fields = [FIELDS[key] for key in columns]
    rows = [[field.spell(socket, style) for field in fields] for socket in sockets]
    below = [detail_line(socket, info, extend) for socket in sockets] if info or extend else ()
    state = columns.index("state") if "state" in columns else -1

    def painted(row: int, column: int, text: str) -> str:
        return paint(text, sockets[row].state) if column == state else text

    return render_table(
        [field.column for field in fields], rows, header=header, below=below, paint=painted if colour else None
    )


def render_sockets_csv(sockets: Sequence[Socket], columns: Sequence[str], style: Style, *, header: bool = True) -> str:
    """Render comma-separated values."""
    fields = [FIELDS[key] for key in columns]
    rows = [[field.spell(socket, style) for field in fields] for socket in sockets]
    return render_csv([field.column for field in fields], rows, header=header)


def detail_line(socket: Socket, info: bool, extend: bool) -> str:
    """Spell what does not fit into columns, indented."""
    parts = [*(_extended_parts(socket) if extend else ()), *(_info_parts(socket) if info else ())]
    return "      " + " ".join(parts) if parts else ""


def _extended_parts(socket: Socket) -> Iterator[str]:
    yield f"age:{spell_age(socket)}"
    if socket.timer:
        yield f"timer:{spell_timer(socket)}"
    yield f"cookie:{socket.cookie:x}"
    if socket.cgroup is not None:
        yield f"cgroup:{escape(socket.cgroup)}"
    if socket.v6only is not None:
        yield f"v6only:{int(socket.v6only)}"
    if socket.mark:
        yield f"mark:{socket.mark:#x}"
    if socket.shutdown:
        yield "shutdown:" + {1: "receive", 2: "send", 3: "both"}.get(socket.shutdown, str(socket.shutdown))
    if socket.interface:
        yield f"interface:{socket.interface}"
    memory = socket.memory
    if memory is not None:
        yield (
            f"memory:(receive {memory.rmem_alloc_bytes}/{memory.rcvbuf_bytes}, send {memory.wmem_alloc_bytes}"
            f"/{memory.sndbuf_bytes}, queued {memory.wmem_queued_bytes}, drops {memory.drops})"
        )


def _info_parts(socket: Socket) -> Iterator[str]:
    info = socket.tcp_info
    if info is None or socket.is_listener:
        return
    if socket.congestion:
        yield socket.congestion
    if info.rtt_us:
        yield f"rtt:{info.rtt_us / 1000:.3f}/{info.rttvar_us / 1000:.3f}ms"
    yield f"rto:{info.rto_us / 1000:.0f}ms"
    yield f"mss:{info.snd_mss} cwnd:{info.snd_cwnd}"
    yield from _counts(
        info, "unacked", "retrans", "lost", "backoff", "total_retrans", "notsent_bytes", "bytes_sent", "bytes_retrans",
        "bytes_received", "segs_out", "segs_in", "snd_wnd",
    )  # fmt: skip
    if info.snd_wnd == 0 and socket.timer is not None and socket.timer.kind == "persist":
        yield "snd_wnd:0"  # Why: what the window probes ask about
    yield f"last:(sent {info.last_data_sent_ms}, received {info.last_data_recv_ms}, ack {info.last_ack_recv_ms})ms"
    busy = info.busy_time_us or 0
    for name, limited in (("peer's window", info.rwnd_limited_us), ("send buffer", info.sndbuf_limited_us)):
        if busy and limited:
            yield f"limited by {name}:{100 * limited / busy:.0f}%"


def _counts(info: TcpInfo, *names: str) -> Iterator[str]:
    for name in names:
        value = getattr(info, name)
        if value:
            yield f"{name}:{value}"


def socket_object(socket: Socket) -> dict[str, object]:
    """Turn a socket into the JSON object of the public contract."""
    return {
        "proto": socket.proto,
        "state": IDENTIFIERS[socket.state],
        "local": socket.local._asdict(),
        "remote": socket.remote._asdict(),
        "recv_q": socket.recv_q,
        "send_q": socket.send_q,
        "backlog": socket.backlog,
        "processes": [owner._asdict() for owner in socket.owners],
        "uid": socket.uid,
        "inode": socket.inode,
        "cookie": socket.cookie,
        "netns": socket.netns,
        "timer": socket.timer._asdict() if socket.timer else None,
        "age": socket.age._asdict(),
        "tcp_info": socket.tcp_info._asdict() if socket.tcp_info else None,
        "memory": socket.memory._asdict() if socket.memory else None,
        "congestion": socket.congestion,
        "cgroup": socket.cgroup,
        "interface": socket.interface,
        "v6only": socket.v6only,
        "mark": socket.mark,
        "shutdown": socket.shutdown,
        "kind": socket.kind,
        "without_owner": spell_program(socket)[1:-1] if not socket.owners and not socket.inode else None,
    }
