"""Rates from two readings; the schedule; meanings for every counter shown."""

import re

import pytest

from tcpscope.explain.counters import COUNTERS
from tcpscope.live.stats import ETCP, SOCK, TCP, Reading, compare, follow_intervals, read_now
from tcpscope.model.errors import TcpscopeError
from tcpscope.views.counters import render_block, render_growth


def reading(at_s, counters, gauges=()):
    return Reading(int(at_s * 1e9), 10**18 + int(at_s * 1e9), counters, dict(gauges))


def test_rates_are_deltas_over_the_time_that_really_passed():
    before = reading(10, {"Tcp.ActiveOpens": 100, "TcpExt.ListenOverflows": 7, "Tcp.CurrEstab": 9})
    after = reading(12.5, {"Tcp.ActiveOpens": 150, "TcpExt.ListenOverflows": 12, "Tcp.CurrEstab": 4})
    found = compare(before, after, tuple(COUNTERS))
    assert found.seconds == 2.5
    assert found.tcp["active/s"] == 20.0
    assert [(growth.name, growth.per_s, growth.delta, growth.total) for growth in found.growth] == [
        ("Tcp.ActiveOpens", 20.0, 50, 150),
        ("TcpExt.ListenOverflows", 2.0, 5, 12),
    ]
    assert found.restarted == [], "a gauge may fall"


def test_counter_that_went_down_has_no_rate_and_is_named():
    found = compare(reading(1, {"Tcp.OutRsts": 50}), reading(2, {"Tcp.OutRsts": 3}), ())
    assert found.growth == []
    assert found.restarted == ["Tcp.OutRsts"]
    assert found.etcp["orsts/s"] == 0.0


def test_what_could_not_be_read_is_said_and_is_no_zero():
    found = compare(reading(1, {"Tcp.OutRsts": 1}), reading(2, {"Tcp.OutRsts": 1}), ())
    assert set(found.sock.values()) == {None}
    assert [note.split(" ")[0] for note in found.notes] == ["/proc/net/sockstat", "/proc/net/netstat"]
    whole = reading(2, {"Tcp.OutRsts": 1, "TcpExt.TW": 0}, {"sockstat.used": 3, "sockstat.TCP.inuse": 0})
    assert compare(whole, whole, ()).notes == []
    assert compare(whole, whole, ()).sock["tcpsck"] == 0


def test_schedule_does_not_drift_and_stops_at_count():
    now = [100.0]
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds + 0.05  # every sleep is late, every reading takes time

    def read():
        now[0] += 0.01
        return reading(now[0], {})

    assert len(list(follow_intervals(1.0, 5, read=read, sleep=sleep, clock=lambda: now[0]))) == 5
    assert now[0] == pytest.approx(105.07, abs=0.03)
    assert slept[0] == 1.0
    assert all(0.9 < seconds < 1.0 for seconds in slept[1:])


def test_every_counter_in_sar_blocks_has_a_meaning():
    assert {*SOCK.values(), *TCP.values(), *ETCP.values()} <= set(COUNTERS)


def test_every_counter_the_rules_of_the_doctor_look_at_has_a_meaning():
    from pathlib import Path

    import tcpscope.doctor

    named = set()
    for file in Path(tcpscope.doctor.__file__).parent.glob("*.py"):
        named |= set(re.findall(r"\"((?:TcpExt|Tcp|Ip|softnet|nf_conntrack)\.[A-Za-z_]+[A-Za-z])\"", file.read_text()))
    assert named - set(COUNTERS) == set()
    assert named


def test_meanings_are_sentences():
    for name, meaning in COUNTERS.items():
        assert re.fullmatch(r"[A-Za-z_0-9]+(\.[A-Za-z_0-9-]+)+", name)
        assert meaning[0].isupper() and meaning.endswith("."), name
        assert len(meaning) < 260, name


def test_running_kernel_knows_the_counters():
    now = read_now()
    known = {*now.counters, *now.gauges}
    missing = {name for name in COUNTERS if name not in known and name.startswith(("Tcp.", "Ip."))}
    assert missing == set()


def test_block_stands_in_columns():
    text = render_block("12:00:00", "TCP", {"active/s": "29.96", "iseg/s": "236.71"})
    assert text == "12:00:00  TCP    active/s    iseg/s\n                    29.96    236.71\n"


def test_growth_is_cut_to_the_width_and_whole_in_a_pipe():
    rows = [("TcpExt.TW", 1.0, 3, "Time-wait sockets begun.")]
    assert render_growth(rows) == "  TcpExt.TW      1.00/s        +3  Time-wait sockets begun.\n"
    assert len(render_growth(rows, 45).splitlines()[0]) == 45
    assert render_growth([]) == ""


def test_no_counters_are_told_not_shown_as_zero(monkeypatch):
    monkeypatch.setattr("tcpscope.live.stats.read_counters", dict)
    with pytest.raises(TcpscopeError, match="/proc/net/snmp"):
        read_now()
