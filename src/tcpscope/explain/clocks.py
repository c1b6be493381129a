"""Every clock that can end or move a connection: what starts it, what it does, nominal and measured figures.

RFC 9293 §3.8 (retransmission, persist, keepalive, user timeout), §3.4.1 (MSL), RFC 6298, RFC 5482. Linux's timers
run on a timer wheel and fire 1 to 7 % late; allow 10 % before calling anything stuck.
"""

from __future__ import annotations

from tcpscope.model.event import Event
from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State

S = State


class Figure(NamedTuple):
    """One condition with the time it should take and the time it took."""

    condition: str
    nominal: str
    measured: str = "-"


class Clock(NamedTuple):
    """One timer. ``shown`` is the word of ss and of the column Timer; empty when no tool shows it."""

    key: str
    title: str
    names: tuple[str, ...]
    summary: str
    states: tuple[State, ...]
    event: Event | None
    shown: str
    starts: str
    ends: str
    figures: tuple[Figure, ...]
    knobs: tuple[str, ...]
    notes: tuple[str, ...] = ()
    see_also: tuple[str, ...] = ()


CLOCKS: tuple[Clock, ...] = (
    Clock(
        key="retransmission",
        title="Retransmission timeout (RTO) and giving up on data",
        names=("rto", "retransmission timeout", "retransmit", "retries2", "on", "timer on", "r2", "rto timer"),
        summary=(
            "Sent bytes are not acknowledged: the first of them is sent again, each time after twice the wait, until"
            " the kernel gives up."
        ),
        states=(S.ESTABLISHED, S.FIN_WAIT_1, S.CLOSE_WAIT, S.CLOSING, S.LAST_ACK),
        event=Event.RETRANSMISSION_TIMEOUT,
        shown="on",
        starts="with the first segment that waits for an acknowledgement; at least 200 ms, then doubled up to 120 s",
        ends=(
            "when everything is acknowledged; or the socket fails with ETIMEDOUT and the state becomes CLOSED without a"
            " word to the peer"
        ),
        figures=(
            Figure("tcp_retries2 15 (default)", "924.6 s", "938 s, 16 timeouts, 16 retransmissions"),
            Figure("tcp_retries2 8", "102.2 s", "107.9 s"),
            Figure("tcp_retries2 6", "25.4 s", "26.7 s"),
            Figure("tcp_retries2 5", "12.6 s", "13.3 s"),
            Figure("tcp_retries2 3", "3.0 s", "6.86 s"),
        ),
        knobs=(
            "net.ipv4.tcp_retries2",
            "net.ipv4.tcp_retries1",
            "net.ipv4.tcp_rto_min_us",
            "net.ipv4.tcp_rto_max_ms",
            "TCP_USER_TIMEOUT",
        ),
        notes=(
            (
                "The sysctl is a number that Linux turns into a time (0.2 s x (2^(n+1) - 1), then 120 s for each"
                " further one); it is a lower bound."
            ),
            "RFC 9293 asks for at least 100 s before giving up (R2, MUST-20 and SHLD-11).",
            "While data is unacknowledged, keepalive is suspended: only this timer and TCP_USER_TIMEOUT count.",
        ),
        see_also=("Send-Q", "user timeout", "orphan", "retransmission-stall"),
    ),
    Clock(
        key="syn-retries",
        title="SYN retransmission: how long connect() tries",
        names=("syn retries", "syn timeout", "connect timeout", "tcp_syncnt", "connection timer", "syn retransmission"),
        summary="Nobody answers the SYN: it is sent again until connect() fails with ETIMEDOUT.",
        states=(S.SYN_SENT,),
        event=Event.RETRANSMISSION_TIMEOUT,
        shown="on",
        starts=(
            "with the SYN; the first wait is 1 s. Since Linux 6.5 the first four retries come every second, only then"
            " does the wait double"
        ),
        ends="by SYN,ACK, by RST (ECONNREFUSED), by EHOSTUNREACH, or by ETIMEDOUT",
        figures=(
            Figure("tcp_syn_retries 6, tcp_syn_linear_timeouts 4 (default)", "131 s", "133.6 s, 11 SYNs"),
            Figure("tcp_syn_retries 6, linear 0 (Linux before 6.5)", "127 s", "129.5 s, 7 SYNs"),
            Figure("TCP_SYNCNT 1", "3 s", "3.14 s"),
            Figure("TCP_SYNCNT 2", "7 s", "7.23 s"),
            Figure("TCP_SYNCNT 3", "19 s", "19.42 s"),
            Figure("tcp_syn_retries 4 / 5", "35 s / 67 s"),
            Figure("TCP_USER_TIMEOUT 5000 before connect()", "5 s", "5.04 s"),
            Figure("host on the same LAN absent (no ARP answer)", "3 s, EHOSTUNREACH", "3.07 s"),
        ),
        knobs=("net.ipv4.tcp_syn_retries", "net.ipv4.tcp_syn_linear_timeouts", "TCP_SYNCNT", "TCP_USER_TIMEOUT"),
        notes=(
            (
                "RFC 9293 asks for at least 3 minutes for a SYN (MUST-23); Linux stays below. BSD's 75 s is found in"
                " older texts."
            ),
            "Most programs have their own, shorter connect timeout, which hides this one.",
        ),
        see_also=("SYN_SENT", "syn-sent-blackhole", "claim 004-1"),
    ),
    Clock(
        key="syn-ack-retries",
        title="SYN,ACK retransmission: how long a half-open handshake is kept",
        names=(
            "synack",
            "syn-ack",
            "synack retries",
            "syn-ack retries",
            "syn ack",
            "syn recv timeout",
            "half-open timeout",
        ),
        summary="The last ACK of the handshake is missing: SYN,ACK is sent again, then the request socket is deleted.",
        states=(S.SYN_RECEIVED,),
        event=Event.RETRANSMISSION_TIMEOUT,
        shown="on",
        starts="with the SYN,ACK; 1 s, doubled each time",
        ends=(
            "by the ACK (the connection exists), by RST, or silently after the last retry; pruned earlier when the"
            " queue is full"
        ),
        figures=(
            Figure("tcp_synack_retries 5 (default)", "63 s", "64.2 s, 5 SYN,ACKs again"),
            Figure("queue full with backlog 128", "pruned to half", "129 entries, 64 after 12 s, 0 after 63 to 68 s"),
        ),
        knobs=("net.ipv4.tcp_synack_retries", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_syncookies"),
        notes=("A listener with TCP_DEFER_ACCEPT keeps healthy clients here until they send their first byte.",),
        see_also=("SYN_RECEIVED", "defer accept", "syn-flood", "claim 003-12"),
    ),
    Clock(
        key="orphan",
        title="Orphan retries: closing without a program",
        names=("orphans", "orphan retries", "orphan timeout"),
        summary=(
            "The program has closed the socket and is gone; the kernel alone tries to deliver the rest and the FIN,"
            " with fewer retries."
        ),
        states=(S.FIN_WAIT_1, S.CLOSING, S.LAST_ACK),
        event=Event.USER_TIMEOUT,
        shown="on",
        starts="when the last descriptor is closed while data or the FIN is not acknowledged",
        ends="by the missing ACK, by RST, by giving up; at once under memory pressure or above tcp_max_orphans",
        figures=(
            Figure("tcp_orphan_retries 0 (default, means 8)", "102 s", "107.0 s (FIN_WAIT_1), 107.2 s (LAST_ACK)"),
            Figure("tcp_orphan_retries 3", "3.0 s", "7.2 s"),
            Figure("tcp_orphan_retries 1", "0.6 s", "1.9 s"),
            Figure("behind a zero window (timer persist)", "-", "341.5 s, 7 probes"),
        ),
        knobs=("net.ipv4.tcp_orphan_retries", "net.ipv4.tcp_max_orphans"),
        notes=(
            "Never set 1: a hiccup of two seconds then loses the end of a transfer.",
            (
                "sockstat's orphan count is machine-wide, not per namespace; a FIN_WAIT_2 orphan is counted in tw, not"
                " in orphan."
            ),
        ),
        see_also=("FIN_WAIT_1", "LAST_ACK", "CLOSING", "fin-wait1-stuck", "too-many-orphans"),
    ),
    Clock(
        key="fin-wait-2",
        title="FIN_WAIT_2 timeout",
        names=("fin_wait_2", "finwait2", "fin wait 2 timer", "fin-wait-2 timer", "tcp_linger2"),
        summary=(
            "The program has closed completely and the peer has not: the kernel waits this long for the peer's FIN,"
            " then forgets."
        ),
        states=(S.FIN_WAIT_2,),
        event=Event.FIN_WAIT_2_TIMEOUT,
        shown="timewait",
        starts="when our FIN is acknowledged after close(); not after shutdown()",
        ends="by the peer's FIN (TIME_WAIT follows) or by the end of the time; data that arrives is answered with RST",
        figures=(
            Figure("tcp_fin_timeout 60 (default)", "60 s", "62.3 s"),
            Figure("tcp_fin_timeout 5", "5 s", "5.9 s"),
            Figure("TCP_LINGER2 10 on the socket", "10 s", "10.5 s"),
            Figure("after shutdown(SHUT_WR), socket still open", "no limit", "still there after 75 s"),
        ),
        knobs=("net.ipv4.tcp_fin_timeout", "TCP_LINGER2"),
        notes=(
            "Not in RFC 9293: it says nothing about a limit here. BSD's old 10 minutes is still quoted.",
            (
                "Linux keeps such a connection as a time-wait mini-socket: ss shows timer:(timewait,...), netstat shows"
                " no PID."
            ),
            (
                "It has nothing to do with TIME_WAIT, which stays at 60 s whatever this is set to (measured: 62.0 s"
                " with tcp_fin_timeout 5)."
            ),
        ),
        see_also=("FIN_WAIT_2", "2MSL", "fin-wait2-orphan-pile", "claim 004-2"),
    ),
    Clock(
        key="2msl",
        title="2 MSL: the time of TIME_WAIT",
        names=(
            "2msl",
            "time wait timer",
            "time_wait timer",
            "timewait",
            "timewait timer",
            "msl",
            "maximum segment lifetime",
        ),
        summary=(
            "After both FINs the end that closed first remembers the connection, to repeat its last ACK and to let old"
            " segments die."
        ),
        states=(S.TIME_WAIT,),
        event=Event.TIME_WAIT_TIMEOUT,
        shown="timewait",
        starts="with the ACK of the peer's FIN; anew when that FIN comes again",
        ends=(
            "by itself; earlier by a SYN that may reopen (RFC 6191), by RST unless tcp_rfc1337 is set, or by reuse from"
            " this host (tcp_tw_reuse)"
        ),
        figures=(
            Figure("Linux: 60 s, compiled in", "60 s", "62.0 to 62.4 s"),
            Figure("Linux with tcp_fin_timeout 5", "60 s", "62.0 s: unchanged"),
            Figure("RFC 9293: 2 x 2 minutes", "240 s"),
        ),
        knobs=(
            "net.ipv4.tcp_tw_reuse",
            "net.ipv4.tcp_tw_reuse_delay",
            "net.ipv4.tcp_max_tw_buckets",
            "net.ipv4.tcp_rfc1337",
        ),
        notes=(
            "MSL is the longest time a segment may live in the network, not its length.",
            (
                "No sysctl changes the 60 s. tcp_max_tw_buckets does not shorten it either: above the limit the kernel"
                " skips TIME_WAIT and sends RST."
            ),
        ),
        see_also=("TIME_WAIT", "ephemeral-port-exhaustion-timewait", "claim 004-3"),
    ),
    Clock(
        key="keepalive",
        title="Keepalive",
        names=("keep alive", "keep-alive", "so_keepalive", "tcp keepalive", "keepalive timer"),
        summary=(
            "An idle connection is probed to learn whether the peer still exists. Off unless the program asks for it."
        ),
        states=(S.ESTABLISHED, S.CLOSE_WAIT, S.FIN_WAIT_1, S.FIN_WAIT_2),
        event=Event.KEEPALIVE_TIMEOUT,
        shown="keepalive",
        starts="when SO_KEEPALIVE is set, after tcp_keepalive_time of silence; suspended while data is unacknowledged",
        ends=(
            "never while the peer answers; with no answer to all probes the socket fails with ETIMEDOUT; an answer RST"
            " means ECONNRESET"
        ),
        figures=(
            Figure("7200 s idle, 9 probes 75 s apart (default)", "7875 s (2 h 11 min)"),
            Figure("idle 5, interval 2, count 3; peer vanished", "11 s", "11.01 s, ETIMEDOUT"),
            Figure("the same with unacknowledged data, tcp_retries2 6", "25.4 s", "26.7 s: keepalive did not act"),
            Figure("CLOSE_WAIT, idle 5, interval 2, count 3; peer alive", "for ever", "40 s, 20 probes answered"),
            Figure("CLOSE_WAIT, the same; the peer's FIN_WAIT_2 ended meanwhile", "-", "66.7 s, then reset"),
        ),
        knobs=(
            "net.ipv4.tcp_keepalive_time",
            "net.ipv4.tcp_keepalive_intvl",
            "net.ipv4.tcp_keepalive_probes",
            "TCP_KEEPIDLE",
            "TCP_KEEPINTVL",
            "TCP_KEEPCNT",
        ),
        notes=(
            (
                "A changed sysctl touches neither sockets without SO_KEEPALIVE nor timers that are already armed"
                " (measured: keepalive,119min stayed)."
            ),
            "It is no cure for CLOSE_WAIT: the peer's kernel answers the probes.",
            "Only the probing side's idle times are refreshed; on the probed side only segs_in grows.",
        ),
        see_also=("half-open-stale", "no-keepalive-on-long-idle", "claim 002-4", "claim 002-5"),
    ),
    Clock(
        key="persist",
        title="Persist: probing a zero window",
        names=("zero window", "window probe", "persist timer", "zero-window probe", "zero window probe"),
        summary=(
            "The peer's window is 0: its program does not read. The kernel asks again and again whether it has opened."
        ),
        states=(S.ESTABLISHED, S.FIN_WAIT_1, S.CLOSE_WAIT, S.CLOSING, S.LAST_ACK),
        event=Event.PERSIST_TIMEOUT,
        shown="persist",
        starts=(
            "when data (or the FIN) waits and nothing is in flight because the window is 0; first after one RTO, then"
            " doubled up to 120 s"
        ),
        ends="when the window opens; never while the peer answers (MUST-37); orphans give up earlier",
        figures=(
            Figure("peer alive, program does not read", "for ever", "> 90 s, still there"),
            Figure("orphan in FIN_WAIT_1", "-", "341.5 s, 7 probes"),
        ),
        knobs=("TCP_USER_TIMEOUT", "SO_SNDTIMEO"),
        notes=(
            (
                "The cause is the peer's program, not the network: look at its Recv-Q (measured: 127480 bytes at the"
                " reader, 33624 in Send-Q here)."
            ),
            (
                "Linux runs it, too, while this host's own packet filter or output queue drops each segment: then"
                " nothing is in flight, and snd_wnd ('tcpscope list -i', 'ss -i') is above 0."
            ),
        ),
        see_also=("Send-Q", "zero-window-peer-slow", "fin-wait1-zero-window"),
    ),
    Clock(
        key="delayed-ack",
        title="Delayed ACK",
        names=("delack", "delayed acknowledgement", "delayed ack timer", "tcp_quickack", "quickack"),
        summary="An ACK waits a moment for data to ride on.",
        states=(S.ESTABLISHED, S.FIN_WAIT_1, S.FIN_WAIT_2),
        event=Event.DELAYED_ACK_TIMEOUT,
        shown="",
        starts="with in-order data that has not been acknowledged yet",
        ends="by data going the other way, by a second full segment, or by the timer",
        figures=(Figure("RFC 9293", "< 500 ms (MUST-40)"), Figure("Linux", "40 ms to 200 ms, adapted to the sender")),
        knobs=("TCP_QUICKACK",),
        notes=(
            (
                "Invisible in every table: it changes no state. With Nagle's algorithm on the other side it shows as"
                " pauses of about 40 ms."
            ),
        ),
        see_also=("ACK",),
    ),
    Clock(
        key="user-timeout",
        title="TCP_USER_TIMEOUT",
        names=("tcp_user_timeout", "user timeout", "uto"),
        summary="The program's own limit for unacknowledged data; wins over tcp_retries2 and over keepalive.",
        states=(S.SYN_SENT, S.ESTABLISHED, S.FIN_WAIT_1, S.CLOSE_WAIT, S.CLOSING, S.LAST_ACK),
        event=Event.USER_TIMEOUT,
        shown="on",
        starts="with the first unacknowledged byte (or the SYN)",
        ends="by the ACK, or by ETIMEDOUT",
        figures=(
            Figure("8000 ms, data unacknowledged", "8 s", "8.43 s"),
            Figure("5000 ms, connect()", "5 s", "5.04 s"),
        ),
        knobs=("TCP_USER_TIMEOUT",),
        notes=(
            "Nothing unacknowledged, nothing to time: it does not end an idle connection, FIN_WAIT_2 or CLOSE_WAIT.",
        ),
        see_also=("retransmission", "keepalive"),
    ),
    Clock(
        key="defer-accept",
        title="TCP_DEFER_ACCEPT",
        names=("tcp_defer_accept", "deferred accept"),
        summary=(
            "The listener wants data before it wakes the program: the last ACK alone does not finish the handshake."
        ),
        states=(S.SYN_RECEIVED,),
        event=None,
        shown="on",
        starts="with the first bare ACK",
        ends="by the client's first byte, or when the time is over: then the connection is completed all the same",
        figures=(Figure("TCP_DEFER_ACCEPT 10", "about 10 s", "SYN_RECV for 12.7 s, then ESTABLISHED"),),
        knobs=("TCP_DEFER_ACCEPT",),
        notes=(
            "The client is ESTABLISHED all the time. Looks like a SYN flood and is none: TCPDeferAcceptDrop grows.",
        ),
        see_also=("SYN_RECEIVED", "deferred-accept-misread"),
    ),
    Clock(
        key="conntrack",
        title="Connection tracking timeouts (nf_conntrack)",
        names=("nf_conntrack", "conntrack timeouts", "nat timeout"),
        summary="A firewall or NAT on the road has its own idea of the connection and forgets it after these times.",
        states=(),
        event=None,
        shown="",
        starts="with every packet the firewall sees",
        ends=(
            "the entry is gone; later packets count as invalid and are often dropped, and both ends still believe in"
            " the connection"
        ),
        figures=(
            Figure("established", "432000 s (5 days)"),
            Figure("syn_sent", "120 s"),
            Figure("syn_recv", "60 s"),
            Figure("fin_wait", "120 s"),
            Figure("close_wait", "60 s"),
            Figure("last_ack", "30 s"),
            Figure("time_wait", "120 s"),
            Figure("close", "10 s"),
            Figure("max_retrans, unacknowledged", "300 s"),
            Figure(
                "established lowered to 4 s, data after that",
                "-",
                "ETIMEDOUT after 13.5 s (tcp_retries2 5); server ESTABLISHED for ever",
            ),
        ),
        knobs=("net.netfilter.nf_conntrack_tcp_timeout_established", "net.netfilter.nf_conntrack_tcp_timeout_last_ack"),
        notes=(
            "Load balancers of clouds forget far earlier: 350 s (AWS NLB) and 240 s (Azure) of silence are documented.",
        ),
        see_also=("idle-firewall-drop", "conntrack-table-full", "keepalive"),
    ),
)
