"""Remedies never make a setting worse, keep what is set, and name what they speak of."""

import pytest
from tests.unit.doctor.world import client, grown, listener, process, snap, sock

from tcpscope.doctor import diagnose
from tcpscope.doctor.aims import is_met
from tcpscope.doctor.tuning import SETTINGS, Tuned, tuned
from tcpscope.model.finding import Severity
from tcpscope.model.state import State

IP = "net.ipv4."


@pytest.mark.parametrize(
    ("name", "current", "wanted", "met"),
    [
        ("net.core.somaxconn", "65535", "4096", True),
        ("net.core.somaxconn", "128", "4096", False),
        (IP + "tcp_max_tw_buckets", "500000", "262144", True),
        (IP + "tcp_rmem", "4096 131072 67108864", "4096 131072 33554432", True),
        (IP + "tcp_rmem", "4096 87380 67108864", "4096 131072 33554432", False),
        (IP + "tcp_retries2", "5", "8", True),
        (IP + "tcp_retries2", "15", "8", False),
        (IP + "tcp_fin_timeout", "15", "30", True),
        (IP + "ip_local_port_range", "1024 65535", "32768 60999", True),
        (IP + "ip_local_port_range", "40000 60999", "32768 60999", False),
        (IP + "tcp_orphan_retries", "0", "3", False),
        (IP + "tcp_orphan_retries", "2", "3", True),
        (IP + "tcp_orphan_retries", "5", "0", True),
        (IP + "tcp_tw_reuse", "1", "2", True),
        (IP + "tcp_tw_reuse", "2", "1", False),
        (IP + "tcp_tw_reuse", "0", "2", False),
        (IP + "tcp_syncookies", "2", "1", False),
        (IP + "tcp_mtu_probing", "2", "1", True),
        (IP + "tcp_sack", "x", "1", False),
    ],
)
def test_present_value_as_good_as_the_wanted_one(name, current, wanted, met):
    assert is_met(name, current, wanted) == met


def test_tune_leaves_what_is_better_and_what_the_doctor_advised_alone():
    kept = {
        "net.core.somaxconn": "65535",
        IP + "ip_local_port_range": "1024 65535",
        IP + "tcp_tw_reuse": "1",
        IP + "tcp_retries2": "6",
        IP + "tcp_keepalive_time": "60",
    }
    assert not [row.setting.name for row in tuned(kept) if row.needs_change]


def test_tune_changes_what_the_doctor_warns_of_though_the_aim_is_met():
    harmful = {IP + "tcp_retries2": "3", IP + "tcp_fin_timeout": "5", IP + "tcp_orphan_retries": "1"}
    changed = {row.setting.name for row in tuned(harmful) if row.needs_change}
    assert changed == set(harmful)
    assert not [row for row in SETTINGS if row.recommended and Tuned(row, row.recommended).needs_change]


def waiting(number):
    return [
        sock(State.TIME_WAIT, ("192.0.2.10", 40000 + i), ("198.51.100.20", 443), who=None, kind="mini")
        for i in range(number)
    ]


def exhausted(**sysctls):
    named = {IP + name: value for name, value in sysctls.items()}
    (finding,) = [
        one
        for one in diagnose(
            snap(
                *waiting(100),
                listener(8080),
                listener(9000),
                sysctls={IP + "ip_local_port_range": "40000 40099", **named},
            )
        )
        if one.id.startswith("ephemeral")
    ]
    return [remedy.text for remedy in finding.remedies]


def test_reserved_ports_are_added_to_those_there_are():
    (line,) = [text for text in exhausted(ip_local_reserved_ports="7000-7010,9000") if "reserved" in text]
    assert line.startswith("net.ipv4.ip_local_reserved_ports = 7000-7010,9000,8080    # now 7000-7010,9000")
    assert not [text for text in exhausted(ip_local_reserved_ports="8000-9100") if "reserved" in text]


def test_narrow_range_is_told_once_with_the_exhaustion_it_brings():
    findings = diagnose(snap(*waiting(100), sysctls={IP + "ip_local_port_range": "40000 40099"}))
    assert not [one for one in findings if one.id == "sysctl-lint"]
    assert [
        one for one in diagnose(snap(sysctls={IP + "ip_local_port_range": "40000 40099"})) if one.id == "sysctl-lint"
    ]


def flood(sources, cookies="1"):
    requests = [
        sock(
            State.SYN_RECEIVED,
            ("192.0.2.10", 8080),
            (f"198.51.100.{i % sources}", 1000 + i),
            who=None,
            kind="request",
            timer=("on", 900, 2),
        )
        for i in range(129)
    ]
    before = snap(listener(backlog=128, cookie=1), *requests, sysctls={IP + "tcp_syncookies": cookies})
    names = {"TcpExt__SyncookiesSent": 900} if cookies == "1" else {"TcpExt__TCPReqQFullDrop": 900}
    findings = diagnose(grown(before, **names), before)
    return findings, next(one for one in findings if one.id == "syn-flood")


def test_flood_from_forged_addresses_is_not_limited_by_address():
    _, forged = flood(129)
    assert not any("limit rate" in remedy.text for remedy in forged.remedies)
    assert any("upstream" in remedy.text for remedy in forged.remedies)
    _, few = flood(3)
    assert any("limit rate over 20/second" in remedy.text for remedy in few.remedies)


def test_flood_without_cookies_says_so_once():
    findings, finding = flood(129, cookies="0")
    assert finding.remedies[0].text.startswith("net.ipv4.tcp_syncookies = 1    # now 0")
    assert "those of real clients too" in finding.explanation
    assert not [one for one in findings if one.id == "sysctl-lint"]


def test_dead_peer_is_one_cause_for_all_that_it_leaves_behind():
    far = "198.51.100.20"
    stalled = [
        sock(
            State.ESTABLISHED,
            remote=(far, 50000 + i),
            send_q=100,
            timer=("on", 900, 6),
            info={"last_ack_recv_ms": 20_000, "backoff": 6},
        )
        for i in range(4)
    ]
    closing = [
        sock(state, remote=(far, 51000 + number * 100 + i), who=None, send_q=1, timer=("on", 900, 6), age_s=20)
        for number, state in enumerate((State.FIN_WAIT_1, State.LAST_ACK))
        for i in range(12)
    ]
    findings = {one.id: one for one in diagnose(snap(*stalled, *closing, listener()))}
    assert findings["fin-wait1-stuck"].explained_by == "retransmission-stall"
    assert findings["last-ack-pile"].explained_by == "retransmission-stall"
    alone = {one.id: one for one in diagnose(snap(*closing, listener()))}
    assert alone["last-ack-pile"].explained_by == "fin-wait1-stuck"


def test_peer_that_pauses_is_asked_to_read_at_the_peer():
    held = sock(State.ESTABLISHED, send_q=33_000, timer=("persist", 900, 9), info={"probes": 9})
    (finding,) = [one for one in diagnose(snap(held)) if one.id == "zero-window-peer-slow"]
    assert finding.remedies[0].text.startswith("at the peer: ")


def test_orphans_that_are_young_are_no_pile():
    def pile(left_ms):
        return [
            sock(State.FIN_WAIT_2, remote=client(50000 + i), who=None, kind="mini", timer=("timewait", left_ms, 0))
            for i in range(60)
        ]

    assert [one for one in diagnose(snap(*pile(50_000))) if one.id == "fin-wait2-orphan-pile"]
    assert not [one for one in diagnose(snap(*pile(58_000))) if one.id == "fin-wait2-orphan-pile"]


def test_silent_idle_connections_are_said_to_be_lost_only_as_surely_as_they_are():
    idle = [
        sock(
            State.ESTABLISHED,
            remote=client(50000 + i),
            info={
                "last_ack_recv_ms": 8_000_000,
                "last_data_recv_ms": 8_000_000,
                "last_data_sent_ms": 8_000_000,
                "data_segs_out": 3,
                "segs_in": 4,
            },
        )
        for i in range(25)
    ]
    before = snap(*idle, listener())
    (finding,) = [one for one in diagnose(grown(before, seconds=70), before) if one.id == "half-open-stale"]
    assert finding.severity == Severity.MEDIUM
    assert ("may have" in finding.title) == (finding.confidence < 0.5)
    assert any("sport = :8080'" in remedy.text for remedy in finding.remedies)


def test_descriptors_that_are_gone_say_in_which_states():
    held = [sock(State.ESTABLISHED, remote=client(50000 + i)) for i in range(60)]
    full = process(fd_limit=64, open_fds=64)
    (finding,) = [
        one
        for one in diagnose(snap(listener(waiting=9, backlog=8), *held, processes=(full,)))
        if one.id == "accept-stalled-by-fd-limit"
    ]
    assert any("60 ESTABLISHED" in line for line in finding.evidence)
