"""pcapng by golden blocks: sections, interfaces, clocks, the kinds of packet blocks, what is wrong with a block."""

import io
import struct

import pytest

from tcpscope.capture import Interface, open_capture
from tcpscope.capture.pcapng import clock_of
from tcpscope.capture.pcapng_write import PcapngWriter


def block(kind, body, order="<"):
    body += b"\0" * (-len(body) % 4)
    length = 12 + len(body)
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)


def section(order="<", version=(1, 0)):
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, -1), order)


def option(code, value, order="<"):
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def interface(link_type=1, snaplen=0, options=b"", order="<"):
    return block(1, struct.pack(order + "HHI", link_type, 0, snaplen) + options, order)


def enhanced(number, ticks, data, original=None, order="<"):
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), original or len(data))
    return block(6, head + data, order)


def read(raw, **options):
    source = open_capture(io.BytesIO(raw))
    return list(source.iter_packets(**options)), source


def test_writer_writes_golden_bytes():
    file = io.BytesIO()
    PcapngWriter(file, [Interface(101, 96, "lo")], application="x").write(0x1122334455667788, b"abcde", 9)
    golden = (
        "0a0d0d0a 28000000 4d3c2b1a 0100 0000 ffffffffffffffff 04000100 78000000 00000000 28000000"
        "01000000 28000000 6500 0000 60000000 02000200 6c6f0000 09000100 09000000 00000000 28000000"
        "06000000 28000000 00000000 44332211 88776655 05000000 09000000 6162636465000000 28000000"
    )
    assert file.getvalue() == bytes.fromhex(golden)


@pytest.mark.parametrize(
    ("resolution", "offset_s", "ticks", "t_ns"),
    [
        (6, 0, 1_500_000, 1_500_000_000),
        (9, 0, 7, 7),
        (0, 0, 3, 3_000_000_000),
        (12, 0, 5_999, 5),
        (0x80 | 10, 0, 1536, 1_500_000_000),
        (0x80 | 60, 0, 1 << 59, 500_000_000),
        (6, 1_000, 1, 1_000_000_001_000),
        (6, -5, 6_000_000, 1_000_000_000),
        (127, 0, 10, 0),
        (0, 0, 1 << 63, (1 << 63) - 1),
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_clock_of_any_resolution_and_offset(resolution, offset_s, ticks, t_ns, compiled):
    if compiled:
        pytest.importorskip("numba")
    options = option(9, bytes([resolution])) + option(14, struct.pack("<q", offset_s)) + option(0, b"")
    raw = section() + interface(options=options) + enhanced(0, ticks, b"abcd")
    assert clock_of(resolution, offset_s).to_ns(ticks) == t_ns
    source = open_capture(io.BytesIO(raw))
    assert [int(t) for chunk in source.iter_chunks(compiled=compiled) for t in chunk.t_ns] == [t_ns]


def test_sections_of_both_byte_orders_with_interfaces_of_their_own():
    raw = b""
    for order, link_type in (("<", 1), (">", 101), ("<", 276)):
        raw += section(order) + interface(link_type, order=order, options=option(2, b"eth\x1b[0m", order))
        raw += enhanced(0, 1, bytes([link_type & 0xFF]) * 4, order=order)
    packets, source = read(raw)
    assert [(packet.link_type, packet.interface) for packet in packets] == [(1, 0), (101, 1), (276, 2)]
    assert source.interfaces[2].name == "eth?[0m"  # no escape reaches a terminal
    assert source.damage == []


def test_simple_and_obsolete_packet_blocks():
    simple = block(3, struct.pack("<I", 100) + b"s" * 60)
    obsolete = block(2, struct.pack("<HHIIII", 0, 5, 0, 2_000_000, 4, 90) + b"oooo")
    packets, _ = read(section() + interface(snaplen=50) + obsolete + simple)
    assert [(len(packet.data), packet.original_len, packet.t_ns) for packet in packets] == [
        (4, 90, 2_000_000_000), (50, 100, 2_000_000_000),
    ]  # fmt: skip


def test_other_blocks_are_skipped():
    raw = section() + interface()
    for kind in (4, 5, 9, 10, 0xBAD, 0x40000BAD, 0x12345678):
        raw += block(kind, b"\xff" * 20) + enhanced(0, 1, b"data")
    packets, source = read(raw)
    assert (len(packets), source.damage) == (7, [])


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (enhanced(3, 1, b"data"), "a packet of interface 3, which is not described"),
        (block(6, struct.pack("<IIIII", 0, 0, 0, 99, 99) + b"abcd"), "claims 99 captured bytes in a block with room"),
        (block(6, b"1234"), "an enhanced packet block too short"),
        (block(3, b""), "a simple packet block too short"),
        (block(2, b"1234"), "a packet block too short"),
        (block(1, b"1234"), "an interface description too short"),
        (section(version=(2, 0)), "a section of pcapng version 2.0"),
        (struct.pack("<II", 6, 8) + b"abcd", "a block claims 8 bytes"),
        (struct.pack("<II", 6, 0xFFFFFFF0), "a block claims 4294967280 bytes"),
        (enhanced(0, 1, b"data")[:-4] + struct.pack("<I", 99), "begins with length 36 and ends with length 99"),
        (b"\x0a\x0d\x0d\x0a\x1c\0\0\0" + b"\0" * 20, "a section header without a byte-order magic"),
    ],
)
def test_bad_block_is_named_with_its_place_and_reading_goes_on(bad, what):
    start = section() + interface() + enhanced(0, 1, b"first")
    after = enhanced(0, 2, b"after!!!") if "section of" not in what else b""
    packets, source = read(start + bad + after)
    assert [packet.data for packet in packets] == [b"first", b"after!!!"][: 2 if after else 1]
    assert source.damage[0].place_bytes == len(start)
    assert what in source.damage[0].what


@pytest.mark.parametrize("size", range(1, 36))
def test_cut_in_the_last_block_keeps_the_ones_before(size):
    raw = section() + interface() + enhanced(0, 1, b"whole") + enhanced(0, 2, b"cut.")
    packets, source = read(raw[:-size])
    assert [packet.data for packet in packets] == [b"whole"]
    [damage] = source.damage
    assert damage.what == f"the file ends inside a block ({36 - size} of {36 if size <= 28 else 12} bytes)"


def test_block_length_that_is_no_multiple_of_four_is_rounded_up():
    body = struct.pack("<IIIII", 0, 0, 1, 5, 5) + b"abcde"
    odd = struct.pack("<II", 6, 37) + body + b"\0\0\0" + struct.pack("<I", 37)
    packets, source = read(section() + interface() + odd + enhanced(0, 1, b"next"))
    assert [packet.data for packet in packets] == [b"abcde", b"next"]
    assert source.damage == []
