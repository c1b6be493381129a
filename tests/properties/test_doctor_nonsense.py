"""Whatever a snapshot holds, the doctor answers with well-formed findings and never raises."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.doctor.world import COUNTERS, LIMITS, SYSCTLS

from tcpscope.doctor import CATALOGUE, Look, diagnose, examine
from tcpscope.model.address import Endpoint
from tcpscope.model.finding import Severity
from tcpscope.model.history import History, KnownListener, Sighting
from tcpscope.model.packet_filter import FilterChain, FilterRule
from tcpscope.model.snapshot import Coverage, Process, Snapshot
from tcpscope.model.socket import Age, Owner, Socket, TcpInfo, Timer
from tcpscope.model.state import State

wild = st.one_of(st.integers(-5, 5), st.integers(-(2**63), 2**64), st.just(713_780))
small = st.integers(0, 3)
addresses = st.sampled_from(
    ["0.0.0.0", "::", "*", "127.0.0.1", "::1", "192.0.2.1", "::ffff:192.0.2.1", "198.51.100.7", "", "x"]
)
ends = st.builds(Endpoint, addresses, st.sampled_from([0, 22, 6379, 8080, 40000, 50000, 65535]))
TIMES = "retransmits probes backoff rto_us snd_mss unacked last_data_sent_ms last_data_recv_ms last_ack_recv_ms"
COUNTED = (
    "bytes_acked bytes_received segs_in data_segs_in data_segs_out notsent_bytes busy_time_us sndbuf_limited_us "
    "rwnd_limited_us bytes_sent snd_wnd"
)
infos = st.builds(TcpInfo, **dict.fromkeys(TIMES.split(), wild), **{name: st.none() | wild for name in COUNTED.split()})
timers = st.builds(Timer, st.sampled_from(["on", "keepalive", "timewait", "persist", "?"]), wild, wild)
sockets = st.builds(
    Socket,
    st.sampled_from(["tcp", "udp"]),
    st.sampled_from(State),
    ends,
    ends,
    recv_q=wild,
    send_q=wild,
    backlog=st.none() | wild,
    owners=st.lists(st.builds(Owner, small, st.sampled_from(["", "java", "nc"]), wild), max_size=3).map(tuple),
    uid=st.none() | small,
    inode=small,
    cookie=small,
    timer=st.none() | timers,
    age=st.builds(Age, wild, st.sampled_from(["exact", "bound", "unknown"])),
    tcp_info=st.none() | infos,
    v6only=st.none() | st.booleans(),
    kind=st.sampled_from(["full", "request", "mini"]),
)
processes = st.builds(
    Process, small, st.sampled_from(["", "java"]),
    executable=st.sampled_from([None, "/usr/bin/java", "/tmp/x (deleted)"]),
    state=st.sampled_from(["", "D", "T"]), open_fds=st.none() | wild, fd_limit=st.none() | wild,
    socket_inodes=st.lists(small, max_size=4).map(tuple),
)  # fmt: skip
ranges = st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), max_size=2).map(tuple)
chains = st.builds(
    FilterChain,
    st.sampled_from(["ip", "ip6", "inet"]),
    st.just("filter"),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["", "input", "output"]),
    policy=st.sampled_from(["accept", "drop"]),
    rules=st.lists(
        st.builds(
            FilterRule,
            st.integers(1, 9),
            st.sampled_from(["", "accept", "drop", "reject", "return", "jump", "goto"]),
            st.sampled_from(["", "a", "b"]),
            ranges,
            loopback=st.none() | st.booleans(),
            is_partial=st.booleans(),
            packets=st.none() | wild,
        ),
        max_size=4,
    ).map(tuple),
)
snapshots = st.builds(
    Snapshot,
    wild,
    st.lists(sockets, max_size=12),
    counters=st.dictionaries(st.sampled_from(sorted(COUNTERS)), wild),
    sysctls=st.dictionaries(
        st.sampled_from(sorted(SYSCTLS)),
        st.sampled_from(["", "0", "1", "-1", "x", "5 4", "1 2 3", "99999999999999999999"]),
    ),
    limits=st.dictionaries(st.sampled_from([*sorted(LIMITS), "nf_conntrack_count", "nf_conntrack_max"]), wild),
    processes=st.dictionaries(small, processes, max_size=3),
    coverage=st.builds(Coverage, st.sampled_from(["live", "dump", "capture"])),
    packet_filter=st.none() | st.lists(chains, max_size=3).map(tuple),
)
histories = st.builds(
    History, wild, small,
    st.dictionaries(st.tuples(small, small, st.integers(1, 11)), st.builds(Sighting, wild, wild, wild), max_size=4),
    st.dictionaries(st.tuples(small, addresses, small), st.builds(KnownListener, wild, wild), max_size=3),
)  # fmt: skip


def judge_form(finding) -> None:
    assert finding.id in CATALOGUE
    assert isinstance(finding.severity, Severity)
    assert 0.0 <= finding.confidence <= 1.0
    assert finding.title
    assert "None" not in finding.title
    assert finding.explanation
    assert finding.evidence
    assert all(remedy.kind in ("code", "config", "command") and remedy.text for remedy in finding.remedies)
    assert all(isinstance(line, str) for line in (*finding.evidence, *finding.counter_evidence, *finding.avoid))


@settings(max_examples=400, deadline=None)
@given(snapshots, st.none() | snapshots, histories, st.lists(snapshots, max_size=1))
def test_any_snapshot_is_judged_without_raising(now, before, history, others):
    findings = diagnose(now, before, history=history, others=others, wanted_ports=(8080,))
    for finding in findings:
        judge_form(finding)
        if finding.explained_by:
            assert any(one.id == finding.explained_by for one in findings)


@settings(max_examples=100, deadline=None)
@given(snapshots)
def test_the_same_snapshot_twice_has_no_rates(now):
    look = Look(now, now)
    assert all(look.rate(name) is None for name in now.counters)
    diagnosis = examine([look])
    assert not {finding.id for finding in diagnosis.findings} & {
        entry.id for entry in CATALOGUE.values() if "counters" in entry.needs
    }
