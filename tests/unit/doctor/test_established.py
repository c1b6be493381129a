"""F31 to F39, F41, F51, F52, F58: connections that are silent, stalled or held back, and those that only look so."""

from __future__ import annotations

from tests.unit.doctor.world import HERE, NOW_NS, THERE, client, grown, listener, snap, sock

from tcpscope.doctor import Thresholds, diagnose
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.history import History, Sighting
from tcpscope.model.packet_filter import FilterChain, FilterRule
from tcpscope.model.snapshot import Snapshot
from tcpscope.model.socket import Socket, Timer
from tcpscope.model.state import State

HOURS_3 = 3 * 3600 * 1000


def found(id: str, *arguments: Snapshot, **options: object) -> list[Finding]:
    return [finding for finding in diagnose(*arguments, **options) if finding.id == id]  # type: ignore[arg-type]


def silent(number: int, idle_ms: int = HOURS_3, segs_in: int = 40, remote: str = "", **fields: object) -> list[Socket]:
    info = {
        "last_ack_recv_ms": idle_ms,
        "last_data_recv_ms": idle_ms,
        "last_data_sent_ms": idle_ms,
        "data_segs_out": 3,
        "segs_in": segs_in,
    }
    return [
        sock(
            State.ESTABLISHED,
            (HERE, 6543),
            (remote or f"203.0.113.{i % 250}", 40000 + i),
            info=info,
            cookie=30_000 + i,
            **fields,
        )
        for i in range(number)
    ]


def watched(number: int, segs_in: int = 40) -> History:
    since = NOW_NS - 600 * 10**9
    key = int(State.ESTABLISHED)
    return History(looks=9, sightings={(0, 30_000 + i, key): Sighting(since, segs_in, since) for i in range(number)})


def test_established_silent_for_hours_and_watched_is_stale():
    (finding,) = found("half-open-stale", snap(listener(6543), *silent(30)), history=watched(30))
    assert finding.severity == Severity.MEDIUM
    assert any("on 30 no segment came in while we watched (up to 10 min)" in line for line in finding.evidence)


def test_established_silent_and_not_watched_is_only_told():
    (finding,) = found("half-open-stale", snap(listener(6543), *silent(30)))
    assert finding.severity == Severity.INFO
    assert finding.confidence < 0.3


def test_established_whose_peer_probes_is_alive():
    before = snap(listener(6543), *silent(30, segs_in=40))
    after = grown(before, 75, sockets=(listener(6543), *silent(30, segs_in=41)))
    assert not found("half-open-stale", after, before)


def test_established_with_keepalive_is_never_stale():
    assert not found(
        "half-open-stale", snap(listener(6543), *silent(30, timer=("keepalive", 60_000))), history=watched(30)
    )


def test_established_pool_idle_for_minutes_is_healthy():
    findings = diagnose(snap(listener(6543), *silent(30, idle_ms=200_000)), history=watched(30))
    assert all(finding.severity == Severity.INFO for finding in findings)


def test_established_ghosts_of_a_client_that_came_back_are_found():
    fresh = sock(State.ESTABLISHED, (HERE, 6543), (THERE, 39999), info={"last_ack_recv_ms": 5, "last_data_recv_ms": 5})
    (finding,) = found("half-open-stale", snap(listener(6543), *silent(10, remote=THERE), fresh))
    assert finding.severity == Severity.MEDIUM
    assert any(f"{THERE} has come back" in line for line in finding.evidence)


def test_established_on_loopback_whose_other_end_is_visible_is_alive():
    ends = silent(30, remote=HERE)
    others = [one._replace(local=one.remote, remote=one.local, cookie=one.cookie + 500) for one in ends]
    assert not found("half-open-stale", snap(listener(6543), *ends, *others), history=watched(30))


def test_long_idle_far_away_without_keepalive_is_low_and_nearby_nothing():
    (finding,) = found("no-keepalive-on-long-idle", snap(*silent(12, idle_ms=400_000)))
    assert finding.severity == Severity.LOW
    near = [one._replace(remote=one.remote._replace(address="192.0.2.77")) for one in silent(12, idle_ms=400_000)]
    assert not found("no-keepalive-on-long-idle", snap(*near))
    assert not found("no-keepalive-on-long-idle", snap(*silent(12, idle_ms=400_000, timer=("keepalive", 9000))))


def test_keepalive_due_in_two_hours_is_info():
    (finding,) = found("keepalive-sysctl-too-long", snap(*silent(2, idle_ms=1000, timer=("keepalive", 7_000_000))))
    assert finding.severity == Severity.INFO
    assert not found("keepalive-sysctl-too-long", snap(*silent(2, idle_ms=1000, timer=("keepalive", 60_000))))


def test_keepalive_of_four_seconds_is_too_aggressive():
    assert found(
        "keepalive-too-aggressive",
        snap(sysctls={"net.ipv4.tcp_keepalive_intvl": "2", "net.ipv4.tcp_keepalive_probes": "2"}),
    )
    assert not found("keepalive-too-aggressive", snap())


def stalled(number: int, repeats: int, silence_ms: int, **info: int) -> list[Socket]:
    told = {
        "rto_us": 200_000 << repeats,
        "retransmits": repeats,
        "backoff": repeats,
        "unacked": 1,
        "last_ack_recv_ms": silence_ms,
        "last_data_recv_ms": silence_ms,
        "bytes_acked": 900,
        **info,
    }
    return [
        sock(State.ESTABLISHED, (HERE, 40000 + i), (THERE, 443), send_q=info.get("send_q", 1000), timer=("on", 100, repeats),
             info={key: value for key, value in told.items() if key != "send_q"}, cookie=31_000 + i)
        for i in range(number)
    ]  # fmt: skip


def test_data_repeated_without_acknowledgement_is_a_stall():
    (finding,) = found("retransmission-stall", snap(*stalled(1, 6, 13_500)))
    assert finding.severity == Severity.HIGH
    assert "ETIMEDOUT" in finding.explanation
    assert found("retransmission-stall", snap(*stalled(1, 3, 3500)))[0].severity == Severity.MEDIUM


def test_data_in_flight_or_repeated_once_is_no_stall():
    assert not found("retransmission-stall", snap(*stalled(5, 1, 400)))
    in_flight = [one._replace(timer=one.timer._replace(retransmits=0)) for one in stalled(5, 0, 20) if one.timer]
    assert not found("retransmission-stall", snap(*in_flight))


def test_data_repeated_after_a_long_silence_is_a_forgotten_connection():
    findings = diagnose(snap(*stalled(1, 6, 400_000, bytes_received=50)))
    ids = [finding.id for finding in findings]
    assert "idle-firewall-drop" in ids
    assert "retransmission-stall" not in ids
    assert not found("idle-firewall-drop", snap(*stalled(1, 6, 20_000, bytes_received=50)))


def test_full_segments_lost_while_small_ones_pass_is_a_black_hole_for_mtu():
    small = sock(State.ESTABLISHED, (HERE, 41000), (THERE, 443), info={"last_ack_recv_ms": 40, "last_data_recv_ms": 40})
    big = stalled(2, 6, 26_000, send_q=20_000)
    findings = diagnose(snap(*big, small))
    ids = [finding.id for finding in findings]
    assert "pmtu-blackhole" in ids
    assert "retransmission-stall" not in ids
    assert not found("pmtu-blackhole", snap(*big))


def test_a_stall_of_ten_minutes_is_not_taken_for_idleness_before_it():
    # Linux 6.18: 1000 octets sent 2.7 s after the last ACK, repeated 13 times; the timeout stands at its two minutes.
    info = {"rto_us": 120_000_000, "rtt_us": 19, "rttvar_us": 9, "bytes_received": 1}
    (once,) = stalled(1, 13, 632_416, **info)
    findings = diagnose(snap(once._replace(timer=Timer("on", 66_360, 13))))
    (stall,) = [one for one in findings if one.id in ("retransmission-stall", "idle-firewall-drop")]
    assert stall.id == "retransmission-stall"
    assert any("over 10 min 18 s" in line for line in stall.evidence), stall.evidence


def test_a_stall_of_one_connection_is_not_one_of_its_host():
    """Another connection to the host has ended properly meanwhile: its SYNs to another port vanish for a reason of their own."""
    hung = [
        sock(State.SYN_SENT, (HERE, 50_000 + n), (THERE, 5001), timer=("on", 9000, 8), info={"retransmits": 8})
        for n in range(12)
    ]
    stall = stalled(1, 6, 13_500)
    alone = {finding.id: finding for finding in diagnose(snap(*stall, *hung))}
    assert alone["syn-sent-blackhole"].explained_by == "retransmission-stall"
    ended = sock(State.TIME_WAIT, (HERE, 48_000), (THERE, 6000), kind="mini", timer=("timewait", 55_000), who=None)
    both = {finding.id: finding for finding in diagnose(snap(*stall, *hung, ended))}
    assert not both["syn-sent-blackhole"].explained_by
    assert any("the host is alive" in line for line in both["retransmission-stall"].counter_evidence)


def kept_here(**info: int) -> Socket:
    """As Linux 6.18 shows a connection whose segments the own packet filter drops before anything is on its way."""
    told = {
        "snd_wnd": 64_512,
        "snd_mss": 1448,
        "notsent_bytes": 1000,
        "data_segs_out": 15,
        "last_data_sent_ms": 22_136,
        **info,
    }
    return sock(State.ESTABLISHED, (HERE, 9100), (THERE, 42_778), send_q=1000, timer=("persist", 97_000, 14), info=told)


def test_data_kept_back_while_the_window_is_open_is_not_blamed_on_the_peer():
    findings = diagnose(snap(kept_here()))
    assert [one.id for one in findings if one.id in ("retransmission-stall", "zero-window-peer-slow")] == [
        "retransmission-stall"
    ]
    (finding,) = found("retransmission-stall", snap(kept_here()))
    assert "does not leave this host" in finding.title
    assert found("zero-window-peer-slow", snap(kept_here(snd_wnd=0)))
    assert not found("retransmission-stall", snap(kept_here(snd_wnd=0)))


def test_data_kept_back_names_the_rule_that_matches_its_source_port():
    rule = FilterRule(4, "drop", from_ports=((9100, 9100),))
    chain = FilterChain("inet", "t", "o", "output", 0, "accept", (rule,))
    (finding,) = found("retransmission-stall", snap(kept_here())._replace(packet_filter=(chain,)))
    assert any("from port 9100 drop" in line for line in finding.evidence)
    other = chain._replace(rules=(rule._replace(from_ports=((9101, 9101),)),))
    (unnamed,) = found("retransmission-stall", snap(kept_here())._replace(packet_filter=(other,)))
    assert not any("chain" in line for line in unnamed.evidence)


def held_back(since_ms: int) -> list[Socket]:
    info = {
        "data_segs_out": 50,
        "last_data_sent_ms": since_ms,
        "busy_time_us": 10_000_000,
        "rwnd_limited_us": 9_000_000,
        "probes": 2,
    }
    return [sock(State.ESTABLISHED, (HERE, 40000), (THERE, 80), send_q=33_624, timer=("persist", 900, 2), info=info)]


def test_zero_window_for_a_minute_is_a_peer_that_does_not_read():
    (finding,) = found("zero-window-peer-slow", snap(*held_back(70_000)))
    assert finding.severity == Severity.HIGH
    assert any("90 % of their sending time" in line for line in finding.evidence)
    assert found("zero-window-peer-slow", snap(*held_back(20_000)))[0].severity == Severity.MEDIUM


def test_zero_window_for_a_moment_is_back_pressure():
    assert not found("zero-window-peer-slow", snap(*held_back(2000)))


def test_zero_window_with_the_reader_in_sight_names_it():
    reader = sock(
        State.ESTABLISHED,
        (THERE, 80),
        (HERE, 40000),
        recv_q=127_480,
        who=(9, "slow"),
        info={"last_data_recv_ms": 70_000},
    )
    findings = diagnose(snap(*held_back(70_000), reader))
    ids = [finding.id for finding in findings]
    assert ids.index("reader-stalled-locally") < ids.index("zero-window-peer-slow")
    sender = findings[ids.index("zero-window-peer-slow")]
    assert sender.explained_by == "reader-stalled-locally"
    assert any("slow (9) has 124 KiB unread" in line for line in sender.evidence)


def reading(recv_q: int, received: int, quiet_ms: int = 8000) -> tuple[Socket, ...]:
    return (
        sock(
            State.ESTABLISHED,
            recv_q=recv_q,
            info={"bytes_received": received, "last_data_recv_ms": quiet_ms},
            cookie=32_000,
        ),
    )


def test_receive_queue_that_does_not_move_is_a_stalled_reader():
    before = snap(*reading(100_000, 500_000))
    assert found("reader-stalled-locally", grown(before, sockets=reading(100_000, 500_000)), before)


def test_receive_queue_of_a_bulk_receiver_moves():
    before = snap(*reading(100_000, 500_000))
    assert not found("reader-stalled-locally", grown(before, sockets=reading(90_000, 500_000)), before)
    assert not found("reader-stalled-locally", grown(before, sockets=reading(100_000, 900_000, 1)), before)


def test_send_buffer_that_limits_a_long_transfer_is_info():
    info = {"busy_time_us": 60_000_000, "sndbuf_limited_us": 40_000_000}
    busy = sock(State.ESTABLISHED, send_q=90_000, info=info)
    assert found("sndbuf-limited", snap(busy))[0].severity == Severity.INFO
    short = sock(State.ESTABLISHED, send_q=90_000, info={**info, "busy_time_us": 900_000})
    assert not found("sndbuf-limited", snap(short))


def crowd(number: int, received: int, answered: int, silent_ms: int = 20_000) -> list[Socket]:
    info = {"bytes_received": received, "data_segs_out": answered, "last_data_sent_ms": silent_ms}
    return [sock(State.ESTABLISHED, (HERE, 80), (THERE, 1024 + i), info=info) for i in range(number)]


def test_one_address_with_unfinished_requests_is_slowloris_and_a_busy_nat_is_not():
    (finding,) = found("conn-concentration", snap(listener(80), *crowd(150, 200, 0)))
    assert finding.severity == Severity.MEDIUM
    (nat,) = found("conn-concentration", snap(listener(80), *crowd(150, 90_000, 40)))
    assert nat.severity == Severity.INFO
    assert not found("conn-concentration", snap(listener(80), *crowd(90, 200, 0)))


def test_one_address_whose_requests_have_just_come_is_busy_and_no_slowloris():
    (load,) = found("conn-concentration", snap(listener(80), *crowd(250, 40, 0, silent_ms=30)))
    assert load.severity == Severity.INFO


def test_shorter_idle_limit_makes_a_young_silence_stale():
    shorter = Thresholds({"half-open-stale.idle_s": 5, "half-open-stale.watch_s": 1})
    before = snap(listener(6543), *silent(30, idle_ms=6000))
    assert found("half-open-stale", grown(before), before, thresholds=shorter)[0].severity == Severity.MEDIUM


def test_client_addresses_are_normalised_before_grouping():
    mapped = [
        one._replace(remote=one.remote._replace(address=f"::ffff:{one.remote.address}")) for one in crowd(150, 200, 0)
    ]
    assert f"{THERE} holds 150" in found("conn-concentration", snap(listener(80), *mapped))[0].title
    assert client(1)
