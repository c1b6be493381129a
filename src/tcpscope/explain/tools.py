"""The tools people use: what each shows about TCP, what it hides, and the nearest command of tcpscope."""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section, fold
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
    Tool(
        name="netstat",
        names=("net-tools", "netstat -anlp"),
        summary="Sockets with state, queues and one owner, read from /proc/net.",
        shows=("Proto, Recv-Q, Send-Q, addresses, State, PID/Program name; with -o the timer.",),
        hides=(
            "The backlog of listeners: Send-Q of LISTEN is always 0.",
            "Dual stack or IPv6 only: both are :::port.",
            "The ::ffff: of v4-mapped addresses.",
            "All holders but one of a shared socket.",
            "Why there is no owner: '-' has four reasons.",
        ),
        same=(
            ("netstat -anlp", "tcpscope list -anp"),
            ("netstat -tlnp", "tcpscope list -tlnp"),
            ("netstat -s", "tcpscope stats"),
        ),
        see_also=("PID/Program name", "Send-Q"),
    ),
    Tool(
        name="ss",
        names=("iproute2", "ss -tanp", "sockstat"),
        summary="Sockets as the kernel's sock_diag tells them; fast, filters in the kernel.",
        shows=(
            "Everything netstat shows, and backlog, timers, tcp_info (-i), memory (-m), v6only (*: against [::]:).",
        ),
        hides=(
            "Sockets reset by the peer that the program never closed, and unbound ones: they are in no list.",
            "Seconds below 60: printed as 9.552ms.",
            "The age of a state.",
        ),
        same=(
            ("ss -tanp", "tcpscope list -tanp"),
            ("ss -s", "tcpscope states"),
            ("ss -K state close-wait", "tcpscope kill state close-wait"),
        ),
        see_also=("zombie-socket-fds", "Timer"),
    ),
    Tool(
        name="lsof",
        names=("lsof -i", "lsof -i:port"),
        summary="Open files of processes; -i picks the internet sockets.",
        shows=("PID, user, descriptor number, NODE (the inode), addresses, state.",),
        hides=(
            "Sockets without a descriptor: TIME_WAIT, SYN_RECEIVED, orphans, connections not accepted.",
            "Timers; queues only with -Tq.",
            "Other network namespaces: -i lists nothing there.",
        ),
        same=(
            ("lsof -i :9000", "tcpscope list -anp '( sport = :9000 or dport = :9000 )'"),
            ("lsof -p 123 -a -i", "tcpscope list -anp pid 123"),
        ),
        see_also=("Inode", "claim 002-7"),
    ),
    Tool(
        name="sar",
        names=("sar -n", "sysstat", "sar -n sock", "sar -n tcp", "sar -n etcp"),
        summary="Rates over time from the kernel's counters.",
        shows=(
            "SOCK: totsck, tcpsck, udpsck, rawsck, ip-frag, tcp-tw.",
            "TCP: active/s, passive/s, iseg/s, oseg/s.",
            "ETCP: atmptf/s, estres/s, retrans/s, isegerr/s, orsts/s.",
        ),
        hides=(
            "tcpsck counts sockets of this namespace, not connections by state.",
            "No CLOSE_WAIT: the kernel counts it as established (CurrEstab).",
        ),
        same=(("sar -n SOCK,TCP,ETCP 1", "tcpscope stats 1"),),
        see_also=("counters",),
    ),
    Tool(
        name="tcpdump",
        names=("tcpdump -i any", "wireshark", "tshark", "pcap"),
        summary="Packets as they pass an interface.",
        shows=(
            "Flags: S SYN, S. SYN,ACK, . ACK, F. FIN,ACK, R RST, P. data.",
            "Sequence numbers, window, options, times.",
        ),
        hides=(
            "The state of either end: it must be inferred from what passes.",
            "The process.",
            "Packets the interface dropped, and large segments before they are cut (offload).",
        ),
        same=(
            ("tcpdump -i any tcp port 9000", "tcpscope capture -i any tcp port 9000"),
            ("tcpdump -r trace.pcap", "tcpscope read trace.pcap"),
        ),
        see_also=("SYN", "FIN", "RST"),
    ),
    Tool(
        name="ping",
        names=(),
        summary="ICMP echo: is there a host, how far, how lossy.",
        shows=("Round-trip time, loss, the TTL of the answer (64 sent and 56 received: 8 routers).",),
        hides=(
            (
                "Whether TCP works: echo may be filtered while the port answers, and the reverse. The connections you"
                " have know their round-trip time and losses: list -i."
            ),
        ),
        same=(("ping host", "tcpscope list -tani dst HOST"),),
        see_also=("traceroute",),
    ),
    Tool(
        name="traceroute",
        names=("tracert",),
        summary="The routers on the way, by packets with growing TTL.",
        shows=("One line per hop; * where nobody answers.",),
        hides=(
            "With UDP or ICMP probes a firewall may answer otherwise than for TCP: use traceroute -T -p PORT.",
            "The way back.",
        ),
        same=(),
        see_also=("mtr",),
    ),
    Tool(
        name="mtr",
        names=(),
        summary="traceroute and ping in one, for as long as you look.",
        shows=("Loss and delay per hop.",),
        hides=(
            "Loss at one hop that does not go on behind it is that router's rate limit, not loss.",
            "Use mtr -T for TCP.",
        ),
        same=(),
        see_also=("traceroute",),
    ),
    Tool(
        name="pathping",
        names=(),
        summary="A Windows tool: tracert with statistics. It does not exist on Linux.",
        shows=("Loss and delay per hop after some minutes.",),
        hides=("On Linux mtr does the same.",),
        same=(),
        see_also=("mtr",),
    ),
    Tool(
        name="nslookup",
        names=("dig", "host"),
        summary="Asks a DNS server for a name.",
        shows=("Addresses of the name, and which server said so.",),
        hides=("What programs really get: they ask the resolver of the C library (/etc/hosts, nsswitch.conf) first.",),
        same=(),
        see_also=("SYN_SENT",),
    ),
    Tool(
        name="telnet",
        names=("nc", "netcat"),
        summary="Opens a TCP connection by hand: whether a port answers.",
        shows=("Connected, refused (RST came back) or no answer (nothing did).",),
        hides=(
            "Whether the program has taken the connection: the kernel completes handshakes before accept().",
            "Which of drop, absent host and full accept queue it is when nothing answers.",
        ),
        same=(("telnet HOST PORT", "tcpscope trace port PORT"),),
        see_also=("accept queue", "ECONNREFUSED", "ETIMEDOUT"),
    ),
    Tool(
        name="kill",
        names=("kill -9", "kill -9 PID", "SIGKILL", "pkill", "killall", "Ctrl-C", "SIGINT"),
        summary="Ends a process; its kernel then closes every socket that no other process holds.",
        shows=("FIN goes out for each connection, RST where received data was not read.",),
        hides=(
            "Other holders: a socket that a forked process holds too stays as it is.",
            "What the peer does: its end stays in CLOSE_WAIT until its program closes.",
            "Why it leaked: the next process does it again.",
        ),
        same=(("kill -9 PID", "tcpscope kill 'pid = PID'"),),
        see_also=("shared-socket-holders", "CLOSE_WAIT", "claim 002-7"),
    ),
    Tool(
        name="node_exporter",
        names=("prometheus", "node exporter", "netdata"),
        summary="Prometheus' exporter: counters and gauges of the host as time series, no sockets.",
        shows=(
            "By default of TCP: ListenOverflows, ListenDrops, Syncookies*, TCPSynRetrans, ActiveOpens, PassiveOpens,"
            " InSegs, OutSegs, RetransSegs, OutRsts, InErrs, CurrEstab; newer versions also TCPTimeouts, TCPOFOQueue"
            " and TCPRcvQDrop.",
            "With --collector.tcpstat: sockets per state, from /proc/net/tcp.",
        ),
        hides=(
            "AttemptFails, EstabResets, TCPAbortOn*, TCPReqQFull*, TCPTimeWaitOverflow: not in the default selection.",
            "CLOSE_WAIT: CurrEstab counts it as established.",
            "Whose they are: node_sockstat_TCP_inuse and _tw are of the namespace it runs in, _orphan, _alloc and _mem"
            " of the whole machine.",
        ),
        same=(
            ("node_netstat_Tcp_CurrEstab", "tcpscope states"),
            ("rate(node_netstat_TcpExt_ListenOverflows[1m])", "tcpscope stats 1"),
        ),
        see_also=("counters", "states"),
    ),
    Tool(
        name="nstat",
        names=("netstat -s", "snmp"),
        summary="The kernel's counters since boot or since the last call.",
        shows=("Tcp.*, TcpExt.*: one number each for the whole namespace.",),
        hides=(
            "Which socket: counters have no addresses.",
            "ListenOverflows counts SYNs and their retries, not clients (5 clients gave 40 in 12 s).",
        ),
        same=(("nstat -az", "tcpscope stats"),),
        see_also=("counters",),
    ),
)

_BY_NAME = {fold(name): tool for tool in TOOLS for name in (tool.name, *tool.names)}


def tool_named(text: str) -> Tool | None:
    """Return the tool of this name, or the one a command line starts (``$ sudo /usr/sbin/lsof -i:80 | grep x``)."""
    return _BY_NAME.get(fold(text)) or _started_by(text.split())


def _started_by(words: list[str]) -> Tool | None:
    while words and words[0].lower() in ("$", "#", "sudo"):
        words = words[1:]
    if not words:
        return None
    # Why: articles lose the blank before an option (netstat-a).
    program, dash, _ = words[0].rpartition("/")[2].lower().partition("-")
    return _BY_NAME.get(fold(program)) if dash or len(words) > 1 else None


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
    return Answer(
        "tools",
        "tools",
        "Tools",
        "What each shows, and the nearest command here.",
        (Section("Tools", grid=Grid(("tool", "shows", "tcpscope"), rows)),),
        ("claim 003-15",),
        {"tools": [tool.name for tool in TOOLS]},
    )
