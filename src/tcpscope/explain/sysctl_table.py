"""Kernel settings that touch TCP's states: default, what they do, when a change acts, and advice that is wrong.

Defaults as on Linux 6.18; sources are the kernel's ``Documentation/networking/ip-sysctl.rst`` and measurements on
Linux 6.18, marked as such.
"""

from __future__ import annotations

from tcpscope.model.record import NamedTuple


class Setting(NamedTuple):
    """One sysctl. ``scope``: ``namespace`` or ``machine``; ``acts``: on which sockets a change acts."""

    name: str
    default: str
    scope: str
    does: str
    acts: str
    advice: str = ""
    wrong: str = ""
    see_also: tuple[str, ...] = ()


_NS, _HOST = "network namespace", "whole machine"
_NEXT = "from its next use"
_NEW = "new sockets"
_HANDSHAKES = "new connections"

SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="net.ipv4.tcp_syn_retries",
        default="6",
        scope=_NS,
        does=(
            "How often an unanswered SYN is repeated. With tcp_syn_linear_timeouts 4 this makes 131 s (measured"
            " 133.6 s)."
        ),
        acts=_NEXT,
        advice="Set a connect timeout in the program, or TCP_SYNCNT on the socket, rather than this for everybody.",
        see_also=("syn-retries",),
    ),
    Setting(
        name="net.ipv4.tcp_syn_linear_timeouts",
        default="4",
        scope=_NS,
        does="How many SYN retries come every second before the wait doubles (Linux 6.5 and later).",
        acts=_NEXT,
        see_also=("syn-retries",),
    ),
    Setting(
        name="net.ipv4.tcp_synack_retries",
        default="5",
        scope=_NS,
        does="How often SYN,ACK is repeated; 63 s in all (measured 64.2 s).",
        acts=_NEXT,
        advice="2 or 3 under a SYN flood.",
        see_also=("syn-ack-retries", "syn-flood"),
    ),
    Setting(
        name="net.ipv4.tcp_retries1",
        default="3",
        scope=_NS,
        does="After so many retransmissions the route is asked for again (R1 of RFC 9293).",
        acts=_NEXT,
        see_also=("retransmission",),
    ),
    Setting(
        name="net.ipv4.tcp_retries2",
        default="15",
        scope=_NS,
        does="How long unacknowledged data is retransmitted before ETIMEDOUT: 924.6 s (measured 938 s).",
        acts=_NEXT,
        advice="5 to 8 on internal networks (13 to 108 s measured), or TCP_USER_TIMEOUT per socket.",
        see_also=("retransmission", "retransmission-stall"),
    ),
    Setting(
        name="net.ipv4.tcp_orphan_retries",
        default="0 (means 8)",
        scope=_NS,
        does="The same for sockets whose program is gone: FIN_WAIT_1, LAST_ACK, CLOSING; 102 s (measured 107 s).",
        acts=_NEXT,
        advice="2 or 3 on busy edges (7.2 s at 3).",
        wrong="1: it gives up after 1.9 s and loses the end of transfers.",
        see_also=("orphan", "fin-wait1-stuck"),
    ),
    Setting(
        name="net.ipv4.tcp_fin_timeout",
        default="60",
        scope=_NS,
        does="How long an orphan stays in FIN_WAIT_2, in seconds (measured 62.3 s; set to 5: 5.9 s). Nothing else.",
        acts="sockets that enter FIN_WAIT_2 afterwards",
        advice="15 to 30 is harmless, and only shortens that state.",
        wrong="Lowering it against TIME_WAIT: TIME_WAIT stayed 62.0 s with tcp_fin_timeout 5 (measured).",
        see_also=("FIN_WAIT_2", "fin-wait-2", "2MSL"),
    ),
    Setting(
        name="net.ipv4.tcp_keepalive_time",
        default="7200",
        scope=_NS,
        does=(
            "Seconds of silence before the first keepalive probe, for sockets with SO_KEEPALIVE that set no"
            " TCP_KEEPIDLE."
        ),
        acts="sockets whose timer is armed afterwards (measured: an armed 119 min stayed)",
        advice="Set it per socket: TCP_KEEPIDLE 60, TCP_KEEPINTVL 10, TCP_KEEPCNT 6 finds a dead peer in 2 minutes.",
        wrong=(
            "As a cure for CLOSE_WAIT: the peer's kernel answers the probes, and most sockets have no keepalive at all."
        ),
        see_also=("keepalive", "claim 002-5"),
    ),
    Setting(
        name="net.ipv4.tcp_keepalive_intvl",
        default="75",
        scope=_NS,
        does="Seconds between unanswered keepalive probes.",
        acts="timers armed afterwards",
        wrong="interval x probes below 10 s: a short loss then kills healthy connections.",
        see_also=("keepalive", "keepalive-too-aggressive"),
    ),
    Setting(
        name="net.ipv4.tcp_keepalive_probes",
        default="9",
        scope=_NS,
        does="Unanswered keepalive probes before ETIMEDOUT.",
        acts="timers armed afterwards",
        wrong="2: four seconds of loss kill the connection with an interval of 2.",
        see_also=("keepalive",),
    ),
    Setting(
        name="net.ipv4.tcp_tw_reuse",
        default="2 (loopback only)",
        scope=_NS,
        does=(
            "Lets connect() reuse a local port whose TIME_WAIT towards the same destination is older than"
            " tcp_tw_reuse_delay; needs timestamps."
        ),
        acts="connect() from now on",
        advice="1 on a client that runs out of ports: safe. Measured with 10 ports: 10 more connections every 1.2 s.",
        wrong="On a server against incoming TIME_WAIT: it acts on outgoing connections only.",
        see_also=("TIME_WAIT", "ephemeral-port-exhaustion-timewait"),
    ),
    Setting(
        name="net.ipv4.tcp_tw_reuse_delay",
        default="1000 (ms)",
        scope=_NS,
        does="How old a TIME_WAIT must be before tcp_tw_reuse takes it.",
        acts=_NEXT,
        see_also=("net.ipv4.tcp_tw_reuse",),
    ),
    Setting(
        name="net.ipv4.tcp_tw_recycle",
        default="does not exist (removed in 4.12)",
        scope=_NS,
        does="Dropped SYNs by per-host timestamps; broke every client behind NAT.",
        acts="-",
        advice="Remove it from configuration files.",
        wrong="Any use of it.",
        see_also=("net.ipv4.tcp_tw_reuse",),
    ),
    Setting(
        name="net.ipv4.tcp_max_tw_buckets",
        default="131072 (depends on memory)",
        scope=_NS,
        does=(
            "Limit of TIME_WAIT and orphan FIN_WAIT_2 mini-sockets. Above it the kernel skips the state and sends RST"
            " (measured with 5: 12 closes, 7 RSTs)."
        ),
        acts="at once",
        advice="Raise it when TCPTimeWaitOverflow grows.",
        wrong="Lowering it to have fewer TIME_WAIT: it trades them for resets.",
        see_also=("TIME_WAIT", "tw-bucket-overflow"),
    ),
    Setting(
        name="net.ipv4.tcp_syncookies",
        default="1",
        scope=_NS,
        does="When the SYN queue is full, answer with a SYN cookie instead of dropping: no memory until the ACK comes.",
        acts="at once",
        advice=(
            "Keep 1, and keep timestamps on: without them cookie connections lose window scaling and SACK (measured)."
        ),
        wrong="0: a flood then locks real clients out (measured: 7.1 s to connect instead of 0).",
        see_also=("syn-flood", "SYN cookies"),
    ),
    Setting(
        name="net.ipv4.tcp_max_syn_backlog",
        default="2048 (depends on memory)",
        scope=_NS,
        does="With cookies off, limits handshakes per listener. With cookies on the limit is the listener's backlog.",
        acts="at once",
        wrong="Raising only this: the listener's limit is min(backlog, somaxconn).",
        see_also=("syn-flood", "net.core.somaxconn"),
    ),
    Setting(
        name="net.core.somaxconn",
        default="4096 (128 before 5.4)",
        scope=_NS,
        does="Upper limit of the backlog that listen() may ask for.",
        acts=(
            "listen() from now on: a live listener keeps its backlog until it calls listen() again (measured 64, 64,"
            " 1000)"
        ),
        advice="Raise it together with the program's own backlog, then restart or re-listen.",
        wrong="Raising it alone and waiting.",
        see_also=("accept-queue-overflow", "accept queue"),
    ),
    Setting(
        name="net.ipv4.tcp_abort_on_overflow",
        default="0",
        scope=_NS,
        does="Sends RST when the last ACK of a handshake meets a full accept queue.",
        acts="at once",
        advice="Leave it 0: after a burst the client's next segment completes the handshake.",
        wrong=(
            "As a fix for overflow: SYNs to a full queue are dropped all the same (measured), and clients that could"
            " have waited get ECONNRESET."
        ),
        see_also=("accept-queue-overflow",),
    ),
    Setting(
        name="net.ipv4.ip_local_port_range",
        default="32768 60999",
        scope=_NS,
        does=(
            "Local ports for connect() without bind(): 28232 of them. With 60 s of TIME_WAIT that is 470 connections"
            " per second to one destination."
        ),
        acts="at once",
        advice="Widen to 1024 65535 and reserve the ports of services with ip_local_reserved_ports.",
        see_also=("ephemeral-port-exhaustion-timewait", "self-connect"),
    ),
    Setting(
        name="net.ipv4.ip_local_reserved_ports",
        default="empty",
        scope=_NS,
        does="Ports that connect() must not take.",
        acts="at once",
        advice="Name every service port inside ip_local_port_range: 8080,9000-9010.",
        see_also=("port-taken-by-outgoing", "self-connect"),
    ),
    Setting(
        name="net.ipv4.tcp_timestamps",
        default="1",
        scope=_NS,
        does=(
            "Timestamps (RFC 7323): protection against old segments, better RTT; needed by tcp_tw_reuse and for options"
            " with SYN cookies."
        ),
        acts=_HANDSHAKES,
        advice="Keep 1.",
        wrong="Switching it off to save 12 bytes.",
        see_also=("net.ipv4.tcp_tw_reuse", "SYN cookies"),
    ),
    Setting(
        name="net.ipv4.tcp_window_scaling",
        default="1",
        scope=_NS,
        does="Windows above 64 KiB (RFC 7323).",
        acts=_HANDSHAKES,
        advice="Keep 1.",
        see_also=(),
    ),
    Setting(
        name="net.ipv4.tcp_sack",
        default="1",
        scope=_NS,
        does="Selective acknowledgements (RFC 2018): lost segments are known one by one.",
        acts=_HANDSHAKES,
        advice="Keep 1.",
        see_also=("packet-loss",),
    ),
    Setting(
        name="net.ipv4.tcp_mtu_probing",
        default="0",
        scope=_NS,
        does="1 finds the path MTU by probing after a black hole is suspected.",
        acts=_NEXT,
        advice="1 where ICMP is filtered (measured: 20000 bytes delivered after about 6 s; with 0 nothing in 12 s).",
        see_also=("pmtu-blackhole",),
    ),
    Setting(
        name="net.ipv4.tcp_rfc1337",
        default="0",
        scope=_NS,
        does="1 ignores RST in TIME_WAIT (RFC 1337).",
        acts=_NEXT,
        see_also=("TIME_WAIT", "RST"),
    ),
    Setting(
        name="net.ipv4.tcp_invalid_ratelimit",
        default="500 (ms)",
        scope=_NS,
        does="At most one answer per socket and interval to segments outside the window, challenge ACKs included.",
        acts="at once",
        see_also=("challenge ACK",),
    ),
    Setting(
        name="net.ipv4.tcp_challenge_ack_limit",
        default="2147483647 (off)",
        scope=_NS,
        does="Limit of challenge ACKs per second; off by default in today's kernels.",
        acts="at once",
        see_also=("challenge ACK",),
    ),
    Setting(
        name="net.ipv4.tcp_rto_min_us",
        default="200000",
        scope=_NS,
        does="Smallest retransmission timeout, in microseconds.",
        acts=_NEW,
        see_also=("retransmission",),
    ),
    Setting(
        name="net.ipv4.tcp_rto_max_ms",
        default="120000",
        scope=_NS,
        does="Largest retransmission timeout (Linux 6.15 and later); lower values shorten the total of tcp_retries2.",
        acts=_NEW,
        see_also=("retransmission",),
    ),
    Setting(
        name="net.ipv4.tcp_mem",
        default="depends on memory",
        scope=_HOST,
        does="Pages all TCP sockets may use: low, pressure, high.",
        acts="at once",
        advice="Find the pile of Send-Q or Recv-Q before raising it.",
        see_also=("tcp-memory-pressure",),
    ),
    Setting(
        name="net.ipv4.tcp_rmem",
        default="4096 131072 33554432",
        scope=_NS,
        does="Receive buffer of a socket: least, first, most, in bytes.",
        acts=_NEW,
        advice="Raise the third value for long fat paths.",
        wrong="Setting SO_RCVBUF in programs: it switches autotuning off.",
        see_also=("rcvbuf-pruning",),
    ),
    Setting(
        name="net.ipv4.tcp_wmem",
        default="4096 16384 4194304",
        scope=_NS,
        does="Send buffer of a socket: least, first, most, in bytes.",
        acts=_NEW,
        see_also=("Send-Q",),
    ),
    Setting(
        name="net.ipv4.tcp_max_orphans",
        default="depends on memory",
        scope=_HOST,
        does="Limit of orphans; above it they are reset. The kernel counts bad ones two- or fourfold.",
        acts="at once",
        advice="About 64 KiB each in the worst case.",
        wrong="Lowering it: connections are cut while they deliver their last bytes.",
        see_also=("orphan", "too-many-orphans"),
    ),
    Setting(
        name="net.ipv4.tcp_migrate_req",
        default="0",
        scope=_NS,
        does="1 hands the queue of a closed SO_REUSEPORT listener to its siblings.",
        acts="at once",
        advice="1 for restarts without resets.",
        see_also=("listener-closed-with-queue",),
    ),
    Setting(
        name="net.ipv4.tcp_fastopen",
        default="1 (client)",
        scope=_NS,
        does="TCP Fast Open: 1 client, 2 server; data in the SYN (RFC 7413).",
        acts=_HANDSHAKES,
        see_also=(),
    ),
    Setting(
        name="net.ipv6.bindv6only",
        default="0",
        scope=_NS,
        does="Default of IPV6_V6ONLY: 0 lets a socket on :: take IPv4 too.",
        acts=_NEW,
        see_also=("v6only", ":::22"),
    ),
    Setting(
        name="net.core.netdev_max_backlog",
        default="1000",
        scope=_NS,
        does="Packets a CPU may queue between network card and stack.",
        acts="at once",
        advice="Raise it when the second column of /proc/net/softnet_stat grows.",
        see_also=("softnet-drop",),
    ),
    Setting(
        name="net.netfilter.nf_conntrack_max",
        default="depends on memory",
        scope=_HOST,
        does="Connections the firewall can remember; the count is per namespace.",
        acts="at once",
        advice="Raise it, shorten the established timeout, or notrack for hot ports.",
        see_also=("conntrack", "conntrack-table-full"),
    ),
    Setting(
        name="net.netfilter.nf_conntrack_tcp_timeout_established",
        default="432000",
        scope=_NS,
        does="Seconds of silence after which the firewall forgets an established connection.",
        acts="entries refreshed afterwards",
        advice="Longer than the keepalive of your programs.",
        see_also=("conntrack", "idle-firewall-drop"),
    ),
    Setting(
        name="net.netfilter.nf_conntrack_tcp_timeout_last_ack",
        default="30",
        scope=_NS,
        does="The same in LAST_ACK; shorter than the 107 s for which Linux repeats its FIN.",
        acts="entries refreshed afterwards",
        see_also=("conntrack", "last-ack-pile"),
    ),
    Setting(
        name="net.ipv4.conf.all.rp_filter",
        default="0 (distributions set 1 or 2)",
        scope=_NS,
        does="Drops packets whose answer would leave by another interface; with asymmetric routes it drops handshakes.",
        acts="at once",
        advice="2 (loose) with several uplinks.",
        see_also=("syn-recv-ack-lost",),
    ),
    Setting(
        name="net.ipv4.conf.all.route_localnet",
        default="0",
        scope=_NS,
        does="1 lets packets for 127.0.0.0/8 come in from outside (with DNAT).",
        acts="at once",
        wrong="Relying on 127.0.0.1 as protection where it is 1.",
        see_also=("127.0.0.1:631", "exposed-listener"),
    ),
    Setting(
        name="fs.file-max",
        default="depends on memory",
        scope=_HOST,
        does="Descriptors of the whole machine. A program's own limit is RLIMIT_NOFILE.",
        acts="at once",
        advice="LimitNOFILE= in systemd, after closing the leak.",
        see_also=("fd-exhaustion-near", "accept-stalled-by-fd-limit"),
    ),
)
