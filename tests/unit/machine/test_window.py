"""Windows: offered, shut, shrunk and silly (RFC 9293 §3.8.6), Nagle and PUSH (§3.7.4, §3.9.1.2)."""

import pytest
from tests.endpoint_kit import IRS, PLAIN, SECOND, Bench

from tcpscope.machine.profile import LINUX, RFC
from tcpscope.machine.sequence import add
from tcpscope.model.segment import ACK, FIN, PSH, RST, SYN, URG, Options
from tcpscope.model.state import State

MSS = Options(mss=1000)


def sender(wnd: int = 65535, profile=PLAIN, options: Options = MSS) -> Bench:
    bench = Bench(profile).established(options)
    bench.got(ACK, wnd=wnd)
    return bench


def sizes(bench: Bench) -> list[int]:
    return [len(segment.payload) for segment in bench.out]


@pytest.mark.rfc("MUST-1", "REC-1")
def test_window_is_unsigned_and_kept_in_more_than_16_bits():
    bench = Bench(RFC).established(Options(mss=1000, window_scale=14))
    bench.got(ACK, wnd=65535)
    assert bench.tcb.snd_wnd == 65535 << 14


def test_window_of_a_syn_is_never_scaled():
    bench = Bench(RFC).established(Options(mss=1000, window_scale=7))
    assert bench.tcb.snd_wnd == 8000


def test_window_scale_above_14_is_taken_as_14():
    assert Bench(RFC).established(Options(window_scale=200)).tcb.snd_wscale == 14


def test_old_segment_does_not_move_the_window():
    bench = sender(wnd=5000)
    bench.got(ACK, text=b"x" * 5, wnd=4000)
    bench.got(ACK, seq=add(bench.seq, -6), text=b"x" * 7, wnd=9)  # starts before SND.WL1
    assert bench.tcb.snd_wnd == 4000 and bench.connection.readable_bytes == 6


@pytest.mark.rfc("MUST-36", "SHLD-29", "SHLD-30", "MUST-37")
def test_shut_window_is_probed_after_one_rto_then_ever_less_often_for_ever():
    bench = sender(wnd=0)
    bench.connection.send(b"waiting")
    start, probes = bench.now_ns, []
    assert bench.flush() == []
    while len(probes) < 40:
        bench.now_ns = bench.connection.next_deadline()
        assert bench.now_ns is not None, "given up"
        out = bench.flush()
        if out:
            probes.append(bench.now_ns - start)
            assert bytes(out[0].payload) == b"w"
            bench.got(ACK, ack=add(bench.tcb.snd_una, 0), wnd=0)
    gaps = [(b - a) // SECOND for a, b in zip([0, *probes], probes, strict=False)]
    assert gaps[:7] == [1, 2, 4, 8, 16, 32, 60] and set(gaps[7:]) == {60}
    assert bench.state is State.ESTABLISHED
    assert bench.now_ns - start > RFC.r2_ns


def test_unanswered_probes_end_the_connection_at_r2():
    bench = sender(wnd=0)
    bench.call("send", b"waiting")
    bench.wait(RFC.r2_ns + 130 * SECOND)
    assert bench.state is State.CLOSED


def test_linux_probes_without_data():
    bench = sender(wnd=0, profile=LINUX._replace(timestamps=False, sack=False, window_scaling=False))
    bench.call("send", b"waiting")
    (probe,) = bench.wait(SECOND // 4)
    assert probe.payload == b"" and probe.seq == add(bench.tcb.snd_una, -1)


def test_opened_window_lets_everything_go_at_once():
    bench = sender(wnd=0)
    bench.call("send", b"waiting")
    bench.wait(SECOND)  # one octet out as a probe
    (octet,) = bench.got(ACK, ack=bench.tcb.snd_una, wnd=5000)
    (rest,) = bench.got(ACK, wnd=5000)
    assert (bytes(octet.payload), bytes(rest.payload)) == (b"w", b"aiting")


def test_fin_waits_for_the_window_and_is_the_probe():
    bench = sender(wnd=0)
    assert bench.call("shutdown") == []
    (probe,) = bench.wait(SECOND)
    assert probe.flags & FIN and bench.state is State.FIN_WAIT_1


@pytest.mark.rfc("MUST-34", "SHLD-15", "SHLD-16")
def test_shrunk_window_stops_new_text_but_not_what_fits():
    bench = sender(wnd=10_000)
    sent = bench.call("send", bytes(20_000))
    assert len(sent) == 10
    first = sent[0].seq
    assert bench.got(ACK, ack=first, wnd=1500, text=b"news") == []  # the usable window is negative now
    again = bench.wait(SECOND)
    assert [(segment.seq, len(segment.payload)) for segment in again if segment.payload] == [(first, 1000)]


@pytest.mark.rfc("MUST-34", "SHLD-15")
@pytest.mark.parametrize("profile", [PLAIN, LINUX._replace(timestamps=False, sack=False)], ids=lambda one: one.name)
def test_negative_usable_window_lets_nothing_new_go_even_without_nagle(profile):
    bench = sender(wnd=10_000, profile=profile)
    bench.connection.set_nodelay(True)
    sent = bench.call("send", bytes(5000))
    edge = bench.tcb.snd_nxt
    assert bench.got(ACK, ack=sent[0].seq, wnd=1500, text=b"news") == []
    assert bench.call("send", b"more") == [] and bench.call("send", bytes(2000)) == []
    again = [segment for segment in bench.wait(SECOND) if segment.payload]
    assert again and all(add(segment.seq, len(segment.payload) - 1 - edge) >= 1 << 31 for segment in again)


@pytest.mark.rfc("SHLD-16")
def test_text_inside_a_shrunk_window_is_sent_again_and_what_is_beyond_is_not():
    bench = sender(wnd=10_000)
    first = bench.call("send", bytes(5000))[0].seq
    for acked, window in ((0, 2000), (1000, 1000)):
        edge = add(first, acked + window)
        sent = bench.got(ACK, ack=add(first, acked), wnd=window, text=b"news") + bench.wait(30 * SECOND)
        again = [segment for segment in sent if segment.payload]
        assert len(again) >= 3 and again[0].seq == add(first, acked)
        assert all((edge - segment.seq - len(segment.payload)) & 0xFFFFFFFF < 1 << 31 for segment in again)


@pytest.mark.rfc("SHLD-17")
def test_text_beyond_a_shrunk_edge_never_times_the_connection_out():
    bench = sender(wnd=10_000)
    first = bench.call("send", bytes(5000))[0].seq
    bench.got(ACK, ack=add(first, 1000), wnd=0, text=b"news")  # 4000 octets lie beyond the edge now
    start = bench.now_ns
    while bench.now_ns < start + 3 * RFC.r2_ns:
        bench.now_ns = bench.connection.next_deadline()
        if bench.flush():
            bench.got(ACK, ack=add(first, 1000), wnd=0)
    assert bench.state is State.ESTABLISHED
    rest = 4000
    while rest:
        sent = bench.got(ACK, ack=add(first, 5000 - rest), wnd=4000) or bench.wait(SECOND)
        rest -= len(sent[0].payload)
        assert sent[0].payload, "what was beyond the edge goes again"
    assert bench.got(ACK, ack=add(first, 5000), wnd=4000) == [] and not bench.tcb.flight


@pytest.mark.rfc("MUST-35")
def test_window_shrunk_to_zero_is_probed_and_ends_nothing():
    bench = sender(wnd=10_000)
    first = bench.call("send", bytes(5000))[0].seq
    bench.got(ACK, ack=first, wnd=0, text=b"news")
    for _ in range(12):
        (probe, *_) = bench.wait(max(1, bench.connection.next_deadline() - bench.now_ns))
        bench.got(ACK, ack=first, wnd=0)
    assert probe.seq == first and len(probe.payload) == 1
    assert bench.state is State.ESTABLISHED and bench.tcb.congestion.cwnd_bytes > 1000
    assert sum(map(len, (segment.payload for segment in bench.got(ACK, ack=first, wnd=65535)))) >= 1000


@pytest.mark.rfc("MAY-7")
def test_text_beyond_a_shrunk_edge_waits_for_the_edge():
    bench = sender(wnd=10_000)
    first = bench.call("send", bytes(5000))[0].seq
    bench.got(ACK, ack=first, wnd=1000, text=b"news")
    sent = [segment for segment in bench.wait(20 * SECOND) if segment.payload]
    assert {segment.seq for segment in sent} == {first}


@pytest.mark.rfc("MUST-38")
def test_small_window_gets_nothing_until_worth_it_or_overdue():
    bench = sender(wnd=4000)
    bench.call("send", bytes(9000))
    bench.got(ACK, wnd=300)  # less than a segment and less than half of the largest window
    assert bench.out == []
    overdue = bench.wait(RFC.push_override_ns)
    assert [len(segment.payload) for segment in overdue] == [300]


@pytest.mark.rfc("MUST-39", "SHLD-14")
def test_reader_of_single_octets_does_not_open_a_silly_window():
    bench = Bench().established(MSS)
    bench.connection.set_buffers(receive_bytes=65535)
    while bench.tcb.rcv_wnd:
        bench.got(ACK, text=bytes(min(1000, bench.tcb.rcv_wnd)))
    told = bench.wait(SECOND)[-1:] or bench.out
    edge = bench.tcb.rcv_adv
    for _ in range(900):
        bench.connection.receive(1)
        assert bench.flush() == []
    assert bench.tcb.rcv_adv == edge, told
    (answer,) = bench.got(
        ACK, seq=add(bench.seq, -1)
    )  # a keepalive probe wants an answer: 900 free octets are not told
    assert add(answer.ack, answer.wnd) == edge
    bench.connection.receive(40_000)
    (update,) = bench.flush()
    assert update.wnd >= 40_000


@pytest.mark.rfc("MAY-8")
def test_window_may_stay_shut_for_ever():
    bench = Bench().established(MSS)
    while bench.tcb.rcv_wnd:
        bench.got(ACK, text=bytes(min(1000, bench.tcb.rcv_wnd)))
    for _ in range(50):
        bench.now_ns += 60 * SECOND
        (refusal,) = bench.got(ACK, seq=bench.seq, text=b"x")
        assert refusal.wnd == 0 and refusal.ack == bench.seq
    assert bench.state is State.ESTABLISHED


@pytest.mark.rfc("MUST-66")
def test_shut_window_still_takes_ack_rst_and_urg():
    bench = Bench().established(MSS)
    while bench.tcb.rcv_wnd:
        bench.got(ACK, text=bytes(min(1000, bench.tcb.rcv_wnd)))
    bench.call("send", b"text")
    bench.got(ACK, seq=bench.seq, text=b"x")  # text is refused, its ACK is not
    assert bench.tcb.snd_una == bench.tcb.snd_nxt
    bench.got(ACK | URG, seq=bench.seq, urgent=7)
    assert bench.connection.urgent_bytes > 0
    bench.got(RST, seq=bench.seq)
    assert bench.state is State.CLOSED


@pytest.mark.rfc("MUST-17", "SHLD-7")
def test_nagle_is_on_and_can_be_turned_off():
    bench = sender()
    bench.call("send", b"one")
    assert bench.call("send", b"two") == []
    assert [bytes(segment.payload) for segment in bench.got(ACK)] == [b"two"]
    bench = sender()
    bench.connection.set_nodelay(True)
    bench.call("send", b"one")
    assert [bytes(segment.payload) for segment in bench.call("send", b"two")] == [b"two"]


def test_full_segment_with_options_is_never_partial():
    """A payload of MSS minus options is full: Nagle must not hold it (one segment in flight and 40 ms otherwise)."""
    bench = Bench(RFC).established(Options(mss=1460, timestamp=(5, 0), sack_permitted=True))
    bench.got(ACK, wnd=65535, options=Options(timestamp=(5, 0)))
    sent = bench.call("send", bytes(1448 * 5 + 10))
    assert [len(segment.payload) for segment in sent] == [1448] * 5


@pytest.mark.rfc("SHLD-28", "MAY-16")
def test_small_sends_are_gathered_into_full_segments():
    bench = sender()
    bench.call("send", b"first")
    sent = []
    for _ in range(35):
        sent += bench.call("send", bytes(100))
    assert [len(segment.payload) for segment in sent] == [1000, 1000, 1000]
    assert [len(segment.payload) for segment in bench.got(ACK)] == [500]


@pytest.mark.rfc("MUST-60", "MAY-15")
def test_text_without_push_waits_for_company_but_not_for_ever():
    bench = sender()
    assert bench.call("send", b"not pushed", push=False) == []
    (late,) = bench.wait(RFC.push_override_ns)
    assert bytes(late.payload) == b"not pushed"


@pytest.mark.rfc("MUST-61", "SHLD-27")
def test_push_marks_the_last_segment_only():
    bench = sender()
    sent = bench.call("send", bytes(3000))
    assert [segment.flags & PSH for segment in sent] == [0, 0, PSH]


def test_offload_group_is_one_segment_of_many():
    bench = sender()
    bench.connection.set_segment_sizes(gso_bytes=60_000)
    (group, *_rest) = bench.call("send", bytes(9500))
    assert len(group.payload) == 9000 and group.gso_bytes == 1000


def test_window_update_follows_reading():
    bench = Bench().established(MSS)
    while bench.tcb.rcv_wnd:
        bench.got(ACK, text=bytes(min(1000, bench.tcb.rcv_wnd)))
    bench.wait(SECOND)
    (update,) = bench.call("receive", 1 << 20)
    assert update.flags == ACK and update.wnd == 65535


def test_reading_behind_a_hole_tells_the_window_at_once():
    """No acknowledgement moves on until the hole is filled, so that nothing else would tell of the room."""
    bench = Bench(RFC._replace(timestamps=False)).established(Options(mss=1000, sack_permitted=True))
    for _ in range(4):
        bench.got(ACK, text=bytes(1000))
    edge = bench.tcb.rcv_adv
    bench.got(ACK, seq=add(bench.seq, 1000), text=bytes(1000))
    (update,) = bench.call("receive", 1 << 20)
    told = add(update.ack, update.wnd << bench.tcb.rcv_wscale)
    assert 0 < (told - edge) & 0xFFFFFFFF < 5000 and update.options.sack
    assert bench.call("receive", 1 << 20) == []
    whole = Bench().established(MSS)
    for _ in range(4):
        whole.got(ACK, text=bytes(1000))
    assert whole.call("receive", 1 << 20) == []  # without a hole the next ACK is soon enough


def test_right_edge_never_moves_left_while_text_comes_in():
    bench = Bench(RFC).established(Options(mss=1000, window_scale=3))
    bench.connection.set_buffers(receive_bytes=65535)
    edge = 0
    for size in (1, 7, 500, 1000, 3, 1000) * 8:
        bench.got(ACK, text=bytes(size))
        for segment in bench.out:
            told = (segment.ack + (segment.wnd << bench.tcb.rcv_wscale) - IRS) & 0xFFFFFFFF
            assert told >= edge
            edge = told


def test_right_edge_never_moves_left_where_the_field_is_coarse():
    """With a scale of 14 a field names multiples of 16 KiB: less than was promised must never be told."""
    bench = Bench(RFC._replace(timestamps=False))
    bench.connection.set_buffers(receive_bytes=1 << 30)
    bench.established(Options(mss=1000, window_scale=3))
    assert bench.tcb.rcv_wscale == 14
    edge = 0
    for size in (1000, 1000, 16_000, 900, 40_000, 1000, 1000) * 4:
        bench.got(ACK, text=bytes(size))
        bench.connection.receive(size // 2)
        for segment in bench.out:
            told = (segment.ack + (segment.wnd << 14) - IRS) & 0xFFFFFFFF
            assert told >= edge
            edge = told


def test_buffer_larger_than_an_unscaled_field_is_told_as_65535():
    bench = Bench()
    bench.connection.set_buffers(receive_bytes=1 << 20)
    bench.established(MSS)
    for _ in range(40):
        bench.got(ACK, text=bytes(3000))
        assert bench.out[0].wnd == 65535
        bench.connection.receive()


def test_reading_half_the_buffer_is_told_at_once():
    bench = Bench().established(MSS)
    bench.connection.set_buffers(receive_bytes=65535)
    for _ in range(40):
        bench.got(ACK, text=bytes(1000))
    assert bench.call("receive", 10_000) == []
    (update,) = bench.call("receive", 25_000)
    assert update.wnd == 65535 - 5000


def test_two_segments_of_room_in_a_shut_window_are_told_at_once():
    bench = Bench().established(MSS)
    while bench.tcb.rcv_wnd:
        bench.got(ACK, text=bytes(min(1000, bench.tcb.rcv_wnd)))
    bench.wait(SECOND)
    assert bench.call("receive", 1999) == []
    (update,) = bench.call("receive", 1)
    assert update.wnd == 2000


def test_peer_s_window_is_never_overrun():
    bench = sender(wnd=3500)
    bench.connection.set_nodelay(True)
    assert sum(len(segment.payload) for segment in bench.call("send", bytes(9000))) <= 3500
    assert bench.call("send", b"more") == []


def test_short_text_waits_for_the_congestion_window():
    bench = sender()
    bench.connection.set_nodelay(True)
    assert len(bench.call("send", bytes(10_000))) == 10  # the whole initial window
    assert bench.call("send", b"short") == []
    assert [bytes(segment.payload) for segment in bench.got(ACK, wnd=65535)] == [b"short"]


def test_fin_does_not_ride_beyond_the_window():
    bench = sender(wnd=2000)
    bench.connection.send(bytes(2000))
    sent = bench.call("shutdown")
    assert sum(len(segment.payload) for segment in sent) == 2000
    assert not any(segment.flags & FIN for segment in sent)
    assert [segment.flags & FIN for segment in bench.got(ACK, wnd=1)] == [FIN]


def test_window_of_an_older_acknowledgement_is_not_taken():
    bench = sender()
    bench.connection.send(bytes(3000))
    first = bench.flush()[0].seq
    bench.got(ACK, ack=add(first, 2000), wnd=5000)
    bench.got(ACK, ack=add(first, 1000), wnd=9)
    assert bench.tcb.snd_wnd == 5000


def test_syn_offers_the_scale_the_buffer_needs():
    bench = Bench(RFC)
    bench.connection.set_buffers(receive_bytes=6 << 20)
    (syn,) = bench.call("open")
    assert syn.flags == SYN and syn.wnd == 65535 and syn.options.window_scale == 7


@pytest.mark.rfc("MAY-14")
def test_flush_drops_what_has_no_sequence_number_yet_and_nothing_else():
    bench = sender(1000)
    sent = bench.call("send", bytes(1000)) + bench.call("send", b"stays here" * 50, urgent=True)
    assert sum(len(segment.payload) for segment in sent) == 1000
    after = bench.tcb.snd_nxt
    assert bench.connection.flush() == 500 and bench.connection.flush() == 0
    assert bench.got(ACK, wnd=8000) == [] and bench.tcb.snd_nxt == after
    (segment,) = bench.call("send", b"next")
    assert (segment.seq, bytes(segment.payload), segment.urgent_pointer) == (after, b"next", 0)


@pytest.mark.rfc("MAY-14")
def test_flush_before_the_handshake_keeps_the_syn():
    bench = Bench().syn_sent()
    bench.call("send", b"too early")
    assert bench.connection.flush() == 9
    assert [bytes(segment.payload) for segment in bench.got(SYN | ACK)] == [b""]


@pytest.mark.rfc("MAY-17")
@pytest.mark.parametrize("fast_path", [True, False])
def test_reader_is_told_how_much_was_pushed(fast_path):
    bench = Bench(fast_path=fast_path).established()
    bench.tcb.taken = None
    connection = bench.connection
    bench.got(ACK, text=b"half a")
    assert (connection.readable_bytes, connection.pushed_bytes) == (6, 0)
    bench.got(ACK | PSH, text=b" line")
    bench.got(ACK, text=b"more")
    assert (connection.readable_bytes, connection.pushed_bytes) == (15, 11)
    connection.receive(4)
    assert connection.pushed_bytes == 7
    connection.receive(7)
    assert (connection.readable_bytes, connection.pushed_bytes) == (4, 0)
    bench.got(ACK | PSH, seq=add(bench.tcb.rcv_nxt, 3), text=b"later")  # out of order: pushed once it is there
    assert connection.pushed_bytes == 4
    bench.got(ACK, seq=bench.tcb.rcv_nxt, text=b"gap")
    assert connection.pushed_bytes == connection.readable_bytes == 12
