"""The tools people use: what each shows about TCP, what it hides, and the nearest command of tcpscope."""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section, fold, prose_sections
from tcpscope.model.record import NamedTuple


class Tool(NamedTuple):
    """One tool. ``same`` pairs a habit with the command of tcpscope; empty when there is none."""

    name: str
    names: tuple[str, ...]
    summary: str
    shows: tuple[str, ...]
    hides: tuple[str, ...]
    same: tuple[tuple[str, str], ...]
    see_also: tuple[str, ...] = ()


TOOLS: tuple[Tool, ...] = (
    Tool("netstat", ("net-tools", "netstat -anlp"), "Sockets with state, queues and one owner, read from /proc/net.",
         ("Proto, Recv-Q, Send-Q, addresses, State, PID/Program name; with -o the timer.",),
         ("The backlog of listeners: Send-Q of LISTEN is always 0.", "Dual stack or IPv6 only: both are :::port.", "The ::ffff: of v4-mapped addresses.", "All holders but one of a shared socket.", "Why there is no owner: '-' has four reasons."),
         (("netstat -anlp", "tcpscope list -anp"), ("netstat -tlnp", "tcpscope list -tlnp"), ("netstat -s", "tcpscope stats")),
         ("PID/Program name", "Send-Q")),
    Tool("ss", ("iproute2", "ss -tanp", "sockstat"), "Sockets as the kernel's sock_diag tells them; fast, filters in the kernel.",
         ("Everything netstat shows, and backlog, timers, tcp_info (-i), memory (-m), v6only (*: against [::]:).",),
         ("Sockets reset by the peer that the program never closed, and unbound ones: they are in no list.", "Seconds below 60: printed as 9.552ms.", "The age of a state."),
         (("ss -tanp", "tcpscope list -tanp"), ("ss -s", "tcpscope states"), ("ss -K state close-wait", "tcpscope kill state close-wait")),
         ("zombie-socket-fds", "Timer")),
    Tool("lsof", ("lsof -i", "lsof -i:port"), "Open files of processes; -i picks the internet sockets.",
         ("PID, user, descriptor number, NODE (the inode), addresses, state.",),
         ("Sockets without a descriptor: TIME_WAIT, SYN_RECEIVED, orphans, connections not accepted.", "Queues, timers.", "Other network namespaces: -i lists nothing there."),
         (("lsof -i :9000", "tcpscope list -anp '( sport = :9000 or dport = :9000 )'"), ("lsof -p 123 -a -i", "tcpscope list -anp pid 123")),
         ("Inode", "claim 002-7")),
    Tool("sar", ("sar -n", "sysstat", "sar -n sock", "sar -n tcp", "sar -n etcp"), "Rates over time from the kernel's counters.",
         ("SOCK: totsck, tcpsck, udpsck, rawsck, ip-frag, tcp-tw.", "TCP: active/s, passive/s, iseg/s, oseg/s.", "ETCP: atmptf/s, estres/s, retrans/s, isegerr/s, orsts/s."),
         ("tcpsck counts sockets of this namespace, not connections by state.", "No CLOSE_WAIT: the kernel counts it as established (CurrEstab)."),
         (("sar -n SOCK,TCP,ETCP 1", "tcpscope stats 1"),),
         ("counters",)),
    Tool("tcpdump", ("tcpdump -i any", "wireshark", "tshark", "pcap"), "Packets as they pass an interface.",
         ("Flags: S SYN, S. SYN,ACK, . ACK, F. FIN,ACK, R RST, P. data.", "Sequence numbers, window, options, times."),
         ("The state of either end: it must be inferred from what passes.", "The process.", "Packets the interface dropped, and large segments before they are cut (offload)."),
         (("tcpdump -i any tcp port 9000", "tcpscope capture -i any tcp port 9000"), ("tcpdump -r trace.pcap", "tcpscope read trace.pcap")),
         ("SYN", "FIN", "RST")),
    Tool("ping", (), "ICMP echo: is there a host, how far, how lossy.",
         ("Round-trip time, loss, the TTL of the answer (64 sent and 56 received: 8 routers).",),
         ("Whether TCP works: echo may be filtered while the port answers, and the reverse. The connections you have know their round-trip time and losses: list -i.",),
         (("ping host", "tcpscope list -tani dst HOST"),), ("traceroute",)),
    Tool("traceroute", ("tracert",), "The routers on the way, by packets with growing TTL.",
         ("One line per hop; * where nobody answers.",),
         ("With UDP or ICMP probes a firewall may answer otherwise than for TCP: use traceroute -T -p PORT.", "The way back."),
         (), ("mtr",)),
    Tool("mtr", (), "traceroute and ping in one, for as long as you look.",
         ("Loss and delay per hop.",),
         ("Loss at one hop that does not go on behind it is that router's rate limit, not loss.", "Use mtr -T for TCP."),
         (), ("traceroute",)),
    Tool("pathping", (), "A Windows tool: tracert with statistics. It does not exist on Linux.",
         ("Loss and delay per hop after some minutes.",), ("On Linux mtr does the same.",), (), ("mtr",)),
    Tool("nslookup", ("dig", "host"), "Asks a DNS server for a name.",
         ("Addresses of the name, and which server said so.",),
         ("What programs really get: they ask the resolver of the C library (/etc/hosts, nsswitch.conf) first.",),
         (), ("SYN_SENT",)),
    Tool("nstat", ("netstat -s", "snmp"), "The kernel's counters since boot or since the last call.",
         ("Tcp.*, TcpExt.*: one number each for the whole namespace.",),
         ("Which socket: counters have no addresses.", "ListenOverflows counts SYNs and their retries, not clients (5 clients gave 40 in 12 s)."),
         (("nstat -az", "tcpscope stats"),), ("counters",)),
)  # fmt: skip

_BY_NAME = {fold(name): tool for tool in TOOLS for name in (tool.name, *tool.names)}


def tool_named(text: str) -> Tool | None:
    """Return the tool of this name, or ``None``."""
    return _BY_NAME.get(fold(text))


def explain_tool(tool: Tool) -> Answer:
    """Explain what a tool shows about TCP."""
    sections = (
        Section("Shows", items=tool.shows),
        Section("Does not show", items=tool.hides),
        *((Section("With tcpscope", grid=Grid(("habit", "tcpscope"), tool.same)),) if tool.same else ()),
    )
    facts: dict[str, object] = {"tool": tool.name, "tcpscope": dict(tool.same)}
    return Answer(
        "tool", tool.name, f"{tool.name}: what it shows about TCP", tool.summary, sections, tool.see_also, facts
    )


def explain_tools() -> Answer:
    """List the tools with the nearest commands of tcpscope."""
    rows = tuple((tool.name, tool.summary, tool.same[0][1] if tool.same else "-") for tool in TOOLS)
    return Answer("tools", "tools", "Tools", "What each shows, and the nearest command here.", (Section("Tools", grid=Grid(("tool", "shows", "tcpscope"), rows)),), ("claim 003-15",), {"tools": [tool.name for tool in TOOLS]})  # fmt: skip


class Term(NamedTuple):
    """One word of the field that is no state, event, column or setting."""

    name: str
    names: tuple[str, ...]
    meaning: str
    more: tuple[str, ...] = ()
    see_also: tuple[str, ...] = ()


TERMS: tuple[Term, ...] = (
    Term("orphan socket", ("orphan connection", "orphaned"), "A connection whose program has closed it (or ended) while the kernel still finishes it.", ("States FIN_WAIT_1, LAST_ACK, CLOSING with inode 0; FIN_WAIT_2 with inode 0 is kept as a mini-socket.",), ("orphan", "FIN_WAIT_1", "LAST_ACK")),
    Term("mini-socket", ("time-wait mini-socket", "minisocket"), "The small record that replaces the socket in TIME_WAIT and in FIN_WAIT_2 after close().", ("No inode, no process, no buffers; timer 'timewait'. sockstat counts both kinds in tw.",), ("TIME_WAIT", "FIN_WAIT_2")),
    Term("request socket", ("reqsk", "half-open handshake", "syn queue"), "The small record of a handshake that is not finished: SYN_RECEIVED on the server.", ("State 12 inside the kernel. The listener stays LISTEN. No program can see or close it.",), ("SYN_RECEIVED", "syn-flood")),
    Term("accept queue", ("accept backlog", "completed queue", "backlog", "listen backlog"), "Finished handshakes that wait for accept(): Recv-Q of the listener.", ("It holds backlog + 1. When it is full, SYNs are dropped and clients stay in SYN_SENT.",), ("Recv-Q LISTEN", "net.core.somaxconn", "accept-queue-overflow")),
    Term("half-close", ("half closed", "halfclose"), "One direction is closed, the other still carries data: FIN_WAIT_2 here, CLOSE_WAIT there.", ("Legal, and used by ssh, rsync and HTTP/1.0 proxies. Made by shutdown(SHUT_WR).",), ("shutdown()", "FIN_WAIT_2/CLOSE_WAIT")),
    Term("half-open", ("half open", "ghost", "stale connection"), "One end believes in a connection that the other has lost.", ("No packet flows, so nothing tells. The next data is answered with RST, or with silence.",), ("half-open-stale", "keepalive")),
    Term("simultaneous close", ("simultaneous closing",), "Both ends send FIN before either has the other's.", ("FIN_WAIT_1 -> CLOSING -> TIME_WAIT on both ends, by arriving segments and not by timers.",), ("CLOSING", "claim 004-4")),
    Term("simultaneous open", (), "Both ends connect to each other at once: SYN_SENT -> SYN_RECEIVED -> ESTABLISHED.", (), ("SYN_RECEIVED", "self-connect")),
    Term("self connection", ("selfconnect",), "A program connected to itself: local and foreign address are equal.", ("A client that retries to a dead local service in the ephemeral range meets its own SYN (measured: after 6596 tries, 0.53 s).",), ("self-connect", "net.ipv4.ip_local_reserved_ports")),
    Term("SYN cookies", ("syncookies", "syn cookie"), "A SYN,ACK whose sequence number encodes the handshake, so that the server need not remember it.", ("Used when the queue is full. Needs timestamps to keep window scaling and SACK.",), ("net.ipv4.tcp_syncookies", "syn-flood")),
    Term("ephemeral port", ("ephemeral ports", "local port", "port exhaustion"), "The local port connect() picks, from net.ipv4.ip_local_port_range.", ("Used up per destination (address and port), TIME_WAIT included; then EADDRNOTAVAIL.",), ("net.ipv4.ip_local_port_range", "ephemeral-port-exhaustion-timewait")),
    Term("UNKNOWN", ("unknown state",), "netstat's word for a state number it does not know. It is no TCP state.", ("Seen for 12 (request socket) or 13 (bound only) with a tool older than the kernel.",), ("states", "claim 001-6")),
    Term("three-way handshake", ("handshake", "3-way handshake"), "SYN, SYN,ACK, ACK: both ends learn each other's first sequence number.", ("Done by the two kernels. The server's program is not asked; accept() only fetches the result.",), ("CLOSED -> SYN_SENT -> ESTABLISHED", "accept()")),
    Term("four-way close", ("four-way handshake", "teardown"), "FIN, ACK, FIN, ACK: each direction is closed on its own.", ("Three segments when the second end closes at once: its ACK and FIN share one.",), ("FIN_WAIT_1 -> TIME_WAIT", "half-close")),
    Term("active open", ("active opener", "client"), "The end that calls connect() first: the client. Who sends more data does not matter.", (), ("claim 003-1", "connect()")),
    Term("passive open", ("passive opener", "server"), "The end that listens: the server.", (), ("claim 003-1", "listen()")),
)  # fmt: skip

_TERM_BY_NAME = {fold(name): term for term in TERMS for name in (term.name, *term.names)}


def term_named(text: str) -> Term | None:
    """Return the term of this name, or ``None``."""
    return _TERM_BY_NAME.get(fold(text))


def explain_term(term: Term) -> Answer:
    """Explain one word of the field."""
    return Answer(
        "term",
        term.name,
        term.name,
        term.meaning,
        prose_sections(("More", term.more)),
        term.see_also,
        {"term": term.name},
    )
