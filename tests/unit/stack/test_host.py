"""A host of connections in bytes: addresses, ports, DS field, hop limit, source routes, ICMP (RFC 9293 §3.9)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest

from tcpscope.machine.calls import CallError
from tcpscope.machine.connection import Connection
from tcpscope.machine.internet import Internet
from tcpscope.machine.listener import Listener, Settings
from tcpscope.machine.profile import FREEBSD, LINUX, RFC
from tcpscope.model.address import Endpoint
from tcpscope.model.errors import UsageError
from tcpscope.model.segment import ACK, FIN, RST, SYN, Segment
from tcpscope.model.state import State
from tcpscope.stack.host import Host, Interface
from tcpscope.wire import emit
from tcpscope.wire.address import parse_address
from tcpscope.wire.checksum import checksum, is_good
from tcpscope.wire.parse import Datagram, parse_ip, parse_tcp
from tcpscope.wire.source_route import parse_source_route

MS, SECOND = 1_000_000, 1_000_000_000
NOW = 1_000 * SECOND
NEAR, FAR = "192.0.2.1", "192.0.2.2"
SERVER = Endpoint(FAR, 80)
ROUTER, SECOND_ROUTER = "192.0.2.100", "192.0.2.200"


def make_hosts(profile=LINUX, near: list[Interface] | None = None) -> tuple[Host, Host]:
    """Return a client's host and a server's host on one network."""
    return (
        Host(near or [Interface(NEAR), Interface("2001:db8::1", 64)], secret=b"near", profile=profile),
        Host([Interface(FAR), Interface("2001:db8::2", 64)], secret=b"far", profile=profile),
    )


class Pair:
    """Two hosts and the wire between them; every packet is kept."""

    def __init__(self, **named: object) -> None:
        self.hosts = make_hosts(**named)  # type: ignore[arg-type]
        self.now_ns = NOW
        self.packets: list[tuple[int, bytes]] = []
        #: what happens to a packet on its way
        self.carries: Callable[[bytes], bytes | None] = lambda packet: packet

    def settle(self) -> list[Datagram]:
        """Carry packets until nobody has any more; return what was carried."""
        first = len(self.packets)
        while moved := list(self._move()):
            self.packets += moved
            assert len(self.packets) < 1000, "the hosts do not stop"
        return [parse_ip(packet) for _, packet in self.packets[first:]]

    def _move(self) -> Iterator[tuple[int, bytes]]:
        for end in (0, 1):
            for packet in self.hosts[end].poll(self.now_ns):
                yield end, packet
                arrived = self.carries(packet)
                if arrived is not None:
                    self.hosts[1 - end].receive_packet(arrived, self.now_ns)

    def connect(self, remote: Endpoint = SERVER, **named: object) -> tuple[Connection, Connection, Listener]:
        """Let the near host connect to a listener of the far one."""
        listener = self.hosts[1].open_passive(remote)
        client = self.hosts[0].open_active(remote, self.now_ns, **named)  # type: ignore[arg-type]
        self.settle()
        server = listener.accept()
        assert server is not None and client.state is server.state is State.ESTABLISHED
        return client, server, listener

    def wait(self, ns: int) -> None:
        """Let time pass from deadline to deadline."""
        end_ns = self.now_ns + ns
        while True:
            times = [when for when in (host.next_deadline() for host in self.hosts) if when is not None]
            if not times or min(times) > end_ns:
                break
            self.now_ns = max(self.now_ns, min(times))
            self.settle()
        self.now_ns = end_ns
        self.settle()


def packet(segment: Segment, *, source: str = NEAR, destination: str = FAR, ports: tuple[int, int] = (5, 80)) -> bytes:
    return emit.emit_packet(segment, parse_address(source), parse_address(destination), *ports)


def answers(host: Host, octets: bytes) -> list[Segment]:
    host.receive_packet(octets, NOW)
    return [parse_tcp(parse_ip(answer).payload).segment for answer in host.poll(NOW)]


@pytest.mark.parametrize("remote", [SERVER, Endpoint("2001:db8::2", 80)], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("profile", [RFC, LINUX, FREEBSD], ids=lambda profile: profile.name)
def test_bytes_go_both_ways_and_both_ends_close(profile, remote):
    pair = Pair(profile=profile)
    client, server, _ = pair.connect(remote)
    for sender, reader in ((client, server), (server, client)):
        text, read = bytes(range(256)) * 500, b""
        rest = text
        while len(read) < len(text):
            rest = rest[sender.send(rest) :] if rest else rest
            pair.settle()
            read += reader.receive() or b""
            pair.wait(100 * MS)
        assert read == text
    client.close(pair.now_ns)
    pair.settle()
    server.close(pair.now_ns)
    pair.settle()
    assert not pair.hosts[1].connections and not pair.hosts[0].connections
    assert [*pair.hosts[0].time_waits]
    pair.wait(5 * 60 * SECOND)
    assert not pair.hosts[0].time_waits and pair.hosts[0].next_deadline() is None


@pytest.mark.rfc("MUST-2", "MUST-3")
def test_every_packet_carries_a_good_checksum_and_a_bad_one_is_dropped():
    pair = Pair()
    client, server, _ = pair.connect()
    client.send(b"some text")
    pair.wait(SECOND)
    for _, octets in pair.packets:
        datagram = parse_ip(octets)
        assert is_good(datagram.source, datagram.destination, 6, datagram.payload)
        assert checksum(octets[:20]) == 0
    pair.carries = lambda octets: octets[:-1] + bytes((octets[-1] ^ 1,))
    client.send(b"more")
    pair.settle()
    assert server.receive() == b"some text" and pair.hosts[1].drops["checksum"]


@pytest.mark.rfc("MUST-42")
@pytest.mark.parametrize("state", [State.SYN_SENT, State.SYN_RECEIVED])
def test_port_of_a_connection_that_opens_can_be_listened_on(state):
    host = make_hosts()[0]
    here = Endpoint(NEAR, 8080)
    opening = host.open_active(SERVER, NOW, local=here)
    syn = parse_tcp(parse_ip(host.poll(NOW)[0]).payload).segment
    if state is State.SYN_RECEIVED:
        host.receive_packet(packet(Segment(7, 0, SYN, 100), source=FAR, destination=NEAR, ports=(80, 8080)), NOW)
    assert opening.state is state
    listener = host.open_passive(here)
    assert opening.state is state and opening.tcb.iss == syn.seq
    stranger = packet(Segment(9, 0, SYN, 100), source="192.0.2.77", destination=NEAR, ports=(1, 8080))
    assert SYN | ACK in [answer.flags for answer in answers(host, stranger)]
    assert [*listener.incomplete] == [Endpoint("192.0.2.77", 1)]


@pytest.mark.rfc("MUST-41")
def test_second_passive_open_is_refused_and_disturbs_nothing():
    host = make_hosts()[1]
    listener = host.open_passive(SERVER)
    for place in (SERVER, Endpoint("0.0.0.0", 80)):
        with pytest.raises(CallError, match="connection already exists"):
            host.open_passive(place)
    assert host.listeners == {SERVER: listener}
    assert [answer.flags for answer in answers(host, packet(Segment(1, 0, SYN, 100)))] == [SYN | ACK]


@pytest.mark.rfc("MUST-43", "MUST-44", "MUST-45")
def test_local_address_is_the_caller_s_or_ip_s_choice_and_stays():
    two = [Interface("198.51.100.9"), Interface(NEAR)]
    for local, expected in (
        (None, NEAR),
        (Endpoint("198.51.100.9", 0), "198.51.100.9"),
        (Endpoint("0.0.0.0", 7), NEAR),
    ):
        pair = Pair(near=two)
        client, server, _ = pair.connect(local=local)
        client.send(b"x" * 4000)
        pair.settle()
        client.close(pair.now_ns)
        server.close(pair.now_ns)
        pair.settle()
        sent = [parse_ip(octets) for end, octets in pair.packets if end == 0]
        assert {datagram.source for datagram in sent} == {parse_address(expected)} and len(sent) > 4
        assert client.tcb.local.address == expected


@pytest.mark.rfc("MUST-43")
def test_passive_open_takes_one_address_or_all_and_accepts_from_one_queue():
    host = Host([Interface(FAR), Interface("198.51.100.2")], secret=b"s", profile=LINUX)
    everywhere = host.open_passive(Endpoint("0.0.0.0", 80), settings=Settings(backlog=5))
    only = host.open_passive(Endpoint(FAR, 81))
    for destination in (FAR, "198.51.100.2"):
        (syn_ack,) = answers(host, packet(Segment(1, 0, SYN, 100), destination=destination))
        last = Segment(2, (syn_ack.seq + 1) & 0xFFFFFFFF, ACK, 100)
        assert answers(host, packet(last, destination=destination)) == []
    accepted = [everywhere.accept(), everywhere.accept()]
    assert [child.tcb.local.address for child in accepted] == [FAR, "198.51.100.2"]
    refused = packet(Segment(1, 0, SYN, 100), destination="198.51.100.2", ports=(5, 81))
    assert [answer.flags for answer in answers(host, refused)] == [RST | ACK] and not only.incomplete


def test_address_that_is_not_ours_or_of_the_other_family_is_refused():
    host = Host([Interface(NEAR)], secret=b"s")
    for local in (Endpoint("203.0.113.1", 0), Endpoint("2001:db8::1", 0)):
        with pytest.raises(CallError, match="is no address of this host"):
            host.open_active(SERVER, NOW, local=local)
    with pytest.raises(CallError, match="no local address to reach"):
        host.open_active(Endpoint("2001:db8::2", 80), NOW)
    with pytest.raises(CallError, match="is no address of this host"):
        host.open_passive(Endpoint("203.0.113.1", 80))


@pytest.mark.rfc("MUST-46")
@pytest.mark.parametrize("address", ["224.0.0.1", "255.255.255.255", "192.0.2.255", "ff02::1", "0.0.0.0", "::"])
def test_open_to_broadcast_multicast_or_nobody_is_refused_before_anything_is_sent(address):
    host = make_hosts()[0]
    with pytest.raises(CallError, match=r"not a unicast address|unspecified"):
        host.open_active(Endpoint(address, 80), NOW)
    assert host.poll(NOW) == [] and not host.connections


@pytest.mark.rfc("MUST-57")
@pytest.mark.parametrize("address", ["224.0.0.1", "255.255.255.255", "192.0.2.255"])
def test_syn_addressed_to_broadcast_or_multicast_is_dropped_silently(address):
    host = make_hosts()[1]
    host.open_passive(Endpoint("0.0.0.0", 80))
    assert answers(host, packet(Segment(1, 0, SYN, 100), destination=address)) == []
    assert host.drops == {"not for this host": 1} and not host.listeners[SERVER].incomplete


@pytest.mark.rfc("MUST-63")
@pytest.mark.parametrize("address", ["224.0.0.1", "255.255.255.255", "192.0.2.255", "0.0.0.0"])
def test_syn_from_no_unicast_address_is_ignored(address):
    host = make_hosts()[1]
    host.open_passive(SERVER)
    for port in (80, 81):  # neither SYN|ACK nor RST
        assert answers(host, packet(Segment(1, 0, SYN, 100), source=address, ports=(5, port))) == []
    assert host.drops == {"source is no unicast address": 2}


@pytest.mark.rfc("MUST-48", "SHLD-21", "SHLD-22", "MAY-9")
@pytest.mark.parametrize("remote", [SERVER, Endpoint("2001:db8::2", 80)], ids=["IPv4", "IPv6"])
def test_ds_field_is_the_application_s_unchanged_and_may_change(remote):
    pair = Pair()
    client, server, listener = pair.connect(remote, internet=Internet(dscp=46))
    sent = [parse_ip(octets).traffic_class for end, octets in pair.packets if end == 0]
    assert sent == [46 << 2] * len(sent) and sent  # the SYN among them
    assert server.internet.received_dscp == 46 and client.internet.received_dscp == 0
    server.set_internet(server.internet._replace(dscp=10))
    server.send(b"x")
    assert [one.traffic_class for one in pair.settle()] == [10 << 2]
    pair.wait(SECOND)
    assert client.internet.received_dscp == 10
    client.set_internet(client.internet._replace(dscp=0))
    client.send(b"y")
    assert pair.settle()[0].traffic_class == 0
    listener.internet = Internet(dscp=3)
    pair.hosts[0].open_active(remote, pair.now_ns)
    assert [one.traffic_class for one in pair.settle()] == [0, 3 << 2, 0]


@pytest.mark.rfc("SHLD-22")
def test_ds_field_stands_beside_the_congestion_marks():
    pair = Pair(profile=LINUX._replace(ecn=True))
    client, _, _ = pair.connect(internet=Internet(dscp=46))
    client.send(b"x")
    assert pair.settle()[0].traffic_class == 46 << 2 | 2


@pytest.mark.rfc("MUST-49")
@pytest.mark.parametrize("remote", [SERVER, Endpoint("2001:db8::2", 80)], ids=["IPv4", "IPv6"])
def test_hop_limit_can_be_set_for_each_connection(remote):
    pair = Pair()
    _, server, _ = pair.connect(remote, internet=Internet(hop_limit=3))
    assert {parse_ip(octets).hop_limit for end, octets in pair.packets if end == 0} == {3}
    assert {parse_ip(octets).hop_limit for end, octets in pair.packets if end == 1} == {64}
    server.set_internet(server.internet._replace(hop_limit=255))
    server.send(b"x")
    assert pair.settle()[0].hop_limit == 255


@pytest.mark.parametrize(
    "wrong",
    [
        {"dscp": 64},
        {"dscp": -1},
        {"hop_limit": 0},
        {"hop_limit": 256},
        {"route": (ROUTER,) * 9},
        {"route": (ROUTER,) * 8, "options": b"\7\7\4\0\0\0\0"},
        {"options": bytes(44)},
    ],
)
def test_setting_that_fits_no_header_is_refused(wrong):
    client = make_hosts()[0].open_active(SERVER, NOW)
    with pytest.raises(UsageError):
        client.set_internet(Internet(**wrong))


def with_options(octets: bytes, options: bytes) -> bytes:
    """Put IPv4 options into a packet, as a router or an odd host would."""
    datagram = parse_ip(octets)
    head = emit.emit_ipv4_header(
        datagram.source, datagram.destination, datagram.length, ttl=datagram.hop_limit, options=options
    )
    return head + bytes(datagram.payload)


@pytest.mark.rfc("MUST-50")
@pytest.mark.parametrize(
    "options", [b"\x94\x04\x00\x00", b"\x1e\x06abcd\x00\x00", b"\x01\x01\x01\x00", b"\xde\x01zz", b"\x83\x07\x04\xff"]
)
def test_ip_options_that_are_not_understood_are_ignored(options):
    """Router alert, an unknown one, padding, nonsense, a source route cut short."""
    pair = Pair()
    pair.carries = lambda octets: with_options(octets, options)
    client, server, _ = pair.connect()
    client.send(b"text")
    pair.settle()
    assert server.receive() == b"text"


def route_by(octets: bytes, routers: dict[str, str]) -> bytes:
    """Do what routers on a loose source route do (RFC 791): take its next address, leave one's own."""
    datagram = parse_ip(octets)
    option, destination = bytearray(datagram.options), datagram.destination
    while option and option[0] == 131 and option[2] <= option[1]:
        here, at = next(name for name in routers if parse_address(name) == destination), option[2] - 1
        destination = bytes(option[at : at + 4])
        option[at : at + 4] = parse_address(routers[here])
        option[2] += 4
    size = datagram.length
    return emit.emit_ipv4_header(datagram.source, destination, size, options=bytes(option)) + bytes(datagram.payload)


#: Routers by the address that packets reach them at, and the one they leave in the route.
ROUTERS = {ROUTER: ROUTER, SECOND_ROUTER: SECOND_ROUTER}


def hops_of(octets: bytes) -> tuple[str, tuple[str, ...]]:
    """Return where a packet is addressed to, and its source route."""
    datagram = parse_ip(octets)
    found = parse_source_route(datagram.options)
    return ".".join(map(str, datagram.destination)), found[0] if found else ()


@pytest.mark.rfc("MUST-51", "MUST-53")
def test_active_open_takes_a_source_route_and_the_other_end_comes_back_by_it():
    pair = Pair()
    pair.carries = lambda octets: route_by(octets, ROUTERS)
    client, server, _ = pair.connect(internet=Internet(route=(ROUTER, SECOND_ROUTER)))
    client.send(b"x" * 3000)
    pair.settle()
    server.send(b"y" * 3000)
    pair.settle()
    assert client.receive() == b"y" * 3000 and server.receive() == b"x" * 3000
    there = {hops_of(octets) for end, octets in pair.packets if end == 0}
    back = {hops_of(octets) for end, octets in pair.packets if end == 1}
    assert there == {(ROUTER, (SECOND_ROUTER, FAR))}  # every segment, the SYN first
    assert back == {(SECOND_ROUTER, (ROUTER, NEAR))}  # the SYN|ACK too
    assert max(len(parse_ip(octets).payload) for _, octets in pair.packets) <= 1500 - 20 - 12  # MUST-16


@pytest.mark.rfc("MUST-52", "SHLD-24")
def test_named_route_goes_before_a_received_one_and_a_later_one_before_an_earlier():
    pair = Pair()
    pair.carries = lambda octets: route_by(octets, ROUTERS)
    client, server, _ = pair.connect(internet=Internet(route=(ROUTER,)))
    client.set_internet(client.internet._replace(route=(SECOND_ROUTER, ROUTER)))
    client.send(b"x")
    pair.settle()
    assert server.internet.route == (ROUTER, SECOND_ROUTER)  # the way back of the newest segment
    server.set_internet(Internet(route=(SECOND_ROUTER,)))
    client.send(b"y")
    pair.settle()
    assert server.internet.route == (SECOND_ROUTER,)
    assert client.internet.route == (SECOND_ROUTER, ROUTER)  # what came back by another way changes nothing


def test_packet_whose_source_route_leads_on_is_not_for_tcp():
    host = make_hosts()[1]
    host.open_passive(SERVER)
    leads_on = b"\x83\x07\x04" + parse_address(ROUTER) + b"\x00"
    assert answers(host, with_options(packet(Segment(1, 0, SYN, 100)), leads_on)) == []
    assert host.drops["source route leads on"] == 1


@pytest.mark.rfc("MAY-10", "MAY-11")
def test_record_route_and_timestamp_options_are_sent_when_wanted():
    record_route, timestamp = b"\x07\x0b\x04" + bytes(8) + b"\x01", b"\x44\x0c\x05\x00" + bytes(8)
    for wanted in (record_route, timestamp):
        pair = Pair()
        client, server, _ = pair.connect(internet=Internet(options=wanted))
        client.send(bytes(3000))
        pair.settle()
        sent = [parse_ip(octets) for end, octets in pair.packets if end == 0]
        assert {datagram.options for datagram in sent} == {wanted} and server.readable_bytes == 3000
        assert max(20 + len(wanted) + datagram.length for datagram in sent) == 1500  # text made room (MUST-16)


@pytest.mark.rfc("SHLD-6", "MUST-67")
def test_mss_is_announced_for_the_smallest_mtu_of_a_link_that_varies():
    host = Host([Interface(NEAR, mtu_bytes=9000, least_mtu_bytes=1400)], secret=b"s", profile=LINUX)
    host.open_active(SERVER, NOW)
    host.open_passive(Endpoint(NEAR, 80))
    to_us = packet(Segment(1, 0, SYN, 100), source=FAR, destination=NEAR)
    assert [answer.options.mss for answer in answers(host, to_us)] == [1360, 1360]


@pytest.mark.rfc("MAY-4")
def test_same_segment_again_has_the_same_identification():
    pair = Pair()
    client, _, _ = pair.connect()
    pair.carries = lambda _: None
    client.send(b"lost")
    pair.wait(10 * SECOND)
    times = [parse_ip(octets).identification for end, octets in pair.packets if bytes(octets).endswith(b"lost")]
    assert len(times) > 2 and set(times) == {0}  # atomic datagrams (RFC 6864 §4.1): never fragmented


def icmp_about(octets: bytes, kind: int, code: int, word: int = 0) -> bytes:
    """Make the ICMP error a router would send about a packet."""
    datagram = parse_ip(octets)
    body = struct.pack(">BBHI", kind, code, 0, word) + octets[:28]
    body = body[:2] + struct.pack(">H", checksum(body)) + body[4:]
    router = parse_address(ROUTER)
    return emit.emit_ip_header(router, datagram.source, len(body), 1) + body


@pytest.mark.rfc("MUST-54", "MUST-56", "MUST-47", "SHLD-25")
def test_icmp_error_reaches_the_connection_it_quotes_and_no_other():
    pair = Pair()
    client, _, listener = pair.connect()
    other = pair.hosts[0].open_active(SERVER, pair.now_ns)
    pair.settle()
    pair.carries = lambda _: None
    client.send(b"text")
    pair.settle()
    lost = pair.packets[-1][1]
    for kind, code in ((3, 0), (3, 1), (3, 5), (11, 0), (12, 0)):
        client.events(), other.events()
        pair.hosts[0].receive_packet(icmp_about(lost, kind, code), pair.now_ns)
        assert [report.text for report in client.events()] == [f"ICMP type {kind} code {code}"]
        assert other.events() == [] and client.state is State.ESTABLISHED
    assert client.status().soft_error and listener.accept() is not None
    old = pair.packets[0][1]  # the SYN: nothing of it is in flight any more (RFC 5927 §4.1)
    pair.hosts[0].receive_packet(icmp_about(old, 3, 1), pair.now_ns)
    assert [report.kind for report in client.events()] == ["dropped"]


@pytest.mark.rfc("MUST-55", "SHLD-26")
def test_source_quench_is_dropped_and_port_unreachable_refuses_a_syn():
    host = make_hosts(RFC)[0]
    client = host.open_active(SERVER, NOW)
    (syn,) = host.poll(NOW)
    before = client.status()
    host.receive_packet(icmp_about(syn, 4, 0), NOW)
    assert client.status() == before and host.poll(NOW) == []
    assert [report.kind for report in client.events()] == ["state"]
    host.receive_packet(icmp_about(syn, 3, 3), NOW)
    assert client.state is State.CLOSED and client.error == "connection refused"


def test_icmp_error_ends_a_handshake_of_a_listener():
    host = make_hosts(RFC)[1]
    listener = host.open_passive(SERVER)
    host.receive_packet(packet(Segment(1, 0, SYN, 100)), NOW)
    (syn_ack,) = host.poll(NOW)
    host.receive_packet(icmp_about(syn_ack, 3, 3), NOW)
    host.poll(NOW)
    assert not listener.incomplete


def test_segment_of_no_connection_is_reset_and_a_reset_is_not():
    host = make_hosts()[1]
    (reset,) = answers(host, packet(Segment(5, 77, ACK)))
    assert reset == Segment(77, 0, RST, payload=reset.payload)
    (refused,) = answers(host, packet(Segment(5, 0, SYN)))
    assert (refused.seq, refused.ack, refused.flags) == (0, 6, RST | ACK)
    assert answers(host, packet(Segment(5, 0, RST))) == [] and host.drops["no connection"] == 3


@pytest.mark.rfc("MAY-2")
def test_time_wait_record_answers_and_hands_a_newer_syn_to_the_listener():
    pair = Pair()
    client, server, listener = pair.connect(local=Endpoint(NEAR, 4000))
    server.close(pair.now_ns)
    pair.settle()
    client.close(pair.now_ns)
    pair.settle()
    ((ends, record),) = pair.hosts[1].time_waits.items()
    above, expected = record.snd_nxt, record.rcv_nxt
    again = packet(Segment(expected - 1, above, FIN | ACK), ports=(4000, 80))
    (acknowledged,) = answers(pair.hosts[1], again)
    assert (acknowledged.flags, acknowledged.ack) == (ACK, expected)
    (fresh,) = answers(pair.hosts[1], packet(Segment(expected + 70_000, 0, SYN, 100), ports=(4000, 80)))
    assert fresh.flags == SYN | ACK and 0 < (fresh.seq - above) & 0xFFFFFFFF < 1 << 31
    assert ends not in pair.hosts[1].time_waits and [*listener.incomplete] == [Endpoint(NEAR, 4000)]


@pytest.mark.rfc("MUST-7")
@pytest.mark.parametrize("raw", [b"\x08\x00zz", b"\x08\x01zz", b"\xfe\x28zz", b"\x02\x04\x05\xb4\x03\x00\x00\x00"])
def test_option_of_nonsense_length_is_counted_and_the_connection_lives(raw):
    pair = Pair()

    def spoil(octets: bytes) -> bytes:
        datagram = parse_ip(octets)
        tcp = bytearray(datagram.payload)
        size = (tcp[12] >> 4) * 4
        body = tcp[:20] + raw + tcp[size:]
        body[12] = (20 + len(raw)) // 4 << 4
        body[16:18] = b"\0\0"
        body[16:18] = struct.pack(">H", checksum_of(datagram, body))
        return emit.emit_ipv4_header(datagram.source, datagram.destination, len(body)) + bytes(body)

    pair.carries = spoil
    client, server, _ = pair.connect()
    client.send(b"text")
    pair.settle()
    assert server.receive() == b"text" and pair.hosts[1].drops["malformed option"] >= 3


def checksum_of(datagram: Datagram, body: bytes | bytearray) -> int:
    from tcpscope.wire.checksum import transport_checksum

    return transport_checksum(datagram.source, datagram.destination, 6, (body,))


def test_junk_is_dropped_and_counted():
    host = make_hosts()[1]
    host.open_passive(SERVER)
    good = packet(Segment(1, 0, SYN, 100))
    fragment = emit.emit_ipv4_header(good[12:16], good[16:20], 24, fragment=0x2000) + good[20:] + bytes(4)
    bad_offset = bytearray(good)
    bad_offset[32] = 0xF0
    bad_offset[36:38] = b"\0\0"
    bad_offset[36:38] = struct.pack(">H", checksum_of(parse_ip(good), bad_offset[20:]))
    for octets in (b"", b"\x45", good[:30], fragment, bytes(bad_offset), good[:9] + b"\x11" + good[10:]):
        assert answers(host, octets) == [], octets
    assert host.drops["fragment"] == 1 and host.drops["data offset"] == 1
    assert host.drops.total() == 6 and not host.listeners[SERVER].incomplete


def test_ports_are_hard_to_guess_and_never_used_twice():
    host = make_hosts()[0]
    ports = [host.open_active(SERVER, NOW).tcb.local.port for _ in range(200)]
    assert len(set(ports)) == 200 and min(ports) >= 49152
    other = Host([Interface(NEAR)], secret=b"another")
    assert other.open_active(SERVER, NOW).tcb.local.port != ports[0]
    with pytest.raises(CallError, match="connection already exists"):
        host.open_active(SERVER, NOW, local=Endpoint(NEAR, ports[0]))
