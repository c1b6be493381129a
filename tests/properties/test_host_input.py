"""A host under mutated packets: nothing raises, nothing multiplies, what is dropped is counted."""

import contextlib
import os
from random import Random

import pytest
from tests.unit.stack.test_host import FAR, NEAR, NOW, SECOND, icmp_about, packet, with_options

from tcpscope.machine.calls import CallError
from tcpscope.machine.connection import Connection
from tcpscope.machine.internet import Internet
from tcpscope.machine.listener import Settings
from tcpscope.machine.profile import PROFILES
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import RST, Options, Segment
from tcpscope.stack.host import Host, Interface
from tcpscope.wire.checksum import transport_checksum
from tcpscope.wire.parse import parse_ip, parse_tcp

EPISODES = 4000 if os.environ.get("TCPSCOPE_LONG") else 150
STEPS = 50
FLAGS = [0x02, 0x02, 0x10, 0x10, 0x18, 0x11, 0x12, 0x04, 0x14, 0x00, 0xFF]
LONGEST_ROUTE = b"\x83\x27\x28" + bytes(range(1, 37)) + b"\x00"


class Mutant:
    """A host with a listener and a client, and a generator of packets near what they expect."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.host = Host([Interface(FAR)], secret=b"s", profile=random.choice(list(PROFILES.values())))
        settings = Settings(backlog=2, cookies=random.choice(["auto", "always", "never"]))
        self.listener = self.host.open_passive(Endpoint(FAR, 80), settings=settings)
        wanted = Internet(options=random.choice([b"", b"\x07\x0b\x04" + bytes(9)]))
        self.client = self.host.open_active(Endpoint(NEAR, 80), NOW, local=Endpoint(FAR, 5), internet=wanted)
        self.now_ns = NOW
        self.known = [parse_tcp(parse_ip(octets).payload).segment for octets in self.host.poll(NOW)]
        self.sent: list[bytes] = [packet(Segment(1, 0, 2), source=FAR, destination=NEAR)]

    def make(self) -> bytes:
        """Make a packet from what the host has said, or from nothing."""
        random = self.random
        said = random.choice(self.known[-6:])
        options = Options(
            random.choice([None, 0, 1460]), random.choice([None, 7]), random.random() < 0.5,
            timestamp=random.choice([None, (5, said.options.timestamp[0] if said.options.timestamp else 0)]),
        )  # fmt: skip
        segment = Segment(
            (said.ack + random.choice([0, 0, 0, 1, -1, 5000])) & 0xFFFFFFFF,
            (said.seq + random.choice([0, 1, 1, 1, 2, 9000])) & 0xFFFFFFFF,
            random.choice(FLAGS), random.choice([0, 100, 65535]), bytes(random.choice([0, 0, 3, 1400])), options,
        )  # fmt: skip
        octets = packet(segment, ports=random.choice([(80, 5), (80, 5), (7, 80), (8, 80), (9, 81)]))
        kind = random.random()
        if kind < 0.15:
            return with_options(octets, random.choice([LONGEST_ROUTE, b"\x83\x07\x08\x0a\x09\x00\x01\x00", bytes(4)]))
        if kind < 0.25:
            return icmp_about(random.choice(self.sent), random.choice([3, 4, 11, 12]), random.randrange(16))
        return self.spoil(bytearray(octets)) if kind < 0.5 else octets

    def spoil(self, octets: bytearray) -> bytes:
        """Change some octets, or cut; often with a checksum that is right again."""
        random = self.random
        for _ in range(random.choice([1, 1, 3])):
            octets[random.randrange(len(octets))] = random.randrange(256)
        if random.random() < 0.6 and octets[0] == 0x45 and len(octets) >= 40:
            octets[36:38] = b"\0\0"
            field = transport_checksum(bytes(octets[12:16]), bytes(octets[16:20]), 6, (octets[20:],))
            octets[36:38] = field.to_bytes(2, "big")
        return bytes(octets[: random.choice([len(octets)] * 5 + [random.randrange(len(octets))])])

    def use(self, connection: Connection) -> None:
        """Do what a program does; being refused is fine."""
        name = self.random.choice(["send", "receive", "shutdown", "close"])
        with contextlib.suppress(CallError):
            if name == "send":
                connection.send(b"text")
            elif name == "receive":
                connection.receive()
            else:
                getattr(connection, name)(self.now_ns)

    def step(self) -> None:
        """Give one packet, make one call or let time pass; look at what comes out."""
        random = self.random
        is_reset = False
        kind = random.random()
        if kind < 0.8:
            octets = self.make()
            is_reset = len(octets) > 33 and octets[9] == 6 and octets[0] == 0x45 and bool(octets[33] & RST)
            self.host.receive_packet(octets, self.now_ns)
        elif kind < 0.9:
            self.use(self.listener.accept() or self.client)
        else:
            self.now_ns += random.choice([1, SECOND // 5, 100 * SECOND])
        count = 0
        while out := self.host.poll(self.now_ns):
            count += len(out)
            assert count <= 200, "replies are bounded"
            for octets in out:
                datagram = parse_ip(octets)
                header = parse_tcp(datagram.payload)
                assert not header.problems and len(datagram.options) <= 40
                assert not (is_reset and header.segment.flags & RST), "a reset is never answered by a reset"
                self.known.append(header.segment)
                self.sent.append(octets)
        when = self.host.next_deadline()
        assert when is None or when > self.now_ns, "after polling nothing is due"


@pytest.mark.timeout(900)
def test_mutated_packets_raise_nothing_and_multiply_nothing():
    for seed in range(EPISODES):
        mutant = Mutant(seed)
        for _ in range(STEPS):
            mutant.step()
        assert len(mutant.host.connections) + len(mutant.host.time_waits) < 10
