"""TCP headers and options: golden bytes, both ways, and everything malformed is told, not raised."""

import pytest

from tcpscope.machine.layout import FREEBSD_LAYOUT, LINUX_LAYOUT, RFC_LAYOUT
from tcpscope.model.segment import ACK, NO_OPTIONS, SYN, Options, Segment
from tcpscope.wire import checksum, emit
from tcpscope.wire.options import emit_options, parse_options
from tcpscope.wire.parse import parse_ip, parse_tcp

THREE = (RFC_LAYOUT, LINUX_LAYOUT, FREEBSD_LAYOUT)
SOURCE, DESTINATION = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))

#: Options as Linux sends them.
GOLDEN = {
    "020405b40402080a000000010000000001030307": Options(1460, 7, True, timestamp=(1, 0)),
    "020405b40101040201030307": Options(1460, 7, True),
    "0101080a0000000700000008": Options(timestamp=(7, 8)),
    "0101080a00000007000000080101050a00000064000000c8": Options(timestamp=(7, 8), sack=((100, 200),)),
    "02040218220a01020304050607080101": Options(536, fast_open_cookie=bytes(range(1, 9))),
    "22020101": Options(fast_open_cookie=b""),
    "1c04803c": Options(user_timeout_ms=60 * 60_000),
    "1c04003c": Options(user_timeout_ms=60_000),
}


@pytest.mark.parametrize("raw", GOLDEN)
def test_options_read_and_write_golden_bytes(raw):
    if raw != "1c04803c":  # an hour fits in seconds: written as 3600 s
        assert emit_options(GOLDEN[raw]).hex() == raw
    assert parse_options(bytes.fromhex(raw)) == (GOLDEN[raw], ())


@pytest.mark.parametrize(
    ("raw", "options", "what"),
    [
        ("020405b40800", Options(1460), "option 8 has length 0"),
        ("020405b40801", Options(1460), "option 8 has length 1"),
        ("020405b4080a00", Options(1460), "option 8 of length 10 reaches past the header"),
        ("020405b403", Options(1460), "option 3 is cut before its length"),
        ("020305", NO_OPTIONS, "option 2 has length 3 instead of 4"),
        ("05070000000000", NO_OPTIONS, "option 5 has length 7, no whole number of blocks"),
        ("0502", NO_OPTIONS, "option 5 has length 2, no whole number of blocks"),
        ("03030f", Options(window_scale=14), "window scale 15 is above 14"),
        ("2203aa", Options(fast_open_cookie=b"\xaa"), "a Fast Open cookie of 1 octets"),
    ],
)
def test_malformed_options_are_told_and_what_stands_before_is_kept(raw, options, what):
    found, problems = parse_options(bytes.fromhex(raw))
    assert (found, problems[0].what) == (options, what)


def test_end_of_options_hides_what_follows():
    assert parse_options(bytes.fromhex("00020405b4")) == (NO_OPTIONS, ())


def test_experimental_fast_open_is_read():
    assert parse_options(bytes.fromhex("fe06f989aabb"))[0].fast_open_cookie == b"\xaa\xbb"


FULL_SYN = Options(1460, 6, True, timestamp=(1, 0))
#: What each system writes: RFC 7323 appendix A; Linux 6.18 as captured; FreeBSD as its test suite expects it.
LAYOUTS = [
    (RFC_LAYOUT, FULL_SYN, "020405b4010303060101080a000000010000000004020000"),
    (LINUX_LAYOUT, FULL_SYN, "020405b40402080a000000010000000001030306"),
    (FREEBSD_LAYOUT, FULL_SYN, "020405b4010303060402080a0000000100000000"),
    (LINUX_LAYOUT, FULL_SYN._replace(sack_permitted=False), "020405b40101080a000000010000000001030306"),
    (FREEBSD_LAYOUT, FULL_SYN._replace(sack_permitted=False), "020405b4010303060101080a0000000100000000"),
    (LINUX_LAYOUT, FULL_SYN._replace(timestamp=None), "020405b40101040201030306"),
    (FREEBSD_LAYOUT, FULL_SYN._replace(timestamp=None), "020405b40103030604020000"),
    (FREEBSD_LAYOUT, FULL_SYN._replace(timestamp=None, window_scale=None), "020405b404020000"),
    *((layout, Options(timestamp=(7, 8)), "0101080a0000000700000008") for layout in THREE),
    *((layout, Options(sack=((1, 2),)), "0101050a0000000100000002") for layout in THREE),
    *(
        (layout, Options(timestamp=(7, 8), sack=((1, 2),)), "0101080a00000007000000080101050a0000000100000002")
        for layout in THREE
    ),
]


@pytest.mark.rfc("MUST-4", "MUST-68", "MUST-69")
@pytest.mark.parametrize(("layout", "options", "raw"), LAYOUTS)
def test_each_system_orders_aligns_and_pads_options_in_its_way(layout, options, raw):
    assert emit_options(options, layout).hex() == raw
    assert parse_options(bytes.fromhex(raw)) == (options, ())


@pytest.mark.parametrize("options", [Options(sack=((0, 1),) * 5), Options(mss=65_536), Options(window_scale=256)])
def test_options_that_do_not_fit_raise_value_error(options):
    with pytest.raises(ValueError, match="option"):
        emit_options(options)


def test_header_is_golden():
    segment = Segment(0xAE78AC32, 0x66A0B9B3, ACK, 4099, options=Options(timestamp=(255474104, 255474104)))
    raw = emit.emit_tcp(segment, bytes((127, 0, 0, 1)), bytes((127, 0, 0, 1)), 39870, 9502)
    assert raw.hex() == "9bbe251eae78ac3266a0b9b380101003" + raw[16:18].hex() + "00000101080a0f3a39b80f3a39b8"
    assert checksum.is_good(bytes((127, 0, 0, 1)), bytes((127, 0, 0, 1)), 6, raw)
    parsed = parse_tcp(raw)
    assert (parsed.source_port, parsed.destination_port, parsed.segment, parsed.problems) == (39870, 9502, segment, ())


@pytest.mark.parametrize(("offset", "bytes_said"), [(0x00, 0), (0x40, 16), (0xF0, 60)])
def test_data_offset_that_makes_no_sense_is_told(offset, bytes_said):
    raw = bytearray(emit.emit_tcp(Segment(1, flags=SYN), SOURCE, DESTINATION, 1, 2))
    raw[12] = offset
    parsed = parse_tcp(raw)
    assert parsed.segment.seq == 1
    assert parsed.problems[0].what == f"data offset {bytes_said} in a segment of 20 octets"


def test_offload_leaves_the_sum_of_the_pseudo_header():
    header = emit.emit_tcp_header(Segment(1, flags=SYN, payload=b"abc"), SOURCE, DESTINATION, 1, 2, offload=True)
    pseudo = checksum.pseudo_header(SOURCE, DESTINATION, 6, 23)
    assert int.from_bytes(header[16:18], "big") == checksum.remainder(pseudo)


def test_too_short_raises_value_error():
    with pytest.raises(ValueError, match="19 octets are no TCP header"):
        parse_tcp(bytes(19))
    with pytest.raises(ValueError, match="no sound IP header"):
        parse_ip(b"\x45" + bytes(10))


@pytest.mark.parametrize("port", [-1, 65_536])
def test_number_that_does_not_fit_raises_value_error(port):
    with pytest.raises(ValueError, match="does not fit"):
        emit.emit_tcp(Segment(1), SOURCE, DESTINATION, port, 2)
