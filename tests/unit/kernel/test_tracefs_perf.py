"""Formats of tracepoints and structures of perf, by their golden bytes."""

import struct

import pytest

from tcpscope.kernel import perf, tracefs
from tcpscope.live.trace_perf import Decoder
from tcpscope.model.errors import Unsupported

FORMAT = """name: tcp_send_reset
ID: 2280
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:const void * skaddr;\toffset:16;\tsize:8;\tsigned:0;
\tfield:int state;\toffset:24;\tsize:4;\tsigned:1;
\tfield:enum sk_rst_reason reason;\toffset:28;\tsize:4;\tsigned:0;
\tfield:__u8 saddr[28];\toffset:32;\tsize:28;\tsigned:0;

print fmt: "state=%s reason=%s", __print_symbolic(REC->state, { 1, "TCP_ESTABLISHED" }), \
__print_symbolic(REC->reason, { 0, "NOT_SPECIFIED" }, { 11, "TCP_ABORT_ON_CLOSE" })
"""


def test_format_gives_number_fields_and_names_of_values():
    found = tracefs.parse_format(FORMAT)
    assert found.id == 2280
    assert found.fields["skaddr"] == (16, 8)
    assert found.fields["saddr"] == (32, 28)
    assert found.symbols("reason") == {0: "NOT_SPECIFIED", 11: "TCP_ABORT_ON_CLOSE"}
    assert found.symbols("nothing") == {}


def test_format_without_number_is_refused():
    with pytest.raises(Unsupported):
        tracefs.parse_format("name: x\n")


def test_perf_attributes_have_their_golden_layout():
    data = perf.pack_attributes(2287)
    assert len(data) == 112  # PERF_ATTR_SIZE_VER5
    assert struct.unpack_from("<IIQQQ", data) == (2, 112, 2287, 1, 0x406)  # tracepoint; TID, TIME, RAW
    assert struct.unpack_from("<Q", data, 40)[0] == 1 << 14 | 1 << 25  # watermark, use_clockid
    assert struct.unpack_from("<I", data, 48)[0] == 1
    assert struct.unpack_from("<i", data, 92)[0] == 1  # CLOCK_MONOTONIC


def make_state(before, after, sport=40000, timer=None):
    raw = bytearray(72)
    struct.pack_into("<H", raw, 0, 5)
    struct.pack_into("<QiiHHHH", raw, 8, 0xAA, before, after, sport, 80, 2, 6)
    raw[32:40] = b"\x0a\0\0\x01\x0a\0\0\x02"
    return bytes(raw)


PLACES = {
    "skaddr": (8, 8),
    "oldstate": (16, 4),
    "newstate": (20, 4),
    "sport": (24, 2),
    "dport": (26, 2),
    "family": (28, 2),
    "protocol": (30, 2),
    "saddr": (32, 4),
    "daddr": (36, 4),
    "saddr_v6": (40, 16),
    "daddr_v6": (56, 16),
}
STATE = tracefs.Format(5, PLACES, "")
START = tracefs.Format(6, {"timer": (8, 8)}, "")


def timer_sample(t_ns, cpu):
    return perf.Sample(t_ns, cpu, 0, struct.pack("<HHIQ", 6, 0, 0, 0xBB))


def decode(*samples):
    formats = {"sock/inet_sock_set_state": STATE, "timer/timer_start": START}
    return list(Decoder(formats, {0: b"swapper"}).decode(samples))


def test_mini_socket_is_tied_to_the_connection_that_closed_on_the_same_processor():
    mini, state = decode(timer_sample(1000, 1), perf.Sample(2000, 1, 0, make_state(5, 7)))
    assert (mini.address, mini.local_port, mini.after) == (0xBB, 40000, 5)
    assert (state.address, state.before, state.after) == (0xAA, 5, 7)


@pytest.mark.parametrize(("cpu", "t_ns"), [(0, 2000), (1, 900_000)])
def test_timer_elsewhere_or_long_ago_ties_nothing(cpu, t_ns):
    assert len(decode(timer_sample(1000, 1), perf.Sample(t_ns, cpu, 0, make_state(5, 7)))) == 1


def test_record_of_an_unknown_tracepoint_is_passed_over():
    assert decode(perf.Sample(1, 0, 0, struct.pack("<HHIQ", 99, 0, 0, 0))) == []
