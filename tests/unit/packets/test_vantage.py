"""Captures of one connection at two points: counted once, what was lost between is said; pieces stay pieces."""

import json

import pytest
from tests.made_captures import ACK, FIN, PSH, Talk, pcap

from tcpscope.cli.main import main
from tcpscope.packets import analyse


def talk(port):
    talk = Talk(port).shake().say("a", PSH | ACK, 100).say("b", ACK).say("b", PSH | ACK, 200).say("a", ACK)
    return talk.say("a", FIN | ACK).say("b", FIN | ACK).say("a", ACK).frames


@pytest.fixture
def points(tmp_path):
    """Near the client everything; near the server, 5 ms later by its clock, two segments less, and one of its own."""
    both, local = talk(1000), talk(3000)
    near_client = [*both, *talk(2000)]
    beyond = [(t + 5_000_000, data) for place, (t, data) in enumerate(both) if place not in (3, 6)]
    for name, frames in (("client.pcap", near_client), ("server.pcap", [*beyond, *local])):
        (tmp_path / name).write_bytes(pcap(sorted(frames)))
    return [str(tmp_path / "client.pcap"), str(tmp_path / "server.pcap")]


@pytest.mark.parametrize("is_swapped", [False, True])
def test_connection_at_two_points_is_one(points, is_swapped):
    analysis = analyse(points[::-1] if is_swapped else points)
    assert sorted(one.client.port for one in analysis.connections) == [1000, 2000, 3000]
    assert analysis.totals.twice == 1 and analysis.totals.connections == 3
    one = next(one for one in analysis.connections if one.client.port == 1000)
    assert one.packets == 10 and one.retransmissions == 0
    (note,) = one.notes
    assert f"2 to the server passed {points[0]} and not {points[1]}" in note
    assert not any(other.notes for other in analysis.connections if other is not one and other.client.port != 1000)


def test_command_says_it_and_ladder_shows_one_point(points, capsys):
    assert main(["read", *points]) == 0
    assert "2 points of capture: 1 connection seen at two, counted once" in capsys.readouterr().out
    main(["read", *points, "--json"])
    whole = json.loads(capsys.readouterr().out)
    number = {one["client"]["port"]: one["number"] for one in whole["connections"]}
    for port in (1000, 3000):
        main(["read", *points, "--ladder", str(number[port])])
        drawn = capsys.readouterr().out
        assert sum("▶" in line or "◀" in line for line in drawn.splitlines()) == 10, port
        assert "TIME_WAIT" in drawn
    main(["read", *points, "--json", "--filter", "sport = :1000"])
    (one,) = json.loads(capsys.readouterr().out)["connections"]
    assert "captured at two points" in one["notes"][0]


def test_pieces_of_one_capture_are_no_points(tmp_path):
    frames = sorted([*talk(1000), *talk(2000)])
    for cut in range(len(frames)):
        (tmp_path / "a.pcap").write_bytes(pcap(frames[:cut]))
        (tmp_path / "b.pcap").write_bytes(pcap(frames[cut:]))
        analysis = analyse([tmp_path / "a.pcap", tmp_path / "b.pcap"])
        assert not analysis.sources and analysis.totals.twice == 0
        assert [one.packets for one in analysis.connections] == [10, 10]


def test_files_that_share_no_connection_are_no_points(tmp_path):
    (tmp_path / "a.pcap").write_bytes(pcap(talk(1000)))
    (tmp_path / "b.pcap").write_bytes(pcap(talk(2000)))
    analysis = analyse([tmp_path / "a.pcap", tmp_path / "b.pcap"])
    assert not analysis.sources and len(analysis.connections) == 2


def test_nothing_lost_is_said(tmp_path):
    (tmp_path / "a.pcap").write_bytes(pcap(talk(1000)))
    (tmp_path / "b.pcap").write_bytes(pcap(talk(1000)))
    (one,) = analyse([tmp_path / "a.pcap", tmp_path / "b.pcap"]).connections
    assert one.notes[0].endswith("nothing was lost between them")
