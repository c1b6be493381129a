"""Words for constructing snapshots as Linux shows them: addresses of documentation, times of 2026, one host."""

from __future__ import annotations

from itertools import count
from typing import Any

from tcpscope.model.address import Endpoint
from tcpscope.model.history import History
from tcpscope.model.snapshot import Coverage, Process, Snapshot
from tcpscope.model.socket import Age, Owner, Socket, TcpInfo, Timer
from tcpscope.model.state import State

NOW_NS = 1_790_000_000_000_000_000
HERE = "192.0.2.10"
THERE = "198.51.100.20"
_cookies = count(1000)

SYSCTLS = {
    "net.ipv4.ip_local_port_range": "32768 60999",
    "net.ipv4.ip_local_reserved_ports": "",
    "net.ipv4.tcp_fin_timeout": "60",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv4.tcp_timestamps": "1",
    "net.ipv4.tcp_window_scaling": "1",
    "net.ipv4.tcp_sack": "1",
    "net.ipv4.tcp_tw_reuse": "2",
    "net.ipv4.tcp_abort_on_overflow": "0",
    "net.ipv4.tcp_keepalive_time": "7200",
    "net.ipv4.tcp_keepalive_intvl": "75",
    "net.ipv4.tcp_keepalive_probes": "9",
    "net.ipv4.tcp_retries2": "15",
    "net.ipv4.tcp_syn_retries": "6",
    "net.ipv4.tcp_syn_linear_timeouts": "4",
    "net.ipv4.tcp_orphan_retries": "0",
    "net.ipv4.tcp_max_orphans": "65536",
    "net.ipv4.tcp_max_tw_buckets": "131072",
    "net.ipv4.tcp_mem": "94032 125378 188064",
    "net.core.somaxconn": "4096",
}
LIMITS = {
    "sockstat.TCP.inuse": 12,
    "sockstat.TCP.orphan": 0,
    "sockstat.TCP.tw": 0,
    "sockstat.TCP.alloc": 20,
    "sockstat.TCP.mem": 10,
    "tcp_mem.low": 94032,
    "tcp_mem.pressure": 125378,
    "tcp_mem.high": 188064,
    "tcp_max_orphans": 65536,
    "tcp_max_tw_buckets": 131072,
    "file-nr.allocated": 2000,
    "file-nr.max": 9_000_000,
    "page_bytes": 4096,
}


def sock(
    state: State,
    local: tuple[str, int] = (HERE, 8080),
    remote: tuple[str, int] = (THERE, 50000),
    *,
    who: tuple[int, str] | None = (2215, "java"),
    timer: tuple[Any, ...] | None = None,
    info: dict[str, Any] | None = None,
    age_s: float | None = None,
    **fields: Any,
) -> Socket:
    """One socket; ``info`` are fields of tcp_info, ``timer`` is (kind, expires_ms, retransmits)."""
    cookie = fields.pop("cookie", None) or next(_cookies)
    owners = fields.pop("owners", (Owner(*who, 10),) if who else ())
    fields.setdefault("inode", cookie if owners else 0)
    return Socket(
        "tcp",
        state,
        Endpoint(*local),
        Endpoint(*remote),
        owners=owners,
        cookie=cookie,
        timer=Timer(*timer) if timer else None,
        tcp_info=TcpInfo(**{"state": int(state), "rto_us": 200_000, "snd_mss": 1448, **(info or {})}),
        age=Age(int(age_s * 1000), "bound") if age_s is not None else Age(),
        **fields,
    )


def listener(port: int = 8080, address: str = "0.0.0.0", waiting: int = 0, backlog: int = 128, **fields: Any) -> Socket:
    return sock(State.LISTEN, (address, port), ("0.0.0.0", 0), recv_q=waiting, send_q=0, backlog=backlog, **fields)


def client(port: int) -> tuple[str, int]:
    return (THERE, port)


def process(pid: int = 2215, name: str = "java", **fields: Any) -> Process:
    fields.setdefault("executable", f"/usr/bin/{name}")
    fields.setdefault("fd_limit", 4096)
    fields.setdefault("open_fds", 60)
    fields.setdefault("uid", 1000)
    fields.setdefault("runtime", {"java": "jvm", "python3": "cpython"}.get(name, ""))
    return Process(pid, name, **fields)


def snap(
    *sockets: Socket,
    at_s: float = 0.0,
    counters: dict[str, int] | None = None,
    processes: tuple[Process, ...] = (),
    **fields: Any,
) -> Snapshot:
    sysctls = SYSCTLS | fields.pop("sysctls", {})
    limits = LIMITS | fields.pop("limits", {})
    return Snapshot(
        NOW_NS + int(at_s * 1e9),
        sockets,
        counters=COUNTERS | (counters or {}),
        sysctls=sysctls,
        limits=limits,
        processes={one.pid: one for one in processes or (process(),)},
        coverage=fields.pop("coverage", Coverage("live", "sock_diag", "procfs")),
        **fields,
    )


def grown(
    snapshot: Snapshot,
    seconds: float = 2.0,
    sockets: tuple[Socket, ...] | None = None,
    limits: dict[str, int] | None = None,
    **counters: int,
) -> Snapshot:
    """The same place ``seconds`` later; counters are given as growth, with ``__`` for the dot."""
    now = dict(snapshot.counters)
    for name, more in counters.items():
        key = name.replace("__", ".")
        now[key] = now.get(key, 0) + more
    return snapshot._replace(
        taken_ns=snapshot.taken_ns + int(seconds * 1e9),
        counters=now,
        sockets=snapshot.sockets if sockets is None else sockets,
        limits={**snapshot.limits, **(limits or {})},
    )


_EXTENDED = """
ListenOverflows ListenDrops SyncookiesSent SyncookiesRecv SyncookiesFailed TCPReqQFullDoCookies TCPReqQFullDrop
TCPTimeWaitOverflow TCPSynRetrans TCPTimeouts TCPLostRetransmit TCPFastRetrans TCPSlowStartRetrans TCPLossProbes
TCPDSACKRecv TCPSACKReorder TCPTSReorder TCPSpuriousRTOs TCPAbortOnClose TCPAbortOnData TCPAbortOnTimeout
TCPAbortOnMemory TCPSYNChallenge TCPChallengeACK TCPACKSkippedChallenge PruneCalled RcvPruned TCPRcvCollapsed
TCPRcvQDrop TCPOFODrop TCPZeroWindowDrop TCPWqueueTooBig PAWSEstab PAWSActive PAWSTimewait TSEcrRejected
TCPBacklogDrop EmbryonicRsts TCPDeferAcceptDrop TWRecycled TCPMemoryPressures TCPMemoryPressuresChrono
TCPOrigDataSent
""".split()  # noqa: SIM905 (a list of words reads better so)

#: Large totals since boot: whoever judges by totals is caught.
COUNTERS = {
    "Tcp.ActiveOpens": 9_000_000,
    "Tcp.PassiveOpens": 8_000_000,
    "Tcp.AttemptFails": 700_000,
    "Tcp.EstabResets": 600_000,
    "Tcp.InSegs": 900_000_000,
    "Tcp.OutSegs": 900_000_000,
    "Tcp.RetransSegs": 90_000_000,
    "Tcp.OutRsts": 5_000_000,
    "Tcp.InErrs": 40_000,
    "Tcp.InCsumErrors": 30_000,
    "Ip.OutNoRoutes": 20_000,
    **{f"TcpExt.{name}": 1_000_000 for name in _EXTENDED},
    "softnet.dropped": 10_000,
    "softnet.time_squeeze": 10_000,
}
HISTORY = History(started_ns=NOW_NS - 3 * 86_400 * 10**9, looks=50)
