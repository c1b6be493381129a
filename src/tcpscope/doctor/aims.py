"""Whether a present setting is already as good as a wanted one: for some more is better, for some less, or wider.

Without this a remedy could lower a backlog that somebody has raised, or narrow a range of ports that was widened for
good reason. Pure data and one function; what hurts whatever the aim is in :mod:`~tcpscope.doctor.settings`.
"""

from __future__ import annotations

_IP, _CT = "net.ipv4.", "net.netfilter.nf_conntrack_"
_MORE = frozenset(
    (
        *(_IP + name for name in ("tcp_max_syn_backlog", "tcp_max_orphans", "tcp_max_tw_buckets", "tcp_migrate_req")),
        *(_IP + name for name in ("tcp_mem", "tcp_rmem", "tcp_wmem", "tcp_mtu_probing", "tcp_timestamps")),
        *(f"net.core.{name}" for name in ("somaxconn", "netdev_max_backlog", "netdev_budget", "rmem_max")),
        *(_CT + name for name in ("max", "tcp_timeout_last_ack")),
        "fs.file-max",
    )
)
_LESS = frozenset(
    (
        *(_IP + name for name in ("tcp_keepalive_time", "tcp_keepalive_intvl", "tcp_keepalive_probes")),
        *(_IP + name for name in ("tcp_retries2", "tcp_syn_retries", "tcp_synack_retries", "tcp_fin_timeout")),
        _CT + "tcp_timeout_established",
    )
)


def is_met(name: str, current: str, wanted: str) -> bool:
    """Whether ``current`` is as good as ``wanted`` for the setting ``name``, or better."""
    now, then = current.replace(",", " ").split(), wanted.replace(",", " ").split()
    if now == then:
        return True
    if len(now) != len(then) or not all(word.isdecimal() for word in (*now, *then)):
        return False
    pairs = [(int(a), int(b)) for a, b in zip(now, then, strict=True)]
    if name in _MORE:
        return all(a >= b for a, b in pairs)
    if name in _LESS:
        return all(a <= b for a, b in pairs)
    if name == _IP + "ip_local_port_range" and len(pairs) == 2:
        return pairs[0][0] <= pairs[0][1] and pairs[1][0] >= pairs[1][1]
    if name == _IP + "tcp_orphan_retries":
        return (pairs[0][0] or 8) <= (pairs[0][1] or 8)  # Linux: 0 stands for 8
    # Why: 1 (outgoing connections may take a port in TIME_WAIT) does all that 2 (on loopback alone) does.
    return name == _IP + "tcp_tw_reuse" and pairs[0] == (1, 2)
