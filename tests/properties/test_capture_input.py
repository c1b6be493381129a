"""Whatever bytes come: documented exceptions alone, bounded memory, the same verdict from both readers."""

import contextlib
import gzip
import io
import random
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.frames import WRAPPINGS

from tcpscope.capture import Interface, open_capture, pcap, pcapng
from tcpscope.capture.pcap import PcapWriter
from tcpscope.capture.pcapng_write import PcapngWriter
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.segment import Options, Segment
from tcpscope.wire import emit, icmp, options, parse, view

LINK_TYPES = sorted({link_type for link_type, _, _ in WRAPPINGS.values()} | {7, 300})


def captures():
    """One small capture in every format and byte order."""
    packet = emit.emit_packet(Segment(1, payload=b"x" * 60), bytes(4), bytes(4), 1, 2)
    found = []
    for order in "<>":
        for writer_of in (
            lambda file, order=order: PcapWriter(file, 101, byte_order=order),
            lambda file, order=order: PcapngWriter(file, [Interface(101, name="eth0")] * 2, byte_order=order),
        ):
            file = io.BytesIO()
            writer = writer_of(file)
            for index in range(12):
                writer.write(1_700_000_000_000_000_000 + index, packet[: 40 + index])
            found.append(file.getvalue())
    return found


CAPTURES = captures()


def read_all(raw, *, compiled=False, chunk_bytes=4096):
    """``(packets, damage)`` or the message of a refusal."""
    try:
        source = open_capture(io.BytesIO(raw))
    except TcpscopeError as error:
        assert "\n" not in str(error)
        return str(error)
    packets = []
    for chunk in source.iter_chunks(chunk_bytes, compiled=compiled):
        for index, offset in enumerate(map(int, chunk.offset)):
            captured = int(chunk.captured_len[index])
            data = bytes(chunk.data[offset : offset + captured])
            assert len(data) == captured <= chunk.original_len[index]
            link_type, t_ns = int(chunk.link_type[index]), int(chunk.t_ns[index])
            packets.append((t_ns, data, int(chunk.original_len[index]), link_type, int(chunk.interface[index])))
    return packets, source.damage


@st.composite
def mutated(draw):
    raw = bytearray(draw(st.sampled_from(CAPTURES)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(raw) - 1))
        kind = draw(st.sampled_from(("set", "word", "cut", "insert", "drop")))
        if kind == "set":
            raw[at] = draw(st.integers(0, 255))
        elif kind == "word":
            value = draw(st.sampled_from((0, 1, 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 12, 0x01000000)))
            raw[at : at + 4] = struct.pack("<I", value)
        elif kind == "cut":
            del raw[max(at, 1) :]
        elif kind == "insert":
            raw[at:at] = draw(st.binary(max_size=40))
        else:
            del raw[at : at + draw(st.integers(1, 40))]
        if not raw:
            break
    return bytes(raw)


@given(mutated())
@settings(max_examples=400, deadline=None)
def test_mutated_capture_any_chunk_size_reads_the_same(raw):
    whole = read_all(raw, chunk_bytes=1 << 20)
    assert whole == read_all(raw, chunk_bytes=1)


@given(mutated())
@settings(max_examples=300, deadline=None)
def test_mutated_capture_compiled_reader_agrees(raw):
    pytest.importorskip("numba")
    assert read_all(raw) == read_all(raw, compiled=True)


@given(st.binary(max_size=300), st.sampled_from((b"", *(raw[:28] for raw in CAPTURES))))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused_in_one_line_or_read(raw, start):
    read_all(start + raw)


@given(st.binary(max_size=200), st.sampled_from(LINK_TYPES), st.integers(0, 300), st.integers(0, 20))
@settings(max_examples=500, deadline=None)
def test_view_of_any_bytes_stays_inside_them(raw, link_type, more, start):
    """Offsets lie in the frame; what is called TCP has its header captured."""
    data = bytes(start) + raw
    place = view.View(*view.locate(data, start, len(raw), len(raw) + more, link_type))
    if place.kind == view.TCP:
        assert start <= place.ip < place.transport <= len(data) - 20
    if place.kind in (view.TCP, view.ICMP, view.FRAGMENT, view.OTHER):
        assert start <= place.ip <= place.transport <= max(place.end, len(data))
    parse.parse_frame(raw, len(raw) + more, link_type)


@st.composite
def mutated_frames(draw):
    link_type, wrap, _ = WRAPPINGS[draw(st.sampled_from(sorted(WRAPPINGS)))]
    width = draw(st.sampled_from((4, 16)))
    raw = bytearray(wrap(emit.emit_packet(Segment(1, payload=b"abc"), bytes(width), bytes(width), 1, 2)))
    for _ in range(draw(st.integers(0, 4))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    size = draw(st.integers(0, len(raw)))
    return link_type, bytes(raw[:size]), len(raw)


@given(mutated_frames())
@settings(max_examples=500, deadline=None)
def test_mutated_frame_never_raises_and_compiled_view_agrees(case):
    link_type, raw, wire_len = case
    parse.parse_frame(raw, wire_len, link_type)
    compiled = compiled_locate()
    if compiled is not None:
        numpy = pytest.importorskip("numpy")
        octets = numpy.frombuffer(bytearray(raw + b"\xaa" * 8), numpy.uint8)  # Why: reading past the cut would show
        assert compiled(octets, 0, len(raw), wire_len, link_type) == view.locate(raw, 0, len(raw), wire_len, link_type)


_COMPILED = []


def compiled_locate():
    if not _COMPILED:
        try:
            import numba
        except ImportError:
            return None
        _COMPILED.append(view.compile_with(numba.njit)["locate"])
    return _COMPILED[0]


@given(st.binary(max_size=120))
@settings(max_examples=500, deadline=None)
def test_any_bytes_as_headers_raise_value_error_or_parse(raw):
    for parser in (parse.parse_tcp, parse.parse_ip):
        with contextlib.suppress(ValueError):
            parser(raw)
    for version in (4, 6):
        icmp.parse_icmp(raw, version)
    options.parse_options(raw[:40])


SEGMENTS = st.builds(
    Segment,
    seq=st.integers(0, 2**32 - 1),
    ack=st.integers(0, 2**32 - 1),
    flags=st.integers(0, 255),
    wnd=st.integers(0, 65_535),
    payload=st.binary(max_size=64),
    options=st.builds(
        Options,
        mss=st.none() | st.integers(0, 65_535),
        window_scale=st.none() | st.integers(0, 14),
        sack_permitted=st.booleans(),
        timestamp=st.none() | st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
        user_timeout_ms=st.none() | st.integers(0, 0x7FFF).map(lambda seconds: seconds * 1000),
        sack=st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), max_size=1).map(tuple),
        fast_open_cookie=st.none() | st.binary(min_size=4, max_size=4),
    ),
    urgent_pointer=st.integers(0, 65_535),
    gso_bytes=st.just(0),
    uncaptured_bytes=st.just(0),
    ip_ecn=st.integers(0, 3),
)


@given(SEGMENTS, st.sampled_from((4, 16)), st.integers(0, 65_535), st.integers(0, 65_535))
@settings(max_examples=300, deadline=None)
def test_segment_written_and_read_is_the_same(segment, width, source_port, destination_port):
    try:
        raw = emit.emit_packet(segment, b"\1" * width, b"\2" * width, source_port, destination_port)
    except ValueError:
        return  # more options than a header holds
    frame = parse.parse_frame(raw, None, 101)
    assert frame.segment == segment
    assert (frame.source.port, frame.destination.port) == (source_port, destination_port)
    assert frame.header.problems == ()


def peak_bytes(raw_file):
    """Bytes allocated at most while everything is read in chunks."""
    tracemalloc.start()
    try:
        source = open_capture(raw_file)
        packets = sum(len(chunk.offset) for chunk in source.iter_chunks(1 << 16))
        return tracemalloc.get_traced_memory()[1], packets, source.damage
    finally:
        tracemalloc.stop()


class Endless(io.RawIOBase):
    """A file of ``size`` bytes made of ``start`` and then ``block`` again and again, without being in memory."""

    def __init__(self, start, block, size):
        self._ahead, self._block, self._left = start, block * (1 + 65_536 // len(block)), size

    def readinto(self, view):
        if len(self._ahead) < len(view):
            self._ahead += self._block[: len(self._block)]
        count = min(len(view), len(self._ahead), self._left)
        view[:count] = self._ahead[:count]
        self._ahead = self._ahead[count:]
        self._left -= count
        return count


PCAP_START, PCAPNG_START = CAPTURES[0][:24], CAPTURES[1][: CAPTURES[1].index(b"\6\0\0\0")]


@pytest.mark.parametrize(
    ("name", "start", "block", "size"),
    [
        ("record of 4 GB", PCAP_START + b"\0" * 8 + b"\xff" * 8, b"\0", 4 << 20),
        (
            "snaplen of 4 GB",
            PCAP_START[:16] + b"\xff" * 4 + PCAP_START[20:],
            b"\0" * 8 + b"\xff\xff\xff\0" * 2,
            34 << 20,
        ),
        ("record of 0 bytes", PCAP_START, b"\0" * 16, 4 << 20),
        ("block of 4 GB", PCAPNG_START + b"\6\0\0\0\xf0\xff\xff\xff", b"\0", 4 << 20),
        ("block of 16 MB", PCAPNG_START, b"\6\0\0\0\0\0\0\1", 40 << 20),
        ("interfaces", PCAPNG_START, bytes.fromhex("0100000014000000010000000000000014000000"), 2 << 20),
        ("sections", b"", PCAPNG_START, 1 << 20),
        ("broken blocks", PCAPNG_START, b"\6\0\0\0\x20\0\0\0" + b"\xff" * 20 + b"\x20\0\0\0", 2 << 20),
    ],
)
def test_hostile_capture_keeps_memory_bounded(name, start, block, size, monkeypatch):
    for reader in (pcap, pcapng):  # Why: the search is slow under tracemalloc, not large
        monkeypatch.setattr(reader, "MAX_SEARCH_BYTES", 1 << 15)
    peak, _, damage = peak_bytes(Endless(start, block, size))
    assert peak < 100 << 20, f"{name}: {peak >> 20} MiB"
    assert len(damage) <= 102
    if name not in ("record of 0 bytes", "sections"):
        assert damage


def test_gzip_bomb_keeps_memory_bounded():
    bomb = gzip.compress(PCAP_START + b"\0" * (8 << 20), 9)
    peak, packets, damage = peak_bytes(io.BytesIO(bomb))
    assert peak < 4 << 20
    assert packets == (8 << 20) // 16
    assert damage == []


def test_clock_running_wild_stays_within_64_bits():
    raw = bytearray(CAPTURES[1])
    at = raw.index(b"\6\0\0\0")
    raw[at + 12 : at + 20] = b"\xff" * 8
    packets, _ = read_all(bytes(raw))
    assert packets[0][0] == 2**63 - 1
    assert packets == read_all(bytes(raw), compiled=True)[0]


@pytest.mark.slow
def test_long_mutation_run():
    """Ten thousand mutants, none with a traceback."""
    chance = random.Random(9293)
    for _ in range(10_000):
        raw = bytearray(chance.choice(CAPTURES))
        for _ in range(chance.randint(1, 12)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        read_all(bytes(raw[: chance.randint(1, len(raw))]))
