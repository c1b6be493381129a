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
    Call("OPEN", ("open call",), "user call", "RFC 9293's word for beginning: passive is listen(), active is connect().",
         (Event.OPEN_PASSIVE, Event.OPEN_ACTIVE), (), ("connect()", "listen()")),
    Call("SEND", ("send call", "send()", "write()"), "user call", "Hand bytes to TCP. Success means: queued here, not: arrived there.",
         (Event.SEND,), ("On Linux the first send() after the peer has vanished succeeds; the error comes with a later call.",
                         "In CLOSE_WAIT sending is allowed. If the peer has closed completely it answers with RST and the next send() fails with EPIPE."), ("Send-Q",)),
    Call("RECEIVE", ("receive call", "recv()", "read()"), "user call", "Take bytes from TCP. 0 bytes mean: the peer has closed (end of file). It is no error.",
         (Event.RECEIVE,), ("A program that tests only for errors and not for 0 never closes: that is the usual CLOSE_WAIT leak.",
                            "ECONNRESET: the peer sent RST. ETIMEDOUT: retransmissions or keepalive probes were not answered."), ("CLOSE_WAIT", "claim 002-6")),
    Call("CLOSE", ("close call", "close()", "closesocket", "closesocket()"), "user call", "Give the socket back. The last holder's close() sends FIN, or RST when data was left unread.",
         (Event.CLOSE,), ("Data still queued is sent first; the state changes at once.",
                          "After fork() every holder must close: the FIN goes out with the last one.",
                          "The end of a process closes all its sockets, whatever killed it: the kernel sends FIN (or RST) for it.",
                          "After close() this end is an orphan: FIN_WAIT_2 ends after tcp_fin_timeout, and data that arrives is answered with RST."), ("shutdown()", "FIN_WAIT_1", "LAST_ACK")),
    Call("ABORT", ("abort call", "abort", "so_linger 0"), "user call", "Throw the connection away: RST to the peer, queues discarded, no TIME_WAIT.",
         (Event.ABORT,), ("With sockets: SO_LINGER on with 0 seconds, then close(). Or close() with unread data, which Linux turns into RST.",
                          "From outside: tcpscope kill, ss -K (SOCK_DESTROY)."), ("RST", "SO_LINGER")),
    Call("STATUS", ("status call", "status", "getsockopt", "tcp_info"), "user call", "Ask for the state. With sockets: getsockopt(TCP_INFO); from outside: sock_diag, as ss and tcpscope do.",
         (Event.STATUS,), ("TCP_INFO holds no time of entering the state. In CLOSE_WAIT and FIN_WAIT_2 the time since the last ACK is that age, unless keepalive refreshes it.",), ()),
    Call("connect()", ("connect",), "socket call", "Active OPEN: send SYN, wait for SYN,ACK.",
         (Event.OPEN_ACTIVE,), ("ECONNREFUSED: RST came back, nobody listens (or a firewall says so). ETIMEDOUT: no answer in 131 s. EHOSTUNREACH: ICMP, or no ARP answer for 3 s.",
                                "EADDRNOTAVAIL: no free local port towards this destination. EISCONN on a listening socket: Linux has no LISTEN -> SYN_SENT.",
                                "Returns when SYN,ACK arrived; whether the server ever calls accept() it does not learn."), ("SYN_SENT", "syn-retries")),
    Call("listen()", ("listen call",), "socket call", "Passive OPEN: accept SYNs; backlog limits the queue of finished handshakes.",
         (Event.OPEN_PASSIVE,), ("The backlog is min(argument, net.core.somaxconn) at the moment of the call; raising somaxconn later changes nothing until listen() is called again.",
                                 "The queue holds backlog + 1."), ("LISTEN", "accept queue")),
    Call("accept()", ("accept", "accept4"), "socket call", "Take one finished connection from the queue. It takes no part in the handshake.",
         (), ("The kernel has answered SYN and received the last ACK long before: clients are ESTABLISHED, can send, and are acknowledged although no program knows them.",
              "EMFILE: out of descriptors; the connection stays in the queue."), ("accept queue", "ESTABLISHED", "claim 003-3")),
    Call("shutdown()", ("shutdown", "shutdown(shut_wr)", "shut_wr", "half close call"), "socket call", "Close one direction and keep the descriptor. SHUT_WR sends FIN; reading goes on.",
         (Event.CLOSE,), ("FIN_WAIT_2 after shutdown(SHUT_WR) has no timeout: the kernel believes that the program still reads.",
                          "It acts at once for all holders of the socket, unlike close().", "SHUT_RD sends nothing."), ("half-close", "FIN_WAIT_2", "fin-wait2-half-closed-forever")),
    Call("bind()", ("bind",), "socket call", "Choose the local address and port.",
         (), ("EADDRINUSE with nobody listening: TIME_WAIT or another state on that port without SO_REUSEADDR on both sockets, or an outgoing connection uses the port.",
              "bind() with port 0 before connect() takes the port for all destinations; IP_BIND_ADDRESS_NO_PORT avoids that."), ("SO_REUSEADDR", "net.ipv4.ip_local_port_range")),
    Call("SO_REUSEADDR", ("reuseaddr",), "socket option", "Lets a listener bind while old connections of the port are in TIME_WAIT.",
         (), ("Needed on the old and on the new socket (measured). It never allows two live listeners on one address.", "Set it before bind()."), ("bind()", "TIME_WAIT", "claim 003-9")),
    Call("SO_REUSEPORT", ("reuseport",), "socket option", "Several listeners on one address and port; the kernel deals new connections out.",
         (), ("One stuck process then hangs its share of the clients.", "Closing one resets its queue unless net.ipv4.tcp_migrate_req is 1."), ("reuseport-imbalance",)),
    Call("SO_LINGER", ("linger",), "socket option", "With 0 seconds, close() aborts: RST, data lost, no TIME_WAIT.",
         (Event.ABORT,), ("Use it to throw out a peer, not to save TIME_WAIT: what was queued is lost.",), ("ABORT",)),
    Call("TCP_NODELAY", ("nodelay", "nagle"), "socket option", "Send small segments at once instead of waiting for the last ACK (Nagle).", (), ("Changes no state.",), ("delayed-ack",)),
    Call("SO_SNDTIMEO", ("sndtimeo",), "socket option", "Lets a blocked send() give up with EAGAIN. It ends the call, not the connection.", (), ("Close the socket yourself afterwards.",), ("persist",)),
)  # fmt: skip

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
    return Grid(("in", "if", "then", "sends", "RFC 9293", "note"), tuple(cells))


def explain_call(call: Call) -> Answer:
    """Explain a call; what it does in each state comes from the table."""
    rows = tuple(row for event in call.events for row in rows_on(event))
    sections = [*prose_sections(("Mind", call.points))]
    if rows:
        sections.insert(0, Section("What it does in each state", grid=calls_grid(rows)))
    return Answer(call.kind.replace(" ", "-"), call.name, f"{call.name}: {call.kind}", call.summary, tuple(sections), call.see_also,
                  {"events": [event.name for event in call.events], "rows": [row_as_json(row) for row in rows]})  # fmt: skip
