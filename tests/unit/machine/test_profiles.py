"""What the profiles do otherwise than the RFC, fact by fact; the running kernel is asked in tests/scenes."""

import pytest
from tests.endpoint_kit import IRS, ISS, PLAIN, SECOND, Bench

from tcpscope.machine.calls import CallError
from tcpscope.machine.profile import FREEBSD, LINUX, PROFILES, RFC, Profile
from tcpscope.machine.sequence import add
from tcpscope.model.segment import ACK, FIN, RST, SYN, Options, Segment
from tcpscope.model.state import State
from tcpscope.wire.emit import emit_tcp

ALL = [RFC, LINUX, FREEBSD]
ENDS = (bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2)), 1000, 80)
FULL = Options(1460, 7, True, timestamp=(900, 0))


def plain(profile: Profile) -> Profile:
    return profile._replace(timestamps=False, sack=False, window_scaling=False)


def by_name(**expected: object) -> pytest.MarkDecorator:
    """Give each profile what is expected of it."""
    assert expected.keys() == PROFILES.keys()
    pairs = [pytest.param(PROFILES[name], value, id=name) for name, value in expected.items()]
    return pytest.mark.parametrize(("profile", "expected"), pairs)


def octets(segment: Segment, profile: Profile) -> str:
    """The TCP header of a segment from its window on, without checksum and urgent pointer."""
    raw = emit_tcp(segment, *ENDS, layout=profile.layout).hex()
    return raw[28:32] + " " + raw[40:]


@by_name(
    rfc="ffff 020405b4 01030300 0101080a{} 04020000",
    linux="faf0 020405b4 0402080a{} 0103030a",  # win 64240, scale 10
    freebsd="ffff 020405b4 01030306 0402080a{}",
)
def test_syn_is_written_as_each_system_writes_it(profile, expected):
    (syn,) = Bench(profile).call("open")
    stamp = syn.options.timestamp[0].to_bytes(4, "big").hex() + "00000000"
    head, _, options = expected.partition(" ")
    assert octets(syn, profile) == head + " " + options.format(stamp).replace(" ", "")


@by_name(rfc="ffff", linux="fe88", freebsd="ffff")  # Linux: 65160 = 45 segments of 1448
def test_syn_ack_offers_whole_segments_only_on_linux(profile, expected):
    (answer,) = Bench(profile).listen().got(SYN, options=FULL)
    assert octets(answer, profile).startswith(expected) and answer.options.timestamp[1] == 900


@by_name(rfc=0, linux=10, freebsd=6)
def test_window_scale_is_that_of_what_the_buffer_may_become(profile, expected):
    bench = Bench(profile)
    assert bench.call("open")[0].options.window_scale == expected
    own = Bench(profile)
    own.connection.set_buffers(receive_bytes=1 << 20)  # SO_RCVBUF
    assert own.call("open")[0].options.window_scale == 5


@pytest.mark.parametrize("size", [1, 65535, 65536, 131072, 1 << 20, (1 << 20) - 1, 6 << 20, 32 << 20, 1 << 40])
def test_window_scale_is_the_least_that_can_tell_of_the_buffer(size):
    bench = Bench(RFC)
    bench.connection.set_buffers(receive_bytes=size)
    scale = bench.call("open")[0].options.window_scale
    assert 65535 << scale >= size or scale == 14
    assert not scale or 65535 << scale - 1 < size


@by_name(rfc=State.CLOSE_WAIT, linux=State.LAST_ACK, freebsd=State.LAST_ACK)
def test_close_wait_close_with_queued_text_is_last_ack_at_once_or_after_the_text(profile, expected):
    bench = Bench(plain(profile)).close_wait()
    bench.got(ACK, wnd=0)
    bench.call("send", b"queued")
    assert bench.call("shutdown") == [] and bench.state is expected
    with pytest.raises(CallError, match="connection closing"):
        bench.call("send", b"more")
    sent = bench.got(ACK, wnd=8000)
    assert [bytes(segment.payload) for segment in sent if segment.payload] == [b"queued"]
    assert sent[-1].flags & FIN and bench.state is State.LAST_ACK
    bench.got(ACK)
    assert bench.state is State.CLOSED


@by_name(rfc=RST, linux=RST | ACK, freebsd=FIN | ACK)
@pytest.mark.parametrize("state", [State.ESTABLISHED, State.CLOSE_WAIT])
def test_close_with_unread_text_resets_or_forgets_it(profile, expected, state):
    bench = Bench(plain(profile)).established()
    bench.got(ACK | (FIN if state is State.CLOSE_WAIT else 0), text=b"unread")
    assert bench.state is state
    assert [segment.flags for segment in bench.call("close")] == [expected]
    closing = {State.ESTABLISHED: State.FIN_WAIT_1, State.CLOSE_WAIT: State.LAST_ACK}[state]
    assert bench.state is (closing if expected & FIN else State.CLOSED)


@by_name(rfc="connection reset", linux="broken pipe", freebsd="connection reset")
def test_reset_in_close_wait_is_called_by_each_system_s_name(profile, expected):
    bench = Bench(plain(profile)).close_wait()
    bench.got(RST)
    assert bench.connection.error == expected
    other = Bench(plain(profile)).established()
    other.got(RST)
    assert other.connection.error == "connection reset"


@by_name(rfc=ACK, linux=SYN | ACK, freebsd=SYN | ACK)
def test_syn_again_in_syn_received_is_answered(profile, expected):
    bench = Bench(plain(profile)).syn_received()
    assert [segment.flags for segment in bench.got(SYN, seq=IRS)] == [expected]


@by_name(rfc=[RST], linux=[RST], freebsd=[])
def test_syn_ack_for_a_listener(profile, expected):
    assert [segment.flags for segment in Bench(profile).listen().got(SYN | ACK, ack=5)] == expected


@by_name(rfc=b"early", linux=b"", freebsd=b"early")
def test_text_on_the_syn_of_a_simultaneous_open(profile, expected):
    bench = Bench(plain(profile)).syn_sent()
    bench.got(SYN, text=b"early")
    bench.got(SYN | ACK, seq=IRS, ack=add(ISS, 1))
    assert bench.state is State.ESTABLISHED and (bench.connection.receive() or b"") == expected


@by_name(rfc=[ACK], linux=[ACK], freebsd=[FIN | ACK])
def test_crossing_fin_is_acknowledged_alone_or_with_our_fin_again(profile, expected):
    bench = Bench(plain(profile)).fin_wait_1()
    answers = bench.got(FIN | ACK, ack=add(bench.tcb.snd_nxt, -1))
    assert [segment.flags for segment in answers] == expected and bench.state is State.CLOSING


@by_name(rfc=State.CLOSED, linux=State.CLOSED, freebsd=State.TIME_WAIT)
def test_reset_in_time_wait(profile, expected):
    bench = Bench(plain(profile)).time_wait()
    bench.got(RST)
    assert bench.state is expected


@by_name(rfc=[], linux=[ACK], freebsd=[])
def test_old_syn_in_time_wait(profile, expected):
    bench = Bench(plain(profile)).time_wait()
    assert [segment.flags for segment in bench.got(SYN, seq=IRS)] == expected and bench.state is State.TIME_WAIT


@by_name(rfc=True, linux=False, freebsd=False)
def test_port_unreachable_on_a_synchronized_connection_aborts_only_by_the_rfc(profile, expected):
    bench = Bench(plain(profile)).established()
    bench.call("send", b"text")
    bench.connection.icmp_error(3, 3, bench.now_ns, seq=bench.tcb.snd_una)
    assert (bench.state is State.CLOSED) is expected
    opening = Bench(plain(profile)).syn_sent()
    opening.connection.icmp_error(3, 3, opening.now_ns, seq=ISS)
    assert opening.state is State.CLOSED and opening.connection.error == "connection refused"


@by_name(rfc=State.SYN_SENT, linux=State.CLOSED, freebsd=State.SYN_SENT)
@pytest.mark.parametrize(("kind", "code"), [(3, 0), (3, 1), (3, 5), (11, 0), (12, 0)])
def test_soft_error_while_connecting_is_fatal_on_linux_alone(profile, expected, kind, code):
    bench = Bench(plain(profile)).syn_sent()
    bench.connection.icmp_error(kind, code, bench.now_ns, seq=ISS)
    assert bench.state is expected
    later = Bench(plain(profile)).established()
    later.call("send", b"text")
    later.connection.icmp_error(kind, code, later.now_ns, seq=later.tcb.snd_una)
    assert later.state is State.ESTABLISHED


def sending_times(bench: Bench) -> tuple[list[int], int]:
    """Seconds at which the opening segment goes again, and when the connection is given up."""
    start, times = bench.now_ns, []
    while (when := bench.connection.next_deadline()) is not None:
        bench.now_ns = when
        times += [(when - start) // SECOND for _ in bench.flush()]
    return times, (bench.now_ns - start) // SECOND


@by_name(
    rfc=([1, 3, 7, 15, 31, 63, 123], 180),
    linux=([1, 2, 3, 4, 5, 7, 11, 19, 35, 67], 131),
    freebsd=([1, 3, 7, 15, 31, 63], 75),
)
def test_syn_is_repeated_at_each_system_s_times(profile, expected):
    assert sending_times(Bench(plain(profile)).syn_sent()) == expected


@by_name(rfc=([1, 3, 7, 15, 31, 63, 123], 180), linux=([1, 3, 7, 15, 31], 63), freebsd=([1, 3, 7], 15))
def test_syn_ack_is_repeated_at_each_system_s_times(profile, expected):
    bench = Bench(plain(profile)).syn_received()
    assert sending_times(bench) == expected and bench.state is State.CLOSED


@by_name(rfc=240, linux=60, freebsd=60)
def test_time_wait_lasts(profile, expected):
    bench = Bench(plain(profile)).time_wait()
    bench.wait(expected * SECOND - 1)
    assert bench.state is State.TIME_WAIT
    bench.wait(1)
    assert bench.state is State.CLOSED


@by_name(rfc=10, linux=1, freebsd=5)
def test_challenges_in_one_moment_are_so_many(profile, expected):
    bench = Bench(plain(profile)).established()
    answers = [answer for _ in range(30) for answer in bench.got(SYN, seq=add(bench.seq, 100))]
    assert len(answers) == expected


@by_name(rfc=(), linux=(900,), freebsd=(900,))
def test_reset_of_abort_is_a_whole_segment_on_linux_and_freebsd(profile, expected):
    bench = Bench(profile).established(FULL)
    (reset,) = bench.call("abort")
    assert reset.flags == (RST | ACK if expected else RST)
    assert (reset.options.timestamp or ())[1:] == expected and bool(reset.wnd) is bool(expected)


@by_name(rfc=False, linux=True, freebsd=True)
def test_segment_without_the_agreed_timestamp_is_taken(profile, expected):
    bench = Bench(profile).established(FULL)
    bench.got(ACK, text=b"text")
    assert bool(bench.connection.readable_bytes) is expected


@by_name(rfc=1, linux=0, freebsd=1)
def test_zero_window_is_probed_with_one_octet_or_none(profile, expected):
    bench = Bench(plain(profile)).established()
    bench.got(ACK, wnd=0)
    bench.call("send", b"text")
    (probe,) = bench.wait(SECOND + SECOND // 2)[:1]
    assert len(probe.payload) == expected


def test_a_profile_is_known_by_its_data_alone():
    """No code asks for a profile's name: renamed, each does the same."""
    for profile in ALL:
        one, other = Bench(profile), Bench(profile._replace(name="another"))
        assert one.call("open") == other.call("open")
    assert PLAIN.name == RFC.name
