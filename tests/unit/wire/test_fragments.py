"""Fragments put together: what comes out, what the snapshot length cut, the clock, and bounded memory."""

import itertools
import struct
import tracemalloc

import pytest

from tcpscope.model.segment import SYN, Options, Segment
from tcpscope.wire import fragments, link
from tcpscope.wire.emit import emit_ipv4_header, emit_ipv6_header, emit_tcp
from tcpscope.wire.fragments import Reassembler
from tcpscope.wire.parse import parse_frame

V4 = (bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
V6 = (bytes([0xFD, *bytes(14), 1]), bytes([0xFD, *bytes(14), 2]))
S = 10**9


def cut(ends, size, text=100, identification=7):
    """A SYN with options and text in fragments of ``size`` octets."""
    segment = Segment(1, 0, SYN, 500, bytes(text), Options(mss=1400, window_scale=7))
    payload = emit_tcp(segment, *ends, 4000, 80)
    for start in range(0, len(payload), size):
        octets, more = payload[start : start + size], start + size < len(payload)
        if len(ends[0]) == 4:
            word = start // 8 | more << 13
            yield emit_ipv4_header(*ends, len(octets), identification=identification, fragment=word) + octets
        else:
            head = struct.pack(">BBHI", 6, 0, start | more, identification)
            yield emit_ipv6_header(*ends, 8 + len(octets), protocol=44) + head + octets


def feed(reassembler, packets, t_ns=0, snaplen=65535):
    found = [
        reassembler.take(packet[:snaplen], 0, min(len(packet), snaplen), len(packet), link.RAW, t_ns)
        for packet in packets
    ]
    return [whole for whole in found if whole is not None]


@pytest.mark.parametrize(("ends", "size"), [(V4, 8), (V4, 24), (V4, 64), (V6, 32), (V6, 64)])
def test_fragments_in_any_order_give_the_segment(ends, size):
    pieces = list(cut(ends, size))
    for order in itertools.islice(itertools.permutations(pieces), 30):
        (whole,) = feed(Reassembler(), order)
        frame = parse_frame(whole.data, whole.original_len, link.RAW)
        assert (frame.source.port, frame.destination.port, frame.datagram.fragment_offset) == (4000, 80, -1)
        assert len(frame.segment.payload) + frame.segment.uncaptured_bytes == 100
        assert frame.segment.options == Options(mss=1400, window_scale=7)
        assert whole.fragments == len(pieces)


def test_fragments_cut_by_the_snapshot_length_still_tell_the_length():
    (whole,) = feed(Reassembler(), cut(V4, 64), snaplen=20 + 40)
    frame = parse_frame(whole.data, whole.original_len, link.RAW)
    assert frame.segment.uncaptured_bytes == 100 - (40 - 28)
    (whole,) = feed(Reassembler(), cut(V4, 64), snaplen=20 + 8)
    assert parse_frame(whole.data, whole.original_len, link.RAW) is None  # the header was not captured


@pytest.mark.parametrize(("ends", "patience_s"), [(V4, 30), (V6, 60)])
def test_time_of_the_capture_ends_a_datagram(ends, patience_s):
    first, *rest = cut(ends, 64)
    for pause_s, is_whole in ((patience_s, True), (patience_s + 1, False)):
        reassembler = Reassembler()
        assert not feed(reassembler, [first])
        assert bool(feed(reassembler, rest, pause_s * S)) == is_whole
    reassembler = Reassembler()
    assert not feed(reassembler, [first], 100 * S)
    assert feed(reassembler, rest, 1 * S)  # a clock that runs backwards ends nothing


def test_larger_than_ip_allows_is_none():
    pieces = [
        emit_ipv4_header(*V4, 1480, identification=1, fragment=0x2000 | place * 185) + bytes(1480)
        for place in range(44)
    ]
    last = emit_ipv4_header(*V4, 1480, identification=1, fragment=44 * 185) + bytes(1480)
    assert not feed(Reassembler(), [*pieces, last])


def test_flood_of_fragments_keeps_memory_bounded(monkeypatch):
    monkeypatch.setattr(fragments, "MOST_RUNS", 500)
    reassembler = Reassembler()
    tracemalloc.start()
    for number in range(20_000):
        source = struct.pack(">I", 0x0A000000 + number)
        packet = emit_ipv4_header(source, V4[1], 64, identification=number & 0xFFFF, fragment=0x2010) + bytes(64)
        assert not feed(reassembler, [packet])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20
    assert feed(reassembler, cut(V4, 64))
