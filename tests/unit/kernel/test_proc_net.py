"""``/proc/net/tcp`` and its kin as rows: golden lines of Linux 6.18, cut and foreign lines, and the running kernel."""

import os
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpscope.kernel import proc_net

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the golden lines are little-endian")

LISTENER = (
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000002"
    " 00:00000000 00000000     0        0 30042 1 0000 100 0 0 10 0"
)
RETRANSMITTING = (
    "   3: 0200090A:C34B 0100090A:0050 01 000003E8:00000000"
    " 01:0000004E 00000003  1000        0 555 2 0000 80 4 30 10 -1"
)
TIME_WAIT = "   9: 0100007F:D3B0 0100007F:1F90 06 00000000:00000000 03:00000EA0 00000000     0        0 0 3 0000"
DUAL = (
    "   1: 00000000000000000000000000000000:9069 00000000000000000000000000000000:0000 0A 00000000:00000000"
    " 00:00000000 00000000     0        0 30044 1 0000 100 0 0 10 0"
)
MAPPED = (
    "   4: 0000000000000000FFFF00000100007F:1B5C 0000000000000000FFFF00000100007F:A964 01 00000000:00000005"
    " 00:00000000 00000000     0        0 0 1 0000 20 4 30 10 -1"
)


def test_listener_line():
    row = proc_net.parse_line(LISTENER, 6, 2)
    assert row[:7] == (6, 2, 10, 0, 0, 8080, 0)
    assert socket.inet_ntop(socket.AF_INET, row[7][:4]) == "127.0.0.1"
    assert row[10:16] == (0, 0, 2, 0, 0, 30042)


def test_retransmitting_line_has_timer_in_ms_and_uid():
    row = proc_net.parse_line(RETRANSMITTING, 6, 2)
    assert (row[2], row[3], row[4]) == (1, 1, 3)
    assert (row[11], row[12], row[13], row[14], row[15]) == (780, 0, 1000, 1000, 555)


def test_time_wait_line():
    row = proc_net.parse_line(TIME_WAIT, 6, 2)
    assert (row[2], row[3], row[11], row[15]) == (6, 3, 37440, 0)


def test_ipv6_and_v4_mapped_lines():
    assert socket.inet_ntop(socket.AF_INET6, proc_net.parse_line(DUAL, 6, 10)[7]) == "::"
    row = proc_net.parse_line(MAPPED, 6, 10)
    assert socket.inet_ntop(socket.AF_INET6, row[7]) == "::ffff:127.0.0.1"
    assert (row[5], row[12]) == (7004, 5)


@pytest.mark.parametrize("line", ["", "  sl  local_address rem_address", LISTENER[:40], LISTENER.replace("0A", "7F")])
def test_line_that_is_cut_or_foreign_is_none(line):
    assert proc_net.parse_line(line, 6, 2) is None


@given(st.integers(0, len(LISTENER)), st.integers(0, len(LISTENER)), st.text(max_size=6))
def test_damaged_line_never_fails(begin, end, noise):
    row = proc_net.parse_line(LISTENER[:begin] + noise + LISTENER[end:], 6, 2)
    assert row is None or len(row) == 17


def test_running_kernel_says_the_same_by_both_ways():
    from tcpscope.kernel import netlink, sock_diag

    with socket.create_server(("127.0.0.1", 0), backlog=9) as server:
        port = server.getsockname()[1]
        rows, damaged = proc_net.read_proc_rows(6)
        (row,) = [row for row in rows if row[5] == port and row[2] == 10]
        channel = netlink.open_netlink()
        try:
            dumped = sock_diag.parse_rows(sock_diag.dump_tcp(channel, states=1 << 10), 6)
        finally:
            channel.close()
        (other,) = [row for row in dumped if row[5] == port]
    assert damaged == 0
    assert row[:10] == other[:10]
    assert row[14:16] == other[14:16]
    assert (row[13], other[13]) == (0, 9)  # procfs has no backlog


def test_inodes_of_other_families():
    left, right = socket.socketpair()
    with left, right:
        inodes = proc_net.read_other_inodes()
        assert {os.fstat(left.fileno()).st_ino, os.fstat(right.fileno()).st_ino} <= inodes
