"""Stories and transfers over the simulated network."""

import json
from itertools import pairwise
from random import Random

import pytest

from tcpscope.cli.main import main
from tcpscope.explain import experiments
from tcpscope.machine.connection import Connection
from tcpscope.machine.lifecycle import EDGES
from tcpscope.machine.profile import LINUX, PROFILES
from tcpscope.model.segment import RST
from tcpscope.model.state import State
from tcpscope.stack.network import MS, Link, Network
from tcpscope.stack.simulation import ADDRESSES, fairness, loss_table, play, transfer
from tcpscope.stack.stories import STORIES
from tcpscope.views.diagram import ARCS

CLEAR = (Link(), Link())


def walk(steps, end):
    """The states one end goes through, CLOSED at the start included."""
    states = [State.CLOSED]
    for step in steps:
        if step.states[end] is not states[-1]:
            states.append(step.states[end])
    return [state.name for state in states]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", STORIES)
def test_story_moves_along_rows_of_the_table_only(name, profile):
    steps = play(STORIES[name], profile=PROFILES[profile], links=CLEAR)
    for end in (0, 1):
        names = walk(steps, end)
        for before, after in pairwise(names):
            assert (State[before], State[after]) in EDGES


@pytest.mark.parametrize(
    ("name", "client", "server"),
    [
        ("normal", "SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT CLOSED",
         "LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"),
        ("simultaneous-open", "SYN_SENT SYN_RECEIVED ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT CLOSED",
         "SYN_SENT SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"),
        ("simultaneous-close", "SYN_SENT ESTABLISHED FIN_WAIT_1 CLOSING TIME_WAIT CLOSED",
         "LISTEN SYN_RECEIVED ESTABLISHED FIN_WAIT_1 CLOSING TIME_WAIT CLOSED"),
        ("half-close", "SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT CLOSED",
         "LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"),
        ("close-at-once", "SYN_SENT ESTABLISHED FIN_WAIT_1 TIME_WAIT CLOSED",
         "LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"),
        ("given-up", "SYN_SENT CLOSED", "LISTEN SYN_RECEIVED LISTEN"),
        ("early-close", "SYN_SENT ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED",
         "LISTEN SYN_RECEIVED FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT CLOSED"),
        ("listener-connects", "LISTEN SYN_SENT ESTABLISHED FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT CLOSED",
         "LISTEN SYN_RECEIVED ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"),
        ("listener-closes", "", "LISTEN CLOSED"),
        ("refused", "SYN_SENT CLOSED", ""),
        ("abort", "SYN_SENT ESTABLISHED CLOSED", "LISTEN SYN_RECEIVED ESTABLISHED CLOSED"),
    ],
)  # fmt: skip
def test_story_takes_the_walk_of_its_name(name, client, server):
    steps = play(STORIES[name], profile=LINUX, links=CLEAR)
    assert walk(steps, 0)[1:] == client.split()
    assert walk(steps, 1)[1:] == server.split()


def test_every_arrow_of_the_figure_is_in_the_story_that_explain_names():
    assert experiments.STORIES.keys() >= ARCS.keys()
    for (before, after), name in experiments.STORIES.items():
        steps = play(STORIES[name], profile=LINUX, links=CLEAR)
        walks = [step for end in (0, 1) for step in pairwise(walk(steps, end))]
        assert (before.name, after.name) in walks, name


def test_three_lost_segments_go_again_once_each_and_at_once():
    steps = play(STORIES["three-lost"], profile=LINUX, links=CLEAR)
    texts = [step.text for step in steps if step.kind == "segment" and "octets" in step.text]
    lost = [step.text for step in steps if step.fate == "lost"]
    assert len(lost) == 3
    assert [texts.count(text) for text in lost] == [2, 2, 2]
    assert not any("timeout" in step.text for step in steps)


def test_lost_last_ack_brings_the_fin_again():
    steps = play(STORIES["lost-last-ack"], profile=LINUX, links=CLEAR)
    fins = [step for step in steps if step.end == 1 and step.kind == "segment" and step.text.startswith("FIN")]
    assert len(fins) == 2
    assert steps[-1].states[0] in (State.TIME_WAIT, State.CLOSED)


def test_peer_that_vanishes_costs_linux_924_seconds():
    steps = play(STORIES["peer-vanishes"], profile=LINUX, links=CLEAR)
    (end,) = [step for step in steps if "user timeout" in step.text]
    assert 900e9 < end.when_ns - 10**9 < 940e9


def test_server_that_never_closes_leaves_the_pair_everyone_knows():
    steps = play(STORIES["server-never-closes"], profile=LINUX, links=CLEAR)
    pairs = {(client.name, server.name) for client, server in (step.states for step in steps)}
    assert ("FIN_WAIT_2", "CLOSE_WAIT") in pairs
    assert steps[-1].states == (State.CLOSED, State.CLOSE_WAIT)  # the orphan is gone after fin_wait_2_ns


@pytest.mark.parametrize("name", STORIES)
def test_equal_seeds_give_equal_runs_on_a_bad_path(name):
    bad = Link(20 * MS, loss=0.2, duplicate=0.1, reorder=0.1, corrupt=0.05)
    runs = [play(STORIES[name], profile=LINUX, links=(bad, bad), seed=11) for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_slow_link_limits_the_rate_and_a_full_queue_drops():
    link = Link(10 * MS, rate=125_000, queue_bytes=20_000)
    (done,) = transfer(500_000, profile=LINUX, links=(link, Link(10 * MS)))
    assert done.bytes_delivered == 500_000
    assert 0.6 * 125_000 < done.bytes_per_second < 125_000
    assert done.retransmits > 0


def test_flows_share_a_bottleneck():
    link = Link(20 * MS, rate=500_000, queue_bytes=64_000)
    done = transfer(1_000_000, profile=LINUX._replace(congestion="cubic"), links=(link, link), flows=4)
    assert [one.bytes_delivered for one in done] == [1_000_000] * 4
    assert sum(one.bytes_per_second for one in done) < 4 * 500_000
    assert fairness(done) > 0.7


def test_corrupted_segments_never_reach_the_end():
    link = Link(10 * MS, corrupt=0.3)
    (done,) = transfer(50_000, profile=LINUX, links=(link, link))
    assert done.bytes_delivered == 50_000 and done.retransmits > 5


def test_throughput_falls_with_loss_and_grows_with_the_buffer():
    rows = loss_table([0.0, 0.02, 0.1], [4096, 32768], profile=LINUX._replace(congestion="none"), octets=300_000)
    for _, cells in rows:
        rates = [one.bytes_per_second for one in cells]
        assert rates == sorted(rates, reverse=True)
    assert rows[1][1][0].bytes_per_second > 4 * rows[0][1][0].bytes_per_second


def test_two_ends_that_are_reset_stop_talking():
    ends = [Connection(address, None, iss=7) for address in ADDRESSES]
    network = Network(ends, CLEAR, Random(1))
    ends[0].open(0, remote=ADDRESSES[1])
    network.run(10**9)
    assert ends[0].status().state is State.CLOSED
    assert sum(passage.segment.flags & RST != 0 for passage in network.passages) == 1


def test_command_lists_plays_and_measures(capsys):
    assert main(["simulate"]) == 0
    assert "simultaneous-close" in capsys.readouterr().out
    assert main(["simulate", "simultaneous-close", "--windows"]) == 0
    out = capsys.readouterr().out
    assert "CLOSING" in out and "cwnd 14480" in out
    assert main(["simulate", "normal", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["schema"] == "tcpscope.simulate/1" and whole["steps"][0]["states"] == ["CLOSED", "CLOSED"]
    assert main(["simulate", "--table", "--bytes", "50k", "--losses", "0,5%", "--buffers", "4k"]) == 0
    assert "4096" in capsys.readouterr().out
    assert main(["simulate", "--transfer", "100k", "--flows", "2", "--rate", "1M", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["flows"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["normal", "--loss", "2"],
        ["--transfer", "-5"],
        ["--table", "--losses", "x"],
        ["normal", "--rtt", "-1"],
    ],
)
def test_command_refuses_nonsense_in_one_line(arguments, capsys):
    assert main(["simulate", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_three_lost_are_seen_sent_again_once_and_repaired():
    steps = play(STORIES["three-lost"], profile=LINUX, links=CLEAR)
    lost = [step.text for step in steps if step.fate == "lost"]
    again = [step.text for step in steps if step.note.startswith("again")]
    assert len(lost) == 3 and again == lost
    reports = [step.text.partition(",")[0] for step in steps if step.kind == "report" and "cwnd" in step.text]
    assert reports == ["losses seen", "repaired"]


def test_lost_last_ack_shows_the_timeout_at_the_server():
    steps = play(STORIES["lost-last-ack"], profile=LINUX, links=CLEAR)
    (timeout,) = [step for step in steps if step.text.startswith("timeout")]
    assert timeout.end == 1


@pytest.mark.parametrize("story", ["three-lost", "simultaneous-close", "zero-window"])
def test_ladder_has_straight_sides_and_counts_its_segments(story, capsys):
    assert main(["simulate", story]) == 0
    *lines, _, total = capsys.readouterr().out.splitlines()[3:]
    assert {line.index("▶") for line in lines if "▶" in line} == {max(line.index("▶") for line in lines if "▶" in line)}
    assert {line.index("◀") for line in lines if "◀" in line} == {26}
    arrows = sum("▶" in line or "◀" in line for line in lines)
    gone = sum("✗" in line for line in lines)
    again = sum("again" in line for line in lines)
    assert total == f"segments: {arrows}, did not arrive: {gone}, sent again: {again}"
