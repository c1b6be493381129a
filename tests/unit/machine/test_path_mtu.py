"""The path's size: down by ICMP and silence, up by probes (RFC 1191, 4821, 5927, 8201), over links with real MTUs."""

from random import Random

import pytest
from tests.endpoint_kit import IRS, ISS, MS, PLAIN, SECOND, Bench

from tcpscope.machine.connection import Connection
from tcpscope.machine.mtu_search import MOST_TRIES, WORTHWHILE_BYTES, MtuSearch
from tcpscope.machine.profile import FREEBSD, LINUX, RFC, Profile
from tcpscope.machine.recovery import LOSS, OPEN, RECOVERY
from tcpscope.machine.sequence import add
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import ACK, SYN, Options
from tcpscope.model.state import State
from tcpscope.stack.network import Link, Network

MINUTE = 60 * SECOND
PROBING = LINUX._replace(mtu_probing=1)
FROM_THE_START = LINUX._replace(mtu_probing=2)
V4 = (Endpoint("192.0.2.1", 40000), Endpoint("192.0.2.2", 80))
V6 = (Endpoint("2001:db8::1", 40000), Endpoint("2001:db8::2", 80))


class Path:
    """A client that sends through a link of some MTU to a server that reads."""

    def __init__(self, profile: Profile, link: Link, *, ends=V4, seed: int = 1, back: Link | None = None) -> None:
        self.client = Connection(ends[0], ends[1], iss=ISS, profile=profile)
        self.server = Connection(ends[1], None, iss=IRS, profile=LINUX)
        self.net = Network((self.client, self.server), (link, back or Link(10 * MS)), Random(seed))
        self.tcb = self.client.tcb
        self.server.open(0, active=False)
        self.client.open(0)
        assert self.net.run_until(lambda: self.server.state is State.ESTABLISHED, limit_ns=MINUTE)

    def send(self, octets: int, limit_ns: int = 100 * MINUTE) -> None:
        """Send so much and read it; what arrives must be what was sent."""
        text = bytes(index * 7 & 0xFF for index in range(octets))
        sent, got = 0, bytearray()

        def is_done() -> bool:
            nonlocal sent
            sent += self.client.send(text[sent : sent + 50_000]) if sent < octets else 0
            while piece := self.server.receive():
                got.extend(piece)
            return len(got) >= octets

        assert self.net.run_until(is_done, limit_ns=limit_ns), self.tcb.state
        assert bytes(got) == text

    def find(self, spells: int = 60) -> None:
        """Send until the search has come to its end."""
        for _ in range(spells):
            self.send(100_000)
            search = self.tcb.search
            if search is None or not (search.candidate_bytes(self.net.now_ns) or search.probe_bytes):
                return
        raise AssertionError(f"still searching between {search.low_bytes} and {search.high_bytes}")

    def fates(self, fate: str) -> int:
        return sum(passage.fate == fate for passage in self.net.passages)

    def longest(self) -> int:
        """The longest text that arrived of what was sent last."""
        return max(len(passage.segment.payload) for passage in self.net.passages[-40:] if passage.fate == "sent")


# the search alone


@pytest.mark.parametrize("limit", [1500, 9000, 65535])
@pytest.mark.parametrize("passes", [1064, 1071, 1280, 1400, 1492, 1500, 4352, 8999])
def test_search_ends_at_what_passes_whatever_that_is(limit, passes):
    search, probes = MtuSearch(1064, limit), 0
    while size := search.candidate_bytes(0 if not probes else 1):
        probes += 1
        search.begin_probe(size, 0, size)
        (search.succeed if size <= passes else search.fail)(1000)
        assert probes < 60
    fits = min(limit, passes)
    assert search.low_bytes <= fits < search.low_bytes + WORTHWHILE_BYTES
    assert search.candidate_bytes(999) == 0


def test_search_begins_again_with_the_upper_bound():
    search = MtuSearch(1064, 1500)
    for _ in range(MOST_TRIES):
        search.begin_probe(search.candidate_bytes(0), 0, 1)
        assert search.probe_bytes == 1500
        search.fail(1000)
    assert search.candidate_bytes(0) < 1500
    search.narrow(1064, 1000)
    assert (search.candidate_bytes(999), search.candidate_bytes(1000)) == (0, 1500)


# downwards


@pytest.mark.parametrize("ends", [V4, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("profile", [RFC, LINUX, FREEBSD], ids=lambda profile: profile.name)
def test_packet_too_big_costs_one_round_trip_and_no_window(profile, ends):
    path = Path(profile, Link(10 * MS, mtu_bytes=1400), ends=ends)
    path.send(200_000)
    overhead = (60 if ends is V6 else 40) + 12
    assert path.tcb.path_mtu_bytes == 1400 and path.tcb.mss_bytes == 1400 - overhead == path.longest()
    assert path.tcb.congestion.mss_bytes == path.tcb.mss_bytes
    assert path.tcb.counters.timeouts == 0 and path.tcb.congestion.ssthresh_bytes > 1 << 30
    assert path.tcb.recovery.phase == OPEN


def test_window_counts_as_many_segments_after_the_path_has_shrunk():
    path = Path(LINUX, Link(10 * MS))
    path.send(100_000)
    before = path.tcb.congestion.cwnd_bytes / path.tcb.mss_bytes
    path.net.links = (Link(10 * MS, mtu_bytes=800), path.net.links[1])
    path.client.icmp_error(3, 4, path.net.now_ns, mtu_bytes=800)
    assert path.tcb.mss_bytes == 748 == path.tcb.congestion.mss_bytes
    assert abs(path.tcb.congestion.cwnd_bytes / 748 - before) < 1


@pytest.mark.parametrize("gso_bytes", [0, 60_000])
def test_black_hole_is_got_through_and_its_size_found(gso_bytes):
    path = Path(PROBING, Link(10 * MS, mtu_bytes=1400, black_hole=True))
    path.client.set_segment_sizes(gso_bytes=gso_bytes)
    path.find()
    assert 1400 - WORTHWHILE_BYTES < path.tcb.path_mtu_bytes <= 1400
    assert path.tcb.counters.mtu_probes >= MOST_TRIES + 3
    assert path.tcb.congestion.mss_bytes == path.tcb.mss_bytes == path.longest() or gso_bytes
    timeouts = path.tcb.counters.timeouts
    path.send(300_000)
    assert path.tcb.counters.timeouts == timeouts <= 4  # probes never cost one


def test_linux_by_default_does_not_get_through_a_black_hole():
    path = Path(LINUX, Link(10 * MS, mtu_bytes=1400, black_hole=True))
    with pytest.raises(AssertionError):
        path.send(100_000, limit_ns=2 * MINUTE)
    assert path.tcb.path_mtu_bytes == 1500 and path.tcb.search is None


def test_black_hole_within_a_black_hole_is_halved():
    path = Path(PROBING, Link(10 * MS, mtu_bytes=600, black_hole=True))
    path.find()
    assert 600 - WORTHWHILE_BYTES < path.tcb.path_mtu_bytes <= 600


def test_path_of_ipv6_never_falls_below_its_minimum():
    path = Path(PROBING, Link(10 * MS, mtu_bytes=1280, black_hole=True), ends=V6)
    path.find()
    assert 1280 <= path.tcb.path_mtu_bytes < 1280 + WORTHWHILE_BYTES


# upwards


@pytest.mark.parametrize("mtu", [1100, 1300, 1492, 1500])
@pytest.mark.parametrize("told", [True, False], ids=["icmp", "black-hole"])
def test_search_from_the_start_finds_the_path(mtu, told):
    path = Path(FROM_THE_START, Link(10 * MS, mtu_bytes=mtu, black_hole=not told))
    assert path.tcb.path_mtu_bytes == 1064
    path.find()
    found = path.tcb.path_mtu_bytes
    assert (found == mtu) if told else (mtu - WORTHWHILE_BYTES < found <= mtu)
    assert path.tcb.counters.timeouts == 0 and path.tcb.congestion.ssthresh_bytes > 1 << 30  # no loss but of probes
    assert path.tcb.counters.mtu_probes <= (2 if told else 20)


@pytest.mark.parametrize("sack", [True, False])
def test_lost_probe_shrinks_no_window_and_stops_nothing(sack):
    path = Path(FROM_THE_START._replace(sack=sack), Link(10 * MS, mtu_bytes=1100, black_hole=True))
    windows = []
    path.net.on_passage = lambda passage: windows.append(path.tcb.congestion.cwnd_bytes) if not passage.end else None
    path.send(400_000)
    assert path.fates("too-big") >= 3
    assert windows == sorted(windows)  # never smaller than before


def test_probe_that_is_lost_with_others_is_a_loss_like_any_other():
    path = Path(FROM_THE_START, Link(10 * MS, mtu_bytes=1100, black_hole=True))
    lost = []

    def loses(end, segment):
        search = path.tcb.search
        if end == 0 and search and search.probe_bytes and segment.seq == search.probe_end and not lost:
            lost.append(segment.seq)
            return True
        return False

    path.net.loses = loses
    path.send(200_000)
    assert lost and path.tcb.congestion.ssthresh_bytes < 1 << 30


def test_path_that_has_become_wider_is_noticed_after_ten_minutes():
    path = Path(PROBING, Link(10 * MS, mtu_bytes=1200))
    path.send(100_000)
    assert path.tcb.path_mtu_bytes == 1200
    path.net.links = (Link(10 * MS), path.net.links[1])
    path.net.run(9 * MINUTE)
    path.send(200_000)
    assert path.tcb.path_mtu_bytes == 1200 and path.tcb.counters.mtu_probes == 0
    path.net.run(2 * MINUTE)
    path.send(200_000)
    assert path.tcb.path_mtu_bytes == 1500 and path.tcb.counters.mtu_probes == 1
    assert path.longest() == 1448


def test_path_that_has_not_become_wider_costs_one_probe_each_ten_minutes():
    path = Path(PROBING, Link(10 * MS, mtu_bytes=1200))
    for spell in range(4):
        path.send(200_000)
        assert path.tcb.path_mtu_bytes == 1200 and path.tcb.counters.mtu_probes == spell
        path.net.run(11 * MINUTE)


def test_path_that_shrinks_again_is_followed_down_and_up():
    path = Path(PROBING, Link(10 * MS, mtu_bytes=1400, black_hole=True))
    for mtu in (1400, 1200, 1500):
        path.net.links = (Link(10 * MS, mtu_bytes=mtu, black_hole=True), path.net.links[1])
        path.find()
        path.net.run(11 * MINUTE)
        path.find()
        assert mtu - WORTHWHILE_BYTES < path.tcb.path_mtu_bytes <= mtu


def test_without_probing_the_first_link_s_size_comes_back_after_ten_minutes():
    path = Path(LINUX, Link(10 * MS, mtu_bytes=1200))
    path.send(100_000)
    assert path.tcb.path_mtu_bytes == 1200
    path.net.links = (Link(10 * MS), path.net.links[1])
    path.net.run(11 * MINUTE)
    path.send(100_000)
    assert path.tcb.path_mtu_bytes == 1500 and path.longest() == 1448
    assert path.tcb.counters.mtu_probes == 0 and path.tcb.search is None


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("told", [True, False], ids=["icmp", "black-hole"])
def test_bytes_arrive_and_the_path_is_found_over_lossy_links(seed, told):
    random = Random(seed)
    mtu = random.randrange(1100, 1500)
    link = Link(10 * MS, loss=0.03, reorder=0.05, reorder_ns=5 * MS, mtu_bytes=mtu, black_hole=not told)
    profile = random.choice([RFC, PROBING, FROM_THE_START])._replace(sack=random.random() < 0.8)
    path = Path(profile, link, seed=seed, back=Link(10 * MS, loss=0.03))
    path.client.set_user_timeout(100 * MINUTE)
    path.client.set_segment_sizes(gso_bytes=random.choice([0, 30_000]))
    path.send(400_000)
    assert path.tcb.path_mtu_bytes <= mtu


def test_equal_seeds_probe_alike():
    runs = []
    for _ in range(2):
        path = Path(FROM_THE_START, Link(10 * MS, loss=0.05, mtu_bytes=1333, black_hole=True), seed=5)
        path.send(300_000)
        runs.append([(passage.when_ns, passage.end, passage.fate) for passage in path.net.passages])
    assert runs[0] == runs[1]


# what is believed


def full_flight(profile: Profile = PLAIN) -> Bench:
    bench = Bench(profile).established(Options(mss=1460))
    bench.got(ACK, wnd=65535)
    assert {len(segment.payload) for segment in bench.call("send", bytes(14_600))} == {1460}
    return bench


def too_big(bench: Bench, mtu_bytes: int, seq: int | None = None) -> None:
    bench.connection.icmp_error(3, 4, bench.now_ns, mtu_bytes=mtu_bytes, seq=seq)


@pytest.mark.parametrize("offset", [-1, 14_600, 1 << 31])
def test_packet_too_big_about_nothing_on_the_way_is_not_believed(offset):
    bench = full_flight()
    too_big(bench, 800, add(bench.tcb.snd_una, offset))
    assert bench.tcb.path_mtu_bytes == 1500


def test_packet_too_big_about_a_packet_that_fits_is_not_believed():
    bench = Bench(PLAIN).established(Options(mss=1460))
    bench.got(ACK, wnd=65535)
    bench.call("send", b"short")
    too_big(bench, 800, bench.tcb.snd_una)
    assert bench.tcb.path_mtu_bytes == 1500
    assert any("fits" in report.text for report in bench.connection.events())


@pytest.mark.parametrize(("told", "taken"), [(0, 1492), (67, 1492), (68, 88), (1499, 1499)])
def test_router_that_names_no_size_means_the_next_plateau(told, taken):
    bench = full_flight()
    too_big(bench, told, bench.tcb.snd_una)
    assert bench.tcb.path_mtu_bytes == taken


def test_linux_lets_no_error_make_packets_smaller_than_552():
    bench = full_flight(LINUX._replace(timestamps=False, sack=False, window_scaling=False))
    too_big(bench, 100, bench.tcb.snd_una)
    assert bench.tcb.path_mtu_bytes == 552


def test_ipv6_discards_a_size_below_its_minimum():
    bench = Bench(PLAIN, remote=V6[1])
    bench.tcb.local = V6[0]
    bench.established(Options(mss=1440))
    bench.got(ACK, wnd=65535)
    bench.call("send", bytes(14_400))
    bench.connection.icmp_error(2, 0, bench.now_ns, mtu_bytes=1279, seq=bench.tcb.snd_una)
    assert bench.tcb.path_mtu_bytes == 1500
    bench.connection.icmp_error(2, 0, bench.now_ns, mtu_bytes=1280, seq=bench.tcb.snd_una)
    assert bench.tcb.path_mtu_bytes == 1280


def prober() -> Bench:
    """A probe of 1500 octets is on the way, with text behind it."""
    bench = Bench(FROM_THE_START._replace(timestamps=False, window_scaling=False)).syn_sent()
    bench.now_ns += 100 * MS
    bench.got(SYN | ACK, options=Options(mss=1460, sack_permitted=True))
    bench.got(ACK, wnd=65535)
    bench.first = bench.tcb.snd_nxt
    sent = bench.call("send", bytes(40_000))
    assert [len(segment.payload) for segment in sent[:3]] == [1460, 1024, 1024] and sent[0].gso_bytes == 0
    bench.now_ns += 100 * MS
    return bench


def test_probe_goes_once_and_only_with_enough_text_behind_it():
    bench = prober()
    assert sum(len(segment.payload) > 1024 for segment in bench.out) == 1
    few = Bench(FROM_THE_START._replace(timestamps=False)).established(Options(mss=1460, sack_permitted=True))
    few.got(ACK, wnd=65535)
    assert max(len(segment.payload) for segment in few.call("send", bytes(1460 + 4 * 1024 - 1))) == 1024


def test_too_big_about_a_probe_narrows_the_search_and_nothing_else():
    bench = prober()
    window = bench.tcb.congestion.cwnd_bytes
    bench.connection.icmp_error(3, 4, bench.now_ns, mtu_bytes=1300, seq=bench.first)
    again = bench.flush()
    assert again[0].seq == bench.first and len(again[0].payload) == 1024
    assert bench.tcb.path_mtu_bytes == 1064 and bench.tcb.search.high_bytes == 1300
    assert bench.tcb.congestion.cwnd_bytes == window and bench.tcb.recovery.is_repair
    sent = bench.got(ACK, wnd=65535) + bench.call("send", bytes(40_000))
    assert 1260 in [len(segment.payload) for segment in sent]


def test_real_loss_while_a_probe_is_repaired_shrinks_the_window():
    bench = prober()
    bench.connection.icmp_error(3, 4, bench.now_ns, mtu_bytes=1300, seq=bench.first)
    bench.flush()
    assert bench.tcb.recovery.phase == LOSS
    block = ((add(bench.first, 1460 + 1024), add(bench.first, 1460 + 5 * 1024)),)
    bench.got(ACK, ack=add(bench.first, 1460), wnd=65535, options=Options(sack=block))
    assert bench.tcb.recovery.phase == RECOVERY and bench.tcb.congestion.ssthresh_bytes < 1 << 30


def test_size_set_by_the_application_ends_a_search():
    bench = prober()
    bench.connection.set_segment_sizes(mtu_bytes=1200)
    assert bench.tcb.search is None and bench.tcb.mss_bytes == 1160 == bench.tcb.congestion.mss_bytes


def test_probe_size_follows_what_the_peer_accepts():
    bench = Bench(FROM_THE_START._replace(timestamps=False)).established(Options(mss=1200, sack_permitted=True))
    bench.got(ACK, wnd=65535)
    assert max(len(segment.payload) for segment in bench.call("send", bytes(40_000))) == 1200
