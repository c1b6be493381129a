"""Records on paper become transitions; what explains a move late still explains it; nothing is invented."""

import errno
import random
from collections import Counter

import pytest
from tests.unit.live.kernel_records import (
    CLIENT,
    CLOSE,
    CLOSING,
    CW,
    ESTAB,
    FW1,
    FW2,
    LACK,
    LISTEN,
    MS,
    SERVER,
    SYN_RECV,
    SYN_SENT,
    TW,
    Paper,
    whole_life,
)  # fmt: skip

from tcpscope.kernel.bpf import tcp_record as kinds
from tcpscope.kernel.bpf.tcp_record import RECORD_BYTES
from tcpscope.live import trace_story
from tcpscope.live.trace_event import Evidence, deduce_event
from tcpscope.live.trace_record import iter_events
from tcpscope.live.trace_story import Story
from tcpscope.live.trace_tally import Tally
from tcpscope.machine.lifecycle import EDGES
from tcpscope.model.event import Event
from tcpscope.model.socket import Owner
from tcpscope.model.state import State

S, E = State, Event
REASONS = {11: "TCP_ABORT_ON_CLOSE", 14: "TCP_STATE", 15: "TCP_KEEPALIVE_TIMEOUT", 9: "TCP_TIMEWAIT_SOCKET"}
LIFE = [
    (S.CLOSED, E.OPEN_ACTIVE, S.SYN_SENT),
    (S.LISTEN, E.SYN, S.SYN_RECEIVED),
    (S.SYN_SENT, E.SYN_ACK, S.ESTABLISHED),
    (S.SYN_RECEIVED, E.ACK_OF_SYN, S.ESTABLISHED),
    (S.ESTABLISHED, E.CLOSE, S.FIN_WAIT_1),
    (S.ESTABLISHED, E.FIN, S.CLOSE_WAIT),
    (S.FIN_WAIT_1, E.ACK_OF_FIN, S.FIN_WAIT_2),
    (S.CLOSE_WAIT, E.CLOSE, S.LAST_ACK),
    (S.FIN_WAIT_2, E.FIN, S.TIME_WAIT),
    (S.LAST_ACK, E.ACK_OF_FIN, S.CLOSED),
]


def tell(paper, **options):
    story = Story(reasons=REASONS, **options)
    story.feed(iter_events(paper.stretch()))
    return story.take()


def moves_of(found):
    return [(move.before, move.event, move.after) for move in found]


@pytest.mark.parametrize("slow_fin", [False, True])
def test_whole_life_is_told_move_by_move(slow_fin):
    paper = Paper()
    whole_life(paper, slow_fin=slow_fin)
    found = tell(paper)
    assert moves_of(found) == LIFE
    assert all((move.before, move.after) in EDGES and move.legal and not move.deviation for move in found)
    assert {move.flow.local.port for move in found} == {40000, 80}, "connect() got its port"
    assert all(move.certainty == "seen" and move.netns == 7 and move.source == "bpf" for move in found)


def test_time_in_state_runs_through_request_child_and_mini_socket():
    paper = Paper()
    mini = whole_life(paper, slow_fin=True)
    paper.add(kinds.MINI_STOPPED, mini, TW, TW, after_ns=60_000 * MS)
    paper.add(kinds.MINI_EXPIRED, mini, TW, TW)
    found = tell(paper)
    waited = {(move.before, move.after): move.in_state_ns for move in found}
    assert waited[S.CLOSED, S.SYN_SENT] is None
    assert waited[S.SYN_RECEIVED, S.ESTABLISHED] == 5000, "from the SYN, not from the child"
    assert 50 * MS < waited[S.FIN_WAIT_2, S.TIME_WAIT] < 51 * MS, "from FIN_WAIT1's end, not from the mini-socket"
    assert 60_000 * MS < waited[S.TIME_WAIT, S.CLOSED] < 60_001 * MS
    assert moves_of(found)[-1] == (S.TIME_WAIT, E.TIME_WAIT_TIMEOUT, S.CLOSED)


def test_close_after_shutdown_moves_nothing_and_the_time_in_state_goes_on():
    """Linux: close() of a socket that was shut down sets FIN_WAIT_2 once more (the same for FIN_WAIT_1, LAST_ACK)."""
    paper = Paper()
    paper.state(1, FW1, FW2)
    paper.state(1, FW2, FW2, after_ns=300 * MS)
    paper.add(kinds.MINI_STARTED, 2, TW, TW, after_ns=300 * MS)
    paper.state(1, FW2, CLOSE, after_ns=0)
    found = tell(paper)
    assert moves_of(found) == [(S.FIN_WAIT_1, E.ACK_OF_FIN, S.FIN_WAIT_2), (S.FIN_WAIT_2, E.FIN, S.TIME_WAIT)]
    assert found[1].in_state_ns == 600 * MS
    tally = Tally()
    tally.feed(paper.stretch())
    assert tally.counts() == {(move.before, move.after): 1 for move in found}


def test_fin_wait_2_mini_socket_that_expires_is_no_time_wait():
    paper = Paper()
    paper.state(1, FW1, FW2)
    paper.add(kinds.MINI_STARTED, 2, TW, FW2)
    paper.state(1, FW2, CLOSE)
    paper.add(kinds.MINI_STOPPED, 2, TW, FW2)
    paper.add(kinds.MINI_EXPIRED, 2, TW, FW2)
    assert moves_of(tell(paper)) == [
        (S.FIN_WAIT_1, E.ACK_OF_FIN, S.FIN_WAIT_2),
        (S.FIN_WAIT_2, E.FIN_WAIT_2_TIMEOUT, S.CLOSED),
    ]


def test_time_wait_whose_fin_was_not_seen_is_marked_inferred():
    """Without the kfree_skb tracepoint (Linux before 6.11) only the end shows that a FIN must have come."""
    paper = Paper()
    paper.add(kinds.MINI_STARTED, 2, TW, FW2)
    paper.state(1, FW2, CLOSE)
    paper.add(kinds.MINI_EXPIRED, 2, TW, TW, after_ns=MS)
    unseen, end = tell(paper)
    assert (unseen.before, unseen.after, unseen.certainty) == (S.FIN_WAIT_2, S.TIME_WAIT, "inferred")
    assert unseen.earliest_ns is not None or unseen.latest_ns is not None
    assert (end.event, end.certainty, end.in_state_ns) == (E.TIME_WAIT_TIMEOUT, "seen", None)


def test_request_timer_that_starts_again_is_one_handshake_and_dies_once():
    paper = Paper()
    ends = (SERVER, CLIENT)
    paper.add(kinds.REQUEST_STARTED, 5, 12, 12, ends=ends)
    for timeouts in (1, 2):
        paper.add(kinds.REQUEST_STOPPED, 5, 12, 12, ends=ends, after_ns=1000 * MS)
        paper.add(kinds.REQUEST_EXPIRED, 5, 12, 12, ends=ends, detail=(timeouts - 1) << 1)
        paper.add(kinds.REQUEST_STARTED, 5, 12, 12, ends=ends, detail=timeouts << 1)
    paper.add(kinds.REQUEST_STOPPED, 5, 12, 12, ends=ends, after_ns=1000 * MS)
    paper.add(kinds.REQUEST_EXPIRED, 5, 12, 12, ends=ends, detail=2 << 1)
    birth, death = tell(paper)
    assert (birth.before, birth.after) == (S.LISTEN, S.SYN_RECEIVED)
    assert (death.after, death.event) == (S.CLOSED, E.USER_TIMEOUT)
    assert 3000 * MS < death.in_state_ns < 3001 * MS


def test_held_end_is_not_told_before_its_explanation_may_have_come():
    story = Story(reasons=REASONS)
    paper = Paper()
    paper.state(1, ESTAB, CLOSE)
    story.feed(iter_events(paper.stretch()))
    assert story.take(paper.now_ns) == []
    assert story.is_holding
    late = Paper()
    late.now_ns = paper.now_ns
    late.add(kinds.RESET_SENT, 1, CLOSE, CLOSE, detail=11)
    story.feed(iter_events(late.stretch()))
    (move,) = story.take(late.now_ns)
    assert (move.event, move.cause) == (E.CLOSE, "close() with unread data: reset instead of FIN")
    assert not story.is_holding


def test_held_end_without_explanation_is_told_open_after_a_while():
    story = Story()
    paper = Paper()
    paper.state(1, ESTAB, CLOSE)
    story.feed(iter_events(paper.stretch()))
    (move,) = story.take(paper.now_ns + trace_story.HOLD_NS["reset"] + 1)
    assert (move.after, move.event) == (S.CLOSED, None)


def test_end_that_is_held_back_is_told_when_its_address_is_taken_again():
    """The kernel gives the memory of a socket to the next one at once."""
    paper = Paper()
    paper.state(1, ESTAB, CLOSE)
    paper.state(1, CLOSE, SYN_SENT)
    paper.state(1, SYN_SENT, ESTAB)
    paper.state(1, ESTAB, CLOSE)
    paper.add(kinds.RESET_SENT, 1, CLOSE, CLOSE, detail=11)
    paper.add(kinds.REQUEST_STARTED, 2, 12, 12, ends=(SERVER, CLIENT))
    paper.add(kinds.REQUEST_STOPPED, 2, 12, 12, ends=(SERVER, CLIENT))
    other = (SERVER, (CLIENT[0], 40001))
    paper.add(kinds.REQUEST_STARTED, 2, 12, 12, ends=other)
    paper.add(kinds.REQUEST_STOPPED, 2, 12, 12, ends=other)
    found = moves_of(tell(paper))
    assert found.count((S.ESTABLISHED, None, S.CLOSED)) == 1, "the first end stays unexplained"
    assert found.count((S.ESTABLISHED, E.CLOSE, S.CLOSED)) == 1, "the reset is the second one's"
    assert found.count((S.LISTEN, E.SYN, S.SYN_RECEIVED)) == found.count((S.SYN_RECEIVED, None, S.CLOSED)) == 2


def test_mini_socket_that_was_stopped_is_told_when_its_address_is_taken_again():
    paper = Paper()
    for port in (40000, 40001):
        ends = ((CLIENT[0], port), SERVER)
        paper.add(kinds.MINI_STARTED, 2, TW, TW, ends=ends)
        paper.state(1, FW2, CLOSE, ends=ends)
        paper.add(kinds.MINI_STOPPED, 2, TW, TW, ends=ends)
    ended = [move.flow.local.port for move in tell(paper) if (move.before, move.after) == (S.TIME_WAIT, S.CLOSED)]
    assert ended == [40000, 40001]


@pytest.mark.parametrize("sees_requests", [True, False])
def test_child_without_a_request_says_that_its_syn_was_not_seen(sees_requests):
    """SYN cookies, and tier B: the SYN came some time before, so the time in SYN_RECEIVED is not known either."""
    paper = Paper()
    paper.state(1, LISTEN, SYN_RECV)
    paper.state(1, SYN_RECV, ESTAB)
    born, done = tell(paper, sees_requests=sees_requests)
    assert (born.before, born.event, born.after, born.certainty) == (S.LISTEN, E.SYN, S.SYN_RECEIVED, "inferred")
    assert (born.earliest_ns, born.latest_ns) == (None, born.when_ns)
    assert bool(born.cause) is sees_requests
    assert (done.event, done.certainty, done.in_state_ns) == (E.ACK_OF_SYN, "seen", None)


def test_old_reset_does_not_explain_a_later_end():
    paper = Paper()
    paper.state(1, CLOSE, SYN_SENT)
    paper.add(kinds.RESET_SENT, 1, SYN_SENT, SYN_SENT, detail=14)  # answered an unacceptable ACK, stayed SYN-SENT
    paper.state(1, SYN_SENT, CLOSE, after_ns=5000 * MS)
    assert moves_of(tell(paper))[-1] == (S.SYN_SENT, E.CLOSE, S.CLOSED)


def test_syn_into_time_wait_is_one_move_not_an_end_and_a_birth():
    paper = Paper()
    ends = (SERVER, CLIENT)
    paper.add(kinds.MINI_STARTED, 2, TW, TW, ends=ends)
    paper.state(1, FW2, CLOSE, ends=ends)
    paper.add(kinds.MINI_STOPPED, 2, TW, TW, ends=ends)
    paper.add(kinds.REQUEST_STARTED, 5, 12, 12, ends=ends)
    assert moves_of(tell(paper))[-1] == (S.TIME_WAIT, E.SYN_REOPENS, S.SYN_RECEIVED)


def test_connect_that_takes_a_time_wait_port_says_so():
    paper = Paper()
    paper.add(kinds.MINI_STARTED, 2, TW, TW)
    paper.state(1, FW2, CLOSE)
    paper.state(9, CLOSE, SYN_SENT, port=0)
    paper.add(kinds.MINI_STOPPED, 2, TW, TW)
    paper.add(kinds.SYN_SENT_FROM, 9, SYN_SENT, SYN_SENT)
    end = next(move for move in tell(paper) if move.before is S.TIME_WAIT)
    assert end.after is S.CLOSED
    assert "tcp_tw_reuse" in end.cause


def test_data_to_an_orphan_is_told_as_data_not_as_reset_received():
    paper = Paper()
    paper.add(kinds.MINI_STARTED, 2, TW, FW2)
    paper.state(1, FW2, CLOSE)
    paper.add(kinds.RESET_SENT, 2, TW, TW, detail=9)
    paper.add(kinds.MINI_STOPPED, 2, TW, FW2)
    paper.add(kinds.MINI_SEGMENT, 2, TW, FW2)
    assert moves_of(tell(paper)) == [(S.FIN_WAIT_2, E.TEXT, S.CLOSED)]


@pytest.mark.parametrize(
    ("evidence", "event"),
    [
        (Evidence(errno.ETIMEDOUT), E.USER_TIMEOUT),
        (Evidence(errno.ETIMEDOUT, sent_reason="TCP_KEEPALIVE_TIMEOUT"), E.KEEPALIVE_EXHAUSTED),
        (Evidence(errno.ECONNRESET, received_reset=True), E.RST),
        (Evidence(errno.ECONNREFUSED, received_reset=True), E.RST),
        (Evidence(errno.ECONNREFUSED), E.ICMP_HARD_ERROR),
        (Evidence(errno.EHOSTUNREACH), E.ICMP_HARD_ERROR),
        (Evidence(errno.ECONNABORTED, sent_reason="TCP_STATE"), E.ABORT),
        (Evidence(sent_reason="TCP_ABORT_ON_MEMORY"), E.ABORT),
        (Evidence(errno.EIO), None),
    ],
)
def test_end_of_established_is_named_by_the_evidence(evidence, event):
    assert deduce_event(S.ESTABLISHED, S.CLOSED, evidence)[0] is event


@pytest.mark.parametrize(("before", "after"), sorted(EDGES))
def test_event_of_every_edge_is_one_of_its_rows_or_open(before, after):
    from tcpscope.machine.lifecycle import rows_between

    event, _ = deduce_event(before, after)
    assert event is None or event in {row.event for row in rows_between(before, after)}
    if after is not S.CLOSED:
        assert event is not None or len({row.event for row in rows_between(before, after)}) > 1


def test_owner_is_by_inode_not_by_the_interrupted_task():
    paper = Paper()
    whole_life(paper)
    owners = {10: Owner(1, "listener", 3), 11: Owner(2, "client", 4), 12: Owner(1, "listener", 5)}
    found = tell(paper, owner_of=owners.get)
    assert {move.by.name for move in found} == {"listener", "client"}
    named = {(move.before, move.after): move.by for move in found}
    assert named[S.LISTEN, S.SYN_RECEIVED] == Owner(1, "listener", 3)
    assert named[S.FIN_WAIT_2, S.TIME_WAIT] == Owner(2, "client", 4), "the orphan keeps its name"
    assert named[S.LAST_ACK, S.CLOSED] == Owner(1, "listener", 5)


def test_caller_is_named_only_for_moves_a_call_makes():
    paper = Paper()
    paper.state(1, CLOSE, SYN_SENT)
    paper.state(3, FW1, FW2)
    called, interrupted = tell(paper)
    assert called.by == Owner(99, "prog")
    assert interrupted.by is None


def test_lost_records_in_between_make_the_time_unknown_and_nothing_else():
    paper = Paper()
    paper.state(1, CLOSE, SYN_SENT)
    paper.state(1, ESTAB, FW1)
    first, second = tell(paper)
    assert (second.before, second.after, second.in_state_ns) == (S.ESTABLISHED, S.FIN_WAIT_1, None)
    assert first.after is S.SYN_SENT


def untold_in(paper, **options):
    story = Story(reasons=REASONS, **options)
    story.feed(iter_events(paper.stretch()))
    story.take()
    return story.untold


def moved_on(paper):
    paper.state(1, ESTAB, FW1)
    paper.state(1, FW2, CLOSE)


def connected_anew(paper):
    paper.state(1, ESTAB, FW1)
    paper.state(1, CLOSE, SYN_SENT, ends=(CLIENT, (SERVER[0], 81)))


def born_anew(paper):
    paper.state(1, CW, LACK, ends=(SERVER, CLIENT))
    paper.state(1, LISTEN, SYN_RECV, ends=(SERVER, (CLIENT[0], 40001)))


def retransmitted(paper):
    paper.state(1, SYN_SENT, ESTAB)
    paper.add(kinds.RETRANSMITTED, 1, FW1, FW1)
    paper.state(1, FW1, CLOSE)


@pytest.mark.parametrize("tell_a_life", [moved_on, connected_anew, born_anew, retransmitted])
def test_socket_that_is_not_where_its_last_record_left_it_counts_as_one_move_untold(tell_a_life):
    paper = Paper()
    tell_a_life(paper)
    assert untold_in(paper) == 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sees_requests", [True, False])
def test_no_move_is_untold_where_every_record_came(seed, sees_requests):
    """Addresses are used again and again, as the kernel's slabs do; each life is whole and follows the one before."""
    rng = random.Random(seed)
    paper = Paper()
    for number in range(300):
        ends = (CLIENT[0], 1000 + number), SERVER
        mini = whole_life(paper, ends, rng.random() < 0.5, rng.randrange(3))
        if rng.random() < 0.7:
            paper.add(kinds.MINI_EXPIRED, mini, TW, TW, ends=ends)
    assert untold_in(paper, sees_requests=sees_requests) == 0


def test_no_move_is_untold_of_a_socket_whose_beginning_was_before_the_trace():
    paper = Paper()
    paper.add(kinds.RESET_SENT, 1, ESTAB, ESTAB, detail=14)  # the programs are attached one after another
    paper.state(1, CLOSE, SYN_SENT)
    paper.state(2, CW, LACK)
    paper.add(kinds.RETRANSMITTED, 3, FW1, FW1)
    paper.state(3, FW1, FW2)
    assert untold_in(paper) == 0


def test_every_dropped_move_of_a_socket_but_its_birth_is_noticed_when_its_address_is_used_again():
    paper = Paper()
    for number in range(2):
        whole_life(paper, ((CLIENT[0], 1000 + number), SERVER))
    whole = paper.records
    dropped = [
        at for at, record in enumerate(whole[: len(whole) // 2])
        if record[40] == kinds.STATE and record[41] not in (CLOSE, LISTEN)
    ]  # fmt: skip
    assert len(dropped) == 8
    for at in dropped:
        paper.records = whole[:at] + whole[at + 1 :]
        assert untold_in(paper) == 1, at


def test_move_that_no_rule_allows_is_marked():
    paper = Paper()
    paper.state(1, CLOSING, ESTAB)
    (move,) = tell(paper)
    assert not move.legal
    assert move.deviation == ""


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(trace_story, "LIMIT", 100)
    story = Story()
    for round_ in range(20):
        paper = Paper()
        for number in range(50):
            key = 1000 * round_ + number
            paper.state(key, CLOSE, SYN_SENT)
            paper.add(kinds.REQUEST_STARTED, key + (1 << 20), 12, 12, ends=((bytes(16), key), SERVER))
            paper.add(kinds.MINI_STARTED, key + (1 << 21), TW, FW2, ends=((bytes(16), key), CLIENT))
        story.feed(iter_events(paper.stretch()))
        story.take(paper.now_ns)
    for table in ("_sockets", "_requests", "_handshakes", "_minis", "_newborn"):
        assert len(getattr(story, table)) <= 150, table


def make_chaos(seed):
    """Lives of many connections, their records shuffled together (each object's own order kept)."""
    rng = random.Random(seed)
    lives = []
    for number in range(40):
        paper = Paper()
        mini = whole_life(paper, ((CLIENT[0], 1000 + number), SERVER), rng.random() < 0.5, number)
        if rng.random() < 0.5:
            paper.add(kinds.MINI_STOPPED, mini, TW, TW, ends=((CLIENT[0], 1000 + number), SERVER))
            if rng.random() < 0.7:  # on one processor, within a microsecond: nothing comes between
                paper.add(kinds.MINI_EXPIRED, mini, TW, TW, ends=((CLIENT[0], 1000 + number), SERVER))
                paper.records[-2:] = [b"".join(paper.records[-2:])]
        if rng.random() < 0.2:
            dead = 0x9000 + number
            paper.add(kinds.REQUEST_STARTED, dead, 12, 12, ends=(SERVER, (CLIENT[0], 5000 + number)))
            paper.add(kinds.REQUEST_STOPPED, dead, 12, 12, ends=(SERVER, (CLIENT[0], 5000 + number)))
        lives.append(paper.records)
    mixed = []
    while lives:
        life = rng.choice(lives)
        mixed.append(life.pop(0))
        lives = [rest for rest in lives if rest]
    return mixed


@pytest.mark.parametrize("seed", range(8))
def test_tally_counts_what_the_story_tells(seed):
    mixed = make_chaos(seed)
    story, tally = Story(), Tally()
    rng = random.Random(seed)
    at = 0
    while at < len(mixed):
        size = rng.randint(1, 60)
        stretch = b"".join(mixed[at : at + size])
        at += size
        story.feed(iter_events(stretch))
        tally.feed(stretch)
    tally.finish()
    told = Counter((move.before, move.after) for move in story.take())
    assert tally.counts() == told
    assert told[S.LISTEN, S.SYN_RECEIVED] >= 40
    assert told[S.FIN_WAIT_2, S.TIME_WAIT] == 40
    assert tally.records == len(b"".join(mixed)) // (RECORD_BYTES + 8)


def test_timer_that_expires_in_the_next_stretch_is_one_end():
    tally = Tally()
    paper = Paper()
    paper.add(kinds.MINI_STARTED, 2, TW, TW)
    paper.state(1, FW2, CLOSE)
    paper.add(kinds.MINI_STOPPED, 2, TW, TW)
    tally.feed(paper.stretch())
    paper.records.clear()
    paper.add(kinds.MINI_EXPIRED, 2, TW, TW)
    tally.feed(paper.stretch())
    tally.finish()
    assert tally.counts() == {(S.FIN_WAIT_2, S.TIME_WAIT): 1, (S.TIME_WAIT, S.CLOSED): 1}


def test_port_taken_from_time_wait_again_and_again_is_told_and_counted_alike():
    """The kernel's slab hands out the same address for the next mini-socket of the same connection."""
    paper = Paper()
    for number in range(3):
        if number:
            paper.add(kinds.MINI_STOPPED, 0x4000, TW, TW)
        whole_life(paper, slow_fin=True)
    story, tally = Story(), Tally()
    story.feed(iter_events(paper.stretch()))
    tally.feed(paper.stretch())
    tally.finish()
    told = Counter((move.before, move.after) for move in story.take())
    assert told == tally.counts()
    assert told[S.FIN_WAIT_2, S.TIME_WAIT] == 3
    assert told[S.TIME_WAIT, S.CLOSED] == 2
    assert (S.FIN_WAIT_2, S.CLOSED) not in told
