"""The endpoint behind real headers: what must hold of bytes (RFC 9293 §3.1, §3.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpscope.machine.connection import Connection
from tcpscope.machine.profile import LINUX, RFC
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import ACK, SYN, Options, Segment
from tcpscope.model.state import State
from tcpscope.wire.checksum import is_good
from tcpscope.wire.emit import emit_tcp
from tcpscope.wire.options import emit_options, parse_options
from tcpscope.wire.parse import parse_tcp

ONE, TWO = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
A, B = Endpoint("192.0.2.1", 1000), Endpoint("192.0.2.2", 80)


def carry(segment: Segment, source: bytes, target: bytes, ports: tuple[int, int]) -> Segment | None:
    """Write a segment and read it at the other end; ``None`` when its checksum is bad (MUST-3)."""
    octets = emit_tcp(segment, source, target, *ports)
    return parse_tcp(octets).segment if is_good(source, target, 6, octets) else None


@pytest.mark.rfc("MUST-2", "MUST-3")
@pytest.mark.parametrize("profile", [RFC, LINUX], ids=lambda profile: profile.name)
def test_conversation_in_bytes_is_the_conversation_in_words(profile):
    ends = (Connection(A, B, iss=1, profile=profile), Connection(B, None, iss=9, profile=profile))
    ends[1].open(0, active=False)
    ends[0].open(0)
    text = bytes(range(256)) * 50
    sent, read = 0, b""
    for _ in range(200):
        if ends[0].state is State.ESTABLISHED:
            sent += ends[0].send(text[sent : sent + 3000])
        for index, end in enumerate(ends):
            addresses = (ONE, TWO) if index == 0 else (TWO, ONE)
            for segment in end.poll(0):
                arrived = carry(segment, *addresses, (1000, 80) if index == 0 else (80, 1000))
                assert arrived is not None
                ends[1 - index].receive_segment(arrived, 0)
        read += ends[1].receive() or b""
    assert read == text


@pytest.mark.rfc("MUST-2", "MUST-3")
@given(st.integers(0, 10_000))
def test_any_changed_bit_is_seen_by_the_checksum(place):
    octets = bytearray(emit_tcp(Segment(1, 2, ACK, 3, b"some text"), ONE, TWO, 1000, 80))
    assert is_good(ONE, TWO, 6, octets)
    bit = place % (len(octets) * 8)
    octets[bit // 8] ^= 1 << bit % 8
    assert not is_good(ONE, TWO, 6, octets)


@pytest.mark.rfc("MUST-4", "MUST-64")
def test_options_are_read_at_any_alignment():
    for padding in range(4):
        raw = b"\x01" * padding + b"\x02\x04\x05\xb4" + b"\x01\x03\x03\x07" + b"\x00"
        options, problems = parse_options(raw)
        assert (options.mss, options.window_scale, problems) == (1460, 7, ())


@pytest.mark.rfc("MUST-5", "MUST-6")
def test_unknown_option_in_any_segment_is_skipped():
    raw = b"\xc8\x06abcd" + b"\x01\x01" + b"\x08\x0a\x00\x00\x00\x05\x00\x00\x00\x00"
    options, problems = parse_options(raw)
    assert options.timestamp == (5, 0) and problems == ()
    end = Connection(A, B, iss=1, profile=LINUX)
    end.open(0)
    end.poll(0)
    end.receive_segment(Segment(5, 2, SYN | ACK, 900, b"", Options(mss=1000, timestamp=(5, 0))), 0)
    end.receive_segment(Segment(6, 2, ACK, 900, b"text", options), 0)
    assert end.receive() == b"text"


@pytest.mark.rfc("MUST-7", "MUST-68")
@pytest.mark.parametrize("raw", [b"\x02\x00\x05\xb4", b"\x02\x01\x05\xb4", b"\x08\x28\x00\x00", b"\x05", b"\x03\x03"])
def test_nonsense_length_is_reported_and_survived(raw):
    options, problems = parse_options(raw)
    assert problems and options.mss is None


@pytest.mark.rfc("MUST-68", "MUST-69")
def test_options_are_written_with_lengths_and_padded_with_zeros_or_nops():
    for options in (Options(mss=1), Options(window_scale=3), Options(timestamp=(1, 2)), Options(sack=((1, 2), (3, 4)))):
        raw = emit_options(options)
        assert len(raw) % 4 == 0
        assert parse_options(raw) == (options, ())
    assert parse_options(b"\x00\x02\x04\x05\xb4")[0].mss is None  # what follows the end is padding


@given(st.binary(max_size=40))
def test_any_options_are_survived_by_the_endpoint(raw):
    options, _ = parse_options(raw)
    end = Connection(A, B, iss=1, profile=LINUX)
    end.open(0)
    end.poll(0)
    end.receive_segment(Segment(5, 2, SYN | ACK, 900, b"", options), 0)
    end.receive_segment(Segment(6, 2, ACK, 900, b"text", options), 0)
    end.poll(0)
    assert end.state is State.ESTABLISHED and end.tcb.mss_bytes > 0


@pytest.mark.rfc("MUST-63")
@pytest.mark.parametrize("address", ["224.0.0.1", "255.255.255.255", "0.0.0.0", "ff02::1", "::"])
def test_syn_from_no_unicast_address_is_dropped(address):
    from tcpscope.machine.listener import Listener

    listener = Listener(B, secret=b"secret")
    listener.receive_segment(Endpoint(address, 5), Segment(1, 0, SYN, 100), 0)
    assert listener.poll(0) == [] and not listener.incomplete
