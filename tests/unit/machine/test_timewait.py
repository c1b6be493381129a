"""The small record against the whole connection, over the lattice of segments."""

from itertools import product

import pytest
from tests.endpoint_kit import SECOND, Bench

from tcpscope.machine.profile import PROFILES
from tcpscope.machine.sequence import add
from tcpscope.machine.timewait import TimeWait
from tcpscope.model.segment import ACK, FIN, NO_OPTIONS, RST, SYN, Options, Segment
from tcpscope.model.state import State

FLAGS = (0, ACK, SYN, SYN | ACK, FIN, FIN | ACK, RST, RST | ACK, SYN | FIN)
SEQ = (-4000, -6, -1, 0, 1, 500, 200_000)
ACKS = (-1, 0, 1, 1 << 31)
TEXTS = (b"", b"12345")


@pytest.mark.parametrize("timed", [False, True], ids=["plain", "timestamps"])
@pytest.mark.parametrize("name", PROFILES)
def test_record_answers_as_the_connection_does(name, timed):
    profile = PROFILES[name]._replace(timestamps=timed, challenge_acks=1000)
    offer = Options(mss=1460, timestamp=(5000, 0)) if timed else NO_OPTIONS
    stamps = [None, (5000, 0), (4999, 0), (5001, 0)] if timed else [None]
    for flags, seq, ack, text, stamp in product(FLAGS, SEQ, ACKS, TEXTS, stamps):
        bench = Bench(profile).established(offer)
        later = Options(timestamp=(5000, 0)) if timed else NO_OPTIONS
        bench.call("shutdown")
        bench.got(FIN | ACK, options=later)
        assert bench.state is State.TIME_WAIT
        record = TimeWait(bench.connection)
        segment = Segment(
            add(bench.tcb.rcv_nxt, seq), add(bench.tcb.snd_nxt, ack) if flags & ACK else 0, flags, 800, text,
            Options(timestamp=stamp) if stamp else NO_OPTIONS,
        )  # fmt: skip
        now_ns = bench.now_ns = bench.now_ns + SECOND
        bench.connection.receive_segment(segment, now_ns)
        expected = [] if bench.state is State.SYN_RECEIVED else bench.flush()
        answer = record.receive_segment(segment, now_ns)
        assert ([answer] if answer else []) == expected, segment
        assert record.verdict is bench.state
        if bench.state is State.TIME_WAIT:
            assert record.deadline_ns == bench.tcb.deadline_time_wait_ns


def test_record_of_another_state_is_refused():
    with pytest.raises(ValueError, match="ESTABLISHED is not TIME_WAIT"):
        TimeWait(Bench().established().connection)
