"""``CapturedSegment``: one TCP segment as it passed the place of capture."""

from __future__ import annotations

from tcpscope.model.address import Endpoint
from tcpscope.model.record import NamedTuple
from tcpscope.model.segment import Segment
from tcpscope.model.state import State


class CapturedSegment(NamedTuple):
    """Segment ``number`` of a capture (counted from 1 over all packets, as Wireshark counts), from source to
    destination. ``source_state`` and ``destination_state`` are those after it, when somebody followed them;
    ``source_before`` and ``destination_before`` those before it.
    """

    number: int
    t_ns: int
    source: Endpoint
    destination: Endpoint
    segment: Segment
    source_state: State | None = None
    destination_state: State | None = None
    source_before: State | None = None
    destination_before: State | None = None
    problems: tuple[str, ...] = ()

    @property
    def text_bytes(self) -> int:
        """Octets of payload on the wire."""
        return len(self.segment.payload) + self.segment.uncaptured_bytes
