"""pcap and pcapng by golden bytes: every byte order, resolution, block, and every kind of damage."""

import io
import struct

import pytest

from tcpscope.capture import open_capture
from tcpscope.capture.pcap import PcapWriter
from tcpscope.model.errors import TcpscopeError

T_NS = 1_700_000_000_123_456_789


def read(raw, **options):
    source = open_capture(io.BytesIO(raw), **options)
    return list(source.iter_packets()), source


def pcap(packets=((T_NS, b"x" * 60, 60),), order="<", magic=0xA1B2C3D4, link_type=1, unit=1000):
    raw = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)
    for t_ns, data, original in packets:
        seconds, rest = divmod(t_ns, 10**9)
        raw += struct.pack(order + "IIII", seconds, rest // unit, len(data), original) + data
    return raw


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap_any_byte_order_and_resolution_reads_the_same(order, magic, unit):
    packets, source = read(pcap(order=order, magic=magic, unit=unit))
    assert packets == [(1, T_NS // unit * unit, b"x" * 60, 60, 1, 0)]
    assert (source.format.byte_order, source.format.ns_per_fraction, source.damage) == (order, unit, [])


def test_pcap_writer_writes_golden_bytes():
    file = io.BytesIO()
    PcapWriter(file, 113, snaplen=96).write(T_NS, b"abc", 1500)
    golden = "4d3cb2a1 0200 0400 00000000 00000000 60000000 71000000 00f15365 15cd5b07 03000000 dc050000 616263"
    assert file.getvalue() == bytes.fromhex(golden)


def test_pcap_modified_header_of_24_bytes_is_read():
    raw = struct.pack("<IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, 1)
    raw += (struct.pack("<IIII", 1, 2, 3, 3) + bytes(8) + b"abc") * 2
    assert [packet.data for packet in read(raw)[0]] == [b"abc", b"abc"]


@pytest.mark.parametrize("length", range(1, 76))
def test_pcap_cut_anywhere_keeps_whole_packets_and_names_the_place(length):
    raw = pcap(((T_NS, b"x" * 60, 60), (T_NS, b"y" * 60, 60)))
    packets, source = read(raw[:-length])
    assert [packet.data for packet in packets] == [b"x" * 60]
    if length == 76:
        assert source.damage == []
        return
    [damage] = source.damage
    assert damage.place_bytes == 24 + 76
    assert damage.skipped_bytes == 76 - length
    assert "the file ends inside" in damage.what


def test_pcap_record_that_claims_4_gb_is_named_and_the_rest_is_read():
    packets = [(T_NS, bytes([index]) * 60, 60) for index in range(10)]
    raw = bytearray(pcap(packets))
    raw[24 + 3 * 76 + 8 : 24 + 3 * 76 + 12] = b"\xff\xff\xff\xff"
    found, source = read(bytes(raw))
    assert [packet.data[0] for packet in found] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    [damage] = source.damage
    assert (damage.place_bytes, damage.skipped_bytes) == (24 + 3 * 76, 76)
    assert damage.what == "a record claims 4294967295 captured bytes (more than 262144 makes no sense)"


def test_pcap_clock_that_runs_backwards_is_read_as_it_is():
    packets, source = read(pcap(((T_NS, b"a" * 20, 20), (5, b"b" * 20, 20), (0, b"", 0))))
    assert [packet.t_ns for packet in packets] == [T_NS // 1000 * 1000, 0, 0]
    assert source.damage == []


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "it is empty"),
        (b"State  Recv-Q Send-Q", "it begins like text"),
        (b"\x7fELF\x02\x01", "it is a program"),
        (b"snoop\0\0\0\0\0\0\2", "it is a Solaris snoop capture"),
        (b"\0\1\2\3\4\5\6\7", "it begins with 00 01 02 03 04 05 06 07, neither pcap nor pcapng"),
    ],
)
def test_no_capture_is_one_clear_line(raw, message):
    with pytest.raises(TcpscopeError, match=message) as caught:
        read(raw)
    assert "\n" not in str(caught.value)


def test_header_cut_short_is_damage():
    packets, source = read(pcap()[:10])
    assert packets == []
    assert "inside its header (10 of 24 bytes)" in source.damage[0].what


@pytest.mark.parametrize("chunk_bytes", [1, 4096, 5000, 1 << 20])
def test_chunks_of_any_size_give_the_same_packets(chunk_bytes):
    packets = [(T_NS + index * 1000, bytes([index % 256]) * (index * 37 % 3000), 4000) for index in range(500)]
    source = open_capture(io.BytesIO(pcap(packets)))
    seen = []
    for chunk in source.iter_chunks(chunk_bytes):
        assert chunk.first_packet == len(seen) + 1
        for index, offset in enumerate(chunk.offset):
            seen.append(bytes(chunk.data[offset : offset + chunk.captured_len[index]]))
    assert seen == [data for _, data, _ in packets]
    assert source.packets == 500
