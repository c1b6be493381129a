"""``remember``: what a look adds to the history. Pure; reading and writing it is :mod:`tcpscope.history.first_seen`.

Kept are sockets in states that should pass (not LISTEN, TIME_WAIT or busy ESTABLISHED), silent established ones with
their count of received segments, listeners with a chosen port, and short trends. All of it is bounded: on a host with
very many sockets the oldest sightings win, they are the ones that matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tcpscope.model.history import History, KnownListener, Sighting
from tcpscope.model.snapshot import Snapshot
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

MAX_SIGHTINGS = 20_000
MAX_LISTENERS = 2_000
MAX_TRENDS = 500
TREND_LENGTH = 12
_SILENT_MS = 30_000
_FORGET_LISTENER_NS = 86_400 * 10**9
_PASSING = frozenset(State) - {State.LISTEN, State.TIME_WAIT, State.ESTABLISHED, State.CLOSED}

Key = tuple[int, int, int]


def remember(history: History, snapshot: Snapshot, numbers: Mapping[str, int] | None = None) -> History:
    """Return the history with one more look in it; ``numbers`` are the trends' next values."""
    now = snapshot.taken_ns
    return History(
        started_ns=history.started_ns or now,
        looks=history.looks + 1,
        sightings=_sightings(history, snapshot),
        listeners=_listeners(history, snapshot),
        trends=_trends(history, numbers or {}, now),
    )


def _sightings(history: History, snapshot: Snapshot) -> dict[Key, Sighting]:
    kept = {key: one for key, one in history.sightings.items() if key[0] != snapshot.netns}
    fresh: dict[Key, Sighting] = {}
    for socket in _followed(snapshot):
        key = (snapshot.netns, socket.cookie, int(socket.state))
        fresh[key] = _sighted(history.sightings.get(key), socket, snapshot.taken_ns)
    kept.update(fresh)
    if len(kept) > MAX_SIGHTINGS:
        oldest = sorted(kept, key=lambda key: kept[key].first_ns)[:MAX_SIGHTINGS]
        kept = {key: kept[key] for key in oldest}
    return kept


def _followed(snapshot: Snapshot) -> Iterator[Socket]:
    for socket in snapshot.sockets:
        if not socket.cookie or socket.proto != "tcp":
            continue
        if socket.state in _PASSING or (socket.state == State.ESTABLISHED and _is_silent(socket)):
            yield socket


def _is_silent(socket: Socket) -> bool:
    info = socket.tcp_info
    return info is not None and not socket.send_q and socket.timer is None and info.last_ack_recv_ms >= _SILENT_MS


def _sighted(known: Sighting | None, socket: Socket, now_ns: int) -> Sighting:
    segments = -1
    if socket.tcp_info is not None and socket.tcp_info.segs_in is not None:
        segments = socket.tcp_info.segs_in
    if known is None:
        return Sighting(now_ns, segments, now_ns)
    if known.segs_in != segments:
        return Sighting(known.first_ns, segments, now_ns)
    return known


def _listeners(history: History, snapshot: Snapshot) -> dict[tuple[int, str, int], KnownListener]:
    now = snapshot.taken_ns
    kept = {key: one for key, one in history.listeners.items() if now - one.last_ns < _FORGET_LISTENER_NS}
    first, last = _ephemeral(snapshot)
    for socket in snapshot.sockets:
        if socket.state != State.LISTEN or socket.proto != "tcp":
            continue
        # Why: a port the kernel chose is another one next time; its absence means nothing.
        if first <= socket.local.port <= last:
            continue
        key = (snapshot.place, socket.local.address, socket.local.port)
        known = kept.pop(key, None)
        name = socket.owners[0].name if socket.owners else known.name if known else ""
        uid = socket.uid if socket.uid is not None else -1
        kept[key] = KnownListener(known.first_ns if known else now, now, name, uid)
    return dict(list(kept.items())[-MAX_LISTENERS:])


def _ephemeral(snapshot: Snapshot) -> tuple[int, int]:
    words = snapshot.sysctls.get("net.ipv4.ip_local_port_range", "").split()
    if len(words) == 2 and all(word.isdecimal() for word in words):
        return int(words[0]), int(words[1])
    return 32768, 60999


def _trends(history: History, numbers: Mapping[str, int], now_ns: int) -> dict[str, tuple[tuple[int, int], ...]]:
    trends = dict(history.trends)
    for name, value in numbers.items():
        trends[name] = (*trends.pop(name, ()), (now_ns, value))[-TREND_LENGTH:]
    return dict(list(trends.items())[-MAX_TRENDS:])
