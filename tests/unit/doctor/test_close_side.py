"""F01 to F08: each illness as Linux shows it, and the healthy thing that looks like it."""

from __future__ import annotations

from tests.unit.doctor.world import HERE, NOW_NS, THERE, client, grown, listener, process, snap, sock

from tcpscope.doctor import Thresholds, diagnose
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.history import History, Sighting
from tcpscope.model.snapshot import Snapshot
from tcpscope.model.socket import Owner
from tcpscope.model.state import State


def found(id: str, *arguments: Snapshot, **options: object) -> list[Finding]:
    return [finding for finding in diagnose(*arguments, **options) if finding.id == id]  # type: ignore[arg-type]


def leaked(number: int, **fields: object) -> list:
    info = {"last_ack_recv_ms": 90_000, "last_data_recv_ms": 95_000}
    return [sock(State.CLOSE_WAIT, remote=client(50000 + i), info=info, **fields) for i in range(number)]


def test_close_wait_left_open_for_more_than_a_minute_is_a_leak():
    (finding,) = found("close-wait-leak", snap(*leaked(7)))
    assert finding.severity == Severity.MEDIUM
    assert finding.confidence > 0.8
    assert "java (2215) does not close 7 connections" in finding.title
    assert any("Recv-Q 0 on 7" in line for line in finding.evidence)
    assert any("try-with-resources" in remedy.text for remedy in finding.remedies)


def test_close_wait_by_the_hundred_is_high():
    (finding,) = found("close-wait-leak", snap(*leaked(100)))
    assert finding.severity == Severity.HIGH


def test_close_wait_taking_a_fifth_of_the_descriptors_is_high():
    (finding,) = found("close-wait-leak", snap(*leaked(9), processes=(process(fd_limit=40),)))
    assert finding.severity == Severity.HIGH
    assert any("descriptors" in line for line in finding.evidence)


def test_close_wait_rising_over_three_looks_is_high():
    history = History(looks=3, trends={"close-wait:pid 2215": ((1, 5), (2, 6))})
    (finding,) = found("close-wait-leak", snap(*leaked(9)), history=history)
    assert finding.severity == Severity.HIGH


def test_close_wait_of_a_second_is_normal():
    young = [sock(State.CLOSE_WAIT, remote=client(50000 + i), info={"last_ack_recv_ms": 900}) for i in range(200)]
    assert not found("close-wait-leak", snap(*young))


def test_close_wait_of_this_very_millisecond_is_young_and_not_of_unknown_age():
    fresh = [
        sock(State.CLOSE_WAIT, remote=client(50000 + i), recv_q=900, info={"last_ack_recv_ms": 0}) for i in range(200)
    ]
    assert not [finding for finding in diagnose(snap(*fresh)) if finding.severity > Severity.INFO]


def test_close_wait_that_still_sends_is_a_half_close_in_use():
    def sending(sent: int) -> list:
        info = {"last_ack_recv_ms": 90_000, "bytes_sent": sent}
        return [sock(State.CLOSE_WAIT, remote=client(50000 + i), info=info, cookie=7000 + i) for i in range(8)]

    before = snap(*sending(1000))
    assert not found("close-wait-leak", grown(before, sockets=tuple(sending(2000))), before)
    assert found("close-wait-leak", grown(before, sockets=tuple(sending(1000))), before)


def test_close_wait_age_is_remembered_from_earlier_looks():
    fresh = [sock(State.CLOSE_WAIT, remote=client(50000 + i), cookie=6000 + i) for i in range(6)]
    seen = {(0, 6000 + i, int(State.CLOSE_WAIT)): Sighting(NOW_NS - 7200 * 10**9) for i in range(6)}
    (finding,) = found("close-wait-leak", snap(*fresh), history=History(looks=2, sightings=seen))
    assert any("2 h" in line for line in finding.evidence)


def test_close_wait_never_accepted_is_not_the_programs_leak():
    unaccepted = leaked(20, who=None)
    assert not found("close-wait-leak", snap(listener(waiting=20), *unaccepted))


def test_close_wait_in_a_dump_without_ages_is_found_by_number_alone():
    plain = [socket._replace(tcp_info=None, cookie=0, timer=None) for socket in leaked(120)]
    (finding,) = found("close-wait-leak", snap(*plain))
    assert finding.severity == Severity.HIGH
    assert any("not seen: how long" in line for line in finding.counter_evidence)
    few = [socket._replace(tcp_info=None, cookie=0, timer=None) for socket in leaked(6)]
    assert found("close-wait-leak", snap(*few))[0].severity == Severity.LOW


def test_close_wait_with_unread_end_of_file_is_a_blocked_program():
    findings = diagnose(snap(listener(waiting=9), *leaked(10, recv_q=1), processes=(process(state="D"),)))
    assert [finding.id for finding in findings].count("close-wait-app-blocked") == 1
    assert "close-wait-leak" not in [finding.id for finding in findings]
    blocked = next(finding for finding in findings if finding.id == "close-wait-app-blocked")
    assert blocked.severity == Severity.HIGH
    assert any("jstack" in remedy.text for remedy in blocked.remedies)
    assert any("(D)" in line for line in blocked.evidence)


def test_close_wait_half_read_is_a_leak_and_not_a_blocked_program():
    mixed = leaked(6) + leaked(4, recv_q=1)
    ids = [finding.id for finding in diagnose(snap(*mixed))]
    assert "close-wait-leak" in ids
    assert "close-wait-app-blocked" not in ids


def pooled(number: int, recv_q: int = 1) -> list:
    info = {"last_ack_recv_ms": 90_000, "last_data_recv_ms": 95_000}
    return [sock(State.CLOSE_WAIT, (HERE, 50000 + i), (THERE, 443), info=info, recv_q=recv_q) for i in range(number)]


def test_close_wait_idle_in_a_clients_pool_is_a_leak_and_no_blocked_program():
    (finding,) = diagnose(snap(*pooled(10)))
    assert finding.id == "close-wait-leak"
    assert any("opened here" in line for line in finding.evidence)
    assert any("evictIdleConnections" in remedy.text for remedy in finding.remedies)


def test_close_wait_of_a_client_that_cannot_run_or_leaves_data_unread_is_a_blocked_program():
    for sockets, holder in ((pooled(10), process(state="T")), (pooled(10, recv_q=90), process())):
        (finding,) = found("close-wait-app-blocked", snap(*sockets, processes=(holder,)))
        assert ("kill -CONT 2215" in finding.remedies[0].text) == (holder.state == "T")
    (served,) = found("close-wait-app-blocked", snap(listener(), *leaked(10, recv_q=1)))
    assert "stuck" in served.title


def orphans(number: int, remote: str = THERE) -> list:
    return [
        sock(State.FIN_WAIT_2, remote=(remote, 40000 + i), who=None, kind="mini", timer=("timewait", 30_000), info=None)
        for i in range(number)
    ]


def test_fin_wait_2_orphans_of_one_peer_name_that_peer():
    (finding,) = found("fin-wait2-orphan-pile", snap(*orphans(60)))
    assert finding.severity == Severity.MEDIUM
    assert THERE in finding.title


def test_fin_wait_2_orphans_spread_over_many_peers_are_normal_closing():
    spread = [socket for i in range(40) for socket in orphans(1, f"198.51.100.{i}")]
    assert not found("fin-wait2-orphan-pile", snap(*spread))


def test_fin_wait_2_here_and_close_wait_there_is_explained_by_the_leak():
    there = [
        sock(State.CLOSE_WAIT, (THERE, 40000 + i), (HERE, 8080), who=(77, "node"), info={"last_ack_recv_ms": 90_000})
        for i in range(60)
    ]
    findings = diagnose(snap(*orphans(60), *there, processes=(process(77, "node", runtime="node"),)))
    ids = [finding.id for finding in findings]
    assert ids.index("close-wait-leak") < ids.index("fin-wait2-orphan-pile")
    pile = findings[ids.index("fin-wait2-orphan-pile")]
    assert pile.explained_by == "close-wait-leak"
    assert any("FIN_WAIT_2 here / CLOSE_WAIT there: node (77)" in line for line in pile.evidence)


def half_closed(**info: int) -> list:
    return [
        sock(State.FIN_WAIT_2, info={"last_ack_recv_ms": 400_000, "last_data_recv_ms": 400_000, **info}, cookie=8500)
    ]


def test_fin_wait_2_half_closed_for_minutes_is_found():
    (finding,) = found("fin-wait2-half-closed-forever", snap(*half_closed()))
    assert finding.severity == Severity.MEDIUM


def test_fin_wait_2_half_closed_and_receiving_is_in_use():
    before = snap(*half_closed(bytes_received=10))
    after = grown(before, sockets=tuple(half_closed(bytes_received=5000)))
    assert not found("fin-wait2-half-closed-forever", after, before)
    assert not found("fin-wait2-half-closed-forever", snap(*orphans(3)))


def repeating(state: State, number: int, retransmits: int, send_q: int = 1) -> list:
    info = {"rto_us": 200_000 << retransmits, "retransmits": retransmits, "backoff": retransmits}
    return [
        sock(
            state,
            remote=client(50000 + i),
            who=None,
            send_q=send_q,
            timer=("on", 3000, retransmits),
            info=info,
            cookie=8700 + i,
        )
        for i in range(number)
    ]


def test_fin_wait_1_repeated_without_answer_is_stuck():
    (finding,) = found("fin-wait1-stuck", snap(*repeating(State.FIN_WAIT_1, 12, 6)))
    assert finding.severity == Severity.MEDIUM
    assert found("fin-wait1-stuck", snap(*repeating(State.FIN_WAIT_1, 2, 6)))[0].severity == Severity.LOW


def test_fin_wait_1_that_drains_is_only_slow():
    before = snap(*repeating(State.FIN_WAIT_1, 12, 6, send_q=90_000))
    after = grown(before, sockets=tuple(repeating(State.FIN_WAIT_1, 12, 6, send_q=50_000)))
    assert not found("fin-wait1-stuck", after, before)
    assert not found("fin-wait1-stuck", snap(*repeating(State.FIN_WAIT_1, 50, 0)))


def persisting(since_ms: int, send_q: int = 33_625) -> list:
    info = {"data_segs_out": 9, "last_data_sent_ms": since_ms, "probes": 3}
    return [sock(State.FIN_WAIT_1, who=None, send_q=send_q, timer=("persist", 9000, 3), info=info)]


def test_fin_wait_1_behind_a_zero_window_for_a_minute_is_found():
    (finding,) = found("fin-wait1-zero-window", snap(*persisting(90_000)))
    assert finding.severity == Severity.MEDIUM
    (heavy,) = found("fin-wait1-zero-window", snap(*persisting(90_000, 60_000_000)))
    assert heavy.severity == Severity.HIGH


def test_fin_wait_1_behind_a_zero_window_for_seconds_is_back_pressure():
    assert not found("fin-wait1-zero-window", snap(*persisting(5000)))


def test_last_ack_repeated_is_found_and_a_fresh_one_is_not():
    (finding,) = found("last-ack-pile", snap(*repeating(State.LAST_ACK, 12, 6)))
    assert finding.severity == Severity.MEDIUM
    assert not found("last-ack-pile", snap(*repeating(State.LAST_ACK, 12, 0)))


def test_closing_for_seconds_is_told_and_a_moment_of_it_is_not():
    (finding,) = found("closing-visible", snap(*repeating(State.CLOSING, 1, 5)))
    assert finding.severity == Severity.INFO
    assert not found("closing-visible", snap(*repeating(State.CLOSING, 1, 0)))


def test_close_wait_shorter_threshold_is_obeyed():
    young = [sock(State.CLOSE_WAIT, remote=client(50000 + i), info={"last_ack_recv_ms": 2000}) for i in range(6)]
    assert found("close-wait-leak", snap(*young), thresholds=Thresholds({"close-wait-leak.age_s": 1}))


def test_close_wait_held_by_two_processes_names_both():
    shared = [socket._replace(owners=(Owner(5, "java", 3), Owner(9, "sh", 3))) for socket in leaked(6)]
    (finding,) = found("close-wait-leak", snap(*shared))
    assert "java (5) and 1 more" in finding.title


def test_close_wait_single_with_its_other_end_in_sight_names_who_has_to_close():
    here = leaked(1)[0]
    there = sock(State.FIN_WAIT_2, here.remote[:], here.local[:], who=None, kind="mini", timer=("timewait", 9000))
    (finding,) = found("close-wait-leak", snap(here, there))
    assert finding.severity == Severity.INFO
    assert "java (2215) has not closed 1 connection" in finding.title
    assert any("FIN_WAIT_2 there / CLOSE_WAIT here" in line for line in finding.evidence)
    (alone,) = found("close-wait-leak", snap(here))
    assert alone.severity == Severity.INFO
    assert alone.confidence < finding.confidence
    young = here._replace(tcp_info=here.tcp_info._replace(last_ack_recv_ms=900, last_data_recv_ms=900))
    assert not found("close-wait-leak", snap(young))
