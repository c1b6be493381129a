"""``take_snapshot``: everything a diagnosis may look at, of one network namespace, at one time."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from tcpscope.kernel import sock_diag
from tcpscope.kernel.cgroups import read_control_groups
from tcpscope.kernel.counters import read_counters, read_limits, read_sysctl, read_sysctls
from tcpscope.kernel.interfaces import read_interfaces
from tcpscope.kernel.namespaces import inside, read_cookie
from tcpscope.kernel.packet_filter import read_packet_filter
from tcpscope.kernel.proc_net import read_other_inodes
from tcpscope.kernel.processes import read_processes
from tcpscope.live.crowd import MANY_BYTES, DeferredSockets, build_crowd
from tcpscope.live.hidden import drop_fleeting
from tcpscope.live.listing import WITH_BOUND, Listing, read_listing
from tcpscope.live.sockets import build_sockets, describe_coverage
from tcpscope.model.snapshot import Host, Process, Snapshot
from tcpscope.model.socket import Socket


def take_snapshot(
    *, netns: str | None = None, detail: bool = True, owners: bool = True, defer: bool = False
) -> Snapshot:
    """Take a snapshot of a namespace (a name, a path, ``pid:N``; ``None``: the present one).

    ``detail`` adds ``tcp_info``, memory, congestion control, cgroups and the processes; ``owners`` finds who holds
    each socket; ``defer`` makes the sockets of a crowd only when they are first asked for (a look to compare with).
    Never fails for missing privilege or an old kernel: what could not be seen is in ``coverage``.
    Raises :class:`~tcpscope.model.errors.UsageError` or ``NotPermitted`` when the namespace cannot be entered.
    """
    with inside(netns) as inode:
        taken_ns = time.time_ns()
        listing = read_listing(tcp=WITH_BOUND, extensions=sock_diag.DETAIL if detail else 0)
        sockets = _make_sockets(listing, detail, owners, defer)
        counters, limits, sysctls = read_counters(), read_limits(), read_sysctls()
        packet_filter = read_packet_filter() if detail else None
        other_inodes = read_other_inodes() if detail else frozenset()
        interfaces = read_interfaces()
        cookie = read_cookie()
    processes: dict[int, Process] = {}
    if detail and listing.owners is not None:
        pids = (*listing.owners.names, *listing.owners.with_sockets)
        processes = read_processes(pids, listing.owners.held_by_pid())
        processes = drop_fleeting(processes, sockets, other_inodes, netns, inode)
    return Snapshot(
        taken_ns=taken_ns,
        sockets=sockets,
        counters=counters,
        sysctls=sysctls,
        limits=limits,
        processes=processes,
        host=read_host(),
        netns=inode,
        netns_cookie=cookie,
        coverage=describe_coverage(listing),
        other_inodes=other_inodes,
        interfaces=interfaces,
        packet_filter=packet_filter,
        control_groups=read_control_groups(one.cgroup for one in processes.values()),
    )


def _make_sockets(listing: Listing, detail: bool, owners: bool, defer: bool) -> Sequence[Socket]:
    is_crowd = detail and listing.payload_bytes >= MANY_BYTES
    if not is_crowd and not owners:
        return build_sockets(listing, cgroups=detail)
    linear = int(read_sysctl("net.ipv4.tcp_syn_linear_timeouts") or 0)
    if is_crowd and defer and not owners:
        return DeferredSockets(lambda: build_crowd(listing, listing.rows(), linear))
    rows = listing.rows()
    if owners:
        listing.find_owners({row[15] for row in rows if row[15]})
    return build_crowd(listing, rows, linear) if is_crowd else build_sockets(listing, cgroups=detail)


def read_host() -> Host:
    """Read name, kernel release and boot id."""
    name = os.uname()
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot_id = file.read().strip()
    except OSError:
        boot_id = ""
    return Host(name=name.nodename, kernel=f"{name.sysname} {name.release}", boot_id=boot_id)
