"""Exact ages for what changes its state while somebody waits for a second look.

The kernel keeps no time of entry (see ``docs/explanation/age-in-state.md``); a transition that was seen tells it. Only
the BPF tier is used: it costs little and sees everything. Without it, or beside a crowd of sockets, nothing is claimed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tcpscope.live.trace import Feed, open_trace
from tcpscope.model.address import Flow
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.snapshot import Snapshot
from tcpscope.model.socket import Age
from tcpscope.model.state import State
from tcpscope.model.transition import Transition

_TICK_S = 0.5

Entries = dict[tuple[Flow, State], int]


def watch_entries(seconds: float, on_tick: Callable[[float], None]) -> Entries:
    """Wait ``seconds``; return when (ns since the epoch) each connection was seen to enter its present state."""
    entries: Entries = {}
    feed = _open_feed()
    end = time.monotonic() + seconds
    try:
        while (left := end - time.monotonic()) > 0:
            on_tick(left)
            if feed is None:
                time.sleep(min(left, _TICK_S))
                continue
            _note(feed.read_transitions(min(left, _TICK_S)), entries)
        if feed is not None:
            _note(feed.read_rest(), entries)
    finally:
        if feed is not None:
            feed.close()
    return entries


def _note(moves: list[Transition], entries: Entries) -> None:
    for move in moves:
        if move.certainty == "seen":
            entries[move.flow, move.after] = move.when_ns


def _open_feed() -> Feed | None:
    try:
        return open_trace(tier="A")
    except (TcpscopeError, OSError):
        return None


def with_exact_ages(snapshot: Snapshot, entries: Entries) -> Snapshot:
    """Return ``snapshot`` with the age of every socket that was seen to enter its state."""
    if not entries:
        return snapshot
    sockets = list(snapshot.sockets)
    for place, socket in enumerate(sockets):
        entered_ns = entries.get((socket.flow, socket.state))
        if entered_ns is not None and entered_ns <= snapshot.taken_ns:
            age = Age((snapshot.taken_ns - entered_ns) // 1_000_000, "exact")
            sockets[place] = socket._replace(age=age)
    return snapshot._replace(sockets=sockets)
