"""``Look``: what the rules read. Two snapshots grouped once, so that 200 000 sockets cost one pass and not one per rule.

It answers questions every rule has: sockets by state, whose a socket is, its other end if that is visible too, the
same socket a moment ago, the rate of a counter, a setting as a number, how long a socket has been in its state. It
judges nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from tcpscope.doctor import ages
from tcpscope.doctor.thresholds import Thresholds
from tcpscope.model.address import Endpoint
from tcpscope.model.history import History
from tcpscope.model.snapshot import Process, Snapshot
from tcpscope.model.socket import Age, Owner, Socket
from tcpscope.model.state import State

Key = TypeVar("Key")
_NONE: tuple[Socket, ...] = ()


class Look:
    """One namespace at one time, and a moment before. Construction is one pass over the sockets."""

    def __init__(
        self,
        snapshot: Snapshot,
        previous: Snapshot | None = None,
        *,
        history: History | None = None,
        thresholds: Thresholds | None = None,
        others: Sequence[Snapshot] = (),
        wanted_ports: Collection[int] = (),
        place: str = "",
    ) -> None:
        self.snapshot = snapshot
        self.previous = previous
        self.history = history or History()
        self.thresholds = thresholds or Thresholds()
        self.others = others
        self.wanted_ports = frozenset(wanted_ports)
        self.place = place
        self.elapsed_s = _elapsed_s(snapshot, previous)
        self.states: dict[State, list[Socket]] = defaultdict(list)
        self.has_inodes = False
        self.has_backlogs = False
        self._group()
        self.listeners = self.states[State.LISTEN]
        self.listeners_by_port = group(self.listeners, lambda socket: socket.local.port)
        self.total = sum(map(len, self.states.values()))
        self._before: dict[object, Socket] | None = None
        self._tells_cookies = self._tells_inodes = True
        self._ends: dict[tuple[Endpoint, Endpoint], Socket] | None = None
        self._own: frozenset[str] | None = None
        self._silent: list[Socket] | None = None
        self._quiet: dict[float, list[Socket]] = {}
        self._here: tuple[Process, ...] | None = None
        self._held: dict[int, list[Socket]] | None = None
        self._unaccepted: dict[int, list[Socket]] | None = None

    def _group(self) -> None:
        states = self.states
        for socket in self.snapshot.sockets:
            if socket.proto[:3] == "tcp":
                states[socket.state].append(socket)
        for bucket in states.values():
            if any(socket.inode for socket in bucket):
                self.has_inodes = True
                break
        self.has_backlogs = any(socket.backlog is not None for socket in states[State.LISTEN])

    def limit_of(self, name: str) -> float:
        """Return a threshold."""
        return self.thresholds[name]

    @property
    def processes(self) -> Sequence[Process]:
        """The processes of this namespace, and those of others that hold a socket of it."""
        if self._here is None:
            netns = self.snapshot.netns
            strangers = [one for one in self.snapshot.processes.values() if netns and one.netns not in (0, netns)]
            holders = {owner.pid for one in self.snapshot.sockets for owner in one.owners} if strangers else set()
            away = {one.pid for one in strangers if one.pid not in holders}
            self._here = tuple(one for pid, one in self.snapshot.processes.items() if pid not in away)
        return self._here

    @property
    def unaccepted(self) -> dict[int, list[Socket]]:
        """Connections no accept() has taken yet, by local port."""
        if self._unaccepted is None:
            both = self.states[State.ESTABLISHED] + self.states[State.CLOSE_WAIT]
            waiting = [socket for socket in both if not socket.inode and self.is_unaccepted(socket)]
            self._unaccepted = group(waiting, lambda socket: socket.local.port)
        return self._unaccepted

    def held_by(self, pid: int) -> Sequence[Socket]:
        """Return the TCP sockets a process holds; all processes are sorted out in one pass."""
        if self._held is None:
            self._held = {}
            for bucket in self.states.values():
                for socket in bucket:
                    for owner in socket.owners:
                        self._held.setdefault(owner.pid, []).append(socket)
        return self._held.get(pid, _NONE)

    # whose, and the other end

    def process(self, owner: Owner) -> Process | None:
        """Return what is known about an owner."""
        return self.snapshot.processes.get(owner.pid)

    def runtime(self, socket: Socket) -> str:
        """Return the language or program family of the (first) owner, or an empty text."""
        for owner in socket.owners:
            process = self.process(owner)
            if process and process.runtime:
                return process.runtime
        return ""

    def whose(self, socket: Socket) -> str:
        """``java (2215)``, ``nginx (12) and 3 more``, or what is known when nobody can be named."""
        return self.whose_all((socket,))

    def whose_all(self, sockets: Iterable[Socket]) -> str:
        """Spell the holders of several sockets: one by name, and how many more there are."""
        holders = {owner.pid: owner.name for socket in sockets for owner in socket.owners}
        if not holders:
            return "a process that could not be seen"
        first, more = min(holders), len(holders) - 1
        return f"{holders[first] or 'process'} ({first})" + (f" and {more} more" if more else "")

    def is_server_side(self, socket: Socket) -> bool:
        """Whether a listener here has this socket's port."""
        return socket.local.port in self.listeners_by_port

    def is_unaccepted(self, socket: Socket) -> bool:
        """Whether no accept() has taken it yet; only where the source tells inodes at all."""
        return self.has_inodes and socket.is_unaccepted

    def is_own(self, address: str) -> bool:
        """Whether an address is one of this host's (as far as its sockets show)."""
        if self._own is None:
            seen: set[str] = set()
            for bucket in self.states.values():
                seen.update(socket.local.address for socket in bucket)
            self._own = frozenset(Endpoint(address, 0).unmapped for address in seen)
        return address.startswith("127.") or address == "::1" or Endpoint(address, 0).unmapped in self._own

    def other_end(self, socket: Socket) -> Socket | None:
        """Return the socket at the other end, when this snapshot or another one shows it."""
        if self._ends is None:
            self._ends = {}
            for source in (self.snapshot, *self.others):
                for one in source.sockets:
                    if one.remote.port and one.proto[:3] == "tcp":
                        self._ends[one.local, one.remote] = one
        for local, remote in _spellings(socket.remote, socket.local):
            found = self._ends.get((local, remote))
            if found is not None and found is not socket:
                return found
        return None

    def listener_at(self, end: Endpoint) -> Socket | None:
        """Return a visible listener that serves this address and port, here or in another snapshot."""
        for listener in self.listeners_by_port.get(end.port, _NONE):
            if listener.local.unmapped == end.unmapped or (listener.local.is_wildcard and self.is_own(end.address)):
                return listener
        for other in self.others:
            for one in other.sockets:
                if one.state != State.LISTEN or one.local.port != end.port:
                    continue
                if one.local.unmapped == end.unmapped or (one.local.is_wildcard and has_address(other, end.unmapped)):
                    return one
        return None

    # then and now

    def before(self, socket: Socket) -> Socket | None:
        """Return the same socket in the previous look."""
        if self.previous is None:
            return None
        if self._before is None:
            # Why: netstat's dump, then one of ss: what only one of them tells is no difference between sockets.
            looks = (self.previous.sockets, self.snapshot.sockets)
            self._tells_cookies = all(any(one.cookie for one in sockets) for sockets in looks)
            self._tells_inodes = all(any(one.inode > 0 for one in sockets) for sockets in looks)
            self._before = {self._identity(one): one for one in self.previous.sockets}
        return self._before.get(self._identity(socket))

    def _identity(self, socket: Socket) -> object:
        if self._tells_cookies and socket.cookie:
            return socket.cookie
        return socket.proto, socket.local, socket.remote, socket.inode if self._tells_inodes else 0

    def age(self, socket: Socket) -> Age:
        """Return the best that is known about the time in this state."""
        if socket.age.known == "exact":
            return socket.age
        bound = max(socket.age.ms if socket.age.known == "bound" else 0, self._remembered_ms(socket))
        bound = max(bound, ages.bound_ms(socket, self.setting("net.ipv4.tcp_fin_timeout", 60) * 1000))
        if self.previous is not None and self.elapsed_s > 0:
            earlier = self.before(socket)
            if earlier is not None and earlier.state == socket.state:
                bound = max(bound, int(self.elapsed_s * 1000))
        # Why: a state entered this very millisecond is young, not of unknown age.
        is_known = bound or socket.age.known == "bound" or ages.tells_age(socket)
        return Age(bound, "bound" if is_known else "unknown")

    def _remembered_ms(self, socket: Socket) -> int:
        if not socket.cookie or not self.history.sightings:
            return 0
        sighting = self.history.sightings.get((socket.netns or self.snapshot.netns, socket.cookie, int(socket.state)))
        return max(0, (self.snapshot.taken_ns - sighting.first_ns) // 1_000_000) if sighting else 0

    def older_than(self, sockets: Iterable[Socket], seconds: float) -> tuple[list[Socket], list[Socket]]:
        """Split into those at least so old, and those whose age nobody knows. Younger ones are left out."""
        old, unknown = [], []
        for socket in sockets:
            age = self.age(socket)
            if age.known == "unknown":
                unknown.append(socket)
            elif age.ms >= seconds * 1000:
                old.append(socket)
        return old, unknown

    def oldest_ms(self, sockets: Iterable[Socket]) -> int:
        """Return the greatest known age."""
        return max((self.age(socket).ms for socket in sockets), default=0)

    def delta(self, counter: str) -> int | None:
        """Return how much a counter grew between the looks; ``None`` when that cannot be said."""
        if self.previous is None or self.elapsed_s <= 0:
            return None
        now, then = self.snapshot.counters.get(counter), self.previous.counters.get(counter)
        if now is None or then is None or now < then:
            return None
        return now - then

    def rate(self, counter: str) -> float | None:
        """Return a counter's growth per second between the looks."""
        grown = self.delta(counter)
        return None if grown is None else grown / self.elapsed_s

    def trend_name(self, name: str) -> str:
        """Return the name under which a number of this namespace is remembered."""
        return f"{name}@{self.snapshot.place}" if self.snapshot.place else name

    def setting(self, name: str, default: int) -> int:
        """Return a sysctl as a number, or the kernel's default when it is not known."""
        return self.known_setting(name, default) or 0

    def known_setting(self, name: str, default: int | None = None) -> int | None:
        """Return a sysctl as a number, or ``default`` when it is not known."""
        text = self.snapshot.sysctls.get(name, "").strip()
        return int(text) if text.lstrip("-").isdecimal() else default

    def settings(self, name: str) -> tuple[int, ...]:
        """Return a sysctl of several numbers, empty when it is not known."""
        words = self.snapshot.sysctls.get(name, "").split()
        return tuple(map(int, words)) if all(word.isdecimal() for word in words) else ()

    def established_silent(self) -> list[Socket]:
        """Return established sockets that wait for an acknowledgement or that have data queued: a single pass."""
        if self._silent is None:
            self._silent = [socket for socket in self.states[State.ESTABLISHED] if socket.send_q]
        return self._silent

    def established_quiet(self, least_ms: float) -> list[Socket]:
        """Return established sockets that heard nothing for ``least_ms``, have nothing queued and no timer: one pass."""
        if least_ms not in self._quiet:
            self._quiet[least_ms] = [one for one in self.states[State.ESTABLISHED] if _is_quiet(one, least_ms)]
        return self._quiet[least_ms]


def _is_quiet(socket: Socket, least_ms: float) -> bool:
    info = socket.tcp_info
    return info is not None and info.last_ack_recv_ms >= least_ms and not socket.send_q and socket.timer is None


def has_address(snapshot: Snapshot, address: str) -> bool:
    """Whether an interface of this host is known to have the address."""
    return any(one.split("/")[0] == address for interface in snapshot.interfaces for one in interface.addresses)


def group(sockets: Iterable[Socket], key: Callable[[Socket], Key]) -> dict[Key, list[Socket]]:
    """Group sockets by a key, in order of first appearance."""
    groups: dict[Key, list[Socket]] = {}
    for socket in sockets:
        groups.setdefault(key(socket), []).append(socket)
    return groups


def holders_of(socket: Socket) -> tuple[int, ...]:
    """Return the pids that hold it."""
    return tuple(sorted({owner.pid for owner in socket.owners}))


def _elapsed_s(snapshot: Snapshot, previous: Snapshot | None) -> float:
    return 0.0 if previous is None else max(0.0, (snapshot.taken_ns - previous.taken_ns) / 1e9)


def _spellings(local: Endpoint, remote: Endpoint) -> Iterator[tuple[Endpoint, Endpoint]]:
    """A connection through a dual-stack listener is v4-mapped on one side only."""
    yield local, remote
    if local.is_ipv6:
        yield Endpoint(local.unmapped, local.port), Endpoint(remote.unmapped, remote.port)
    else:
        yield Endpoint(f"::ffff:{local.address}", local.port), Endpoint(f"::ffff:{remote.address}", remote.port)
