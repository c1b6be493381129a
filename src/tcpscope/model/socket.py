"""``Socket``: one end of a connection as seen at one instant, and the words it is made of."""

from __future__ import annotations

from tcpscope.model.address import Endpoint, Flow
from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State


class Owner(NamedTuple):
    """One process that holds the socket open, through one descriptor. ``fd`` is -1 when it is not known."""

    pid: int
    name: str
    fd: int = -1


class Timer(NamedTuple):
    """The kernel's timer on a socket: ``kind`` as ss prints it (``on keepalive timewait persist``)."""

    kind: str
    expires_ms: int
    retransmits: int = 0


class Age(NamedTuple):
    """Time in the present state; ``known`` is ``exact``, ``bound`` (at least this long) or ``unknown``."""

    ms: int = 0
    known: str = "unknown"


class SocketMemory(NamedTuple):
    """``INET_DIAG_SKMEMINFO`` (``include/uapi/linux/sock_diag.h``), in bytes."""

    rmem_alloc_bytes: int = 0
    rcvbuf_bytes: int = 0
    wmem_alloc_bytes: int = 0
    sndbuf_bytes: int = 0
    fwd_alloc_bytes: int = 0
    wmem_queued_bytes: int = 0
    optmem_bytes: int = 0
    backlog_bytes: int = 0
    drops: int = 0


class TcpInfo(NamedTuple):
    """The fields of Linux's ``struct tcp_info`` without their ``tcpi_`` prefix; ``None``: kernel too old.

    Times are in the kernel's own units, said in the suffix.
    """

    state: int = 0
    ca_state: int = 0
    retransmits: int = 0
    probes: int = 0
    backoff: int = 0
    options: int = 0
    snd_wscale: int = 0
    rcv_wscale: int = 0
    rto_us: int = 0
    ato_us: int = 0
    snd_mss: int = 0
    rcv_mss: int = 0
    unacked: int = 0
    sacked: int = 0
    lost: int = 0
    retrans: int = 0
    last_data_sent_ms: int = 0
    last_data_recv_ms: int = 0
    last_ack_recv_ms: int = 0
    pmtu: int = 0
    rcv_ssthresh: int = 0
    rtt_us: int = 0
    rttvar_us: int = 0
    snd_ssthresh: int = 0
    snd_cwnd: int = 0
    advmss: int = 0
    reordering: int = 0
    rcv_rtt_us: int = 0
    rcv_space: int = 0
    total_retrans: int = 0
    pacing_rate: int | None = None
    bytes_acked: int | None = None
    bytes_received: int | None = None
    segs_out: int | None = None
    segs_in: int | None = None
    notsent_bytes: int | None = None
    min_rtt_us: int | None = None
    data_segs_in: int | None = None
    data_segs_out: int | None = None
    delivery_rate: int | None = None
    busy_time_us: int | None = None
    rwnd_limited_us: int | None = None
    sndbuf_limited_us: int | None = None
    delivered: int | None = None
    bytes_sent: int | None = None
    bytes_retrans: int | None = None
    dsack_dups: int | None = None
    reord_seen: int | None = None
    rcv_ooopack: int | None = None
    snd_wnd: int | None = None


class Socket(NamedTuple):
    """One socket at one instant.

    ``kind`` is what the kernel keeps for it: ``full`` (a socket), ``request`` (a handshake not finished,
    SYN-RECEIVED) or ``mini`` (a time-wait mini-socket: TIME-WAIT, or FIN-WAIT-2 after the program closed).
    ``recv_q``/``send_q`` are bytes (of a listener: connections waiting for accept, and ``backlog``); FIN and SYN
    count 1. ``inode`` is 0 when no program holds the socket, -1 when the source does not tell. ``backlog`` is ``None``
    for all but listeners, and for listeners whose backlog the source does not tell.
    """

    proto: str
    state: State
    local: Endpoint
    remote: Endpoint
    recv_q: int = 0
    send_q: int = 0
    backlog: int | None = None
    owners: tuple[Owner, ...] = ()
    uid: int | None = None
    inode: int = 0
    cookie: int = 0
    netns: int = 0
    timer: Timer | None = None
    age: Age = Age()
    tcp_info: TcpInfo | None = None
    memory: SocketMemory | None = None
    congestion: str | None = None
    cgroup: str | None = None
    interface: int = 0
    v6only: bool | None = None
    mark: int | None = None
    shutdown: int | None = None  #: 1 receive direction shut, 2 send direction shut, 3 both
    kind: str = "full"

    @property
    def flow(self) -> Flow:
        """The 4-tuple, seen from this end."""
        return Flow(self.local, self.remote, self.proto)

    @property
    def is_listener(self) -> bool:
        """Whether it waits for connections."""
        return self.state == State.LISTEN

    @property
    def listening_at(self) -> str:
        """Where a listener listens, as ss writes it: ``*:80`` takes both families, ``[::]:80`` IPv6 alone."""
        takes_both = self.local.address == "::" and self.v6only is False
        return f"*:{self.local.port}" if takes_both else str(self.local)

    @property
    def is_unaccepted(self) -> bool:
        """Whether the handshake is complete but no program has called accept() (no inode yet)."""
        return (
            self.kind == "full"
            and not self.inode
            and not self.owners
            and self.proto == "tcp"
            and self.state in (State.ESTABLISHED, State.CLOSE_WAIT)
        )

    @property
    def is_held_here(self) -> bool:
        """Whether data waits with nothing on its way although the peer's window has room: this host keeps it back.

        Linux: a segment that the own packet filter or the output queue drops does not count as sent. With none on its
        way the window probe's timer (``persist``) tries again, as if the window were 0.
        """
        info = self.tcp_info
        if info is None or not info.snd_wnd or self.timer is None or self.timer.kind != "persist":
            return False
        return not info.unacked and info.snd_wnd >= min(self.send_q, info.snd_mss)

    @property
    def is_orphan(self) -> bool:
        """Whether its program has closed it and the kernel finishes alone.

        Linux keeps most orphans in FIN-WAIT-2 as mini-sockets, some (a long ``TCP_LINGER2``) as full ones.
        """
        closing = (State.FIN_WAIT_1, State.FIN_WAIT_2, State.LAST_ACK, State.CLOSING)
        return not self.inode and not self.owners and self.proto == "tcp" and self.state in closing
