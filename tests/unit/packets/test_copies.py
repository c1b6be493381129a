"""Packets captured twice are counted once; packets sent twice are not taken for them. All engines agree."""

import importlib.util
import random
import struct

import pytest
from tests.made_captures import ACK, FIN, PSH, RST, SYN, A, B, Talk, frame, pcap, random_capture
from tests.packet_engines import everything, rows_of_interpreted, rows_of_pure, run_compiled, run_interpreted

from tcpscope.packets import analyse
from tcpscope.packets.copies import FRAME_BYTES, MARKED_NS, MOST_FRAMES, UNMARKED_NS
from tcpscope.packets.following import COPY

HAS_NUMBA = importlib.util.find_spec("numba") is not None
MS = 10**6


def read(tmp_path, frames, **header):
    """The one connection of a capture on which all engines agree."""
    path = tmp_path / "made.pcap"
    path.write_bytes(pcap(frames, **header))
    assert rows_of_interpreted(path) == rows_of_pure(path)
    if HAS_NUMBA:
        assert everything(run_compiled(path)) == everything(run_interpreted(path))
    (connection,) = analyse([path]).connections
    return connection


def counts(connection):
    return connection.packets, connection.retransmissions, connection.copies


def numbered(frames, first=7000):
    """Give each packet an identification of its own."""
    return [(t, data[:18] + struct.pack(">H", first + place) + data[20:]) for place, (t, data) in enumerate(frames)]


def ipv6(data):
    addresses = b"".join(b"\x20" + bytes(14) + last for last in (data[29:30], data[33:34]))
    return data[:12] + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(data) - 34, 6, 64) + addresses + data[34:]


def elsewhere(data, hops=1):
    """The same packet behind a router: another link, one hop less."""
    at = 21 if data[12:14] == b"\x86\xdd" else 22
    return b"\x02" + data[1:at] + bytes([data[at] - hops]) + data[at + 1 :]


def transfer():
    talk = Talk().shake()
    for _ in range(4):
        talk.say("a", PSH | ACK, 100).say("b", ACK).say("b", PSH | ACK, 50).say("a", ACK)
    return talk.say("a", FIN | ACK).say("b", FIN | ACK).say("a", ACK).frames


KINDS = {"numbered": numbered, "no identification": list, "IPv6": lambda frames: [(t, ipv6(d)) for t, d in frames]}


@pytest.mark.parametrize("times", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_every_packet_captured_so_often_is_counted_once(tmp_path, kind, times):
    once = KINDS[kind](transfer())
    alone = read(tmp_path, once)
    assert counts(alone) == (len(once), 0, 0)
    copied = read(tmp_path, [(t + copy * 5_000, data) for t, data in once for copy in range(times)])
    assert counts(copied) == (len(once), 0, len(once) * (times - 1))
    assert copied.history == alone.history and copied.handshake_ms == alone.handshake_ms
    assert [move._replace(packet=0) for move in copied.transitions] == [
        move._replace(packet=0) for move in alone.transitions
    ]
    assert any("copies of packets" in note for note in copied.notes)


def test_copies_of_a_burst_come_after_the_burst(tmp_path):
    talk = Talk().shake()
    for _ in range(20):
        talk.say("a", PSH | ACK, 1000, after_ms=0)
    burst = numbered(talk.frames)[3:]
    frames = [*numbered(talk.frames)[:3], *burst, *((t + 30_000, data) for t, data in burst)]
    assert counts(read(tmp_path, frames)) == (23, 0, 20)


@pytest.mark.parametrize("between", [MOST_FRAMES - 1, MOST_FRAMES])
def test_a_copy_is_looked_for_among_so_many_frames(tmp_path, between):
    talk = Talk().shake().say("a", PSH | ACK, 100)
    frames = numbered(talk.frames)
    others = [(talk.t + 1, b"\0" * 12 + b"\x08\x06" + bytes(46))] * between
    found = read(tmp_path, [*frames, *others, (talk.t + 2, frames[-1][1])])
    assert counts(found) == ((4, 0, 1) if between < MOST_FRAMES else (5, 1, 0))


@pytest.mark.parametrize(("kind", "limit_ns"), [("numbered", MARKED_NS + 1), ("no identification", UNMARKED_NS)])
def test_a_copy_comes_soon(tmp_path, kind, limit_ns):
    talk = Talk().shake().say("a", PSH | ACK, 100)
    frames = KINDS[kind](talk.frames)
    for late_ns, expected in ((limit_ns - 1, (4, 0, 1)), (limit_ns, (5, 1, 0))):
        assert counts(read(tmp_path, [*frames, (talk.t + late_ns, frames[-1][1])])) == expected


def test_segment_sent_again_at_once_has_a_new_identification(tmp_path):
    talk = Talk().shake().say("a", PSH | ACK, 100)
    talk.say("a", PSH | ACK, 100, after_ms=0, seq=talk.ends["a"][2] - 100)
    assert counts(read(tmp_path, numbered(talk.frames))) == (5, 1, 0)


@pytest.mark.parametrize("kind", ["no identification", "IPv6"])
def test_fast_retransmission_without_identification_is_one_and_its_duplicate_acks_too(tmp_path, kind):
    """Within a millisecond, equal octet by octet: what the peer said in between tells."""
    talk = Talk().shake()
    for _ in range(4):
        talk.say("a", PSH | ACK, 100, after_ms=0)
    lost = talk.ends["a"][2] - 400
    for _ in range(3):
        talk.say("b", ACK, after_ms=0, ack=lost)
    talk.say("a", PSH | ACK, 100, after_ms=0, seq=lost)
    frames = [(t + place * 20_000, data) for place, (t, data) in enumerate(KINDS[kind](talk.frames))]
    found = read(tmp_path, frames)
    assert counts(found) == (11, 1, 0)
    assert found.to_client.duplicate_acks == 3


def test_constant_identification_says_nothing(tmp_path):
    """Scapy writes 1 everywhere."""
    talk = Talk().shake().say("a", PSH | ACK, 100).say("a", PSH | ACK, 100, after_ms=30, seq=101)
    frames = [(t, data[:18] + b"\0\1" + data[20:]) for t, data in talk.frames]
    assert counts(read(tmp_path, frames)) == (5, 1, 0)


def test_equal_resets_and_keepalive_probes_are_none(tmp_path):
    talk = Talk().shake().say("a", PSH | ACK, 10).say("b", ACK)
    for _ in range(3):
        talk.say("a", ACK, after_ms=75_000, seq=talk.ends["a"][2] - 1).say("b", ACK)
    for _ in range(3):
        talk.say("b", RST, after_ms=0)
    found = read(tmp_path, talk.frames)
    assert found.copies == 0
    assert (found.to_server.keepalives, found.resets) == (3, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_two_interfaces_see_each_packet_and_each_retransmission_once(tmp_path, kind):
    """Of a packet that is sent three times both interfaces show three."""
    talk = Talk().shake().say("a", PSH | ACK, 100).say("a", PSH | ACK, 100)
    again = talk.ends["a"][2] - 100
    talk.say("b", ACK, after_ms=0, ack=again)
    for _ in range(2):
        talk.say("a", PSH | ACK, 100, after_ms=0, seq=again).say("b", ACK, after_ms=0, ack=again)
    talk.say("b", ACK)
    frames = []
    for place, (t, data) in enumerate(KINDS[kind](talk.frames)):
        frames += [(t + place * 50_000, data), (t + place * 50_000 + 9_000, elsewhere(data))]
    found = read(tmp_path, frames)
    assert counts(found) == (len(talk.frames), 2, len(talk.frames))


def test_packet_dropped_between_two_interfaces_is_sent_again(tmp_path):
    """The first sending passed one interface only: what the second shows is the copy of the second sending."""
    talk = Talk().shake().say("a", PSH | ACK, 100)
    talk.say("b", ACK, after_ms=0, ack=101).say("a", PSH | ACK, 100, after_ms=0, seq=101).say("b", ACK)
    frames = []
    for place, (t, data) in enumerate((t, ipv6(data)) for t, data in talk.frames):
        frames.append((t + place * 50_000, data))
        if place != 3:
            frames.append((t + place * 50_000 + 9_000, elsewhere(data)))
    assert counts(read(tmp_path, frames)) == (7, 1, 6)


def test_tagged_and_untagged_are_one_packet(tmp_path):
    frames = []
    for t, data in transfer():
        frames += [(t, data), (t + 4_000, data[:12] + b"\x81\0\0\7" + data[12:])]
    found = read(tmp_path, frames)
    assert counts(found) == (len(frames) // 2, 0, len(frames) // 2)


def test_headers_that_reach_far_are_left_alone(tmp_path):
    options = b"\x3c" + bytes([20]) + b"\x01\x04" + bytes(16 + 8 * 20)
    data = frame(A, B, 1000, 80, 5, 0, SYN)
    packet = struct.pack(">IHBB", 6 << 28, len(options) + 20, 60, 64) + bytes(31) + b"\1"
    far = data[:12] + b"\x86\xdd" + packet + b"\6" + bytes([len(options) // 8 - 1]) + options[2:] + data[34:]
    assert len(far) > FRAME_BYTES
    read(tmp_path, [(1000, far), (2000, far)])


@pytest.mark.parametrize("seed", range(40))
def test_engines_agree_on_random_captures_with_copies(tmp_path, seed):
    rng, frames = random.Random(seed), []
    chance = rng.choice([0.05, 0.5, 1.0])
    for place, (t, data) in enumerate(random_capture(seed, flows=3)):
        if rng.random() < 0.5 and data[12:14] == b"\x08\0":
            data = data[:18] + struct.pack(">H", 100 + place) + data[20:]
        frames.append((t, data))
        if rng.random() < chance:
            frames.append((t + rng.choice([0, 10, 10**5, 10**6]), rng.choice([data, elsewhere(data)])))
    path = tmp_path / "made.pcap"
    path.write_bytes(pcap(frames))
    assert rows_of_interpreted(path) == rows_of_pure(path)
    if HAS_NUMBA:
        assert everything(run_compiled(path)) == everything(run_interpreted(path))


def test_lines_mark_copies_and_the_ladder_leaves_them_out(tmp_path, capsys):
    from tcpscope.cli.main import main

    path = tmp_path / "made.pcap"
    path.write_bytes(pcap([(t + copy, data) for t, data in transfer() for copy in range(2)]))
    assert main(["read", str(path), "--lines"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [COPY in line for line in lines] == [False, True] * (len(lines) // 2)
    assert main(["read", str(path), "--ladder", "1"]) == 0
    out = capsys.readouterr().out
    assert out.count("▶") + out.count("◀") == len(lines) // 2
    assert "copies of packets" in out
