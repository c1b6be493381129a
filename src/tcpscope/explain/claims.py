"""What five often-read articles on netstat and TCP states say, and whether it is so.

The claims are put in our own words. ``verdict`` is ``right``, ``partly``, ``wrong``, ``outdated`` (BSD, Windows or an
old Linux) or ``careless`` (a slip of words). ``measured`` is what Linux 6.18 did; empty when it follows from RFC 9293.
"""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section, prose_sections
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
    Claim("000-1", "After Ctrl-C of the server, the client sends its FIN, but the server process is dead and cannot receive it; hence FIN_WAIT2 and CLOSE_WAIT.", "wrong",
          "The client has sent no FIN: CLOSE_WAIT means that its program has not closed. The dead server's kernel socket would answer a FIN; the missing PID marks an orphan, not a broken one.",
          "the orphan FIN_WAIT_2 was gone after 62.4 s, CLOSE_WAIT was still there after 150 s", ("CLOSE_WAIT", "orphan socket")),
    Claim("000-2", "SYN_RCVD can hardly be seen unless the client deliberately keeps back the ACK.", "partly",
          "Also with TCP_DEFER_ACCEPT, with a full accept queue, with lost ACKs and in a SYN flood.", "5 healthy clients stayed in SYN_RECV for 12.7 s behind TCP_DEFER_ACCEPT 10", ("SYN_RECEIVED",)),
    Claim("000-3", "FIN_WAIT1 is hard to see, FIN_WAIT2 often visible.", "partly",
          "On a healthy path, yes. FIN_WAIT_1 stays as long as the FIN is not acknowledged.", "107 s on a dead path, 341 s behind a zero window", ("FIN_WAIT_1",)),
    Claim("000-4", "FIN_WAIT1 goes straight to TIME_WAIT when a segment with FIN and ACK arrives.", "right",
          "If that ACK covers our own FIN. If it does not, the state is CLOSING.", "", ("FIN_WAIT_1 -> TIME_WAIT", "FIN_WAIT_1 -> CLOSING")),
    Claim("000-5", "The list of states leaves CLOSE_WAIT and LAST_ACK out; the passive end 'returns an ACK to the passive end'.", "careless",
          "Eleven states, both included. The passive end acknowledges the FIN of the active end.", "", ("states",)),
    Claim("001-1", "A Recv-Q that stays above 0 may mean a denial-of-service attack.", "partly",
          "First of all a program that does not read. On a listener it is the accept queue: a program that does not accept.", "127480 bytes in Recv-Q of a reader that had stopped reading", ("Recv-Q",)),
    Claim("001-2", "A Send-Q that stays above 0 means sending too fast or a slow receiver.", "partly",
          "Loss or a vanished peer look the same. The timer tells: 'on' with retransmissions is the path, 'persist' is the receiver.", "", ("Send-Q", "retransmission", "persist")),
    Claim("001-3", "Both queues should be 0; packets must not pile up there.", "wrong",
          "They count bytes, not packets (connections on a listener). Above 0 is normal in LISTEN (backlog), SYN_SENT, FIN_WAIT_1, CLOSE_WAIT, CLOSING and LAST_ACK, because SYN and FIN count 1.", "SYN_SENT 0/1, FIN_WAIT_1 0/1, CLOSE_WAIT 1/0, CLOSING 1/1, LAST_ACK 0/1 (1/1 when the end of file was not read)", ("Recv-Q", "Send-Q")),
    Claim("001-4", ":::22 listens on all IPv6 addresses, 0.0.0.0:22 on all IPv4 addresses; that is the difference.", "wrong",
          "With Linux's default :::22 serves IPv4 as well. Only with IPV6_V6ONLY it is IPv6 alone, and netstat cannot show which.", "an IPv4 peer was let in with v6only 0 and refused with v6only 1", (":::22", "v6only")),
    Claim("001-5", "mysqld without bind_address listens on :::3306.", "right", "And, dual stack, on every IPv4 address too: it is exposed.", "", ("exposed-listener",)),
    Claim("001-6", "There are 11 states; then: 12.", "careless", "RFC 9293 has eleven. UNKNOWN is netstat's word for a number it does not know.", "", ("states", "UNKNOWN")),
    Claim("001-7", "CLOSING: both sides are shut down, but not all our data is sent (netstat's manual says so too).", "wrong",
          "CLOSING means that the FINs crossed and ours is not acknowledged. All data is sent.", "both ends CLOSING 1/1 for 0.5 s, then TIME_WAIT", ("CLOSING",)),
    Claim("001-8", "FIN ends the session, but the port stays open and ready to receive.", "careless",
          "FIN closes one direction. The other direction of this connection stays open until its own FIN.", "", ("FIN", "half-close")),
    Claim("002-1", "The server sends FIN and enters CLOSE_WAIT; CLOSE_WAIT ends with the confirmation.", "wrong",
          "A FIN received makes CLOSE_WAIT. The own FIN makes LAST_ACK. The confirmation ends LAST_ACK.", "", ("ESTABLISHED -> CLOSE_WAIT", "CLOSE_WAIT -> LAST_ACK", "LAST_ACK -> CLOSED")),
    Claim("002-2", "If the FIN is lost, FIN_WAIT_2 stays for ever, for there is no timeout; many of them crash the system.", "outdated",
          "A lost FIN is retransmitted. On Linux an orphan FIN_WAIT_2 ends after tcp_fin_timeout; only a socket kept open after shutdown() waits for ever.", "62.3 s after close(); still there 75 s after shutdown()", ("FIN_WAIT_2", "fin-wait-2")),
    Claim("002-3", "Typical picture: FIN_WAIT2 at one end, CLOSE_WAIT at the other.", "partly",
          "Only for the first 60 s. Later CLOSE_WAIT stands alone.", "", ("FIN_WAIT_2/CLOSE_WAIT",)),
    Claim("002-4", "CLOSE_WAIT lasts at least two hours.", "wrong",
          "It has no timer at all and lasts as long as the program keeps the socket. Keepalive ends it only when the peer is gone.", "with keepalive 5/2/3: reset after 66.7 s once the peer's FIN_WAIT_2 had ended; never while the peer answered (40 s, 20 probes)", ("CLOSE_WAIT", "keepalive")),
    Claim("002-5", "One can only change the kernel's keepalive settings, for example to 30/2/2.", "wrong",
          "CLOSE_WAIT is a bug of the program: it must close. Keepalive needs SO_KEEPALIVE on the socket and leaves armed timers alone; with 2/2 four seconds of loss kill a healthy connection. sysctl -w acts at once but does not survive a restart.", "a live socket kept keepalive,119min after the setting was changed", ("keepalive", "net.ipv4.tcp_keepalive_time", "close-wait-leak")),
    Claim("002-6", "The peer's FIN gives the program an error: recv() returns SOCKET_ERROR, and there one closes.", "wrong",
          "recv() returns 0: end of file, no error. Code that closes only on an error is the leak itself.", "", ("RECEIVE", "close-wait-leak")),
    Claim("002-7", "kill -9 of the one PID frees the port.", "wrong",
          "The list shows the same NODE numbers under two PIDs: parent and child share the sockets. All holders must go.", "killing one of two holders changed nothing; the FIN came with the second", ("Inode", "shared-socket-holders")),
    Claim("002-8", "The cause is a client that ends abnormally without close.", "wrong",
          "The kernel closes a dying program's sockets: FIN or RST goes out. A client that vanishes without FIN leaves ESTABLISHED behind, not CLOSE_WAIT.", "30 of 30 killed clients left CLOSE_WAIT that ended when the server closed", ("half-open", "close()")),
    Claim("002-9", "FIN is sent only after closesocket.", "partly", "Also by shutdown(SHUT_WR) and by the end of the process.", "", ("FIN", "shutdown()")),
    Claim("002-10", "TIME_WAIT exists because the last ACK may be lost.", "partly", "That is one reason. The other: old segments must die before the same addresses and ports are used again (RFC 9293 §3.4.2, RFC 1337).", "", ("TIME_WAIT", "2MSL")),
    Claim("002-11", "The second packet of the handshake is 'the first'; SYS/ACK.", "careless", "SYN, SYN,ACK, ACK.", "", ("three-way handshake",)),
    Claim("003-1", "The client is the end that sends data, the server the end that receives.", "wrong", "The client opens actively (connect), the server passively (listen). Data goes both ways.", "", ("active open", "passive open")),
    Claim("003-2", "ESTABLISHED means that two machines are transferring data.", "wrong", "It means that the handshake is complete. The connection may be idle for ever, or not even accepted.", "", ("ESTABLISHED",)),
    Claim("003-3", "accept() makes the server answer with SYN,ACK, and returns when the ACK comes.", "wrong", "The kernel does the handshake alone; accept() fetches the result. The same page says so further down.", "3 connections ESTABLISHED with a server that never called accept()", ("accept()", "accept queue")),
    Claim("003-4", "If the client's FIN is lost or never sent, the server stays ESTABLISHED; if it was sent, CLOSE_WAIT.", "right", "A FIN that is merely lost is sent again, for about 107 s.", "107.2 s", ("half-open", "CLOSE_WAIT")),
    Claim("003-5", "Repeated often, this leaves many false ESTABLISHED connections; at last clients connect but never reach the program.", "right", "The mechanism: descriptors or workers run out, accept() stops, and the kernel goes on accepting until the queue is full.", "limit 40: 32 accepted, then EMFILE; Recv-Q 17 of 16; the server showed 49 ESTABLISHED", ("accept-stalled-by-fd-limit", "accept-queue-overflow")),
    Claim("003-6", "A server that is shut down with many clients shows many FIN_WAIT_1, because no ACK comes.", "wrong", "The clients' kernels acknowledge at once: FIN_WAIT_2. FIN_WAIT_1 only if the ACKs do not arrive. With unread data there is RST and nothing is left.", "10 of 10 FIN_WAIT_2; with unread data 10 of 10 gone", ("FIN_WAIT_1", "FIN_WAIT_2")),
    Claim("003-7", "Killing a load test's client leaves many LAST_ACK on the server.", "wrong", "It leaves CLOSE_WAIT until the server closes; then they are gone within a round trip. LAST_ACK stays only if the client's host or the path is gone.", "30 of 30 CLOSE_WAIT", ("LAST_ACK", "CLOSE_WAIT")),
    Claim("003-8", "FIN_WAIT_2 is the half-closed state: the program can still receive, and it may last for ever.", "partly", "After shutdown(), yes. After close() data is answered with RST, and 60 s are the limit.", "data to an orphan: 1 RST, the peer got EPIPE", ("FIN_WAIT_2", "half-close")),
    Claim("003-9", "TIME_WAIT blocks a server's restart; the remedy is the quiet time: wait 2 MSL before new connections.", "wrong", "The remedy is SO_REUSEADDR, on the old and on the new listener. The quiet time is for a host that lost its memory of sequence numbers in a crash.", "bind: EADDRINUSE without, at once with; EADDRINUSE when the old one lacked it", ("SO_REUSEADDR", "bind-eaddrinuse-timewait")),
    Claim("003-10", "TIME_WAIT leads to 'Cannot assign requested address'.", "right", "On clients, per destination.", "10 ports: 10 connections, then EADDRNOTAVAIL; 10 more to another destination", ("ephemeral-port-exhaustion-timewait",)),
    Claim("003-11", "Many SYN_SENT: the site does not exist or the line is bad; a scanner; a worm.", "right", "Also a filter, and a listener whose accept queue is full. A host absent from the own LAN fails after 3 s with EHOSTUNREACH.", "3.07 s without an ARP answer; 300 SYN_SENT from a scanner", ("SYN_SENT", "syn-sent-blackhole", "scanner-or-worm-pattern")),
    Claim("003-12", "Many SYN_RCVD: a SYN flood. The entries stay 30 s to 2 min, and huge lists cost CPU.", "outdated", "63 s on Linux. The list is capped at backlog + 1, and SYN cookies serve clients beyond it. Overload, deferred accept and lost ACKs look alike.", "2000 SYNs, backlog 128: 129 SYN_RECV and 1871 cookies", ("syn-flood", "SYN cookies")),
    Claim("003-13", "LISTEN -> SYN_SENT: a server, too, sometimes opens a connection.", "partly", "RFC 9293 has the move. On Linux connect() on a listening socket fails.", "EISCONN", ("LISTEN -> SYN_SENT", "no-listen-to-syn-sent")),
    Claim("003-14", "SYN_RCVD -> LISTEN on RST, and SYN_RCVD -> FIN_WAIT_1 on close.", "partly", "RFC 9293 has both. On Linux the request socket vanishes and the listener never left LISTEN; nobody has a handle to close it.", "", ("SYN_RECEIVED -> LISTEN", "no-return-to-listen")),
    Claim("003-15", "Tools: netstat -nat, lsof -i, sar -n SOCK, tcpdump, ping, traceroute, pathping, mtr, nslookup; ping may be blocked; TTL 64 to 56 is 8 hops.", "right", "pathping is for Windows only. Use traceroute -T and mtr -T: a firewall may treat TCP otherwise.", "", ("tools",)),
    Claim("003-16", "LISTEN: close what is not needed; trojans listen too.", "right", "Look at the address it listens on, and at the executable behind it.", "", ("exposed-listener", "unexpected-listener", "deleted-executable-listening")),
    Claim("004-1", "Client and server give up the handshake after 75 s.", "outdated", "That is BSD. Linux: the client 131 s (127 s before 6.5), the server 63 s.", "133.6 s and 64.2 s", ("syn-retries", "syn-ack-retries")),
    Claim("004-2", "FIN_WAIT_2 has a timer of 10 minutes.", "outdated", "That is old BSD. Linux: 60 s, for orphans only.", "62.3 s", ("fin-wait-2",)),
    Claim("004-3", "MSL is the maximum segment length; CLOSING waits for FIN; LAST-ACT.", "wrong", "MSL is the maximum segment lifetime. CLOSING has the peer's FIN and waits for the ACK of its own. The state is LAST-ACK.", "", ("2MSL", "CLOSING", "LAST_ACK")),
    Claim("004-4", "In a simultaneous close the states move on because timers expire.", "wrong", "Arriving segments move them: the FIN to CLOSING, the ACK to TIME_WAIT. Only the end of TIME_WAIT is a timer.", "seen on both ends", ("FIN_WAIT_1 -> CLOSING -> TIME_WAIT -> CLOSED",)),
    Claim("004-5", "The client acknowledges the ACK of its FIN and then enters FIN_WAIT_2.", "wrong", "No segment is sent. The arriving ACK alone makes FIN_WAIT_2; an ACK is never acknowledged.", "", ("FIN_WAIT_1 -> FIN_WAIT_2",)),
)  # fmt: skip

_BY_ID = {claim.id: claim for claim in CLAIMS}


def claim_named(text: str) -> Claim | None:
    """Return the claim of an id (``002-4``, ``claim 002-4``, ``2-4``), or ``None``."""
    wanted = text.strip().lower().removeprefix("claim").strip()
    article, dash, number = wanted.partition("-")
    if not (dash and article.isascii() and article.isdigit() and number.isascii() and number.isdigit()):
        return None
    return _BY_ID.get(f"{article[-3:]:0>3}-{number.lstrip('0')}")


def explain_claim(claim: Claim) -> Answer:
    """Explain one claim: what the article says, the verdict, what is so."""
    sections = prose_sections(
        ("In truth", claim.truth),
        ("Measured on Linux 6.18", f"{claim.measured[:1].upper()}{claim.measured[1:]}." if claim.measured else ""),
        ("Article", f"{claim.id[:3]}: {ARTICLES[claim.id[:3]]}."),
    )
    verdict = VERDICTS[claim.verdict]
    return Answer("claim", claim.id, f"Claim {claim.id}: {verdict}", f"The article says: {claim.says}", sections, claim.see_also, claim._asdict() | {"see_also": list(claim.see_also)})  # fmt: skip


def explain_claims(article: str = "") -> Answer:
    """List all claims with their verdicts, or those of one ``article`` (``002``)."""
    chosen = tuple(claim for claim in CLAIMS if claim.id.startswith(article))
    counts = ", ".join(
        f"{sum(claim.verdict == verdict for claim in chosen)} {spelled}" for verdict, spelled in VERDICTS.items()
    )
    sections = [
        Section(
            "Articles",
            items=tuple(f"{number}: {what}" for number, what in ARTICLES.items() if number.startswith(article)),
        )
    ]
    for number in ARTICLES:
        rows = tuple(
            (claim.id, claim.says, VERDICTS[claim.verdict], _truth(claim))
            for claim in chosen
            if claim.id.startswith(number)
        )
        if rows:
            sections.append(Section(f"Article {number}", grid=Grid(("claim", "says", "verdict", "in truth"), rows)))
    summary = f"{len(chosen)} claims of often-read articles on netstat and TCP states: {counts}."
    facts: dict[str, object] = {"articles": ARTICLES, "claims": [claim._asdict() for claim in chosen]}
    return Answer(
        "claims", "claims", "What the articles say, and what is so", summary, tuple(sections), ("advice",), facts
    )


def _truth(claim: Claim) -> str:
    return f"{claim.truth} Measured: {claim.measured}." if claim.measured else claim.truth
