"""Header prediction does what the eight checks do: each reason not to predict, met on purpose, with and without it."""

from collections.abc import Callable

import pytest
from tests.endpoint_dump import dump
from tests.endpoint_kit import MS, PLAIN, SECOND, Bench

from tcpscope.machine.profile import RFC, Profile
from tcpscope.machine.sequence import add
from tcpscope.model.segment import ACK, ECE, FIN, PSH, SYN, URG, Options

MSS = 1000
SACKING = RFC._replace(timestamps=False, window_scaling=False)
STAMPING = RFC._replace(window_scaling=False, sack=False)
Situation = Callable[[Bench], object]
SITUATIONS: dict[str, tuple[Profile, Situation]] = {}


def situation(profile: Profile = PLAIN) -> Callable[[Situation], Situation]:
    def note(function: Situation) -> Situation:
        SITUATIONS[function.__name__] = (profile, function)
        return function

    return note


def text(bench: Bench, octets: int = 100, **named: object) -> None:
    bench.got(ACK, text=bytes(octets), **{"wnd": 65535, **named})


def load(bench: Bench, octets: int = 10_000) -> int:
    """Send so much and let a round trip pass; return the number of its first octet."""
    first = bench.tcb.snd_nxt
    bench.call("send", bytes(octets))
    bench.now_ns += 100 * MS
    return first


@situation()
def in_order_text(bench):
    text(bench)
    text(bench, 2 * MSS)


@situation()
def acknowledgement_of_text(bench):
    first = load(bench)
    bench.got(ACK, ack=add(first, 2000), wnd=65535)
    bench.got(ACK | PSH, ack=add(first, 5000), wnd=60_000, text=b"and text")


@situation()
def state_before_established(bench):
    bench.call("shutdown")
    text(bench)


@situation()
def urgent_text(bench):
    bench.got(ACK | URG, text=b"look here", urgent=5, wnd=65535)


@situation(SACKING._replace(ecn=True, sack=False))
def echo_of_congestion(bench):
    first = load(bench)
    bench.got(ACK | ECE, ack=add(first, 2000), wnd=65535)


@situation()
def fin_behind_text(bench):
    bench.got(ACK | FIN, text=b"the end", wnd=65535)


@situation()
def other_number(bench):
    bench.got(ACK, seq=add(bench.seq, 50), text=bytes(100), wnd=65535)


@situation()
def window_shuts(bench):
    bench.connection.send(bytes(20_000))
    bench.got(ACK, wnd=0)


@situation()
def window_shuts_with_text_on_the_way(bench):
    first = load(bench)
    bench.got(ACK, ack=add(first, 3000), wnd=0)


@situation()
def text_shuts_the_window_and_acknowledges_nothing(bench):
    first = load(bench)
    bench.got(ACK, ack=first, text=b"busy", wnd=0)


@situation(SACKING)
def text_comes_while_a_hole_is_open(bench):
    first = load(bench)
    blocks = ((add(first, 4000), add(first, 5000)),)
    bench.got(ACK, ack=first, wnd=65535, options=Options(sack=blocks))
    text(bench, ack=first)
    text(bench, ack=add(first, 2000))


@situation(SACKING)
def text_comes_in_recovery(bench):
    first = load(bench)
    blocks = ((add(first, 4000), add(first, 9000)),)
    bench.got(ACK, ack=first, wnd=65535, options=Options(sack=blocks))
    assert bench.tcb.recovery.phase
    text(bench, ack=first)
    text(bench, ack=add(first, 2000))
    bench.got(ACK, wnd=65535)


@situation(SACKING)
def window_opens(bench):
    first = load(bench)
    bench.got(ACK, ack=add(first, 2000), wnd=0)
    bench.got(ACK, ack=add(first, 3000), wnd=65535)


@situation()
def older_than_the_last_window(bench):
    bench.tcb.snd_wl1 = add(bench.seq, 500)
    text(bench)


@situation()
def hole_is_filled(bench):
    bench.got(ACK, seq=add(bench.seq, 100), text=bytes(100), wnd=65535)
    text(bench)


@situation()
def fin_waits_behind_a_hole(bench):
    bench.got(FIN | ACK, seq=add(bench.seq, 100), wnd=65535)
    text(bench)


@situation()
def nobody_reads(bench):
    bench.call("shutdown")
    bench.got(ACK, wnd=65535)
    bench.call("close")
    text(bench)


@situation()
def text_after_the_fin(bench):
    bench.got(ACK | FIN, wnd=65535)
    text(bench)


@situation()
def partial_acknowledgement_in_recovery(bench):
    first = load(bench)
    for _ in range(3):
        bench.got(ACK, ack=first, wnd=65535)
    bench.got(ACK, ack=add(first, 3000), wnd=65535)


@situation()
def duplicates_are_over(bench):
    first = load(bench)
    for _ in range(2):
        bench.got(ACK, ack=first, wnd=65535)
    bench.got(ACK, ack=add(first, 3000), wnd=65535)


@situation(SACKING)
def hole_of_the_peer_moves(bench):
    first = load(bench)
    blocks = ((add(first, 4000), add(first, 5000)),)
    bench.got(ACK, ack=first, wnd=65535, options=Options(sack=blocks))
    bench.got(ACK, ack=add(first, 2000), wnd=65535)


@situation(SACKING)
def blocks_come_with_the_acknowledgement(bench):
    first = load(bench)
    blocks = ((add(first, 4000), add(first, 5000)),)
    bench.got(ACK, ack=add(first, 2000), wnd=65535, options=Options(sack=blocks))


@situation(SACKING)
def probe_is_answered(bench):
    load(bench, MSS)
    bench.wait(SECOND // 2)
    assert bench.tcb.rack.probe_end >= 0
    text(bench)


@situation(SACKING)
def repetition_arrived_before_what_left_later(bench):
    first = load(bench)
    head = bench.tcb.flight[1]
    head.transmissions, head.order = 2, bench.tcb.recovery.next_order()
    head.sent_ns = bench.now_ns
    bench.now_ns += 100 * MS
    bench.got(ACK, ack=add(first, 2000), wnd=65535)


@situation()
def peer_tells_its_user_timeout(bench):
    bench.got(ACK, text=b"x", wnd=65535, options=Options(user_timeout_ms=200_000))


@situation()
def acknowledgement_of_what_was_never_sent(bench):
    bench.got(ACK, ack=add(bench.tcb.snd_nxt, 1), text=b"x", wnd=65535)


@situation()
def nothing_new_at_all(bench):
    load(bench)
    bench.got(ACK, ack=bench.tcb.snd_una, wnd=65535)


@situation()
def text_beyond_the_window(bench):
    bench.tcb.rcv_adv = add(bench.tcb.rcv_nxt, 50)
    text(bench)


@situation()
def text_beyond_the_buffer(bench):
    bench.connection.set_buffers(receive_bytes=150)
    text(bench)
    text(bench, 200)


@situation(STAMPING)
def stamp_older_than_the_last(bench):
    text(bench, options=Options(timestamp=(50, 0)))
    text(bench, options=Options(timestamp=(40, 0)))


@situation(STAMPING)
def stamp_is_missing(bench):
    text(bench)


@situation(STAMPING)
def stamp_of_text_beyond_the_last_acknowledgement(bench):
    text(bench, options=Options(timestamp=(50, 0)))  # its ACK waits
    text(bench, options=Options(timestamp=(60, 0)))
    bench.wait(SECOND)


@situation(RFC._replace(window_scaling=False))
def stamp_tells_what_is_answered(bench):
    first = load(bench)
    for offset in (2000, 5000):
        stamp = Options(timestamp=(50, bench.tcb.flight[0].sent_ns // MS))
        bench.got(ACK, ack=add(first, offset), wnd=65535, options=stamp)


def prepare(profile: Profile, *, fast_path: bool) -> Bench:
    bench = Bench(profile, fast_path=fast_path)
    bench.tcb.taken = None  # an observed connection is never predicted
    bench.syn_sent()
    bench.now_ns += 100 * MS
    granted = ECE if profile.ecn else 0
    bench.got(SYN | ACK | granted, options=Options(mss=MSS, sack_permitted=True, timestamp=(5, 0)))
    stamp = Options(timestamp=(6, 0)) if profile.timestamps else Options()
    bench.got(ACK, wnd=65535, options=stamp)
    return bench


@pytest.mark.parametrize("name", SITUATIONS)
def test_prediction_equals_the_checks(name):
    profile, happen = SITUATIONS[name]
    benches = [prepare(profile, fast_path=fast_path) for fast_path in (True, False)]
    for bench in benches:
        happen(bench)
    fast, slow = benches
    assert dump(fast.tcb) == dump(slow.tcb)
    assert dump(fast.out) == dump(slow.out)
    for bench in benches:
        bench.wait(10 * SECOND)
    assert dump(fast.tcb) == dump(slow.tcb)
