"""Interfaces and addresses: the running kernel against ip(8), golden bytes, and bytes of any kind."""

import json
import shutil
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpscope.kernel.interfaces import parse_interfaces, read_interfaces
from tcpscope.kernel.netlink import pack_message
from tcpscope.kernel.sock_diag import pack_attribute
from tcpscope.model.snapshot import Interface

LINK = pack_message(
    16, 2, bytes.fromhex("00000403" "01000000" "49000100" "00000000") + pack_attribute(3, b"lo\0")
    + pack_attribute(4, struct.pack("=I", 65536)),
)  # fmt: skip
V4 = pack_message(20, 2, bytes.fromhex("020880fe01000000") + pack_attribute(1, bytes((127, 0, 0, 1))))
PEER = pack_message(
    20,
    2,
    bytes.fromhex("0220000001000000")
    + pack_attribute(1, bytes((10, 0, 0, 2)))
    + pack_attribute(2, bytes((10, 0, 0, 1))),
)
V6 = pack_message(20, 2, bytes.fromhex("0a8080fe01000000") + pack_attribute(1, bytes(15) + b"\1"))


def test_golden_messages():
    expected = Interface("lo", 1, True, 65536, ("127.0.0.1/8", "10.0.0.1/32", "::1/128"))
    assert parse_interfaces([LINK], [V4 + PEER, V6]) == (expected,)


def test_running_kernel_says_what_ip_says():
    if shutil.which("ip") is None:
        pytest.skip("ip is not installed")
    shown = json.loads(subprocess.run(["ip", "-j", "addr"], capture_output=True, text=True, check=True).stdout)
    theirs = {
        one["ifname"]: (one["ifindex"], one["mtu"], {f"{a['local']}/{a['prefixlen']}" for a in one["addr_info"]})
        for one in shown
    }
    ours = {one.name: (one.number, one.mtu_bytes, set(one.addresses)) for one in read_interfaces()}
    assert ours == theirs


@given(st.binary(max_size=120), st.binary(max_size=120))
def test_any_bytes_as_dumps(links, addresses):
    for one in parse_interfaces([links, LINK + links], [addresses, V4 + addresses]):
        assert isinstance(one.name, str)
