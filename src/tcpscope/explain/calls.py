"""What programs call: RFC 9293's six user calls (§3.9.1), the socket calls behind them, and socket options."""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section, fold, prose_sections
from tcpscope.explain.events import row_as_json, rows_on, spell_guard, spell_sends
from tcpscope.machine.lifecycle import LIFE_ORDER, Row
from tcpscope.model.event import Event
from tcpscope.model.record import NamedTuple


class Call(NamedTuple):
    """One call; ``events`` are the events of the table it causes (none for an option)."""

    name: str
    names: tuple[str, ...]
    kind: str
    summary: str
    events: tuple[Event, ...]
    points: tuple[str, ...]
    see_also: tuple[str, ...] = ()


CALLS: tuple[Call, ...] = (
    Call(
        name="OPEN",
        names=("open call",),
        kind="user call",
        summary="RFC 9293's word for beginning: passive is listen(), active is connect().",
        events=(Event.OPEN_PASSIVE, Event.OPEN_ACTIVE),
        points=(),
        see_also=("connect()", "listen()"),
    ),
    Call(
        name="SEND",
        names=("send call", "send()", "write()", "write"),
        kind="user call",
        summary="Hand bytes to TCP. Success means: queued here, not: arrived there.",
        events=(Event.SEND,),
        points=(
            "On Linux the first send() after the peer has vanished succeeds; the error comes with a later call.",
            (
                "In CLOSE_WAIT sending is allowed. If the peer has closed completely it answers with RST and the next"
                " send() fails with EPIPE."
            ),
        ),
        see_also=("Send-Q",),
    ),
    Call(
        name="RECEIVE",
        names=("receive call", "recv()", "read()", "recv", "read"),
        kind="user call",
        summary="Take bytes from TCP. 0 bytes mean: the peer has closed (end of file). It is no error.",
        events=(Event.RECEIVE,),
        points=(
            "A program that tests only for errors and not for 0 never closes: that is the usual CLOSE_WAIT leak.",
            "ECONNRESET: the peer sent RST. ETIMEDOUT: retransmissions or keepalive probes were not answered.",
        ),
        see_also=("CLOSE_WAIT", "claim 002-6"),
    ),
    Call(
        name="CLOSE",
        names=("close call", "close()", "closesocket", "closesocket()"),
        kind="user call",
        summary="Give the socket back. The last holder's close() sends FIN, or RST when data was left unread.",
        events=(Event.CLOSE,),
        points=(
            "Data still queued is sent first; the state changes at once.",
            "After fork() every holder must close: the FIN goes out with the last one.",
            "The end of a process closes all its sockets, whatever killed it: the kernel sends FIN (or RST) for it.",
            (
                "After close() this end is an orphan: FIN_WAIT_2 ends after tcp_fin_timeout, and data that arrives is"
                " answered with RST."
            ),
        ),
        see_also=("shutdown()", "FIN_WAIT_1", "LAST_ACK"),
    ),
    Call(
        name="ABORT",
        names=("abort call", "abort", "so_linger 0"),
        kind="user call",
        summary="Throw the connection away: RST to the peer, queues discarded, no TIME_WAIT.",
        events=(Event.ABORT,),
        points=(
            (
                "With sockets: SO_LINGER on with 0 seconds, then close(). Or close() with unread data, which Linux"
                " turns into RST."
            ),
            "From outside: tcpscope kill, ss -K (SOCK_DESTROY).",
        ),
        see_also=("RST", "SO_LINGER"),
    ),
    Call(
        name="STATUS",
        names=("status call", "status", "getsockopt", "tcp_info"),
        kind="user call",
        summary=(
            "Ask for the state. With sockets: getsockopt(TCP_INFO); from outside: sock_diag, as ss and tcpscope do."
        ),
        events=(Event.STATUS,),
        points=(
            (
                "TCP_INFO holds no time of entering the state. In CLOSE_WAIT and FIN_WAIT_2 the time since the last ACK"
                " is that age, unless keepalive refreshes it."
            ),
        ),
        see_also=(),
    ),
    Call(
        name="connect()",
        names=("connect",),
        kind="socket call",
        summary="Active OPEN: send SYN, wait for SYN,ACK.",
        events=(Event.OPEN_ACTIVE,),
        points=(
            (
                "ECONNREFUSED: RST came back, nobody listens (or a firewall says so). ETIMEDOUT: no answer in 131 s."
                " EHOSTUNREACH: ICMP, or no ARP answer for 3 s."
            ),
            (
                "EADDRNOTAVAIL: no free local port towards this destination. EISCONN on a listening socket: Linux has"
                " no LISTEN -> SYN_SENT."
            ),
            "Returns when SYN,ACK arrived; whether the server ever calls accept() it does not learn.",
        ),
        see_also=("SYN_SENT", "syn-retries"),
    ),
    Call(
        name="listen()",
        names=("listen call",),
        kind="socket call",
        summary="Passive OPEN: accept SYNs; backlog limits the queue of finished handshakes.",
        events=(Event.OPEN_PASSIVE,),
        points=(
            (
                "The backlog is min(argument, net.core.somaxconn) at the moment of the call; raising somaxconn later"
                " changes nothing until listen() is called again."
            ),
            "The queue holds backlog + 1.",
        ),
        see_also=("LISTEN", "accept queue"),
    ),
    Call(
        name="accept()",
        names=("accept", "accept4"),
        kind="socket call",
        summary="Take one finished connection from the queue. It takes no part in the handshake.",
        events=(),
        points=(
            (
                "The kernel has answered SYN and received the last ACK long before: clients are ESTABLISHED, can send,"
                " and are acknowledged although no program knows them."
            ),
            "EMFILE: out of descriptors; the connection stays in the queue.",
        ),
        see_also=("accept queue", "ESTABLISHED", "claim 003-3"),
    ),
    Call(
        name="shutdown()",
        names=("shutdown", "shutdown(shut_wr)", "shut_wr", "half close call"),
        kind="socket call",
        summary="Close one direction and keep the descriptor. SHUT_WR sends FIN; reading goes on.",
        events=(Event.CLOSE,),
        points=(
            "FIN_WAIT_2 after shutdown(SHUT_WR) has no timeout: the kernel believes that the program still reads.",
            "It acts at once for all holders of the socket, unlike close().",
            "SHUT_RD sends nothing.",
        ),
        see_also=("half-close", "FIN_WAIT_2", "fin-wait2-half-closed-forever"),
    ),
    Call(
        name="bind()",
        names=("bind",),
        kind="socket call",
        summary="Choose the local address and port.",
        events=(),
        points=(
            (
                "EADDRINUSE with nobody listening: TIME_WAIT or another state on that port without SO_REUSEADDR on both"
                " sockets, or an outgoing connection uses the port."
            ),
            (
                "bind() with port 0 before connect() takes the port for all destinations; IP_BIND_ADDRESS_NO_PORT"
                " avoids that."
            ),
        ),
        see_also=("SO_REUSEADDR", "net.ipv4.ip_local_port_range"),
    ),
    Call(
        name="SO_REUSEADDR",
        names=("reuseaddr",),
        kind="socket option",
        summary="Lets a listener bind while old connections of the port are in TIME_WAIT.",
        events=(),
        points=(
            "Needed on the old and on the new socket (measured). It never allows two live listeners on one address.",
            "Set it before bind().",
        ),
        see_also=("bind()", "TIME_WAIT", "claim 003-9"),
    ),
    Call(
        name="SO_REUSEPORT",
        names=("reuseport",),
        kind="socket option",
        summary="Several listeners on one address and port; the kernel deals new connections out.",
        events=(),
        points=(
            "One stuck process then hangs its share of the clients.",
            "Closing one resets its queue unless net.ipv4.tcp_migrate_req is 1.",
        ),
        see_also=("reuseport-imbalance",),
    ),
    Call(
        name="SO_LINGER",
        names=("linger",),
        kind="socket option",
        summary="With 0 seconds, close() aborts: RST, data lost, no TIME_WAIT.",
        events=(Event.ABORT,),
        points=("Use it to throw out a peer, not to save TIME_WAIT: what was queued is lost.",),
        see_also=("ABORT",),
    ),
    Call(
        name="TCP_NODELAY",
        names=("nodelay", "nagle"),
        kind="socket option",
        summary="Send small segments at once instead of waiting for the last ACK (Nagle).",
        events=(),
        points=("Changes no state.",),
        see_also=("delayed-ack",),
    ),
    Call(
        name="SO_SNDTIMEO",
        names=("sndtimeo",),
        kind="socket option",
        summary="Lets a blocked send() give up with EAGAIN. It ends the call, not the connection.",
        events=(),
        points=("Close the socket yourself afterwards.",),
        see_also=("persist",),
    ),
)

_BY_NAME = {name.lower().replace(" ", ""): call for call in CALLS for name in (call.name, *call.names)}


def call_named(text: str) -> Call | None:
    """Return the call of this name (``close()``, ``call close``, ``SO_REUSEADDR``), or ``None``."""
    wanted = text.strip().lower()
    if wanted.startswith("call "):
        wanted = wanted[5:]
    found = _BY_NAME.get(wanted.replace(" ", ""))
    if found is None and wanted.endswith("()"):
        found = next((call for call in CALLS if fold(call.name) == fold(wanted)), None)
    return found


def calls_grid(rows: tuple[Row, ...]) -> Grid:
    """Tabulate rows of the table by the state they start in, in the order of life."""
    rows = tuple(sorted(rows, key=lambda row: LIFE_ORDER.index(row.before)))
    cells = (
        (row.before.name, spell_guard(row.guard) or "-", row.after.name, spell_sends(row.sends), row.rfc, row.note)
        for row in rows
    )
    return Grid(("in", "if", "then", "sends", "RFC 9293", "note"), tuple(dict.fromkeys(cells)))


def explain_call(call: Call) -> Answer:
    """Explain a call; what it does in each state comes from the table."""
    rows = tuple(row for event in call.events for row in rows_on(event))
    sections = [*prose_sections(("Mind", call.points))]
    if rows:
        sections.insert(0, Section("What it does in each state", grid=calls_grid(rows)))
    return Answer(
        call.kind.replace(" ", "-"),
        call.name,
        f"{call.name}: {call.kind}",
        call.summary,
        tuple(sections),
        call.see_also,
        {"events": [event.name for event in call.events], "rows": [row_as_json(row) for row in rows]},
    )
