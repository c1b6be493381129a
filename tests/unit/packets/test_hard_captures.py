"""What real captures do to a tracker, one thing each: every engine says the same, and says it right."""

import importlib.util
import struct
from collections import Counter

import pytest
from tests.frames import WRAPPINGS
from tests.made_captures import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    T0,
    A,
    B,
    Talk,
    fragment_frame,
    frame,
    icmp_frame,
    pcap,
    random_capture,
)
from tests.packet_engines import everything, rows_of_interpreted, rows_of_pure, run_compiled, run_interpreted

from tcpscope.model.state import State
from tcpscope.packets import analyse

HAS_NUMBA = importlib.util.find_spec("numba") is not None


def read(tmp_path, frames, **header):
    """The analysis of a capture on which all engines agree."""
    path = tmp_path / "made.pcap"
    path.write_bytes(pcap(frames, **header))
    assert rows_of_interpreted(path) == rows_of_pure(path)
    if HAS_NUMBA:
        assert everything(run_compiled(path)) == everything(run_interpreted(path))
    return analyse([path])


def states(connection):
    return connection.client_state.name, connection.server_state.name


def moves(connection, end):
    kinds = ("seen", "inferred", "assumed")
    return [t.after.name for t in connection.transitions if t.end == end and t.certainty in kinds]


def closed_in_order():
    talk = Talk().shake().say("a", PSH | ACK, 100).say("b", ACK).say("b", PSH | ACK, 50).say("a", ACK)
    return talk.say("a", FIN | ACK).say("b", FIN | ACK).say("a", ACK)


IN_ORDER = ("TIME_WAIT", "CLOSED")
CLIENT_ROAD = ["SYN_SENT", "ESTABLISHED", "FIN_WAIT_1", "TIME_WAIT"]
SERVER_ROAD = ["SYN_RECEIVED", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSED"]


def test_handshake_in_any_order_of_capture_is_the_handshake(tmp_path):
    for order in ((1, 0, 2), (0, 2, 1), (1, 2, 0)):
        frames = closed_in_order().frames
        times = [t for t, _ in frames]
        shuffled = [frames[place][1] for place in order] + [data for _, data in frames[3:]]
        (connection,) = read(tmp_path, zip(times, shuffled, strict=True)).connections
        assert str(connection.client) == "10.0.0.1:1000", order
        assert states(connection) == IN_ORDER, order
        assert moves(connection, "client")[:2] == CLIENT_ROAD[:2], order


def test_missing_syn_is_inferred(tmp_path):
    (connection,) = read(tmp_path, closed_in_order().frames[1:]).connections
    assert states(connection) == IN_ORDER
    assert moves(connection, "client") == CLIENT_ROAD
    assert next(t for t in connection.transitions if t.after is State.SYN_SENT).certainty == "inferred"


def test_missing_syn_ack_is_inferred(tmp_path):
    frames = closed_in_order().frames
    (connection,) = read(tmp_path, frames[:1] + frames[2:]).connections
    assert states(connection) == IN_ORDER
    assert moves(connection, "server")[:2] == SERVER_ROAD[:2]


@pytest.mark.parametrize(("port", "road", "end"), [(1000, CLIENT_ROAD, "client"), (80, SERVER_ROAD, "server")])
def test_one_direction_alone_tells_both_ends(tmp_path, port, road, end):
    one_way = [item for item in closed_in_order().frames if item[1][34:36] == struct.pack(">H", port)]
    (connection,) = read(tmp_path, one_way).connections
    assert "one direction captured" in connection.notes
    assert not (connection.to_server.packets and connection.to_client.packets)
    assert [name for name in road if name in moves(connection, end)]
    assert states(connection) != ("LISTEN", "CLOSED")


def test_each_packet_twice_from_a_mirror_changes_no_state(tmp_path):
    frames = [(t + copy * 10, data) for t, data in closed_in_order().frames for copy in (0, 1)]
    (connection,) = read(tmp_path, frames).connections
    assert states(connection) == IN_ORDER
    assert moves(connection, "client") == CLIENT_ROAD
    assert moves(connection, "server") == SERVER_ROAD


@pytest.mark.parametrize("flags", [RST | ACK | PSH, RST | FIN | ACK, RST | FIN])
def test_established_reset_with_data_or_fin_is_a_reset(tmp_path, flags):
    (connection,) = read(tmp_path, Talk().shake().say("b", flags, 58).frames).connections
    assert states(connection) == ("CLOSED", "CLOSED")
    assert (connection.closed_by, connection.closed_how) == ("server", "reset")


def test_established_fins_cross_both_in_closing(tmp_path):
    talk = Talk().shake().say("a", FIN | ACK)
    talk.say("b", FIN | ACK, ack=talk.ends["a"][2] - 1)
    (connection,) = read(tmp_path, talk.frames).connections
    assert connection.closed_by == "both"
    assert states(connection) == ("CLOSING", "CLOSING")
    (connection,) = read(tmp_path, talk.say("a", ACK).say("b", ACK).frames).connections
    assert states(connection) == ("TIME_WAIT", "TIME_WAIT")


def test_syn_sent_split_handshake_opens_both(tmp_path):
    talk = Talk().say("a", SYN).say("b", SYN)
    talk.say("a", SYN | ACK, seq=100).say("b", ACK).say("a", PSH | ACK, 4)
    (connection,) = read(tmp_path, talk.frames).connections
    assert states(connection) == ("ESTABLISHED", "ESTABLISHED")


def test_fast_open_data_in_the_syn(tmp_path):
    talk = Talk().say("a", SYN, 20).say("b", SYN | ACK).say("b", PSH | ACK, 200).say("a", ACK)
    (connection,) = read(tmp_path, talk.frames).connections
    assert any("Fast Open" in note for note in connection.notes)
    assert states(connection) == ("ESTABLISHED", "ESTABLISHED")
    assert connection.to_server.stream_bytes == 20


def test_self_connect_is_one_socket(tmp_path):
    talk = Talk(port=5555, server_port=5555, client=B)
    frames = [
        (T0, frame(B, B, 5555, 5555, 7, 0, SYN)),
        (T0 + 10, frame(B, B, 5555, 5555, 7, 8, SYN | ACK)),
        (T0 + 20, frame(B, B, 5555, 5555, 8, 8, ACK)),
    ]
    assert not talk.frames
    (connection,) = read(tmp_path, frames).connections
    assert states(connection) == ("ESTABLISHED", "ESTABLISHED")
    assert any("self-connect" in note for note in connection.notes)


def test_syn_sent_icmp_unreachable_in_each_family_ends(tmp_path):
    talk = Talk().say("a", SYN)
    frames = [*talk.frames, (talk.t + 5, icmp_frame(B, A, 3, 3, talk.frames[0][1]))]
    (connection,) = read(tmp_path, frames).connections
    assert connection.client_state is State.CLOSED
    assert connection.closed_how == "icmp"


@pytest.mark.parametrize("size", [8, 16, 24, 64, 1480])
def test_connection_in_fragments_is_the_connection(tmp_path, size):
    whole = closed_in_order().frames
    frames = [
        (t + place, piece)
        for number, (t, data) in enumerate(whole)
        for place, piece in enumerate(fragment_frame(data, size, number))
    ]
    analysis = read(tmp_path, frames)
    (connection,) = analysis.connections
    assert (moves(connection, "client"), moves(connection, "server")) == (CLIENT_ROAD, SERVER_ROAD)
    assert (connection.packets, connection.bytes) == (len(whole), 150)
    assert analysis.totals.fragments == 0


def test_fragment_without_its_rest_is_counted_and_never_a_segment(tmp_path):
    frames = closed_in_order().frames
    t, data = frames[3]
    first, *_ = fragment_frame(data, 64, 77)
    analysis = read(tmp_path, [*frames[:3], (t, first), *frames[4:]])
    (connection,) = analysis.connections
    assert analysis.totals.fragments == 1
    assert connection.to_server.missed_bytes == 100
    assert states(connection) == IN_ORDER


def test_snapshot_length_cuts_text_not_numbers(tmp_path):
    whole = read(tmp_path, closed_in_order().frames).connections[0]
    cut = read(tmp_path, closed_in_order().frames, snaplen=54).connections[0]
    assert cut == whole._replace(to_server=cut.to_server, to_client=cut.to_client)
    assert (cut.to_server.text_bytes, cut.to_client.text_bytes) == (100, 50)
    analysis = read(tmp_path, closed_in_order().frames, snaplen=50)
    assert analysis.totals.cut == 10 and not analysis.connections


def test_segment_larger_than_the_wire_with_ip_length_zero(tmp_path):
    talk = Talk().shake().say("a", PSH | ACK, 60_000).say("b", ACK)
    data = bytearray(talk.frames[3][1])
    data[16:18] = b"\0\0"
    (connection,) = read(tmp_path, [*talk.frames[:3], (talk.frames[3][0], bytes(data)), talk.frames[4]]).connections
    assert connection.to_server.text_bytes == 60_000
    assert not connection.to_server.missed_bytes


@pytest.mark.parametrize("total", [1, 11, 19, 20, 39, 40])
def test_ip_length_shorter_than_its_headers(tmp_path, total):
    talk = Talk().shake().say("a", PSH | ACK, 20)
    data = bytearray(talk.frames[3][1])
    data[16:18] = total.to_bytes(2, "big")
    analysis = read(tmp_path, [*talk.frames[:3], (talk.frames[3][0], bytes(data))])
    assert analysis.totals.not_tcp == (total < 20)
    assert analysis.connections[0].to_server.text_bytes == 0


def test_checksums_are_not_judged(tmp_path):
    """Offload leaves them unfilled in captures of the sending host; made frames carry 0."""
    frames = [(t, data[:50] + b"\xde\xad" + data[52:]) for t, data in closed_in_order().frames]
    (connection,) = read(tmp_path, frames).connections
    assert states(connection) == IN_ORDER


def test_tunnels_are_not_looked_into(tmp_path):
    inner = closed_in_order().frames
    vxlan = struct.pack(">HHHHII", 4789, 4789, 0, 0, 8 << 24, 1 << 8)
    for protocol, head, skip in ((47, b"\0\0\x08\0", 14), (4, b"", 14), (17, vxlan, 0)):
        frames = []
        for t, data in inner:
            body = head + data[skip:]
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0, bytes(A), bytes(B))
            frames.append((t, data[:14] + ip + body))
        analysis = read(tmp_path, frames)
        assert not analysis.connections and analysis.totals.not_tcp == len(inner)


@pytest.mark.parametrize("name", WRAPPINGS)
def test_every_link_layer_gives_the_same_connection(tmp_path, name):
    link_type, wrap, _ = WRAPPINGS[name]
    plain = read(tmp_path, closed_in_order().frames).connections[0]
    wrapped = read(tmp_path, [(t, wrap(data[14:])) for t, data in closed_in_order().frames], link_type=link_type)
    assert list(wrapped.connections) == [plain]


def test_end_inside_a_packet_keeps_what_was_before(tmp_path):
    raw = pcap(closed_in_order().frames)
    for cut in range(1, 70, 7):
        path = tmp_path / "cut.pcap"
        path.write_bytes(raw[:-cut])
        analysis = analyse([path])
        assert len(analysis.damage) == 1 and analysis.connections[0].packets == 9


@pytest.mark.parametrize(
    "engine", ["python", pytest.param("compiled", marks=pytest.mark.skipif(not HAS_NUMBA, reason="no numba"))]
)
def test_counts_of_final_pairs_are_those_of_the_connections(tmp_path, engine):
    path = tmp_path / "made.pcap"
    path.write_bytes(pcap([item for seed in range(60) for item in random_capture(seed, flows=8)]))
    analysis = analyse([path], engine=engine)
    counted = Counter((one.client_state, one.server_state) for one in analysis.connections)
    assert analysis.totals.state_pairs == counted
    assert [one.number for one in analysis.connections] == list(range(1, len(analysis.connections) + 1))
    assert any(one.opened_by == "both" for one in analysis.connections)


def test_time_wait_syn_below_the_old_numbers_is_answered_by_the_old_ack(tmp_path):
    """RFC 6191, RFC 9293 §3.6.1: neither timestamp nor number is new, so TIME-WAIT answers; the client resets."""
    first = Talk().shake().say("b", FIN | ACK).say("a", FIN | ACK).say("b", ACK)
    again = Talk(start=first.t)
    old_seq, old_ack = first.ends["b"][2], first.ends["a"][2]
    again.say("a", SYN, seq=50).say("b", ACK, seq=old_seq, ack=old_ack).say("a", RST, seq=old_ack)
    refused = read(tmp_path, first.frames + again.frames).connections
    assert [one.incarnation for one in refused] == [0, 1]
    assert states(refused[0]) == ("CLOSED", "TIME_WAIT") or states(refused[0]) == ("TIME_WAIT", "CLOSED")
    assert refused[1].server_state is not State.ESTABLISHED and "SYN_RECEIVED" not in moves(refused[1], "server")
    again.ends["a"][2], again.ends["b"][2] = 50, 900_000
    opened = read(tmp_path, first.frames + again.shake().frames).connections[-1]
    assert states(opened) == ("ESTABLISHED", "ESTABLISHED")
