"""Rates of the kernel's counters, as ``sar -n SOCK,TCP,ETCP`` shows them, and of every counter that findings use.

Two readings and the time between them; a counter that went down (a namespace made anew, a wrap) has no rate for that
interval and is named. Gauges are shown as they are at the end of the interval.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from tcpscope.kernel.counters import read_counters, read_limits
from tcpscope.kernel.namespace import NetworkNamespace
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.record import NamedTuple

#: Title as sar prints it -> gauge of ``/proc/net/sockstat``.
SOCK = {
    "totsck": "sockstat.used",
    "tcpsck": "sockstat.TCP.inuse",
    "udpsck": "sockstat.UDP.inuse",
    "rawsck": "sockstat.RAW.inuse",
    "ip-frag": "sockstat.FRAG.inuse",
    "tcp-tw": "sockstat.TCP.tw",
}
#: Title as sar prints it -> counter.
TCP = {
    "active/s": "Tcp.ActiveOpens",
    "passive/s": "Tcp.PassiveOpens",
    "iseg/s": "Tcp.InSegs",
    "oseg/s": "Tcp.OutSegs",
}
ETCP = {
    "atmptf/s": "Tcp.AttemptFails",
    "estres/s": "Tcp.EstabResets",
    "retrans/s": "Tcp.RetransSegs",
    "isegerr/s": "Tcp.InErrs",
    "orsts/s": "Tcp.OutRsts",
}


class Reading(NamedTuple):
    """All counters and gauges at one time (``at_ns`` of CLOCK_MONOTONIC, ``taken_ns`` since the epoch)."""

    at_ns: int
    taken_ns: int
    counters: Mapping[str, int]
    gauges: Mapping[str, int]


class Growth(NamedTuple):
    """How much one counter grew in an interval."""

    name: str
    per_s: float
    delta: int
    total: int


class Interval(NamedTuple):
    """One line of ``stats``. ``restarted`` names counters that went down and so have no rate.

    A gauge in ``sock`` that could not be read is ``None``; ``notes`` say which files were missing.
    """

    taken_ns: int
    seconds: float
    sock: Mapping[str, int | None]
    tcp: Mapping[str, float]
    etcp: Mapping[str, float]
    growth: Sequence[Growth]
    restarted: Sequence[str]
    notes: Sequence[str] = ()


def read_now() -> Reading:
    """Read counters and gauges of the calling thread's namespace. Raises ``TcpscopeError`` when there are none."""
    counters = read_counters()
    if "Tcp.InSegs" not in counters:
        # Why: without counters every rate would be 0.00, and none of them measured
        raise TcpscopeError("no TCP counters in /proc/net/snmp: /proc is not mounted or cannot be read")
    return Reading(time.monotonic_ns(), time.time_ns(), counters, read_limits())


def compare(before: Reading, after: Reading, wanted: Sequence[str]) -> Interval:
    """Compare two readings; ``growth`` holds those of ``wanted`` (all counters when empty) that moved."""
    seconds = max(after.at_ns - before.at_ns, 1) / 1e9
    names = [name for name in (wanted or after.counters) if name in after.counters]
    restarted = [name for name in names if after.counters[name] < before.counters.get(name, 0) and not _is_gauge(name)]
    deltas = {name: after.counters[name] - before.counters.get(name, 0) for name in names if not _is_gauge(name)}
    return Interval(
        taken_ns=after.taken_ns,
        seconds=seconds,
        sock={title: after.gauges.get(name) for title, name in SOCK.items()},
        tcp=_rates(before, after, TCP, seconds),
        etcp=_rates(before, after, ETCP, seconds),
        growth=[
            Growth(name, delta / seconds, delta, after.counters[name]) for name, delta in deltas.items() if delta > 0
        ],
        restarted=restarted,
        notes=_missing(after),
    )


def follow_intervals(
    interval_s: float = 1.0,
    count: int | None = None,
    wanted: Sequence[str] = (),
    *,
    netns: str | None = None,
    read: Callable[[], Reading] = read_now,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Interval]:
    """Give one interval of ``interval_s`` seconds after another, ``count`` of them or for ever, without drift.

    ``growth`` of an interval holds the counters of ``wanted`` (empty: all) that moved, from ``/proc/net/snmp`` and
    ``netstat`` of ``netns`` (a name, a path, ``pid:N``; ``None``: the caller's). Raises ``UsageError`` or
    ``NotPermitted`` when the namespace cannot be entered, ``TcpscopeError`` when there are no counters.
    """
    place = NetworkNamespace.open(netns) if netns is not None else None
    try:
        before = _read_in(place, read)
        due = clock()
        made = 0
        while count is None or made < count:
            due += interval_s
            sleep(max(0.0, due - clock()))
            after = _read_in(place, read)
            yield compare(before, after, wanted)
            before = after
            made += 1
    finally:
        if place is not None:
            place.close()


def _read_in(place: NetworkNamespace | None, read: Callable[[], Reading]) -> Reading:
    # Why entered for each reading: between two of them the thread is its caller's
    if place is None:
        return read()
    with place.entered():
        return read()


def _rates(before: Reading, after: Reading, titles: Mapping[str, str], seconds: float) -> dict[str, float]:
    return {
        title: max(0, after.counters.get(name, 0) - before.counters.get(name, 0)) / seconds
        for title, name in titles.items()
    }


def _missing(reading: Reading) -> list[str]:
    """Say what was not there, so that what is not shown is not taken for zero."""
    notes = []
    if "sockstat.used" not in reading.gauges:
        notes.append("/proc/net/sockstat cannot be read: no sockets in use.")
    if not any(name.startswith("TcpExt.") for name in reading.counters):
        notes.append("/proc/net/netstat cannot be read: no TcpExt counters.")
    return notes


def _is_gauge(name: str) -> bool:
    """Gauges and settings the kernel keeps among its counters (RFC 4022, RFC 4293)."""
    return name in ("Tcp.CurrEstab", "Tcp.MaxConn", "Tcp.RtoAlgorithm", "Tcp.RtoMin", "Tcp.RtoMax") or (
        name.startswith("Ip.") and name.endswith(("Forwarding", "DefaultTTL"))
    )
