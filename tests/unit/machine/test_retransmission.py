"""RTO (RFC 6298), Karn's rule, R1 and R2, fast retransmit, limited transmit, SACK (RFC 9293 §3.8.1 to §3.8.3)."""

import pytest
from tests.endpoint_kit import MS, SECOND, Bench, loaded, sack

from tcpscope.machine.profile import RFC
from tcpscope.machine.rtt import RoundTrip
from tcpscope.machine.sequence import add
from tcpscope.model.segment import ACK, PSH, SYN, Options
from tcpscope.model.state import State

MSS = Options(mss=1000)
SACK = Options(mss=1000, sack_permitted=True)
WITH_SACK = RFC._replace(timestamps=False, window_scaling=False)


def times(bench: Bench, duration_ns: int) -> list[int]:
    """Seconds after now at which segments leave."""
    start, sent = bench.now_ns, []
    while (when := bench.connection.next_deadline()) is not None and when - start <= duration_ns:
        bench.now_ns = when
        sent += [(when - start) // SECOND] * len(bench.flush())
    return sent


@pytest.mark.rfc("MUST-18")
def test_rto_follows_the_samples_as_rfc_6298_computes():
    rtt = RoundTrip(SECOND, 1, 60 * SECOND, MS)
    assert rtt.rto_ns == SECOND
    rtt.sample(100 * MS)
    assert (rtt.srtt_ns, rtt.rttvar_ns, rtt.rto_ns) == (100 * MS, 50 * MS, 300 * MS)
    rtt.sample(180 * MS)
    assert (rtt.srtt_ns, rtt.rttvar_ns) == (110 * MS, 57_500_000)
    assert rtt.rto_ns == 110 * MS + 4 * 57_500_000


@pytest.mark.rfc("MUST-18", "MUST-19")
def test_unanswered_text_is_sent_again_with_doubled_timeouts():
    bench = Bench().established()
    bench.call("send", b"lost")
    assert times(bench, 130 * SECOND) == [1, 3, 7, 15, 31, 63, 123]


@pytest.mark.rfc("MUST-22", "MUST-23")
def test_syn_is_sent_again_like_text_and_given_up_after_three_minutes():
    bench = Bench().syn_sent()
    sent = times(bench, 1000 * SECOND)
    assert sent[:6] == [1, 3, 7, 15, 31, 63] and 120 <= sent[-1] < 180
    assert bench.state is State.CLOSED and "user timeout" in bench.connection.error


@pytest.mark.rfc("MUST-20", "SHLD-9", "SHLD-10", "SHLD-11")
def test_r1_tells_and_r2_ends():
    bench = Bench().established()
    bench.call("send", b"lost")
    bench.connection.events()
    bench.wait(6 * SECOND)
    assert "r1" not in [report.kind for report in bench.connection.events()]  # two retransmissions
    bench.wait(10 * SECOND)
    assert "r1" in [report.kind for report in bench.connection.events()]
    bench.wait(100 * SECOND)
    assert bench.state is State.ESTABLISHED
    bench.wait(250 * SECOND)
    assert bench.state is State.CLOSED and bench.connection.error == "connection aborted due to user timeout"


@pytest.mark.rfc("MUST-21")
def test_application_sets_r2():
    bench = Bench().established()
    bench.connection.set_user_timeout(10 * SECOND)
    bench.call("send", b"lost")
    bench.wait(10 * SECOND - 1)
    assert bench.state is State.ESTABLISHED
    bench.wait(1)
    assert bench.state is State.CLOSED


def test_peer_s_user_timeout_is_followed_but_never_below_100_s():
    bench = Bench().established(Options(user_timeout_ms=5000))
    assert bench.tcb.user_timeout_ns == 100 * SECOND
    bench = Bench()
    bench.connection.set_user_timeout(7 * SECOND, announce=True)
    (syn,) = bench.call("open")
    assert syn.options.user_timeout_ms == 7000
    bench.got(SYN | ACK, options=Options(user_timeout_ms=900_000))
    assert bench.tcb.user_timeout_ns == 7 * SECOND


@pytest.mark.rfc("MUST-18")
def test_segment_sent_twice_gives_no_sample():
    bench = Bench().established()
    bench.got(ACK)
    before = bench.tcb.rtt.srtt_ns
    bench.call("send", b"late")
    bench.wait(SECOND)  # sent again
    bench.wait(300 * MS)
    bench.got(ACK)
    assert bench.tcb.rtt.srtt_ns == before


def test_timestamp_says_which_copy_was_answered():
    bench = Bench(RFC).established(Options(mss=1000, timestamp=(5, 0)))
    bench.call("send", b"late")
    (again,) = bench.wait(SECOND)
    bench.now_ns += 300 * MS
    bench.got(ACK, options=Options(timestamp=(6, again.options.timestamp[0])))
    assert bench.tcb.rtt.srtt_ns > 30 * MS  # an eighth of 300 ms on top of nothing


@pytest.mark.rfc("MUST-19")
def test_initial_window_and_slow_start():
    bench = Bench().established(MSS)
    bench.got(ACK, wnd=65535)
    first = bench.call("send", bytes(60_000))
    assert len(first) == 10  # RFC 6928
    assert len(bench.got(ACK, ack=add(first[0].seq, 2000), wnd=65535)) == 4


def test_lost_syn_starts_with_one_segment():
    bench = Bench().syn_sent()
    bench.wait(2 * SECOND)
    bench.got(SYN | ACK, options=MSS)
    bench.got(ACK, wnd=65535)
    assert len(bench.call("send", bytes(60_000))) == 1  # RFC 5681 §3.1


@pytest.mark.rfc("MUST-19")
def test_timeout_begins_again_with_one_segment():
    bench = loaded()
    (again,) = bench.wait(SECOND)
    assert again.seq == bench.first and bench.tcb.congestion.cwnd_bytes == 1000
    assert bench.tcb.congestion.ssthresh_bytes == 5000
    assert [segment.seq for segment in bench.got(ACK, ack=add(bench.first, 1000), wnd=65535)] == [
        add(bench.first, 1000), add(bench.first, 2000),
    ]  # fmt: skip


@pytest.mark.rfc("MUST-19")
def test_third_duplicate_sends_again_and_halves():
    bench = loaded()
    lost = bench.first
    assert [segment.seq for segment in bench.got(ACK, ack=lost, wnd=65535)] == [add(lost, 10_000)]  # RFC 3042
    assert [segment.seq for segment in bench.got(ACK, ack=lost, wnd=65535)] == [add(lost, 11_000)]
    again = bench.got(ACK, ack=lost, wnd=65535)
    assert [segment.seq for segment in again] == [lost]
    assert bench.tcb.congestion.ssthresh_bytes == 5000  # what limited transmit sent is not counted (RFC 5681 §3.2)


def test_partial_acknowledgement_sends_the_next_hole():
    bench = loaded()
    for _ in range(3):
        bench.got(ACK, ack=bench.first, wnd=65535)
    sent = bench.got(ACK, ack=add(bench.first, 3000), wnd=65535)  # RFC 6582: 0..2999 arrived, the next is missing
    assert sent[0].seq == add(bench.first, 3000)


def test_full_acknowledgement_ends_recovery():
    bench = loaded()
    for _ in range(3):
        bench.got(ACK, ack=bench.first, wnd=65535)
    bench.got(ACK, wnd=65535)
    assert bench.tcb.recovery.phase == 0
    assert bench.tcb.congestion.cwnd_bytes >= bench.tcb.congestion.ssthresh_bytes


def test_sack_sends_only_what_is_missing():
    bench = loaded(SACK, WITH_SACK)
    assert sack(bench, 0, (1000, 2000)) == [10_000]
    assert sack(bench, 0, (3000, 4000), (1000, 2000)) == [11_000]
    sent = sack(bench, 0, (5000, 10_000), (3000, 4000), (1000, 2000))
    assert sent[:3] == [0, 2000, 4000]
    assert bench.tcb.recovery.sacked_bytes == 7000


def test_three_lost_segments_come_back_in_one_round_trip():
    bench = loaded(SACK, WITH_SACK)
    sent = sack(bench, 0, (3000, 10_000))
    assert sent[:3] == [0, 1000, 2000]
    sack(bench, 10_000)
    assert bench.tcb.recovery.phase == 0 and bench.tcb.counters.timeouts == 0


def test_sack_beyond_what_was_sent_is_ignored():
    bench = loaded(SACK, WITH_SACK)
    sack(bench, 0, (50_000, 60_000), (5, 5), (9, 3))
    assert bench.tcb.recovery.sacked_bytes == 0


def test_timeout_keeps_the_scoreboard_but_not_when_the_head_was_sacked():
    bench = loaded(SACK, WITH_SACK)
    sack(bench, 0, (1000, 2000))
    bench.wait(2 * SECOND)
    assert bench.tcb.recovery.sacked_bytes == 1000
    bench = loaded(SACK, WITH_SACK)
    sack(bench, 0, (0, 1000))  # reneging: SACKed and never acknowledged
    bench.wait(2 * SECOND)
    assert bench.tcb.recovery.sacked_bytes == 0


def test_dsack_is_counted_and_lost_nothing():
    bench = loaded(SACK, WITH_SACK)
    sack(bench, 2000, (0, 1000))
    assert bench.tcb.counters.dsacks_in == 1 and bench.tcb.recovery.sacked_bytes == 0


def test_last_segment_again_carries_push():
    bench = Bench().established()
    bench.call("send", b"all")
    (again,) = bench.wait(SECOND)
    assert again.flags == ACK | PSH and bytes(again.payload) == b"all"


def test_idle_connection_starts_small_again():
    bench = Bench().established(MSS)
    bench.got(ACK, wnd=65535)
    sent = bench.call("send", bytes(10_000))
    bench.got(ACK, wnd=65535)
    assert len(sent) == 10 and bench.tcb.congestion.cwnd_bytes > 10_000
    bench.now_ns += 10 * SECOND
    bench.call("send", b"x")
    assert bench.tcb.congestion.cwnd_bytes == 10_000
