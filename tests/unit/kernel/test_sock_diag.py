"""Golden bytes of sock_diag's structures: requests as the kernel wants them, answers as Linux 6.18 sent them."""

import socket
import struct

from hypothesis import given
from hypothesis import strategies as st
from tests.sock_diag_messages import build_message, tcp_info_bytes

from tcpscope.kernel import netlink, sock_diag
from tcpscope.kernel.tcp_info import parse_memory, parse_tcp_info
from tcpscope.live.sockets import build_socket

#: A listener on [::]:7005 for IPv6 alone (backlog 5, inode 5561345), as Linux 6.18 sent it.
LISTENER = bytes.fromhex(
    "0a0a0000 1b5d0000 00000000000000000000000000000000 00000000000000000000000000000000 00000000 139f160000000000"
    "00000000 00000000 05000000 00000000 01dc5400"
    "0500080000000000 05000b0001000000 08000f0000000000 0c0015000100000000000000 0600160012000000"
)
#: A handshake on 127.0.0.1:7003 whose last ACK is missing: a request socket, and no inode.
REQUEST = bytes.fromhex(
    "02030100 1b5be322 7f000001000000000000000000000000 7f000001000000000000000000000000 00000000 239f160000000000"
    "00030000 00000000 00000000 00000000 00000000 08000f0000000000"
)
#: The end that closed first, to 127.0.0.1:7023: a time-wait mini-socket with 59.768 s left.
TIME_WAIT = bytes.fromhex(
    "02060300 bdf81b6f 7f000001000000000000000000000000 7f000001000000000000000000000000 00000000 3f9f160000000000"
    "78e90000 00000000 00000000 00000000 00000000 08000f0000000000"
)
#: ``tcp_info`` and ``INET_DIAG_SKMEMINFO`` of a connection with 1234 bytes that nobody has read, 232 ms old.
TCP_INFO = bytes.fromhex(
    "010000000007aa01 400d0300 409c0000 00800000 d2040000 00000000 00000000 00000000 00000000 00000000 e8000000"
    "00000000 e8000000 e8000000 ffff0000 352b0100 08000000 04000000 ffffff7f 0a000000 cbff0000 03000000 00000000"
    "cbff0000 00000000 003a2d411b000000 ffffffffffffffff 0000000000000000 d204000000000000 01000000 03000000 00000000"
    "08000000 01000000 00000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 01000000 00000000"
    "0000000000000000 0000000000000000 00000000 00000000 00000000 00000100"
) + bytes.fromhex("002c0100").ljust(48, b"\0")
MEMORY = bytes.fromhex("120800000000020000000000001e3c00ee07000000000000000000000000000000000000")


class Recorder:
    """Takes a request and answers with the end of a dump."""

    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(message)

    def recv(self, size):
        return netlink.pack_message(3, 2, struct.pack("=i", 0))


def test_tcp_request_is_the_old_one_walk_request():
    channel = Recorder()
    assert sock_diag.dump_tcp(channel, states=0xFFF, extensions=sock_diag.EXT_INFO) == []
    (request,) = channel.sent
    length, kind, flags, _, port = struct.unpack("=IHHII", request[:16])
    assert (length, kind, flags, port, len(request)) == (76, 18, 0x301, 0, 76)
    assert request[16:20] == b"\0\0\0\x02"
    assert request[20:60] == bytes(40)
    assert request[60:68] == b"\xff" * 8
    assert struct.unpack("=II", request[68:76]) == (0xFFF, 0)


def test_filter_goes_with_the_request_of_each_family():
    channel = Recorder()
    sock_diag.dump_tcp(channel, bytecode=b"12345")
    assert [request[16] for request in channel.sent] == [2, 10]
    for request in channel.sent:
        length, kind = struct.unpack("=IH", request[:6])
        assert (length, kind, len(request)) == (84, 20, 84)
        assert request[72:] == b"\x09\x00\x01\x00" + b"12345" + bytes(3)


def test_udp_asks_each_family():
    channel = Recorder()
    sock_diag.dump_udp(channel, states=1 << 7)
    assert [(request[16], request[17]) for request in channel.sent] == [(2, 17), (10, 17)]


def row_of(message):
    (row,) = sock_diag.parse_rows([netlink.pack_message(18, 2, message)], 6)
    return row


def test_listener_as_the_kernel_sent_it():
    row = row_of(LISTENER)
    any_address = bytes(16)
    assert row[:9] == (6, 10, 10, 0, 0, 7005, 0, any_address, any_address)
    assert row[9:16] == (0, 0x169F13, 0, 0, 5, 0, 5561345)
    known = netlink.parse_attributes(row[16], 0, len(row[16]))
    assert known == {8: b"\0", 11: b"\1", 15: bytes(4), 21: (1).to_bytes(8, "little"), 22: b"\x12\0"}


def test_request_and_time_wait_as_the_kernel_sent_them():
    row = row_of(REQUEST)
    assert (row[2], row[3], row[4], row[5], row[11], row[15]) == (3, 1, 0, 7003, 768, 0)
    assert build_socket(row).kind == "request"
    row = row_of(TIME_WAIT)
    assert (row[2], row[3], row[6], row[11], row[15]) == (6, 3, 7023, 59768, 0)
    assert build_socket(row).kind == "mini"


def test_details_as_the_kernel_sent_them():
    assert len(TCP_INFO) == 280
    info, memory = parse_tcp_info(TCP_INFO), parse_memory(MEMORY)
    assert (info.state, info.options, info.snd_wscale, info.rcv_wscale) == (1, 7, 10, 10)
    assert (info.rto_us, info.ato_us, info.snd_mss, info.rcv_mss) == (200_000, 40_000, 32768, 1234)
    assert (info.last_data_sent_ms, info.last_data_recv_ms, info.last_ack_recv_ms) == (232, 232, 232)
    assert (info.pmtu, info.rtt_us, info.rttvar_us, info.snd_cwnd, info.reordering) == (65535, 8, 4, 10, 3)
    assert (info.pacing_rate, info.bytes_received, info.segs_in, info.segs_out) == (117057600000, 1234, 3, 1)
    assert (info.min_rtt_us, info.data_segs_in, info.delivered, info.snd_wnd) == (8, 1, 1, 65536)
    assert (memory.rmem_alloc_bytes, memory.rcvbuf_bytes, memory.sndbuf_bytes) == (2066, 131072, 3939840)
    assert (memory.fwd_alloc_bytes, memory.drops) == (2030, 0)


def test_golden_message_and_constructed_message_agree():
    built = build_message(
        family=10, state=10, sport=7005, source="::", remote="::", cookie=0x169F13, send_q=5, inode=5561345, kind=18,
        attributes=LISTENER[72:],
    )  # fmt: skip
    assert built == netlink.pack_message(18, 2, LISTENER)


def test_lookup_names_the_socket_with_its_cookie():
    request = sock_diag.lookup_request(row_of(LISTENER), kind=sock_diag.SOCK_DESTROY)
    assert struct.unpack("=IHH", request[:8]) == (72, 21, 5)
    assert request[16:18] == b"\x0a\x06"
    assert request[24:28] == b"\x1b\x5d\0\0"
    assert request[64:72] == struct.pack("=Q", 0x169F13)


def test_what_is_too_short_or_unknown_is_left_out_and_told():
    short = netlink.pack_message(20, 2, bytes(71)) + bytes(1)
    foreign, unknown = build_message(state=0), build_message(state=14)
    family = bytearray(build_message())
    family[16] = 1
    strange = []
    rows = sock_diag.parse_rows([short + build_message() + foreign, unknown + bytes(family)], 6, strange)
    assert len(rows) == 1
    assert strange == [-2, 0, 14, -1]


def test_kernel_numbers_that_are_no_state_are_translated():
    rows = sock_diag.parse_rows([build_message(state=12) + build_message(state=13)], 6)
    assert [row[2] for row in rows] == [3, 7]


def test_tcp_info_fields_are_where_the_header_puts_them():
    info = parse_tcp_info(tcp_info_bytes(280))
    assert (info.state, info.retransmits, info.backoff, info.options) == (1, 2, 3, 7)
    assert (info.snd_wscale, info.rcv_wscale) == (9, 10)
    assert (info.rto_us, info.retrans, info.last_data_sent_ms, info.last_data_recv_ms) == (100, 107, 109, 111)
    assert (info.last_ack_recv_ms, info.rtt_us, info.snd_cwnd, info.total_retrans) == (112, 115, 118, 123)
    assert (info.pacing_rate, info.bytes_acked, info.segs_out, info.min_rtt_us) == (5, 6, 7, 8)
    assert (info.bytes_sent, info.snd_wnd) == (9, 65483)


def test_tcp_info_of_an_older_kernel_says_none():
    info = parse_tcp_info(tcp_info_bytes(192))
    assert info.sndbuf_limited_us == 0
    assert (info.delivered, info.bytes_sent, info.snd_wnd) == (None, None, None)
    oldest = parse_tcp_info(tcp_info_bytes(104))
    assert (oldest.total_retrans, oldest.pacing_rate) == (123, None)
    assert parse_tcp_info(tcp_info_bytes(103)) is None


def test_min_rtt_without_sample_is_none():
    data = bytearray(tcp_info_bytes(280))
    data[148:152] = b"\xff" * 4
    assert parse_tcp_info(bytes(data)).min_rtt_us is None


def test_memory_of_old_and_new_kernels():
    assert parse_memory(struct.pack("=9I", *range(1, 10))).drops == 9
    assert parse_memory(struct.pack("=8I", *range(1, 9))).backlog_bytes == 8
    assert parse_memory(b"123") is None


@given(st.binary(max_size=400))
def test_any_bytes_as_tcp_info_or_memory(data):
    assert (parse_tcp_info(data) is None) == (len(data) < 104)
    parse_memory(data)


def test_running_kernel_lists_a_listener_by_both_requests():
    with socket.create_server(("127.0.0.1", 0), backlog=9) as server:
        port = server.getsockname()[1]
        channel = netlink.open_netlink()
        try:
            old = sock_diag.parse_rows(sock_diag.dump_tcp(channel, states=1 << 10), 6)
            new = sock_diag.parse_rows(sock_diag.dump_tcp(channel, states=1 << 10, family=2), 6)
        finally:
            channel.close()
        for rows in (old, new):
            (row,) = [row for row in rows if row[5] == port]
            assert row[2] == 10
            assert row[13] == 9
