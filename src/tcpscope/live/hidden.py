"""Socket descriptors that no list shows: told from connections that came or went while a snapshot was taken.

Sockets are listed first and descriptors are read after that, so on a busy server a connection of the meantime is in no
list. What is still a descriptor after a second listing, and in neither of the two, is hidden for good.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from tcpscope.kernel.namespaces import inside
from tcpscope.kernel.proc_net import read_other_inodes
from tcpscope.kernel.processes import read_process
from tcpscope.live.listing import WITH_BOUND, read_listing
from tcpscope.model.snapshot import Process
from tcpscope.model.socket import Socket

#: Fewer are not worth a second listing: no finding begins below it.
_FEW = 10


def drop_fleeting(
    processes: Mapping[int, Process],
    sockets: Iterable[Socket],
    other_inodes: Collection[int],
    netns: str | None,
    netns_inode: int,
) -> dict[int, Process]:
    """Return the processes without those unlisted descriptors that were merely young or about to go."""
    listed = {socket.inode for socket in sockets} | set(other_inodes)
    doubtful = [
        pid
        for pid, process in processes.items()
        if process.netns in (0, netns_inode) and sum(one not in listed for one in process.socket_inodes) >= _FEW
    ]
    if not doubtful:
        return dict(processes)
    with inside(netns):
        again = {row[15] for row in read_listing(tcp=WITH_BOUND).rows()} | read_other_inodes()
    checked = dict(processes)
    for pid in doubtful:
        now = read_process(pid)
        lasting = set(now.socket_inodes if now else ()) - again
        kept = tuple(inode for inode in processes[pid].socket_inodes if inode in listed or inode in lasting)
        checked[pid] = processes[pid]._replace(socket_inodes=kept)
    return checked
