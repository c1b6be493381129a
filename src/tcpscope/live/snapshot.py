"""``take_snapshot``: everything a diagnosis may look at, of one network namespace, at one time."""

from __future__ import annotations

import os
import time

from tcpscope.kernel import sock_diag
from tcpscope.kernel.counters import read_counters, read_limits, read_sysctls
from tcpscope.kernel.namespaces import inside
from tcpscope.kernel.proc_net import read_other_inodes
from tcpscope.kernel.processes import read_processes
from tcpscope.live.listing import WITH_BOUND, read_listing
from tcpscope.live.sockets import build_sockets, describe_coverage
from tcpscope.model.snapshot import Host, Process, Snapshot


def take_snapshot(*, netns: str | None = None, detail: bool = True, owners: bool = True) -> Snapshot:
    """Take a snapshot of a namespace (a name, a path, ``pid:N``; ``None``: the present one).

    ``detail`` adds ``tcp_info``, memory, congestion control, cgroups and the processes; ``owners`` finds who holds
    each socket. Never fails for missing privilege or an old kernel: what could not be seen is in ``coverage``.
    Raises :class:`~tcpscope.model.errors.UsageError` or ``NotPermitted`` when the namespace cannot be entered.
    """
    with inside(netns) as inode:
        taken_ns = time.time_ns()
        listing = read_listing(tcp=WITH_BOUND, extensions=sock_diag.DETAIL if detail else 0)
        if owners:
            listing.find_owners({row[15] for row in listing.rows() if row[15]})
        sockets = build_sockets(listing, cgroups=detail)
        counters, limits, sysctls = read_counters(), read_limits(), read_sysctls()
        other_inodes = read_other_inodes() if detail else frozenset()
    processes: dict[int, Process] = {}
    if detail and listing.owners is not None:
        processes = read_processes((*listing.owners.names, *listing.owners.with_sockets))
    return Snapshot(
        taken_ns=taken_ns,
        sockets=sockets,
        counters=counters,
        sysctls=sysctls,
        limits=limits,
        processes=processes,
        host=read_host(),
        netns=inode,
        coverage=describe_coverage(listing),
        other_inodes=other_inodes,
    )


def read_host() -> Host:
    """Read name, kernel release and boot id."""
    name = os.uname()
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot_id = file.read().strip()
    except OSError:
        boot_id = ""
    return Host(name=name.nodename, kernel=f"{name.sysname} {name.release}", boot_id=boot_id)
