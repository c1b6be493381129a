"""Both ends' states segment by segment, as they pass: for live capture. The engine is the interpreted one.

Each packet is taken in alone, so what is shown is what is known at that moment: nothing is taken back later. Memory is
bounded: of more than :data:`MOST_CONNECTIONS` half are forgotten, those that have ended first, then the longest silent.
"""

from __future__ import annotations

from tcpscope.capture.packets import Chunk
from tcpscope.capture.segments import parse_whole
from tcpscope.model.captured import CapturedSegment
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.packets import layout
from tcpscope.packets.handshake import is_over
from tcpscope.packets.interpreted import InterpretedEngine
from tcpscope.wire.fragments import Reassembler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcpscope.model.state import State


#: Connections held at once, about 60 MB. Why so many: one in TIME-WAIT says whether its ports are used again.
MOST_CONNECTIONS = 32_768
#: Said of a segment that was captured before, at another place or by the same mirror.
COPY = "copy"


class Follower:
    """Takes chunks of packets, yields their TCP segments with states; ``connections`` counts what was seen."""

    def __init__(self) -> None:
        self.connections = 0
        self._copied: list[int] = []
        self._engine = InterpretedEngine(copied=self._copied)
        self._fragments = Reassembler()
        self._numbers: list[int] = []  # by serial of the engine

    def follow(self, chunk: Chunk) -> Iterator[tuple[int, CapturedSegment]]:
        """Yield ``(number of the connection from 1, segment)``; packets without TCP are taken in silently."""
        for index, offset in enumerate(chunk.offset):
            data = bytearray(chunk.data[offset : offset + chunk.captured_len[index]])
            original, link_type = chunk.original_len[index], chunk.link_type[index]
            number, t_ns = chunk.first_packet + index, chunk.t_ns[index]
            one = Chunk(data, 0, number, [0], [len(data)], [original], [t_ns], [0], [link_type])
            self._forget_some()
            frame = parse_whole(data, original, link_type, t_ns, self._fragments)
            if frame is None:
                self._engine.take(one)
                continue
            ports = frame.source.port << 16 | frame.destination.port
            key = frame.datagram.source + frame.datagram.destination + ports.to_bytes(4, "big")
            before = self._engine.states_of(key)
            self._engine.take(one)
            after = self._engine.states_of(key)
            problems = [problem.what for problem in frame.header.problems]
            if self._copied:
                problems.append(COPY)
                self._copied.clear()
            seen = CapturedSegment(
                number, t_ns, frame.source, frame.destination, frame.segment, problems=tuple(problems)
            )
            yield self._number_of(after), _with_states(seen, before, after)

    def _number_of(self, found: tuple[int, State, State] | None) -> int:
        while len(self._numbers) < len(self._engine.ledger):
            self.connections += 1
            self._numbers.append(self.connections)
        return self._numbers[found[0]] if found else 0

    def _forget_some(self) -> None:
        ledger = self._engine.ledger
        self._engine.forget_mentions()
        self._fragments.first.clear()
        if len(ledger) <= MOST_CONNECTIONS:
            return
        self._number_of(None)

        def worth(serial: int) -> tuple[bool, int]:
            q = ledger.quads[serial]
            return not is_over(ledger.flows[serial]), max(q[layout.LAST_NS], q[layout.LAST_NS + 1])

        kept = sorted(sorted(range(len(ledger)), key=worth)[-(MOST_CONNECTIONS // 2) :])
        self._numbers = [self._numbers[serial] for serial in kept]
        self._engine.keep(kept)


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
