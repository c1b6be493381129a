"""Kernel settings that touch TCP's states: default, what they do, when a change acts, and advice that is wrong.

Defaults as on Linux 6.18; sources are the kernel's ``Documentation/networking/ip-sysctl.rst`` and measurements on
Linux 6.18, marked as such.
"""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section, fold, prose_sections
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
    Setting("net.ipv4.tcp_syn_retries", "6", _NS, "How often an unanswered SYN is repeated. With tcp_syn_linear_timeouts 4 this makes 131 s (measured 133.6 s).", _NEXT,
            "Set a connect timeout in the program, or TCP_SYNCNT on the socket, rather than this for everybody.", "", ("syn-retries",)),
    Setting("net.ipv4.tcp_syn_linear_timeouts", "4", _NS, "How many SYN retries come every second before the wait doubles (Linux 6.5 and later).", _NEXT, "", "", ("syn-retries",)),
    Setting("net.ipv4.tcp_synack_retries", "5", _NS, "How often SYN,ACK is repeated; 63 s in all (measured 64.2 s).", _NEXT,
            "2 or 3 under a SYN flood.", "", ("syn-ack-retries", "syn-flood")),
    Setting("net.ipv4.tcp_retries1", "3", _NS, "After so many retransmissions the route is asked for again (R1 of RFC 9293).", _NEXT, "", "", ("retransmission",)),
    Setting("net.ipv4.tcp_retries2", "15", _NS, "How long unacknowledged data is retransmitted before ETIMEDOUT: 924.6 s (measured 938 s).", _NEXT,
            "5 to 8 on internal networks (13 to 108 s measured), or TCP_USER_TIMEOUT per socket.", "", ("retransmission", "retransmission-stall")),
    Setting("net.ipv4.tcp_orphan_retries", "0 (means 8)", _NS, "The same for sockets whose program is gone: FIN_WAIT_1, LAST_ACK, CLOSING; 102 s (measured 107 s).", _NEXT,
            "2 or 3 on busy edges (7.2 s at 3).", "1: it gives up after 1.9 s and loses the end of transfers.", ("orphan", "fin-wait1-stuck")),
    Setting("net.ipv4.tcp_fin_timeout", "60", _NS, "How long an orphan stays in FIN_WAIT_2, in seconds (measured 62.3 s; set to 5: 5.9 s). Nothing else.", "sockets that enter FIN_WAIT_2 afterwards",
            "15 to 30 is harmless, and only shortens that state.", "Lowering it against TIME_WAIT: TIME_WAIT stayed 62.0 s with tcp_fin_timeout 5 (measured).", ("FIN_WAIT_2", "fin-wait-2", "2MSL")),
    Setting("net.ipv4.tcp_keepalive_time", "7200", _NS, "Seconds of silence before the first keepalive probe, for sockets with SO_KEEPALIVE that set no TCP_KEEPIDLE.", "sockets whose timer is armed afterwards (measured: an armed 119 min stayed)",
            "Set it per socket: TCP_KEEPIDLE 60, TCP_KEEPINTVL 10, TCP_KEEPCNT 6 finds a dead peer in 2 minutes.", "As a cure for CLOSE_WAIT: the peer's kernel answers the probes, and most sockets have no keepalive at all.", ("keepalive", "claim 002-5")),
    Setting("net.ipv4.tcp_keepalive_intvl", "75", _NS, "Seconds between unanswered keepalive probes.", "timers armed afterwards",
            "", "interval x probes below 10 s: a short loss then kills healthy connections.", ("keepalive", "keepalive-too-aggressive")),
    Setting("net.ipv4.tcp_keepalive_probes", "9", _NS, "Unanswered keepalive probes before ETIMEDOUT.", "timers armed afterwards", "", "2: four seconds of loss kill the connection with an interval of 2.", ("keepalive",)),
    Setting("net.ipv4.tcp_tw_reuse", "2 (loopback only)", _NS, "Lets connect() reuse a local port whose TIME_WAIT towards the same destination is older than tcp_tw_reuse_delay; needs timestamps.", "connect() from now on",
            "1 on a client that runs out of ports: safe. Measured with 10 ports: 10 more connections every 1.2 s.", "On a server against incoming TIME_WAIT: it acts on outgoing connections only.", ("TIME_WAIT", "ephemeral-port-exhaustion-timewait")),
    Setting("net.ipv4.tcp_tw_reuse_delay", "1000 (ms)", _NS, "How old a TIME_WAIT must be before tcp_tw_reuse takes it.", _NEXT, "", "", ("net.ipv4.tcp_tw_reuse",)),
    Setting("net.ipv4.tcp_tw_recycle", "does not exist (removed in 4.12)", _NS, "Dropped SYNs by per-host timestamps; broke every client behind NAT.", "-",
            "Remove it from configuration files.", "Any use of it.", ("net.ipv4.tcp_tw_reuse",)),
    Setting("net.ipv4.tcp_max_tw_buckets", "131072 (depends on memory)", _NS, "Limit of TIME_WAIT and orphan FIN_WAIT_2 mini-sockets. Above it the kernel skips the state and sends RST (measured with 5: 12 closes, 7 RSTs).", "at once",
            "Raise it when TCPTimeWaitOverflow grows.", "Lowering it to have fewer TIME_WAIT: it trades them for resets.", ("TIME_WAIT", "tw-bucket-overflow")),
    Setting("net.ipv4.tcp_syncookies", "1", _NS, "When the SYN queue is full, answer with a SYN cookie instead of dropping: no memory until the ACK comes.", "at once",
            "Keep 1, and keep timestamps on: without them cookie connections lose window scaling and SACK (measured).", "0: a flood then locks real clients out (measured: 7.1 s to connect instead of 0).", ("syn-flood", "SYN cookies")),
    Setting("net.ipv4.tcp_max_syn_backlog", "2048 (depends on memory)", _NS, "With cookies off, limits handshakes per listener. With cookies on the limit is the listener's backlog.", "at once",
            "", "Raising only this: the listener's limit is min(backlog, somaxconn).", ("syn-flood", "net.core.somaxconn")),
    Setting("net.core.somaxconn", "4096 (128 before 5.4)", _NS, "Upper limit of the backlog that listen() may ask for.", "listen() from now on: a live listener keeps its backlog until it calls listen() again (measured 64, 64, 1000)",
            "Raise it together with the program's own backlog, then restart or re-listen.", "Raising it alone and waiting.", ("accept-queue-overflow", "accept queue")),
    Setting("net.ipv4.tcp_abort_on_overflow", "0", _NS, "Sends RST when the last ACK of a handshake meets a full accept queue.", "at once",
            "Leave it 0: after a burst the client's next segment completes the handshake.", "As a fix for overflow: SYNs to a full queue are dropped all the same (measured), and clients that could have waited get ECONNRESET.", ("accept-queue-overflow",)),
    Setting("net.ipv4.ip_local_port_range", "32768 60999", _NS, "Local ports for connect() without bind(): 28232 of them. With 60 s of TIME_WAIT that is 470 connections per second to one destination.", "at once",
            "Widen to 1024 65535 and reserve the ports of services with ip_local_reserved_ports.", "", ("ephemeral-port-exhaustion-timewait", "self-connect")),
    Setting("net.ipv4.ip_local_reserved_ports", "empty", _NS, "Ports that connect() must not take.", "at once", "Name every service port inside ip_local_port_range: 8080,9000-9010.", "", ("port-taken-by-outgoing", "self-connect")),
    Setting("net.ipv4.tcp_timestamps", "1", _NS, "Timestamps (RFC 7323): protection against old segments, better RTT; needed by tcp_tw_reuse and for options with SYN cookies.", _HANDSHAKES, "Keep 1.", "Switching it off to save 12 bytes.", ("net.ipv4.tcp_tw_reuse", "SYN cookies")),
    Setting("net.ipv4.tcp_window_scaling", "1", _NS, "Windows above 64 KiB (RFC 7323).", _HANDSHAKES, "Keep 1.", "", ()),
    Setting("net.ipv4.tcp_sack", "1", _NS, "Selective acknowledgements (RFC 2018): lost segments are known one by one.", _HANDSHAKES, "Keep 1.", "", ("packet-loss",)),
    Setting("net.ipv4.tcp_mtu_probing", "0", _NS, "1 finds the path MTU by probing after a black hole is suspected.", _NEXT, "1 where ICMP is filtered (measured: 20000 bytes delivered after about 6 s; with 0 nothing in 12 s).", "", ("pmtu-blackhole",)),
    Setting("net.ipv4.tcp_rfc1337", "0", _NS, "1 ignores RST in TIME_WAIT (RFC 1337).", _NEXT, "", "", ("TIME_WAIT", "RST")),
    Setting("net.ipv4.tcp_invalid_ratelimit", "500 (ms)", _NS, "At most one answer per socket and interval to segments outside the window, challenge ACKs included.", "at once", "", "", ("challenge ACK",)),
    Setting("net.ipv4.tcp_challenge_ack_limit", "2147483647 (off)", _NS, "Limit of challenge ACKs per second; off by default in today's kernels.", "at once", "", "", ("challenge ACK",)),
    Setting("net.ipv4.tcp_rto_min_us", "200000", _NS, "Smallest retransmission timeout, in microseconds.", _NEW, "", "", ("retransmission",)),
    Setting("net.ipv4.tcp_rto_max_ms", "120000", _NS, "Largest retransmission timeout (Linux 6.15 and later); lower values shorten the total of tcp_retries2.", _NEW, "", "", ("retransmission",)),
    Setting("net.ipv4.tcp_mem", "depends on memory", _HOST, "Pages all TCP sockets may use: low, pressure, high.", "at once", "Find the pile of Send-Q or Recv-Q before raising it.", "", ("tcp-memory-pressure",)),
    Setting("net.ipv4.tcp_rmem", "4096 131072 33554432", _NS, "Receive buffer of a socket: least, first, most, in bytes.", _NEW, "Raise the third value for long fat paths.", "Setting SO_RCVBUF in programs: it switches autotuning off.", ("rcvbuf-pruning",)),
    Setting("net.ipv4.tcp_wmem", "4096 16384 4194304", _NS, "Send buffer of a socket: least, first, most, in bytes.", _NEW, "", "", ("Send-Q",)),
    Setting("net.ipv4.tcp_max_orphans", "depends on memory", _HOST, "Limit of orphans; above it they are reset. The kernel counts bad ones two- or fourfold.", "at once", "About 64 KiB each in the worst case.", "Lowering it: connections are cut while they deliver their last bytes.", ("orphan", "too-many-orphans")),
    Setting("net.ipv4.tcp_migrate_req", "0", _NS, "1 hands the queue of a closed SO_REUSEPORT listener to its siblings.", "at once", "1 for restarts without resets.", "", ("listener-closed-with-queue",)),
    Setting("net.ipv4.tcp_fastopen", "1 (client)", _NS, "TCP Fast Open: 1 client, 2 server; data in the SYN (RFC 7413).", _HANDSHAKES, "", "", ()),
    Setting("net.ipv6.bindv6only", "0", _NS, "Default of IPV6_V6ONLY: 0 lets a socket on :: take IPv4 too.", _NEW, "", "", ("v6only", ":::22")),
    Setting("net.core.netdev_max_backlog", "1000", _NS, "Packets a CPU may queue between network card and stack.", "at once", "Raise it when the second column of /proc/net/softnet_stat grows.", "", ("softnet-drop",)),
    Setting("net.netfilter.nf_conntrack_max", "depends on memory", _HOST, "Connections the firewall can remember; the count is per namespace.", "at once", "Raise it, shorten the established timeout, or notrack for hot ports.", "", ("conntrack", "conntrack-table-full")),
    Setting("net.netfilter.nf_conntrack_tcp_timeout_established", "432000", _NS, "Seconds of silence after which the firewall forgets an established connection.", "entries refreshed afterwards", "Longer than the keepalive of your programs.", "", ("conntrack", "idle-firewall-drop")),
    Setting("net.netfilter.nf_conntrack_tcp_timeout_last_ack", "30", _NS, "The same in LAST_ACK; shorter than the 107 s for which Linux repeats its FIN.", "entries refreshed afterwards", "", "", ("conntrack", "last-ack-pile")),
    Setting("net.ipv4.conf.all.rp_filter", "0 (distributions set 1 or 2)", _NS, "Drops packets whose answer would leave by another interface; with asymmetric routes it drops handshakes.", "at once", "2 (loose) with several uplinks.", "", ("syn-recv-ack-lost",)),
    Setting("net.ipv4.conf.all.route_localnet", "0", _NS, "1 lets packets for 127.0.0.0/8 come in from outside (with DNAT).", "at once", "", "Relying on 127.0.0.1 as protection where it is 1.", ("127.0.0.1:631", "exposed-listener")),
    Setting("fs.file-max", "depends on memory", _HOST, "Descriptors of the whole machine. A program's own limit is RLIMIT_NOFILE.", "at once", "LimitNOFILE= in systemd, after closing the leak.", "", ("fd-exhaustion-near", "accept-stalled-by-fd-limit")),
)  # fmt: skip

_BY_NAME = {fold(setting.name): setting for setting in SETTINGS} | {
    fold(setting.name.rpartition(".")[2]): setting for setting in SETTINGS
}


def setting_named(text: str) -> Setting | None:
    """Return the sysctl of this name, dotted, with slashes (``/proc/sys/...``) or by its last part, or ``None``."""
    name = text.strip().removeprefix("/proc/sys/").replace("/", ".").partition("=")[0]
    return _BY_NAME.get(fold(name))


def explain_setting(setting: Setting) -> Answer:
    """Explain one sysctl."""
    grid = Grid(
        ("", ""), (("default", setting.default), ("holds for", setting.scope), ("a change acts on", setting.acts))
    )
    sections = (
        Section("Setting", grid=grid),
        *prose_sections(("Advice", setting.advice), ("Wrong advice", setting.wrong)),
    )
    keep = () if "not exist" in setting.default else (Section("See it", commands=(f"sysctl {setting.name}",), paragraphs=("sysctl -w acts at once and is gone after a restart; a file in /etc/sysctl.d keeps it.",)),)  # fmt: skip
    return Answer(
        "sysctl", setting.name, setting.name, setting.does, (*sections, *keep), setting.see_also, setting._asdict()
    )


def explain_settings() -> Answer:
    """List the sysctls."""
    rows = tuple((setting.name, setting.default, setting.does) for setting in SETTINGS)
    return Answer("sysctls", "sysctls", "Kernel settings", "Settings that touch TCP's states, with the defaults of Linux 6.18.", (Section("Settings", grid=Grid(("sysctl", "default", "what it does"), rows)),), ("advice", "timers"), {"sysctls": [setting.name for setting in SETTINGS]})  # fmt: skip


#: Advice about no single setting that is often given and wrong.
WRONG_ADVICE: tuple[tuple[str, str], ...] = (
    ("kill -9 one PID to free the port", "A forked sibling holds the same socket; nothing is freed until the last holder is gone (measured)."),
    ("SO_LINGER 0 everywhere", "It discards queued data and resets the peer, to save TIME_WAIT that costs almost nothing."),
    ("count all TIME_WAIT against the port range", "Ports are used up per destination: 10 ports gave 10 connections to one server and 10 more to another (measured)."),
    ("CLOSE_WAIT is a network problem", "The FIN has arrived and is acknowledged. Only the local program can go on."),
    ("wait 2 MSL before a restart", "SO_REUSEADDR on the old and on the new listener lets it bind at once (measured)."),
    ("netstat -p in a loop on a big host", "18.3 s per run with 200,000 socket descriptors on the machine (measured)."),
    ("thresholds on counters since boot", "A counter only grows; rates between two samples mean something."),
)  # fmt: skip


def explain_advice() -> Answer:
    """List widespread wrong advice."""
    rows = tuple((f"{setting.name.rpartition('.')[2]}", setting.wrong) for setting in SETTINGS if setting.wrong)
    sections = (
        Section("About settings", grid=Grid(("setting", "wrong"), rows)),
        Section("About the rest", grid=Grid(("advice", "why not"), WRONG_ADVICE)),
    )
    return Answer("advice", "advice", "Wrong advice", "What is often recommended and does not help, or harms.", sections, ("claims", "sysctls"), {"advice": [name for name, _ in WRONG_ADVICE]})  # fmt: skip
