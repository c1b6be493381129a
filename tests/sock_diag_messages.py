"""Constructed answers of sock_diag for tests: messages of every shape the kernel sends, as datagrams."""

import socket
import struct

from hypothesis import strategies as st

from tcpscope.kernel.netlink import pack_message
from tcpscope.kernel.sock_diag import pack_attribute

V4 = ("127.0.0.1", "10.0.0.7", "192.0.2.255", "255.255.255.255", "0.0.0.0", "8.8.8.8")
V6 = ("::", "::1", "2001:db8::1", "::ffff:10.9.0.2", "fe80::1:2:3:4", "2001:db8:1111:2222:3333:4444:5555:6666")


def build_message(
    *,
    family=2,
    state=1,
    timer=0,
    retransmits=0,
    sport=80,
    dport=0,
    source="127.0.0.1",
    remote="0.0.0.0",
    interface=0,
    cookie=1,
    expires=0,
    recv_q=0,
    send_q=0,
    uid=0,
    inode=7,
    attributes=b"",
    kind=20,
):
    """One ``struct inet_diag_msg`` with its netlink header, field by field as the uapi header lays it out."""
    payload = struct.pack("=BBBB", family, state, timer, retransmits)
    payload += struct.pack(">HH", sport, dport)
    payload += socket.inet_pton(family, source).ljust(16, b"\0") + socket.inet_pton(family, remote).ljust(16, b"\0")
    payload += struct.pack("=IQIIIII", interface, cookie, expires, recv_q, send_q, uid, inode)
    return pack_message(kind, 2, payload + attributes)


def tcp_info_bytes(length):
    """A ``struct tcp_info`` cut to ``length``: the words of the base count from 100, the tail has known values."""
    values = {104: 5, 120: 6, 136: 7, 148: 8, 200: 9, 228: 65483}
    data = bytearray(struct.pack("=8B24I", 1, 0, 2, 0, 3, 7, 0xA9, 0, *range(100, 124)).ljust(280, b"\0"))
    for offset, value in values.items():
        data[offset : offset + 4] = struct.pack("=I", value)
    return bytes(data[:length])


ports = st.sampled_from((0, 1, 9, 10, 80, 443, 8080, 9999, 10000, 65535)) | st.integers(0, 65535)
queues = st.sampled_from((0, 0, 1, 99999, 999_999, 1_000_000, 2**32 - 1))
attributes = st.lists(st.builds(pack_attribute, st.integers(1, 24), st.binary(max_size=12)), max_size=4).map(b"".join)


@st.composite
def messages(draw):
    family, addresses = draw(st.sampled_from(((2, V4), (10, V6))))
    return build_message(
        family=family,
        state=draw(st.integers(1, 11)),
        timer=draw(st.integers(0, 4)),
        retransmits=draw(st.integers(0, 255)),
        sport=draw(ports),
        dport=draw(ports),
        source=draw(st.sampled_from(addresses)),
        remote=draw(st.sampled_from(addresses)),
        cookie=draw(st.integers(1, 2**63)),
        expires=draw(st.integers(0, 10**6)),
        recv_q=draw(queues),
        send_q=draw(queues),
        uid=draw(st.integers(0, 2**32 - 2)),
        inode=draw(st.sampled_from((0, 0, 11, 12, 13, 14, 15, 2**32 - 1))),
        attributes=draw(attributes),
    )


@st.composite
def datagrams(draw):
    parts = draw(st.lists(messages(), min_size=1, max_size=25))
    cut = draw(st.integers(0, len(parts)))
    return [b"".join(part) for part in (parts[:cut], parts[cut:]) if part]
