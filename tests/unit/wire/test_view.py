"""The view finds the same segment behind every link layer, and every oddity of IP."""

import struct

import pytest
from tests.frames import WRAPPINGS

from tcpscope.model.segment import ACK, PSH, SYN, Options, Segment
from tcpscope.wire import emit, link, view
from tcpscope.wire.parse import parse_frame, parse_ip

V4 = (bytes((192, 0, 2, 1)), bytes((198, 51, 100, 7)))
V6 = (bytes.fromhex("20010db8000000000000000000000001"), bytes.fromhex("20010db80000000000000000000000ff"))
SEGMENT = Segment(1000, 2000, ACK | PSH, 512, b"hello", Options(timestamp=(7, 8)))


def locate(data, original_len=None, link_type=link.RAW, captured_len=None):
    captured = len(data) if captured_len is None else captured_len
    return view.View(*view.locate(data, 0, captured, original_len or len(data), link_type))


def packet(addresses=V4, segment=SEGMENT):
    return emit.emit_packet(segment, *addresses, 40000, 443)


@pytest.mark.parametrize("name", WRAPPINGS)
@pytest.mark.parametrize("addresses", [V4, V6], ids=["v4", "v6"])
def test_segment_behind_every_link_layer_is_the_same(name, addresses):
    link_type, wrap, tag = WRAPPINGS[name]
    data = wrap(packet(addresses))
    frame = parse_frame(data, len(data), link_type)
    assert frame.segment == SEGMENT
    assert (frame.source.port, frame.destination.port, frame.tag) == (40000, 443, tag)
    assert frame.source.address == ("192.0.2.1" if addresses is V4 else "2001:db8::1")


@pytest.mark.parametrize("name", WRAPPINGS)
def test_frame_cut_anywhere_is_cut_and_never_raises(name):
    link_type, wrap, _ = WRAPPINGS[name]
    data = wrap(packet())
    needed = len(data) - len(b"hello") - 12 - (9 if "padded" in name else 0)
    for size in range(len(data)):
        place = locate(data, len(data), link_type, size)
        if "nflog" not in name:
            assert (place.kind == view.TCP) == (size >= needed)
        assert place.kind in (view.TCP, view.CUT)


def test_snaplen_cut_keeps_the_length_on_the_wire():
    data = packet(segment=SEGMENT._replace(payload=b"x" * 1000))
    frame = parse_frame(data[:60], len(data), link.RAW)
    assert frame.segment.seg_len == 1000
    assert bytes(frame.segment.payload) == b"x" * 8


@pytest.mark.parametrize("addresses", [V4, V6], ids=["v4", "v6"])
def test_ip_length_zero_takes_the_frame(addresses):
    data = bytearray(packet(addresses, SEGMENT._replace(payload=b"x" * 3000)))
    at = 2 if addresses is V4 else 4
    data[at : at + 2] = b"\0\0"
    assert parse_frame(data, len(data), link.RAW).segment.seg_len == 3000


def extended(*headers):
    """IPv6 with extension headers: each is (its number, its octets with the next header left out)."""
    whole = packet(V6)
    numbers = [number for number, _ in headers] + [6]
    extra = b"".join(bytes((numbers[index + 1],)) + body for index, (_, body) in enumerate(headers))
    head = bytearray(whole[:40])
    head[6] = numbers[0]
    head[4:6] = struct.pack(">H", len(extra) + len(whole) - 40)
    return bytes(head) + extra + whole[40:]


def test_ipv6_extension_headers_are_walked():
    data = extended(
        (0, b"\0" + bytes(6)), (60, b"\1" + bytes(14)), (43, b"\0" + bytes(6)), (51, b"\4" + bytes(22)), (60, b"\0" * 7)
    )
    place = locate(data)
    assert (place.kind, place.transport) == (view.TCP, 40 + 8 + 16 + 8 + 24 + 8)
    assert parse_ip(data).payload.tobytes() == packet(V6)[40:]


@pytest.mark.parametrize(
    ("word", "kind", "offset", "more"),
    [(0, view.TCP, -1, 0), (1, view.TCP, 0, 1), (8, view.FRAGMENT, 8, 0), (1448 | 1, view.FRAGMENT, 1448, 1)],
)
def test_ipv6_fragment_header(word, kind, offset, more):
    place = locate(extended((44, b"\0" + struct.pack(">HI", word, 99))))
    assert (place.kind, place.fragment_offset, place.has_more_fragments) == (kind, offset, more)


@pytest.mark.parametrize(
    ("word", "kind", "offset", "more"),
    [(0x4000, view.TCP, -1, 0), (0x2000, view.TCP, 0, 1), (0x2001, view.FRAGMENT, 8, 1), (5, view.FRAGMENT, 40, 0)],
)
def test_ipv4_fragment_word(word, kind, offset, more):
    tcp = emit.emit_tcp(SEGMENT, *V4, 1, 2)
    place = locate(emit.emit_ipv4_header(*V4, len(tcp), fragment=word) + tcp)
    assert (place.kind, place.fragment_offset, place.has_more_fragments) == (kind, offset, more)


@pytest.mark.parametrize("first", [0x44, 0x40, 0x35, 0x00, 0x75])
def test_ip_header_that_contradicts_itself_is_no_tcp(first):
    data = bytearray(packet(segment=Segment(1, flags=SYN)))
    data[0] = first
    assert locate(data).kind in (view.BAD, view.NOT_IP)


def test_compiled_text_agrees_with_the_interpreted():
    numba = pytest.importorskip("numba")
    numpy = pytest.importorskip("numpy")
    compiled = view.compile_with(numba.njit)["locate"]
    for link_type, wrap, _ in WRAPPINGS.values():
        for addresses in (V4, V6):
            data = bytearray(wrap(packet(addresses)))
            for size in (len(data), len(data) - 10, 50, 30, 15):
                plain = view.locate(data, 0, size, len(data), link_type)
                assert compiled(numpy.frombuffer(data, numpy.uint8), 0, size, len(data), link_type) == plain
