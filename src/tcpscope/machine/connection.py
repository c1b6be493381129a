"""One TCP connection without I/O: user calls and segments in, segments and deadlines out (RFC 9293).

It has no clock, socket, thread or randomness: every call that depends on time takes ``now_ns``, and the initial
sequence number is an argument (see :mod:`tcpscope.machine.isn`). A driver does, whenever something happened or
:meth:`Connection.next_deadline` is reached::

    connection.receive_segment(segment, now_ns)   # for each that came in
    for segment in connection.poll(now_ns):        # until it returns nothing
        put_on_the_wire(segment)

Segments out are descriptions whose payload refers to the application's own bytes; checksums, header layout and
offload are the driver's work.
"""

from __future__ import annotations

from tcpscope.machine import calls
from tcpscope.machine.arrivals import segment_arrives
from tcpscope.machine.fastpath import take_predicted
from tcpscope.machine.icmp import take_icmp
from tcpscope.machine.internet import MOST_OPTION_BYTES, Internet, checked
from tcpscope.machine.options import size_segments
from tcpscope.machine.plan import plan
from tcpscope.machine.profile import RFC, Profile
from tcpscope.machine.receiving import pushed_bytes, urgent_bytes
from tcpscope.machine.status import Status, status_of
from tcpscope.machine.tcb import NEVER, Report, Tcb
from tcpscope.machine.timeouts import arm
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import Segment
from tcpscope.model.state import State


class Connection:
    """One end of a connection."""

    __slots__ = ("tcb",)

    def __init__(
        self,
        local: Endpoint,
        remote: Endpoint | None = None,
        *,
        iss: int,
        profile: Profile = RFC,
        ts_offset_ms: int = 0,
    ) -> None:
        self.tcb = Tcb(local, remote, iss & 0xFFFFFFFF, profile, ts_offset_ms)

    # user calls, §3.9.1

    def open(self, now_ns: int, *, active: bool = True, remote: Endpoint | None = None) -> None:
        """Connect (``active``) or listen. Raises :class:`~tcpscope.machine.calls.CallError`."""
        self.tcb.now_ns = now_ns
        if active:
            calls.open_active(self.tcb, remote)
        else:
            calls.open_passive(self.tcb)

    def send(self, text: bytes, *, push: bool = True, urgent: bool = False) -> int:
        """Queue ``text`` and return how many octets were taken; 0 when the buffer is full."""
        return calls.send(self.tcb, text, push=push, urgent=urgent)

    def receive(self, most_bytes: int = 1 << 30) -> bytes | None:
        """Return up to ``most_bytes``, ``b""`` at the end of file, ``None`` when there is nothing yet."""
        return calls.receive(self.tcb, most_bytes)

    def shutdown(self, now_ns: int) -> None:
        """End our direction once everything is sent (the RFC's CLOSE); reading goes on."""
        self.tcb.now_ns = now_ns
        calls.shutdown(self.tcb)

    def close(self, now_ns: int) -> None:
        """Give up both directions; unread or later text resets the connection."""
        self.tcb.now_ns = now_ns
        calls.close(self.tcb)

    def abort(self, now_ns: int) -> None:
        """Drop the connection and tell the peer by RST."""
        self.tcb.now_ns = now_ns
        calls.abort(self.tcb)

    def flush(self) -> int:
        """Forget text that was queued and not yet sent (FLUSH, MAY-14); return how many octets."""
        return calls.flush(self.tcb)

    def status(self) -> Status:
        """Return state, numbers, timers and counters at this instant."""
        return status_of(self.tcb)

    # the wire

    def receive_segment(self, segment: Segment, now_ns: int) -> None:
        """Take one segment whose checksum was verified. Answers wait for :meth:`poll` (MUST-59)."""
        tcb = self.tcb
        tcb.now_ns = now_ns
        tcb.counters.segments_in += 1
        tcb.last_received_ns = now_ns
        tcb.keepalive_probes = 0
        if tcb.fast_path and take_predicted(tcb, segment, now_ns):
            return
        segment_arrives(tcb, segment, now_ns)
        arm(tcb, now_ns)

    def icmp_error(self, icmp_type: int, code: int, now_ns: int, *, mtu_bytes: int = 0, seq: int | None = None) -> None:
        """Take an ICMP error about a segment of ours numbered ``seq`` (MUST-54)."""
        self.tcb.now_ns = now_ns
        take_icmp(self.tcb, icmp_type, code, mtu_bytes, seq)
        arm(self.tcb, now_ns)

    def poll(self, now_ns: int, budget: int = 64) -> list[Segment]:
        """Return up to ``budget`` segments that should be on the wire now; call until it returns none."""
        tcb = self.tcb
        tcb.now_ns = now_ns
        out: list[Segment] = []
        arm(tcb, now_ns)
        while len(out) < budget:
            step, _ = plan(tcb, now_ns)
            if step is None:
                break
            step(tcb, now_ns, out)
            arm(tcb, now_ns)
        return out

    def next_deadline(self) -> int | None:
        """Return when :meth:`poll` has something to do if nothing comes in; ``None``: never."""
        arm(self.tcb, self.tcb.now_ns)
        _, when_ns = plan(self.tcb, self.tcb.now_ns)
        return None if when_ns == NEVER else when_ns

    def events(self) -> list[Report]:
        """Return what happened since the last call."""
        reports = self.tcb.reports
        self.tcb.reports = []
        return reports

    # settings

    def set_nodelay(self, on: bool) -> None:
        """Turn Nagle's algorithm off (MUST-17)."""
        self.tcb.nodelay = on

    def set_keepalive(
        self, on: bool, *, idle_ns: int = 0, interval_ns: int = 0, count: int = 0, octet: bool = False
    ) -> None:
        """Switch keepalive (MUST-24); 0 leaves a value as it is. Any length is allowed (MUST-27).

        ``octet``: probes carry one octet of garbage, for peers that do not answer empty ones (MAY-6).
        """
        tcb = self.tcb
        tcb.keepalive, tcb.keepalive_octet = on, octet
        tcb.keepalive_idle_ns = idle_ns or tcb.keepalive_idle_ns
        tcb.keepalive_interval_ns = interval_ns or tcb.keepalive_interval_ns
        tcb.keepalive_count = count or tcb.keepalive_count

    def set_user_timeout(self, timeout_ns: int, *, announce: bool = False) -> None:
        """Set R2: how long text may stay unacknowledged (MUST-21); 0 is the profile's default.

        ``announce`` tells the peer with SYN (RFC 5482); without it the peer's announcement is followed.
        """
        self.tcb.user_timeout_ns = timeout_ns
        self.tcb.announces_user_timeout = announce and timeout_ns > 0

    def set_soft_errors(self, on: bool) -> None:
        """Switch the reports of soft errors (SHLD-20)."""
        self.tcb.tells_soft_errors = on

    def set_buffers(self, *, receive_bytes: int = 0, send_bytes: int = 0) -> None:
        """Size the buffers, before the connection is opened for the window scale to follow; 0 leaves one as it is."""
        self.tcb.receive_buffer_bytes = receive_bytes or self.tcb.receive_buffer_bytes
        self.tcb.send_buffer_bytes = send_bytes or self.tcb.send_buffer_bytes

    def set_segment_sizes(self, *, mtu_bytes: int = 0, mss_bytes: int = 0, gso_bytes: int = 0) -> None:
        """Set the link's MTU, the application's MSS limit, and how many octets one offloaded segment may hold."""
        tcb = self.tcb
        if mtu_bytes:
            tcb.link_mtu_bytes = tcb.path_mtu_bytes = mtu_bytes
            tcb.search = None
        tcb.application_mss_bytes = mss_bytes or tcb.application_mss_bytes
        tcb.gso_bytes = gso_bytes or tcb.gso_bytes
        if tcb.irs_known:
            size_segments(tcb)

    def set_internet(self, internet: Internet) -> None:
        """Set what IP is asked for with every segment from now on (MUST-48, MUST-49, MUST-51, SHLD-21).

        Raises UsageError when a value does not fit into an IP header.
        """
        self.tcb.internet = checked(internet._replace(is_route_ours=bool(internet.route)))
        if self.tcb.irs_known:
            size_segments(self.tcb)

    def note_internet(self, dscp: int, route: tuple[str, ...] | None) -> None:
        """Take what IP tells of a segment that came in: its DS field (MAY-9) and the way back by its source route.

        The newest way back is used for everything from now on (MUST-53, SHLD-24) unless the application has named
        one (MUST-52).
        """
        former = self.tcb.internet
        kept = former.route if former.is_route_ours or route is None else route
        if (kept, dscp) == (former.route, former.received_dscp):
            return
        changed = former._replace(route=kept, received_dscp=dscp)
        if changed.option_bytes > MOST_OPTION_BYTES:
            kept = former.route  # no room beside the options the application wants
            changed = changed._replace(route=kept)
        self.tcb.internet = changed
        if kept != former.route and self.tcb.irs_known:
            size_segments(self.tcb)

    # what an application asks often

    @property
    def state(self) -> State:
        """The state."""
        return self.tcb.state

    @property
    def readable_bytes(self) -> int:
        """Octets that :meth:`receive` would return."""
        return self.tcb.inbox_bytes

    @property
    def pushed_bytes(self) -> int:
        """Octets of :attr:`readable_bytes` that the peer has pushed to the reader (MAY-17)."""
        return pushed_bytes(self.tcb)

    @property
    def is_at_end_of_file(self) -> bool:
        """Whether the peer has closed and everything was read (MUST-12: not the same as a reset)."""
        return self.tcb.fin_received and not self.tcb.inbox_bytes

    @property
    def writable_bytes(self) -> int:
        """Octets that :meth:`send` would take."""
        tcb = self.tcb
        return max(0, tcb.send_buffer_bytes - tcb.unsent_bytes - tcb.flight_bytes)

    @property
    def urgent_bytes(self) -> int:
        """Octets up to the end of urgent data (MUST-33)."""
        return urgent_bytes(self.tcb) if self.tcb.irs_known else 0

    @property
    def internet(self) -> Internet:
        """What IP is asked for, and what it told."""
        return self.tcb.internet

    @property
    def error(self) -> str:
        """Why the connection ended, in the RFC's words; empty while it has not failed."""
        return self.tcb.error
