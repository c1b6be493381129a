"""``Snapshot``: everything a diagnosis may look at, at one time, and what could not be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from tcpscope.model.address import Endpoint
from tcpscope.model.packet_filter import FilterChain
from tcpscope.model.record import NamedTuple
from tcpscope.model.socket import Owner, Socket
from tcpscope.model.state import State


class Process(NamedTuple):
    """One process that holds sockets. ``None`` means: not allowed to look, or gone meanwhile."""

    pid: int
    name: str
    uid: int | None = None
    executable: str | None = None
    command: tuple[str, ...] = ()
    cgroup: str | None = None
    state: str = ""  #: letter of ``/proc/PID/stat``
    start_ns: int | None = None
    open_fds: int | None = None
    fd_limit: int | None = None  #: soft RLIMIT_NOFILE
    socket_inodes: tuple[int, ...] = ()  #: inodes of all its ``socket:`` descriptors, of any family
    wait_channel: str = ""
    runtime: str = ""  #: language or program family: ``cpython jvm node go nginx postgresql ...``
    netns: int = 0  #: inode of its network namespace; 0: not known


class Refused(NamedTuple):
    """Connection attempts of one program to one destination that were seen to be refused between two looks."""

    remote: Endpoint
    by: Owner | None
    attempts: int


class Reset(NamedTuple):
    """Connections of one program with one host that were seen to be reset by it between two looks.

    ``port`` is the server's, as far as ports tell: the lower one; ``is_served``: it is the local one. ``young``: so
    many of them were reset within a second of the handshake.
    """

    remote: str
    port: int
    is_served: bool
    state: State  #: the state the reset ended
    by: Owner | None
    number: int
    young: int = 0


class ControlGroup(NamedTuple):
    """The memory of one control group with a limit: of its sockets, of all it has, and what it may have."""

    path: str
    socket_bytes: int
    used_bytes: int
    limit_bytes: int


class Interface(NamedTuple):
    """One network interface and its addresses, each as ``192.0.2.1/24``."""

    name: str
    number: int  #: the kernel's index, as in ``Socket.interface``
    is_up: bool = True
    mtu_bytes: int = 0
    addresses: tuple[str, ...] = ()


class Host(NamedTuple):
    """Whose snapshot it is."""

    name: str = ""
    kernel: str = ""
    boot_id: str = ""
    system: str = "linux"  #: ``linux bsd macos windows``


class Coverage(NamedTuple):
    """What could not be seen, so that absence is never read as health.

    ``source``: ``live``, ``dump`` or ``capture``. ``notes`` are complete sentences for people.
    """

    source: str = "live"
    listing: str = ""  #: how sockets were read: ``sock_diag``, ``procfs``, ``netstat``, ``ss`` ...
    owners: str = ""  #: how owners were found: ``bpf``, ``procfs``, ``text``, ``none``
    sockets_without_owner: int = 0  #: sockets with an inode whose holder could not be seen
    notes: tuple[str, ...] = ()
    unread_rows: int = 0  #: rows of a dump that were not understood
    unread_samples: tuple[str, ...] = ()  #: the first few of them, as they stand
    time_from: str = ""  #: of a dump: ``text`` (it tells its time) or ``file`` (the file's time, or its arrival)


class Snapshot(NamedTuple):
    """Sockets, counters, settings and processes of one network namespace at ``taken_ns`` (since the epoch).

    ``counters`` are named as ``nstat`` and the kernel name them with the group first: ``Tcp.ActiveOpens``,
    ``TcpExt.ListenOverflows``, ``Ip.OutNoRoutes``. ``sysctls`` by dotted name (``net.ipv4.tcp_fin_timeout``), text.
    ``limits`` hold single numbers: ``sockstat.TCP.orphan``, ``file-nr.allocated``, ``nf_conntrack_count`` ...
    """

    taken_ns: int
    sockets: Sequence[Socket]
    counters: Mapping[str, int] = {}
    sysctls: Mapping[str, str] = {}
    limits: Mapping[str, int] = {}
    processes: Mapping[int, Process] = {}
    host: Host = Host()
    netns: int = 0
    coverage: Coverage = Coverage()
    #: inodes of the namespace's sockets of other families (unix, netlink, packet, raw ...)
    other_inodes: AbstractSet[int] = frozenset()
    interfaces: Sequence[Interface] = ()
    netns_cookie: int = 0  #: number of the namespace that is never given again (``SO_NETNS_COOKIE``); 0: not known
    packet_filter: tuple[FilterChain, ...] | None = None  #: ``None``: not looked at
    control_groups: Sequence[ControlGroup] = ()  #: those of the processes that have a memory limit
    refused: Sequence[Refused] = ()  #: the most frequent first; empty also when nobody watched
    resets: Sequence[Reset] = ()  #: the same of established connections

    @property
    def place(self) -> int:
        """What to remember the namespace by. Linux gives inode numbers again as soon as a namespace is gone."""
        return self.netns_cookie or self.netns
