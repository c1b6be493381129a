"""Keepalive (RFC 9293 §3.8.4), urgent text (§3.8.5), ICMP errors (§3.9.2.2), MSS (§3.7.1), ISN (§3.4.1)."""

from collections import Counter
from itertools import pairwise

import pytest
from tests.endpoint_kit import PLAIN, REMOTE, SECOND, Bench

from tcpscope.machine.isn import initial_sequence_number
from tcpscope.machine.profile import FREEBSD, LINUX, PROFILES, RFC
from tcpscope.machine.sequence import add
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import ACK, FIN, NO_OPTIONS, RST, SYN, URG, Options
from tcpscope.model.state import State

HOUR = 3600 * SECOND


@pytest.mark.rfc("MUST-25", "MUST-28")
def test_keepalive_is_off_and_its_default_is_two_hours():
    bench = Bench().established()
    assert bench.connection.next_deadline() is None
    for profile in PROFILES.values():
        assert profile.keepalive_idle_ns >= 2 * HOUR


@pytest.mark.rfc("MUST-24", "MUST-26", "SHLD-12", "MAY-5")
def test_idle_peer_is_probed_without_data():
    bench = Bench().established()
    bench.connection.set_keepalive(True)
    assert bench.wait(2 * HOUR - 1) == []
    (probe,) = bench.wait(1)
    assert (probe.seq, probe.payload, probe.flags) == (add(bench.tcb.snd_nxt, -1), b"", ACK)


@pytest.mark.rfc("MUST-26")
def test_anything_received_puts_the_probe_off():
    bench = Bench().established()
    bench.connection.set_keepalive(True, idle_ns=10 * SECOND)
    bench.wait(9 * SECOND)
    bench.got(ACK, text=b"alive")
    sent = bench.wait(9 * SECOND)
    assert [segment.seq for segment in sent] == [bench.tcb.snd_nxt]  # the delayed ACK, no probe
    bench = Bench().established()
    bench.connection.set_keepalive(True, idle_ns=10 * SECOND)
    bench.wait(9 * SECOND)
    bench.got(ACK)  # nothing that is answered
    assert bench.wait(9 * SECOND) == [] and len(bench.wait(SECOND)) == 1
    bench.call("send", b"outstanding")
    assert all(segment.payload for segment in bench.wait(30 * SECOND))


@pytest.mark.rfc("MUST-27", "MUST-29")
def test_several_unanswered_probes_end_the_connection_one_does_not():
    bench = Bench().established()
    bench.connection.set_keepalive(True, idle_ns=5 * SECOND, interval_ns=SECOND, count=3)
    assert len(bench.wait(6 * SECOND)) == 2
    bench.got(ACK)  # an answer: counted anew
    assert len(bench.wait(7 * SECOND)) == 3 and bench.state is State.ESTABLISHED
    bench.wait(SECOND)
    assert bench.state is State.CLOSED and "keepalive" in bench.connection.error


def test_peer_answers_a_keepalive_probe():
    bench = Bench().established()
    (answer,) = bench.got(ACK, seq=add(bench.seq, -1))
    assert answer.flags == ACK and answer.ack == bench.seq


@pytest.mark.rfc("MUST-30", "MUST-31", "MUST-62")
def test_urgent_text_of_any_length_is_pointed_past():
    bench = Bench().established(Options(mss=1000))
    bench.got(ACK, wnd=65535)
    sent = bench.call("send", bytes(2500), urgent=True)
    end = add(sent[0].seq, 2500)
    assert [add(segment.seq, segment.urgent_pointer) for segment in sent if segment.flags & URG] == [end] * len(sent)
    assert not bench.call("send", b"calm") or not bench.out[0].flags & URG


@pytest.mark.rfc("MUST-31")
def test_urgent_text_longer_than_the_pointer_is_capped():
    bench = Bench().established(Options(mss=1000))
    bench.got(ACK, wnd=65535)
    (first, *_) = bench.call("send", bytes(100_000), urgent=True)
    assert first.flags & URG and first.urgent_pointer == 65535


@pytest.mark.rfc("MUST-30", "MUST-32", "MUST-33")
def test_application_hears_of_urgent_text_and_how_much_is_left():
    bench = Bench().established()
    bench.connection.events()
    bench.got(ACK | URG, text=b"abc", urgent=10)
    assert [report.kind for report in bench.connection.events()].count("urgent") == 1
    assert bench.connection.urgent_bytes == 10
    bench.got(ACK | URG, text=b"defg", urgent=7)
    assert "urgent" not in [report.kind for report in bench.connection.events()]  # the same end
    bench.got(ACK | URG, text=b"h", urgent=50)
    assert "urgent" in [report.kind for report in bench.connection.events()]  # it has moved on
    bench.connection.receive(8)
    assert bench.connection.urgent_bytes == 49


@pytest.mark.rfc("MUST-54", "MUST-56", "MUST-47", "SHLD-25")
@pytest.mark.parametrize(("kind", "code"), [(3, 0), (3, 1), (3, 5), (11, 0), (11, 1), (12, 0)])
def test_soft_error_is_told_and_aborts_nothing(kind, code):
    bench = Bench().established()
    bench.call("send", b"text")
    bench.connection.icmp_error(kind, code, bench.now_ns, seq=bench.tcb.snd_una)
    assert bench.state is State.ESTABLISHED and bench.connection.status().soft_error
    assert "soft-error" in [report.kind for report in bench.connection.events()]


@pytest.mark.rfc("SHLD-20")
def test_soft_errors_can_be_silenced():
    bench = Bench().established()
    bench.connection.set_soft_errors(False)
    bench.connection.icmp_error(3, 1, bench.now_ns)
    assert "soft-error" not in [report.kind for report in bench.connection.events()]


@pytest.mark.rfc("SHLD-26", "MUST-54")
@pytest.mark.parametrize("code", [2, 3])
def test_hard_error_aborts(code):
    bench = Bench().syn_sent()
    bench.connection.icmp_error(3, code, bench.now_ns, seq=bench.tcb.iss)
    assert bench.state is State.CLOSED and bench.connection.error == "connection refused"


def test_hard_error_on_a_live_connection_is_soft_for_linux():
    bench = Bench(LINUX._replace(timestamps=False)).established()
    bench.connection.icmp_error(3, 3, bench.now_ns)
    assert bench.state is State.ESTABLISHED


@pytest.mark.rfc("MUST-54")
def test_error_about_nothing_in_flight_is_not_believed():
    bench = Bench().established()
    bench.call("send", b"text")
    bench.connection.icmp_error(3, 3, bench.now_ns, seq=add(bench.tcb.snd_nxt, 5))
    assert bench.state is State.ESTABLISHED


@pytest.mark.rfc("MUST-55")
def test_source_quench_is_nothing():
    bench = Bench().established()
    before = len(bench.connection.events())
    bench.connection.icmp_error(4, 0, bench.now_ns)
    assert bench.connection.events() == [] and before


def test_packet_too_big_makes_segments_smaller_and_sends_again():
    bench = Bench().established(Options(mss=1460))
    bench.got(ACK, wnd=65535)
    sent = bench.call("send", bytes(2920))
    bench.connection.icmp_error(3, 4, bench.now_ns, mtu_bytes=600, seq=sent[0].seq)
    again = bench.flush()
    assert again[0].seq == sent[0].seq and {len(segment.payload) for segment in again} == {560, 1460 - 2 * 560}
    assert bench.tcb.congestion.ssthresh_bytes > 2920  # no sign of congestion
    bench.connection.icmp_error(3, 4, bench.now_ns, mtu_bytes=10, seq=bench.tcb.snd_una)
    assert bench.tcb.mss_bytes >= 48


def test_full_segments_that_vanish_become_smaller():
    """A black hole: no ICMP, no answer to anything longer than 1064 octets (RFC 4821 §7.7)."""
    bench = Bench().established(Options(mss=1460))
    bench.got(ACK, wnd=65535)
    bench.call("send", bytes(5000))
    first, sent = bench.tcb.snd_una, []
    while not sent or len(sent[0].payload) > 1024:
        sent = bench.wait(SECOND)
        assert bench.now_ns < 60 * SECOND
    assert sent[0].seq == first and bench.tcb.mss_bytes == 1024
    while bench.tcb.snd_una != bench.tcb.snd_nxt:
        assert all(
            len(segment.payload) <= 1024 for segment in bench.got(ACK, ack=add(bench.tcb.snd_una, 1024), wnd=65535)
        )
        if bench.tcb.flight and bench.tcb.flight_bytes < 1024:
            bench.got(ACK, wnd=65535)
    assert bench.tcb.counters.timeouts <= 4


def test_linux_does_not_look_for_black_holes_by_default():
    bench = Bench(LINUX._replace(timestamps=False, sack=False)).established(Options(mss=1460))
    bench.call("send", bytes(1460))
    bench.wait(30 * SECOND)
    assert bench.tcb.mss_bytes == 1460


@pytest.mark.rfc("MAY-6")
def test_keepalive_probe_may_carry_one_octet_for_peers_that_ignore_empty_ones():
    bench = Bench().established()
    bench.connection.set_keepalive(True, idle_ns=SECOND, interval_ns=SECOND, count=5, octet=True)
    (probe,) = bench.wait(SECOND)
    assert (probe.seq, bytes(probe.payload)) == (add(bench.tcb.snd_nxt, -1), b"\0")
    other = Bench().established()  # whoever gets it acknowledges again and delivers nothing
    assert [answer.ack for answer in other.got(ACK, seq=add(other.seq, -1), text=b"\0")] == [other.tcb.rcv_nxt]
    assert other.connection.receive() is None


@pytest.mark.rfc("MUST-14", "MUST-65", "SHLD-5", "MAY-3", "MUST-67")
def test_mss_is_announced_on_syn_only_and_fits_the_link():
    bench = Bench()
    (syn,) = bench.call("open")
    assert syn.options.mss == 1460
    (ack,) = bench.got(SYN | ACK)
    assert ack.options.mss is None


@pytest.mark.rfc("MUST-65")
@pytest.mark.parametrize("profile", [PLAIN, RFC, LINUX, FREEBSD], ids=["plain", "rfc", "linux", "freebsd"])
def test_no_segment_but_syn_carries_mss(profile):
    bench = Bench(profile)
    stamp = Options(mss=1460, timestamp=(5, 0), sack_permitted=True) if profile.timestamps else Options(mss=1460)
    timed = Options(timestamp=(6, 0)) if profile.timestamps else NO_OPTIONS
    sent = bench.established(stamp).out + bench.call("send", bytes(3000)) + bench.wait(3 * SECOND)
    sent += bench.got(ACK, text=b"x", seq=add(bench.seq, 500), options=timed)  # with SACK
    sent += bench.got(ACK, options=timed) + bench.call("shutdown") + bench.call("abort")
    kinds = {segment.flags & (FIN | RST | ACK) for segment in sent}
    assert kinds >= {ACK, FIN | ACK} and any(segment.flags & RST for segment in sent)
    assert all(segment.options.mss is None for segment in sent)


@pytest.mark.rfc("MUST-15")
def test_missing_mss_means_536_or_1220():
    assert Bench().established(NO_OPTIONS).tcb.mss_bytes == 536
    six = Bench(PLAIN, remote=Endpoint("2001:db8::2", 80))
    six.tcb.local = Endpoint("2001:db8::1", 1000)
    six.established(NO_OPTIONS)
    assert six.tcb.mss_bytes == 1220


@pytest.mark.rfc("MUST-14", "MUST-16")
@pytest.mark.parametrize(("mss", "mtu", "timed", "expected"), [
    (1460, 1500, False, 1460), (9000, 1500, False, 1460), (500, 1500, False, 500), (1460, 1500, True, 1448),
    (1460, 600, True, 548), (0, 1500, False, 536), (1, 1500, False, 48),
])  # fmt: skip
def test_text_per_segment_is_the_least_of_all_limits(mss, mtu, timed, expected):
    bench = Bench(RFC if timed else PLAIN)
    bench.connection.set_segment_sizes(mtu_bytes=mtu)
    stamp = (5, 0) if timed else None
    bench.established(Options(mss=mss, timestamp=stamp))
    bench.got(ACK, wnd=65535, options=Options(timestamp=stamp))
    assert len(bench.call("send", bytes(20_000))[0].payload) == expected


@pytest.mark.rfc("MUST-8", "SHLD-1")
def test_isn_moves_with_the_clock_and_differs_between_connections():
    local, secret = Endpoint("192.0.2.1", 80), b"secret"
    first = initial_sequence_number(secret, local, REMOTE, 0)
    assert initial_sequence_number(secret, local, REMOTE, 4_000_000) == add(first, 1000)
    others = [initial_sequence_number(secret, local, Endpoint("192.0.2.2", port), 0) for port in range(5000)]
    assert len(set(others)) > 4990
    buckets = Counter(isn >> 28 for isn in others)
    assert len(buckets) == 16 and all(200 < count < 430 for count in buckets.values())


@pytest.mark.rfc("MUST-9", "SHLD-1")
def test_isn_cannot_be_worked_out_without_the_secret():
    local = Endpoint("192.0.2.1", 80)
    ports = [Endpoint("192.0.2.2", port) for port in range(1000)]
    steps = set()
    for one, other in pairwise(ports):
        two = [initial_sequence_number(b"secret", local, remote, 0) for remote in (one, other)]
        steps.add((two[1] - two[0]) & 0xFFFFFFFF)
    assert len(steps) > 990  # no step leads from one connection to the next
    assert initial_sequence_number(b"a", local, REMOTE, 0) != initial_sequence_number(b"b", local, REMOTE, 0)


@pytest.mark.rfc("MUST-46")
@pytest.mark.parametrize("address", ["224.0.0.1", "239.255.255.250", "255.255.255.255", "ff02::1"])
def test_open_to_no_unicast_address_is_refused(address):
    with pytest.raises(Exception, match="not a unicast address"):
        Bench(PLAIN, remote=Endpoint(address, 80)).call("open")


@pytest.mark.rfc("MUST-41")
def test_second_listen_disturbs_nothing():
    bench = Bench().listen()
    with pytest.raises(Exception, match="connection already exists"):
        bench.call("open", active=False)
    bench.got(SYN)
    assert bench.state is State.SYN_RECEIVED


def test_freebsd_is_silent_on_syn_ack_in_listen_and_linux_is_not():
    assert Bench(FREEBSD).listen().got(SYN | ACK, ack=5) == []
    assert [segment.flags for segment in Bench(LINUX).listen().got(SYN | ACK, ack=5)] == [RST]


def test_reset_in_time_wait_ends_it_unless_rfc_1337_is_kept():
    linux = Bench(LINUX._replace(timestamps=False)).time_wait()
    linux.got(RST)
    assert linux.state is State.CLOSED
    freebsd = Bench(FREEBSD._replace(timestamps=False)).time_wait()
    freebsd.got(RST)
    assert freebsd.state is State.TIME_WAIT


def test_repeated_syn_is_answered_as_the_profile_has_it():
    for profile, flags in ((PLAIN, ACK), (LINUX, SYN | ACK)):
        bench = Bench(profile).syn_received()
        assert [segment.flags for segment in bench.got(SYN, seq=add(bench.seq, -1))] == [flags]


def test_status_reports_the_state_in_every_state():
    for state in State:
        if state is not State.CLOSED:
            assert Bench().to(state).connection.status().state is state
