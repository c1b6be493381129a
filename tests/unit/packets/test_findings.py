"""Findings and verdicts of small made captures: one wrong thing each, and its trap."""

import random

import pytest
from tests.made_captures import ACK, FIN, PSH, RST, SYN, T0, A, B, Talk, icmp_frame, pcap

from tcpscope.model.state import State
from tcpscope.packets import analyse


def look(tmp_path, *talks):
    path = tmp_path / "made.pcap"
    path.write_bytes(pcap(sorted(item for talk in talks for item in talk.frames)))
    analysis = analyse([path])
    return analysis, {finding.id for finding in analysis.findings}


def test_established_client_closes_server_never(tmp_path):
    leaking = [Talk(2000 + n).shake().say("a", FIN | ACK).say("b", ACK) for n in range(6)]
    late = Talk(5000, start=T0 + 90 * 10**9).shake()
    analysis, ids = look(tmp_path, *leaking, late)
    assert "close-wait-leak" in ids
    connection = analysis.connections[0]
    assert (connection.client_state, connection.server_state) == (State.FIN_WAIT_2, State.CLOSE_WAIT)
    assert "server owes a FIN" in connection.verdict
    assert connection.closed_by == "client" and connection.refuted_by


def test_closed_in_order_is_no_finding(tmp_path):
    talk = Talk().shake().say("a", PSH | ACK, 10).say("b", ACK).say("b", FIN | ACK).say("a", FIN | ACK).say("b", ACK)
    analysis, ids = look(tmp_path, talk)
    assert not ids
    (connection,) = analysis.connections
    assert connection.verdict.startswith("closed in order")
    assert (connection.conn_state, connection.closed_by, connection.handshake_ms) == ("SF", "server", 2.0)


def test_fin_wait_2_reset_is_not_closed_in_order(tmp_path):
    by_client = Talk().shake().say("a", FIN | ACK).say("b", ACK).say("a", RST | ACK)
    by_server = Talk(1001).shake().say("a", FIN | ACK).say("b", ACK).say("b", RST | ACK)
    at_the_end = Talk(1002).shake().say("a", FIN | ACK).say("b", FIN | ACK).say("a", RST | ACK)
    analysis, _ = look(tmp_path, by_client, by_server, at_the_end)
    cut, instead, after_both = (connection.verdict for connection in analysis.connections)
    assert cut.startswith("the client closed and then reset")
    assert instead.startswith("the client closed, and the server reset")
    assert after_both.startswith("closed in order")


def test_syn_sent_without_answer(tmp_path):
    analysis, ids = look(tmp_path, Talk().say("a", SYN).say("a", SYN, 0, 1000, 100).say("a", SYN, 0, 2000, 100))
    assert ids == {"syn-sent-blackhole"}
    assert "server owes an answer" in analysis.connections[0].verdict


def test_syn_sent_refused(tmp_path):
    analysis, ids = look(tmp_path, Talk().say("a", SYN).say("b", RST | ACK, seq=0))
    assert ids == {"connection-refused-storm"}
    assert (analysis.connections[0].closed_how, analysis.connections[0].server_state) == ("refused", State.CLOSED)


def test_syn_sent_port_unreachable_ends(tmp_path):
    talk = Talk().say("a", SYN)
    talk.frames.append((talk.t + 10**6, icmp_frame(B, A, 3, 3, talk.frames[0][1])))
    analysis, _ = look(tmp_path, talk)
    (connection,) = analysis.connections
    assert (connection.client_state, connection.closed_how, connection.icmp_errors) == (State.CLOSED, "icmp", 1)


def test_syn_sent_host_unreachable_stays(tmp_path):
    talk = Talk().say("a", SYN)
    talk.frames.append((talk.t + 10**6, icmp_frame(B, A, 3, 1, talk.frames[0][1])))
    analysis, _ = look(tmp_path, talk)
    assert analysis.connections[0].client_state == State.SYN_SENT


def test_many_forged_syns_are_a_flood(tmp_path):
    rng = random.Random(1)
    talks = [
        Talk(rng.randrange(1024, 65535), client=tuple(rng.randrange(1, 255) for _ in range(4)), start=T0 + n * 1000)
        for n in range(400)
    ]
    for talk in talks:
        talk.say("a", SYN)
    analysis, ids = look(tmp_path, *talks)
    assert "syn-flood" in ids
    assert "syn-sent-blackhole" not in ids
    assert analysis.findings[0].scope == "10.0.0.2:80"


def test_many_answered_syns_are_no_flood(tmp_path):
    _, ids = look(tmp_path, *(Talk(2000 + n, start=T0 + n * 1000).shake() for n in range(400)))
    assert "syn-flood" not in ids


def test_syn_received_ack_lost(tmp_path):
    talk = Talk().say("a", SYN).say("b", SYN | ACK)
    talk.say("b", SYN | ACK, 0, 1000, 900).say("b", SYN | ACK, 0, 2000, 900)
    analysis, ids = look(tmp_path, talk)
    assert ids == {"syn-recv-ack-lost"}
    assert "repeated 2 times" in analysis.connections[0].verdict


def test_established_zero_window(tmp_path):
    _, ids = look(tmp_path, Talk().shake().say("a", PSH | ACK, 1000).say("b", ACK, wnd=0))
    assert "zero-window-peer-slow" in ids


def test_established_peer_vanished(tmp_path):
    talk = Talk().shake().say("a", PSH | ACK, 100)
    for n in range(5):
        talk.say("a", PSH | ACK, 100, 200 << n, talk.ends["a"][2] - 100)
    _, ids = look(tmp_path, talk)
    assert "retransmission-stall" in ids


def test_established_large_segments_lost(tmp_path):
    talk = Talk().shake().say("a", PSH | ACK, 1460)
    before = talk.ends["a"][2] - 1460
    talk.frames.append((talk.t + 10**6, icmp_frame((10, 9, 9, 9), A, 3, 4, talk.frames[-1][1])))
    for n in range(4):
        talk.say("a", PSH | ACK, 1460, 200 << n, before)
    _, ids = look(tmp_path, talk)
    assert "pmtu-blackhole" in ids


@pytest.mark.parametrize(
    ("seq", "legal", "challenged", "blind"), [(101, 1, 0, 0), (150, 0, 1, 0), (99_999_999, 0, 0, 1)]
)
def test_established_reset_has_its_place_in_the_window(tmp_path, seq, legal, challenged, blind):
    analysis, _ = look(tmp_path, Talk().shake().say("a", RST, seq=seq))
    (connection,) = analysis.connections
    sent = connection.to_server
    assert (sent.resets_legal, sent.resets_challenged, sent.resets_blind) == (legal, challenged, blind)
    assert (connection.server_state == State.CLOSED) is bool(legal)


def test_time_wait_reused_port_is_a_new_incarnation(tmp_path):
    first = Talk().shake().say("b", FIN | ACK).say("a", FIN | ACK).say("b", ACK)
    again = Talk(start=first.t)
    again.ends["a"][2], again.ends["b"][2] = 900_000, 700_000
    again.shake()
    analysis, _ = look(tmp_path, first, again)
    assert [c.incarnation for c in analysis.connections] == [0, 1]
    moves = [(t.before, t.after) for t in analysis.connections[1].transitions if t.end == "server"]
    assert moves[0] == (State.TIME_WAIT, State.SYN_RECEIVED)


def test_time_wait_refuses_a_syn_and_its_reset_is_of_the_old_connection(tmp_path):
    first = Talk().shake().say("b", FIN | ACK).say("a", FIN | ACK).say("b", ACK)
    last_ack = first.ends["a"][2]
    again = Talk(start=first.t).say("a", SYN, seq=50).say("b", ACK, seq=902, ack=last_ack)
    analysis, ids = look(tmp_path, first, again)
    refused = analysis.connections[1]
    assert (refused.client_state, refused.server_state) == (State.SYN_SENT, State.TIME_WAIT)
    assert refused.verdict.startswith("the server holds the last connection of these ports in TIME_WAIT")
    assert not ids
    again.say("a", RST, seq=last_ack).say("a", SYN, seq=50)
    again.ends["a"][2] = 51
    again.say("b", SYN | ACK, seq=70_000).say("a", ACK, ack=70_001)
    analysis, ids = look(tmp_path, first, again)
    opened = analysis.connections[1]
    moves = [(move.before, move.after) for move in opened.transitions if move.end == "server"]
    assert moves[:2] == [(State.TIME_WAIT, State.CLOSED), (State.LISTEN, State.SYN_RECEIVED)]
    assert (opened.closed_by, opened.to_server.resets_late) == ("", 1)
    assert opened.verdict.startswith("both ends look synchronized")
    assert any("still held an older connection" in note for note in opened.notes)
    assert not ids


def _through_nat(isns=(5000, 70_000), delay_ms=0, port=1000):
    inside, outside = Talk(port, client=(192, 168, 0, 9)), Talk(40_000 + port, start=T0 + (1 + delay_ms) * 10**6)
    for talk in (inside, outside):
        talk.ends["a"][2], talk.ends["b"][2] = isns
        talk.shake().say("a", PSH | ACK, 100).say("b", FIN | ACK).say("a", FIN | ACK).say("b", ACK)
    return inside, outside


@pytest.mark.parametrize("engine", ["python", "compiled"])
def test_connection_before_and_after_nat_is_said_to_look_like_one(tmp_path, engine):
    if engine == "compiled":
        pytest.importorskip("numba")
    talks = [*_through_nat(), *_through_nat((9, 10), port=1001), Talk(7000).shake()]
    late, thrice = _through_nat((77, 78), delay_ms=500, port=1002), [Talk(8000 + n).shake() for n in range(2)]
    path = tmp_path / "nat.pcap"
    path.write_bytes(pcap(sorted(item for talk in (*talks, *late, *thrice) for item in talk.frames)))
    analysis = analyse([path], engine=engine)
    assert analysis.totals.translated == 2 and analysis.totals.connections == 9
    said = {one.number: note for one in analysis.connections for note in one.notes if "NAT" in note}
    assert len(said) == 4
    for number, note in said.items():
        other = analysis.connections[int(note.split()[3]) - 1]
        assert other.server == analysis.connections[number - 1].server
        assert said[other.number] == f"looks like connection {number} on the other side of NAT"


def test_fin_repeated_takes_back_what_was_assumed(tmp_path):
    talk = Talk().shake().say("a", FIN | ACK).say("b", ACK)
    talk.say("a", FIN | ACK, 0, 300, talk.ends["a"][2] - 1)
    (connection,) = look(tmp_path, talk)[0].connections
    assert connection.client_state == State.FIN_WAIT_1
    assert "FIN_WAIT_2" not in {t.after.name for t in connection.transitions}


def test_keepalive_death_is_told_and_late_resets_are_no_attack(tmp_path):
    """As Linux does it: three probes, a reset that is lost behind the capture, FINs that are reset."""
    talk = Talk().shake()
    for _ in range(3):
        talk.say("a", ACK, after_ms=1000, seq=talk.ends["a"][2] - 1)
    talk.say("a", RST | ACK, after_ms=1000).say("b", FIN | ACK, after_ms=2000, seq=901)
    for _ in range(3):
        talk.say("a", RST).say("b", FIN | ACK, after_ms=200, seq=901)
    analysis, _ = look(tmp_path, talk)
    (connection,) = analysis.connections
    assert connection.verdict.startswith("the client gave up: 3 keepalive probes had no answer")
    assert (connection.to_server.resets_late, connection.to_server.resets_blind) == (3, 0)
    assert connection.resets == 4
    (finding,) = analysis.findings
    assert finding.title == "the server vanished: 1 connection with 10.0.0.2:80 speak into silence"
    assert finding.evidence[0] == "3 keepalive probes without an answer, then a reset"


def test_answered_keepalive_probes_are_no_reason_for_a_reset(tmp_path):
    talk = Talk().shake()
    for _ in range(3):
        talk.say("a", ACK, after_ms=1000, seq=talk.ends["a"][2] - 1).say("b", ACK)
    analysis, ids = look(tmp_path, talk.say("a", RST | ACK, after_ms=1000))
    assert analysis.connections[0].verdict.startswith("the client reset the connection")
    assert ids == {"reset-by-peer-rate"}


@pytest.mark.parametrize(("clients", "expected"), [(250, {"syn-flood"}), (5, {"reset-by-peer-rate"}), (2, set())])
def test_syn_ack_answered_by_a_reset_is_no_connection(tmp_path, clients, expected):
    talks = [
        Talk(client=(10, 1, number >> 8, number & 255)).say("a", SYN).say("b", SYN | ACK).say("a", RST)
        for number in range(1, clients + 1)
    ]
    analysis, ids = look(tmp_path, *talks)
    assert ids == expected
    assert analysis.connections[0].verdict.startswith("the client answered the SYN|ACK with a reset")
    assert analysis.connections[0].server_state is State.LISTEN


def test_segment_size_of_the_loopback_fits(tmp_path):
    path = tmp_path / "made.pcap"
    talk = Talk().shake()
    path.write_bytes(pcap([(t, data.replace(b"\x02\x04\x05\xb4", b"\x02\x04\xff\xd7")) for t, data in talk.frames]))
    for engine in ("python", "compiled"):
        if engine == "compiled":
            pytest.importorskip("numba")
        (connection,) = analyse([path], engine=engine).connections
        assert connection.to_server.mss == connection.to_client.mss == 65495


def test_lone_reset_is_no_refusal(tmp_path):
    analysis, ids = look(tmp_path, Talk().say("b", RST | ACK, 58))
    assert "connection-refused-storm" not in ids and analysis.connections[0].closed_how == "reset"


def test_both_ends_repeat_their_fins_because_neither_hears_the_other(tmp_path):
    talk = Talk().shake()
    fin_a, fin_b = talk.ends["a"][2], talk.ends["b"][2]
    for after_ms in (1, 300, 600, 1200):
        talk.say("a", FIN | ACK, after_ms=after_ms, seq=fin_a, ack=fin_b)
        talk.say("b", FIN | ACK, after_ms=after_ms, seq=fin_b, ack=fin_a)
    analysis, _ = look(tmp_path, talk)
    stall = [finding for finding in analysis.findings if finding.id == "retransmission-stall"]
    assert len(stall) == 1 and stall[0].title.startswith("the path is cut on both sides")
    assert analysis.connections[0].verdict == "each end owes the ACK of the other's FIN: they crossed"


@pytest.mark.parametrize("engine", ["python", "compiled"])
def test_fin_repeated_without_acknowledging_the_peers_shows_that_this_was_lost(tmp_path, engine):
    """Recorded from Linux: both FINs were dropped behind the tap, then one of the repetitions came through."""
    if engine == "compiled":
        pytest.importorskip("numba")
    talk = Talk().shake()
    fin_a, fin_b = talk.ends["a"][2], talk.ends["b"][2]
    talk.say("a", FIN | ACK, seq=fin_a, ack=fin_b).say("b", FIN | ACK, seq=fin_b, ack=fin_a)
    talk.say("a", FIN | ACK, after_ms=200, seq=fin_a, ack=fin_b).say("b", ACK, seq=fin_b + 1, ack=fin_a + 1)
    talk.say("b", FIN | ACK, after_ms=10, seq=fin_b, ack=fin_a + 1).say("a", ACK, seq=fin_a + 1, ack=fin_b + 1)
    path = tmp_path / "made.pcap"
    path.write_bytes(pcap(talk.frames))
    (connection,) = analyse([path], engine=engine).connections
    moves = [
        (move.end, move.after.name, round((move.when_ns - T0) / 1e6))
        for move in connection.transitions
        if move.after not in (State.SYN_SENT, State.SYN_RECEIVED, State.ESTABLISHED, State.CLOSED)
    ]
    assert [move[1:] for move in moves if move[0] == "client"] == [
        ("FIN_WAIT_1", 4), ("FIN_WAIT_2", 206), ("TIME_WAIT", 216),
    ]  # fmt: skip
    assert [move[1:] for move in moves if move[0] == "server"] == [
        ("FIN_WAIT_1", 5), ("CLOSING", 5), ("TIME_WAIT", 217),
    ]  # fmt: skip


def test_fin_with_a_zero_window_is_no_slow_reader(tmp_path):
    talk = Talk().shake().say("a", FIN | ACK).say("b", FIN | ACK, wnd=0).say("a", ACK)
    analysis, ids = look(tmp_path, talk)
    assert not ids and analysis.connections[0].zero_windows == 0


def test_octets_never_captured_are_noted(tmp_path):
    talk = Talk().shake().say("a", PSH | ACK, 100).say("b", ACK)
    del talk.frames[3]
    analysis, _ = look(tmp_path, talk)
    assert analysis.connections[0].notes == ("100 octets acknowledged but not captured",)
