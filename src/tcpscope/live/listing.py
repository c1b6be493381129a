"""This namespace's sockets as rows, with their holders: the way is chosen by trying, and said.

Sockets: sock_diag, else ``/proc/net``. Holders: for many sockets the BPF iterator over all descriptors, else a scan
of ``/proc``. Words are made of the rows in :mod:`tcpscope.live.sockets`; here is only what ``tcpscope list -tanp``
needs (see the test that guards its imports).
"""

from __future__ import annotations

from posix import geteuid
from posix import stat as _stat

from tcpscope.kernel import sock_diag
from tcpscope.kernel.netlink import count_damaged, open_netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tcpscope.kernel.processes import Owners
    from tcpscope.model.row import Row

TCP, UDP = sock_diag.IPPROTO_TCP, sock_diag.IPPROTO_UDP
EVERY_STATE = sock_diag.ALL_STATES
WITH_BOUND = sock_diag.ALL_STATES | sock_diag.BOUND_INACTIVE_MASK

#: When more descriptors than this would have to be read the BPF iterator is tried: loading it costs about as much.
_MANY = 5_000


class Listing:
    """Raw sockets of one namespace: datagrams of sock_diag, or rows of procfs; and what could not be seen."""

    __slots__ = ("_rows", "damaged", "datagrams", "netns", "notes", "owners", "proc_rows", "source", "unseen")

    def __init__(self) -> None:
        self.datagrams: list[tuple[int, list[bytes]]] = []
        self.proc_rows: list[Row] = []
        self._rows: list[Row] | None = None
        self.owners: Owners | None = None
        self.netns = own_netns()
        self.source = "sock_diag"
        self.notes: list[str] = []
        self.damaged = 0
        self.unseen = 0

    @property
    def payload_bytes(self) -> int:
        """How much the kernel sent; a socket is 124 bytes or more."""
        return sum(len(datagram) for _, datagrams in self.datagrams for datagram in datagrams)

    def rows(self) -> list[Row]:
        """Parse everything into rows, TCP first, in the kernel's order; done once."""
        if self._rows is None:
            self._rows = []
            strange: list[int] = []
            for proto, datagrams in self.datagrams:
                self._rows += sock_diag.parse_rows(datagrams, proto, strange)
            self._rows += self.proc_rows
            if strange:
                self.notes.append(f"{len(strange)} sockets of an unknown family or state were left out.")
        return self._rows

    def find_owners(self, inodes: set[int]) -> None:
        """Find the holders of these inodes; notes what could not be seen."""
        self.owners = _find_owners(inodes, self.netns)
        self.note_unseen(sum(1 for inode in inodes if inode not in self.owners.holders))

    def note_unseen(self, unseen: int) -> None:
        """Say how owners were found if not in the best way, and how many sockets have none that can be seen."""
        if self.owners is None:
            return
        if self.owners.reason:
            self.notes.append(self.owners.reason)
        self.unseen = unseen
        if unseen and self.owners.source != "none":
            what = "1 socket has" if unseen == 1 else f"{unseen} sockets have"
            self.notes.append(f"{what} no visible owner: {_why_unseen(self.owners.refused)}.")


def own_netns() -> int:
    """Return the number of the namespace the calling thread is in, 0 when procfs does not tell."""
    try:
        return _stat("/proc/thread-self/ns/net").st_ino
    except OSError:
        return 0


def read_listing(
    *,
    tcp: int = EVERY_STATE,
    udp: int = EVERY_STATE,
    family: int = 0,
    extensions: int = 0,
    bytecode: bytes = b"",
) -> Listing:
    """Read the sockets of the calling thread's namespace.

    ``tcp`` and ``udp`` are masks of kernel states (0: none), ``family`` is 0, 2 or 10. Never fails for a kernel that
    refuses netlink as long as ``/proc/net`` is there; then ``bytecode`` has no effect.
    """
    listing = Listing()
    for proto, states in ((TCP, tcp), (UDP, udp)):
        if states:
            _read_protocol(listing, proto, family, states, extensions, bytecode)
    if listing.damaged:
        listing.notes.append(f"{listing.damaged} pieces of the kernel's answer were cut or not understood.")
    return listing


def _read_protocol(listing: Listing, proto: int, family: int, states: int, extensions: int, bytecode: bytes) -> None:
    try:
        datagrams = _ask_kernel(proto, family, states, extensions, bytecode)
    except OSError as error:
        _fall_back(listing, proto, family, states, error)
        return
    listing.damaged += count_damaged(datagrams)
    listing.datagrams.append((proto, datagrams))


def _ask_kernel(proto: int, family: int, states: int, extensions: int, bytecode: bytes) -> list[bytes]:
    ask = sock_diag.dump_tcp if proto == TCP else sock_diag.dump_udp
    channel = open_netlink()
    try:
        return ask(channel, states=states, extensions=extensions, family=family, bytecode=bytecode)
    finally:
        channel.close()


def _fall_back(listing: Listing, proto: int, family: int, states: int, error: OSError) -> None:
    from tcpscope.kernel.proc_net import read_proc_rows

    rows, damaged = read_proc_rows(proto, family, states)
    listing.proc_rows += rows
    listing.damaged += damaged
    listing.source = "procfs"
    name = "TCP" if proto == TCP else "UDP"
    listing.notes.append(
        f"{name} sockets come from /proc/net (netlink sock_diag: {error.strerror or error}): "
        "no backlog, no tcp_info, no cookie, v6only unknown."
    )


def _find_owners(wanted: set[int], netns: int) -> Owners:
    """Find the holders of these inodes of namespace ``netns``: in ``/proc``, by BPF when that would be much to read."""
    from tcpscope.kernel.processes import TooMany, scan_owners

    try:
        return scan_owners(wanted, netns, sufficient=len(wanted), budget=_MANY)
    except TooMany:
        pass
    owners, reason = read_owner_records()
    if owners is not None:
        _index_records(owners, wanted)
        return owners
    owners = scan_owners(wanted, netns, sufficient=len(wanted))
    owners.reason = owners.reason or reason
    return owners


def read_owner_records() -> tuple[Owners | None, str]:
    """Ask the BPF iterator for the holders of every socket of this host; ``None`` and why when it is refused."""
    from tcpscope.kernel.processes import Owners

    try:
        from tcpscope.kernel.bpf.socket_owners import read_socket_owners
        from tcpscope.model.errors import TcpscopeError
    except ImportError as error:
        return None, f"Owners come from /proc (BPF: {error})."
    try:
        owners = Owners("bpf")
        owners.records = read_socket_owners()
    except (TcpscopeError, OSError) as error:
        return None, f"Owners come from /proc, which is slower (BPF: {error})."
    return owners, ""


def _index_records(owners: Owners, wanted: set[int]) -> None:
    """Pick the holders of ``wanted`` out of the records of the whole host."""
    from struct import iter_unpack

    from tcpscope.kernel.bpf.socket_owners import OWNER_RECORD

    holders, pids = owners.holders, set()
    for inode, pid, fd, comm in iter_unpack(OWNER_RECORD, owners.records):
        if inode in wanted:
            holders.setdefault(inode, []).append((pid, fd))
            if pid not in pids:
                pids.add(pid)
                owners.names[pid] = comm.partition(b"\0")[0].decode("utf-8", "backslashreplace")
    owners.with_sockets = list(owners.names)


def _why_unseen(refused: int) -> str:
    if refused:
        what = "1 process" if refused == 1 else f"{refused} processes"
        who = "root or CAP_SYS_PTRACE may" if geteuid() else "root lacks CAP_SYS_PTRACE here, or may not reach them"
        return f"{what} may not be looked at ({who})"
    if geteuid() != 0:
        return "processes of others may be hidden (root sees them)"
    return "held by the kernel or from another PID namespace, or just closed"
