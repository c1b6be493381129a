"""Recovery step by step against its RFCs: 8985 (RACK-TLP), 6675, 6582, 5681, 6298, 3522 and 4015, 3168, 9438."""

import pytest
from tests.endpoint_kit import MS, PLAIN, SECOND, WND, Bench, loaded, sack

from tcpscope.machine.congestion import ALGORITHMS, INFINITE, Cubic, NewReno, rescale
from tcpscope.machine.profile import RFC, Profile
from tcpscope.machine.rack import arm_probe
from tcpscope.machine.recovery import LOSS, OPEN, RECOVERY, reo_wnd_ns
from tcpscope.machine.sequence import add
from tcpscope.model.segment import ACK, CWR, ECE, SYN, Options, Segment
from tcpscope.wire.options import emit_options

MSS = 1000
OFFER = Options(mss=MSS, sack_permitted=True)
WITH_RACK = RFC._replace(timestamps=False, window_scaling=False)
WITH_SACK = WITH_RACK._replace(rack=False)
UNTIMED_TOO = RFC._replace(window_scaling=False, drops_untimed=False)
STAMPED = Options(mss=MSS + 12, sack_permitted=True, timestamp=(5, 0))


def offsets(bench: Bench, segments: list[Segment]) -> list[int]:
    """Where the text of these segments begins, counted from the first octet."""
    return [(segment.seq - bench.first) & 0xFFFFFFFF for segment in segments if len(segment.payload)]


def sender(profile: Profile = WITH_RACK, options: Options = OFFER, **sizes: int) -> Bench:
    """A connection with a sample of 100 ms and an open window."""
    bench = Bench(profile).syn_sent()
    bench.now_ns += 100 * MS
    bench.got(SYN | ACK, options=options)
    bench.connection.set_segment_sizes(**sizes)
    bench.got(ACK, wnd=65535)
    bench.first = bench.tcb.snd_nxt
    return bench


def rack(**named: object) -> Bench:
    return loaded(OFFER, WITH_RACK._replace(**named))


# RFC 8985: losses by time


def test_three_small_segments_sacked_prove_a_loss_as_three_full_ones_do():
    bench = sender()
    bench.connection.set_nodelay(True)
    for _ in range(5):
        bench.call("send", b"tiny")
    bench.now_ns += 100 * MS
    assert sack(bench, 0, (4, 12)) == []  # two: a reordering window of a quarter of the round trip first
    assert sack(bench, 0, (4, 16)) == [0]


def test_pieces_of_one_sacked_segment_are_no_three_segments():
    bench = rack()
    assert sack(bench, 0, (1000, 1010), (1020, 1030), (1040, 1050)) == []
    assert bench.tcb.recovery.phase == OPEN


def test_rest_of_an_offloaded_group_is_not_lost_because_its_first_part_arrived():
    bench = sender(gso_bytes=60_000)
    bench.tcb.congestion.cwnd_bytes = 20_000
    bench.call("send", bytes(3000))
    bench.now_ns += MS
    (group,) = bench.call("send", bytes(8000))
    assert len(group.payload) == 8000
    bench.now_ns += 100 * MS
    sack(bench, 0, (3000, 6000))  # of the group three, of what was before it nothing: that is lost, the rest is not
    assert bench.tcb.recovery.phase == RECOVERY
    state = {(sent.seq - bench.first) & 0xFFFFFFFF: (sent.transmissions, sent.lost) for sent in bench.tcb.flight}
    assert state[0] == (2, False) and state[1000] == (1, True)  # the window has room for one
    assert state[6000] == (1, False)


def test_answer_to_the_first_copy_is_no_news_of_the_second():
    bench = loaded(STAMPED, UNTIMED_TOO)
    stamp = bench.tcb.flight[0].sent_ns // MS
    blocks = ((add(bench.first, 1000), add(bench.first, 4000)),)
    bench.got(ACK, ack=bench.first, wnd=65535, options=Options(timestamp=(6, stamp), sack=blocks))
    assert bench.tcb.flight[0].transmissions == 2
    order = bench.tcb.rack.order
    bench.now_ns += 150 * MS  # more than the smallest round trip, but the echo is that of the first copy
    bench.got(ACK, ack=add(bench.first, 1000), wnd=65535, options=Options(timestamp=(7, stamp), sack=blocks))
    assert bench.tcb.rack.order == order


def test_retransmission_before_newer_text_that_arrived_is_lost_without_any_sack():
    bench = rack()
    sack(bench, 0, (1000, 10_000))  # the first is sent again
    bench.call("send", bytes(1))  # something of the queue left with it
    newer = [sent for sent in bench.tcb.flight if sent.transmissions == 1 and not sent.sacked]
    assert newer, "new text was sent after the retransmission"
    head = bench.tcb.flight[0]
    head.order, newer[0].order = newer[0].order, head.order  # as if the text had left first
    bench.now_ns += 100 * MS
    sent = sack(bench, 10_000)  # the retransmission has arrived, what left before it has not
    assert bench.tcb.deadline_rack_ns < 1 << 62 or 10_000 in sent


def test_each_round_trip_with_a_dsack_makes_more_patient_and_sixteen_recoveries_without_undo_it():
    bench = rack()
    tcb = bench.tcb
    tcb.counters.retransmits = 9
    sack(bench, 2000, (0, 1000))
    assert tcb.rack.reo_wnd_mult == 2
    sack(bench, 2000, (1000, 2000))
    assert tcb.rack.reo_wnd_mult == 2  # the same round trip
    bench.got(ACK, wnd=65535)
    sack(bench, (tcb.snd_una - bench.first) & 0xFFFFFFFF, (0, 1000))
    assert tcb.rack.reo_wnd_mult == 3
    tcb.rack.reordering_seen = True
    assert reo_wnd_ns(tcb) == min(3 * tcb.rtt.min_rtt_ns // 4, tcb.rtt.srtt_ns)
    tcb.rack.reordering_seen = False
    for left in range(16, 0, -1):
        assert tcb.rack.reo_wnd_mult == 3, left
        tcb.congestion.cwnd_bytes = 10_000
        bench.call("send", bytes(5000))
        una = (tcb.snd_una - bench.first) & 0xFFFFFFFF
        sack(bench, una, (una + 1000, una + 4000))
        assert tcb.recovery.phase == RECOVERY
        bench.now_ns += 100 * MS
        bench.got(ACK, wnd=65535)
    assert tcb.rack.reo_wnd_mult == 1


def test_copies_made_by_the_network_teach_no_patience():
    bench = rack()
    sack(bench, 2000, (0, 1000))  # nothing was ever sent again
    assert bench.tcb.counters.dsacks_in == 1 and bench.tcb.rack.reo_wnd_mult == 1


def test_expired_timer_believes_lost_only_what_had_its_time():
    bench = rack()
    bench.now_ns = bench.tcb.deadline_retransmit_ns - 10 * MS
    bench.tcb.deadline_probe_ns = 1 << 63
    young = bench.tcb.flight[-1]
    young.sent_ns = bench.now_ns
    bench.tcb.rack.rtt_ns = 100 * MS
    bench.wait(10 * MS)
    assert bench.tcb.recovery.phase == LOSS
    assert not young.lost and all(sent.lost for sent in bench.tcb.flight[1:-1])


# RFC 8985: tail loss probes


def probed() -> Bench:
    """One segment in flight and its copy sent as a probe."""
    bench = sender()
    bench.call("send", bytes(MSS))
    bench.wait(2 * bench.tcb.rtt.srtt_ns + 200 * MS)
    assert bench.tcb.counters.tail_probes == 1 and bench.tcb.rack.probe_end == bench.tcb.snd_nxt
    return bench


@pytest.mark.parametrize("answer", ["dsack", "repeated"])
def test_late_answers_to_text_and_probe_cost_nothing(answer):
    bench = probed()
    before = bench.tcb.congestion.cwnd_bytes
    sack(bench, 1000)
    assert bench.tcb.rack.probe_end >= 0 and not bench.tcb.flight
    if answer == "dsack":
        sack(bench, 1000, (0, 1000))  # everything is acknowledged: it must be heard all the same
    else:
        sack(bench, 1000)  # a peer without D-SACK says the same again
    assert bench.tcb.rack.probe_end == -1
    bench.call("send", bytes(MSS))
    sack(bench, 2000)
    assert bench.tcb.congestion.ssthresh_bytes == INFINITE and bench.tcb.congestion.cwnd_bytes >= before


def test_window_update_is_no_answer_to_the_probe():
    bench = probed()
    sack(bench, 1000)
    bench.got(ACK, wnd=65000)
    assert bench.tcb.rack.probe_end >= 0


def test_probe_that_repaired_a_loss_costs_by_the_flight_it_was_lost_from():
    bench = probed()
    bench.tcb.rack.probe_flight_bytes = 8000
    sack(bench, 1000)
    bench.call("send", bytes(MSS))
    sack(bench, 2000)
    assert bench.tcb.congestion.ssthresh_bytes == 4000


def test_fast_recovery_forgets_the_probe():
    bench = rack()
    bench.tcb.unsent, bench.tcb.unsent_bytes = [], 0
    bench.wait(2 * bench.tcb.rtt.srtt_ns)
    assert bench.tcb.rack.probe_end >= 0
    sack(bench, 0, (1000, 9000))
    assert bench.tcb.recovery.phase == RECOVERY and bench.tcb.rack.probe_end == -1


def test_probe_without_a_sample_goes_after_a_second():
    bench = rack(initial_rto_ns=5 * SECOND)
    tcb = bench.tcb
    tcb.rtt.srtt_ns = 0
    tcb.rtt.rto_base_ns = 5 * SECOND
    bench.got(ACK, ack=add(bench.first, 0), wnd=65535)
    tcb.deadline_retransmit_ns = bench.now_ns + 5 * SECOND
    arm_probe(tcb, bench.now_ns)
    assert tcb.deadline_probe_ns == bench.now_ns + SECOND


def test_probe_of_an_offloaded_group_is_its_last_segment():
    bench = sender(gso_bytes=60_000)
    (group,) = bench.call("send", bytes(6000))
    assert len(group.payload) == 6000
    (probe,) = bench.wait(2 * bench.tcb.rtt.srtt_ns)
    assert offsets(bench, [probe]) == [5000] and len(probe.payload) == MSS and not probe.gso_bytes


def test_probe_and_override_leave_room_for_the_blocks_they_carry():
    bench = rack()
    sent = bench.got(ACK, seq=add(bench.seq, 500), text=b"later", ack=add(bench.first, 10_000), wnd=1200)
    sent += bench.wait(SECOND)
    assert max(len(segment.payload) for segment in sent) == MSS - 12
    for segment in sent:
        assert len(segment.payload) + len(emit_options(segment.options)) <= MSS


@pytest.mark.parametrize("profile", [WITH_RACK, WITH_SACK], ids=["rack", "sack"])
def test_lost_text_beyond_a_shrunk_window_waits_for_the_window(profile):
    bench = loaded(OFFER, profile)
    blocks = ((add(bench.first, 6000), add(bench.first, 10_000)),)
    sent = bench.got(ACK, ack=bench.first, wnd=1000, options=Options(sack=blocks))
    assert offsets(bench, sent) == [0]
    sent = bench.got(ACK, ack=add(bench.first, 1000), wnd=65535, options=Options(sack=blocks))
    assert offsets(bench, sent)[:2] == [1000, 2000]


# RFC 6675 and 6582


def test_three_duplicates_of_small_segments_begin_recovery_without_rack():
    bench = sender(WITH_SACK)
    bench.connection.set_nodelay(True)
    for _ in range(6):
        bench.call("send", b"tiny")
    assert sack(bench, 0, (4, 8)) == [] and sack(bench, 0, (4, 12)) == []
    assert sack(bench, 0, (4, 16)) == [0]


def test_acknowledgement_that_says_nothing_new_by_sack_is_no_duplicate():
    bench = loaded(OFFER, WITH_SACK)
    sack(bench, 0, (1000, 1100))
    for _ in range(5):
        sack(bench, 0, (1000, 1100))
    assert bench.tcb.dup_acks == 1


def test_spare_window_goes_to_what_may_be_lost_and_once_to_the_tail():
    """RFC 6675 §4, rules 3 and 4: nothing new to send, the window has room."""
    bench = loaded(OFFER, WITH_SACK)
    bench.tcb.unsent, bench.tcb.unsent_bytes = [], 0
    bench.tcb.congestion.cwnd_bytes = 30_000
    assert sack(bench, 0, (1000, 4000)) == [0]  # three above it: lost
    bench.tcb.congestion.cwnd_bytes = 30_000
    assert sack(bench, 0, (1000, 4000), (5000, 6000)) == [4000]  # one above it: only suspected
    assert sack(bench, 0, (1000, 4000), (5000, 7000)) == [9000]  # the tail, on suspicion
    assert sack(bench, 0, (1000, 4000), (5000, 8000)) == []  # not again in this recovery


def test_duplicates_at_the_end_of_a_recovery_start_no_new_one():
    bench = loaded()
    for _ in range(3):
        bench.got(ACK, ack=bench.first, wnd=65535)
    point = bench.tcb.recovery.point
    bench.got(ACK, ack=point, wnd=65535)
    assert bench.tcb.recovery.phase == OPEN
    bench.call("send", bytes(6000))
    threshold = bench.tcb.congestion.ssthresh_bytes
    for _ in range(5):
        bench.got(ACK, ack=point, wnd=65535)
    assert bench.tcb.recovery.phase == OPEN and bench.tcb.congestion.ssthresh_bytes == threshold
    una = add(point, 1000)
    bench.got(ACK, ack=una, wnd=65535)
    for _ in range(3):
        bench.got(ACK, ack=una, wnd=65535)
    assert bench.tcb.recovery.phase == RECOVERY


def test_partial_acknowledgement_of_less_than_a_segment_gives_nothing_back():
    bench = loaded()
    for _ in range(3):
        bench.got(ACK, ack=bench.first, wnd=65535)
    before = bench.tcb.recovery.dup_bytes
    bench.got(ACK, ack=add(bench.first, 400), wnd=65535)
    assert bench.tcb.recovery.dup_bytes == before - 400


# RFC 5681 and 6298


def test_second_timeout_begins_with_one_segment_again_and_leaves_the_threshold():
    bench = loaded()
    bench.wait(SECOND)
    threshold = bench.tcb.congestion.ssthresh_bytes
    bench.tcb.congestion.cwnd_bytes = 4000
    bench.wait(2 * SECOND)
    assert bench.tcb.counters.timeouts == 2
    assert (bench.tcb.congestion.cwnd_bytes, bench.tcb.congestion.ssthresh_bytes) == (MSS, threshold)


def test_after_a_timeout_one_acknowledgement_opens_the_window_by_one_segment():
    bench = loaded()
    bench.wait(SECOND)
    bench.got(ACK, ack=add(bench.first, 3000), wnd=65535)  # what had arrived before: no reason for more
    assert bench.tcb.recovery.phase == LOSS and bench.tcb.congestion.cwnd_bytes == 2 * MSS


def test_acknowledgements_we_send_do_not_keep_our_window_fresh():
    bench = Bench().established(Options(mss=MSS))
    bench.got(ACK, wnd=65535)
    bench.call("send", bytes(10_000))
    bench.got(ACK, wnd=65535)
    grown = bench.tcb.congestion.cwnd_bytes
    assert grown > 10 * MSS
    for _ in range(40):
        bench.now_ns += 250 * MS
        bench.got(ACK, text=bytes(2000), wnd=65535)  # answered by an ACK at once
    bench.call("send", b"x")
    assert bench.tcb.congestion.cwnd_bytes == 10 * MSS


@pytest.mark.rfc("MUST-18")
def test_lost_syn_without_a_sample_means_three_seconds():
    bench = Bench().syn_sent()
    bench.wait(4 * SECOND)
    bench.got(SYN | ACK, options=Options(mss=MSS))
    assert bench.tcb.rtt.rto_ns == 3 * SECOND


def test_refused_probe_of_a_shut_window_costs_no_congestion_window():
    bench = Bench(PLAIN).established(Options(mss=MSS))
    bench.got(ACK, wnd=0)
    before = bench.tcb.congestion.cwnd_bytes
    bench.connection.send(bytes(5000))
    (probe,) = bench.wait(SECOND)
    assert len(probe.payload) == 1
    bench.got(ACK, ack=probe.seq, wnd=0)
    sent = bench.got(ACK, ack=probe.seq, wnd=WND)
    assert sent[0].seq == probe.seq
    assert bench.tcb.congestion.cwnd_bytes == before and bench.tcb.congestion.ssthresh_bytes == INFINITE
    bench.got(ACK, wnd=WND)
    assert bench.tcb.recovery.phase == OPEN and bench.tcb.congestion.ssthresh_bytes == INFINITE


def test_timeout_of_an_offloaded_group_is_repaired_segment_by_segment_before_anything_new():
    bench = sender(gso_bytes=60_000)
    (group, *_) = bench.call("send", bytes(30_000))
    assert len(group.payload) == 10 * MSS
    bench.tcb.deadline_probe_ns = 1 << 63
    assert offsets(bench, bench.wait(SECOND)) == [0]
    bench.now_ns += 100 * MS
    assert offsets(bench, bench.got(ACK, ack=add(bench.first, MSS), wnd=65535)) == [1000, 2000]
    bench.now_ns += 100 * MS
    assert offsets(bench, bench.got(ACK, ack=add(bench.first, 3 * MSS), wnd=65535)) == [3000, 4000, 5000]


# RFC 3522 and 4015


def stamped_timeout() -> tuple[Bench, int]:
    """Ten segments out, the timer has expired and the first went again; the stamp of the first sending."""
    bench = loaded(STAMPED, UNTIMED_TOO._replace(sack=False))
    stamp = bench.tcb.flight[0].sent_ns // MS
    bench.now_ns += 5 * MS
    bench.wait(SECOND)
    assert bench.tcb.counters.timeouts == 1 and bench.tcb.recovery.undo is not None
    return bench, stamp


def test_only_the_first_answer_after_a_retransmission_can_take_it_back():
    bench, stamp = stamped_timeout()
    bench.got(ACK, ack=add(bench.first, 1000), wnd=65535, options=Options(timestamp=(6, stamp + 3000)))
    bench.got(ACK, ack=add(bench.first, 2000), wnd=65535, options=Options(timestamp=(7, stamp)))
    assert bench.tcb.counters.undone_recoveries == 0


def test_spurious_timeout_gives_the_window_back_and_makes_the_timer_longer():
    bench, stamp = stamped_timeout()
    window = bench.tcb.recovery.undo
    bench.got(ACK, ack=add(bench.first, 1000), wnd=65535, options=Options(timestamp=(6, stamp)))
    assert bench.tcb.counters.undone_recoveries == 1
    assert (bench.tcb.congestion.cwnd_bytes, bench.tcb.congestion.ssthresh_bytes) >= window
    late_ns = bench.now_ns - stamp * MS
    assert bench.tcb.rtt.srtt_ns >= late_ns and bench.tcb.rtt.rto_ns >= 3 * late_ns - 10 * MS


# RFC 3168


def with_ecn(**named: object) -> Bench:
    """An ECN connection with ten segments in flight; its ISS lies in the upper half of the numbers."""
    profile = RFC._replace(ecn=True, timestamps=False, sack=False, **named)
    bench = Bench(profile).syn_sent()
    bench.now_ns += 100 * MS
    bench.got(SYN | ACK | ECE, options=Options(mss=MSS))
    assert bench.tcb.ecn and bench.tcb.congestion.ssthresh_bytes == INFINITE
    bench.got(ACK, wnd=65535)
    bench.first = bench.tcb.snd_nxt
    bench.sent = bench.call("send", bytes(40_000))
    bench.now_ns += 100 * MS
    assert len(bench.sent) == 10 and bench.first > 1 << 31
    return bench


@pytest.mark.rfc("SHLD-8")
def test_echo_shrinks_once_per_window_wherever_the_numbers_are():
    bench = with_ecn()
    bench.got(ACK | ECE, ack=add(bench.first, 1000), wnd=65535)
    assert bench.tcb.congestion.cwnd_bytes == 4500
    for offset in (2000, 3000, 10_000):
        bench.got(ACK | ECE, ack=add(bench.first, offset), wnd=65535)
    threshold = bench.tcb.congestion.ssthresh_bytes
    assert threshold == 4500
    bench.got(ACK | ECE, wnd=65535)
    assert bench.tcb.congestion.ssthresh_bytes < threshold


@pytest.mark.rfc("SHLD-8")
def test_loss_after_an_echo_in_the_same_window_is_repaired_without_shrinking_again():
    bench = with_ecn()
    bench.got(ACK | ECE, ack=add(bench.first, 1000), wnd=65535)
    threshold, una = bench.tcb.congestion.ssthresh_bytes, bench.tcb.snd_una
    sent = []
    for _ in range(3):
        sent += bench.got(ACK, ack=una, wnd=65535)
    assert una in [segment.seq for segment in sent] and bench.tcb.congestion.ssthresh_bytes == threshold


@pytest.mark.rfc("SHLD-8")
@pytest.mark.parametrize("how", ["duplicates", "timeout"])
def test_sender_that_has_slowed_down_says_so_with_its_next_new_text(how):
    bench = with_ecn()
    if how == "duplicates":
        sent = [segment for _ in range(3) for segment in bench.got(ACK, ack=bench.first, wnd=65535)]
    else:
        sent = bench.wait(SECOND)
    (again,) = [segment for segment in sent if segment.seq == bench.first]
    assert again.ip_ecn == 0 and not again.flags & CWR  # what is sent again must not ask for marks
    fresh = [segment for segment in bench.got(ACK, wnd=65535) if len(segment.payload)]
    assert fresh[0].flags & CWR and fresh[0].ip_ecn == 2
    assert not any(segment.flags & CWR for segment in fresh[1:])


@pytest.mark.rfc("SHLD-8")
def test_window_probe_asks_for_no_mark():
    bench = with_ecn()
    bench.got(ACK, wnd=0)
    (probe, *_) = bench.wait(2 * SECOND)
    assert len(probe.payload) == 1 and probe.ip_ecn == 0


# RFC 9438, and what all algorithms share


def cubic_after_loss(segments: int = 100) -> Cubic:
    cubic = Cubic(MSS, 10 * MSS)
    cubic.cwnd_bytes = segments * MSS
    cubic.on_loss(segments * MSS, 0)
    cubic.after_recovery(0)
    return cubic


def test_cubic_begins_flat_after_a_timeout():
    cubic = cubic_after_loss()
    cubic.cwnd_bytes = 80 * MSS
    cubic.on_rto(80 * MSS, 0, False)
    assert (cubic.cwnd_bytes, cubic.ssthresh_bytes) == (MSS, 56 * MSS)
    cubic.cwnd_bytes = 56 * MSS
    cubic.on_ack(MSS, 100 * MS, SECOND)
    assert cubic.k_s == 0 and cubic.w_max == 56


def test_cubic_does_not_count_the_time_in_which_the_application_sent_little():
    busy, idle = cubic_after_loss(), cubic_after_loss()
    for cubic in (busy, idle):
        cubic.on_ack(MSS, 100 * MS, 0)
    idle.on_spare_window(100 * MS)
    idle.on_spare_window(5 * SECOND)
    busy.on_ack(MSS, 100 * MS, 200 * MS)
    idle.on_ack(MSS, 100 * MS, 20 * SECOND)
    assert idle.epoch_ns == 20 * SECOND - 100 * MS
    assert abs(idle.cwnd_bytes - busy.cwnd_bytes) < MSS


def test_cubic_in_the_reno_region_grows_by_a_segment_once_it_is_back():
    cubic = cubic_after_loss(4)
    grown = []
    for step in range(400):
        before = cubic.reno_segments
        cubic.on_ack(MSS, MS, step)
        if step:
            grown.append((before < cubic.cwnd_prior, (cubic.reno_segments - before) * before))
    slow, fast = ([step for was_below, step in grown if was_below is below] for below in (True, False))
    assert max(slow) < 0.6 < min(fast)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_undo_puts_everything_back(name):
    algorithm = ALGORITHMS[name](MSS, 10 * MSS)
    algorithm.on_loss(10 * MSS, 0)
    algorithm.after_recovery(0)
    for at in range(1, 60):
        algorithm.on_ack(MSS, 100 * MS, at * 10 * MS)
    before, state = algorithm.remember(), {slot: getattr(algorithm, slot) for slot in type(algorithm).__slots__}
    algorithm.on_rto(8 * MSS, SECOND, False)
    algorithm.on_undo(before)
    after = {slot: getattr(algorithm, slot) for slot in type(algorithm).__slots__}
    after.pop("acked_bytes", None), state.pop("acked_bytes", None)
    assert after == state


@pytest.mark.parametrize("kind", [NewReno, Cubic])
def test_window_never_gains_octets_by_larger_nor_segments_by_smaller_ones(kind):
    algorithm = kind(1000, 20_000)
    algorithm.on_loss(20_000, 0)
    before = algorithm.cwnd_bytes
    algorithm.on_mss(1400)
    assert algorithm.cwnd_bytes == before and algorithm.mss_bytes == 1400
    algorithm.on_mss(700)
    assert algorithm.cwnd_bytes == before // 2
    assert rescale(INFINITE, 1000, 500) == INFINITE and rescale(600, 1000, 1400) == 1400
