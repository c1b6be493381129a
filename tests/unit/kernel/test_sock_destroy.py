"""The request by its golden bytes, and the kernel's answers as errors."""

import errno
import struct

import pytest

from tcpscope.kernel.sock_destroy import CLOSED, GONE, destroy_request, destroy_socket
from tcpscope.model.address import Endpoint
from tcpscope.model.errors import NotPermitted, Unsupported
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

VICTIM = Socket(
    "tcp", State.ESTABLISHED, Endpoint("10.0.0.1", 443), Endpoint("10.0.0.2", 40000), cookie=0x1122334455667788
)


def test_request_has_its_golden_bytes():
    data = destroy_request(VICTIM)
    length, kind, flags = struct.unpack_from("=IHH", data)
    assert (length, kind, flags) == (72, 21, 5)  # SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK
    assert data[16:20] == bytes((2, 6, 0, 0))  # AF_INET, IPPROTO_TCP
    assert data[24:28] == bytes.fromhex("01bb9c40")  # ports, network order
    assert data[28:44] == bytes((10, 0, 0, 1)) + bytes(12)
    assert data[44:60] == bytes((10, 0, 0, 2)) + bytes(12)
    assert data[60:64] == bytes(4)
    assert struct.unpack_from("=Q", data, 64)[0] == 0x1122334455667788


def test_v6_goes_as_v6_and_a_zone_is_no_part_of_the_address():
    ends = {"local": Endpoint("fe80::1%eth0", 1), "remote": Endpoint("::ffff:10.0.0.2", 2)}
    data = destroy_request(VICTIM._replace(**ends, interface=3))
    assert data[16] == 10
    assert data[28:44] == bytes.fromhex("fe80" + "00" * 13 + "01")
    assert data[44:60] == bytes(10) + b"\xff\xff\x0a\0\0\x02"
    assert struct.unpack_from("=I", data, 60)[0] == 3


def test_victim_without_cookie_is_refused():
    with pytest.raises(Unsupported, match="cookie"):
        destroy_request(VICTIM._replace(cookie=0))


class Answering:
    """A kernel that answers every request with one errno."""

    def __init__(self, number):
        self.number = number
        self.sent = []

    def send(self, data):
        self.sent.append(data)

    def recv(self, size):
        return struct.pack("=IHHIIi", 36, 2, 0, 0, 0, -self.number) + self.sent[-1][:16]


@pytest.mark.parametrize(("number", "outcome"), [(0, CLOSED), (errno.ENOENT, GONE), (errno.ESTALE, GONE)])
def test_answer_tells_closed_from_gone(number, outcome):
    assert destroy_socket(Answering(number), VICTIM) == outcome


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (errno.EPERM, NotPermitted, "CAP_NET_ADMIN"),
        (errno.EOPNOTSUPP, Unsupported, "CONFIG_INET_DIAG_DESTROY"),
        (errno.ENOMEM, OSError, "SOCK_DESTROY"),
    ],
)
def test_refusal_names_what_is_missing(number, kind, text):
    with pytest.raises(kind, match=text):
        destroy_socket(Answering(number), VICTIM)
