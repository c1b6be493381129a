"""What is seen while somebody waits for a second look: exact ages, and who was refused or reset by whom.

The kernel keeps no time of entry (see ``docs/explanation/age-in-state.md``); a transition that was seen tells it. Only
the BPF tier is used: it costs little and sees everything. A refused connection leaves nothing behind that a look
could show; its last transition names destination and program. Without the tier, or beside a crowd of sockets, nothing
is claimed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tcpscope.live.trace import Feed, open_trace
from tcpscope.model.address import Endpoint, Flow
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.event import Event
from tcpscope.model.record import NamedTuple
from tcpscope.model.snapshot import Refused, Reset, Snapshot
from tcpscope.model.socket import Age, Owner
from tcpscope.model.state import State
from tcpscope.model.transition import Transition

_TICK_S = 0.5

#: More destinations than that are a scan, which the sockets in SYN_SENT show.
_MOST_KEYS = 1000
_YOUNG_NS = 1_000_000_000
_OPEN = (State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT_1, State.FIN_WAIT_2)

#: Namespace (0: the caller's own, where the source does not say), connection, state.
Entries = dict[tuple[int, Flow, State], int]
Counts = dict[tuple[int, Endpoint, Owner | None], int]
#: Namespace, and a row whose numbers are 0; how many there were, and how many of them were young.
Resets = dict[tuple[int, Reset], tuple[int, int]]


class Witnessed(NamedTuple):
    """When (ns since the epoch) each connection was seen to enter its state, and the attempts that were refused."""

    entries: Entries
    refused: tuple[tuple[int, Refused], ...] = ()  #: each with its namespace
    resets: tuple[tuple[int, Reset], ...] = ()


def watch(seconds: float, on_tick: Callable[[float], None], *, all_namespaces: bool = False) -> Witnessed:
    """Wait ``seconds``; return what was seen of this namespace, or of all of them, meanwhile."""
    entries: Entries = {}
    refused: Counts = {}
    resets: Resets = {}
    feed = _open_feed(all_namespaces)
    end = time.monotonic() + seconds
    try:
        while (left := end - time.monotonic()) > 0:
            on_tick(left)
            if feed is None:
                time.sleep(min(left, _TICK_S))
                continue
            _note(feed.read_transitions(min(left, _TICK_S)), entries, refused, resets)
        if feed is not None:
            _note(feed.read_rest(), entries, refused, resets)
    finally:
        if feed is not None:
            feed.close()
    often = sorted(refused.items(), key=lambda item: -item[1])
    reset = sorted(resets.items(), key=lambda item: -item[1][0])
    return Witnessed(
        entries,
        tuple((netns, Refused(remote, by, number)) for (netns, remote, by), number in often),
        tuple((netns, row._replace(number=number, young=young)) for (netns, row), (number, young) in reset),
    )


def _note(moves: list[Transition], entries: Entries, refused: Counts, resets: Resets) -> None:
    for move in moves:
        if move.before in _OPEN and move.after == State.CLOSED and move.event == Event.RST:
            _note_reset(move, entries, resets)
        if move.certainty == "seen":
            entries[move.netns, move.flow, move.after] = move.when_ns
        # Why: an attempt that found no local port failed here; nobody refused it.
        is_refused = move.before == State.SYN_SENT and move.after == State.CLOSED and "refused" in move.cause
        if is_refused and move.flow.local.port:
            by = move.by and move.by._replace(fd=-1)  # each attempt has a descriptor of its own
            key = move.netns, move.flow.remote, by
            if key in refused or len(refused) < _MOST_KEYS:
                refused[key] = refused.get(key, 0) + 1


def _note_reset(move: Transition, entries: Entries, resets: Resets) -> None:
    local, remote = move.flow.local, move.flow.remote
    by = move.by and move.by._replace(fd=-1)
    port = min(local.port, remote.port)
    key = move.netns, Reset(remote.unmapped, port, local.port < remote.port, move.before, by, 0)
    begun_ns = entries.get((move.netns, move.flow, State.ESTABLISHED))
    is_young = begun_ns is not None and 0 <= move.when_ns - begun_ns < _YOUNG_NS
    if key in resets or len(resets) < _MOST_KEYS:
        number, young = resets.get(key, (0, 0))
        resets[key] = number + 1, young + is_young


def _open_feed(all_namespaces: bool) -> Feed | None:
    try:
        return open_trace(tier="A", all_namespaces=all_namespaces)
    except (TcpscopeError, OSError):
        return None


def with_witnessed(snapshot: Snapshot, seen: Witnessed) -> Snapshot:
    """Return ``snapshot`` with what was refused, and the age of every socket that was seen to enter its state."""
    if not seen.entries:
        return snapshot
    sockets, places = list(snapshot.sockets), (snapshot.netns, 0)
    for place, socket in enumerate(sockets):
        times = (seen.entries.get((netns, socket.flow, socket.state)) for netns in places)
        entered_ns = next((time_ns for time_ns in times if time_ns is not None), None)
        if entered_ns is not None and entered_ns <= snapshot.taken_ns:
            age = Age((snapshot.taken_ns - entered_ns) // 1_000_000, "exact")
            sockets[place] = socket._replace(age=age)
    return snapshot._replace(
        sockets=sockets,
        refused=[one for netns, one in seen.refused if netns in places],
        resets=[one for netns, one in seen.resets if netns in places],
    )
