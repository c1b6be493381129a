"""Rows to words: kinds, ages, IPv6-only, and what each field is made of."""

import pytest
from tests.sock_diag_messages import build_message, tcp_info_bytes

from tcpscope.kernel.processes import Owners
from tcpscope.kernel.sock_diag import pack_attribute, parse_rows
from tcpscope.live.sockets import build_socket
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Age, Owner, Timer
from tcpscope.model.state import State

SHUTDOWN = pack_attribute(8, b"\x02")
INFO = pack_attribute(2, tcp_info_bytes(280))  # last sent 109 ms, received 111 ms, acknowledged 112 ms ago


def build(proto=6, owners=None, **fields):
    (row,) = parse_rows([build_message(**fields)], proto)
    return build_socket(row, owners, netns=99, cgroups={7: "/system.slice"})


def test_listener_has_backlog_and_queue():
    one = build(state=10, sport=80, recv_q=2, send_q=128)
    assert (one.state, one.recv_q, one.send_q, one.backlog) == (State.LISTEN, 2, 128, 128)
    assert one.local == Endpoint("127.0.0.1", 80)
    assert one.is_listener


def test_holders_in_order_with_names():
    owners = Owners("procfs")
    owners.holders = {7: [(20, 4), (10, 3)]}
    owners.names = {10: "nginx"}
    assert build(owners=owners).owners == (Owner(10, "nginx", 3), Owner(20, "", 4))


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"state": 1}, "full"),
        ({"state": 3, "inode": 0}, "request"),
        ({"state": 3, "inode": 0, "attributes": SHUTDOWN}, "full"),
        ({"state": 6, "timer": 3, "inode": 0}, "mini"),
        ({"state": 5, "timer": 3, "inode": 0}, "mini"),
        ({"state": 5, "timer": 0}, "full"),
    ],
)
def test_kind_is_what_the_kernel_keeps(fields, kind):
    assert build(**fields).kind == kind


@pytest.mark.parametrize(
    ("fields", "age"),
    [
        ({"state": 6, "timer": 3, "expires": 45_000}, Age(15_000, "bound")),
        ({"state": 6, "timer": 3, "expires": 60_016}, Age(0, "bound")),
        ({"state": 5, "timer": 3, "expires": 5_000}, Age()),
        ({"state": 1, "attributes": INFO}, Age(112, "bound")),
        ({"state": 8, "attributes": INFO}, Age(112, "bound")),
        ({"state": 5, "attributes": INFO}, Age(112, "bound")),
        ({"state": 11, "attributes": INFO}, Age(112, "bound")),
        ({"state": 4, "attributes": INFO}, Age()),
        ({"state": 9, "attributes": INFO}, Age()),
        ({"state": 10, "attributes": INFO}, Age()),
        ({"state": 3, "inode": 0, "timer": 1, "retransmits": 3, "expires": 400}, Age()),
        ({"state": 2, "timer": 1, "expires": 700, "attributes": INFO}, Age(300, "bound")),
        ({"state": 2, "timer": 1, "retransmits": 4, "expires": 900}, Age(4_100, "bound")),
        ({"state": 2, "timer": 1, "retransmits": 5, "expires": 500}, Age(6_500, "bound")),
        ({"state": 2, "timer": 1, "retransmits": 7, "expires": 8_000}, Age(11_000, "bound")),
        ({"state": 1}, Age()),
    ],
)
def test_age_is_a_lower_bound_or_unknown(fields, age):
    assert build(**fields).age == age


def test_timer_memory_cgroup_mark_and_shutdown():
    attributes = (
        pack_attribute(7, bytes(range(36)))
        + pack_attribute(4, b"bbr\0")
        + pack_attribute(21, (7).to_bytes(8, "little"))
        + pack_attribute(15, (5).to_bytes(4, "little"))
        + SHUTDOWN
    )
    one = build(timer=2, expires=7_000, retransmits=1, attributes=attributes, uid=33)
    assert one.timer == Timer("keepalive", 7_000, 1)
    assert (one.congestion, one.cgroup, one.mark, one.shutdown) == ("bbr", "/system.slice", 5, 2)
    assert one.memory.rmem_alloc_bytes == int.from_bytes(bytes(range(4)), "little")
    assert (one.uid, one.netns, one.inode) == (33, 99, 7)


@pytest.mark.parametrize(("value", "v6only"), [(b"\0", False), (b"\1", True)])
def test_v6only_of_a_listener(value, v6only):
    assert build(family=10, source="::", remote="::", state=10, attributes=pack_attribute(11, value)).v6only is v6only


def test_v6only_is_unknown_without_the_attribute_and_for_ipv4():
    assert build(family=10, source="::1", remote="::1").v6only is None
    assert build(attributes=pack_attribute(11, b"\0")).v6only is None


def test_udp_is_no_listener_even_in_state_ten():
    one = build(proto=17, state=7, send_q=3)
    assert (one.proto, one.backlog, one.is_unaccepted) == ("udp", None, False)


def test_row_of_procfs_has_no_backlog():
    (row,) = parse_rows([build_message(state=10, cookie=0)], 6)
    assert build_socket(row).backlog is None
