"""TCP segments as words out of a capture: for ladders and lines, one connection or a small file at a time."""

from __future__ import annotations

from tcpscope.model.captured import CapturedSegment
from tcpscope.model.record import TYPE_CHECKING
from tcpscope.wire import link
from tcpscope.wire.address import parse_address
from tcpscope.wire.fragments import Reassembler
from tcpscope.wire.parse import Frame, parse_frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tcpscope.capture.packets import Chunk
    from tcpscope.model.address import Endpoint


def iter_segments(chunks: Iterable[Chunk], ends: tuple[Endpoint, Endpoint] | None = None) -> Iterator[CapturedSegment]:
    """Yield every TCP segment, or those between the two ``ends`` in both directions."""
    needle = _needle(*ends) if ends else b""
    fragments = Reassembler()
    for chunk in chunks:
        for index, offset in enumerate(chunk.offset):
            data = bytes(chunk.data[offset : offset + chunk.captured_len[index]])
            if needle and needle not in data:  # Why: nearly all frames of a large capture end here
                continue
            original, link_type = int(chunk.original_len[index]), int(chunk.link_type[index])
            frame = parse_whole(data, original, link_type, int(chunk.t_ns[index]), fragments)
            if frame is None or (ends and (frame.source, frame.destination) not in (ends, ends[::-1])):
                continue
            yield CapturedSegment(
                chunk.first_packet + index,
                int(chunk.t_ns[index]),
                frame.source,
                frame.destination,
                frame.segment,
                problems=tuple(problem.what for problem in frame.header.problems),
            )


def parse_whole(
    data: bytes | bytearray, original_len: int, link_type: int, t_ns: int, fragments: Reassembler
) -> Frame | None:
    """Read a captured frame down to TCP; of a datagram in fragments the last to come stands for all."""
    frame = parse_frame(data, original_len, link_type)
    if frame is not None and frame.datagram.fragment_offset < 0:
        return frame
    whole = fragments.take(data, 0, len(data), original_len, link_type, t_ns)
    return None if whole is None else parse_frame(whole.data, whole.original_len, link.RAW)


def _needle(left: Endpoint, right: Endpoint) -> bytes:
    """Octets that stand in every packet between the two ends whatever the direction: one of the addresses."""
    return max(parse_address(left.address), parse_address(right.address))
