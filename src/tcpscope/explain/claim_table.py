"""What five often-read articles on netstat and TCP states say, and whether it is so.

The claims are put in our own words. ``verdict`` is ``right``, ``partly``, ``wrong``, ``outdated`` (BSD, Windows or an
old Linux) or ``careless`` (a slip of words). ``measured`` is what Linux 6.18 did; empty when it follows from RFC 9293.
"""

from __future__ import annotations

from tcpscope.model.record import NamedTuple


class Claim(NamedTuple):
    """One sentence of an article and what is true about it. ``id`` is article number and claim number."""

    id: str
    says: str
    verdict: str
    truth: str
    measured: str = ""
    see_also: tuple[str, ...] = ()


ARTICLES: dict[str, str] = {
    "000": "an experiment with a small server and client on port 10050 (English, machine translated)",
    "001": "the columns of netstat, and the handshake (Chinese)",
    "002": "TCP state migration and CLOSE_WAIT (English, machine translated)",
    "003": "TCP states and troubleshooting tools (Chinese)",
    "004": "the words of netstat -an, with BSD's timers (Chinese)",
}

VERDICTS = {
    "right": "right",
    "partly": "partly right",
    "wrong": "wrong",
    "outdated": "out of date",
    "careless": "a slip",
}

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="000-1",
        says=(
            "After Ctrl-C of the server, the client sends its FIN, but the server process is dead and cannot receive"
            " it; hence FIN_WAIT2 and CLOSE_WAIT."
        ),
        verdict="wrong",
        truth=(
            "The client has sent no FIN: CLOSE_WAIT means that its program has not closed. The dead server's kernel"
            " socket would answer a FIN; the missing PID marks an orphan, not a broken one."
        ),
        measured="the orphan FIN_WAIT_2 was gone after 62.4 s, CLOSE_WAIT was still there after 150 s",
        see_also=("CLOSE_WAIT", "orphan socket"),
    ),
    Claim(
        id="000-2",
        says="SYN_RCVD can hardly be seen unless the client deliberately keeps back the ACK.",
        verdict="partly",
        truth="Also with TCP_DEFER_ACCEPT, with a full accept queue, with lost ACKs and in a SYN flood.",
        measured="5 healthy clients stayed in SYN_RECV for 12.7 s behind TCP_DEFER_ACCEPT 10",
        see_also=("SYN_RECEIVED",),
    ),
    Claim(
        id="000-3",
        says="FIN_WAIT1 is hard to see, FIN_WAIT2 often visible.",
        verdict="partly",
        truth="On a healthy path, yes. FIN_WAIT_1 stays as long as the FIN is not acknowledged.",
        measured="107 s on a dead path, 341 s behind a zero window",
        see_also=("FIN_WAIT_1",),
    ),
    Claim(
        id="000-4",
        says="FIN_WAIT1 goes straight to TIME_WAIT when a segment with FIN and ACK arrives.",
        verdict="right",
        truth="If that ACK covers our own FIN. If it does not, the state is CLOSING.",
        see_also=("FIN_WAIT_1 -> TIME_WAIT", "FIN_WAIT_1 -> CLOSING"),
    ),
    Claim(
        id="000-5",
        says=(
            "The list of states leaves CLOSE_WAIT and LAST_ACK out; the passive end 'returns an ACK to the passive"
            " end'."
        ),
        verdict="careless",
        truth="Eleven states, both included. The passive end acknowledges the FIN of the active end.",
        see_also=("states",),
    ),
    Claim(
        id="001-1",
        says="A Recv-Q that stays above 0 may mean a denial-of-service attack.",
        verdict="partly",
        truth=(
            "First of all a program that does not read. On a listener it is the accept queue: a program that does not"
            " accept."
        ),
        measured="127480 bytes in Recv-Q of a reader that had stopped reading",
        see_also=("Recv-Q",),
    ),
    Claim(
        id="001-2",
        says="A Send-Q that stays above 0 means sending too fast or a slow receiver.",
        verdict="partly",
        truth=(
            "Loss or a vanished peer look the same. The timer tells: 'on' with retransmissions is the path, 'persist'"
            " is the receiver."
        ),
        see_also=("Send-Q", "retransmission", "persist"),
    ),
    Claim(
        id="001-3",
        says="Both queues should be 0; packets must not pile up there.",
        verdict="wrong",
        truth=(
            "They count bytes, not packets (connections on a listener). Above 0 is normal in LISTEN (backlog),"
            " SYN_SENT, FIN_WAIT_1, CLOSE_WAIT, CLOSING and LAST_ACK, because SYN and FIN count 1."
        ),
        measured=(
            "SYN_SENT 0/1, FIN_WAIT_1 0/1, CLOSE_WAIT 1/0, CLOSING 1/1, LAST_ACK 0/1 (1/1 when the end of file was not"
            " read)"
        ),
        see_also=("Recv-Q", "Send-Q"),
    ),
    Claim(
        id="001-4",
        says=":::22 listens on all IPv6 addresses, 0.0.0.0:22 on all IPv4 addresses; that is the difference.",
        verdict="wrong",
        truth=(
            "With Linux's default :::22 serves IPv4 as well. Only with IPV6_V6ONLY it is IPv6 alone, and netstat cannot"
            " show which."
        ),
        measured="an IPv4 peer was let in with v6only 0 and refused with v6only 1",
        see_also=(":::22", "v6only"),
    ),
    Claim(
        id="001-5",
        says="mysqld without bind_address listens on :::3306.",
        verdict="right",
        truth="And, dual stack, on every IPv4 address too: it is exposed.",
        see_also=("exposed-listener",),
    ),
    Claim(
        id="001-6",
        says="There are 11 states; then: 12.",
        verdict="careless",
        truth="RFC 9293 has eleven. UNKNOWN is netstat's word for a number it does not know.",
        see_also=("states", "UNKNOWN"),
    ),
    Claim(
        id="001-7",
        says="CLOSING: both sides are shut down, but not all our data is sent (netstat's manual says so too).",
        verdict="wrong",
        truth="CLOSING means that the FINs crossed and ours is not acknowledged. All data is sent.",
        measured="both ends CLOSING 1/1 for 0.5 s, then TIME_WAIT",
        see_also=("CLOSING",),
    ),
    Claim(
        id="001-8",
        says="FIN ends the session, but the port stays open and ready to receive.",
        verdict="careless",
        truth="FIN closes one direction. The other direction of this connection stays open until its own FIN.",
        see_also=("FIN", "half-close"),
    ),
    Claim(
        id="002-1",
        says="The server sends FIN and enters CLOSE_WAIT; CLOSE_WAIT ends with the confirmation.",
        verdict="wrong",
        truth="A FIN received makes CLOSE_WAIT. The own FIN makes LAST_ACK. The confirmation ends LAST_ACK.",
        see_also=("ESTABLISHED -> CLOSE_WAIT", "CLOSE_WAIT -> LAST_ACK", "LAST_ACK -> CLOSED"),
    ),
    Claim(
        id="002-2",
        says="If the FIN is lost, FIN_WAIT_2 stays for ever, for there is no timeout; many of them crash the system.",
        verdict="outdated",
        truth=(
            "A lost FIN is retransmitted. On Linux an orphan FIN_WAIT_2 ends after tcp_fin_timeout; only a socket kept"
            " open after shutdown() waits for ever."
        ),
        measured="62.3 s after close(); still there 75 s after shutdown()",
        see_also=("FIN_WAIT_2", "fin-wait-2"),
    ),
    Claim(
        id="002-3",
        says="Typical picture: FIN_WAIT2 at one end, CLOSE_WAIT at the other.",
        verdict="partly",
        truth="Only for the first 60 s. Later CLOSE_WAIT stands alone.",
        see_also=("FIN_WAIT_2/CLOSE_WAIT",),
    ),
    Claim(
        id="002-4",
        says="CLOSE_WAIT lasts at least two hours.",
        verdict="wrong",
        truth=(
            "It has no timer at all and lasts as long as the program keeps the socket. Keepalive ends it only when the"
            " peer is gone."
        ),
        measured=(
            "with keepalive 5/2/3: reset after 66.7 s once the peer's FIN_WAIT_2 had ended; never while the peer"
            " answered (40 s, 20 probes)"
        ),
        see_also=("CLOSE_WAIT", "keepalive"),
    ),
    Claim(
        id="002-5",
        says="One can only change the kernel's keepalive settings, for example to 30/2/2.",
        verdict="wrong",
        truth=(
            "CLOSE_WAIT is a bug of the program: it must close. Keepalive needs SO_KEEPALIVE on the socket and leaves"
            " armed timers alone; with 2/2 four seconds of loss kill a healthy connection. sysctl -w acts at once but"
            " does not survive a restart."
        ),
        measured="a live socket kept keepalive,119min after the setting was changed",
        see_also=("keepalive", "net.ipv4.tcp_keepalive_time", "close-wait-leak"),
    ),
    Claim(
        id="002-6",
        says="The peer's FIN gives the program an error: recv() returns SOCKET_ERROR, and there one closes.",
        verdict="wrong",
        truth="recv() returns 0: end of file, no error. Code that closes only on an error is the leak itself.",
        see_also=("RECEIVE", "close-wait-leak"),
    ),
    Claim(
        id="002-7",
        says="kill -9 of the one PID frees the port.",
        verdict="wrong",
        truth=(
            "The list shows the same NODE numbers under two PIDs: parent and child share the sockets. All holders"
            " must go."
        ),
        measured="killing one of two holders changed nothing; the FIN came with the second",
        see_also=("Inode", "shared-socket-holders"),
    ),
    Claim(
        id="002-8",
        says="The cause is a client that ends abnormally without close.",
        verdict="wrong",
        truth=(
            "The kernel closes a dying program's sockets: FIN or RST goes out. A client that vanishes without FIN"
            " leaves ESTABLISHED behind, not CLOSE_WAIT."
        ),
        measured="30 of 30 killed clients left CLOSE_WAIT that ended when the server closed",
        see_also=("half-open", "close()"),
    ),
    Claim(
        id="002-9",
        says="FIN is sent only after closesocket.",
        verdict="partly",
        truth="Also by shutdown(SHUT_WR) and by the end of the process.",
        see_also=("FIN", "shutdown()"),
    ),
    Claim(
        id="002-10",
        says="TIME_WAIT exists because the last ACK may be lost.",
        verdict="partly",
        truth=(
            "That is one reason. The other: old segments must die before the same addresses and ports are used again"
            " (RFC 9293 §3.4.2, RFC 1337)."
        ),
        see_also=("TIME_WAIT", "2MSL"),
    ),
    Claim(
        id="002-11",
        says="The second packet of the handshake is 'the first'; SYS/ACK.",
        verdict="careless",
        truth="SYN, SYN,ACK, ACK.",
        see_also=("three-way handshake",),
    ),
    Claim(
        id="003-1",
        says="The client is the end that sends data, the server the end that receives.",
        verdict="wrong",
        truth="The client opens actively (connect), the server passively (listen). Data goes both ways.",
        see_also=("active open", "passive open"),
    ),
    Claim(
        id="003-2",
        says="ESTABLISHED means that two machines are transferring data.",
        verdict="wrong",
        truth="It means that the handshake is complete. The connection may be idle for ever, or not even accepted.",
        see_also=("ESTABLISHED",),
    ),
    Claim(
        id="003-3",
        says="accept() makes the server answer with SYN,ACK, and returns when the ACK comes.",
        verdict="wrong",
        truth="The kernel does the handshake alone; accept() fetches the result. The same page says so further down.",
        measured="3 connections ESTABLISHED with a server that never called accept()",
        see_also=("accept()", "accept queue"),
    ),
    Claim(
        id="003-4",
        says="If the client's FIN is lost or never sent, the server stays ESTABLISHED; if it was sent, CLOSE_WAIT.",
        verdict="right",
        truth="A FIN that is merely lost is sent again, for about 107 s.",
        measured="107.2 s",
        see_also=("half-open", "CLOSE_WAIT"),
    ),
    Claim(
        id="003-5",
        says=(
            "Repeated often, this leaves many false ESTABLISHED connections; at last clients connect but never reach"
            " the program."
        ),
        verdict="right",
        truth=(
            "The mechanism: descriptors or workers run out, accept() stops, and the kernel goes on accepting until the"
            " queue is full."
        ),
        measured="limit 40: 32 accepted, then EMFILE; Recv-Q 17 of 16; the server showed 49 ESTABLISHED",
        see_also=("accept-stalled-by-fd-limit", "accept-queue-overflow"),
    ),
    Claim(
        id="003-6",
        says="A server that is shut down with many clients shows many FIN_WAIT_1, because no ACK comes.",
        verdict="wrong",
        truth=(
            "The clients' kernels acknowledge at once: FIN_WAIT_2. FIN_WAIT_1 only if the ACKs do not arrive. With"
            " unread data there is RST and nothing is left."
        ),
        measured="10 of 10 FIN_WAIT_2; with unread data 10 of 10 gone",
        see_also=("FIN_WAIT_1", "FIN_WAIT_2"),
    ),
    Claim(
        id="003-7",
        says="Killing a load test's client leaves many LAST_ACK on the server.",
        verdict="wrong",
        truth=(
            "It leaves CLOSE_WAIT until the server closes; then they are gone within a round trip. LAST_ACK stays only"
            " if the client's host or the path is gone."
        ),
        measured="30 of 30 CLOSE_WAIT",
        see_also=("LAST_ACK", "CLOSE_WAIT"),
    ),
    Claim(
        id="003-8",
        says="FIN_WAIT_2 is the half-closed state: the program can still receive, and it may last for ever.",
        verdict="partly",
        truth="After shutdown(), yes. After close() data is answered with RST, and 60 s are the limit.",
        measured="data to an orphan: 1 RST, the peer got EPIPE",
        see_also=("FIN_WAIT_2", "half-close"),
    ),
    Claim(
        id="003-9",
        says="TIME_WAIT blocks a server's restart; the remedy is the quiet time: wait 2 MSL before new connections.",
        verdict="wrong",
        truth=(
            "The remedy is SO_REUSEADDR, on the old and on the new listener. The quiet time is for a host that lost its"
            " memory of sequence numbers in a crash."
        ),
        measured="bind: EADDRINUSE without, at once with; EADDRINUSE when the old one lacked it",
        see_also=("SO_REUSEADDR", "bind-eaddrinuse-timewait"),
    ),
    Claim(
        id="003-10",
        says="TIME_WAIT leads to 'Cannot assign requested address'.",
        verdict="right",
        truth="On clients, per destination.",
        measured="10 ports: 10 connections, then EADDRNOTAVAIL; 10 more to another destination",
        see_also=("ephemeral-port-exhaustion-timewait",),
    ),
    Claim(
        id="003-11",
        says="Many SYN_SENT: the site does not exist or the line is bad; a scanner; a worm.",
        verdict="right",
        truth=(
            "Also a filter, and a listener whose accept queue is full. A host absent from the own LAN fails after 3 s"
            " with EHOSTUNREACH."
        ),
        measured="3.07 s without an ARP answer; 300 SYN_SENT from a scanner",
        see_also=("SYN_SENT", "syn-sent-blackhole", "scanner-or-worm-pattern"),
    ),
    Claim(
        id="003-12",
        says="Many SYN_RCVD: a SYN flood. The entries stay 30 s to 2 min, and huge lists cost CPU.",
        verdict="outdated",
        truth=(
            "63 s on Linux. The list is capped at backlog + 1, and SYN cookies serve clients beyond it. Overload,"
            " deferred accept and lost ACKs look alike."
        ),
        measured="2000 SYNs, backlog 128: 129 SYN_RECV and 1871 cookies",
        see_also=("syn-flood", "SYN cookies"),
    ),
    Claim(
        id="003-13",
        says="LISTEN -> SYN_SENT: a server, too, sometimes opens a connection.",
        verdict="partly",
        truth="RFC 9293 has the move. On Linux connect() on a listening socket fails.",
        measured="EISCONN",
        see_also=("LISTEN -> SYN_SENT", "no-listen-to-syn-sent"),
    ),
    Claim(
        id="003-14",
        says="SYN_RCVD -> LISTEN on RST, and SYN_RCVD -> FIN_WAIT_1 on close.",
        verdict="partly",
        truth=(
            "RFC 9293 has both. On Linux the request socket vanishes and the listener never left LISTEN; nobody has a"
            " handle to close it."
        ),
        see_also=("SYN_RECEIVED -> LISTEN", "no-return-to-listen"),
    ),
    Claim(
        id="003-15",
        says=(
            "Tools: netstat -nat, lsof -i, sar -n SOCK, tcpdump, ping, traceroute, pathping, mtr, nslookup; ping may be"
            " blocked; TTL 64 to 56 is 8 hops."
        ),
        verdict="right",
        truth="pathping is for Windows only. Use traceroute -T and mtr -T: a firewall may treat TCP otherwise.",
        see_also=("tools",),
    ),
    Claim(
        id="003-16",
        says="LISTEN: close what is not needed; trojans listen too.",
        verdict="right",
        truth="Look at the address it listens on, and at the executable behind it.",
        see_also=("exposed-listener", "unexpected-listener", "deleted-executable-listening"),
    ),
    Claim(
        id="004-1",
        says="Client and server give up the handshake after 75 s.",
        verdict="outdated",
        truth="That is BSD. Linux: the client 131 s (127 s before 6.5), the server 63 s.",
        measured="133.6 s and 64.2 s",
        see_also=("syn-retries", "syn-ack-retries"),
    ),
    Claim(
        id="004-2",
        says="FIN_WAIT_2 has a timer of 10 minutes.",
        verdict="outdated",
        truth="That is old BSD. Linux: 60 s, for orphans only.",
        measured="62.3 s",
        see_also=("fin-wait-2",),
    ),
    Claim(
        id="004-3",
        says="MSL is the maximum segment length; CLOSING waits for FIN; LAST-ACT.",
        verdict="wrong",
        truth=(
            "MSL is the maximum segment lifetime. CLOSING has the peer's FIN and waits for the ACK of its own. The"
            " state is LAST-ACK."
        ),
        see_also=("2MSL", "CLOSING", "LAST_ACK"),
    ),
    Claim(
        id="004-4",
        says="In a simultaneous close the states move on because timers expire.",
        verdict="wrong",
        truth=(
            "Arriving segments move them: the FIN to CLOSING, the ACK to TIME_WAIT. Only the end of TIME_WAIT is a"
            " timer."
        ),
        measured="seen on both ends",
        see_also=("FIN_WAIT_1 -> CLOSING -> TIME_WAIT -> CLOSED",),
    ),
    Claim(
        id="004-5",
        says="The client acknowledges the ACK of its FIN and then enters FIN_WAIT_2.",
        verdict="wrong",
        truth="No segment is sent. The arriving ACK alone makes FIN_WAIT_2; an ACK is never acknowledged.",
        see_also=("FIN_WAIT_1 -> FIN_WAIT_2",),
    ),
)
