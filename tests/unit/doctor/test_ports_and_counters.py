"""F09 to F14, F36, F37, F40, F44 to F46, F53 to F55, F68: ports, TIME_WAIT and what the kernel counts."""

from __future__ import annotations

import pytest
from tests.unit.doctor.world import HERE, NOW_NS, THERE, client, grown, listener, snap, sock

from tcpscope.doctor import diagnose
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.history import History, KnownListener
from tcpscope.model.snapshot import Reset, Snapshot
from tcpscope.model.socket import Owner, Socket
from tcpscope.model.state import State

TEN_PORTS = {"net.ipv4.ip_local_port_range": "40000 40009"}


def found(id: str, *arguments: Snapshot, **options: object) -> list[Finding]:
    return [finding for finding in diagnose(*arguments, **options) if finding.id == id]  # type: ignore[arg-type]


def gone(
    number: int, to: tuple[str, int] = (THERE, 80), state: State = State.TIME_WAIT, first: int = 40000
) -> list[Socket]:
    kind = "mini" if state == State.TIME_WAIT else "full"
    return [
        sock(
            state,
            (HERE, first + i),
            to,
            who=None if kind == "mini" else (7, "curl"),
            kind=kind,
            timer=("timewait", 30_000) if kind == "mini" else None,
        )
        for i in range(number)
    ]


@pytest.mark.parametrize(("number", "severity"), [(7, Severity.MEDIUM), (9, Severity.HIGH), (10, Severity.CRITICAL)])
def test_ports_to_one_destination_in_time_wait_run_out(number, severity):
    (finding,) = found("ephemeral-port-exhaustion-timewait", snap(*gone(number), sysctls=TEN_PORTS))
    assert finding.severity == severity
    assert any("ip_local_port_range = 1024 65535    # now 40000 40009" in remedy.text for remedy in finding.remedies)
    assert any("tcp_fin_timeout" in line for line in finding.avoid)


def test_time_wait_spread_over_destinations_exhausts_nothing():
    spread = [socket for i in range(10) for socket in gone(5, (f"198.51.100.{i}", 80))]
    ids = [finding.id for finding in diagnose(snap(*spread, sysctls=TEN_PORTS))]
    assert not [id for id in ids if "exhaustion" in id]


def test_time_wait_of_a_server_is_no_exhaustion_of_its_clients():
    served = [sock(State.TIME_WAIT, (HERE, 80), client(30000 + i), who=None, kind="mini") for i in range(30_000)]
    ids = [finding.id for finding in diagnose(snap(listener(80), *served))]
    assert not [id for id in ids if "exhaustion" in id]


def test_ports_in_live_connections_are_another_finding():
    (finding,) = found("ephemeral-port-exhaustion-live", snap(*gone(10, state=State.ESTABLISHED), sysctls=TEN_PORTS))
    assert finding.severity == Severity.CRITICAL


def test_reserved_ports_are_not_usable():
    reserved = {**TEN_PORTS, "net.ipv4.ip_local_reserved_ports": "40008-40009"}
    (finding,) = found("ephemeral-port-exhaustion-timewait", snap(*gone(8), sysctls=reserved))
    assert finding.severity == Severity.CRITICAL


def test_ten_thousand_time_wait_are_explained_and_not_alarming():
    many = [
        sock(State.TIME_WAIT, (HERE, 80), (f"198.51.{i // 250}.{i % 250}", 1000 + i % 60000), who=None, kind="mini")
        for i in range(10_100)
    ]
    findings = diagnose(snap(listener(80), *many))
    assert "time-wait-normal" in [finding.id for finding in findings]
    assert all(finding.severity == Severity.INFO for finding in findings)
    assert not found("time-wait-normal", snap(listener(80), *many[:900]))


def test_time_wait_table_full_is_seen_by_its_rate_alone():
    before = snap()
    (finding,) = found("tw-bucket-overflow", grown(before, TcpExt__TCPTimeWaitOverflow=7), before)
    assert finding.severity == Severity.MEDIUM
    assert not found("tw-bucket-overflow", grown(before), before)


def old_server(port: int = 8080) -> list[Socket]:
    return [sock(State.TIME_WAIT, (HERE, port), client(50000 + i), who=None, kind="mini") for i in range(3)]


def remembered(port: int) -> History:
    return History(
        looks=3, started_ns=NOW_NS, listeners={(0, "0.0.0.0", port): KnownListener(NOW_NS, NOW_NS, "app", 0)}
    )


def test_restart_into_time_wait_is_told_when_the_port_is_wanted():
    (finding,) = found("bind-eaddrinuse-timewait", snap(*old_server()), wanted_ports=(8080,))
    assert finding.severity == Severity.MEDIUM
    assert (
        found("bind-eaddrinuse-timewait", snap(*old_server()), history=remembered(8080))[0].severity == Severity.MEDIUM
    )
    assert found("bind-eaddrinuse-timewait", snap(listener(22), *old_server()))[0].severity == Severity.INFO
    assert not found("bind-eaddrinuse-timewait", snap(*old_server())), "a source without listeners says nothing"


def test_time_wait_beside_a_live_listener_hinders_nobody():
    assert not found("bind-eaddrinuse-timewait", snap(listener(8080), *old_server()))


def test_wanted_port_of_a_live_listener_or_a_bound_socket_names_who_has_it():
    (finding,) = found("bind-eaddrinuse-timewait", snap(listener(8080, who=(7, "nginx"))), wanted_ports=(8080,))
    assert finding.title == "Port 8080 is in use: nginx (7) listens on it"
    assert finding.severity == Severity.INFO
    bound = sock(State.CLOSED, ("0.0.0.0", 8080), ("0.0.0.0", 0), who=(8, "perl"))
    (finding,) = found("bind-eaddrinuse-timewait", snap(bound), wanted_ports=(8080,))
    assert finding.title == "Port 8080 is in use: perl (8) has bound it and does not listen"
    assert not found("bind-eaddrinuse-timewait", snap(bound, listener(8081)), wanted_ports=(8082,))


def test_wanted_port_in_an_outgoing_connection_is_taken():
    taken = sock(State.ESTABLISHED, (HERE, 40005), (THERE, 443), who=(7, "curl"))
    (finding,) = found("port-taken-by-outgoing", snap(taken), wanted_ports=(40005,))
    assert finding.severity == Severity.HIGH
    assert "curl (7)" in finding.title
    assert not found("port-taken-by-outgoing", snap(taken))


def test_wanted_port_in_time_wait_is_of_no_process_and_comes_free():
    over = sock(State.TIME_WAIT, (HERE, 40005), (THERE, 443), who=None, kind="mini", timer=("timewait", 42_000))
    (finding,) = found("port-taken-by-outgoing", snap(over), wanted_ports=(40005,))
    assert finding.title.endswith("an outgoing connection in TIME_WAIT has it")
    assert any("TIME_WAIT ends in 42 s" in line for line in finding.evidence)
    assert not any("process" in line for line in finding.evidence)


def test_listener_in_the_outgoing_range_is_a_lint_unless_reserved():
    (finding,) = found("port-taken-by-outgoing", snap(listener(40005)))
    assert finding.severity == Severity.LOW
    assert not found(
        "port-taken-by-outgoing", snap(listener(40005), sysctls={"net.ipv4.ip_local_reserved_ports": "40000-40010"})
    )
    assert not found("port-taken-by-outgoing", snap(listener(8080)))


def test_many_short_connections_are_info():
    before = snap(listener(80))
    (finding,) = found("excessive-connection-churn", grown(before, Tcp__PassiveOpens=1000), before)
    assert finding.severity == Severity.INFO
    alive = [sock(State.ESTABLISHED, (HERE, 80), (f"198.51.{i // 250}.{i % 250}", 2000)) for i in range(900)]
    before = snap(listener(80), *alive)
    assert not found("excessive-connection-churn", grown(before, Tcp__PassiveOpens=1000), before)


@pytest.mark.parametrize(("lost", "severity"), [(200, Severity.LOW), (500, Severity.MEDIUM), (2000, Severity.HIGH)])
def test_segments_repeated_between_the_looks_are_loss(lost, severity):
    before = snap()
    (finding,) = found("packet-loss", grown(before, Tcp__OutSegs=10_000, Tcp__RetransSegs=lost), before)
    assert finding.severity == severity


def test_ten_percent_lost_since_boot_and_none_now_is_no_loss():
    before = snap()
    assert not found("packet-loss", grown(before, Tcp__OutSegs=10_000), before)
    assert not found("packet-loss", before)
    assert not found("packet-loss", grown(before, Tcp__OutSegs=500, Tcp__RetransSegs=100), before)


def test_repeated_syns_are_no_packet_loss():
    before = snap()
    assert not found(
        "packet-loss", grown(before, Tcp__OutSegs=10_000, Tcp__RetransSegs=500, TcpExt__TCPSynRetrans=480), before
    )


def test_repetitions_the_peer_had_already_are_reordering():
    before = snap()
    findings = diagnose(grown(before, Tcp__OutSegs=10_000, Tcp__RetransSegs=500, TcpExt__TCPDSACKRecv=480), before)
    ids = [finding.id for finding in findings]
    assert "spurious-retransmit-reorder" in ids
    assert "packet-loss" not in ids


def test_needless_repetitions_of_a_busy_host_hide_no_loss():
    before = snap()
    after = grown(before, Tcp__OutSegs=10_000, Tcp__RetransSegs=1500, TcpExt__TCPDSACKRecv=900)
    (finding,) = found("packet-loss", after, before)
    assert finding.title.startswith("6.0 % ")
    assert any("only 600 of what was repeated was needed" in text for text in finding.counter_evidence)
    assert not found("spurious-retransmit-reorder", after, before)


def test_counters_that_went_backwards_judge_nothing():
    before = snap()
    after = before._replace(taken_ns=before.taken_ns + 2 * 10**9, counters=dict.fromkeys(before.counters, 5))
    assert not [finding for finding in diagnose(after, before) if finding.severity > Severity.INFO]


#: id, growth that is the illness, its severity, growth that is not
COUNTED = [
    ("rcvbuf-pruning", {"TcpExt__PruneCalled": 50}, Severity.LOW, {"TcpExt__PruneCalled": 1}),
    ("rcvbuf-pruning", {"TcpExt__RcvPruned": 50}, Severity.MEDIUM, {"TcpExt__TCPRcvCollapsed": 1}),
    ("rst-storm-sent", {"Tcp__OutRsts": 80, "TcpExt__TCPAbortOnClose": 70}, Severity.LOW, {"Tcp__OutRsts": 20}),
    ("rst-storm-sent", {"Tcp__OutRsts": 80, "TcpExt__TCPAbortOnMemory": 70}, Severity.HIGH, {}),
    ("rst-storm-sent", {"Tcp__OutRsts": 80, "TcpExt__TCPAbortOnData": 79}, Severity.INFO, {}),
    ("reset-by-peer-rate", {"Tcp__EstabResets": 60, "Tcp__PassiveOpens": 100}, Severity.MEDIUM, {"Tcp__EstabResets": 60, "TcpExt__TCPAbortOnTimeout": 58}),
    ("reset-by-peer-rate", {"Tcp__EstabResets": 60, "Tcp__PassiveOpens": 100}, Severity.MEDIUM, {"Tcp__EstabResets": 60, "Tcp__PassiveOpens": 4000}),
    ("ghost-reconnect", {"TcpExt__TCPSYNChallenge": 20, "TcpExt__TCPChallengeACK": 20, "Tcp__EstabResets": 5}, Severity.LOW, {"TcpExt__TCPSYNChallenge": 1}),
    ("ghost-reconnect", {"TcpExt__TCPSYNChallenge": 900, "TcpExt__TCPACKSkippedChallenge": 500}, Severity.MEDIUM, {}),
    ("checksum-errors", {"Tcp__InErrs": 20, "Tcp__InCsumErrors": 20}, Severity.MEDIUM, {"Tcp__InErrs": 20, "TcpExt__TCPSYNChallenge": 1}),
    ("paws-drops", {"TcpExt__PAWSEstab": 10}, Severity.LOW, {"TcpExt__PAWSEstab": 1}),
    ("paws-drops", {"TcpExt__PAWSEstab": 100}, Severity.MEDIUM, {}),
    ("paws-drops", {"TcpExt__PAWSTimewait": 90, "Tcp__PassiveOpens": 200}, Severity.MEDIUM, {"TcpExt__PAWSTimewait": 90, "Tcp__PassiveOpens": 50_000}),
    ("backlog-drop", {"TcpExt__TCPBacklogDrop": 10}, Severity.MEDIUM, {"TcpExt__TCPBacklogDrop": 1}),
    ("softnet-drop", {"softnet__dropped": 10}, Severity.MEDIUM, {"softnet__time_squeeze": 100}),
]  # fmt: skip


@pytest.mark.parametrize(("id", "growth", "severity", "harmless"), COUNTED)
def test_counter_growth_is_judged(id, growth, severity, harmless):
    before = snap(listener())
    (finding,) = found(id, grown(before, **growth), before)
    assert finding.severity == severity
    assert not found(id, grown(before, **harmless), before)


def reset_by(*rows: Reset) -> Finding:
    before = snap(listener(443))
    now = grown(before, Tcp__EstabResets=60, Tcp__PassiveOpens=100)._replace(resets=rows)
    (finding,) = found("reset-by-peer-rate", now, before)
    return finding


def test_resets_of_connections_the_server_had_closed_are_a_pool_that_keeps_them_too_long():
    finding = reset_by(Reset(THERE, 5432, False, State.CLOSE_WAIT, Owner(2215, "java", -1), 58))
    assert finding.title.endswith("written to after the server had closed them")
    assert any(f"java (2215) was reset 58 times by {THERE}:5432, in CLOSE_WAIT" in line for line in finding.evidence)
    assert "evictIdleConnections" in finding.remedies[0].text
    in_use = reset_by(Reset(THERE, 5432, False, State.ESTABLISHED, Owner(2215, "java", -1), 58))
    assert "after the server had closed" not in in_use.title


def test_resets_right_after_the_handshake_are_health_checks_and_later_ones_are_not():
    checks = reset_by(Reset(THERE, 443, True, State.ESTABLISHED, None, 58, young=57))
    assert checks.severity == Severity.INFO
    assert checks.confidence < reset_by(Reset(THERE, 443, True, State.ESTABLISHED, None, 58, young=9)).confidence
    assert reset_by(Reset(THERE, 443, True, State.ESTABLISHED, None, 58, young=9)).severity == Severity.MEDIUM
    assert any("not seen: by whom" in line for line in reset_by().counter_evidence)


def test_challenges_on_a_host_without_listeners_are_repeated_handshakes_of_servers():
    before = snap()
    assert not found("ghost-reconnect", grown(before, TcpExt__TCPSYNChallenge=20), before)


def test_resets_are_compared_with_what_is_usual_here():
    usual = History(looks=9, trends={"rate:Tcp.OutRsts": ((1, 30), (2, 32), (3, 31))})
    before = snap()
    assert not found(
        "rst-storm-sent", grown(before, Tcp__OutRsts=120, TcpExt__TCPAbortOnClose=120), before, history=usual
    )
    calm = History(looks=9, trends={"rate:Tcp.OutRsts": ((1, 0), (2, 0), (3, 0))})
    assert found("rst-storm-sent", grown(before, Tcp__OutRsts=20, TcpExt__TCPAbortOnClose=20), before, history=calm)


def test_loss_names_the_peer_it_goes_to():
    def sending(repeated: int) -> tuple[Socket, ...]:
        return tuple(
            sock(
                State.ESTABLISHED, (HERE, 40000 + i), (THERE, 443), info={"bytes_retrans": repeated}, cookie=33_000 + i
            )
            for i in range(8)
        )

    before = snap(*sending(100))
    (finding,) = found(
        "packet-loss", grown(before, sockets=sending(90_000), Tcp__OutSegs=10_000, Tcp__RetransSegs=500), before
    )
    assert any(f"{THERE} (100 %)" in line for line in finding.evidence)
