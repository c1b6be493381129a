"""A listener for many: handshakes not finished, connections not accepted, backlog, SYN cookies, deferred accept.

Every handshake is a :class:`~tcpscope.machine.connection.Connection` that goes from LISTEN by the table; what the
table sends back to LISTEN (a reset, a second SYN) vanishes here, for the listener itself never left LISTEN. Both
queues are full when they hold more than ``backlog``, as measured on Linux 6.18; how a full one is met is the profile's.
"""

from __future__ import annotations

from tcpscope.machine.calls import is_valid_remote
from tcpscope.machine.connection import Connection
from tcpscope.machine.internet import DEFAULTS
from tcpscope.machine.isn import (
    check_cookie,
    cookie_for,
    cookie_stamp,
    initial_sequence_number,
    remember,
    timestamp_offset,
)
from tcpscope.machine.moves import reset_for
from tcpscope.machine.profile import RFC, SECOND, Profile
from tcpscope.machine.sequence import HALF, MASK
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import ACK, NO_OPTIONS, RST, SYN, Segment
from tcpscope.model.state import State

_FINISHED = (State.ESTABLISHED, State.CLOSE_WAIT)
_COOKIES_BELIEVED_NS = 128 * SECOND


class Settings:
    """How a listener behaves; times in nanoseconds. ``cookies`` is ``auto`` (when full), ``always`` or ``never``.

    ``incomplete_limit`` is how many handshakes may be under way at once; 0: one more than ``backlog``.
    """

    __slots__ = ("backlog", "cookies", "defer_accept_ns", "incomplete_limit", "mtu_bytes", "receive_bytes")

    def __init__(
        self,
        *,
        backlog: int = 128,
        incomplete_limit: int = 0,
        cookies: str = "auto",
        defer_accept_ns: int = 0,
        mtu_bytes: int = 1500,
        receive_bytes: int = 0,
    ) -> None:
        self.backlog = backlog
        self.incomplete_limit = incomplete_limit or backlog + 1
        self.cookies = cookies
        self.defer_accept_ns = defer_accept_ns
        self.mtu_bytes = mtu_bytes
        self.receive_bytes = receive_bytes


class Listener:
    """One passive OPEN that serves any number of peers. Segments come and go with the remote endpoint beside them."""

    def __init__(
        self, local: Endpoint, *, secret: bytes, profile: Profile = RFC, settings: Settings | None = None
    ) -> None:
        self.local = local
        self.secret = secret
        self.profile = profile
        self.settings = settings or Settings()
        self.mtu_bytes = self.settings.mtu_bytes  #: of the link that leads to the peers
        self.internet = DEFAULTS  #: what its connections ask of IP until they say otherwise
        self.incomplete: dict[Endpoint, Connection] = {}
        self.complete: list[Connection] = []
        self.fresh: list[Connection] = []  #: complete and not yet handed to the host
        self.drops = {"incomplete-queue": 0, "accept-queue": 0, "address": 0, "deferred": 0}
        self.cookies_sent = self.cookies_accepted = self.cookies_refused = 0
        self._born_ns: dict[Endpoint, int] = {}
        self._out: list[tuple[Endpoint, Segment]] = []
        self._cookies_since_ns = -_COOKIES_BELIEVED_NS

    @property
    def is_full(self) -> bool:
        """Whether no further connection fits behind ``accept``."""
        share, whole = self.profile.accept_queue_share
        return len(self.complete) > self.settings.backlog * share // whole

    def receive_segment(self, remote: Endpoint, segment: Segment, now_ns: int, *, iss_above: int | None = None) -> None:
        """Take a segment that belongs to no established connection.

        ``iss_above`` is the highest number that a TIME-WAIT of the same endpoints used (MAY-2).
        """
        if not is_valid_remote(remote):
            self.drops["address"] += 1  # MUST-57, MUST-63
            return
        child = self.incomplete.get(remote)
        if child is not None:
            self._continue(remote, child, segment, now_ns)
        elif segment.flags & (SYN | ACK | RST) == SYN:
            self._begin(remote, segment, now_ns, iss_above)
        elif segment.flags & (SYN | ACK | RST) == ACK and self._accept_cookie(remote, segment, now_ns):
            pass
        else:
            self._answer_as_listener(remote, segment, now_ns)

    def accept(self) -> Connection | None:
        """Hand out the connection that has waited longest, or ``None``."""
        return self.complete.pop(0) if self.complete else None

    def take_fresh(self) -> list[Connection]:
        """Return the connections completed since the last call: from now on the host brings them their segments."""
        fresh, self.fresh = self.fresh, []
        return fresh

    def poll(self, now_ns: int) -> list[tuple[Endpoint, Segment]]:
        """Return what should be on the wire now, with whom it is for."""
        out, self._out = self._out, []
        for remote, child in list(self.incomplete.items()):
            out.extend((remote, segment) for segment in child.poll(now_ns))
            self._settle(remote, child)
        return out

    def next_deadline(self) -> int | None:
        """Return when :meth:`poll` has something to do if nothing comes in."""
        times = [when for child in self.incomplete.values() if (when := child.next_deadline()) is not None]
        return min(times) if times else None

    def close(self, now_ns: int) -> list[tuple[Endpoint, Segment]]:
        """Stop: unfinished and unaccepted connections are reset, as closing a listening socket does."""
        out: list[tuple[Endpoint, Segment]] = []
        for child in (*self.incomplete.values(), *self.complete):
            remote = child.tcb.remote
            if child.state is not State.CLOSED and remote is not None:
                child.abort(now_ns)
                out.extend((remote, segment) for segment in child.poll(now_ns))
        self.incomplete.clear()
        self.complete.clear()
        self.fresh.clear()
        return out

    def _begin(self, remote: Endpoint, segment: Segment, now_ns: int, iss_above: int | None) -> None:
        settings = self.settings
        if self.is_full and self.profile.drops_syn_when_full:
            self.drops["accept-queue"] += 1  # Linux: the client tries again
            return
        if settings.cookies == "always" or len(self.incomplete) >= settings.incomplete_limit:
            if settings.cookies == "never":
                self.drops["incomplete-queue"] += 1
                return
            self._send_cookie(remote, segment, now_ns)
            return
        iss = initial_sequence_number(self.secret, self.local, remote, now_ns)
        if iss_above is not None and (iss - iss_above - 1) & MASK >= HALF:
            iss = (iss_above + 65537) & MASK
        child = self._child(remote, iss)
        child.open(now_ns, active=False)
        child.receive_segment(segment, now_ns)
        self.incomplete[remote] = child
        self._born_ns[remote] = now_ns

    def _child(self, remote: Endpoint, iss: int) -> Connection:
        offset = timestamp_offset(self.secret, self.local, remote)
        child = Connection(self.local, remote, iss=iss, profile=self.profile, ts_offset_ms=offset)
        child.set_segment_sizes(mtu_bytes=self.mtu_bytes)
        child.tcb.internet = self.internet
        child.set_buffers(receive_bytes=self.settings.receive_bytes)
        return child

    def _continue(self, remote: Endpoint, child: Connection, segment: Segment, now_ns: int) -> None:
        if self._is_deferred(remote, segment, now_ns):
            self.drops["deferred"] += 1
            # Linux: SYN|ACK goes again only when the time is over, as a last chance for text or a bare ACK
            child.tcb.deadline_retransmit_ns = self._born_ns[remote] + self.settings.defer_accept_ns
            return
        if segment.flags & (SYN | ACK | RST) == ACK and self.is_full:
            self._overflow(remote, segment)
            return
        child.receive_segment(segment, now_ns)
        self._settle(remote, child)

    def _overflow(self, remote: Endpoint, segment: Segment) -> None:
        """Meet the last step of a handshake for which no place is left: forget it, SYN|ACK goes again; or reset it."""
        self.drops["accept-queue"] += 1
        if self.profile.aborts_on_overflow:
            self._out.extend((remote, answer) for answer in reset_for(segment))
            self.incomplete.pop(remote, None)
            self._born_ns.pop(remote, None)

    def _is_deferred(self, remote: Endpoint, segment: Segment, now_ns: int) -> bool:
        """Whether a bare third ACK is to be forgotten because the server wants to see text first."""
        if not self.settings.defer_accept_ns or segment.payload or segment.flags & (SYN | RST | 0x01):
            return False
        return now_ns - self._born_ns[remote] < self.settings.defer_accept_ns

    def _settle(self, remote: Endpoint, child: Connection) -> None:
        """Move a child on: complete, or gone (back in LISTEN, refused or timed out)."""
        if child.state is State.SYN_RECEIVED:
            return
        self._out.extend((remote, segment) for segment in child.poll(child.tcb.now_ns))
        self.incomplete.pop(remote, None)
        self._born_ns.pop(remote, None)
        if child.state in _FINISHED:
            self.complete.append(child)
            self.fresh.append(child)

    def _answer_as_listener(self, remote: Endpoint, segment: Segment, now_ns: int) -> None:
        """§3.10.7.2 for everything but SYN."""
        listening = Connection(self.local, None, iss=0, profile=self.profile)
        listening.open(now_ns, active=False)
        listening.receive_segment(segment, now_ns)
        self._out.extend((remote, answer) for answer in listening.poll(now_ns))

    def _send_cookie(self, remote: Endpoint, segment: Segment, now_ns: int) -> None:
        """Answer as a child would, with numbers that bring back what was agreed on; keep nothing."""
        syn = remember(segment, timestamps=self.profile.timestamps)
        child = self._child(remote, cookie_for(self.secret, self.local, remote, segment, now_ns))
        child.open(now_ns, active=False)
        child.receive_segment(syn, now_ns)
        (answer,) = child.poll(now_ns)
        if answer.options.timestamp is not None:
            tsval = cookie_stamp(now_ns // 1_000_000, syn) + child.tcb.ts_offset_ms
            options = answer.options._replace(timestamp=(tsval & MASK, answer.options.timestamp[1]))
            answer = answer._replace(options=options)
        self._out.append((remote, answer))
        self.cookies_sent += 1
        self._cookies_since_ns = now_ns

    def _accept_cookie(self, remote: Endpoint, segment: Segment, now_ns: int) -> bool:
        """Let a connection be born from the third step of its handshake; say whether the ACK is done with."""
        if now_ns - self._cookies_since_ns >= _COOKIES_BELIEVED_NS:
            return False
        shown = segment if self.profile.timestamps else segment._replace(options=NO_OPTIONS)
        cookie = check_cookie(self.secret, self.local, remote, shown, now_ns)
        if cookie is None:
            self.cookies_refused += 1
            return False
        if self.is_full:
            self._overflow(remote, segment)
            return True
        child = self._child(remote, cookie.iss)
        sent_ns = cookie.sent_ns or now_ns
        child.open(sent_ns, active=False)
        child.receive_segment(cookie.syn, sent_ns)
        child.poll(sent_ns)  # Why: this SYN|ACK is the one that went out as a cookie
        child.receive_segment(segment, now_ns)
        if not cookie.sent_ns:
            child.tcb.forget_round_trips()
        self.cookies_accepted += 1
        self.incomplete[remote] = child
        self._settle(remote, child)
        return True
