"""The columns of ``netstat -anlp`` (and of ss, lsof, tcpscope): what each shows, and what it does not."""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section, fold, prose_sections
from tcpscope.explain.queues import QUEUES, SEND_Q_BY_TIMER
from tcpscope.machine.lifecycle import LIFE_ORDER
from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State


class Column(NamedTuple):
    """One column; ``queue`` is ``recv`` or ``send`` for the two that mean something else in every state."""

    name: str
    names: tuple[str, ...]
    summary: str
    tells: tuple[str, ...]
    mind: tuple[str, ...] = ()
    queue: str = ""
    see_also: tuple[str, ...] = ()


COLUMNS: tuple[Column, ...] = (
    Column(
        name="Proto",
        names=("protocol", "netid"),
        summary="The protocol and the address family of the socket, not of the traffic.",
        tells=(
            "tcp: an IPv4 socket. tcp6: an IPv6 socket.",
            "udp, udp6: no connection, so State is empty or UNCONN.",
            "ss calls the column Netid and writes tcp for both families.",
        ),
        mind=(
            (
                "A dual-stack listener is tcp6 and serves IPv4 too; its IPv4 connections are tcp6 with a v4-mapped"
                " address."
            ),
            "netstat hides the ::ffff: prefix, so 'tcp6 10.9.0.2:7008' is an IPv4 address on an IPv6 socket.",
        ),
        see_also=("Local Address", "v6only"),
    ),
    Column(
        name="Recv-Q",
        names=("receive queue", "recv queue", "rq", "rx_queue"),
        summary="What has arrived and was not fetched. Its meaning depends on the state.",
        tells=(
            "In LISTEN: connections waiting for accept().",
            "In all other states: bytes that arrived in order and were not read, plus 1 once the peer's FIN is there.",
        ),
        mind=(
            "Bytes, not packets. Out-of-order data is not counted.",
            "Above 0 for seconds means that the local program does not read. An attack is the rare explanation.",
        ),
        queue="recv",
        see_also=("CLOSE_WAIT", "accept queue", "claim 001-1", "claim 001-3"),
    ),
    Column(
        name="Send-Q",
        names=("send queue", "sq", "tx_queue"),
        summary="What the peer has not acknowledged. Its meaning depends on the state.",
        tells=(
            "In LISTEN: the backlog (ss, tcpscope) or 0 (netstat).",
            "In all other states: bytes not acknowledged, sent or not, plus 1 for a SYN or FIN of ours.",
        ),
        mind=(
            "Bytes, not packets.",
            "The timer beside it names the cause; the number alone does not.",
            "tcp_info's notsent_bytes is the part that has not left this host.",
        ),
        queue="send",
        see_also=("Timer", "retransmission", "persist", "claim 001-2"),
    ),
    Column(
        name="Local Address",
        names=("local", "local address:port", "laddr"),
        summary="The address and port of this end. On a listener: where it can be reached.",
        tells=(
            "0.0.0.0:p every IPv4 address; *:p (ss) every IPv4 and IPv6 address; [::]:p (ss) IPv6 only.",
            "netstat writes :::p both for dual stack and for IPv6 only; it cannot tell.",
            "A specific address: only that one. 127.0.0.1 or ::1: only this host.",
        ),
        mind=(
            (
                "'Listens on' is not 'reachable': a firewall or NAT may stand before it. And loopback may be reached by"
                " DNAT, route_localnet, host-network containers or SSH forwards."
            ),
        ),
        see_also=("0.0.0.0:22", ":::22", "127.0.0.1:631", "v6only"),
    ),
    Column(
        name="Foreign Address",
        names=("foreign", "peer address", "peer address:port", "remote", "remote address", "peer", "raddr"),
        summary="The address and port of the other end.",
        tells=(
            "0.0.0.0:* or :::*: no peer; a listener or an unconnected socket.",
            "Behind NAT or a load balancer it is that device, not the client.",
        ),
        mind=("Equal to Local Address, port included: the program has connected to itself.",),
        see_also=("self-connect",),
    ),
    Column(
        name="State",
        names=("st", "status column"),
        summary="Which of the eleven states of RFC 9293 this end is in. The other end is usually in another one.",
        tells=(
            "The kernel moves it, driven by segments, by calls of the program and by timers.",
            "UDP has no states; netstat leaves it empty, ss writes UNCONN or ESTAB.",
        ),
        mind=(
            "UNKNOWN is netstat's word for a number it does not know; it is no state.",
            "Each tool spells differently: FIN_WAIT2, FIN-WAIT-2 and FIN_WAIT_2 are one state.",
        ),
        see_also=("states", "claim 001-6"),
    ),
    Column(
        name="PID/Program name",
        names=("pid/program", "pid", "program", "program name", "process", "users", "command", "owner"),
        summary="A process that holds the socket open.",
        tells=(
            (
                "'-' has four reasons: no privilege to look; not accepted yet (ESTABLISHED or CLOSE_WAIT, inode 0); an"
                " orphan (FIN_WAIT_1, LAST_ACK, CLOSING, inode 0); a mini- or request socket (TIME_WAIT, FIN_WAIT_2"
                " after close(), SYN_RECEIVED)."
            ),
            "tcpscope names the reason instead of '-'.",
        ),
        mind=(
            (
                "netstat shows one holder. After fork() several processes hold the same socket (same inode): the FIN"
                " goes out when the last one closes."
            ),
            "The name comes from /proc/PID, 15 characters, and may be anything the program wrote there.",
            (
                "Finding it means a walk over the descriptors of all processes; with 200,000 socket descriptors on the"
                " machine netstat -tanp took 18.3 s, ss -tanp 1.6 s."
            ),
        ),
        see_also=("orphan", "mini-socket", "shared-socket-holders", "claim 002-7"),
    ),
    Column(
        name="Timer",
        names=("timers column", "timer column", "tr"),
        summary="Which of the kernel's clocks runs on the socket, when it fires and how often it did.",
        tells=(
            "on: retransmission (SYN, SYN,ACK, data or FIN is not acknowledged).",
            "keepalive: the program asked for keepalive.",
            "timewait: TIME_WAIT, or FIN_WAIT_2 after close().",
            "persist (netstat: probe): the peer's window is 0.",
            "nothing or off: nobody waits for anything; the state can last for ever.",
        ),
        mind=(
            "ss prints 9.552 seconds as 9.552ms, and 119 minutes as 119min.",
            "The last number counts retransmissions or probes since the last progress.",
        ),
        see_also=("timers", "retransmission", "persist", "keepalive"),
    ),
    Column(
        name="Inode",
        names=("node", "ino", "device"),
        summary="The number that ties a socket to the descriptors of processes (/proc/PID/fd -> socket:[inode]).",
        tells=(
            "0: no program has a descriptor for it (not accepted, orphan, request or mini-socket).",
            "The same inode under two PIDs: they share the socket.",
        ),
        see_also=("PID/Program name", "claim 002-7"),
    ),
    Column(
        name="User",
        names=("uid", "user column"),
        summary="The user who created the socket.",
        tells=("It is the creator's, and stays when the process changes its user or hands the socket on.",),
        mind=("0 on sockets without an inode says nothing.",),
        see_also=("PID/Program name",),
    ),
)

_BY_NAME = {fold(name): column for column in COLUMNS for name in (column.name, *column.names)}


def column_named(text: str) -> Column | None:
    """Return the column of this name, or ``None``."""
    return _BY_NAME.get(fold(text))


def explain_column(column: Column, state: State | None = None) -> Answer:
    """Explain a column; for the queues also state by state, or in one ``state``."""
    if column.queue and state is not None:
        return _explain_queue_in(column, state)
    sections = [Section("What it tells", items=column.tells), *prose_sections(("Mind", column.mind))]
    if column.queue:
        rows = tuple((one.name, getattr(QUEUES[one], column.queue)) for one in LIFE_ORDER)
        sections.insert(1, Section("State by state", grid=Grid(("state", column.name), rows)))
    if column.queue == "send":
        sections.insert(
            2, Section("The timer names the cause", grid=Grid(("timer", "cause", "look at"), SEND_Q_BY_TIMER))
        )
    see = ("Recv-Q LISTEN", "Recv-Q CLOSE_WAIT") if column.queue == "recv" else ()
    facts: dict[str, object] = {"column": column.name}
    if column.queue:
        facts["by_state"] = {one.name: getattr(QUEUES[one], column.queue) for one in LIFE_ORDER}
    return Answer(
        "column", column.name, f"Column {column.name}", column.summary, tuple(sections), (*column.see_also, *see), facts
    )


def _explain_queue_in(column: Column, state: State) -> Answer:
    queues = QUEUES[state]
    text = getattr(queues, column.queue)
    sections = [Section("Healthy", (f"Recv-Q and Send-Q: {queues.normal}",))]
    if column.queue == "send" and queues.timers:
        rows = tuple(row for row in SEND_Q_BY_TIMER if row[0].partition(",")[0] in queues.timers)
        sections.append(Section("The timer names the cause", grid=Grid(("timer", "cause", "look at"), rows)))
    if state is State.LISTEN:
        sections.append(Section("See it", commands=("tcpscope list -tlnp", "ss -tln")))
    return Answer(
        "column",
        f"{column.name} in {state.name}",
        f"Column {column.name} in {state.name}",
        f"{text[0].upper()}{text[1:]}.",
        tuple(sections),
        (column.name, state.name),
        {"column": column.name, "state": state.name, "meaning": text, "healthy": queues.normal},
    )


def explain_columns() -> Answer:
    """List the columns."""
    rows = tuple((column.name, column.summary) for column in COLUMNS)
    return Answer(
        "columns",
        "columns",
        "Columns",
        "The columns of netstat -anlp, ss and tcpscope list.",
        (Section("Columns", grid=Grid(("column", "meaning"), rows)),),
        facts={"columns": [column.name for column in COLUMNS]},
    )
