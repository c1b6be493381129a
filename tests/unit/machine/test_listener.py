"""Many peers at one listener: queues, backlog, cookies, deferred accept."""

import pytest

from tcpscope.machine.isn import COOKIE_SLOT_NS, check_cookie, cookie_for, initial_sequence_number
from tcpscope.machine.listener import Listener, Settings
from tcpscope.machine.profile import LINUX
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


def listener(**settings: object) -> Listener:
    return Listener(LOCAL, secret=SECRET, profile=LINUX, settings=Settings(**settings))  # type: ignore[arg-type]


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
    assert check_cookie(SECRET, LOCAL, peer(1), reply, NOW).mss_bytes == 1460
    assert check_cookie(b"another", LOCAL, peer(1), reply, NOW) is None
