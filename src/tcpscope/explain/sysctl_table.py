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


NAMESPACE, HOST = "network namespace", "whole machine"
NEXT = "from its next use"
NEW = "new sockets"
HANDSHAKES = "new connections"

TCP_SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="net.ipv4.tcp_syn_retries",
        default="6",
        scope=NAMESPACE,
        does=(
            "How often an unanswered SYN is repeated. With tcp_syn_linear_timeouts 4 this makes 131 s (measured"
            " 133.6 s)."
        ),
        acts=NEXT,
        advice="Set a connect timeout in the program, or TCP_SYNCNT on the socket, rather than this for everybody.",
        see_also=("syn-retries",),
    ),
    Setting(
        name="net.ipv4.tcp_syn_linear_timeouts",
        default="4",
        scope=NAMESPACE,
        does="How many SYN retries come every second before the wait doubles (Linux 6.5 and later).",
        acts=NEXT,
        see_also=("syn-retries",),
    ),
    Setting(
        name="net.ipv4.tcp_synack_retries",
        default="5",
        scope=NAMESPACE,
        does="How often SYN,ACK is repeated; 63 s in all (measured 64.2 s).",
        acts=NEXT,
        advice="2 or 3 under a SYN flood.",
        see_also=("syn-ack-retries", "syn-flood"),
    ),
    Setting(
        name="net.ipv4.tcp_retries1",
        default="3",
        scope=NAMESPACE,
        does="After so many retransmissions the route is asked for again (R1 of RFC 9293).",
        acts=NEXT,
        see_also=("retransmission",),
    ),
    Setting(
        name="net.ipv4.tcp_retries2",
        default="15",
        scope=NAMESPACE,
        does="How long unacknowledged data is retransmitted before ETIMEDOUT: 924.6 s (measured 938 s).",
        acts=NEXT,
        advice="5 to 8 on internal networks (13 to 108 s measured), or TCP_USER_TIMEOUT per socket.",
        see_also=("retransmission", "retransmission-stall"),
    ),
    Setting(
        name="net.ipv4.tcp_orphan_retries",
        default="0 (means 8)",
        scope=NAMESPACE,
        does="The same for sockets whose program is gone: FIN_WAIT_1, LAST_ACK, CLOSING; 102 s (measured 107 s).",
        acts=NEXT,
        advice="2 or 3 on busy edges (7.2 s at 3).",
        wrong="1: it gives up after 1.9 s and loses the end of transfers.",
        see_also=("orphan", "fin-wait1-stuck"),
    ),
    Setting(
        name="net.ipv4.tcp_fin_timeout",
        default="60",
        scope=NAMESPACE,
        does="How long an orphan stays in FIN_WAIT_2, in seconds (measured 62.3 s; set to 5: 5.9 s). Nothing else.",
        acts="sockets that enter FIN_WAIT_2 afterwards",
        advice="15 to 30 is harmless, and only shortens that state.",
        wrong="Lowering it against TIME_WAIT: TIME_WAIT stayed 62.0 s with tcp_fin_timeout 5 (measured).",
        see_also=("FIN_WAIT_2", "fin-wait-2", "2MSL"),
    ),
    Setting(
        name="net.ipv4.tcp_keepalive_time",
        default="7200",
        scope=NAMESPACE,
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
        scope=NAMESPACE,
        does="Seconds between unanswered keepalive probes.",
        acts="timers armed afterwards",
        wrong="interval x probes below 10 s: a short loss then kills healthy connections.",
        see_also=("keepalive", "keepalive-too-aggressive"),
    ),
    Setting(
        name="net.ipv4.tcp_keepalive_probes",
        default="9",
        scope=NAMESPACE,
        does="Unanswered keepalive probes before ETIMEDOUT.",
        acts="timers armed afterwards",
        wrong="2: four seconds of loss kill the connection with an interval of 2.",
        see_also=("keepalive",),
    ),
    Setting(
        name="net.ipv4.tcp_tw_reuse",
        default="2 (loopback only)",
        scope=NAMESPACE,
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
        scope=NAMESPACE,
        does="How old a TIME_WAIT must be before tcp_tw_reuse takes it.",
        acts=NEXT,
        see_also=("net.ipv4.tcp_tw_reuse",),
    ),
    Setting(
        name="net.ipv4.tcp_tw_recycle",
        default="does not exist (removed in 4.12)",
        scope=NAMESPACE,
        does="Dropped SYNs by per-host timestamps; broke every client behind NAT.",
        acts="-",
        advice="Remove it from configuration files.",
        wrong="Any use of it.",
        see_also=("net.ipv4.tcp_tw_reuse",),
    ),
    Setting(
        name="net.ipv4.tcp_max_tw_buckets",
        default="131072 (depends on memory)",
        scope=NAMESPACE,
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
        scope=NAMESPACE,
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
        scope=NAMESPACE,
        does="With cookies off, limits handshakes per listener. With cookies on the limit is the listener's backlog.",
        acts="at once",
        wrong="Raising only this: the listener's limit is min(backlog, somaxconn).",
        see_also=("syn-flood", "net.core.somaxconn"),
    ),
    Setting(
        name="net.ipv4.tcp_abort_on_overflow",
        default="0",
        scope=NAMESPACE,
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
        name="net.ipv4.tcp_timestamps",
        default="1",
        scope=NAMESPACE,
        does=(
            "Timestamps (RFC 7323): protection against old segments, better RTT; needed by tcp_tw_reuse and for options"
            " with SYN cookies."
        ),
        acts=HANDSHAKES,
        advice="Keep 1.",
        wrong="Switching it off to save 12 bytes.",
        see_also=("net.ipv4.tcp_tw_reuse", "SYN cookies"),
    ),
    Setting(
        name="net.ipv4.tcp_window_scaling",
        default="1",
        scope=NAMESPACE,
        does="Windows above 64 KiB (RFC 7323).",
        acts=HANDSHAKES,
        advice="Keep 1.",
        see_also=(),
    ),
    Setting(
        name="net.ipv4.tcp_sack",
        default="1",
        scope=NAMESPACE,
        does="Selective acknowledgements (RFC 2018): lost segments are known one by one.",
        acts=HANDSHAKES,
        advice="Keep 1.",
        see_also=("packet-loss",),
    ),
    Setting(
        name="net.ipv4.tcp_mtu_probing",
        default="0",
        scope=NAMESPACE,
        does="1 finds the path MTU by probing after a black hole is suspected.",
        acts=NEXT,
        advice="1 where ICMP is filtered (measured: 20000 bytes delivered after about 6 s; with 0 nothing in 12 s).",
        see_also=("pmtu-blackhole",),
    ),
    Setting(
        name="net.ipv4.tcp_rfc1337",
        default="0",
        scope=NAMESPACE,
        does="1 ignores RST in TIME_WAIT (RFC 1337).",
        acts=NEXT,
        see_also=("TIME_WAIT", "RST"),
    ),
    Setting(
        name="net.ipv4.tcp_invalid_ratelimit",
        default="500 (ms)",
        scope=NAMESPACE,
        does="At most one answer per socket and interval to segments outside the window, challenge ACKs included.",
        acts="at once",
        see_also=("challenge ACK",),
    ),
    Setting(
        name="net.ipv4.tcp_challenge_ack_limit",
        default="2147483647 (off)",
        scope=NAMESPACE,
        does="Limit of challenge ACKs per second; off by default in today's kernels.",
        acts="at once",
        see_also=("challenge ACK",),
    ),
    Setting(
        name="net.ipv4.tcp_rto_min_us",
        default="200000",
        scope=NAMESPACE,
        does="Smallest retransmission timeout, in microseconds.",
        acts=NEW,
        see_also=("retransmission",),
    ),
    Setting(
        name="net.ipv4.tcp_rto_max_ms",
        default="120000",
        scope=NAMESPACE,
        does="Largest retransmission timeout (Linux 6.15 and later); lower values shorten the total of tcp_retries2.",
        acts=NEW,
        see_also=("retransmission",),
    ),
    Setting(
        name="net.ipv4.tcp_mem",
        default="depends on memory",
        scope=HOST,
        does="Pages all TCP sockets may use: low, pressure, high.",
        acts="at once",
        advice="Find the pile of Send-Q or Recv-Q before raising it.",
        see_also=("tcp-memory-pressure",),
    ),
    Setting(
        name="net.ipv4.tcp_rmem",
        default="4096 131072 33554432",
        scope=NAMESPACE,
        does="Receive buffer of a socket: least, first, most, in bytes.",
        acts=NEW,
        advice="Raise the third value for long fat paths.",
        wrong="Setting SO_RCVBUF in programs: it switches autotuning off.",
        see_also=("rcvbuf-pruning",),
    ),
    Setting(
        name="net.ipv4.tcp_wmem",
        default="4096 16384 4194304",
        scope=NAMESPACE,
        does="Send buffer of a socket: least, first, most, in bytes.",
        acts=NEW,
        see_also=("Send-Q",),
    ),
    Setting(
        name="net.ipv4.tcp_max_orphans",
        default="depends on memory",
        scope=HOST,
        does="Limit of orphans; above it they are reset. The kernel counts bad ones two- or fourfold.",
        acts="at once",
        advice="About 64 KiB each in the worst case.",
        wrong="Lowering it: connections are cut while they deliver their last bytes.",
        see_also=("orphan", "too-many-orphans"),
    ),
    Setting(
        name="net.ipv4.tcp_migrate_req",
        default="0",
        scope=NAMESPACE,
        does="1 hands the queue of a closed SO_REUSEPORT listener to its siblings.",
        acts="at once",
        advice="1 for restarts without resets.",
        see_also=("listener-closed-with-queue",),
    ),
    Setting(
        name="net.ipv4.tcp_fastopen",
        default="1 (client)",
        scope=NAMESPACE,
        does="TCP Fast Open: 1 client, 2 server; data in the SYN (RFC 7413).",
        acts=HANDSHAKES,
        see_also=(),
    ),
    Setting(
        name="net.ipv4.tcp_recovery",
        default="1",
        scope=NAMESPACE,
        does="1: RACK, loss is found by time and not by counting duplicates; tolerates reordering (RFC 8985).",
        acts=NEXT,
        advice="Keep 1.",
        see_also=("spurious-retransmit-reorder",),
    ),
)
