"""The whole doctor: healthy hosts, causes before symptoms, both sides, what was not judged, thresholds, the catalogue."""

from __future__ import annotations

import pytest
from tests.unit.doctor.world import HERE, THERE, client, grown, listener, process, snap, sock

from tcpscope.doctor import CATALOGUE, TABLE, Look, Thresholds, ages, diagnose, entry_of, examine
from tcpscope.doctor.causes import BECAUSE, INSTEAD
from tcpscope.doctor.thresholds import flatten, parse_override
from tcpscope.model.errors import UsageError
from tcpscope.model.finding import Severity
from tcpscope.model.snapshot import Coverage, Snapshot
from tcpscope.model.socket import Owner
from tcpscope.model.state import State


def busy_nginx() -> list:
    """Keep-alive off: the server closes first and keeps tens of thousands in TIME_WAIT; a few half-done requests."""
    waiting = [
        sock(State.TIME_WAIT, (HERE, 80), client(1024 + i), who=None, kind="mini", timer=("timewait", 20_000))
        for i in range(25_000)
    ]
    info = {"last_ack_recv_ms": 1, "last_data_recv_ms": 1, "bytes_received": 900, "data_segs_out": 4, "data_segs_in": 4}
    alive = [
        sock(State.ESTABLISHED, (HERE, 80), client(40000 + i), who=(80, "nginx"), info=info, send_q=i % 2 * 500)
        for i in range(200)
    ]
    closing = [
        sock(State.FIN_WAIT_1, (HERE, 80), client(50000 + i), who=None, send_q=1, timer=("on", 200, 0))
        for i in range(5)
    ]
    opening = [
        sock(State.SYN_RECEIVED, (HERE, 80), client(52000 + i), who=None, kind="request", timer=("on", 900, 0))
        for i in range(20)
    ]
    return [listener(80, backlog=511, waiting=12, who=(80, "nginx")), *waiting, *alive, *closing, *opening]


def idle_pool() -> list:
    info = {"last_ack_recv_ms": 9_000_000, "last_data_recv_ms": 9_000_000, "segs_in": 9, "data_segs_out": 4}
    pool = [
        sock(
            State.ESTABLISHED,
            ("10.0.0.1", 5432),
            ("10.0.0.2", 40000 + i),
            who=(54, "postgres"),
            info=info,
            timer=("keepalive", 3_000_000),
        )
        for i in range(60)
    ]
    return [listener(5432, "10.0.0.1", who=(54, "postgres"), backlog=200), *pool]


def half_closing_ssh() -> list:
    """ssh host cat < file: the client shut its sending side and still receives."""
    info = {"last_ack_recv_ms": 500, "last_data_sent_ms": 400, "data_segs_out": 900, "bytes_sent": 90_000}
    served = sock(State.CLOSE_WAIT, (HERE, 22), (THERE, 40000), who=(22, "sshd"), info=info, send_q=1448, age_s=300)
    pair = sock(
        State.ESTABLISHED, (HERE, 22), (THERE, 40001), owners=(Owner(22, "sshd", 4), Owner(23, "sshd", 4)), info=info
    )
    return [listener(22, who=(21, "sshd")), served, pair]


@pytest.mark.parametrize(
    "sockets", [busy_nginx(), idle_pool(), half_closing_ssh(), []], ids=["nginx", "pool", "ssh", "empty"]
)
def test_a_healthy_host_has_nothing_above_info(sockets):
    before = snap(*sockets, processes=(process(80, "nginx"),))
    traffic = {
        "Tcp__ActiveOpens": 3000,
        "Tcp__PassiveOpens": 12_000,
        "Tcp__OutSegs": 90_000,
        "Tcp__RetransSegs": 120,
        "Tcp__OutRsts": 4,
        "Tcp__EstabResets": 4,
    }
    for findings in (diagnose(before), diagnose(grown(before, **traffic), before)):
        assert [finding.id for finding in findings if finding.severity > Severity.INFO] == []


def chain() -> tuple[Snapshot, Snapshot]:
    """A Java server leaks CLOSE_WAIT until accept() fails; local clients hang in SYN_SENT."""
    leak = [
        sock(State.CLOSE_WAIT, (HERE, 8080), client(50000 + i), info={"last_ack_recv_ms": 90_000}, cookie=60_000 + i)
        for i in range(4000)
    ]
    waiting = listener(8080, waiting=129, cookie=59_999)
    hung = [
        sock(
            State.SYN_SENT,
            (HERE, 40000 + i),
            (HERE, 8080),
            who=(9, "curl"),
            timer=("on", 500, 3),
            info={"retransmits": 3},
            cookie=70_000 + i,
        )
        for i in range(4)
    ]
    before = snap(waiting, *leak, *hung, processes=(process(open_fds=4096), process(9, "curl")))
    return before, grown(before, TcpExt__ListenOverflows=40)


def test_the_cause_comes_first_and_each_symptom_follows_what_explains_it():
    before, after = chain()
    findings = [finding for finding in diagnose(after, before) if finding.severity > Severity.INFO]
    assert [finding.id for finding in findings][:2] == ["close-wait-leak", "accept-stalled-by-fd-limit"]
    explained = {finding.id: finding.explained_by for finding in findings}
    assert explained == {
        "close-wait-leak": "",
        "accept-stalled-by-fd-limit": "close-wait-leak",
        "accept-queue-overflow": "accept-stalled-by-fd-limit",
        "syn-sent-blackhole": "accept-queue-overflow",
    }
    assert len(explained) == len(findings)


def test_both_ends_in_two_snapshots_name_the_program_at_fault():
    here = [
        sock(State.FIN_WAIT_2, (HERE, 8080), (THERE, 40000 + i), who=None, kind="mini", timer=("timewait", 9000))
        for i in range(60)
    ]
    there = [
        sock(State.CLOSE_WAIT, (THERE, 40000 + i), (HERE, 8080), who=(5, "client"), info={"last_ack_recv_ms": 70_000})
        for i in range(60)
    ]
    ours, theirs = snap(*here, netns=1), snap(*there, netns=2)
    findings = examine([Look(ours, others=[theirs]), Look(theirs, others=[ours])]).findings
    assert [finding.id for finding in findings[:2]] == ["close-wait-leak", "fin-wait2-orphan-pile"]
    assert findings[1].explained_by == "close-wait-leak"
    assert any("client (5)" in line for line in findings[1].evidence)


def test_a_dual_stack_listener_pairs_with_its_ipv4_client():
    served = sock(State.CLOSE_WAIT, ("::ffff:10.0.0.1", 80), ("::ffff:10.0.0.2", 4000))
    waits = sock(State.FIN_WAIT_2, ("10.0.0.2", 4000), ("10.0.0.1", 80), kind="mini")
    look = Look(snap(served, waits))
    assert look.other_end(served) is waits
    assert look.other_end(waits) is served


def test_a_single_look_says_what_it_could_not_judge():
    unjudged = dict(examine([Look(snap())]).not_judged)
    assert "two looks" in unjudged["packet-loss"]
    assert "close-wait-leak" not in unjudged
    before = snap()
    assert "packet-loss" not in dict(examine([Look(grown(before), before)]).not_judged)


def test_a_plain_dump_says_what_it_could_not_judge():
    bare = sock(State.ESTABLISHED)._replace(tcp_info=None)
    dump = Snapshot(
        1, [bare, listener(80, backlog=None)._replace(tcp_info=None)], coverage=Coverage("dump", "netstat", "text")
    )
    unjudged = dict(examine([Look(dump)]).not_judged)
    assert {"half-open-stale", "accept-queue-overflow", "sysctl-lint", "fin-wait1-stuck", "fd-exhaustion-near"} <= set(
        unjudged
    )


def test_every_number_of_the_catalogue_is_used_once_and_f59_is_free():
    numbers = [entry.number for entry in CATALOGUE.values()]
    assert sorted(numbers) == [number for number in range(1, 70) if number != 59]
    assert entry_of("F01").id == entry_of("close_wait_leak").id == "close-wait-leak"
    with pytest.raises(ValueError, match="did you mean"):
        entry_of("close-wait-leek")


def test_causes_and_replacements_name_known_findings_and_have_no_circle():
    named = {
        *BECAUSE,
        *(cause for causes in BECAUSE.values() for cause, _ in causes),
        *(id for row in INSTEAD for id in row[:2]),
    }
    assert named <= set(CATALOGUE)

    def ancestors(id: str, seen: tuple[str, ...] = ()) -> None:
        assert id not in seen, f"{id} explains itself: {seen}"
        for cause, _ in BECAUSE.get(id, ()):
            ancestors(cause, (*seen, id))

    for id in BECAUSE:
        ancestors(id)


def test_every_threshold_has_a_reason_and_belongs_to_a_finding():
    families = {"port-exhaustion", "ghost-established", "scanner"}
    for row in TABLE:
        assert row.reason
        assert row.name.partition(".")[0] in set(CATALOGUE) | families


def test_thresholds_are_overridden_by_name_and_unknown_names_are_refused():
    assert Thresholds({"close-wait-leak.age_s": 5})["close-wait-leak.age_s"] == 5
    assert parse_override("packet-loss.low=5%") == ("packet-loss.low", 0.05)
    assert flatten({"close-wait-leak": {"age_s": 9}, "packet-loss.low": 0.5}) == {
        "close-wait-leak.age_s": 9,
        "packet-loss.low": 0.5,
    }
    for wrong in ("close-wait-leak.age=5", "x", "packet-loss.low=many", "packet-loss.low=-1", "packet-loss.low=nan"):
        with pytest.raises(UsageError):
            parse_override(wrong)
    with pytest.raises(UsageError):
        flatten({"packet-loss.low": True})


def test_idle_times_of_a_handshake_never_finished_are_garbage():
    hung = sock(
        State.SYN_SENT,
        info={"last_data_sent_ms": 713_780, "last_ack_recv_ms": 713_780, "retransmits": 2},
        timer=("on", 500, 2),
    )
    assert ages.idle_ms(hung) is None
    assert ages.bound_ms(hung) == 2000
    fresh = sock(
        State.ESTABLISHED,
        info={"last_data_sent_ms": 713_780, "last_ack_recv_ms": 5, "last_data_recv_ms": 5, "data_segs_out": 0},
    )
    assert ages.idle_ms(fresh) == 5


def test_an_unanswered_segment_is_as_old_as_its_timeouts():
    stalled = sock(State.FIN_WAIT_1, timer=("on", 1000, 4), info={"rto_us": 3_200_000, "retransmits": 4, "backoff": 4})
    assert ages.unanswered_ms(stalled) == 3000 + 2200
