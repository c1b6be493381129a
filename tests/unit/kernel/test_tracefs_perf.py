"""Formats of tracepoints and structures of perf, by their golden bytes."""

import struct

import pytest

from tcpscope.kernel import perf, tracefs
from tcpscope.kernel.bpf import tcp_record as kinds
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
    assert struct.unpack_from("<I", data, 48)[0] == perf.WAKEUP_BYTES
    assert struct.unpack_from("<i", data, 92)[0] == 1  # CLOCK_MONOTONIC


SOFTIRQ, SOFTIRQS_OFF = 0x10, 0x80  # common_flags, as Linux 6.18 sets them


def state_sample(t_ns, cpu, before, after, sport=40000, task=0, flags=SOFTIRQ):
    raw = bytearray(72)
    struct.pack_into("<HBBi", raw, 0, 5, flags, 0, task)
    struct.pack_into("<QiiHHHH", raw, 8, 0xAA, before, after, sport, 80, 2, 6)
    raw[32:40] = b"\x0a\0\0\x01\x0a\0\0\x02"
    return perf.Sample(t_ns, cpu, 0, bytes(raw))


def timer_sample(t_ns, cpu, task=0, flags=SOFTIRQ | SOFTIRQS_OFF, timer=0xBB, kind=6):
    return perf.Sample(t_ns, cpu, 0, struct.pack("<HBBiQ", kind, flags, 0, task, timer))


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


EXPIRE = tracefs.Format(7, {"timer": (8, 8)}, "")
RESET = tracefs.Format(8, PLACES, "")


def decode(*samples):
    formats = {
        "sock/inet_sock_set_state": STATE,
        "timer/timer_start": START,
        "timer/timer_expire_entry": EXPIRE,
        "tcp/tcp_receive_reset": RESET,
    }
    return list(Decoder(formats, {0: b"swapper"}).decode(samples))


def births(events):
    return [(event.address, event.local_port, event.after) for event in events if event.kind == kinds.MINI_STARTED]


def test_mini_socket_is_tied_to_the_connection_that_closed_in_the_same_thread():
    mini, state = decode(timer_sample(1000, 1), state_sample(2000, 1, 5, 7))
    assert (mini.address, mini.local_port, mini.after) == (0xBB, 40000, 5)
    assert (state.address, state.before, state.after) == (0xAA, 5, 7)


@pytest.mark.parametrize("gap_ns", [5_000_000, 300_000_000, 90_000_000_000])
def test_processor_that_was_taken_away_in_between_parts_nothing(gap_ns):
    """A virtual machine's processor may stand still between any two instructions, for as long as the host likes."""
    assert births(decode(timer_sample(1000, 1), state_sample(1000 + gap_ns, 1, 5, 7))) == [(0xBB, 40000, 5)]


def test_task_that_moves_to_another_processor_in_between_is_still_the_same_thread():
    """The backlog is worked off by the task that holds the socket, and that may be moved."""
    begun, closed = timer_sample(1000, 0, 77, SOFTIRQS_OFF), state_sample(2000, 1, 5, 7, task=77, flags=0)
    assert births(decode(begun, closed)) == [(0xBB, 40000, 5)]


def test_softirq_in_between_has_its_own_mini_socket():
    inner = [timer_sample(2000, 0, 77, timer=0xCC), state_sample(3000, 0, 5, 7, sport=2, task=77)]
    outer = [timer_sample(1000, 0, 77, SOFTIRQS_OFF), state_sample(4000, 0, 5, 7, sport=1, task=77, flags=0)]
    assert births(decode(outer[0], *inner, outer[1])) == [(0xCC, 2, 5), (0xBB, 1, 5)]


@pytest.mark.parametrize(
    "begun",
    [timer_sample(1000, 0), timer_sample(1000, 1, 77), timer_sample(1000, 1, 0, SOFTIRQS_OFF)],
    ids=["other processor", "other task", "not in the softirq"],
)
def test_timer_of_another_thread_ties_nothing(begun):
    assert births(decode(begun, state_sample(2000, 1, 5, 7))) == []


@pytest.mark.parametrize("between", [state_sample(1500, 1, 1, 8), perf.Sample(1500, 1, 0, b"\x08\0\x10" + bytes(69))])
def test_timer_ties_nothing_but_the_next_record_of_its_thread(between):
    assert births(decode(timer_sample(1000, 1), between, state_sample(2000, 1, 5, 7))) == []


def test_timer_that_starts_anew_is_no_birth():
    """A segment came to a mini-socket; then a socket in FIN_WAIT_2 ends for good (too many mini-sockets)."""
    first = [timer_sample(1000, 1), state_sample(2000, 1, 5, 7, sport=1)]
    again = [timer_sample(3000, 1, flags=SOFTIRQ), state_sample(4000, 1, 5, 7, sport=2)]
    assert births(decode(*first, *again)) == [(0xBB, 1, 5)]


def test_kernel_that_does_not_say_softirqs_are_off_still_has_births():
    first = [timer_sample(1000, 1, flags=SOFTIRQ), state_sample(2000, 1, 5, 7, sport=1)]
    ended = timer_sample(3000, 1, kind=7)
    reused = [timer_sample(4000, 1, flags=SOFTIRQ), state_sample(5000, 1, 5, 7, sport=2)]
    assert births(decode(*first, ended, *reused)) == [(0xBB, 1, 5), (0xBB, 2, 5)]


def test_address_given_again_without_a_seen_end_is_a_birth():
    """connect() took the port of a mini-socket: nothing was recorded, and its memory is the next one's."""
    first = [timer_sample(1000, 1), state_sample(2000, 1, 5, 7, sport=1)]
    second = [timer_sample(3000, 1), state_sample(4000, 1, 5, 7, sport=2)]
    assert births(decode(*first, *second)) == [(0xBB, 1, 5), (0xBB, 2, 5)]


def test_record_of_an_unknown_tracepoint_is_passed_over():
    assert decode(perf.Sample(1, 0, 0, struct.pack("<HHIQ", 99, 0, 0, 0))) == []
