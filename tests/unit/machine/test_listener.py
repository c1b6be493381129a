"""Many peers at one listener: queues, backlog, cookies, deferred accept."""

import pytest

from tcpscope.machine.connection import Connection
from tcpscope.machine.isn import COOKIE_SLOT_NS, check_cookie, cookie_for, initial_sequence_number
from tcpscope.machine.listener import Listener, Settings
from tcpscope.machine.profile import FREEBSD, LINUX, Profile
from tcpscope.machine.sequence import add
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import ACK, FIN, RST, SYN, Options, Segment
from tcpscope.model.state import State

LOCAL = Endpoint("192.0.2.1", 80)
SECRET = b"a secret of the host"
NOW = 1_000_000_000_000
SECOND = 1_000_000_000


def peer(number: int) -> Endpoint:
    return Endpoint("198.51.100.7", 10_000 + number)


def listener(profile: Profile = LINUX, **settings: object) -> Listener:
    return Listener(LOCAL, secret=SECRET, profile=profile, settings=Settings(**settings))  # type: ignore[arg-type]


def syn(host: Listener, number: int, now_ns: int = NOW) -> list[Segment]:
    host.receive_segment(peer(number), Segment(1000, 0, SYN, 8000, b"", Options(mss=1400)), now_ns)
    return [segment for remote, segment in host.poll(now_ns) if remote == peer(number)]


def third(host: Listener, number: int, answer: Segment, now_ns: int = NOW, text: bytes = b"") -> list[Segment]:
    host.receive_segment(peer(number), Segment(1001, add(answer.seq, 1), ACK, 8000, text), now_ns)
    return [segment for _, segment in host.poll(now_ns)]


def connect(host: Listener, number: int) -> None:
    third(host, number, syn(host, number)[0])


def test_three_steps_make_a_connection_to_accept():
    host = listener()
    (answer,) = syn(host, 1)
    assert answer.flags == SYN | ACK and answer.ack == 1001
    assert [*host.incomplete] == [peer(1)] and host.accept() is None
    third(host, 1, answer, text=b"hello")
    (fresh,) = host.take_fresh()
    assert fresh.state is State.ESTABLISHED and fresh.receive() == b"hello"
    assert host.accept() is fresh and host.accept() is None and not host.incomplete


def test_reset_makes_the_handshake_vanish():
    host = listener()
    syn(host, 1)
    host.receive_segment(peer(1), Segment(1001, 0, RST), NOW)
    assert not host.incomplete and host.poll(NOW) == []


def test_fin_with_the_third_step_is_accepted_in_close_wait():
    host = listener()
    (answer,) = syn(host, 1)
    host.receive_segment(peer(1), Segment(1001, add(answer.seq, 1), ACK | FIN, 8000), NOW)
    assert host.accept().state is State.CLOSE_WAIT


def test_full_accept_queue_drops_syn_and_third_ack():
    host = listener(backlog=1)
    first = syn(host, 9)[0]
    for number in (1, 2):
        connect(host, number)
    assert len(host.complete) == 2 and host.is_full
    assert third(host, 9, first) == [] and peer(9) in host.incomplete
    assert syn(host, 3) == [] and host.drops["accept-queue"] == 2
    host.accept()
    third(host, 9, first)
    assert len(host.complete) == 2


def test_unanswered_handshake_ends_and_frees_its_place():
    host = listener()
    syn(host, 1)
    sent = 0
    while (when := host.next_deadline()) is not None:
        sent += len(host.poll(when))
    assert 4 <= sent <= 8 and not host.incomplete
    assert when is None


@pytest.mark.parametrize("flags", [ACK, SYN | ACK, FIN | ACK])
def test_stray_segment_is_reset(flags):
    host = listener()
    host.receive_segment(peer(1), Segment(5, 77, flags), NOW)
    assert host.poll(NOW) == [(peer(1), Segment(77, 0, RST))]


def test_multicast_source_is_ignored():
    host = listener()
    host.receive_segment(Endpoint("224.0.0.9", 4), Segment(1, 0, SYN), NOW)
    assert host.poll(NOW) == [] and host.drops["address"] == 1


@pytest.mark.parametrize(("backlog", "limit"), [(1, 2), (2, 3), (10, 11)])
def test_queue_of_handshakes_holds_one_more_than_the_backlog_as_on_linux(backlog, limit):
    host = listener(backlog=backlog, cookies="never")
    answers = [answer for number in range(20) for answer in syn(host, number)]
    assert len(host.incomplete) == len(answers) == limit


def test_full_accept_queue_resets_the_last_step_where_the_profile_says_so():
    host = listener(profile=LINUX._replace(aborts_on_overflow=True), backlog=0)
    host.settings.incomplete_limit = 2
    first, second = syn(host, 1)[0], syn(host, 2)[0]
    third(host, 1, first)
    (reset,) = third(host, 2, second)
    assert reset == Segment(add(second.seq, 1), 0, RST) and not host.incomplete and len(host.complete) == 1


def test_freebsd_finishes_half_as_many_again_and_answers_syns_meanwhile():
    host = listener(profile=FREEBSD, backlog=2, incomplete_limit=50)
    for number in range(4):
        connect(host, number)
    assert host.is_full and len(host.complete) == 4  # more than 3/2 of the backlog
    (answer,) = syn(host, 9)
    assert [segment.flags for segment in third(host, 9, answer)] == [RST]


def connect_with_options(
    host: Listener, profile: Profile, now_ns: int = NOW, rtt_ns: int = 0
) -> tuple[Connection, ...]:
    """Let a real client connect; return both ends."""
    client = Connection(peer(7), LOCAL, iss=77, profile=profile, ts_offset_ms=123_456)
    client.set_buffers(receive_bytes=1 << 20)
    client.open(now_ns)
    host.receive_segment(peer(7), client.poll(now_ns)[0], now_ns)
    ((_, answer),) = host.poll(now_ns)
    client.receive_segment(answer, now_ns + rtt_ns)
    for segment in client.poll(now_ns + rtt_ns):
        host.receive_segment(peer(7), segment, now_ns + rtt_ns)
    return client, host.accept()


def test_cookie_carries_scale_sack_and_ecn_in_the_timestamp():
    """A connection born of a cookie is the one that a remembered handshake would have made."""
    client_profile = LINUX._replace(ecn=True)
    clocks = [NOW + step * 1_000_000 for step in range(64)]  # every value of the six bits
    for now_ns in clocks:
        ends = connect_with_options(listener(cookies="always"), client_profile, now_ns)
        plain = connect_with_options(listener(cookies="never"), client_profile, now_ns)
        names = ("snd_wscale", "rcv_wscale", "sack_ok", "timestamps_ok", "ecn", "mss_bytes", "snd_wnd", "rcv_wnd")
        for end, other in zip(ends, plain, strict=True):
            assert [getattr(end.tcb, name) for name in names] == [getattr(other.tcb, name) for name in names]
        assert ends[1].tcb.snd_wscale == 5 and ends[1].tcb.ecn and ends[1].tcb.sack_ok


@pytest.mark.parametrize(
    "lacks",
    [{"window_scaling": False}, {"sack": False}, {"timestamps": False}, {"ecn": False}],
    ids=lambda one: next(iter(one)),
)
def test_cookie_agrees_on_nothing_the_peer_did_not_offer(lacks):
    client, child = connect_with_options(listener(cookies="always"), LINUX._replace(**({"ecn": True} | lacks)))
    for end in (client.tcb, child.tcb):
        assert end.timestamps_ok is ("timestamps" not in lacks)
        others = "timestamps" not in lacks
        assert end.sack_ok is (others and "sack" not in lacks)
        assert (end.snd_wscale, end.rcv_wscale) != (0, 0) if others and "window_scaling" not in lacks else True
        assert end.ecn is (others and "ecn" not in lacks)
    if "window_scaling" in lacks or "timestamps" in lacks:
        assert (client.tcb.snd_wscale, client.tcb.rcv_wscale, child.tcb.snd_wscale, child.tcb.rcv_wscale) == (0,) * 4


def test_cookie_measures_the_round_trip_by_its_timestamp():
    _, timed = connect_with_options(listener(cookies="always"), LINUX, rtt_ns=300_000_000)
    assert 300_000_000 <= timed.tcb.rtt.srtt_ns < 364_000_001  # six bits of the stamp are not time
    _, untimed = connect_with_options(listener(cookies="always"), LINUX._replace(timestamps=False))
    assert untimed.tcb.rtt.srtt_ns == 0 and untimed.tcb.rtt.rto_ns == LINUX.initial_rto_ns


def test_cookie_with_the_stamp_of_an_older_one_is_refused():
    host = listener(cookies="always")
    stamped = Options(mss=1400, window_scale=7, sack_permitted=True, timestamp=(5, 0))
    host.receive_segment(peer(1), Segment(1000, 0, SYN, 8000, b"", stamped), NOW)
    ((_, answer),) = host.poll(NOW)
    tsval = answer.options.timestamp[0]
    for echoed, is_taken in ((tsval - 200_000, False), (tsval + 5000, False), (tsval, True)):
        last = Segment(1001, add(answer.seq, 1), ACK, 8000, b"", Options(timestamp=(6, echoed & 0xFFFFFFFF)))
        host.receive_segment(peer(1), last, NOW + SECOND)
        assert (host.accept() is not None) is is_taken, echoed


def test_flood_is_answered_with_cookies_and_keeps_nothing():
    host = listener(incomplete_limit=4, backlog=64)
    answers = {number: syn(host, number)[0] for number in range(1, 200)}
    assert len(host.incomplete) == 4 and host.cookies_sent == 195
    third(host, 150, answers[150], text=b"GET")
    child = host.accept()
    assert child.state is State.ESTABLISHED and child.receive() == b"GET"
    assert child.tcb.mss_bytes == 1360  # 1400 rounded down to what a cookie remembers
    assert host.cookies_accepted == 1


def test_cookie_that_is_wrong_or_too_old_is_reset():
    host = listener(cookies="always")
    (answer,) = syn(host, 1)
    assert third(host, 1, answer._replace(seq=add(answer.seq, 1)))[0].flags == RST
    assert third(host, 1, answer, now_ns=NOW + 3 * COOKIE_SLOT_NS)[0].flags == RST
    assert third(host, 2, answer)[0].flags == RST  # another port
    assert host.accept() is None
    third(host, 1, answer, now_ns=NOW + SECOND)
    assert host.accept() is not None


def test_without_cookies_a_full_queue_drops():
    host = listener(cookies="never", incomplete_limit=1)
    syn(host, 1)
    assert syn(host, 2) == [] and host.drops["incomplete-queue"] == 1


def test_deferred_accept_waits_for_text():
    host = listener(defer_accept_ns=3 * SECOND)
    (answer,) = syn(host, 1)
    third(host, 1, answer)
    assert host.accept() is None and host.drops["deferred"] == 1
    third(host, 1, answer, text=b"now")
    assert host.accept().receive() == b"now"


def test_deferred_handshake_is_silent_until_its_time_is_over():
    host = listener(defer_accept_ns=10 * SECOND)
    (answer,) = syn(host, 1)
    third(host, 1, answer)
    assert host.next_deadline() == NOW + 10 * SECOND  # without the ACK: after one second
    ((_, again),) = host.poll(NOW + 10 * SECOND)
    assert again.flags == SYN | ACK
    third(host, 1, answer, NOW + 10 * SECOND)
    assert host.accept() is not None


def test_deferred_accept_ends_by_itself():
    host = listener(defer_accept_ns=3 * SECOND)
    (answer,) = syn(host, 1)
    third(host, 1, answer, NOW + 4 * SECOND)
    assert host.accept() is not None


def test_close_resets_what_was_not_accepted():
    host = listener()
    syn(host, 1)
    connect(host, 2)
    resets = host.close(NOW)
    assert sorted(remote.port for remote, _ in resets) == [10_001, 10_002]
    assert all(segment.flags & RST for _, segment in resets)


def test_new_incarnation_starts_above_the_old_one():
    host = listener()
    above = add(initial_sequence_number(SECRET, LOCAL, peer(1), NOW), 500_000)
    host.receive_segment(peer(1), Segment(1, 0, SYN, 8000), NOW, iss_above=above)
    assert host.poll(NOW)[0][1].seq == add(above, 65537)


def test_cookie_tells_the_mss_and_nothing_to_others():
    first = Segment(5, 0, SYN, 1, b"", Options(mss=1460))
    iss = cookie_for(SECRET, LOCAL, peer(1), first, NOW)
    reply = Segment(6, add(iss, 1), ACK)
    assert check_cookie(SECRET, LOCAL, peer(1), reply, NOW).syn.options == Options(mss=1460)
    assert check_cookie(b"another", LOCAL, peer(1), reply, NOW) is None
