"""F15 to F30: handshakes and listeners, each illness as Linux shows it, and the healthy thing that looks like it."""

from __future__ import annotations

from tests.unit.doctor.world import HERE, NOW_NS, THERE, client, grown, listener, process, snap, sock

from tcpscope.doctor import diagnose
from tcpscope.model.address import Endpoint
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.history import History, KnownListener
from tcpscope.model.packet_filter import FilterChain, FilterRule
from tcpscope.model.snapshot import Interface, Refused, Snapshot
from tcpscope.model.socket import Owner, Socket
from tcpscope.model.state import State


def found(id: str, *arguments: Snapshot, **options: object) -> list[Finding]:
    return [finding for finding in diagnose(*arguments, **options) if finding.id == id]  # type: ignore[arg-type]


def unaccepted(number: int, port: int = 8080) -> list[Socket]:
    return [sock(State.ESTABLISHED, (HERE, port), client(50000 + i), who=None, cookie=9000 + i) for i in range(number)]


# F15, F16, F17, F30


def test_accept_queue_full_and_overflowing_is_high():
    before = snap(listener(waiting=129, cookie=1), *unaccepted(129))
    (finding,) = found(
        "accept-queue-overflow", grown(before, TcpExt__ListenOverflows=40, TcpExt__ListenDrops=40), before
    )
    assert finding.severity == Severity.HIGH
    assert any("+40 (20/s)" in line for line in finding.evidence)
    assert not any("somaxconn" in remedy.text for remedy in finding.remedies), "it is large enough already"
    assert any("tcp_abort_on_overflow" in line for line in finding.avoid)


def test_accept_queue_of_a_burst_is_normal_whatever_was_counted_since_boot():
    before = snap(listener(waiting=0, cookie=1))
    assert not found("accept-queue-overflow", grown(before, sockets=(listener(waiting=60, cookie=1),)), before)
    assert not found("accept-queue-overflow", snap(listener(waiting=60)))


def test_accept_queue_full_for_a_moment_without_overflow_is_doubted():
    before = snap(listener(waiting=0, cookie=1))
    (finding,) = found("accept-queue-overflow", grown(before, sockets=(listener(waiting=129, cookie=1),)), before)
    assert finding.severity == Severity.MEDIUM
    assert finding.confidence < 0.5


def test_accept_queue_of_unknown_backlog_is_not_judged():
    assert not found("accept-queue-overflow", snap(listener(waiting=500, backlog=None)))


def test_small_backlog_under_many_connections_is_low_and_on_loopback_nothing():
    served = [sock(State.ESTABLISHED, remote=client(50000))]
    before = snap(listener(backlog=5, waiting=1), *served)
    (finding,) = found("backlog-too-small", grown(before, Tcp__PassiveOpens=400), before)
    assert finding.severity == Severity.LOW
    overflowed = snap(listener(backlog=5), *served, counters={"TcpExt.ListenOverflows": 3})
    assert found("backlog-too-small", grown(overflowed, Tcp__PassiveOpens=400), overflowed)[0].severity == Severity.LOW
    calm = snap(listener(backlog=5), *served, counters={"TcpExt.ListenOverflows": 0})
    assert found("backlog-too-small", grown(calm, Tcp__PassiveOpens=400), calm)[0].severity == Severity.INFO
    local = snap(listener(address="127.0.0.1", backlog=5), *served)
    assert not found("backlog-too-small", grown(local, Tcp__PassiveOpens=400), local)
    assert not found("backlog-too-small", grown(before, Tcp__PassiveOpens=10), before)


def test_accept_queue_of_a_stopped_worker_names_it_among_the_holders_and_wakes_it():
    owners = tuple(Owner(pid, "nginx", 6) for pid in (7, 8, 9))
    holders = (process(7, "nginx"), process(8, "nginx", state="T"), process(9, "nginx", state="S"))
    before = snap(listener(waiting=9, backlog=8, cookie=1, owners=owners), *unaccepted(9), processes=holders)
    (finding,) = found("accept-queue-overflow", grown(before, TcpExt__ListenOverflows=4), before)
    assert any("nginx (8) is stopped (T)" in line for line in finding.evidence)
    assert finding.remedies[0].text.startswith("kill -CONT 8 ")
    several = [listener(waiting=n, backlog=8, cookie=i, owners=owners) for i, n in enumerate((0, 9, 0), 1)]
    (dealt,) = found("reuseport-imbalance", snap(*several, processes=holders))
    assert dealt.remedies[0].text.startswith("kill -CONT 8 ")


def test_accept_queue_that_names_somaxconn_spares_the_word_about_the_setting():
    small = {"net.core.somaxconn": "64"}
    before = snap(listener(waiting=0, backlog=64, cookie=1), sysctls=small)
    now = grown(before, sockets=(listener(waiting=65, backlog=64, cookie=1),), TcpExt__ListenOverflows=40)
    ids = [finding.id for finding in diagnose(now, before)]
    assert "accept-queue-overflow" in ids
    assert "sysctl-lint" not in ids
    assert "sysctl-lint" in [finding.id for finding in diagnose(before)]


def test_descriptors_gone_and_connections_waiting_explain_the_accept_queue():
    full = process(fd_limit=40, open_fds=40)
    before = snap(listener(waiting=17, backlog=16, cookie=1), *unaccepted(17), processes=(full,))
    findings = diagnose(grown(before, TcpExt__ListenOverflows=33), before)
    ids = [finding.id for finding in findings]
    assert ids.index("accept-stalled-by-fd-limit") < ids.index("accept-queue-overflow")
    assert findings[ids.index("accept-queue-overflow")].explained_by == "accept-stalled-by-fd-limit"
    stalled = findings[ids.index("accept-stalled-by-fd-limit")]
    assert stalled.severity == Severity.HIGH
    assert any("LimitNOFILE" in remedy.text and "now 40" in remedy.text for remedy in stalled.remedies)


def test_descriptors_gone_with_an_empty_queue_stall_nobody():
    assert not found("accept-stalled-by-fd-limit", snap(listener(), processes=(process(fd_limit=40, open_fds=40),)))


def test_reuseport_worker_with_the_only_full_queue_is_stuck():
    workers = [
        listener(waiting=15 if i == 0 else 0, backlog=16, who=(100 + i, "worker"), cookie=500 + i) for i in range(4)
    ]
    (finding,) = found("reuseport-imbalance", snap(*workers))
    assert "One of 4 workers" in finding.title
    busy = [one._replace(recv_q=9) for one in workers]
    assert not found("reuseport-imbalance", snap(*busy))


# F18 to F21, F27


def half_open(number: int, repeats: int, sources: int = 10_000) -> list[Socket]:
    return [
        sock(State.SYN_RECEIVED, (HERE, 80), (f"198.51.{i % sources // 250}.{i % sources % 250}", 1000 + i), who=None, kind="request",
             timer=("on", 900, repeats), info=None, cookie=20_000 + i)
        for i in range(number)
    ]  # fmt: skip


def test_syn_queue_full_of_repeated_handshakes_is_a_flood():
    before = snap(listener(80, backlog=128), *half_open(129, 2))
    (finding,) = found(
        "syn-flood", grown(before, TcpExt__SyncookiesSent=1871, TcpExt__TCPReqQFullDoCookies=1871), before
    )
    assert finding.severity == Severity.HIGH
    assert any("+1 871" in line for line in finding.evidence)
    assert any("tcp_syncookies" in line for line in finding.avoid)


def test_syn_queue_without_cookies_is_full_at_three_quarters_of_its_setting():
    off = {"net.ipv4.tcp_syncookies": "0", "net.ipv4.tcp_max_syn_backlog": "64"}
    before = snap(listener(80, backlog=256), *half_open(49, 2), sysctls=off)
    (finding,) = found("syn-flood", grown(before, TcpExt__ListenDrops=428), before)
    assert finding.severity == Severity.HIGH
    assert any("room for 48, ListenDrops +428" in line for line in finding.evidence)
    roomy = snap(listener(80, backlog=256), *half_open(49, 2), sysctls=off | {"net.ipv4.tcp_max_syn_backlog": "256"})
    assert not found("syn-flood", grown(roomy), roomy)
    on = snap(listener(80, backlog=256), *half_open(49, 2), sysctls=off | {"net.ipv4.tcp_syncookies": "1"})
    assert not found("syn-flood", grown(on), on)


def test_syn_cookies_that_come_back_are_overload_and_no_flood():
    before = snap(listener(80, backlog=128), *half_open(129, 2))
    after = grown(before, TcpExt__SyncookiesSent=100, TcpExt__TCPReqQFullDoCookies=100, TcpExt__SyncookiesRecv=90)
    assert not found("syn-flood", after, before)


def test_syn_received_below_the_backlog_is_never_a_flood():
    assert not found("syn-flood", snap(listener(80, backlog=4096), *half_open(1000, 0)))


def test_syn_received_deferred_by_the_kernel_suppresses_the_flood():
    deferred = [
        one._replace(timer=one.timer._replace(expires_ms=6000, retransmits=0)) for one in half_open(129, 0) if one.timer
    ]
    findings = diagnose(snap(listener(80, backlog=128), *deferred))
    ids = [finding.id for finding in findings]
    assert "deferred-accept-misread" in ids
    assert "syn-flood" not in ids
    assert all(finding.severity == Severity.INFO for finding in findings if finding.id == "deferred-accept-misread")


def test_syn_received_of_few_peers_without_last_ack_is_no_flood():
    findings = diagnose(snap(listener(80, backlog=128), *half_open(4, 4, sources=1)))
    ids = [finding.id for finding in findings]
    assert "syn-recv-ack-lost" in ids
    assert "syn-flood" not in ids
    assert not found("syn-recv-ack-lost", snap(listener(80, backlog=128), *half_open(4, 1, sources=1)))


def hanging(
    number: int, repeats: int, host: str = THERE, port: int = 443, spread: bool = False, **fields: object
) -> list[Socket]:
    return [
        sock(State.SYN_SENT, (HERE, 40000 + i), (f"203.0.{i // 250}.{i % 250}" if spread else host, port), send_q=1,
             timer=("on", 900, repeats), info={"retransmits": repeats, "last_data_sent_ms": 713_780, "last_ack_recv_ms": 713_780}, **fields)
        for i in range(number)
    ]  # fmt: skip


def test_syn_sent_repeated_to_one_destination_is_a_black_hole():
    (finding,) = found("syn-sent-blackhole", snap(*hanging(3, 3)))
    assert finding.severity == Severity.MEDIUM
    assert f"{THERE}:443" in finding.title
    assert "131 s" in finding.explanation


def test_syn_sent_once_is_a_round_trip():
    assert not found("syn-sent-blackhole", snap(*hanging(50, 0)))


def test_syn_sent_to_a_full_accept_queue_on_this_host_is_its_symptom():
    findings = diagnose(snap(listener(9000, waiting=6, backlog=5), *hanging(5, 3, host=HERE, port=9000)))
    symptom = next(finding for finding in findings if finding.id == "syn-sent-blackhole")
    assert symptom.explained_by == "accept-queue-overflow"
    assert any("is full (6/5)" in line for line in symptom.evidence)


def ghost_clients(number: int, acked: int = 1) -> list[Socket]:
    info = {
        "bytes_acked": acked,
        "bytes_received": 0,
        "retransmits": 4,
        "backoff": 4,
        "unacked": 1,
        "last_ack_recv_ms": 20_000,
        "rto_us": 3_200_000,
    }
    return [
        sock(State.ESTABLISHED, (HERE, 40000 + i), (THERE, 80), send_q=100, timer=("on", 1000, 4), info=info)
        for i in range(number)
    ]


def test_established_clients_the_server_forgot_are_ghosts():
    (finding,) = found("ghost-established-by-overflow", snap(*ghost_clients(5)))
    assert finding.severity == Severity.HIGH


def test_established_clients_that_got_data_through_are_no_ghosts():
    assert not found("ghost-established-by-overflow", snap(*ghost_clients(5, acked=4000)))


def test_cookies_coming_back_to_a_full_queue_are_seen_from_the_server():
    before = snap(listener(80))
    after = grown(before, TcpExt__SyncookiesRecv=24, TcpExt__ListenOverflows=24)
    (finding,) = found("ghost-established-by-overflow", after, before)
    assert finding.severity == Severity.MEDIUM
    assert not found("ghost-established-by-overflow", grown(before, TcpExt__SyncookiesRecv=24), before)


# F22 to F26


def test_attempts_refused_in_numbers_are_a_storm_and_a_few_are_not():
    before = snap()
    (finding,) = found(
        "connection-refused-storm", grown(before, Tcp__ActiveOpens=300, Tcp__AttemptFails=300, Tcp__OutRsts=300), before
    )
    assert finding.severity == Severity.MEDIUM
    assert any("this host too" in line for line in finding.evidence)
    assert not found("connection-refused-storm", grown(before, Tcp__ActiveOpens=9000, Tcp__AttemptFails=30), before)
    assert not found("connection-refused-storm", before, None)


def test_one_process_trying_three_hundred_hosts_is_a_scan():
    findings = diagnose(snap(*hanging(300, 1, port=445, spread=True)))
    (finding,) = [one for one in findings if one.id == "scanner-or-worm-pattern"]
    assert finding.severity == Severity.HIGH
    assert "300 hosts on port 445" in finding.title
    assert "syn-sent-blackhole" not in [one.id for one in findings]


def test_one_process_trying_many_ports_of_one_host_is_a_scan():
    ports = [one._replace(remote=one.remote._replace(port=1 + i)) for i, one in enumerate(hanging(60, 1))]
    (finding,) = found("scanner-or-worm-pattern", snap(*ports))
    assert "60 ports" in finding.title


def test_a_crawler_with_many_established_connections_is_no_weak_scan():
    alive = [sock(State.ESTABLISHED, (HERE, 30000 + i), (f"203.1.0.{i}", 443)) for i in range(40)]
    assert not found("scanner-or-worm-pattern", snap(*hanging(25, 1, spread=True), *alive))
    assert found("scanner-or-worm-pattern", snap(*hanging(25, 1, spread=True)))


def test_resets_for_no_socket_are_an_inbound_scan_and_own_aborts_are_not():
    before = snap()
    (finding,) = found("inbound-scan", grown(before, Tcp__OutRsts=400), before)
    assert finding.severity == Severity.LOW
    assert not found("inbound-scan", grown(before, Tcp__OutRsts=400, TcpExt__TCPAbortOnData=390), before)
    assert not found("inbound-scan", grown(before, Tcp__OutRsts=400, Tcp__PassiveOpens=380), before), "late data"
    assert not found(
        "inbound-scan", grown(before, Tcp__OutRsts=400, Tcp__ActiveOpens=400, Tcp__AttemptFails=400), before
    )


def test_a_socket_connected_to_itself_is_found_and_a_loopback_pair_is_not():
    (finding,) = found("self-connect", snap(sock(State.ESTABLISHED, ("127.0.0.1", 50000), ("127.0.0.1", 50000))))
    assert finding.severity == Severity.HIGH
    pair = [
        sock(State.ESTABLISHED, ("127.0.0.1", 50000), ("127.0.0.1", 6000)),
        sock(State.ESTABLISHED, ("127.0.0.1", 6000), ("127.0.0.1", 50000)),
    ]
    assert not found("self-connect", snap(*pair))


def test_packets_without_route_are_told_at_a_rate_only():
    before = snap()
    assert found("no-route", grown(before, Ip__OutNoRoutes=10), before)
    assert not found("no-route", grown(before, Ip__OutNoRoutes=1), before)


# F28, F29


def known(port: int, ago_s: int = 120) -> History:
    seen = {(0, "0.0.0.0", port): KnownListener(NOW_NS - 3600 * 10**9, NOW_NS - ago_s * 10**9, "nginx", 0)}
    return History(started_ns=NOW_NS - 3600 * 10**9, looks=5, listeners=seen)


def test_a_listener_gone_while_clients_are_refused_is_high():
    before = snap()
    (finding,) = found("listener-missing", grown(before, Tcp__OutRsts=20), before, history=known(8080))
    assert finding.severity == Severity.HIGH
    assert "nginx" in finding.explanation


def test_a_listener_gone_in_silence_or_long_ago_is_no_alarm():
    before = snap()
    assert found("listener-missing", grown(before), before, history=known(8080))[0].severity == Severity.INFO
    assert not found("listener-missing", grown(before, Tcp__OutRsts=20), before, history=known(8080, ago_s=20_000))
    assert not found("listener-missing", snap(listener(8080)), history=known(8080))


def test_a_listener_closed_with_waiting_connections_reset_its_clients():
    before = snap(listener(waiting=10, backlog=128, cookie=77))
    (finding,) = found(
        "listener-closed-with-queue", grown(before, sockets=(), Tcp__EstabResets=10, Tcp__OutRsts=10), before
    )
    assert finding.severity == Severity.MEDIUM
    empty = snap(listener(waiting=0, cookie=77))
    assert not found(
        "listener-closed-with-queue", grown(empty, sockets=(), Tcp__EstabResets=10, Tcp__OutRsts=10), empty
    )


# the packet filter behind unanswered SYNs


def hung(count=4):
    return [
        sock(State.SYN_SENT, (HERE, 40000 + i), (THERE, 443), timer=("on", 900, 4), cookie=4000 + i)
        for i in range(count)
    ]


def test_syns_that_the_hosts_own_filter_drops_are_blamed_on_it():
    rule = FilterRule(5, "drop", to_ports=((443, 443),))
    chain = FilterChain("inet", "filter", "out", "output", rules=(rule,))
    (finding,) = found("syn-sent-blackhole", snap(*hung(), packet_filter=(chain,)))
    assert "dropped by this host's own packet filter" in finding.title
    assert finding.remedies[0].text.startswith("nft -a list chain inet filter out")
    for innocent in (
        rule._replace(to_ports=((80, 80),)),
        rule._replace(verdict="accept"),
        rule._replace(loopback=True),
        rule._replace(family="ip6"),
    ):
        (finding,) = found("syn-sent-blackhole", snap(*hung(), packet_filter=(chain._replace(rules=(innocent,)),)))
        assert "not answered" in finding.title, innocent


def test_syns_that_the_visible_peers_filter_drops_are_blamed_on_it():
    rule = FilterRule(5, "drop", to_ports=((443, 443),))
    theirs = FilterChain("ip", "filter", "INPUT", "input", rules=(rule,))
    there = snap(interfaces=(Interface("eth0", 2, addresses=(f"{THERE}/24",)),), packet_filter=(theirs,))
    (finding,) = [one for one in diagnose(snap(*hung()), others=[there]) if one.id == "syn-sent-blackhole"]
    assert f"the packet filter of {THERE}" in finding.title
    elsewhere = there._replace(interfaces=())
    (finding,) = [one for one in diagnose(snap(*hung()), others=[elsewhere]) if one.id == "syn-sent-blackhole"]
    assert "not answered" in finding.title


def test_syns_of_several_programs_name_how_many():
    several = [one._replace(owners=(Owner(100 + i, "python3", 3),)) for i, one in enumerate(hung())]
    (finding,) = found("syn-sent-blackhole", snap(*several))
    assert "python3 (100) and 3 more" in finding.title


def test_accept_queue_that_nobody_empties_asks_for_a_stack_and_not_for_a_larger_backlog():
    before = snap(listener(waiting=9, backlog=8, cookie=1), *unaccepted(9))
    (finding,) = found("accept-queue-overflow", grown(before, TcpExt__ListenOverflows=4), before)
    assert "does not accept" in finding.title
    assert finding.remedies[0].kind == "command"
    assert finding.remedies[0].text.startswith("jstack 2215 ")
    assert not any("backlog" in remedy.text for remedy in finding.remedies)
    moved = tuple(one._replace(cookie=one.cookie + 1) for one in unaccepted(9))
    now = grown(before, TcpExt__ListenOverflows=4, sockets=(listener(waiting=9, backlog=8, cookie=1), *moved))
    (finding,) = found("accept-queue-overflow", now, before)
    assert "does not accept" not in finding.title
    assert any("acceptCount=4096" in remedy.text for remedy in finding.remedies)


# who refuses


def refused_storm(*others, own=(), **fields):
    remote = Endpoint(THERE, 8091)
    before = snap(*own)
    now = grown(before, Tcp__AttemptFails=40, Tcp__ActiveOpens=40)
    now = now._replace(refused=(Refused(remote, Owner(77, "curl", 3), 38),), **fields)
    (finding,) = [one for one in diagnose(now, before, others=others) if one.id == "connection-refused-storm"]
    return finding


def host(*sockets, **fields):
    return snap(*sockets, interfaces=(Interface("eth0", 2, addresses=(f"{THERE}/24",)),), **fields)


def test_refusals_of_one_port_are_not_laid_to_another_one_that_is_missing():
    before = snap()
    now = grown(before, Tcp__AttemptFails=40, Tcp__ActiveOpens=40, Tcp__OutRsts=40)
    for port, cause in ((8091, ""), (9101, "listener-missing")):
        seen = now._replace(refused=(Refused(Endpoint(HERE, port), Owner(77, "curl", 3), 38),))
        findings = {one.id: one for one in diagnose(seen, before, history=known(9101))}
        assert findings["connection-refused-storm"].explained_by == cause


def test_dead_sockets_are_laid_to_refusals_of_the_same_process_alone():
    for pid, cause in ((78, ""), (77, "connection-refused-storm")):
        before = snap(processes=(process(pid=pid, open_fds=80, socket_inodes=tuple(range(700_000, 700_060))),))
        now = grown(before, Tcp__AttemptFails=40, Tcp__ActiveOpens=40)
        now = now._replace(refused=(Refused(Endpoint(THERE, 8091), Owner(77, "curl", 3), 38),))
        findings = {one.id: one for one in diagnose(now, before)}
        assert findings["zombie-socket-fds"].explained_by == cause


def test_refusals_by_this_host_are_not_said_to_come_from_elsewhere():
    """Fewer RSTs than refusals were counted, yet the destination that was seen is an address of this host."""
    for remote, is_said in (("127.0.0.1", False), (THERE, True)):
        before = snap()
        now = grown(before, Tcp__AttemptFails=40, Tcp__ActiveOpens=40, Tcp__OutRsts=30)
        now = now._replace(refused=(Refused(Endpoint(remote, 8091), None, 30), Refused(Endpoint(THERE, 7777), None, 4)))
        (finding,) = found("connection-refused-storm", now, before)
        assert any("from elsewhere" in line for line in finding.counter_evidence) == is_said
        assert ("nothing listens" in finding.title) is False  # of which of the two destinations?


def test_refusals_that_were_watched_name_program_and_destination():
    finding = refused_storm()
    assert finding.title.endswith(f"refused by {THERE}:8091")
    assert any("curl (77) was refused 38 times" in line for line in finding.evidence)
    assert any(f"ss -tln 'sport = :8091'   at {THERE}" in remedy.text for remedy in finding.remedies)


def test_refusals_of_a_visible_host_say_why():
    assert "nothing listens on port 8091 there" in refused_storm(host()).title
    loopback = host(listener(8091, "127.0.0.1", who=(5, "python3")))
    assert "python3 (5) listens there on 127.0.0.1:8091 alone" in refused_storm(loopback).title
    elsewhere = host(listener(8091, "198.51.100.99", who=(5, "python3")))
    assert "198.51.100.99:8091 alone" in refused_storm(elsewhere).title
    rule = FilterRule(4, "reject", to_ports=((8091, 8091),))
    chain = FilterChain("inet", "filter", "input", "input", rules=(rule,))
    assert "its packet filter rejects them, rule 4" in refused_storm(host(listener(8091), packet_filter=(chain,))).title
    assert refused_storm(host(listener(8091))).title.endswith(":8091"), "it listens now: nothing to say"


# overload by real clients


def test_overflow_between_the_looks_is_blamed_on_the_listener_that_is_nearly_full():
    busy = listener(8083, waiting=15, backlog=16, who=(5, "python3"))
    before = snap(busy, listener(80))
    (finding,) = found("accept-queue-overflow", grown(before, TcpExt__ListenOverflows=500), before)
    assert finding.severity == Severity.HIGH
    assert finding.title.startswith("port 8083 ")
    assert "full at times" in finding.explanation
    idle = snap(listener(8083, waiting=1, backlog=16), listener(80))
    (finding,) = found("accept-queue-overflow", grown(idle, TcpExt__ListenOverflows=500), idle)
    assert (finding.severity, finding.scope) == (Severity.HIGH, "some listener")
    (finding,) = found("accept-queue-overflow", grown(idle, TcpExt__ListenOverflows=4), idle)
    assert finding.severity == Severity.MEDIUM


def test_overload_by_clients_that_come_back_with_their_cookie_is_one_cause_and_no_flood():
    busy = listener(8083, waiting=15, backlog=16, who=(5, "python3"))
    before = snap(busy)
    counted = {"TcpExt__ListenOverflows": 500, "TcpExt__SyncookiesRecv": 400, "TcpExt__SyncookiesSent": 500}
    now = grown(before, TcpExt__TCPReqQFullDoCookies=500, Tcp__PassiveOpens=400, **counted)
    findings = {one.id: one for one in diagnose(now, before)}
    assert findings["ghost-established-by-overflow"].explained_by == "accept-queue-overflow"
    assert "syn-flood" not in findings
    assert "backlog-too-small" not in findings


def closed_ghosts(**more):
    info = {"bytes_acked": 1, "bytes_received": 0, "backoff": 4, "rto_us": 3_200_000, **more}
    return [
        sock(
            State.FIN_WAIT_1,
            (HERE, 41000 + i),
            (THERE, 8083),
            who=None,
            send_q=1,
            timer=("on", 900, 4),
            info=info,
            age_s=9,
        )
        for i in range(12)
    ]


def test_closed_connections_the_server_never_knew_are_ghosts_while_it_answers_others():
    alive = sock(
        State.ESTABLISHED, (HERE, 42000), (THERE, 8083), info={"last_ack_recv_ms": 50, "last_data_recv_ms": 50}
    )
    findings = {one.id: one for one in diagnose(snap(*closed_ghosts(), alive))}
    ghosts = findings["ghost-established-by-overflow"]
    assert ghosts.severity == Severity.HIGH
    assert all(remedy.text.startswith("at the server: ") for remedy in ghosts.remedies)
    assert findings["fin-wait1-stuck"].explained_by == "ghost-established-by-overflow"


def test_closed_connections_to_a_host_that_answers_nobody_are_a_dead_path():
    late = sock(
        State.ESTABLISHED, (HERE, 42000), (THERE, 8083), info={"last_ack_recv_ms": 90_000, "last_data_recv_ms": 90_000}
    )
    for others in ((), (late,)):
        findings = {one.id for one in diagnose(snap(*closed_ghosts(), *others))}
        assert "ghost-established-by-overflow" not in findings
        assert "fin-wait1-stuck" in findings
    used = closed_ghosts(bytes_acked=500)
    alive = late._replace(tcp_info=late.tcp_info._replace(last_ack_recv_ms=50))
    assert "ghost-established-by-overflow" not in {one.id for one in diagnose(snap(*used, alive))}
