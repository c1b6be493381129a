"""What each kernel counter that matters for TCP means, and where it misleads.

Names put the group first, as everywhere in this project (``TcpExt.ListenOverflows``); ``netstat -s`` prints sentences
for the same numbers, ``nstat -az`` the names without the dot. Texts say what one count stands for; a rate between two
readings means something, a total since boot rarely does. Figures in them were measured on Linux 6.18.
"""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section, fold

#: Counter or gauge -> what it means.
COUNTERS: dict[str, str] = {
    # Tcp: the counters of RFC 4022
    "Tcp.ActiveOpens": "Connections this host began: moves from CLOSED to SYN_SENT.",
    "Tcp.PassiveOpens": "Connections others began here: moves from LISTEN to SYN_RECEIVED that became a connection.",
    "Tcp.AttemptFails": (
        "Handshakes that failed: refused or timed out connects, and half-open ones reset before"
        " ESTABLISHED. 300 refused connects count exactly 300."
    ),
    "Tcp.EstabResets": (
        "Moves from ESTABLISHED or CLOSE_WAIT straight to CLOSED: resets received, but also our own"
        " aborts, timeouts and SOCK_DESTROY."
    ),
    "Tcp.CurrEstab": "A gauge: sockets in ESTABLISHED or CLOSE_WAIT now. A leak of CLOSE_WAIT hides in it.",
    "Tcp.InSegs": "Segments received, bad ones included.",
    "Tcp.OutSegs": "Segments sent, without retransmissions.",
    "Tcp.RetransSegs": (
        "Segments sent again. Divided by OutSegs it over-reads at high loss (36 % at 20 % loss);"
        " TCPOrigDataSent is the better base on hosts that mostly acknowledge."
    ),
    "Tcp.InErrs": (
        "Segments thrown away as bad. Also counts SYNs that were challenged on a live connection (20 SYNs:"
        " 20), so it speaks of checksums only where InCsumErrors grows alike."
    ),
    "Tcp.InCsumErrors": "Segments with a wrong checksum: a defective network card, offload or middlebox.",
    "Tcp.OutRsts": "Resets sent, for whatever reason: no such socket, abort, unread data at close, data after close.",
    # opening
    "TcpExt.ListenOverflows": (
        "The accept queue was full when a SYN or the last ACK came. Counts attempts, repeated SYNs"
        " included, not clients: 5 stuck clients gave 40 in 12 s. Of the whole namespace, not of one listener."
    ),
    "TcpExt.ListenDrops": (
        "SYNs or last ACKs a listener threw away: all ListenOverflows and other reasons (no memory,"
        " full SYN queue without cookies)."
    ),
    "TcpExt.TCPReqQFullDoCookies": "SYNs answered with a cookie because the queue of half-open connections was full.",
    "TcpExt.TCPReqQFullDrop": "SYNs dropped because that queue was full and tcp_syncookies is 0.",
    "TcpExt.SyncookiesSent": "SYN|ACKs that carried a cookie instead of keeping a half-open connection.",
    "TcpExt.SyncookiesRecv": (
        "Cookies that came back valid. Every repeated ACK counts anew when the accept queue is"
        " full (24 for 4 clients), so it is no count of clients."
    ),
    "TcpExt.SyncookiesFailed": "ACKs to a listener with a wrong cookie: forged, too late, or after a restart.",
    "TcpExt.EmbryonicRsts": "Resets received in SYN_RECEIVED.",
    "TcpExt.TCPDeferAcceptDrop": (
        "Bare last ACKs that a listener with TCP_DEFER_ACCEPT ignored while it waits for data;"
        " the connections stay in SYN_RECEIVED and are healthy."
    ),
    "TcpExt.TCPSynRetrans": "SYN and SYN|ACK segments sent again.",
    "TcpExt.TCPSYNChallenge": (
        "SYNs that hit a live connection and were answered with a challenge ACK (RFC 5961 §4): a"
        " client that came back on the same ports, or an attack."
    ),
    "TcpExt.TCPChallengeACK": "Challenge ACKs sent, for SYNs, resets in the window and impossible ACKs.",
    "TcpExt.TCPACKSkippedSynRecv": "ACKs not sent in SYN_RECEIVED because of the rate limit for invalid segments.",
    "TcpExt.TCPACKSkippedChallenge": "Challenge ACKs not sent because of the rate limit: many of them mean injection.",
    "TcpExt.TCPMigrateReqSuccess": "Handshakes moved to another listener of the SO_REUSEPORT group when one closed.",
    "TcpExt.TCPMigrateReqFailure": "Handshakes that could not be moved when their listener closed.",
    "TcpExt.TCPFastOpenActiveFail": "Fast Open connects whose data in the SYN was not taken.",
    "TcpExt.TCPFastOpenBlackhole": "Times Fast Open was switched off because a middlebox swallows such SYNs.",
    "TcpExt.TCPFastOpenListenOverflow": "Fast Open SYNs for which the listener's Fast Open queue was full.",
    # closing
    "TcpExt.TW": (
        "Time-wait sockets begun (TIME_WAIT, or an orphan's FIN_WAIT_2), although netstat -s calls them"
        " finished: the kernel counts when it starts their timer."
    ),
    "TcpExt.TWRecycled": (
        "Time-wait sockets given up early because a new outgoing connection took their port (tcp_tw_reuse)."
    ),
    "TcpExt.TWKilled": (
        "Time-wait sockets begun with a timer of at most 4 s (a small tcp_fin_timeout); nothing is killed."
    ),
    "TcpExt.TCPTimeWaitOverflow": (
        "Connections that got no TIME_WAIT because tcp_max_tw_buckets was reached: closed at"
        " once, and late segments of theirs are answered with a reset (7 of 12 with a limit of 5)."
    ),
    "TcpExt.TCPAbortOnData": "Connections reset because data came after close(), or by SO_LINGER 0.",
    "TcpExt.TCPAbortOnClose": "Connections reset because the program closed with unread data in the receive queue.",
    "TcpExt.TCPAbortOnLinger": "Orphans aborted in FIN_WAIT_2 because of a negative TCP_LINGER2.",
    "TcpExt.TCPAbortOnMemory": "Orphans aborted for lack of TCP memory or because of tcp_max_orphans.",
    "TcpExt.TCPAbortOnTimeout": "Connections given up: retransmissions, probes or keepalives used up.",
    "TcpExt.TCPAbortFailed": "Resets that could not be sent for lack of memory.",
    "TcpExt.TCPACKSkippedFinWait2": "ACKs not sent in FIN_WAIT_2 because of the rate limit for invalid segments.",
    "TcpExt.TCPACKSkippedTimeWait": "ACKs not sent in TIME_WAIT because of the rate limit for invalid segments.",
    # loss and recovery
    "TcpExt.DelayedACKs": "Acknowledgements that waited for their timer (40 ms at first): no data went back meanwhile.",
    "TcpExt.TCPOrigDataSent": "Data segments sent for the first time: the honest base for a loss ratio.",
    "TcpExt.TCPTimeouts": (
        "Retransmission timeouts. A large share of RetransSegs means losses at the tail or a dead path."
    ),
    "TcpExt.TCPLostRetransmit": "Retransmissions that were lost again.",
    "TcpExt.TCPFastRetrans": "Segments sent again after duplicate ACKs or SACK, without waiting for a timeout.",
    "TcpExt.TCPSlowStartRetrans": "Segments sent again in slow start after a timeout.",
    "TcpExt.TCPRetransFail": "Retransmissions the lower layers refused.",
    "TcpExt.TCPLossProbes": "Tail loss probes sent: often needless; with as many TCPDSACKRecv nothing was lost.",
    "TcpExt.TCPLossProbeRecovery": "Losses repaired by a tail loss probe.",
    "TcpExt.TCPSpuriousRTOs": "Retransmission timeouts that turned out needless (F-RTO).",
    "TcpExt.TCPSpuriousRtxHostQueues": "Retransmissions not made because the first copy was still queued on this host.",
    "TcpExt.TCPDSACKRecv": "The peer says it got something twice: our retransmission was needless.",
    "TcpExt.TCPDSACKOldSent": "We told the peer that something came twice.",
    "TcpExt.TCPSACKReorder": "Reordering found by SACK.",
    "TcpExt.TCPTSReorder": "Reordering found by timestamps.",
    "TcpExt.TCPSACKReneging": "The peer took back what it had acknowledged by SACK: a broken or starving receiver.",
    "TcpExt.TCPSackRecovery": "Recoveries entered because of SACK information.",
    "TcpExt.TCPMTUPFail": "Path MTU probes that were lost.",
    "TcpExt.TCPMTUPSuccess": "Path MTU probes that got through.",
    # windows and memory
    "TcpExt.TCPFromZeroWindowAdv": "Times we opened a window again that was 0.",
    "TcpExt.TCPToZeroWindowAdv": "Times we told a peer to stop: the window became 0, a local program does not read.",
    "TcpExt.TCPWantZeroWindowAdv": "Times the window should have been 0 and could not shrink any more.",
    "TcpExt.TCPWinProbe": "Zero-window probes sent: a peer's program does not read.",
    "TcpExt.TCPKeepAlive": "Keepalive probes sent. Only sockets with SO_KEEPALIVE send them, whatever the sysctls say.",
    "TcpExt.TCPZeroWindowDrop": "Segments dropped because they came into a window of 0.",
    "TcpExt.TCPRcvQDrop": "Segments dropped because the receive queue or its memory was full.",
    "TcpExt.TCPBacklogDrop": "Segments dropped because the socket's backlog was full while its program held the lock.",
    "TcpExt.TCPOFOQueue": "Segments kept out of order.",
    "TcpExt.TCPOFODrop": "Out-of-order segments dropped for lack of room.",
    "TcpExt.OfoPruned": "Times the out-of-order queue was thrown away for lack of room.",
    "TcpExt.PruneCalled": "Times a receive buffer was squeezed because it overflowed.",
    "TcpExt.RcvPruned": "Times squeezing did not help and data was dropped.",
    "TcpExt.TCPRcvCollapsed": "Segments merged to save receive memory.",
    "TcpExt.TCPWqueueTooBig": "Splits refused because the send queue was far above its limit (CVE-2019-11478).",
    "TcpExt.TCPMemoryPressures": "Times TCP as a whole went above the second value of tcp_mem.",
    "TcpExt.TCPMemoryPressuresChrono": "Milliseconds TCP has spent above it.",
    # protection
    "TcpExt.PAWSActive": "SYN|ACKs refused for an old timestamp.",
    "TcpExt.PAWSEstab": (
        "Segments refused for an old timestamp on a connection; at a rate, hosts behind one NAT mix their clocks."
    ),
    "TcpExt.PAWSTimewait": "SYNs refused for an old timestamp in TIME_WAIT.",
    "TcpExt.PAWSOldAck": "Pure ACKs with an old timestamp that were let pass or ignored.",
    "TcpExt.TSEcrRejected": "SYN|ACKs and ACKs refused because the echoed timestamp is impossible.",
    "TcpExt.BeyondWindow": "Segments that went beyond the receive window.",
    "TcpExt.OutOfWindowIcmps": "ICMP errors ignored because they quote a sequence number outside the window.",
    "TcpExt.LockDroppedIcmps": "ICMP errors dropped because the socket was in use.",
    "TcpExt.IPReversePathFilter": "Packets dropped by rp_filter: the way back leads through another interface.",
    "TcpExt.TCPMinTTLDrop": "Segments dropped by IP_MINTTL.",
    "TcpExt.PFMemallocDrop": "Packets dropped in a memory emergency.",
    # below TCP
    "Ip.OutNoRoutes": "Packets not sent because there is no route.",
    "Ip.InDiscards": "Received packets dropped without an error in them (no memory).",
    "Ip.OutDiscards": "Packets to send that were dropped without an error in them.",
    "Ip.InHdrErrors": "Received packets with a bad header or a used-up TTL.",
    "softnet.dropped": "Packets dropped before any protocol saw them: netdev_max_backlog was full on some processor.",
    "softnet.time_squeeze": "Times a processor stopped receiving with work left (netdev_budget).",
    "nf_conntrack.insert_failed": "Connections conntrack could not remember: a race of two packets, or a full table.",
    "nf_conntrack.drop": "Packets dropped because no conntrack entry could be made: a full table.",
    "nf_conntrack.early_drop": (
        "Entries not yet assured that were thrown out to make room: the first sign of a full table."
    ),
    "nf_conntrack.invalid": "Packets conntrack could not assign; a firewall that drops those cuts idle connections.",
    # gauges
    "sockstat.used": "Sockets of every family in this namespace.",
    "sockstat.TCP.inuse": "TCP sockets of this namespace, time-wait and half-open ones not counted.",
    "sockstat.TCP.tw": "Time-wait mini-sockets of this namespace; orphans in FIN_WAIT_2 are among them.",
    "sockstat.TCP.orphan": "TCP sockets no program holds any more, of the whole machine, not of the namespace.",
    "sockstat.TCP.alloc": "TCP sockets of the whole machine, unbound ones included.",
    "sockstat.TCP.mem": "Pages of TCP buffers of the whole machine; compare with tcp_mem.",
    "sockstat.UDP.inuse": "UDP sockets of this namespace.",
    "sockstat.RAW.inuse": "Raw sockets of this namespace.",
    "sockstat.FRAG.inuse": "IP fragments waiting for the rest.",
}

_GROUPS = {
    "Tcp": "counters of RFC 4022, /proc/net/snmp",
    "TcpExt": "counters of Linux, /proc/net/netstat",
    "Ip": "counters of the layer below, /proc/net/snmp",
    "sockstat": "gauges of /proc/net/sockstat",
    "softnet": "per CPU, /proc/net/softnet_stat",
    "nf_conntrack": "connection tracking, /proc/net/stat/nf_conntrack",
}
_BY_NAME = {fold(name.replace(".", "")): name for name in COUNTERS} | {
    fold(name.rpartition(".")[2]): name for name in COUNTERS if not name.startswith("sockstat")
}


def counter_named(text: str) -> str | None:
    """Return the full name of a counter (``ListenOverflows``, ``TcpExtListenOverflows``), or ``None``."""
    return _BY_NAME.get(fold(text.replace(".", "")))


def explain_counter(name: str) -> Answer:
    """Explain the counter of this full name."""
    group = name.partition(".")[0]
    is_gauge = "gauge" in COUNTERS[name].lower() or group == "sockstat"
    kind = (
        "gauge: read it as it stands"
        if is_gauge
        else "counter since boot: only its growth between two readings means something"
    )
    items = (f"{group}: {_GROUPS[group]}", kind)
    nstat = f"nstat -az {name.replace('.', '')}"
    see = Section("See it", commands=("tcpscope stats 1", *((nstat,) if group in ("Tcp", "TcpExt", "Ip") else ())))
    return Answer(
        "counter",
        name,
        f"Counter {name}",
        COUNTERS[name],
        (Section("What it is", items=items), see),
        ("counters", "sar"),
        {"counter": name, "is_gauge": is_gauge},
    )


def explain_counters() -> Answer:
    """List every counter, group by group."""
    sections = tuple(
        Section(
            f"{group}: {what}",
            grid=Grid(
                ("counter", "meaning"),
                tuple((name, text) for name, text in COUNTERS.items() if name.partition(".")[0] == group),
            ),
        )
        for group, what in _GROUPS.items()
    )
    return Answer(
        "counters",
        "counters",
        "Counters",
        "What each number of the kernel counts. Only growth between two readings means something.",
        sections,
        ("nstat", "sar"),
        {"counters": dict(COUNTERS)},
    )
