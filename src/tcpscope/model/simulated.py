"""What a simulation shows: the steps of a played story, and measured transfers. Times are virtual."""

from __future__ import annotations

from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State

#: How the note of a segment begins whose numbers were sent before.
AGAIN = "again"


class Step(NamedTuple):
    """One line of a played story: a call, a segment, a change of state, or another happening at one end.

    ``kind``: ``call segment state report``. ``states`` are both ends' afterwards; ``text`` says what happened; numbers
    are relative to the initial ones. ``numbers`` holds windows of the acting end: cwnd, flight, peer's window (octets).
    """

    when_ns: int
    end: int
    kind: str
    text: str
    states: tuple[State, State]
    fate: str = ""
    numbers: tuple[int, int, int] = (0, 0, 0)
    note: str = ""  #: what else there is to a segment: ``AGAIN``, SACK blocks


class Transfer(NamedTuple):
    """One measured transfer."""

    bytes_delivered: int
    duration_ns: int
    retransmits: int
    timeouts: int

    @property
    def bytes_per_second(self) -> float:
        """Throughput, handshake included."""
        return self.bytes_delivered * 1e9 / self.duration_ns if self.duration_ns else 0.0
