"""Counters, limits and settings of one network namespace, as procfs tells them.

Not here: rates (two readings and a clock, see the readers) and judgement (the doctor).

Rules of the file: every ``parse_`` function takes text and never fails on lines it does not know, because each kernel
adds counters; every ``read_`` function returns what is there and leaves out a file that is missing or refused
(no IPv6, no conntrack, a container that hides it). Names put the group first: ``Tcp.ActiveOpens``,
``TcpExt.ListenOverflows``, ``Ip6.InReceives``, ``softnet.dropped``, ``nf_conntrack.insert_failed``.

Linux: the namespace is that of the calling *thread*; ``/proc/self/net`` would be that of the main thread.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NET = "/proc/thread-self/net/"
_SYS = "/proc/sys/"

#: Prefixes of ``/proc/net/snmp6``, the longest first: it writes group and counter as one word.
_SNMP6_GROUPS = ("UdpLite6", "Icmp6", "Udp6", "Ip6")

#: Columns of ``/proc/net/softnet_stat`` (``net/core/net-procfs.c``); those between are always 0.
_SOFTNET_COLUMNS = {0: "processed", 1: "dropped", 2: "time_squeeze", 9: "received_rps", 10: "flow_limit"}

#: Settings beside ``net.ipv4.tcp_*`` that findings look at.
SYSCTLS = (
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_nonlocal_bind",
    "net.ipv4.ip_no_pmtu_disc",
    "net.ipv4.icmp_ratelimit",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.default.rp_filter",
    "net.ipv4.conf.all.route_localnet",
    "net.ipv6.bindv6only",
    "net.ipv6.conf.all.disable_ipv6",
    "net.core.somaxconn",
    "net.core.netdev_max_backlog",
    "net.core.netdev_budget",
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.core.rmem_default",
    "net.core.wmem_default",
    "net.core.default_qdisc",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_tcp_loose",
    "net.netfilter.nf_conntrack_tcp_be_liberal",
    "net.netfilter.nf_conntrack_tcp_max_retrans",
    "net.netfilter.nf_conntrack_tcp_timeout_close",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "net.netfilter.nf_conntrack_tcp_timeout_fin_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_last_ack",
    "net.netfilter.nf_conntrack_tcp_timeout_max_retrans",
    "net.netfilter.nf_conntrack_tcp_timeout_syn_recv",
    "net.netfilter.nf_conntrack_tcp_timeout_syn_sent",
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_unacknowledged",
    "fs.file-max",
    "fs.nr_open",
)

#: Not read: a secret, and readable by root alone.
_SECRET = frozenset(("tcp_fastopen_key",))


def read_counters() -> dict[str, int]:
    """Read every monotonic counter of this namespace; softnet and conntrack sums are over all CPUs.

    Source: ``/proc/net/{snmp,netstat,snmp6,softnet_stat,stat/nf_conntrack}``. ``Tcp.CurrEstab`` and the two
    ``*.Default*`` entries are gauges that the kernel keeps in the same table; ``Tcp.MaxConn`` may be -1.
    """
    counters = parse_paired_lines(_read(_NET + "snmp"))
    counters.update(parse_paired_lines(_read(_NET + "netstat")))
    counters.update(parse_snmp6(_read(_NET + "snmp6")))
    counters.update(parse_softnet(_read(_NET + "softnet_stat")))
    counters.update(parse_conntrack_stat(_read(_NET + "stat/nf_conntrack")))
    return counters


def read_limits() -> dict[str, int]:
    """Read the gauges and their bounds: sockets in use, memory, file descriptors, conntrack entries.

    ``sockstat.TCP.inuse`` and ``.tw`` are of this namespace; ``.orphan``, ``.alloc`` and ``.mem`` (pages) of the whole
    machine. ``tcp_mem.low|pressure|high`` are pages, ``page_bytes`` is the size of one.
    """
    limits = parse_sockstat(_read(_NET + "sockstat"), "sockstat")
    limits.update(parse_sockstat(_read(_NET + "sockstat6"), "sockstat6"))
    limits.update(_named("file-nr", ("allocated", "unused", "max"), _read(_SYS + "fs/file-nr")))
    limits.update(_named("tcp_mem", ("low", "pressure", "high"), _read(_SYS + "net/ipv4/tcp_mem")))
    for name in ("nf_conntrack_count", "nf_conntrack_max"):
        limits.update(_single(name, _read(_SYS + "net/netfilter/" + name)))
    for name in ("tcp_max_orphans", "tcp_max_tw_buckets"):
        limits.update(_single(name, _read(_SYS + "net/ipv4/" + name)))
    limits["page_bytes"] = _page_bytes()
    return limits


def read_sysctls() -> dict[str, str]:
    """Read ``net.ipv4.tcp_*`` and :data:`SYSCTLS` by dotted name; white space inside a value is one blank."""
    found = {}
    for name in (*_tcp_sysctls(), *SYSCTLS):
        value = read_sysctl(name)
        if value is not None:
            found[name] = value
    return found


def read_sysctl(name: str) -> str | None:
    """Read one setting by dotted name; ``None`` when this kernel has none or hides it."""
    text = _read(_SYS + name.replace(".", "/"))
    return " ".join(text.split()) if text else None


def parse_paired_lines(text: str) -> dict[str, int]:
    """Parse ``/proc/net/snmp`` or ``/proc/net/netstat``: a line of names, then a line of values, per group."""
    counters: dict[str, int] = {}
    names: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words or not words[0].endswith(":"):
            continue
        if names and names[0] == words[0] and len(words) > 1 and _is_number(words[1]):
            group = words[0][:-1]
            counters.update((f"{group}.{name}", number) for name, number in _numbers(names[1:], words[1:]))
            names = []
        else:
            names = words
    return counters


def parse_snmp6(text: str) -> dict[str, int]:
    """Parse ``/proc/net/snmp6``: one counter per line, group and name in one word."""
    counters: dict[str, int] = {}
    for name, number in _numbers(*_two_columns(text)):
        group = next((group for group in _SNMP6_GROUPS if name.startswith(group)), "")
        if group:
            counters[f"{group}.{name[len(group) :]}"] = number
    return counters


def parse_softnet(text: str) -> dict[str, int]:
    """Parse ``/proc/net/softnet_stat`` (hexadecimal, one line per CPU) into sums over all CPUs."""
    counters: dict[str, int] = {}
    for line in text.splitlines():
        for index, word in enumerate(line.split()):
            if index in _SOFTNET_COLUMNS:
                name = f"softnet.{_SOFTNET_COLUMNS[index]}"
                counters[name] = counters.get(name, 0) + _hexadecimal(word)
    return counters


def parse_conntrack_stat(text: str) -> dict[str, int]:
    """Parse ``/proc/net/stat/nf_conntrack`` (hexadecimal, one line per CPU) into sums over all CPUs.

    ``entries`` is left out: each CPU repeats the same total (it is ``nf_conntrack_count`` among the limits).
    """
    lines = text.splitlines()
    if not lines:
        return {}
    names = lines[0].split()
    counters: dict[str, int] = {}
    for line in lines[1:]:
        for name, word in zip(names, line.split(), strict=False):
            if name != "entries":
                counters[f"nf_conntrack.{name}"] = counters.get(f"nf_conntrack.{name}", 0) + _hexadecimal(word)
    return counters


def parse_sockstat(text: str, prefix: str) -> dict[str, int]:
    """Parse ``/proc/net/sockstat`` into ``PREFIX.GROUP.name``; ``sockets: used`` becomes ``PREFIX.used``."""
    limits: dict[str, int] = {}
    for line in text.splitlines():
        group, _, rest = line.partition(":")
        words = rest.split()
        where = prefix if group == "sockets" else f"{prefix}.{group}"
        limits.update((f"{where}.{name}", number) for name, number in _numbers(words[::2], words[1::2]))
    return limits


def _tcp_sysctls() -> list[str]:
    import posix

    try:
        names = posix.listdir(_SYS + "net/ipv4")
    except OSError:
        return []
    return sorted(f"net.ipv4.{name}" for name in names if name.startswith("tcp_") and name not in _SECRET)


def _numbers(names: Iterable[str], values: Iterable[str]) -> Iterator[tuple[str, int]]:
    return ((name, int(value)) for name, value in zip(names, values, strict=False) if _is_number(value))


def _two_columns(text: str) -> tuple[list[str], list[str]]:
    rows = [words for words in map(str.split, text.splitlines()) if len(words) == 2]
    return [words[0] for words in rows], [words[1] for words in rows]


def _named(prefix: str, names: Iterable[str], text: str) -> dict[str, int]:
    return {f"{prefix}.{name}": number for name, number in _numbers(names, text.split())}


def _single(name: str, text: str) -> dict[str, int]:
    return dict(_numbers((name,), text.split()))


def _is_number(word: str) -> bool:
    return word.removeprefix("-").isdecimal() and word.isascii()


def _hexadecimal(word: str) -> int:
    try:
        return int(word, 16)
    except ValueError:
        return 0


def _page_bytes() -> int:
    import posix

    return posix.sysconf("SC_PAGE_SIZE")


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
