"""Tier C of ``trace``: look at all sockets again and again, and hear of those that are destroyed.

Works without any privilege. What it cannot know it says: every move is ``inferred`` and bounded by two looks
(``earliest_ns``, ``latest_ns``); states passed through between two looks are not made up, the move then goes straight
to what was seen and says so; a connection that lived and died between two looks is counted as lost.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable

from tcpscope.kernel.namespaces import own_inode
from tcpscope.kernel.sock_destroy import open_announcements, read_announcements
from tcpscope.live.listing import read_listing
from tcpscope.live.sockets import spell_address
from tcpscope.live.trace_event import deduce_event
from tcpscope.live.trace_owners import OwnerTable
from tcpscope.live.trace_story import JUDGEMENTS
from tcpscope.machine.lifecycle import EDGES
from tcpscope.model.address import Endpoint, Flow
from tcpscope.model.errors import Unsupported
from tcpscope.model.record import NamedTuple
from tcpscope.model.socket import Owner
from tcpscope.model.state import State
from tcpscope.model.transition import Transition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tcpscope.model.row import Row

SHORTEST_S = 0.1
#: A look may take at most one tenth of the time.
_SHARE = 10
_TW_MASK_STATES = (State.FIN_WAIT_2, State.TIME_WAIT)
UNSEEN_STEPS = "steps in between were not seen"

Key = tuple[int, int, int, bytes, bytes]


class Sight(NamedTuple):
    """One socket as it was seen; ``since_ns`` is ``None`` when it was there before the trace."""

    state: State
    cookie: int
    owner: Owner | None
    since_ns: int | None


class Comparison:
    """Turns successive looks into transitions; pure but for the owners it asks for."""

    def __init__(self, netns: int, owner_of: OwnerTable | None = None) -> None:
        self._netns = netns
        self._owner_of = owner_of
        self._seen: dict[Key, Sight] | None = None
        self._looked_ns = 0
        self.unseen_lives = 0

    def look(self, rows: Iterable[Row], destroyed: dict[Key, int], now_ns: int) -> list[Transition]:
        """Compare with the look before; ``destroyed`` holds the announced ends since then, by key, with their time."""
        before = self._seen
        seen: dict[Key, Sight] = {}
        moves: list[Transition] = []
        for row in rows:
            key = row[1], row[5], row[6], row[7], row[8]
            old = None if before is None else before.get(key)
            sight = self._sight(row, old, now_ns, is_first=before is None)
            seen[key] = sight
            if before is not None:
                moves += self._compare(key, old, sight, destroyed.get(key), now_ns)
        if before is not None:
            for key, old in before.items():
                if key not in seen:
                    moves.append(self._move(key, old, State.CLOSED, destroyed.get(key), now_ns))
            self.unseen_lives += sum(key not in before and key not in seen for key in destroyed)
        self._seen, self._looked_ns = seen, now_ns
        return sorted(moves, key=lambda move: move.when_ns)

    def _sight(self, row: Row, old: Sight | None, now_ns: int, is_first: bool) -> Sight:
        state = State.from_kernel(row[2])
        owner = self._owner_of(row[15]) if self._owner_of is not None and row[15] else None
        if owner is None and old is not None:
            owner = old.owner
        unchanged = old is not None and old.state is state
        since = old.since_ns if old is not None and unchanged else None if is_first else now_ns
        return Sight(state, row[10], owner, since)

    def _compare(
        self, key: Key, old: Sight | None, new: Sight, destroyed_ns: int | None, now_ns: int
    ) -> list[Transition]:
        if old is None:
            start = State.LISTEN if new.state is State.SYN_RECEIVED else State.CLOSED
            return [self._move(key, new._replace(state=start, since_ns=None), new.state, None, now_ns)]
        if _is_other_life(old, new):
            birth = self._move(key, new._replace(state=State.CLOSED, since_ns=None), new.state, None, now_ns)
            return [self._move(key, old, State.CLOSED, destroyed_ns, now_ns), birth]
        if old.state is new.state:
            return []
        return [self._move(key, old, new.state, destroyed_ns, now_ns)]

    def _move(self, key: Key, old: Sight, after: State, destroyed_ns: int | None, now_ns: int) -> Transition:
        before = old.state
        when_ns = now_ns if destroyed_ns is None else destroyed_ns
        is_step = (before, after) in EDGES
        event = deduce_event(before, after)[0] if is_step else None
        legal, deviation = JUDGEMENTS[before, after] if is_step else (True, "")
        return Transition(
            flow=_flow(key),
            end="local",
            before=before,
            event=event,
            after=after,
            when_ns=when_ns,
            by=old.owner,
            source="poll" if destroyed_ns is None else "destroy",
            certainty="inferred",
            legal=legal,
            deviation=deviation,
            in_state_ns=None if old.since_ns is None else when_ns - old.since_ns,
            earliest_ns=self._looked_ns,
            latest_ns=when_ns,
            netns=self._netns,
            cause="" if is_step else UNSEEN_STEPS,
        )


def _is_other_life(old: Sight, new: Sight) -> bool:
    """Whether the same addresses belong to another connection now. A mini-socket has a cookie of its own."""
    if new.state not in _reachable(old.state):
        return True
    return bool(old.cookie and new.cookie and old.cookie != new.cookie) and new.state not in _TW_MASK_STATES


_reached: dict[State, frozenset[State]] = {}


def _reachable(state: State) -> frozenset[State]:
    """Return the states one life can reach from ``state``, itself included, without passing CLOSED or LISTEN."""
    if state not in _reached:
        found, waiting = {state}, [state]
        while waiting:
            here = waiting.pop()
            for before, after in EDGES:
                if before is here and after not in found:
                    found.add(after)
                    if after not in (State.CLOSED, State.LISTEN) and before is not State.TIME_WAIT:
                        waiting.append(after)
        if state is State.TIME_WAIT:
            found = {State.TIME_WAIT, State.CLOSED, State.SYN_RECEIVED}
        _reached[state] = frozenset(found)
    return _reached[state]


def _flow(key: Key) -> Flow:
    family, local_port, remote_port, local, remote = key
    return Flow(
        Endpoint(spell_address(family, local), local_port), Endpoint(spell_address(family, remote), remote_port)
    )


class PollSource:
    """Transitions from looks at the calling thread's namespace. Raises :class:`Unsupported` for another one."""

    tells_namespaces = True
    lost_are = "connections that came and went between two looks"

    def __init__(self, netns: int | None, details: bool = False) -> None:
        own = own_inode()
        if netns not in (None, own):
            raise Unsupported("looking again and again works in the own namespace only: say --netns NAME")
        self.missing = ["steps between two looks", "connections that live shorter than the time between two looks"]
        if netns is None:
            self.missing.append("other namespaces")
        if os.geteuid():
            self.missing.append("programs of other users")
        if details:
            self.missing.append("retransmissions")
        self._epoch_ns = time.time_ns() - time.monotonic_ns()
        self._comparison = Comparison(own, OwnerTable(own))
        self._lost = 0
        self._destroyed: dict[Key, int] = {}
        try:
            self._channel = open_announcements()
            self._poll = select.poll()
            self._poll.register(self._channel, select.POLLIN)
        except OSError as error:
            self.missing.append(f"the moment of an end (no announcements of the kernel: {error.strerror})")
            self._poll = select.poll()
        self._next = 0.0
        self._look()

    def read(self, timeout_s: float) -> list[Transition]:
        """Wait until the next look is due, or the time is over."""
        deadline = time.monotonic() + timeout_s
        while (now := time.monotonic()) < self._next:
            wait_s = min(self._next, deadline) - now
            if wait_s <= 0:
                return []
            if self._poll.poll(wait_s * 1000):
                self._hear()
        return self._look()

    def flush(self) -> list[Transition]:
        """Look a last time."""
        return self._look()

    def read_lost(self) -> int:
        """Return how many connections lived and died unseen, and how often announcements found no room."""
        return self._lost + self._comparison.unseen_lives

    def read_untold(self) -> int:
        """Return 0: steps between two looks are said where they were made."""
        return 0

    def read_unread(self) -> int:
        """Return 0: a look is compared at once."""
        return 0

    def stop(self) -> None:
        """Do nothing: the last look is the end."""

    def close(self) -> None:
        """Stop listening."""
        if hasattr(self, "_channel"):
            self._channel.close()

    def _hear(self) -> None:
        rows, lost = read_announcements(self._channel)
        self._lost += lost
        now_ns = time.monotonic_ns() + self._epoch_ns
        for row in rows:
            self._destroyed[row[1], row[5], row[6], row[7], row[8]] = now_ns

    def _look(self) -> list[Transition]:
        start = time.monotonic()
        listing = read_listing(udp=0)
        if hasattr(self, "_channel"):
            self._hear()
        moves = self._comparison.look(listing.rows(), self._destroyed, time.monotonic_ns() + self._epoch_ns)
        self._destroyed = {}
        self._next = time.monotonic() + max(SHORTEST_S, _SHARE * (time.monotonic() - start))
        return moves
