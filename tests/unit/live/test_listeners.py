"""Which listener a connection came through, as the kernel chooses it."""

from tcpscope.live import counts
from tcpscope.live.listeners import find_listeners
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner, Socket
from tcpscope.model.state import State


def listener(address, port=80, **more):
    return Socket("tcp", State.LISTEN, Endpoint(address, port), Endpoint("0.0.0.0", 0), **more)


def connection(address, port=80, **more):
    return Socket("tcp", State.ESTABLISHED, Endpoint(address, port), Endpoint("192.0.2.9", 5000), **more)


V4, V6ONLY, DUAL = listener("0.0.0.0"), listener("::", v6only=True), listener("::", v6only=False)


def through(socket, *listeners):
    return next(counts.by_listener(listeners)(socket))


def test_families_are_told_apart():
    assert through(connection("10.0.0.1"), V6ONLY, V4) == "0.0.0.0:80"
    assert through(connection("2001:db8::1"), V4, V6ONLY) == "[::]:80"
    assert through(connection("10.0.0.1"), V6ONLY) == ""
    assert through(connection("2001:db8::1"), V4) == ""


def test_listener_for_both_families_takes_both_and_is_a_star():
    assert through(connection("2001:db8::1"), DUAL) == "*:80"
    assert through(connection("::ffff:10.0.0.1"), DUAL) == "*:80"
    assert through(connection("10.0.0.1"), DUAL) == "*:80"  # a request socket


def test_connection_of_the_same_family_as_the_listener_is_nearer():
    assert through(connection("10.0.0.1"), DUAL, V4) == "0.0.0.0:80"
    assert through(connection("::ffff:10.0.0.1"), V4, DUAL) == "*:80"


def test_address_goes_before_interface_before_any():
    exact, on_device = listener("10.0.0.1"), listener("0.0.0.0", interface=3)
    assert through(connection("10.0.0.1", interface=3), V4, on_device, exact) == "10.0.0.1:80"
    assert counts.listener_finder([V4, on_device])(connection("10.0.0.2", interface=3)) is on_device
    assert counts.listener_finder([V4, on_device])(connection("10.0.0.2")) is V4


def test_other_ports_protocols_and_namespaces_are_no_listener():
    assert through(connection("10.0.0.1", 81), V4) == ""
    assert through(connection("10.0.0.1")._replace(proto="udp"), V4) == ""
    assert through(connection("10.0.0.1", netns=7), V4) == ""
    elsewhere = listener("0.0.0.0", netns=7)
    assert counts.listener_finder([V4, elsewhere])(connection("10.0.0.1", netns=7)) is elsewhere


def test_sockets_that_share_an_address_are_one_listener():
    shared = [listener("0.0.0.0", recv_q=2, backlog=5, owners=(Owner(pid, "nginx", 3),)) for pid in (1, 2)]
    other = listener("127.0.0.1", 22, backlog=128)
    (busiest, quiet) = find_listeners([*shared, other, *[connection("10.0.0.1")] * 3])
    assert (busiest.sockets, busiest.connections, busiest.waiting, busiest.backlog) == (2, 3, 4, 10)
    assert (quiet.socket, quiet.sockets, quiet.connections) == (other, 1, 0)


def test_backlog_that_is_not_told_is_not_summed():
    (one,) = find_listeners([listener("0.0.0.0", backlog=5), listener("0.0.0.0")])
    assert one.backlog is None
