"""Golden bytes of sock_diag's structures: requests as the kernel wants them, answers as Linux 6.18 sent them."""

import socket
import struct

from hypothesis import given
from hypothesis import strategies as st
from tests.sock_diag_messages import build_message, tcp_info_bytes

from tcpscope.kernel import netlink, sock_diag
from tcpscope.kernel.tcp_info import parse_memory, parse_tcp_info

#: A listener on [::]:36969 (backlog 7, inode 30044), as the kernel sent it.
LISTENER = bytes.fromhex(
    "0a0a0000"  # AF_INET6, TCP_LISTEN, no timer, no retransmission
    "90690000"  # ports 36969 and 0, big-endian
    "00000000000000000000000000000000"
    "00000000000000000000000000000000"
    "00000000"
    "2200000000000000"  # cookie
    "00000000"
    "00000000"  # rqueue: nobody waits
    "07000000"  # wqueue: backlog
    "00000000"
    "5c750000"  # inode
    "05000800" "00000000"  # INET_DIAG_SHUTDOWN
    "05000b00" "00000000"  # INET_DIAG_SKV6ONLY
)  # fmt: skip


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


def test_listener_as_the_kernel_sent_it():
    (row,) = sock_diag.parse_rows([netlink.pack_message(18, 2, LISTENER)], 6)
    any_address = bytes(16)
    assert row[:9] == (6, 10, 10, 0, 0, 36969, 0, any_address, any_address)
    assert row[9:16] == (0, 0x22, 0, 0, 7, 0, 30044)
    assert netlink.parse_attributes(row[16], 0, len(row[16])) == {8: b"\0", 11: b"\0"}


def test_golden_message_and_constructed_message_agree():
    built = build_message(
        family=10, state=10, sport=36969, source="::", remote="::", cookie=0x22, send_q=7, inode=30044, kind=18,
        attributes=LISTENER[72:],
    )  # fmt: skip
    assert built == netlink.pack_message(18, 2, LISTENER)


def test_lookup_names_the_socket_with_its_cookie():
    (row,) = sock_diag.parse_rows([netlink.pack_message(18, 2, LISTENER)], 6)
    request = sock_diag.lookup_request(row, kind=sock_diag.SOCK_DESTROY)
    assert struct.unpack("=IHH", request[:8]) == (72, 21, 5)
    assert request[16:18] == b"\x0a\x06"
    assert request[24:28] == b"\x90\x69\0\0"
    assert request[64:72] == struct.pack("=Q", 0x22)


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
