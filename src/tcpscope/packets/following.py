"""Both ends' states segment by segment, as they pass: for live capture. The engine is the interpreted one.

Each packet is taken in alone, so what is shown is what is known at that moment: nothing is taken back later.
"""

from __future__ import annotations

from tcpscope.capture.packets import Chunk
from tcpscope.capture.segments import parse_whole
from tcpscope.model.captured import CapturedSegment
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets.interpreted import InterpretedEngine
from tcpscope.wire.fragments import Reassembler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcpscope.model.state import State


class Follower:
    """Takes chunks of packets, yields their TCP segments with states; ``connections`` counts what was seen."""

    def __init__(self) -> None:
        self._engine = InterpretedEngine()
        self._fragments = Reassembler()

    @property
    def connections(self) -> int:
        """How many connections were seen."""
        return len(self._engine.ledger)

    def follow(self, chunk: Chunk) -> Iterator[tuple[int, CapturedSegment]]:
        """Yield ``(number of the connection from 1, segment)``; packets without TCP are taken in silently."""
        for index, offset in enumerate(chunk.offset):
            data = bytearray(chunk.data[offset : offset + chunk.captured_len[index]])
            original, link_type = chunk.original_len[index], chunk.link_type[index]
            number, t_ns = chunk.first_packet + index, chunk.t_ns[index]
            one = Chunk(data, 0, number, [0], [len(data)], [original], [t_ns], [0], [link_type])
            frame = parse_whole(data, original, link_type, t_ns, self._fragments)
            if frame is None:
                self._engine.take(one)
                continue
            ports = frame.source.port << 16 | frame.destination.port
            key = frame.datagram.source + frame.datagram.destination + ports.to_bytes(4, "big")
            before = self._engine.states_of(key)
            self._engine.take(one)
            after = self._engine.states_of(key)
            seen = CapturedSegment(
                number, t_ns, frame.source, frame.destination, frame.segment,
                problems=tuple(problem.what for problem in frame.header.problems),
            )  # fmt: skip
            yield (after[0] + 1 if after else 0), _with_states(seen, before, after)


def _with_states(
    seen: CapturedSegment, before: tuple[int, State, State] | None, after: tuple[int, State, State] | None
) -> CapturedSegment:
    if after is None:
        return seen
    known = before is not None and before[0] == after[0]
    return seen._replace(
        source_state=after[1],
        destination_state=after[2],
        source_before=before[1] if known and before else None,
        destination_before=before[2] if known and before else None,
    )
