"""``History``: what earlier looks at this host (since its boot) remember, as a diagnosis may use it."""

from __future__ import annotations

from collections.abc import Mapping

from tcpscope.model.record import NamedTuple


class Sighting(NamedTuple):
    """When a socket was first seen in a state, and since when its ``segs_in`` has not moved (0: not followed)."""

    first_ns: int
    segs_in: int = -1
    silent_since_ns: int = 0


class KnownListener(NamedTuple):
    """A listening address that was seen before; ``name`` is its program, ``uid`` -1 when it could not be seen."""

    first_ns: int
    last_ns: int
    name: str = ""
    uid: int = -1


class History(NamedTuple):
    """Sightings by (netns, cookie, state), listeners by (netns, address, port), trends by name.

    A trend is a short row of ``(time_ns, value)``, oldest first. ``started_ns`` is the first look since boot.
    """

    started_ns: int = 0
    looks: int = 0
    sightings: Mapping[tuple[int, int, int], Sighting] = {}
    listeners: Mapping[tuple[int, str, int], KnownListener] = {}
    trends: Mapping[str, tuple[tuple[int, int], ...]] = {}
