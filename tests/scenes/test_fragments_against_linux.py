"""Datagrams in fragments, sound and not: the reassembler finds whole exactly those to which Linux answers.

Each is a SYN to a port where nobody listens, from a source port of its own, written into a TUN device: the kernel
answers with a reset what it put together, and keeps silent otherwise.
"""

import fcntl
import itertools
import os
import random
import select
import struct
import subprocess
import time
from ipaddress import ip_address

import pytest
from tests.patience import PATIENCE_S

from tcpscope.kernel.namespace import NetworkNamespace
from tcpscope.model.segment import SYN, Segment
from tcpscope.wire import checksum, link
from tcpscope.wire.emit import emit_ipv4_header, emit_ipv6_header, emit_tcp
from tcpscope.wire.fragments import Reassembler
from tcpscope.wire.parse import parse_frame

pytestmark = pytest.mark.root
ENDS = {
    4: (ip_address("10.9.0.2").packed, ip_address("10.9.0.1").packed),
    6: (ip_address("fd09::2").packed, ip_address("fd09::1").packed),
}
CASES, READY_PORT, MARKER_PORT, TUNSETIFF, IFF_TUN_NO_PI = 600, 998, 999, 0x400454CA, 0x1001


def piece_of(version, identification, payload, start, end, more, protocol):
    """One fragment of ``payload``."""
    source, target = ENDS[version]
    octets = payload[start:end]
    if version == 4:
        word = start // 8 | (0x2000 if more else 0)
        return emit_ipv4_header(source, target, len(octets), identification=identification, fragment=word) + octets
    header = struct.pack(">BBHI", protocol, 0, start | more, identification)
    return emit_ipv6_header(source, target, 8 + len(octets), protocol=44) + header + octets


def make_case(rng, version, port):
    """Fragments of a SYN, in the order of sending, with what goes wrong in networks and what attackers send."""
    source, target = ENDS[version]
    payload = emit_tcp(Segment(1000, 0, SYN, 1000, bytes(rng.randrange(400))), source, target, port, 7000)
    protocol = 6
    if version == 6 and rng.random() < 0.2:
        payload, protocol = struct.pack(">BBHI", 6, 0, 0x0104, 0) + payload, 60  # destination options: PadN
    bounds = sorted({0, len(payload), *(8 * rng.randrange(1, len(payload) // 8 + 1) for _ in range(rng.randrange(5)))})
    spans = [[start, end, end < len(payload)] for start, end in itertools.pairwise(bounds)]
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        start, end, more = rng.choice(spans)
        what = rng.randrange(8)
        if what == 0:
            spans.append([start, end, more])  # twice
        elif what == 1:
            spans.append([8 * rng.randrange(len(payload) // 8), len(payload), False])  # overlaps the end
        elif what == 2:
            first = 8 * rng.randrange(len(payload) // 8)
            spans.append([first, first + 8 * rng.randrange(1, 6), True])  # overlaps somewhere
        elif what == 3:
            spans.remove([start, end, more])  # lost
            if not spans:
                spans.append([start, end, more])
        elif what == 4:
            spans.append([start, end - rng.randrange(1, 8), more])  # not of eight octets
        elif what == 5:
            spans.append([start, end, not more])  # says it is the last, or that it is not
        elif what == 6:
            spans.append([start, start, True])  # empty
        else:
            rng.shuffle(spans)
    if rng.random() < 0.3:
        rng.shuffle(spans)
    return [piece_of(version, port, payload, *span, protocol) for span in spans]


def make_cases(seed):
    rng = random.Random(seed)
    return {(version, 1000 + n): make_case(rng, version, 1000 + n) for n in range(CASES) for version in (4, 6)}


def whole_ports(cases):
    """Which cases the reassembler puts together, with a good checksum: fragments can end a datagram too early."""
    reassembler, found = Reassembler(), set()
    for t_ns, ((version, _), pieces) in enumerate(cases.items()):
        for piece in pieces:
            whole = reassembler.take(piece, 0, len(piece), len(piece), link.RAW, t_ns)
            packet, length = (piece, len(piece)) if whole is None else (whole.data, whole.original_len)
            frame = parse_frame(packet, length, link.RAW)
            if frame is None or (whole is None and frame.datagram.fragment_offset >= 0):
                continue
            # the text is zeros: what was not kept adds nothing to the sum
            padded = bytes(frame.datagram.payload).ljust(frame.datagram.length, b"\0")
            if checksum.is_good(frame.datagram.source, frame.datagram.destination, 6, padded):
                found.add((version, frame.source.port))
    return found


def answered_ports(cases):
    """Which cases Linux answers."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH14x", b"peer0", IFF_TUN_NO_PI))
    commands = (
        "ip addr add 10.9.0.1/24 dev peer0", "ip addr add fd09::1/64 dev peer0 nodad", "ip link set peer0 mtu 9000",
        "ip link set peer0 up",
    )  # fmt: skip
    for command in commands:
        subprocess.run(command.split(), check=True)
    found = set()
    ready, deadline = {(4, READY_PORT), (6, READY_PORT)}, time.monotonic() + PATIENCE_S
    while not ready <= found:  # Linux: a device is up some time after the command that says so
        assert time.monotonic() < deadline, f"the device does not come up: {found}"
        send_whole(device, READY_PORT)
        found |= read_answers(device, 0.1)
    for pieces in cases.values():
        for piece in pieces:
            os.write(device, piece)
        found |= read_answers(device, 0)
    send_whole(device, MARKER_PORT)
    return device, found


def send_whole(device, port):
    """A SYN in one piece, in both versions."""
    for version, (source, target) in ENDS.items():
        octets = emit_tcp(Segment(5, 0, SYN, 1000), source, target, port, 7000)
        emit = emit_ipv4_header if version == 4 else emit_ipv6_header
        os.write(device, emit(source, target, len(octets)) + octets)


def read_answers(device, patience_s):
    found = set()
    while select.select([device], [], [], patience_s)[0]:
        frame = parse_frame(os.read(device, 65536), link_type=link.RAW)
        if frame is not None:
            found.add((6 if frame.source.is_ipv6 else 4, frame.destination.port))
    return found


def test_whole_is_what_linux_answers():
    cases = make_cases(815)
    expected = whole_ports(cases)
    space = NetworkNamespace.create()
    try:
        space.write_sysctl("net.ipv4.ipfrag_max_dist", 0)
        with space.entered():
            device, found = answered_ports(cases)
            deadline = time.monotonic() + PATIENCE_S
            wanted = expected | {(4, MARKER_PORT), (6, MARKER_PORT)}
            while not wanted <= found and time.monotonic() < deadline:
                found |= read_answers(device, 0.3)
            found |= read_answers(device, 0.3)
            os.close(device)
    finally:
        space.close()
    for version in (4, 6):
        ours = {port for kind, port in expected if kind == version}
        theirs = {port for kind, port in found if kind == version} - {READY_PORT, MARKER_PORT}
        assert ours == theirs, (version, sorted(ours - theirs)[:5], sorted(theirs - ours)[:5])
        assert CASES * 0.2 < len(ours) < CASES * 0.95  # both outcomes are tried
