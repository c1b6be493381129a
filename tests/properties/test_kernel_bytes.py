"""Any bytes in place of what a kernel writes: a clear refusal or an answer, never another error."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from tcpscope.kernel import perf, tracefs
from tcpscope.kernel.bpf.btf import Btf
from tcpscope.kernel.bpf.layout import find_layout, parse_flat_json
from tcpscope.kernel.bpf.tcp_record import RECORD, RECORD_BYTES
from tcpscope.live.trace_record import iter_events
from tcpscope.live.trace_story import Story
from tcpscope.live.trace_tally import Tally
from tcpscope.model.errors import Unsupported
from tcpscope.model.state import State


@given(st.binary(max_size=400), st.binary(max_size=100))
def test_btf_of_any_bytes_is_read_or_refused(types, strings):
    head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    names = ("bit a.b", "tracepoint x", "arguments x", "enum a.b", "function a")
    try:
        found = find_layout(names, Btf(head + types + strings))
    except Unsupported:
        return
    assert set(found) == set(names)


@given(st.text())
def test_cache_of_any_text_is_read_or_refused(text):
    try:
        found = parse_flat_json(text)
    except ValueError:
        return
    assert all(isinstance(value, int) for value in found.values())


@given(st.text())
def test_format_of_any_text_is_read_or_refused(text):
    try:
        tracefs.parse_format(text)
    except Unsupported:
        return


@given(st.one_of(st.binary(max_size=600), st.binary(max_size=40).map(lambda tail: b"\x09\0\0\0\0\0\x20\0" + tail)))
def test_perf_ring_of_any_bytes_ends(data):
    rings, samples = perf.PerfRings.__new__(perf.PerfRings), []
    rings.lost = 0
    rings._parse(0, data, samples)
    assert all(len(sample.raw) <= len(data) for sample in samples)


_FIELDS = st.tuples(
    st.integers(0, 2**63),  # time
    st.integers(1, 6),  # few addresses, so that records meet
    st.integers(0, 3),
    st.just(7),
    st.integers(0, 9),
    st.integers(0, 20),  # kind, known and unknown
    st.integers(0, 13),
    st.integers(0, 13),
    st.sampled_from([2, 10]),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([bytes(16), b"\x0a" + bytes(15)]),
    st.just(bytes(16)),
    st.sampled_from([0, 104, 110, 111]),
    st.integers(0, 30),
    st.just(b"x"),
)


@given(st.lists(_FIELDS, max_size=60))
def test_story_of_any_records_makes_words_and_keeps_to_the_states(records):
    stretch = b"".join(struct.pack(RECORD, RECORD_BYTES, 0, *fields) for fields in records)
    story, tally = Story(), Tally()
    story.feed(iter_events(stretch))
    moves = story.take()
    tally.feed(stretch)
    tally.finish()
    tally.counts()
    assert all(isinstance(move.before, State) and isinstance(move.after, State) for move in moves)
    assert not story.is_holding
