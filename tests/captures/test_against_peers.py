"""Every shared capture, and the same packets written by us in every shape, against tshark, capinfos and tcpdump."""

import io
import subprocess

import pytest
from tests.frames import WRAPPINGS
from tests.peers import peer, run_peer, tshark_segments

from tcpscope.capture import Interface, open_capture
from tcpscope.capture.pcap import PcapWriter
from tcpscope.capture.pcapng_write import PcapngWriter
from tcpscope.wire import checksum, parse, view

NAMES = [
    "arkime-mysql-deny-simclose.pcap", "arkime-tcp_handshake_synthetic.pcap", "arkime-wireshark-retrans.pcap",
    "hadrielk-be-test102.pcapng", "lab-truth/truth.pcap", "pcpp-fin_rst_close.pcap", "pcpp-nanosecs_big_endian.pcap",
    "pcpp-rawip-ipv6-http.pcap", "suricata-split-handshake-4whs.pcap", "tcpdump-tcp_rst_data-trunc.pcap",
    "zeek-fin_retransmission.pcap", "zeek-handshake-reorder.pcap", "zeek-miss_end_data.pcap", "zeek-missing-syn.pcap",
    "zeek-pppoe-over-qinq.pcap", "zeek-ssh-dups.pcap", "zeek-syn-then-stuff-then-rst.pcap", "zeek-tcp-fast-open.pcap",
]  # fmt: skip


@pytest.fixture(params=NAMES)
def capture(request, shared_folder):
    return shared_folder / "captures" / request.param


def segments(source):
    for packet in source.iter_packets():
        frame = parse.parse_frame(packet.data, packet.original_len, packet.link_type)
        if frame is not None:
            yield packet, frame


def checksum_status(datagram):
    """0 bad, 1 good, 2 not checked because the capture holds only a part."""
    if len(datagram.payload) < datagram.length:
        return "2"
    good = checksum.is_good(datagram.source, datagram.destination, 6, bytes(datagram.payload))
    return "1" if good else "0"


def as_tshark(packet, frame):
    segment, options = frame.segment, frame.segment.options
    is_6 = frame.source.is_ipv6
    return {
        "frame.number": str(packet.number),
        "frame.time_epoch": f"{packet.t_ns // 10**9}.{packet.t_ns % 10**9:09d}",
        "ip.src": "" if is_6 else frame.source.address,
        "ipv6.src": frame.source.address if is_6 else "",
        "tcp.srcport": str(frame.source.port),
        "tcp.dstport": str(frame.destination.port),
        "tcp.seq_raw": str(segment.seq),
        "tcp.ack_raw": str(segment.ack),
        "tcp.flags": f"0x{segment.flags:04x}",
        "tcp.window_size_value": str(segment.wnd),
        "tcp.len": str(len(segment.payload) + segment.uncaptured_bytes),
        "tcp.options.mss_val": "" if options.mss is None else str(options.mss),
        "tcp.options.wscale.shift": "" if options.window_scale is None else str(options.window_scale),
        "tcp.options.timestamp.tsval": "" if options.timestamp is None else str(options.timestamp[0]),
        "tcp.options.sack_le": ",".join(str(left) for left, _ in options.sack),
        "tcp.checksum.status": checksum_status(frame.datagram),
    }


def test_every_header_field_is_what_tshark_says(capture):
    expected = tshark_segments(capture)
    with open_capture(capture) as source:
        found = [as_tshark(packet, frame) for packet, frame in segments(source)]
        assert source.damage == []
    if capture.name == "zeek-pppoe-over-qinq.pcap":
        # PPPoE states less than IP does; tshark believes PPPoE, we IP: with its length the checksums are good.
        differing = [index for index, row in enumerate(found) if row != expected[index]]
        assert all(found[at]["tcp.checksum.status"] == "1" for at in differing)
        assert all(expected[at]["tcp.checksum.status"] == "0" for at in differing)
        expected = [row if at in differing else expected[at] for at, row in enumerate(found)]
    assert found == expected


def test_packet_count_is_that_of_capinfos(capture):
    with open_capture(capture) as source:
        count = sum(1 for _ in source.iter_packets())
    assert str(count) == run_peer("capinfos", "-Mc", capture).split()[-1]


@pytest.mark.parametrize("shape", ["pcap <", "pcap >", "pcap us", "pcapng <", "pcapng >"])
def test_what_we_write_reads_the_same_in_tcpdump(capture, shape, tmp_path):
    if capture.name == "hadrielk-be-test102.pcapng":
        pytest.skip("tcpdump reads no capture with several link types")
    copy = tmp_path / "copy"
    with open_capture(capture) as source, open(copy, "wb") as file:
        packets = list(source.iter_packets())
        link_type = packets[0].link_type
        if "pcapng" in shape:
            writer = PcapngWriter(file, [Interface(link_type, 262_144, "eth0")], byte_order=shape[-1])
        else:
            order = shape[-1] if shape[-1] in "<>" else "<"
            writer = PcapWriter(file, link_type, byte_order=order, nanoseconds="us" not in shape)
        for packet in packets:
            writer.write(packet.t_ns, packet.data, packet.original_len)
        if "us" in shape:
            packets = [packet._replace(t_ns=packet.t_ns // 1000 * 1000) for packet in packets]
    options = ("-n", "-tt", "-S", "-v", "-e", "-r")
    assert run_peer("tcpdump", *options, copy) == run_peer("tcpdump", *options, capture)
    with open_capture(copy) as source:
        assert list(source.iter_packets()) == packets


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", WRAPPINGS)
def test_the_same_packets_behind_every_link_layer(name, compiled, shared_folder, tmp_path):
    if compiled:
        pytest.importorskip("numba")
    link_type, wrap, _ = WRAPPINGS[name]
    with open_capture(shared_folder / "captures" / "zeek-missing-syn.pcap") as source:
        packets = list(source.iter_packets())
    expected = [parse.parse_frame(each.data, each.original_len, each.link_type) for each in packets]
    file = io.BytesIO()
    writer = PcapngWriter(file, [Interface(link_type)], byte_order=">")
    for each in packets:
        writer.write(each.t_ns, wrap(each.data[14:]))
    file.seek(0)
    found = []
    for chunk in open_capture(file).iter_chunks(compiled=compiled):
        for index, offset in enumerate(map(int, chunk.offset)):
            data = bytes(chunk.data[offset : offset + int(chunk.captured_len[index])])
            found.append(parse.parse_frame(data, len(data), link_type))
    assert [frame._replace(datagram=None, tag=0) for frame in found] == [
        frame._replace(datagram=None, tag=0) for frame in expected
    ]


@pytest.mark.parametrize("name", [name for name in WRAPPINGS if name not in ("ppp compressed", "raw bsd", "nflog big")])
def test_tshark_reads_the_wrappings_as_we_mean_them(name, shared_folder, tmp_path):
    link_type, wrap, _ = WRAPPINGS[name]
    with open_capture(shared_folder / "captures" / "zeek-miss_end_data.pcap") as source:
        packets = list(source.iter_packets())
    copy = tmp_path / "copy.pcap"
    with open(copy, "wb") as file:
        writer = PcapWriter(file, link_type)
        for each in packets:
            writer.write(each.t_ns, wrap(each.data[14:]))
    with open_capture(copy) as source:
        assert [as_tshark(packet, frame) for packet, frame in segments(source)] == tshark_segments(copy)
        assert source.packets == len(packets)


def test_pipe_gives_the_same_packets(shared_folder):
    path = shared_folder / "captures" / "zeek-ssh-dups.pcap"
    with subprocess.Popen(
        [peer("tcpdump"), "-r", path, "-w", "-"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        piped = list(open_capture(run.stdout).iter_packets())
    with open_capture(path) as source:
        assert piped == list(source.iter_packets())


def test_view_kinds_are_known(capture):
    with open_capture(capture) as source:
        for packet in source.iter_packets():
            kind = view.locate(packet.data, 0, len(packet.data), packet.original_len, packet.link_type)[0]
            assert kind in (view.TCP, view.OTHER)
