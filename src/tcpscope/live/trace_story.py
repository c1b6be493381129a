"""From what tracepoints told to transitions: who lived how long in which state, and what moved it.

The kernel keeps three kinds of object for one connection: a request socket during the server's handshake, a full
socket, a mini-socket for TIME-WAIT (and an orphan's FIN-WAIT-2). The story joins them by namespace and 4-tuple:

* request born -> LISTEN to SYN_RECEIVED; its child goes on from there; one that dies childless -> CLOSED.
* full socket to CLOSE while a mini-socket was just born -> that mini-socket's state, not CLOSED.
* mini-socket in FIN-WAIT-2 that took a FIN -> TIME_WAIT; its timer -> CLOSED.

Some facts come a few microseconds after the move they explain (the local port of ``connect()``, the reason of a
reset, whether a stopped timer starts again): such a move is held back until they come, at most as long as
:data:`HOLD_NS` says.
Nothing is invented: what no record told is not there, or marked ``inferred``. Memory is bounded by :data:`LIMIT`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from operator import attrgetter

from tcpscope.kernel.bpf import tcp_record as kinds
from tcpscope.live.sockets import spell_address
from tcpscope.live.trace_event import NOTHING, Deduced, Evidence, deduce_event, is_settled
from tcpscope.live.trace_record import ENDS, KernelEvent
from tcpscope.machine.linux import judge
from tcpscope.model.address import Endpoint, Flow
from tcpscope.model.event import Event
from tcpscope.model.socket import Owner
from tcpscope.model.state import State
from tcpscope.model.transition import Transition

#: How long a move waits for the record that explains it, by what it waits for. They follow within microseconds on the
#: same processor, unless the program that calls is put aside in between.
HOLD_NS = {"port": 1_000_000_000, "reset": 50_000_000, "mini": 20_000_000, "request": 20_000_000}
#: How many objects of a kind are remembered; beyond, the oldest are forgotten (and their time in state with them).
LIMIT = 1 << 18
#: How many spelled flows are kept for the records that follow.
_FLOWS = 1 << 13
_WHEN = attrgetter("when_ns")

CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED = State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED
FIN_WAIT_2, TIME_WAIT = State.FIN_WAIT_2, State.TIME_WAIT
#: Linux's number -> state; ``None`` for what is no state (a byte can hold more numbers than there are).
_STATES = tuple(State.from_kernel(number) if 0 < number < 14 else None for number in range(256))
#: Moves that a system call makes: here the task that ran is the one that caused them.
_BY_CALL = frozenset(
    (
        (CLOSED, LISTEN),
        (CLOSED, SYN_SENT),
        (LISTEN, CLOSED),
        (State.ESTABLISHED, State.FIN_WAIT_1),
        (State.CLOSE_WAIT, State.LAST_ACK),
    )
)
#: A reset explains the end of a socket when both come this close together.
_TOGETHER_NS = 1_000_000

#: Move -> ``(legal in RFC 9293, name of the Linux deviation that allows it otherwise)``; staying is legal.
JUDGEMENTS = {
    (before, after): (True, "") if before is after or judge(before, after)[0] else judge(before, after)
    for before in State
    for after in State
}

Key = tuple[int, bytes]


class Life:
    """What is remembered of one kernel object."""

    inode = 0
    received_ns = sent_ns = -_TOGETHER_NS  #: when a reset was received, sent
    sent_reason = ""
    child = False
    opened_actively = False

    def __init__(self, key: Key, flow: Flow, state: State, since_ns: int | None, owner: Owner | None = None) -> None:
        self.key = key
        self.flow = flow
        self.state = state
        self.since_ns = since_ns
        self.owner = owner

    def evidence(self, now_ns: int, error: int = 0) -> Evidence:
        """Return what belongs to an end at ``now_ns``."""
        received = now_ns - self.received_ns < _TOGETHER_NS
        reason = self.sent_reason if now_ns - self.sent_ns < _TOGETHER_NS else ""
        return Evidence(error, received, reason) if error or received or reason else NOTHING


class Story:
    """Feed it kernel events in the order of the ring; take transitions.

    ``owner_of(inode)`` names the holder of a socket or ``None``; ``reasons`` spells reset reasons; ``epoch_ns`` is
    added to the kernel's monotonic clock; ``source`` goes into every transition. Without ``sees_requests`` a handshake
    is told when it completes.
    """

    def __init__(
        self,
        owner_of: Callable[[int], Owner | None] = lambda inode: None,
        reasons: dict[int, str] | None = None,
        epoch_ns: int = 0,
        source: str = "bpf",
        sees_requests: bool = True,
    ) -> None:
        self._owner_of = owner_of
        self._reasons = reasons or {}
        self._epoch_ns = epoch_ns
        self._source = source
        self._sees_requests = sees_requests
        #: At least so many moves were made that no record told: sockets that were not where the last one had left them.
        self.untold = 0
        self._sockets: dict[int, Life] = {}
        self._requests: dict[int, Life] = {}
        self._handshakes: dict[Key, Life] = {}
        self._minis: dict[int, Life] = {}
        self._stopped: dict[Key, int] = {}  # mini-sockets whose timer was stopped last
        self._newborn: dict[Key, Life] = {}  # mini-sockets whose full socket has not said goodbye yet
        self._held: dict[str, dict[int, Transition]] = {name: {} for name in HOLD_NS}  # by what it waits for, object
        self._listeners: dict[int, Owner] = {}  # who called listen(), by inode: requests name their listener
        self._flows: dict[tuple[int, bytes], Flow] = {}
        self._out: list[Transition] = []
        self._handlers: dict[int, Callable[[KernelEvent], None]] = {
            kinds.STATE: self._on_state,
            kinds.SYN_SENT_FROM: self._on_port,
            kinds.REQUEST_STARTED: self._on_request_started,
            kinds.REQUEST_STOPPED: self._on_request_stopped,
            kinds.REQUEST_EXPIRED: self._on_request_stopped,
            kinds.MINI_STARTED: self._on_mini_started,
            kinds.MINI_STOPPED: self._on_mini_stopped,
            kinds.MINI_EXPIRED: self._on_mini_expired,
            kinds.MINI_SEGMENT: self._on_mini_segment,
            kinds.RESET_SENT: self._on_reset_sent,
            kinds.RESET_RECEIVED: self._on_reset_received,
            kinds.RETRANSMITTED: self._on_retransmitted,
        }

    def feed(self, events: Iterable[KernelEvent]) -> None:
        """Take events in."""
        handlers = self._handlers
        for event in events:
            handler = handlers.get(event.kind)
            if handler is not None:
                handler(event)

    @property
    def is_holding(self) -> bool:
        """Whether a move waits for what explains it."""
        return any(self._held.values())

    def take(self, now_ns: int | None = None) -> list[Transition]:
        """Return the transitions that are ready, in the order of their time; ``None`` releases all that is held.

        ``now_ns`` is on the kernel's monotonic clock.
        """
        for what, held in self._held.items():
            limit_ns = None if now_ns is None else now_ns + self._epoch_ns - HOLD_NS[what]
            for address in [one for one, move in held.items() if limit_ns is None or move.when_ns < limit_ns]:
                self._release(what, address)
        for table in (self._sockets, self._requests, self._handshakes, self._minis, self._newborn, self._listeners):
            _forget_oldest(table)
        ready, self._out = self._out, []
        ready.sort(key=_WHEN)
        return ready

    # full sockets

    def _on_state(self, event: KernelEvent) -> None:
        before, after = _STATES[event.before], _STATES[event.after]
        if before is None or after is None or before is after:  # Linux: close() after shutdown() sets the state again
            return
        if before is LISTEN and after is SYN_RECEIVED:
            self._on_child(event)
            return
        life = self._sockets.get(event.address)
        if life is None or life.state is not before or life.key != (event.netns, event.ends) or before is CLOSED:
            life = self._life(event, before)
        if after is CLOSED:
            self._on_closed(event, life, before)
            return
        if before is CLOSED:
            life.opened_actively = after is SYN_SENT
        deduced = deduce_event(before, after)
        if before is SYN_RECEIVED and life.opened_actively and after is State.ESTABLISHED:
            deduced = Event.SYN_ACK, ""
        move = self._move(event, life, before, after, deduced)
        life.state, life.since_ns = after, event.t_ns
        if after is LISTEN and move.by is not None:
            self._listeners[event.inode] = move.by
        if after is SYN_SENT and not event.local_port:
            self._held["port"][event.address] = move  # Linux: connect() changes the state before it picks a port
        else:
            self._out.append(move)

    def _life(self, event: KernelEvent, before: State) -> Life:
        """Return what is known of the socket, brought up to date with the addresses of ``event``."""
        life = self._sockets.get(event.address)
        self._note_gap(life, before)
        if life is None or before is CLOSED:
            self._end_of_namesake("reset", event.address)
            life = Life(event.key, self._flow(event), before, None)
            self._sockets[event.address] = life
        elif life.key != event.key and event.local_port:
            life.key, life.flow = event.key, self._flow(event)
            if event.address in self._held["port"]:
                self._on_port(event)
        if life.state is not before:
            life.state, life.since_ns = before, None
        return life

    def _note_gap(self, life: Life | None, now: State) -> None:
        """Count what was missed when a socket whose state a record told is in another one, or is a new socket by now.

        Why since_ns: it is known from the first move told on, and not after a gap that was counted.
        """
        if life is not None and life.since_ns is not None and life.state is not now:
            self.untold += 1

    def _on_child(self, event: KernelEvent) -> None:
        """The last ACK of a handshake made a socket of a request: the state began with the request."""
        self._note_gap(self._sockets.get(event.address), CLOSED)
        self._end_of_namesake("reset", event.address)
        life = Life(event.key, self._flow(event), SYN_RECEIVED, None)
        self._sockets[event.address] = life
        request = self._handshakes.get(event.key)
        if request is not None:
            request.child = True
            life.since_ns, life.owner = request.since_ns, request.owner
            return
        cause = "seen at the last ACK only: SYN cookie, Fast Open, or begun before this trace"
        deduced = Event.SYN, cause if self._sees_requests else ""
        move = self._move(event, life, LISTEN, SYN_RECEIVED, deduced)
        self._out.append(move._replace(certainty="inferred", latest_ns=move.when_ns))

    def _on_closed(self, event: KernelEvent, life: Life, before: State) -> None:
        self._sockets.pop(event.address, None)
        mini = self._newborn.pop(life.key, None) or self._newborn.pop(event.key, None)
        if mini is not None:
            self._become_mini(event, life, before, mini)
            return
        evidence = life.evidence(event.t_ns, event.error)
        deduced = deduce_event(before, CLOSED, evidence)
        move = self._move(event, life, before, CLOSED, deduced)
        if event.address in self._held["port"]:
            self._release("port", event.address)
            if not event.error:
                move = move._replace(cause="connect() found no local port, or was refused before the SYN")
        if is_settled(before, CLOSED, evidence):
            self._out.append(move)
        else:
            self._held["reset"][event.address] = move

    def _become_mini(self, event: KernelEvent, life: Life, before: State, mini: Life) -> None:
        """Linux: the full socket goes to CLOSE, its mini-socket goes on; the connection is in the latter's state."""
        mini.owner = self._owner(event, life, before, mini.state) or mini.owner
        if mini.state is before:
            mini.since_ns = life.since_ns
            return
        deduced = deduce_event(before, mini.state)
        self._out.append(self._move(event, life, before, mini.state, deduced, mini.since_ns or event.t_ns))

    def _on_port(self, event: KernelEvent) -> None:
        """The first SYN goes out: now the connection has its local port."""
        self._end_of_predecessor(event)
        life = self._sockets.get(event.address)
        held = self._held["port"].pop(event.address, None)
        if life is not None and held is not None:
            life.key, life.flow = event.key, self._flow(event)
            self._out.append(Transition._make((life.flow, *held[1:])))

    # handshakes

    def _on_request_started(self, event: KernelEvent) -> None:
        known = self._requests.get(event.address)
        if known is not None and known.key == event.key:
            self._held["request"].pop(event.address, None)  # SYN|ACK again: the timer only starts anew
            return
        self._end_of_namesake("request", event.address)
        began_before = event.detail >> 1 > 0  # it has timed out before we ever saw it
        life = Life(event.key, self._flow(event), SYN_RECEIVED, None)
        life.owner = self._owner_of(event.inode) or self._listeners.get(event.inode)
        self._requests[event.address] = life
        self._handshakes[event.key] = life
        if began_before:
            return
        reopened = self._end_of_predecessor(event)
        before, found = (TIME_WAIT, Event.SYN_REOPENS) if reopened else (LISTEN, Event.SYN)
        move = self._move(event, life, before, SYN_RECEIVED, (found, ""))
        self._out.append(move._replace(in_state_ns=reopened.in_state_ns) if reopened else move)
        life.since_ns = event.t_ns

    def _on_request_stopped(self, event: KernelEvent) -> None:
        life = self._requests.get(event.address)
        if life is None or life.key != event.key:
            return
        if life.child:
            self._forget_request(event.address)
            return
        expired = event.kind == kinds.REQUEST_EXPIRED
        gone = "its SYN|ACKs were not answered in time, or its listener is gone"
        stopped = "reset by the peer, or dropped to make room"
        deduced = (Event.USER_TIMEOUT, gone) if expired else (None, stopped)
        self._held["request"][event.address] = self._move(event, life, SYN_RECEIVED, CLOSED, deduced)

    def _forget_request(self, address: int) -> None:
        life = self._requests.pop(address, None)
        if life is not None and self._handshakes.get(life.key) is life:
            del self._handshakes[life.key]

    # mini-sockets

    def _on_mini_started(self, event: KernelEvent) -> None:
        state = _STATES[event.after]
        known = self._minis.get(event.address)
        if state is None:
            return
        if known is not None and known.key == event.key:
            self._held["mini"].pop(event.address, None)
            self._on_mini_segment(event)
            return
        self._end_of_namesake("mini", event.address)
        life = Life(event.key, self._flow(event), state, event.t_ns)
        self._minis[event.address] = life
        self._newborn[event.key] = life

    def _on_mini_segment(self, event: KernelEvent) -> None:
        """A segment was taken by a mini-socket: a FIN turns FIN-WAIT-2 into TIME-WAIT."""
        life, state = self._minis.get(event.address), _STATES[event.after]
        held = self._held["mini"].get(event.address)
        if life is None or life.key != event.key:
            return
        if held is not None:  # the segment that made it stop
            if held.event is not None:
                return
            self._held["mini"][event.address] = held._replace(event=Event.RST, cause="reset by the peer")
        elif life.state is FIN_WAIT_2 and state is TIME_WAIT:
            self._out.append(self._move(event, life, FIN_WAIT_2, TIME_WAIT, (Event.FIN, "")))
            life.state, life.since_ns = TIME_WAIT, event.t_ns

    def _on_mini_stopped(self, event: KernelEvent) -> None:
        life = self._mini(event)
        deduced: Deduced = (None, "ended early: its namespace ended or another took its place")
        evidence = life.evidence(event.t_ns)
        if evidence is not NOTHING:
            deduced = deduce_event(life.state, CLOSED, evidence)
        self._held["mini"][event.address] = self._move(event, life, life.state, CLOSED, deduced)
        self._stopped[event.key] = event.address

    def _on_mini_expired(self, event: KernelEvent) -> None:
        self._held["mini"].pop(event.address, None)
        life = self._mini(event)
        state = _STATES[event.after] or life.state
        if life.state is FIN_WAIT_2 and state is TIME_WAIT:
            unseen = self._move(event, life, FIN_WAIT_2, TIME_WAIT, (Event.FIN, "the FIN itself was not seen"))
            earliest = None if life.since_ns is None else life.since_ns + self._epoch_ns
            self._out.append(unseen._replace(certainty="inferred", earliest_ns=earliest, latest_ns=unseen.when_ns))
            life.since_ns = None
        found = Event.TIME_WAIT_TIMEOUT if state is TIME_WAIT else Event.FIN_WAIT_2_TIMEOUT
        self._out.append(self._move(event, life, state, CLOSED, (found, "")))
        self._forget_mini(event.address)

    def _mini(self, event: KernelEvent) -> Life:
        """Return the mini-socket's life; one that is older than this trace begins with this event."""
        life = self._minis.get(event.address)
        if life is None or life.key != event.key:
            life = Life(event.key, self._flow(event), _STATES[event.after] or TIME_WAIT, None)
            self._minis[event.address] = life
        return life

    def _forget_mini(self, address: int) -> None:
        life = self._minis.pop(address, None)
        if life is not None:
            self._stopped.pop(life.key, None)
            if self._newborn.get(life.key) is life:
                del self._newborn[life.key]

    def _end_of_predecessor(self, event: KernelEvent) -> Transition | None:
        """A new connection has the 4-tuple of a mini-socket that was just stopped: that is why.

        Returns the end that a SYN replaced (the new handshake takes its place), or ``None``.
        """
        if not self._stopped:
            return None
        address = self._stopped.pop(event.key, 0)
        life = self._minis.get(address)
        move = self._held["mini"].get(address)
        if move is None or life is None or life.key != event.key:
            return None
        del self._held["mini"][address]
        self._forget_mini(address)
        if event.kind == kinds.REQUEST_STARTED:
            return move
        self._out.append(move._replace(event=None, cause="connect() took the port again (tcp_tw_reuse)"))
        return None

    # resets and retransmissions

    def _on_reset_sent(self, event: KernelEvent) -> None:
        reason = self._reasons.get(event.detail, "") or f"REASON_{event.detail}"
        held = self._held["reset"].pop(event.address, None)
        if held is not None:
            found, cause = deduce_event(held.before, CLOSED, Evidence(event.error, False, reason))
            self._out.append(held._replace(event=found, cause=cause))
            return
        life = self._sockets.get(event.address) or self._minis.get(event.address)
        if life is None and _STATES[event.before] not in (None, CLOSED, TIME_WAIT):
            life = self._life(event, _STATES[event.before] or CLOSED)
        if life is not None:
            life.sent_reason, life.sent_ns = reason, event.t_ns

    def _on_reset_received(self, event: KernelEvent) -> None:
        life, state = self._sockets.get(event.address), _STATES[event.before]
        if life is None and state is not None and state is not CLOSED:
            life = self._life(event, state)
        if life is not None:
            life.received_ns = event.t_ns

    def _on_retransmitted(self, event: KernelEvent) -> None:
        state = _STATES[event.before]
        if state is not None:
            life = self._life(event, state)
            self._out.append(self._move(event, life, state, state, (Event.RETRANSMISSION_TIMEOUT, "retransmission")))

    # making words

    def _end_of_namesake(self, what: str, address: int) -> None:
        """A new object has the address of one whose end is held back: nothing will explain that end any more."""
        if address in self._held[what]:
            self._release(what, address)

    def _release(self, what: str, address: int) -> None:
        self._out.append(self._held[what].pop(address))
        if what == "mini":
            self._forget_mini(address)
        elif what == "request":
            self._forget_request(address)

    def _move(
        self, event: KernelEvent, life: Life, before: State, after: State, deduced: Deduced, t_ns: int = 0
    ) -> Transition:
        legal, deviation = JUDGEMENTS[before, after]
        since_ns = life.since_ns
        found, cause = deduced
        # Why tuple.__new__: made for every line, at a quarter of the class's price; in the order of its fields
        return tuple.__new__(Transition, (
            life.flow, "local", before, found, after, (t_ns or event.t_ns) + self._epoch_ns,
            self._owner(event, life, before, after), self._source, "seen", legal, deviation,
            None if since_ns is None else event.t_ns - since_ns, None, None, None, event.netns, cause,
        ))  # fmt: skip

    def _owner(self, event: KernelEvent, life: Life, before: State, after: State) -> Owner | None:
        """Who holds the socket: by inode, else who held it, else the caller when a system call made the move."""
        inode = event.inode
        found = self._owner_of(inode) if inode else None
        if found is None:
            if life.owner is None:
                if (before, after) not in _BY_CALL:
                    life.inode = inode or life.inode
                    return None
                found = Owner(event.tgid, event.comm.partition(b"\0")[0].decode("utf-8", "replace"))
            elif inode and inode != life.inode:
                found = life.owner._replace(fd=-1)  # accepted: no longer the listener's descriptor
            else:
                return life.owner
        life.owner, life.inode = found, inode or life.inode
        return found

    def _flow(self, event: KernelEvent) -> Flow:
        ends = event.family, event.ends
        flow = self._flows.get(ends)
        if flow is None:
            if len(self._flows) >= _FLOWS:
                self._flows.clear()
            flow = self._flows[ends] = _read_flow(*ends)
        return flow


def _read_flow(family: int, ends: bytes) -> Flow:
    local_port, remote_port, local, remote = ENDS.unpack(ends)
    here = Endpoint._make((spell_address(family, local), local_port))
    return Flow._make((here, Endpoint._make((spell_address(family, remote), remote_port)), "tcp"))


def _forget_oldest(table: dict[int, Life] | dict[Key, Life] | dict[int, Owner]) -> None:
    """Keep a table bounded: an eighth of the oldest goes when it is full."""
    if len(table) > LIMIT:
        for name in list(islice(table, len(table) - LIMIT + LIMIT // 8)):
            del table[name]  # type: ignore[arg-type]  # each table with its own keys
