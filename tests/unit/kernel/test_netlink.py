"""Netlink dumps: whole, refused, cut and garbage. A kernel is played by a channel that hands out datagrams."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpscope.kernel import netlink
from tcpscope.kernel.netlink import pack_message

DONE = pack_message(3, 2, struct.pack("=i", 0))


class Channel:
    """Plays the kernel: answers a request with the datagrams it was given."""

    def __init__(self, *datagrams):
        self.datagrams = list(datagrams)

    def send(self, message):
        self.sent = message

    def recv(self, size):
        if not self.datagrams:
            raise TimeoutError("timed out")
        return self.datagrams.pop(0)


def test_dump_ends_at_a_mark_of_its_own():
    first = pack_message(20, 2, b"abcd")
    assert netlink.dump(Channel(first, DONE, b"never read"), b"request") == [first]


def test_dump_ends_at_a_mark_behind_messages():
    first = pack_message(20, 2, b"abcd")
    assert netlink.dump(Channel(first + DONE), b"") == [first]


def test_refused_dump_raises_the_kernels_errno():
    with pytest.raises(PermissionError):
        netlink.dump(Channel(pack_message(2, 0, struct.pack("=i", -1) + bytes(16))), b"")
    with pytest.raises(FileNotFoundError):
        netlink.dump(Channel(pack_message(20, 2, b"abcd"), pack_message(3, 2, struct.pack("=i", -2))), b"")


def test_dump_without_end_is_a_timeout():
    with pytest.raises(TimeoutError):
        netlink.dump(Channel(pack_message(20, 2, b"abcd")), b"")


def test_cut_message_is_counted_and_whole_ones_are_kept():
    whole = pack_message(20, 2, b"abcd")
    cut = whole + pack_message(20, 2, bytes(100))[:50]
    assert [cut[start:end] for _, _, start, end in netlink.iter_messages([cut])] == [b"abcd"]
    assert netlink.count_damaged([cut, whole, whole + whole]) == 1


def test_message_that_claims_too_little_ends_its_datagram():
    assert list(netlink.iter_messages([struct.pack("=IHHII", 3, 20, 0, 0, 0) * 3])) == []


@given(st.binary(max_size=300))
def test_garbage_is_walked_within_its_bounds(data):
    for _, datagram, start, end in netlink.iter_messages([data]):
        assert 16 <= start <= end <= len(datagram)
    assert netlink.count_damaged([data]) in (0, 1)
    for value in netlink.parse_attributes(data, 0, len(data)).values():
        assert value == b"" or value in data


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_garbage_dump_raises_nothing_but_os_error(datagrams):
    try:
        received = netlink.dump(Channel(*datagrams), b"")
    except OSError:
        return
    assert all(isinstance(part, bytes) for part in received)


def test_attributes_round_trip():
    from tcpscope.kernel.sock_diag import pack_attribute

    data = pack_attribute(8, b"\x03") + pack_attribute(15, b"\1\2\3\4") + pack_attribute(0x8000 | 4, b"bbr\0")
    assert netlink.parse_attributes(data, 0, len(data)) == {8: b"\x03", 15: b"\1\2\3\4", 4: b"bbr\0"}
    assert netlink.parse_attributes(data[:-2], 0, len(data) - 2) == {8: b"\x03", 15: b"\1\2\3\4"}
