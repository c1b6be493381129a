"""Every number the doctor judges by, in one table: name, value, unit and the reason for it.

Override them on the command line (``tcpscope doctor --threshold close-wait-leak.age_s=10``) or in a TOML file
(``--config FILE`` with ``[thresholds]`` and, below it, either ``"close-wait-leak.age_s" = 10`` or a table
``[thresholds.close-wait-leak]``). A name is ``<finding>.<number>``; its unit is its suffix.
"""

from __future__ import annotations

from collections.abc import Mapping

from tcpscope.model.errors import UsageError
from tcpscope.model.record import NamedTuple


class Threshold(NamedTuple):
    """One number: ``unit`` is ``s``, ``ms``, ``bytes``, ``1/s``, ``share`` (0 to 1) or ``count``."""

    name: str
    value: float
    unit: str
    reason: str


# fmt: off
TABLE: tuple[Threshold, ...] = (
    Threshold("close-wait-leak.age_s", 60, "s", "the peer's orphan FIN_WAIT_2 is gone after 60 s: from then on nobody will ever answer"),
    Threshold("close-wait-leak.count", 5, "count", "fewer may be slow single requests"),
    Threshold("close-wait-leak.many", 100, "count", "no program needs a hundred half-dead connections"),
    Threshold("close-wait-leak.fd_share", 0.2, "share", "a fifth of the descriptors gone is on the way to EMFILE"),
    Threshold("close-wait-app-blocked.unread_share", 0.8, "share", "Recv-Q >= 1 on most: the program has not even read the end of file"),
    Threshold("fin-wait2-orphan-pile.count", 1000, "count", "bounded by 60 s x close rate, so small numbers say nothing"),
    Threshold("fin-wait2-orphan-pile.share", 0.1, "share", "a tenth of all connections waiting for peers is unusual"),
    Threshold("fin-wait2-orphan-pile.floor", 100, "count", "below this a share says nothing"),
    Threshold("fin-wait2-orphan-pile.per_remote", 50, "count", "that many at one peer: that peer leaks CLOSE_WAIT"),
    Threshold("fin-wait2-orphan-pile.age_s", 5, "s", "a peer that is going to close does so within a moment: younger ones are on their way"),
    Threshold("fin-wait2-half-closed-forever.age_s", 300, "s", "five minutes after shutdown() without a byte is no half-close in use"),
    Threshold("fin-wait1-stuck.age_s", 5, "s", "a FIN is acknowledged in one round trip; timers run up to 7 % late"),
    Threshold("fin-wait1-stuck.retransmits", 2, "count", "two timeouts in a row are not one lost packet"),
    Threshold("fin-wait1-stuck.count", 10, "count", "single ones are a peer that went away"),
    Threshold("fin-wait1-zero-window.age_s", 60, "s", "a reader that pauses a minute after we closed will not come back"),
    Threshold("fin-wait1-zero-window.memory_share", 0.1, "share", "a tenth of tcp_mem's pressure line held by dead sockets (Sockstress)"),
    Threshold("last-ack-pile.age_s", 5, "s", "the last ACK comes in one round trip"),
    Threshold("last-ack-pile.retransmits", 2, "count", "two timeouts in a row are not one lost packet"),
    Threshold("last-ack-pile.count", 10, "count", "single ones are a peer that went away"),
    Threshold("closing-visible.age_s", 2, "s", "CLOSING lasts one round trip"),
    Threshold("time-wait-normal.count", 10000, "count", "where people begin to worry; worth an explanation, not an alarm"),
    Threshold("port-exhaustion.medium", 0.6, "share", "of the usable ports to one destination"),
    Threshold("port-exhaustion.high", 0.85, "share", "the kernel's search for a free port gets slow and a burst fails"),
    Threshold("port-exhaustion.critical", 1.0, "share", "connect() fails with EADDRNOTAVAIL now"),
    Threshold("accept-queue-overflow.warn_share", 0.5, "share", "half full in both looks is not a burst"),
    Threshold("accept-queue-overflow.full_share", 1.0, "share", "Recv-Q at the backlog: the next SYN is dropped"),
    Threshold("accept-queue-overflow.rate", 5, "1/s", "ListenOverflows without a full queue in sight: where netdata calls it critical"),
    Threshold("backlog-too-small.backlog", 128, "count", "below the old default of somaxconn"),
    Threshold("backlog-too-small.opens_rate", 50, "1/s", "at this rate a pause of a few seconds fills it"),
    Threshold("accept-stalled-by-fd-limit.medium", 0.8, "share", "of the soft RLIMIT_NOFILE"),
    Threshold("accept-stalled-by-fd-limit.high", 0.95, "share", "of the soft RLIMIT_NOFILE: accept() is failing or about to"),
    Threshold("ghost-established.age_s", 120, "s", "a forgotten connection shows itself on its first data"),
    Threshold("ghost-established.retransmits", 2, "count", "first data repeated twice"),
    Threshold("ghost-established.count", 5, "count", "fewer are single lost packets"),
    Threshold("syn-flood.cookies_medium", 1, "1/s", "cookies are only sent when a SYN queue is full"),
    Threshold("syn-flood.cookies_high", 5, "1/s", "where netdata calls it critical"),
    Threshold("syn-flood.queue_share", 0.9, "share", "SYN_RECV is capped at backlog + 1, so nearly full is all one can see"),
    Threshold("syn-flood.count", 20, "count", "a full but tiny backlog is F15 or F16, not a flood"),
    Threshold("syn-flood.real_share", 0.5, "share", "cookies that come back are real clients: overload, not attack"),
    Threshold("syn-recv-ack-lost.age_s", 7, "s", "three SYN|ACKs (1 + 2 + 4 s) without an answer"),
    Threshold("syn-recv-ack-lost.queue_share", 0.5, "share", "a fuller SYN queue is a flood"),
    Threshold("syn-sent-blackhole.retransmits", 2, "count", "two SYNs unanswered are not one lost packet"),
    Threshold("syn-sent-blackhole.count", 3, "count", "several at once"),
    Threshold("syn-sent-blackhole.age_s", 5, "s", "or one that waits long"),
    Threshold("connection-refused-storm.rate", 5, "1/s", "floor of netdata's rule"),
    Threshold("connection-refused-storm.share", 0.2, "share", "of the connections begun"),
    Threshold("scanner.hosts", 50, "count", "distinct addresses in SYN_SENT by one process"),
    Threshold("scanner.ports_limit", 3, "count", "a scan for a service uses few ports"),
    Threshold("scanner.ports", 50, "count", "distinct ports on one address"),
    Threshold("scanner.weak_hosts", 20, "count", "fewer hosts count only when next to none answers"),
    Threshold("scanner.success_share", 0.05, "share", "of its connections that got anywhere"),
    Threshold("inbound-scan.rate", 50, "1/s", "RSTs for segments without a socket"),
    Threshold("no-route.rate", 1, "1/s", "single misses are normal"),
    Threshold("listener-missing.recent_s", 3600, "s", "a listener gone for longer was stopped on purpose"),
    Threshold("reuseport-imbalance.share", 0.5, "share", "one queue half full while the others are empty"),
    Threshold("half-open-stale.idle_s", 7200, "s", "two hours, the RFC's keepalive default (RFC 9293 §3.8.4)"),
    Threshold("half-open-stale.watch_s", 60, "s", "a probing peer sends at least every 75 s; ours may have been answered meanwhile"),
    Threshold("half-open-stale.count", 20, "count", "single silent connections are legitimate"),
    Threshold("half-open-stale.pool_share", 0.3, "share", "of one listener's connections"),
    Threshold("half-open-stale.ghosts", 5, "count", "silent ones of a client that has come back meanwhile"),
    Threshold("no-keepalive-on-long-idle.idle_s", 350, "s", "AWS NLB forgets after 350 s, Azure LB after 240 s, silently"),
    Threshold("no-keepalive-on-long-idle.count", 10, "count", "single ones are people"),
    Threshold("keepalive-sysctl-too-long.idle_s", 350, "s", "AWS NLB forgets after 350 s"),
    Threshold("keepalive-too-aggressive.probe_s", 10, "s", "interval x probes: a reroute takes longer"),
    Threshold("retransmission-stall.medium", 3, "count", "timeouts in a row (about 1.5 to 3 s)"),
    Threshold("retransmission-stall.high", 5, "count", "timeouts in a row (more than 6 s)"),
    Threshold("retransmission-stall.silence_ms", 3000, "ms", "without any ACK"),
    Threshold("packet-loss.low", 0.01, "share", "of the segments sent between the looks"),
    Threshold("packet-loss.medium", 0.03, "share", "users begin to feel it"),
    Threshold("packet-loss.high", 0.1, "share", "timeouts dominate"),
    Threshold("packet-loss.segments", 1000, "count", "fewer say nothing"),
    Threshold("packet-loss.timeout_share", 0.2, "share", "of the retransmissions by timeout: a bad tail"),
    Threshold("packet-loss.spurious_share", 0.5, "share", "reported as duplicates by the peers: not lost"),
    Threshold("zero-window-peer-slow.medium_s", 10, "s", "back-pressure of seconds is normal"),
    Threshold("zero-window-peer-slow.high_s", 60, "s", "no program pauses a minute by design"),
    Threshold("reader-stalled-locally.bytes", 65536, "bytes", "less is a burst"),
    Threshold("reader-stalled-locally.age_s", 5, "s", "without a byte arriving or being read"),
    Threshold("rcvbuf-pruning.rate", 1, "1/s", "single prunes happen under load"),
    Threshold("sndbuf-limited.share", 0.5, "share", "of the time the socket had something to send"),
    Threshold("sndbuf-limited.busy_s", 10, "s", "of sending, before a share says anything"),
    Threshold("nagle-delayed-ack.rtt_ms", 8, "ms", "a smoothed round trip this long, where the shortest is a fraction of it, is waiting and no distance"),
    Threshold("nagle-delayed-ack.rtt_ratio", 5, "count", "times the shortest round trip ever measured"),
    Threshold("nagle-delayed-ack.segments_rate", 200, "1/s", "one exchange waits 40 ms and takes two segments: more in a second were not held up"),
    Threshold("tcp-memory-pressure.critical", 0.9, "share", "of tcp_mem's hard limit (as netdata)"),
    Threshold("tcp-memory-pressure.group_used", 0.9, "share", "of a control group's memory.max: the kernel reclaims and keeps TCP's windows small"),
    Threshold("tcp-memory-pressure.group_sockets", 0.2, "share", "of memory.max in socket buffers: they are what fills it"),
    Threshold("too-many-orphans.medium", 0.25, "share", "the kernel counts bad orphans fourfold"),
    Threshold("too-many-orphans.critical", 0.5, "share", "the kernel counts suspicious orphans twice"),
    Threshold("rst-storm-sent.rate", 20, "1/s", "without a baseline; with one, ten times its value and at least 5"),
    Threshold("reset-by-peer-rate.share", 0.05, "share", "of the connections opened"),
    Threshold("reset-by-peer-rate.rate", 5, "1/s", "floor"),
    Threshold("ghost-reconnect.rate", 1, "1/s", "single reconnects are clients that crashed"),
    Threshold("zombie-socket-fds.count", 50, "count", "sockets that no list shows"),
    Threshold("zombie-socket-fds.share", 0.2, "share", "of the process's descriptors"),
    Threshold("zombie-socket-fds.floor", 10, "count", "below this a share says nothing"),
    Threshold("fd-exhaustion-near.medium", 0.8, "share", "of the soft RLIMIT_NOFILE"),
    Threshold("fd-exhaustion-near.high", 0.95, "share", "of the soft RLIMIT_NOFILE"),
    Threshold("system-sockets-leak.growth", 200, "count", "more unlisted sockets than at the first of three looks"),
    Threshold("idle-firewall-drop.gap_s", 60, "s", "silence before the data that was never acknowledged"),
    Threshold("pmtu-blackhole.count", 2, "count", "stalled connections to one destination"),
    Threshold("backlog-drop.rate", 1, "1/s", "single drops are a burst"),
    Threshold("paws-drops.rate", 1, "1/s", "single old segments are normal"),
    Threshold("paws-drops.opens_share", 0.01, "share", "of the connections opened: a client that reuses its ports quickly now and then meets an old TIME_WAIT"),
    Threshold("conntrack-table-full.medium", 0.85, "share", "of nf_conntrack_max"),
    Threshold("conntrack-table-full.high", 0.95, "share", "of nf_conntrack_max"),
    Threshold("conn-concentration.count", 100, "count", "connections of one address"),
    Threshold("conn-concentration.share", 0.3, "share", "of one listener's connections"),
    Threshold("conn-concentration.slow_bytes", 2048, "bytes", "a connection that has sent less has not finished a request (slowloris)"),
    Threshold("conn-concentration.slow_s", 5, "s", "younger ones are on their way: a busy server has as many at any moment"),
    Threshold("unexpected-listener.baseline_s", 86400, "s", "a day of looks makes a baseline"),
    Threshold("excessive-connection-churn.rate", 100, "1/s", "new connections"),
    Threshold("excessive-connection-churn.lifetime_s", 1, "s", "mean life below this"),
)
# fmt: on

DEFAULTS: Mapping[str, float] = {row.name: row.value for row in TABLE}


class Thresholds:
    """The table with overrides: ``thresholds["close-wait-leak.age_s"]``."""

    __slots__ = ("_values", "changed")

    def __init__(self, overrides: Mapping[str, float] | None = None) -> None:
        """Raise :class:`UsageError` for a name the table does not have or a value that is no number."""
        self.changed = {name: _checked(name, value) for name, value in (overrides or {}).items()}
        self._values = {**DEFAULTS, **self.changed}

    def __getitem__(self, name: str) -> float:
        return self._values[name]


def _checked(name: str, value: object) -> float:
    if name not in DEFAULTS:
        from difflib import get_close_matches

        near = get_close_matches(name, DEFAULTS, 3) or [row for row in DEFAULTS if row.startswith(name + ".")]
        hint = f"did you mean {' or '.join(near)}?" if near else "see 'tcpscope doctor --thresholds'"
        raise UsageError(f"no threshold {name!r}: {hint}")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value < 0:
        raise UsageError(f"threshold {name}: {value!r} is no number of 0 or more")
    return float(value)


def parse_override(text: str) -> tuple[str, float]:
    """Read ``name=value`` (``60``, ``0.5``, ``20%``). Raises :class:`UsageError`."""
    name, equals, value = text.partition("=")
    number = value.strip().removesuffix("%")
    try:
        parsed = float(number) / (100 if value.strip().endswith("%") else 1)
    except ValueError:
        equals = ""
    if not equals:
        raise UsageError(f"--threshold {text!r}: write NAME=NUMBER, as close-wait-leak.age_s=10")
    return name.strip(), _checked(name.strip(), parsed)


def flatten(table: Mapping[str, object], prefix: str = "") -> dict[str, float]:
    """Turn a (nested) TOML table into overrides. Raises :class:`UsageError` for what is no known number."""
    flat: dict[str, float] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = _checked(name, value)
    return flat
