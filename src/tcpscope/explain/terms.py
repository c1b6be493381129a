"""Words of the field that are no state, event, column or setting."""

from __future__ import annotations

from tcpscope.explain.answer import Answer, fold, prose_sections
from tcpscope.model.record import NamedTuple


class Term(NamedTuple):
    """One word of the field that is no state, event, column or setting."""

    name: str
    names: tuple[str, ...]
    meaning: str
    more: tuple[str, ...] = ()
    see_also: tuple[str, ...] = ()


TERMS: tuple[Term, ...] = (
    Term(
        name="orphan socket",
        names=("orphan connection", "orphaned"),
        meaning="A connection whose program has closed it (or ended) while the kernel still finishes it.",
        more=("States FIN_WAIT_1, LAST_ACK, CLOSING with inode 0; FIN_WAIT_2 with inode 0 is kept as a mini-socket.",),
        see_also=("orphan", "FIN_WAIT_1", "LAST_ACK"),
    ),
    Term(
        name="TTL",
        names=("time to live", "hop limit"),
        meaning="How many more routers may pass a packet on: each takes one away, and drops it at 0.",
        more=("Most hosts begin with 64 (Windows 128): a reply that arrives with 56 came through 8 routers.",),
        see_also=("traceroute", "ping"),
    ),
    Term(
        name="SOCKET_ERROR",
        names=("INVALID_SOCKET",),
        meaning="What a call of Windows returns when it fails (-1); the peer's FIN is no failure.",
        more=("recv() returns 0 at the end of file. A program that closes only on SOCKET_ERROR leaks CLOSE_WAIT.",),
        see_also=("recv()", "close-wait-leak", "claim 002-6"),
    ),
    Term(
        name="port scan",
        names=("scan", "scanner", "worm", "blaster"),
        meaning="One program that tries very many hosts or ports: many SYN_SENT there, many RSTs where it knocks.",
        see_also=("scanner-or-worm-pattern", "inbound-scan", "SYN_SENT"),
    ),
    Term(
        name="mini-socket",
        names=("time-wait mini-socket", "minisocket"),
        meaning="The small record that replaces the socket in TIME_WAIT and in FIN_WAIT_2 after close().",
        more=("No inode, no process, no buffers; timer 'timewait'. sockstat counts both kinds in tw.",),
        see_also=("TIME_WAIT", "FIN_WAIT_2"),
    ),
    Term(
        name="request socket",
        names=("reqsk", "half-open handshake", "syn queue"),
        meaning="The small record of a handshake that is not finished: SYN_RECEIVED on the server.",
        more=("State 12 inside the kernel. The listener stays LISTEN. No program can see or close it.",),
        see_also=("SYN_RECEIVED", "syn-flood"),
    ),
    Term(
        name="accept queue",
        names=("accept backlog", "completed queue", "backlog", "listen backlog"),
        meaning="Finished handshakes that wait for accept(): Recv-Q of the listener.",
        more=("It holds backlog + 1. When it is full, SYNs are dropped and clients stay in SYN_SENT.",),
        see_also=("Recv-Q LISTEN", "net.core.somaxconn", "accept-queue-overflow"),
    ),
    Term(
        name="half-close",
        names=("half closed", "halfclose", "半关闭"),
        meaning="One direction is closed, the other still carries data: FIN_WAIT_2 here, CLOSE_WAIT there.",
        more=("Legal, and used by ssh, rsync and HTTP/1.0 proxies. Made by shutdown(SHUT_WR).",),
        see_also=("shutdown()", "FIN_WAIT_2/CLOSE_WAIT"),
    ),
    Term(
        name="half-open",
        names=("half open", "ghost", "stale connection"),
        meaning="One end believes in a connection that the other has lost.",
        more=("No packet flows, so nothing tells. The next data is answered with RST, or with silence.",),
        see_also=("half-open-stale", "keepalive"),
    ),
    Term(
        name="simultaneous close",
        names=("simultaneous closing",),
        meaning="Both ends send FIN before either has the other's.",
        more=("FIN_WAIT_1 -> CLOSING -> TIME_WAIT on both ends, by arriving segments and not by timers.",),
        see_also=("CLOSING", "claim 004-4"),
    ),
    Term(
        name="simultaneous open",
        names=(),
        meaning="Both ends connect to each other at once: SYN_SENT -> SYN_RECEIVED -> ESTABLISHED.",
        see_also=("SYN_RECEIVED", "self-connect"),
    ),
    Term(
        name="self connection",
        names=("selfconnect",),
        meaning="A program connected to itself: local and foreign address are equal.",
        more=(
            (
                "A client that retries to a dead local service in the ephemeral range meets its own SYN (measured:"
                " after 6596 tries, 0.53 s)."
            ),
        ),
        see_also=("self-connect", "net.ipv4.ip_local_reserved_ports"),
    ),
    Term(
        name="SYN cookies",
        names=("syncookies", "syn cookie"),
        meaning="A SYN,ACK whose sequence number encodes the handshake, so that the server need not remember it.",
        more=("Used when the queue is full. Needs timestamps to keep window scaling and SACK.",),
        see_also=("net.ipv4.tcp_syncookies", "syn-flood"),
    ),
    Term(
        name="ephemeral port",
        names=("ephemeral ports", "local port", "port exhaustion"),
        meaning="The local port connect() picks, from net.ipv4.ip_local_port_range.",
        more=("Used up per destination (address and port), TIME_WAIT included; then EADDRNOTAVAIL.",),
        see_also=("net.ipv4.ip_local_port_range", "ephemeral-port-exhaustion-timewait"),
    ),
    Term(
        name="UNKNOWN",
        names=("unknown state",),
        meaning="netstat's word for a state number it does not know. It is no TCP state.",
        more=("Seen for 12 (request socket) or 13 (bound only) with a tool older than the kernel.",),
        see_also=("states", "claim 001-6"),
    ),
    Term(
        name="three-way handshake",
        names=("handshake", "3-way handshake", "三次握手"),
        meaning="SYN, SYN,ACK, ACK: both ends learn each other's first sequence number.",
        more=("Done by the two kernels. The server's program is not asked; accept() only fetches the result.",),
        see_also=("CLOSED -> SYN_SENT -> ESTABLISHED", "accept()"),
    ),
    Term(
        name="four-way close",
        names=("four-way handshake", "four handshakes", "four-way wave", "teardown", "四次挥手"),
        meaning="FIN, ACK, FIN, ACK: each direction is closed on its own.",
        more=("Three segments when the second end closes at once: its ACK and FIN share one.",),
        see_also=("FIN_WAIT_1 -> TIME_WAIT", "half-close"),
    ),
    Term(
        name="active open",
        names=("active opener", "client"),
        meaning="The end that calls connect() first: the client. Who sends more data does not matter.",
        see_also=("claim 003-1", "connect()"),
    ),
    Term(
        name="passive open",
        names=("passive opener", "server"),
        meaning="The end that listens: the server.",
        see_also=("claim 003-1", "listen()"),
    ),
    Term(
        name="active close",
        names=("active closer",),
        meaning="The end that closes first, client or server: FIN_WAIT_1, FIN_WAIT_2, TIME_WAIT.",
        see_also=("ESTABLISHED -> FIN_WAIT_1", "TIME_WAIT", "claim 002-1"),
    ),
    Term(
        name="passive close",
        names=("passive closer",),
        meaning="The end that closes second: CLOSE_WAIT until its program calls close(), then LAST_ACK.",
        see_also=("ESTABLISHED -> CLOSE_WAIT", "CLOSE_WAIT"),
    ),
    Term(
        name="end of file",
        names=("eof", "end-of-file"),
        meaning="recv() returns 0: the peer's FIN has come and everything before it is read. It is no error.",
        more=("In CLOSE_WAIT the FIN counts one in Recv-Q until the program has read it.",),
        see_also=("RECEIVE", "CLOSE_WAIT", "Recv-Q CLOSE_WAIT"),
    ),
    Term(
        name="socket pair",
        names=("4-tuple", "four-tuple", "quadruple"),
        meaning="Both addresses and both ports: what tells one connection from all others.",
        more=("A listener has one half of it. Each state belongs to one end of one such pair.",),
        see_also=("Local Address", "Foreign Address", "TIME_WAIT"),
    ),
    Term(
        name="TCB",
        names=("transmission control block",),
        meaning="What one end remembers of a connection: state, numbers, windows, timers (RFC 9293 §3.3.1).",
        more=("CLOSED means that there is none.",),
        see_also=("CLOSED", "sequence number"),
    ),
    Term(
        name="full duplex",
        names=("fullduplex",),
        meaning="Both directions carry data at once, and each is closed on its own, with its own FIN.",
        see_also=("half-close", "four-way close"),
    ),
    Term(
        name="segment",
        names=("tcp segment",),
        meaning="TCP's unit on the wire: a header with flags, numbers and window, and maybe data.",
        see_also=("SYN", "ACK", "FIN", "RST"),
    ),
    Term(
        name="sequence number",
        names=("seq", "isn", "initial sequence number", "iss", "irs"),
        meaning="Every octet of a direction has a number of 32 bits; SYN and FIN count as one octet each.",
        more=(
            "Each end chooses its first number (ISN) anew, hard to guess (RFC 9293 §3.4.1), so that old segments and"
            " forged ones do not fit.",
            "tcpscope read and capture show numbers relative to the first, as tcpdump does.",
        ),
        see_also=("SYN", "2msl", "PAWS"),
    ),
    Term(
        name="window",
        names=("receive window", "rwnd", "rcv_wnd", "win", "window scale", "wscale", "window scaling"),
        meaning="How many octets the receiver is ready to take beyond what it has acknowledged.",
        more=("16 bits in the header, times 2 to the scale both ends told in their SYN (RFC 7323). 0 stops the peer.",),
        see_also=("persist", "Recv-Q", "net.ipv4.tcp_window_scaling", "zero-window-peer-slow"),
    ),
    Term(
        name="MSS",
        names=("maximum segment size",),
        meaning="The most data an end wants in one segment; each tells its own in the SYN (1460 on Ethernet, IPv4).",
        see_also=("path MTU", "SYN"),
    ),
    Term(
        name="path MTU",
        names=("mtu", "pmtu", "path mtu discovery", "pmtud", "black hole"),
        meaning="The longest packet that gets through to the peer. Routers say so with ICMP, if they are let.",
        more=("Where that ICMP is dropped, small segments pass and large ones vanish: a black hole.",),
        see_also=("pmtu-blackhole", "net.ipv4.tcp_mtu_probing", "net.ipv4.ip_no_pmtu_disc"),
    ),
    Term(
        name="congestion window",
        names=("cwnd", "slow start", "ssthresh", "congestion control", "congestion avoidance"),
        meaning="How much a sender lets be under way at once for the sake of the path (RFC 5681).",
        more=(
            "It doubles each round trip in slow start, grows slowly after, and is cut when something is lost. The"
            " peer's window is another limit; the smaller one holds.",
            "tcpscope simulate three-lost --windows shows it at each segment.",
        ),
        see_also=("window", "fast retransmit", "TcpExt.TCPSlowStartRetrans"),
    ),
    Term(
        name="fast retransmit",
        names=("duplicate ack", "dup ack", "dupack", "fast recovery", "rack", "tlp", "tail loss probe"),
        meaning="Losses are repaired when later segments are acknowledged, long before the timer.",
        more=(
            "By three duplicate ACKs (RFC 5681), by selective acknowledgements (RFC 6675), by time (RACK, RFC 8985); a"
            " probe (TLP) looks for the loss of the last segments.",
        ),
        see_also=("SACK", "retransmission", "TcpExt.TCPFastRetrans", "packet-loss"),
    ),
    Term(
        name="SACK",
        names=("selective acknowledgement", "selective acknowledgment", "sackOK"),
        meaning="An option of the ACK that names what has arrived beyond a gap, so that only the gap is sent again.",
        see_also=("net.ipv4.tcp_sack", "fast retransmit"),
    ),
    Term(
        name="timestamps",
        names=("timestamp", "timestamp option", "tsval", "tsecr", "paws"),
        meaning="An option in every segment: measures the round trip, and tells old duplicates from new (PAWS).",
        more=("RFC 7323. They let TIME_WAIT take a new connection early, and carry options through SYN cookies.",),
        see_also=("net.ipv4.tcp_timestamps", "TcpExt.PAWSEstab", "paws-drops"),
    ),
    Term(
        name="quiet time",
        names=("quiet time concept", "平静时间"),
        meaning="After a crash a host keeps quiet for 2 minutes, lest old segments fit new connections (§3.4.3).",
        more=("It is not TIME_WAIT. Linux does not wait so: random first numbers and timestamps do the work.",),
        see_also=("2msl", "sequence number"),
    ),
)

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
