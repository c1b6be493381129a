"""The kernel settings that matter for connections: default, what is worth setting, the effect measured, and why.

Pure data and one function. ``effect`` was measured on Linux 6.18 with real sockets in namespaces unless it says
otherwise. ``recommended`` equal to the default means: leave it; a present value that is better still is left alone too
(a larger backlog, a wider range of ports). ``WRONG`` is widespread advice and what it really does.
"""

from __future__ import annotations

from collections.abc import Mapping

from tcpscope.doctor.aims import is_met
from tcpscope.doctor.settings import is_harmful
from tcpscope.model.record import NamedTuple


class Setting(NamedTuple):
    """One sysctl. ``default`` is the kernel's (empty: it depends on memory); ``topic`` groups the table."""

    topic: str
    name: str
    default: str
    recommended: str
    effect: str
    reason: str


class Advice(NamedTuple):
    """One piece of widespread advice, and what it does."""

    advice: str
    verdict: str


class Tuned(NamedTuple):
    """A setting with its present value (``None``: this kernel has none, or hides it)."""

    setting: Setting
    current: str | None

    @property
    def needs_change(self) -> bool:
        """Whether the present value is known and neither as good as the recommended one nor harmless."""
        name, wanted = self.setting.name, self.setting.recommended
        if self.current is None or not wanted:
            return False
        return is_harmful(name, self.current) or not is_met(name, self.current, wanted)


_IP = "net.ipv4."
# fmt: off
SETTINGS: tuple[Setting, ...] = (
    Setting("keepalive", _IP + "tcp_keepalive_time", "7200", "300", "first probe after 300 s of silence instead of 2 h; only on sockets with SO_KEEPALIVE, and timers already armed keep the old value", "load balancers forget after 240 to 350 s (Azure LB, AWS NLB); better still per socket: TCP_KEEPIDLE"),
    Setting("keepalive", _IP + "tcp_keepalive_intvl", "75", "15", "with 5 probes a dead peer is noticed 75 s after the first one (measured: 5 + 3 x 2 s gave ETIMEDOUT after 11.0 s)", "75 s x 9 is 11 minutes; below 10 s in all a short loss kills healthy connections"),
    Setting("keepalive", _IP + "tcp_keepalive_probes", "9", "5", "see tcp_keepalive_intvl; with data unacknowledged keepalive is silent and tcp_retries2 decides", "five lost probes in a row are not chance"),
    Setting("retries", _IP + "tcp_retries2", "15", "8", "unacknowledged data fails after 108 s instead of 938 s (3: 6.9 s, 5: 13.3 s, 6: 26.7 s)", "RFC 9293 §3.8.3 asks for 100 s or more; shorter per socket: TCP_USER_TIMEOUT"),
    Setting("retries", _IP + "tcp_syn_retries", "6", "4", "connect() gives up after 35 s (computed) instead of 131 s (measured: 1 gives 3.1 s, 2 7.1 s, 3 19.4 s, 6 133.6 s; with tcp_syn_linear_timeouts 4)", "programs should set their own connect timeout; this is the net below them"),
    Setting("retries", _IP + "tcp_synack_retries", "5", "3", "a handshake that does not finish leaves after 15 s (computed) instead of 63 s (measured for 5: 64.2 s)", "shortens what a SYN flood occupies; slow mobile clients still pass"),
    Setting("retries", _IP + "tcp_orphan_retries", "0", "0", "0 stands for 8: closed connections without an answer live 107 s (3: 7.2 s, 1: 1.9 s)", "2 or 3 on busy edges with many orphans; never 1, a hiccup of 2 s then loses data"),
    Setting("backlog", "net.core.somaxconn", "4096", "4096", "upper limit of every listen(); a live listener keeps its old backlog until listen() is called again (measured 64, 64, 1000)", "128 was the default before Linux 5.4"),
    Setting("backlog", _IP + "tcp_max_syn_backlog", "", "", "without SYN cookies new SYNs are dropped at three quarters of it; with cookies the listener's backlog decides", "raising it alone does nothing for a listener with a small backlog"),
    Setting("backlog", _IP + "tcp_syncookies", "1", "1", "under a flood a real client connects in 0.000 s; with 0 it needs 7.1 s", "cookies are only used when the queue is full; 0 turns an attack into an outage"),
    Setting("backlog", _IP + "tcp_abort_on_overflow", "0", "0", "1 resets handshakes whose last ACK meets a full accept queue; it does nothing for the SYNs dropped before", "a burst should cost a second, not an error"),
    Setting("ports", _IP + "ip_local_port_range", "32768 60999", "32768 60999", "28 232 ports for each destination: 470 new connections per second to one address and port", "widen to '1024 65535' only when port exhaustion is found, and reserve the ports of your servers"),
    Setting("ports", _IP + "ip_local_reserved_ports", "", "", "connect() leaves these alone; works at once", "list every server port inside ip_local_port_range, or a restart may find its port taken"),
    Setting("ports", _IP + "tcp_tw_reuse", "2", "2", "1: outgoing connections may take a port in TIME_WAIT after a second (10 ports gave 10 more connections each 1.2 s)", "safe on clients with timestamps; does nothing for servers"),
    Setting("ports", _IP + "tcp_max_tw_buckets", "", "", "past it closes end with RST (12 closes with room for 5 sent 7 RSTs)", "never lower it; an entry costs a few hundred bytes"),
    Setting("closing", _IP + "tcp_fin_timeout", "60", "60", "orphans in FIN_WAIT_2 leave after it (60: 62.3 s, 5: 5.9 s); TIME_WAIT stays 62 s whatever it is", "15 to 30 is harmless and seldom needed; sockets after shutdown() are not affected"),
    Setting("closing", _IP + "tcp_max_orphans", "", "", "past it (half or a quarter for bad ones) closing connections are reset", "raise it with memory in mind: up to 64 KiB each"),
    Setting("path", _IP + "tcp_timestamps", "1", "1", "SYN cookies keep SACK and window scaling only with timestamps; tw_reuse and PAWS need them", "0 loses more than it hides"),
    Setting("path", _IP + "tcp_sack", "1", "1", "without it each loss costs a round trip per segment (RFC 2018)", "leave it on"),
    Setting("path", _IP + "tcp_window_scaling", "1", "1", "without it at most 64 KiB are in flight (RFC 7323)", "leave it on"),
    Setting("path", _IP + "tcp_mtu_probing", "0", "1", "behind a path that drops large packets 20 kB arrived after 6 s; with 0 nothing ever", "1 acts only when a black hole is suspected"),
    Setting("tables", "net.netfilter.nf_conntrack_tcp_timeout_established", "432000", "86400", "idle flows leave the table after a day instead of five", "the table fills hard only with assured flows; keep it longer than your longest idle connection"),
    Setting("tables", "net.netfilter.nf_conntrack_tcp_timeout_last_ack", "30", "120", "the entry outlives the kernel's own repetitions of the FIN (107 s)", "a shorter one makes the firewall drop late packets and leaves LAST_ACK behind"),
)

WRONG: tuple[Advice, ...] = (
    Advice("tcp_tw_recycle = 1", "gone since Linux 4.12: it broke clients behind NAT"),
    Advice("lower tcp_fin_timeout to get rid of TIME_WAIT", "no effect: TIME_WAIT is a compile-time 60 s (measured 62.0 s with 60, 62.3 s with 5)"),
    Advice("change tcp_max_tw_buckets to get rid of TIME_WAIT", "lowering it ends connections with RST; raising it changes nothing until it overflows"),
    Advice("tcp_abort_on_overflow = 1 against a full accept queue", "does nothing for dropped SYNs and cookies; resets clients that would have got in a second later"),
    Advice("raise tcp_max_syn_backlog against dropped connections", "the listener's limit is min(listen() argument, somaxconn)"),
    Advice("raise somaxconn and go on", "a live listener keeps its backlog until it calls listen() again: restart it"),
    Advice("tcp_keepalive_* against CLOSE_WAIT", "CLOSE_WAIT has no timer; the program has to close. Keepalive ends it only when the peer is gone"),
    Advice("kill -9 of the process with the socket", "with several holders nothing happens until the last one is gone, and its other users are lost"),
    Advice("SO_LINGER {1, 0} everywhere", "throws away data that is still on its way"),
    Advice("count all TIME_WAIT against the port range", "ports run out per destination; 28 232 to each"),
    Advice("CLOSE_WAIT is a network problem", "the FIN arrived and was acknowledged: it is the program"),
    Advice("wait 2 MSL before a restart", "SO_REUSEADDR, on the old and the new socket, is for this"),
    Advice("netstat -p in a loop on a big host", "18 s per run while another process held 200 000 sockets (measured)"),
    Advice("alarm on counters since boot", "rates between two looks; totals only ever grow"),
    Advice("tcp_syncookies = 0", "drops real clients as soon as a queue is full"),
)
# fmt: on


def tuned(sysctls: Mapping[str, str]) -> list[Tuned]:
    """Return every setting with its present value, in the order of the table."""
    return [Tuned(setting, sysctls.get(setting.name)) for setting in SETTINGS]
