"""When an ACK goes out, and what it says (RFC 9293 §3.8.6.3, §3.10.7.4; RFC 2018, 2883, 5961)."""

import pytest
from tests.endpoint_kit import MS, PLAIN, SECOND, Bench

from tcpscope.machine.profile import PROFILES, RFC
from tcpscope.machine.receiving import BLOCKS_KEPT
from tcpscope.machine.sequence import add
from tcpscope.model.segment import ACK, CWR, ECE, FIN, RST, SYN, Options, Segment
from tcpscope.model.state import State

MSS = Options(mss=1000)
SACK = Options(mss=1000, sack_permitted=True)
WITH_SACK = RFC._replace(timestamps=False, window_scaling=False)


def receiver(profile=PLAIN, options: Options = MSS) -> Bench:
    bench = Bench(profile).established(options)
    bench.got(ACK, text=bytes(1000))
    bench.got(ACK, text=bytes(1000))
    assert len(bench.out) == 1
    bench.call("receive")
    bench.first = bench.seq
    return bench


@pytest.mark.rfc("MUST-40", "SHLD-18")
@pytest.mark.parametrize("name", PROFILES)
def test_ack_of_little_text_waits_less_than_half_a_second(name):
    bench = receiver(PROFILES[name]._replace(timestamps=False, sack=False, window_scaling=False))
    assert bench.got(ACK, text=b"little") == []
    waited = bench.connection.next_deadline() - bench.now_ns
    assert 0 < waited < SECOND // 2
    (ack,) = bench.wait(waited)
    assert ack.ack == bench.seq


@pytest.mark.rfc("SHLD-19")
def test_every_second_full_segment_is_acknowledged_at_once():
    bench = receiver()
    assert [len(bench.got(ACK, text=bytes(1000))) for _ in range(6)] == [0, 1, 0, 1, 0, 1]


def test_offloaded_segment_counts_as_the_octets_it_holds():
    bench = receiver()
    assert [segment.ack for segment in bench.got(ACK, text=bytes(20_000))] == [bench.seq]


@pytest.mark.rfc("MUST-58", "MUST-59")
def test_batch_of_segments_gets_one_ack():
    bench = receiver()
    for _ in range(8):
        bench.connection.receive_segment(Segment(bench.seq, bench.tcb.snd_nxt, ACK, 8000, bytes(1000)), bench.now_ns)
        bench.seq = add(bench.seq, 1000)
    assert [segment.ack for segment in bench.flush()] == [bench.seq]


def test_ack_rides_on_text():
    bench = receiver()
    bench.got(ACK, text=b"question")
    (answer,) = bench.call("send", b"answer")
    assert answer.ack == bench.seq and bench.wait(SECOND // 2) == []


@pytest.mark.rfc("SHLD-31", "MAY-13")
def test_text_out_of_order_is_kept_and_acknowledged_at_once():
    bench = receiver()
    at = bench.seq
    (duplicate,) = bench.got(ACK, seq=add(at, 5), text=b"later")
    assert duplicate.ack == at
    (ack,) = bench.got(ACK, seq=at, text=b"first")
    assert ack.ack == add(at, 10) and bench.connection.receive() == b"firstlater"


def blocks(bench: Bench, offset: int, size: int) -> list[tuple[int, int]]:
    """Feed text at an offset; return the SACK blocks of the answer as offsets."""
    (answer,) = bench.got(ACK, seq=add(bench.first, offset), text=bytes(size))
    return [
        ((left - bench.first) & 0xFFFFFFFF, (right - bench.first) & 0xFFFFFFFF) for left, right in answer.options.sack
    ]


def test_sack_blocks_name_the_latest_first():
    bench = receiver(WITH_SACK, SACK)
    assert blocks(bench, 100, 100) == [(100, 200)]
    assert blocks(bench, 300, 100) == [(300, 400), (100, 200)]
    assert blocks(bench, 500, 100) == [(500, 600), (300, 400), (100, 200)]
    assert blocks(bench, 200, 100) == [(100, 400), (500, 600)]
    assert blocks(bench, 0, 100) == [(500, 600)]
    assert bench.connection.readable_bytes == 400


@pytest.mark.parametrize(
    ("offset", "size", "dsack"),
    [(-500, 500, (-500, 0)), (-500, 600, (-500, 0)), (150, 100, (150, 200)), (90, 300, (100, 200))],
)
def test_text_that_comes_again_is_told_by_dsack(offset, size, dsack):
    bench = receiver(WITH_SACK, SACK)
    blocks(bench, 100, 100)
    told = blocks(bench, offset, size)[0]
    assert told == tuple(edge & 0xFFFFFFFF for edge in dsack)


def test_overlapping_text_keeps_what_came_first():
    bench = receiver()
    at = bench.seq
    bench.got(ACK, seq=add(at, 4), text=b"EFGH")
    bench.got(ACK, seq=add(at, 2), text=b"cdefghij")
    bench.got(ACK, seq=at, text=b"abc")
    assert bench.connection.receive() == b"abcdEFGHij"


def test_text_beyond_the_window_is_cut_off():
    bench = receiver()
    room = bench.tcb.rcv_wnd
    bench.got(ACK, text=bytes(room + 500))
    assert bench.connection.readable_bytes == room


@pytest.mark.rfc("MUST-12")
def test_end_of_file_and_reset_are_told_apart():
    ended, reset = Bench().close_wait(), Bench().established()
    assert ended.connection.receive() == b"" and ended.connection.is_at_end_of_file and not ended.connection.error
    reset.got(RST)
    with pytest.raises(Exception, match="connection reset"):
        reset.connection.receive()


@pytest.mark.rfc("SHLD-2")
def test_reset_may_carry_text():
    bench = Bench().established()
    bench.connection.receive_segment(Segment(bench.seq, 0, RST, 0, b"go away"), bench.now_ns)
    assert bench.state is State.CLOSED


@pytest.mark.rfc("SHLD-3", "MAY-1")
def test_close_with_unread_text_resets():
    bench = Bench().established()
    bench.got(ACK, text=b"unread")
    assert [segment.flags for segment in bench.call("close")] == [RST]
    assert bench.state is State.CLOSED


@pytest.mark.rfc("SHLD-3")
def test_text_after_close_resets():
    bench = Bench().established()
    bench.call("close")
    assert [segment.flags for segment in bench.got(ACK, text=b"too late")] == [RST]
    assert bench.state is State.CLOSED


@pytest.mark.rfc("MAY-12")
def test_ack_far_behind_or_ahead_is_answered_and_dropped():
    bench = Bench().established()
    behind, ahead = add(bench.tcb.snd_una, -WND_AND_MORE), add(bench.tcb.snd_nxt, 1)
    for ack in (behind, ahead):
        at = bench.seq
        (answer,) = bench.got(ACK, seq=at, ack=ack, text=b"injected")
        assert answer.ack == at
        bench.seq = at
    assert bench.connection.readable_bytes == 0


WND_AND_MORE = 8001


def test_challenge_acks_are_counted_out():
    bench = Bench().established()
    answers = [len(bench.got(SYN, seq=bench.seq)) for _ in range(30)]
    assert sum(answers) == RFC.challenge_acks
    bench.now_ns += RFC.challenge_period_ns
    assert len(bench.got(SYN, seq=bench.seq)) == 1


def test_two_ends_out_of_step_do_not_answer_each_other_for_ever():
    one, other = Bench().established(), Bench().established()
    other.tcb.rcv_nxt = other.tcb.rcv_adv = add(other.tcb.rcv_nxt, 1 << 20)
    one.connection.tcb.acks_now = True
    exchanged = 0
    flying = [(other, segment) for segment in one.flush()]
    while flying:
        target, segment = flying.pop()
        target.connection.receive_segment(segment, target.now_ns)
        source = one if target is other else other
        flying += [(source, answer) for answer in target.flush()]
        exchanged += 1
        assert exchanged < 50


@pytest.mark.rfc("SHLD-4", "MAY-2")
def test_newer_syn_reopens_time_wait_with_a_higher_iss():
    bench = Bench(RFC).established(Options(timestamp=(100, 0)))
    bench.call("shutdown")
    bench.got(FIN | ACK, options=Options(timestamp=(101, 0)))
    assert bench.state is State.TIME_WAIT
    last = bench.tcb.snd_nxt
    assert bench.got(SYN, seq=add(bench.seq, -5000), options=Options(timestamp=(101, 0))) == []
    (answer,) = bench.got(SYN, seq=add(bench.seq, -5000), options=Options(timestamp=(102, 0)))
    assert answer.flags == SYN | ACK and 0 < (answer.seq - last) & 0xFFFFFFFF < 1 << 31
    assert bench.state is State.SYN_RECEIVED


@pytest.mark.rfc("MAY-2")
def test_old_duplicate_that_reopened_returns_to_time_wait():
    bench = Bench().time_wait()
    nxt, rcv = bench.tcb.snd_nxt, bench.tcb.rcv_nxt
    bench.got(SYN, seq=add(bench.seq, 5000))
    bench.got(RST, seq=bench.tcb.rcv_nxt)
    assert bench.state is State.TIME_WAIT
    assert (bench.tcb.snd_nxt, bench.tcb.rcv_nxt) == (nxt, rcv)
    assert bench.connection.next_deadline() is not None


def test_paws_drops_an_old_segment_and_answers():
    bench = Bench(RFC).established(Options(timestamp=(100, 0)))
    (answer,) = bench.got(ACK, seq=bench.seq, text=b"old", options=Options(timestamp=(99, 0)))
    assert answer.ack == bench.seq and bench.connection.readable_bytes == 0
    assert bench.tcb.counters.paws_drops == 1


def test_paws_forgets_after_24_days():
    bench = Bench(RFC).established(Options(timestamp=(100, 0)))
    bench.now_ns += 25 * 24 * 3600 * SECOND
    bench.got(ACK, text=b"old", options=Options(timestamp=(99, 0)))
    assert bench.connection.readable_bytes == 3


def test_segment_without_the_agreed_timestamp_is_dropped_but_not_the_third_ack():
    bench = Bench(RFC).syn_received(Options(timestamp=(100, 0)))
    bench.got(ACK)
    assert bench.state is State.ESTABLISHED
    bench.got(ACK, seq=bench.seq, text=b"untimed")
    assert bench.connection.readable_bytes == 0


@pytest.mark.rfc("SHLD-8")
def test_ecn_is_agreed_marked_echoed_and_obeyed():
    profile = RFC._replace(ecn=True, timestamps=False, sack=False)
    bench = Bench(profile)
    (syn,) = bench.call("open")
    assert syn.flags == SYN | ECE | CWR
    bench.got(SYN | ACK | ECE, options=MSS)
    bench.got(ACK, wnd=65535)
    sent = bench.call("send", bytes(10_000))
    assert {segment.ip_ecn for segment in sent} == {2}
    bench.got(ACK | ECE, ack=sent[1].seq, wnd=65535)
    assert bench.tcb.congestion.cwnd_bytes < 10_000
    (more, *_) = bench.call("send", bytes(9000)) or bench.got(ACK, wnd=65535)
    assert more.flags & CWR
    marked = Segment(bench.seq, bench.tcb.snd_nxt, ACK, 65535, b"marked")._replace(ip_ecn=3)
    bench.connection.receive_segment(marked, bench.now_ns)
    assert bench.flush()[0].flags & ECE
    bench.seq = add(bench.seq, 6)
    assert not bench.got(ACK | CWR, text=bytes(3000))[0].flags & ECE


def test_syn_that_asks_for_ecn_is_accepted():
    bench = Bench()
    bench.call("open", active=False)
    assert bench.got(SYN | ECE | CWR)[0].flags == SYN | ACK | ECE


def test_text_with_the_syn_is_delivered_after_the_handshake():
    bench = Bench().listen()
    at = bench.seq
    bench.got(SYN, text=b"early")
    assert bench.connection.readable_bytes == 0
    bench.got(ACK, seq=add(at, 1))
    assert bench.connection.receive() == b"early"


def test_text_with_the_syn_is_delivered_even_when_closed_before_established():
    bench = Bench().listen()
    at = bench.seq
    bench.got(SYN, text=b"early")
    bench.call("shutdown")
    bench.got(ACK | FIN, seq=add(at, 6), ack=add(bench.tcb.iss, 1))
    assert bench.connection.receive() == b"early" and bench.state is State.CLOSING


def test_text_that_is_partly_old_is_acknowledged_at_once():
    bench = Bench(RFC._replace(timestamps=False)).established(MSS)
    bench.got(ACK, text=b"abcd")
    (answer,) = bench.got(ACK, seq=add(bench.seq, -2), text=b"cdef")
    assert answer.ack == add(bench.seq, 2) and bench.connection.receive() == b"abcdef"


def test_text_out_of_order_is_cut_at_the_window():
    bench = Bench().established(MSS)
    bench.connection.set_buffers(receive_bytes=65535)
    left = bench.tcb.rcv_wnd - 100
    bench.got(ACK, seq=add(bench.seq, left), text=bytes(500))
    (block,) = bench.tcb.out_of_order
    assert block.end == bench.tcb.rcv_adv and sum(map(len, block.pieces)) == 100


def test_text_cut_at_the_window_is_acknowledged_at_once():
    bench = Bench().established(MSS)
    while bench.tcb.rcv_wnd > 100:
        bench.got(ACK, text=bytes(min(1000, bench.tcb.rcv_wnd - 100)))
    bench.wait(SECOND)
    (answer,) = bench.got(ACK, text=bytes(200))
    assert answer.wnd == 0 and answer.ack == add(bench.seq, -100)


def test_later_text_does_not_put_the_delayed_acknowledgement_off():
    bench = Bench(RFC._replace(timestamps=False)).established(MSS)
    assert bench.got(ACK, text=b"one") == []
    assert bench.wait(150 * MS) == []
    assert bench.got(ACK, text=b"two") == []
    assert len(bench.wait(RFC.delayed_ack_ns - 150 * MS)) == 1


def test_no_more_holes_are_kept_than_is_bearable():
    bench = Bench().established(MSS)
    bench.connection.set_buffers(receive_bytes=65535)
    for hole in range(400):
        bench.got(ACK, seq=add(bench.seq, 10 + 20 * hole), text=b"island")
    assert len(bench.tcb.out_of_order) == BLOCKS_KEPT


@pytest.mark.parametrize(("timed", "most"), [(True, 3), (False, 4)])
def test_blocks_leave_room_for_the_timestamp(timed, most):
    stamp = Options(timestamp=(5, 0)) if timed else Options()
    bench = Bench(RFC).established(Options(mss=1000, sack_permitted=True, timestamp=stamp.timestamp))
    for hole in range(6):
        bench.got(ACK, seq=add(bench.seq, 10 + 20 * hole), text=b"island", options=stamp)
    (answer,) = bench.out
    assert len(answer.options.sack) == most
