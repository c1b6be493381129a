"""Whether a rule of a scene takes a segment is worked out from the segment."""

import pytest

from tcpscope.kernel.raw_packets import SeenFrame
from tcpscope.lab.recorder import _is_taken
from tcpscope.model.segment import ACK, FIN, SYN, Segment
from tcpscope.wire.emit import emit_packet
from tcpscope.wire.parse import parse_frame

ETHERNET = b"\2" * 12 + b"\x08\x00"


def frame(flags: int, ack: int = 0, size: int = 0) -> SeenFrame:
    octets = ETHERNET + emit_packet(Segment(5, ack, flags, 100, bytes(size)), b"\12\11\0\1", b"\12\11\0\2", 1, 2)
    return SeenFrame(0, True, octets, parse_frame(octets))


@pytest.mark.parametrize(
    ("match", "seen", "is_taken"),
    [
        ("", frame(SYN), True),
        ("tcp flags & (fin|syn|rst|ack) == ack", frame(ACK), True),
        ("tcp flags & (fin|syn|rst|ack) == ack", frame(SYN | ACK), False),
        ("tcp flags & (fin|syn|rst) == 0", frame(ACK), True),
        ("tcp flags & (fin|syn|rst) == 0", frame(FIN | ACK), False),
        ("tcp flags & (syn|ack) == syn", frame(SYN), True),
        ("tcp ackseq 77", frame(ACK, 77), True),
        ("tcp ackseq 77", frame(ACK, 78), False),
        ("ip length > 1200", frame(ACK, 1, 1300), True),
        ("ip length > 1200", frame(ACK, 1, 100), False),
        ("numgen random mod 100 < 5", frame(ACK), None),
    ],
)
def test_rule_takes_what_it_names(match, seen, is_taken):
    assert _is_taken(match, seen) is is_taken
