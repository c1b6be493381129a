"""F42, F43, F47 to F50, F57, F60 to F67: what runs out, who listens, and settings that hurt."""

from __future__ import annotations

import pytest
from tests.unit.doctor.world import HERE, HISTORY, NOW_NS, THERE, client, grown, listener, process, snap, sock

from tcpscope.doctor import diagnose
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.history import History, KnownListener
from tcpscope.model.packet_filter import FilterChain, FilterRule
from tcpscope.model.snapshot import ControlGroup, Coverage, Snapshot
from tcpscope.model.socket import Age, Owner
from tcpscope.model.state import State

INPUT = FilterChain("inet", "filter", "input", "input")
INPUT_DROPS = INPUT._replace(policy="drop")
DROP_6379 = FilterRule(7, "drop", to_ports=((6379, 6379),))
ACCEPT_6379 = DROP_6379._replace(verdict="accept")


def found(id: str, *arguments: Snapshot, **options: object) -> list[Finding]:
    return [finding for finding in diagnose(*arguments, **options) if finding.id == id]  # type: ignore[arg-type]


@pytest.mark.parametrize(("pages", "severity"), [(130_000, Severity.HIGH), (180_000, Severity.CRITICAL)])
def test_memory_above_the_pressure_line_is_found(pages, severity):
    assert found("tcp-memory-pressure", snap(limits={"sockstat.TCP.mem": pages}))[0].severity == severity


def test_memory_below_the_pressure_line_is_fine_whatever_was_aborted_since_boot():
    assert not found("tcp-memory-pressure", snap(limits={"sockstat.TCP.mem": 90_000}))


@pytest.mark.parametrize(("number", "severity"), [(20_000, Severity.MEDIUM), (40_000, Severity.CRITICAL)])
def test_orphans_are_judged_by_their_share_of_the_limit(number, severity):
    assert found("too-many-orphans", snap(limits={"sockstat.TCP.orphan": number}))[0].severity == severity
    assert not found("too-many-orphans", snap(limits={"sockstat.TCP.orphan": 10_000}))


def holding(number: int, **fields: object):
    return process(open_fds=number + 20, socket_inodes=tuple(range(900_000, 900_000 + number)), **fields)


def test_descriptors_of_sockets_in_no_list_are_zombies():
    (finding,) = found("zombie-socket-fds", snap(processes=(holding(60),)))
    assert finding.severity == Severity.MEDIUM
    before = snap(processes=(holding(60),))
    (growing,) = found("zombie-socket-fds", grown(before)._replace(processes={2215: holding(70)}), before)
    assert growing.severity == Severity.HIGH
    share = found("zombie-socket-fds", snap(processes=(holding(15),)))
    assert share


def test_descriptors_of_unix_sockets_are_no_zombies():
    unix = frozenset(range(900_000, 900_060))
    assert not found("zombie-socket-fds", snap(processes=(holding(60),), other_inodes=unix))


def test_descriptors_of_a_process_in_another_namespace_are_not_judged():
    elsewhere = snap(processes=(holding(4000, netns=7, fd_limit=4096),), netns=3)
    assert not [finding for finding in diagnose(elsewhere) if finding.severity > Severity.INFO]


@pytest.mark.parametrize(("open_fds", "severity"), [(3500, Severity.MEDIUM), (4000, Severity.HIGH)])
def test_descriptors_near_the_limit_are_told(open_fds, severity):
    (finding,) = found("fd-exhaustion-near", snap(processes=(process(open_fds=open_fds),)))
    assert finding.severity == severity
    assert not found("fd-exhaustion-near", snap(processes=(process(open_fds=1000),)))


def test_descriptors_eaten_by_a_leak_are_its_symptom():
    leak = [sock(State.CLOSE_WAIT, remote=client(50000 + i), info={"last_ack_recv_ms": 90_000}) for i in range(3500)]
    findings = diagnose(snap(*leak, processes=(process(open_fds=3560),)))
    symptom = next(finding for finding in findings if finding.id == "fd-exhaustion-near")
    assert symptom.explained_by == "close-wait-leak"
    assert findings[0].id == "close-wait-leak"


def test_machine_file_handles_near_the_limit_are_told():
    assert found("fd-exhaustion-near", snap(limits={"file-nr.allocated": 9000, "file-nr.max": 10_000}))


def test_unlisted_sockets_rising_over_three_looks_are_a_leak():
    rising = History(looks=3, trends={"unlisted:1 seen": ((1, 10), (2, 200))})
    assert found("system-sockets-leak", snap(limits={"sockstat.TCP.alloc": 900}), history=rising)
    assert not found("system-sockets-leak", snap(limits={"sockstat.TCP.alloc": 100}), history=rising)


def test_unlisted_sockets_alarm_only_where_every_namespace_was_looked_at():
    alloc = {"sockstat.TCP.alloc": 500}
    alone = History(looks=3, trends={"unlisted:1 seen": ((1, 10), (2, 200))})
    (finding,) = found("system-sockets-leak", snap(limits=alloc), history=alone)
    assert finding.severity == Severity.INFO
    both = History(looks=3, trends={"unlisted:2 seen": ((1, 10), (2, 200))})
    (finding,) = found("system-sockets-leak", snap(limits=alloc), history=both, others=[snap()])
    assert finding.severity == Severity.MEDIUM
    assert not found("system-sockets-leak", snap(limits=alloc), history=alone, others=[snap()]), "not comparable"


def shared(state: State, **fields: object):
    return sock(state, owners=(Owner(5, "app", 3), Owner(6, "app", 3)), info={"last_ack_recv_ms": 90_000}, **fields)


def test_close_wait_held_by_two_processes_names_both_and_an_sshd_pair_is_info():
    (finding,) = found("shared-socket-holders", snap(shared(State.CLOSE_WAIT)))
    assert finding.severity == Severity.MEDIUM
    assert "app (5) and app (6)" in finding.title
    assert found("shared-socket-holders", snap(shared(State.ESTABLISHED)))[0].severity == Severity.INFO
    prefork = listener(80, owners=(Owner(5, "nginx", 3), Owner(6, "nginx", 3)))
    assert not found("shared-socket-holders", snap(prefork))


@pytest.mark.parametrize(("entries", "severity"), [(88_000, Severity.MEDIUM), (97_000, Severity.HIGH)])
def test_conntrack_table_is_judged_by_its_share(entries, severity):
    limits = {"nf_conntrack_count": entries, "nf_conntrack_max": 100_000}
    assert found("conntrack-table-full", snap(limits=limits))[0].severity == severity
    assert not found("conntrack-table-full", snap(limits={**limits, "nf_conntrack_count": 50_000}))


def test_conntrack_that_evicts_and_refuses_nobody_is_doubted():
    before = snap(limits={"nf_conntrack_count": 97_000, "nf_conntrack_max": 100_000})
    sure = found("conntrack-table-full", grown(before, nf_conntrack__x=1), before)[0]
    counted = before._replace(counters={**before.counters, "nf_conntrack.early_drop": 5})
    evicting = found("conntrack-table-full", grown(counted, nf_conntrack__early_drop=4458), counted)[0]
    assert evicting.confidence < sure.confidence


# exposure


def test_redis_on_every_address_is_high_and_on_loopback_nothing():
    (finding,) = found("exposed-listener", snap(listener(6379, "::", who=(8, "redis-server"), v6only=False)))
    assert finding.severity == Severity.HIGH
    assert any("v4+v6" in line for line in finding.evidence)
    assert any("protected-mode" in remedy.text for remedy in finding.remedies)
    assert not found("exposed-listener", snap(listener(6379, "127.0.0.1")))
    assert not found("exposed-listener", snap(listener(6379, "10.1.2.3")))
    assert found("exposed-listener", snap(listener(5432, "8.8.4.4")))[0].severity == Severity.MEDIUM


@pytest.mark.parametrize(
    ("port", "command", "severity"),
    [
        (5678, ("python3", "app.py"), Severity.INFO),
        (5678, ("python3", "-m", "debugpy", "--listen", "0.0.0.0:5678"), Severity.HIGH),
        (8888, ("python3", "-m", "http.server", "8888"), Severity.INFO),
        (8888, ("python3", "/usr/bin/jupyter-lab"), Severity.MEDIUM),
        (5678, (), Severity.HIGH),
    ],
)
def test_interpreter_on_a_sensitive_port_is_judged_by_its_command_line(port, command, severity):
    runner = process(8, "python3", command=command)
    (finding,) = found("exposed-listener", snap(listener(port, who=(8, "python3")), processes=(runner,)))
    assert finding.severity == severity


def test_another_program_on_a_sensitive_port_is_named_and_no_alarm():
    (finding,) = found("exposed-listener", snap(listener(9000, "0.0.0.0", who=(8, "python3"))))
    assert finding.severity == Severity.INFO
    assert "PHP" not in finding.title
    assert not any("php-fpm" in remedy.text for remedy in finding.remedies)
    for name in ("php-fpm8.2", "docker-proxy"):
        (finding,) = found("exposed-listener", snap(listener(9000, "0.0.0.0", who=(8, name))))
        assert finding.severity == Severity.HIGH


def test_sshd_on_every_address_is_meant_so():
    assert not found("exposed-listener", snap(listener(22, who=(9, "sshd"))))
    assert found("exposed-listener", snap(listener(22, who=(9, "nc"))))


def test_listener_behind_a_filter_that_drops_is_not_exposed():
    assert not found("exposed-listener", snap(listener(6379), packet_filter=(INPUT_DROPS,)))
    assert not found("exposed-listener", snap(listener(6379), packet_filter=(INPUT._replace(rules=(DROP_6379,)),)))
    restricted = INPUT_DROPS._replace(rules=(ACCEPT_6379._replace(is_partial=True),))
    assert not found("exposed-listener", snap(listener(6379), packet_filter=(restricted,)))


def test_listener_that_the_filter_lets_pass_is_exposed():
    for rules in ((), (ACCEPT_6379,), (DROP_6379._replace(to_ports=((80, 80),)),), (DROP_6379._replace(family="ip6"),)):
        chain = INPUT._replace(rules=rules)
        assert found("exposed-listener", snap(listener(6379), packet_filter=(chain,))), rules
    opened = INPUT_DROPS._replace(rules=(ACCEPT_6379,))
    assert found("exposed-listener", snap(listener(6379), packet_filter=(opened,))), (
        "policy drop, and an exception for all"
    )
    some = INPUT._replace(rules=(DROP_6379._replace(is_partial=True),))
    (finding,) = found("exposed-listener", snap(listener(6379), packet_filter=(some,)))
    assert any("rule 7 of chain inet filter input" in line for line in finding.counter_evidence)
    assert any("not seen" in line for line in found("exposed-listener", snap(listener(6379)))[0].counter_evidence)


def test_service_behind_the_hosts_own_packet_filter_is_explained():
    shut = INPUT._replace(rules=(DROP_6379._replace(packets=9),))
    before = snap(listener(6379), listener(80), packet_filter=(INPUT._replace(rules=(DROP_6379._replace(packets=2),)),))
    (finding,) = found("loopback-only-service", grown(before)._replace(packet_filter=(shut,)), before)
    assert finding.severity == Severity.INFO
    assert finding.title.endswith("packet filter drops new connections to port 6379 from outside")
    assert any("+7 packets" in line for line in finding.evidence)
    assert not found("loopback-only-service", snap(listener(80), packet_filter=(shut,)))


def test_shell_that_listens_is_unexpected_and_a_daemon_is_not():
    (finding,) = found("unexpected-listener", snap(listener(4444, who=(66, "nc"))))
    assert finding.severity == Severity.MEDIUM
    assert not found("unexpected-listener", snap(listener(4444, who=(66, "java"))))


def test_listener_that_was_not_there_in_three_days_is_told():
    old = {(0, "0.0.0.0", 80): KnownListener(NOW_NS - 10**15, NOW_NS, "nginx", 1000)}
    history = HISTORY._replace(listeners=old)
    ids = [
        finding.scope
        for finding in diagnose(snap(listener(80), listener(9999)), history=history)
        if finding.id == "unexpected-listener"
    ]
    assert ids == ["0.0.0.0:9999"]


def test_listener_of_a_deleted_file_in_tmp_is_hiding_and_after_an_upgrade_low():
    hidden = process(executable="/tmp/.x (deleted)")
    assert found("deleted-executable-listening", snap(listener(), processes=(hidden,)))[0].severity == Severity.HIGH
    upgraded = process(executable="/usr/bin/java (deleted)")
    assert found("deleted-executable-listening", snap(listener(), processes=(upgraded,)))[0].severity == Severity.LOW
    assert not found("deleted-executable-listening", snap(listener()))


def test_dual_stack_listener_behind_a_filter_for_one_family_is_a_surprise():
    half = (INPUT._replace(rules=(FilterRule(3, "drop", family="ip"),)),)
    both = listener(8080, "::", v6only=False)
    assert found("dual-stack-surprise", snap(both, packet_filter=half))
    assert not found("dual-stack-surprise", snap(both, packet_filter=(INPUT,)))
    assert not found("dual-stack-surprise", snap(both, packet_filter=(INPUT_DROPS,)))
    assert not found("dual-stack-surprise", snap(listener(8080, "::", v6only=True), packet_filter=half))


def test_loopback_only_and_ownerless_listeners_are_explained_once():
    findings = diagnose(snap(listener(5000, "127.0.0.1"), listener(5001, "::1"), listener(2049, who=None)))
    assert [finding.id for finding in findings].count("loopback-only-service") == 1
    assert [finding.id for finding in findings].count("world-listening-without-owner") == 1
    assert all(
        finding.severity == Severity.INFO for finding in findings if finding.id.startswith(("loopback", "world"))
    )


@pytest.mark.parametrize(
    ("name", "value", "severity"),
    [
        ("net.ipv4.tcp_syncookies", "0", Severity.HIGH),
        ("net.ipv4.tcp_timestamps", "0", Severity.MEDIUM),
        ("net.ipv4.tcp_tw_reuse", "1", Severity.INFO),
        ("net.ipv4.tcp_tw_recycle", "1", Severity.CRITICAL),
        ("net.ipv4.ip_local_port_range", "40000 40100", Severity.LOW),
        ("net.core.somaxconn", "128", Severity.LOW),
    ],
)
def test_settings_that_hurt_are_named_with_their_value(name, value, severity):
    (finding,) = found("sysctl-lint", snap(sysctls={name: value}))
    assert finding.severity == severity
    assert finding.scope == name
    assert f"now {value}" in finding.remedies[0].text or "already" in finding.remedies[0].text


def test_default_settings_are_not_linted():
    assert not found("sysctl-lint", snap())


def test_sockets_without_visible_owner_lower_what_is_claimed():
    partial = Coverage("live", "sock_diag", "procfs", sockets_without_owner=3)
    (finding,) = found(
        "tool-visibility",
        snap(
            sock(State.ESTABLISHED),
            *[sock(State.ESTABLISHED, remote=client(i)) for i in range(1, 10)],
            coverage=partial,
        ),
    )
    assert "70 %" in finding.evidence[0]
    assert not found("tool-visibility", snap(sock(State.ESTABLISHED)))
    assert HERE != THERE


def test_children_of_one_server_that_share_connections_are_told_once():
    shared = [
        sock(State.ESTABLISHED, remote=client(50000 + i), owners=(Owner(100, "srv", 4), Owner(101 + i, "srv", 4)))
        for i in range(20)
    ]
    (finding,) = found("shared-socket-holders", snap(*shared))
    assert finding.severity == Severity.INFO
    assert finding.title.startswith("20 connections are held by several processes of srv each")
    leaking = [one._replace(state=State.CLOSE_WAIT, age=Age(90_000, "bound")) for one in shared[:2]]
    assert [one.severity for one in found("shared-socket-holders", snap(*leaking))] == [Severity.MEDIUM] * 2


def test_control_group_full_of_socket_buffers_is_named_and_one_full_of_other_memory_is_not():
    mib = 1 << 20
    group = ControlGroup("/app.slice/web", 120 * mib, 250 * mib, 256 * mib)
    above = ControlGroup("/app.slice", 120 * mib, 255 * mib, 256 * mib)
    web = process(cgroup="/app.slice/web")
    reader = sock(State.ESTABLISHED, recv_q=6_000_000)
    (finding,) = found("tcp-memory-pressure", snap(reader, processes=(web,), control_groups=(above, group)))
    assert finding.scope == "cgroup /app.slice/web"
    assert "47 %" in finding.title
    assert any("java (2215)" in line for line in finding.evidence)
    for healthy in (
        group._replace(socket_bytes=mib),
        group._replace(used_bytes=100 * mib),
        group._replace(limit_bytes=0),
    ):
        assert not found("tcp-memory-pressure", snap(reader, processes=(web,), control_groups=(healthy,)))
