"""The transmission control block: everything one end of a connection remembers (RFC 9293 §3.3.1).

Names of RFC 9293 where it has one. Sequence numbers are modulo 2**32, times are nanoseconds of the caller's clock,
windows are octets (scaled). The block has no behaviour: :mod:`tcpscope.machine.moves` changes its state, the other
modules of this room its numbers.
"""

from __future__ import annotations

from tcpscope.machine.congestion import ALGORITHMS, Congestion
from tcpscope.machine.flight import Sent
from tcpscope.machine.internet import DEFAULTS, Internet
from tcpscope.machine.lifecycle import Row
from tcpscope.machine.mtu_search import MtuSearch
from tcpscope.machine.profile import Profile
from tcpscope.machine.rack import Rack
from tcpscope.machine.recovery import Recovery
from tcpscope.machine.rtt import RoundTrip
from tcpscope.model.address import Endpoint
from tcpscope.model.record import NamedTuple
from tcpscope.model.segment import NO_OPTIONS, Options, Segment
from tcpscope.model.state import State

#: A deadline that never comes.
NEVER = 1 << 63


class Report(NamedTuple):
    """One thing that happened, for the application and for explanations.

    ``kind``: ``state`` (``row`` says which row of the table), ``error`` (the connection ended; ``text`` is the RFC's
    phrase), ``soft-error``, ``urgent``, ``writable``, ``end-of-file``, ``r1``, ``retransmit``, ``probe``,
    ``challenge``, ``dropped``, ``path-mtu``.
    """

    kind: str
    when_ns: int
    text: str = ""
    row: Row | None = None


class OutOfOrder(NamedTuple):
    """Text that waits for what is missing before it: ``[seq, end)``, in pieces."""

    seq: int
    end: int
    pieces: list[bytes | bytearray | memoryview]


class Incarnation(NamedTuple):
    """What TIME-WAIT held, to go back to when the SYN that reopened it was an old duplicate (MAY-2)."""

    iss: int
    irs: int
    snd_nxt: int
    rcv_nxt: int
    rcv_adv: int
    rcv_wscale: int
    ts_recent: int
    ts_recent_ns: int
    timestamps_ok: bool

    @classmethod
    def of(cls, tcb: Tcb) -> Incarnation:
        """Remember a block."""
        return cls(*(getattr(tcb, name) for name in cls._fields))

    def restore(self, tcb: Tcb) -> None:
        """Put it back: everything was sent, acknowledged and received."""
        for name, value in zip(self._fields, self, strict=True):
            setattr(tcb, name, value)
        tcb.snd_una = tcb.snd_nxt
        tcb.last_ack_sent = tcb.rcv_nxt
        tcb.snd_fin = (tcb.snd_nxt - 1) & 0xFFFFFFFF
        tcb.fin_received = tcb.irs_known = True
        tcb.reopened = None


class Tcb:
    """One connection's numbers, queues and deadlines."""

    __slots__ = (
        "acks_now", "announces_user_timeout", "application_mss_bytes", "challenges", "challenges_since_ns",
        "close_pending", "congestion", "counters", "deadline_delayed_ack_ns", "deadline_fin_wait_2_ns",
        "deadline_persist_ns", "deadline_probe_ns", "deadline_rack_ns", "deadline_retransmit_ns",
        "deadline_time_wait_ns", "dsack", "dup_acks", "ece_pending", "ecn", "error", "fast_path",
        "fin_received", "flight", "gso_bytes", "inbox", "inbox_bytes", "initial_cwnd_segments", "internet", "irs",
        "irs_known", "iss", "keepalive", "keepalive_count", "keepalive_idle_ns", "keepalive_interval_ns",
        "keepalive_octet", "keepalive_probes", "keepalive_sent_ns", "last_ack_sent", "last_received_ns", "last_sent_ns",
        "last_text_ns",
        "link_mtu_bytes", "listening_remote", "local", "max_snd_wnd", "missing_fin", "mss_bytes", "nodelay", "now_ns",
        "opened_actively", "ordered_by_recency", "out_of_order", "path_mtu_bytes", "peer_mss_bytes",
        "persist_backoff", "profile", "progress_ns", "pushed_seq", "r1_reported", "rack", "rcv_adv",
        "rcv_mss_bytes", "rcv_nxt", "rcv_psh", "rcv_up", "rcv_wscale", "reader_gone", "receive_buffer_bytes",
        "recovery", "remote", "reopened", "replies", "reports", "rtt", "sack_ok", "search", "send_buffer_bytes",
        "sends_cwr", "snd_fin", "snd_nxt", "snd_una", "snd_up", "snd_wl1", "snd_wl2", "snd_wnd",
        "snd_wscale", "soft_error", "state", "syn_options", "taken", "tells_soft_errors", "timestamps_ok",
        "ts_offset_ms", "ts_recent", "ts_recent_ns", "unacked_text_bytes", "unsent", "unsent_bytes",
        "user_timeout_ns",
    )  # fmt: skip

    def __init__(self, local: Endpoint, remote: Endpoint | None, iss: int, profile: Profile, ts_offset_ms: int) -> None:
        self.state = State.CLOSED
        self.local = local
        self.remote = remote
        self.profile = profile
        self.now_ns = 0
        self.opened_actively = False  # MUST-11
        self.reopened: Incarnation | None = None  # what TIME-WAIT held before a SYN reopened it
        self._forget_sending(iss)
        self._forget_receiving()
        self._set_options(profile, ts_offset_ms)
        self._set_timers(profile)
        self.listening_remote = remote
        self.reports: list[Report] = []
        self.replies: list[Segment] = []
        self.taken: list[Row] | None = None
        self.error = ""
        self.soft_error = ""
        self.counters = Counters()

    def _forget_sending(self, iss: int) -> None:
        self.iss = self.snd_una = self.snd_nxt = self.snd_up = self.pushed_seq = iss
        self.snd_wnd = self.max_snd_wnd = 0
        self.snd_wl1 = self.snd_wl2 = 0
        self.snd_fin = -1
        self.unsent: list[bytes | memoryview] = []
        self.unsent_bytes = 0
        self.flight: list[Sent] = []
        self.dup_acks = 0
        self.close_pending = False
        self.last_sent_ns = self.last_text_ns = 0

    def _forget_receiving(self) -> None:
        self.irs_known = False
        self.irs = self.rcv_nxt = self.rcv_adv = self.rcv_up = self.rcv_psh = self.last_ack_sent = 0
        self.inbox: list[bytes | bytearray | memoryview] = []
        self.inbox_bytes = 0
        self.out_of_order: list[OutOfOrder] = []
        self.ordered_by_recency: list[int] = []
        self.dsack: tuple[int, int] | None = None
        self.missing_fin = -1  # sequence number of a FIN that arrived before its text
        self.fin_received = False
        self.reader_gone = False
        self.acks_now = False
        self.unacked_text_bytes = 0
        self.rcv_mss_bytes = 536
        self.last_received_ns = 0

    def _set_options(self, profile: Profile, ts_offset_ms: int) -> None:
        self.receive_buffer_bytes = profile.receive_buffer_bytes
        self.send_buffer_bytes = profile.send_buffer_bytes
        self.initial_cwnd_segments = profile.initial_cwnd_segments
        self.application_mss_bytes = 0  # TCP_MAXSEG; 0: from the path MTU
        self.link_mtu_bytes = 1500  # of the first link
        self.path_mtu_bytes = 1500  # in use
        self.search: MtuSearch | None = None  # only where the path carries less than the first link
        self.internet: Internet = DEFAULTS
        self.peer_mss_bytes = 0
        self.mss_bytes = 536
        self.gso_bytes = 0
        self.nodelay = False  # MUST-17, SHLD-7
        self.fast_path = True
        self.snd_wscale = self.rcv_wscale = 0
        self.timestamps_ok = False
        self.ts_offset_ms = ts_offset_ms
        self.ts_recent = -1
        self.ts_recent_ns = 0
        self.sack_ok = False
        self.syn_options: Options = NO_OPTIONS
        self.ecn = False
        self.ece_pending = False
        self.announces_user_timeout = False
        self.tells_soft_errors = True
        self.sends_cwr = False

    def _set_timers(self, profile: Profile) -> None:
        self.forget_deadlines()
        self.persist_backoff = 0
        self.progress_ns = 0  # when the peer last acknowledged something new, or the oldest was first sent
        self.r1_reported = False
        self.user_timeout_ns = 0  # 0: R2 of the profile
        self.keepalive = False  # MUST-25
        self.keepalive_idle_ns = profile.keepalive_idle_ns
        self.keepalive_interval_ns = profile.keepalive_interval_ns
        self.keepalive_count = profile.keepalive_count
        self.keepalive_octet = False
        self.keepalive_probes = 0
        self.keepalive_sent_ns = 0
        self.challenges = 0
        self.challenges_since_ns = -NEVER
        self.forget_round_trips()
        self.recovery = Recovery()
        self.rack = Rack()
        self.congestion: Congestion = self.new_congestion()

    def forget_round_trips(self) -> None:
        """Know nothing of the round-trip time (RFC 6298 §2.1)."""
        profile = self.profile
        self.rtt = RoundTrip(
            profile.initial_rto_ns, profile.min_rto_ns, profile.max_rto_ns, profile.clock_granularity_ns
        )

    def forget_deadlines(self) -> None:
        """Stop every timer."""
        self.deadline_retransmit_ns = NEVER
        self.deadline_rack_ns = NEVER
        self.deadline_probe_ns = NEVER
        self.deadline_persist_ns = NEVER
        self.deadline_delayed_ack_ns = NEVER
        self.deadline_time_wait_ns = NEVER
        self.deadline_fin_wait_2_ns = NEVER

    def listen_again(self) -> None:
        """Forget the peer: the connection is a listener once more (RFC 9293 §3.10.7.4 second)."""
        self.remote = self.listening_remote
        self.begin_again((self.snd_nxt + ISS_STEP) & 0xFFFFFFFF)

    def begin_again(self, iss: int) -> None:
        """Start with fresh numbers; what the application has set stays."""
        self.forget_deadlines()
        self._forget_sending(iss)
        self._forget_receiving()
        self.recovery = Recovery()
        self.rack = Rack()
        self.ts_recent = -1
        self.timestamps_ok = self.sack_ok = self.ecn = False
        self.snd_wscale = self.rcv_wscale = 0
        self.syn_options = NO_OPTIONS
        self.reopened = None
        self.path_mtu_bytes, self.search = self.link_mtu_bytes, None

    def new_congestion(self, segments: int = 0) -> Congestion:
        """Return a fresh congestion controller with a window of ``segments`` (0: the initial window)."""
        window = segments * self.mss_bytes if segments else self.initial_cwnd_bytes
        return ALGORITHMS[self.profile.congestion](self.mss_bytes, window)

    @property
    def initial_cwnd_bytes(self) -> int:
        """The initial window (RFC 6928)."""
        return self.initial_cwnd_segments * self.mss_bytes

    @property
    def rcv_wnd(self) -> int:
        """The window the peer may fill, by what it was told."""
        return (self.rcv_adv - self.rcv_nxt) & 0xFFFFFFFF

    @property
    def flight_bytes(self) -> int:
        """Sequence numbers sent and not acknowledged (SYN and FIN count)."""
        return (self.snd_nxt - self.snd_una) & 0xFFFFFFFF

    def report(self, kind: str, text: str = "", row: Row | None = None) -> None:
        """Remember a happening until :meth:`Connection.events` is asked; the oldest half goes when nobody asks."""
        if len(self.reports) >= REPORTS_KEPT:
            del self.reports[: REPORTS_KEPT // 2]
        self.reports.append(Report(kind, self.now_ns, text, row))


REPORTS_KEPT = 256
#: How far above everything used before a block's next incarnation starts (MAY-2: larger than any number used).
ISS_STEP = 65537


class Counters:
    """What one connection has seen, for ``status`` and explanations."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "challenge_acks",
        "dropped",
        "dsacks_in",
        "mtu_probes",
        "out_of_order_in",
        "paws_drops",
        "retransmits",
        "segments_in",
        "segments_out",
        "tail_probes",
        "text_segments_in",
        "text_segments_out",
        "timeouts",
        "undone_recoveries",
    )  # fmt: skip

    bytes_in: int
    bytes_out: int
    challenge_acks: int
    dropped: int
    dsacks_in: int
    mtu_probes: int
    out_of_order_in: int
    paws_drops: int
    retransmits: int
    segments_in: int
    segments_out: int
    tail_probes: int
    text_segments_in: int
    text_segments_out: int
    timeouts: int
    undone_recoveries: int

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)
