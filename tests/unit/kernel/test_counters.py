"""Counters, limits and settings: the formats, what happens to lines nobody knows, and the running kernel."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpscope.kernel import counters

GAUGES = ("TcpCurrEstab",)
PAIRED = """TcpExt: SyncookiesSent ListenOverflows ListenDrops
TcpExt: 1 20 300
IpExt: InNoRoutes Broken
IpExt: -1 word
"""


def test_paired_lines_give_group_and_name():
    assert counters.parse_paired_lines(PAIRED) == {
        "TcpExt.SyncookiesSent": 1,
        "TcpExt.ListenOverflows": 20,
        "TcpExt.ListenDrops": 300,
        "IpExt.InNoRoutes": -1,
    }


def test_paired_lines_cut_in_the_middle_keep_what_is_whole():
    assert counters.parse_paired_lines("Tcp: A B C\nTcp: 1 2") == {"Tcp.A": 1, "Tcp.B": 2}
    assert counters.parse_paired_lines("Tcp: A B C\n") == {}
    assert counters.parse_paired_lines("Tcp: A B\nUdp: A\nUdp: 7\n") == {"Udp.A": 7}


def test_snmp6_splits_the_longest_group():
    text = "Ip6InReceives \t3\nIcmp6OutType133\t2\nUdpLite6InErrors 1\nUdp6InErrors 4\nnonsense\n"
    expected = {"Ip6.InReceives": 3, "Icmp6.OutType133": 2, "UdpLite6.InErrors": 1, "Udp6.InErrors": 4}
    assert counters.parse_snmp6(text) == expected


def test_softnet_sums_cpus_and_reads_hexadecimal():
    line = "0000000a 00000001 00000002" + " 00000000" * 6 + " 00000003 00000004 00000000 00000000"
    assert counters.parse_softnet(line + "\n" + line) == {
        "softnet.processed": 20,
        "softnet.dropped": 2,
        "softnet.time_squeeze": 4,
        "softnet.received_rps": 6,
        "softnet.flow_limit": 8,
    }


def test_conntrack_stat_sums_cpus_but_not_entries():
    text = (
        "entries  found insert_failed drop\n0000000b 00000001 00000002 00000000\n0000000b 0000000f 00000001 00000001\n"
    )
    expected = {"nf_conntrack.found": 16, "nf_conntrack.insert_failed": 3, "nf_conntrack.drop": 1}
    assert counters.parse_conntrack_stat(text) == expected


def test_sockstat_names_groups():
    text = "sockets: used 16\nTCP: inuse 1 orphan 0 tw 1 alloc 1 mem 187\nFRAG: inuse 0 memory 0\n"
    parsed = counters.parse_sockstat(text, "sockstat")
    assert parsed["sockstat.used"] == 16
    assert parsed["sockstat.TCP.mem"] == 187
    assert parsed["sockstat.FRAG.memory"] == 0


@given(st.text())
def test_any_text_is_parsed_without_failing(text):
    for parse in (
        counters.parse_paired_lines,
        counters.parse_snmp6,
        counters.parse_softnet,
        counters.parse_conntrack_stat,
    ):
        assert all(isinstance(number, int) for number in parse(text).values())
    assert all(isinstance(number, int) for number in counters.parse_sockstat(text, "sockstat").values())


def test_running_kernel_has_the_counters_findings_need():
    read = counters.read_counters()
    for name in ("Tcp.ActiveOpens", "Tcp.CurrEstab", "TcpExt.ListenOverflows", "TcpExt.TCPChallengeACK"):
        assert name in read
    limits = counters.read_limits()
    assert {"sockstat.TCP.inuse", "sockstat.TCP.orphan", "file-nr.max", "tcp_mem.high", "page_bytes"} <= limits.keys()
    sysctls = counters.read_sysctls()
    low, high = map(int, sysctls["net.ipv4.ip_local_port_range"].split())
    assert 0 < low < high < 65536
    assert "net.ipv4.tcp_fastopen_key" not in sysctls


def test_running_kernel_agrees_with_nstat():
    try:
        run = subprocess.run(["nstat", "-a", "-z", "-s"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nstat is not installed")
    ours = counters.read_counters()
    theirs = {words[0]: int(words[1]) for words in map(str.split, run.stdout.splitlines()) if words[0][0] != "#"}
    known = {name: value for name, value in theirs.items() if value > 0 and name not in GAUGES}
    assert known
    spelled = {name.replace(".", ""): value for name, value in ours.items()}
    assert [name for name in known if name not in spelled] == []
    assert [name for name, value in known.items() if spelled[name] < value] == []


def test_missing_setting_is_none():
    assert counters.read_sysctl("net.ipv4.no_such_setting") is None
