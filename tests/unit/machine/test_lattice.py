"""Every state by every event: the lattice of flags, sequence and acknowledgement numbers, calls and ICMP errors.

Eleven states, nine flag classes, seven places of SEG.SEQ, six of SEG.ACK, with and without text, three profiles: what
the endpoint does is what the table says for the events that the classifier names, and never more than one answer.
"""

from itertools import product

import pytest
from tests.endpoint_kit import PLAIN, SECOND, Bench
from tests.transfer_kit import check_invariants

from tcpscope.machine.arrivals import judge
from tcpscope.machine.calls import CallError
from tcpscope.machine.lifecycle import find_row
from tcpscope.machine.moves import ImpossibleEvent, opening_guard, take
from tcpscope.machine.profile import FREEBSD, LINUX
from tcpscope.machine.sequence import add
from tcpscope.model.event import Event, Guard
from tcpscope.model.segment import ACK, FIN, RST, SYN, Segment
from tcpscope.model.state import State

FLAGS = (0, ACK, SYN, SYN | ACK, SYN | FIN, FIN, FIN | ACK, RST, RST | ACK)
TEXTS = (b"", b"12345")
PROFILES = [PLAIN, *(profile._replace(timestamps=False, sack=False) for profile in (LINUX, FREEBSD))]
WAYS = [*((state, state.name.lower()) for state in State), (State.SYN_RECEIVED, "syn_received_actively")]


def climb(profile, way: str) -> Bench:
    bench = Bench(profile)
    return bench if way == "closed" else getattr(bench, way)()


def places(bench: Bench) -> tuple[list[int], list[int]]:
    """SEG.SEQ left outside, left edge, inside, right edge, right outside; SEG.ACK old, una, between, nxt, beyond."""
    tcb = bench.tcb
    window = tcb.rcv_wnd
    seqs = [-3000, -6, -1, 0, 9, window - 1, window]
    acks = [add(tcb.snd_una, -20_000), add(tcb.snd_una, -1), tcb.snd_una, tcb.snd_nxt, add(tcb.snd_nxt, 1)]
    return [add(tcb.rcv_nxt, step) for step in seqs], [*acks, add(tcb.snd_una, 1)]


def allowed_after(bench: Bench, segment: Segment) -> set[State]:
    """The states that the table allows: folding the events from here, guards as they are."""
    state = bench.state
    for event in judge(bench.tcb, segment):
        if event is Event.RST and state is State.TIME_WAIT and bench.tcb.profile.ignores_rst_in_time_wait:
            continue
        guards = (opening_guard(bench.tcb),)
        row = find_row(state, event, guards)
        assert row is not None, (state.name, event.name)
        state = row.after
    return {state}


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
@pytest.mark.parametrize(("state", "way"), WAYS, ids=lambda value: value if isinstance(value, str) else "")
def test_segment_of_every_kind_does_what_the_table_says(state, way, profile):
    seqs, acks = places(climb(profile, way))
    runs = 0
    for flags, seq, ack, text in product(FLAGS, seqs, acks, TEXTS):
        if not flags & ACK and ack != acks[0]:
            continue
        bench = climb(profile, way)
        segment = Segment(seq, ack if flags & ACK else 0, flags, 8000, text)
        expected = allowed_after(bench, segment)
        challenged = judge(bench.tcb, segment) == (Event.RST_IN_WINDOW,)
        bench.connection.receive_segment(segment, bench.now_ns)
        assert bench.state in expected, (segment, bench.rows)
        out = bench.flush()
        assert len(out) <= 1, "one input, one answer"
        assert not (flags & RST and out and not challenged), "a reset is never answered"
        assert not challenged or [answer.flags for answer in out] == [ACK]  # RFC 5961 §3
        check_invariants(bench.tcb)
        runs += 1
    assert runs == 7 * 2 * (5 + 4 * 6)
    print(f"{runs} segments in {way} ({profile.name})")


@pytest.mark.parametrize(("state", "way"), WAYS, ids=lambda value: value if isinstance(value, str) else "")
def test_call_of_every_kind_is_answered_or_refused_in_the_table_s_words(state, way):
    for name in ("open", "listen", "send", "receive", "shutdown", "close", "abort", "status"):
        bench = climb(PLAIN, way)
        before = len(bench.rows)
        try:
            bench.call("open", active=False) if name == "listen" else bench.call(
                name, *([b"x"] if name == "send" else [])
            )
        except CallError as error:
            noted = [row.note for row in bench.tcb.taken[before:]]
            assert any(str(error) in note for note in noted) or str(error) == "connection already exists"
        assert len(bench.rows) > before
        check_invariants(bench.tcb)


@pytest.mark.parametrize(("state", "way"), WAYS, ids=lambda value: value if isinstance(value, str) else "")
def test_icmp_error_of_every_kind_ends_only_what_it_may(state, way):
    for kind, code in product((3, 4, 5, 11, 12, 255), range(8)):
        bench = climb(PLAIN, way)
        bench.connection.icmp_error(kind, code, bench.now_ns, mtu_bytes=500)
        bench.flush()
        may_end = (kind, code) in ((3, 2), (3, 3)) and state not in (State.LISTEN, State.TIME_WAIT)
        assert bench.state is (State.CLOSED if may_end else state)


@pytest.mark.parametrize(("state", "way"), WAYS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_state_left_alone_comes_to_rest(state, way):
    bench = climb(PLAIN, way)
    sent = bench.wait(3600 * SECOND)
    assert len(sent) < 20
    assert bench.connection.next_deadline() is None
    resting = (State.LISTEN, State.ESTABLISHED, State.FIN_WAIT_2, State.CLOSE_WAIT, State.CLOSED)
    assert bench.state in resting


def test_event_without_a_row_is_impossible_in_every_state():
    """State by event, all 385: what the table has is taken, what it has not is a defect that shows itself."""
    taken = refused = 0
    for state, event in product(State, Event):
        bench = climb(PLAIN, state.name.lower())
        rows = [find_row(state, event, (guard,)) for guard in Guard]
        row = next((row for row in rows if row is not None), None)
        if row is None:
            with pytest.raises(ImpossibleEvent):
                take(bench.tcb, event)
            refused += 1
        else:
            assert take(bench.tcb, event, row.guard) is row
            assert bench.state is row.after
            taken += 1
    assert taken + refused == 11 * 35 and taken > 200
    print(f"{taken} of {11 * 35} pairs of state and event have rows and were taken, {refused} were refused")
