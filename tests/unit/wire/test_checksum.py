"""The checksum against RFC 1071's own loop, with and without numpy."""

import random

import pytest

from tcpscope.wire import checksum


def by_loop(data):
    data = bytes(data) + b"\0" * (len(data) % 2)
    total = 0
    for index in range(0, len(data), 2):
        total += data[index] << 8 | data[index + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("size", [0, 1, 2, 3, 19, 20, 1459, 1460, 2047, 2048, 2049, 65_535])
def test_remainder_equals_the_loop(size):
    data = random.Random(size).randbytes(size)
    assert checksum.remainder(data) == by_loop(data)
    assert checksum.remainder(memoryview(data)) == by_loop(data)


@pytest.mark.parametrize(
    "data", [b"\0" * 20, b"\xff" * 20, b"\0\1\xff\xfe", b"\xff" * 4096, b"\0" * 4096, b"\xff" * 4097]
)
def test_remainder_tells_nothing_from_minus_nothing(data):
    pytest.importorskip("numpy")
    assert checksum.remainder(data) == by_loop(data)


def test_checksum_is_that_of_rfc_1071():
    assert checksum.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


def test_checksum_of_parts_is_that_of_the_whole():
    data = random.Random(1).randbytes(333)
    assert checksum.checksum(data[:20], data[20:100], data[100:]) == checksum.checksum(data)
