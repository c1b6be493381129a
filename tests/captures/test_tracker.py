"""Both ends' states on real captures: kernel truth, Zeek's and tshark's results, and engines that agree."""

import csv
import json

import pytest
from tests.packet_engines import everything, rows_of_interpreted, rows_of_pure, run_compiled, run_interpreted

from tcpscope.machine.linux import judge as judge_kernel
from tcpscope.model.state import State
from tcpscope.packets import analyse

#: What Zeek says otherwise, and why; docs/explanation/captures-and-zeek.md tells the story.
DIFFERS = {
    ("zeek-syn-then-stuff-then-rst.pcap", "conn_state"): ("OTH", "RSTOS0"),
    ("zeek-pppoe-over-qinq.pcap", "history"): ("ShADdtaTTtFf", "ShADdtaTtTFf"),
    ("zeek-ssh-dups.pcap", "history"): ("ShADTadtTtFf", "ShADadFf"),
}


def _captures(folder):
    return sorted(path for path in (folder / "captures").rglob("*.pcap*"))


def test_engines_agree_on_every_capture(shared_folder):
    paths = _captures(shared_folder)
    assert len(paths) >= 18
    for path in paths:
        assert rows_of_interpreted(path) == rows_of_pure(path), path.name


@pytest.mark.slow
def test_compiled_engine_agrees_on_every_capture_in_every_number(shared_folder):
    pytest.importorskip("numba")
    for path in _captures(shared_folder):
        assert everything(run_compiled(path)) == everything(run_interpreted(path)), path.name


def test_both_engines_give_the_same_answer_to_every_capture(shared_folder):
    pytest.importorskip("numba")
    for path in sorted((shared_folder / "captures").glob("*.pcap*")):
        one, other = (analyse([path], engine=engine) for engine in ("python", "compiled"))
        assert list(one.connections) == list(other.connections), path.name
        assert one.findings == other.findings, path.name
        assert one.totals._replace(engine="") == other.totals._replace(engine=""), path.name
        assert list(one.totals.state_pairs) == list(other.totals.state_pairs), path.name


def test_kernel_truth_of_the_pilot(shared_folder):
    folder = shared_folder / "captures" / "lab-truth"
    truth = {
        tuple(ports): [(State.parse(before), State.parse(after)) for before, after in moves]
        for ports, moves in json.loads((folder / "truth.json").read_text())
        if 0 not in ports
    }
    compared = 0
    for connection in analyse([folder / "truth.pcap"]).connections:
        for end, ports in (
            ("client", (connection.client.port, connection.server.port)),
            ("server", (connection.server.port, connection.client.port)),
        ):
            if ports not in truth or (end == "server" and ports[0] == ports[1]):
                continue
            ours = [(t.before, t.after) for t in connection.transitions if t.end == end and t.certainty != "expected"]
            assert _as_the_kernel_says(ours) == [m for m in truth[ports] if m[0] != State.CLOSED], (ports, end)
            compared += 1
    assert compared == 12


def _as_the_kernel_says(moves):
    """Apply the named deviations: mini-sockets hide what follows FIN_WAIT2 and CLOSING, sockets open unbound."""
    told = []
    for before, after in moves:
        if before in (State.CLOSED, State.TIME_WAIT):
            continue
        if after == State.TIME_WAIT or (before, after) == (State.FIN_WAIT_2, State.CLOSED):
            assert judge_kernel(before, State.CLOSED)[1]
            after = State.CLOSED
        told.append((before, after))
    if told and told[-1] == (State.FIN_WAIT_1, State.FIN_WAIT_2):  # an orphan: the mini-socket waits
        told.append((State.FIN_WAIT_2, State.CLOSED))
    return told


def _zeek_rows(folder):
    with (folder / "captures" / "ZEEK-EXPECT.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_zeek_expectations_agree_or_differ_as_written(shared_folder):
    compared = 0
    for row in _zeek_rows(shared_folder):
        connections = analyse([shared_folder / "captures" / row["file"]]).connections
        found = [c for c in connections if row["orig"] in ("-", str(c.client))]
        assert found, row
        c = found[0]
        ours = {
            "resp": str(c.server), "conn_state": c.conn_state, "history": c.history,
            "orig_pkts": str(c.to_server.packets), "resp_pkts": str(c.to_client.packets),
            "orig_bytes": str(c.to_server.stream_bytes), "resp_bytes": str(c.to_client.stream_bytes),
            "missed": str(c.to_server.missed_bytes + c.to_client.missed_bytes),
        }  # fmt: skip
        for column, value in ours.items():
            if row[column] == "-":
                continue
            assert DIFFERS.get((row["file"], column), (row[column], row[column])) == (row[column], value), (row, column)
            compared += 1
    assert compared >= 25


def test_community_id_of_the_published_example(shared_folder):
    (connection,) = analyse([shared_folder / "captures" / "zeek-handshake-reorder.pcap"]).connections
    assert connection.community_id == "1:yvyB8h+3dnggTZW0UEITWCst97w="


@pytest.mark.parametrize(
    ("name", "client", "server"),
    [
        ("zeek-fin_retransmission.pcap", "CLOSED", "CLOSED"),
        ("suricata-split-handshake-4whs.pcap", "CLOSED", "CLOSED"),
        ("arkime-mysql-deny-simclose.pcap", "CLOSING", "CLOSING"),
        ("pcpp-nanosecs_big_endian.pcap", "CLOSE_WAIT", "FIN_WAIT_1"),
        ("pcpp-rawip-ipv6-http.pcap", "ESTABLISHED", "ESTABLISHED"),
    ],
)
def test_final_states(shared_folder, name, client, server):
    (connection,) = analyse([shared_folder / "captures" / name]).connections
    assert (connection.client_state.name, connection.server_state.name) == (client, server)


#: Where tshark counts otherwise: (capture, stream, column) -> (tshark, tcpscope). The docs say why.
TSHARK_DIFFERS = {
    ("arkime-tcp_handshake_synthetic.pcap", "3", "retrans"): (1, 0),
    ("arkime-tcp_handshake_synthetic.pcap", "15", "dupack"): (1, 0),
    # each packet was captured four times
    ("arkime-wireshark-retrans.pcap", "0", "pktsA"): (4 * 16, 16),
    ("arkime-wireshark-retrans.pcap", "0", "pktsB"): (4 * 11, 11),
    ("arkime-wireshark-retrans.pcap", "0", "bytesA"): (4 * 5222, 5222),
    ("arkime-wireshark-retrans.pcap", "0", "bytesB"): (4 * 576, 576),
    ("arkime-wireshark-retrans.pcap", "0", "retrans"): (47, 0),
    ("arkime-wireshark-retrans.pcap", "0", "ooo"): (1, 0),
    ("arkime-wireshark-retrans.pcap", "0", "dupack"): (27, 0),
    ("arkime-wireshark-retrans.pcap", "0", "keepalive"): (1, 0),
    # each but the handshake's
    ("zeek-ssh-dups.pcap", "0", "pktsA"): (225, 58),
    ("zeek-ssh-dups.pcap", "0", "pktsB"): (152, 39),
    ("zeek-ssh-dups.pcap", "0", "bytesA"): (4 * 3705, 3705),
    ("zeek-ssh-dups.pcap", "0", "bytesB"): (4 * 4273, 4273),
    ("zeek-ssh-dups.pcap", "0", "retrans"): (166, 0),
    ("zeek-ssh-dups.pcap", "0", "dupack"): (114, 0),
    ("zeek-pppoe-over-qinq.pcap", "0", "retrans"): (23, 31),
    ("zeek-pppoe-over-qinq.pcap", "0", "ooo"): (2, 0),
    ("zeek-pppoe-over-qinq.pcap", "0", "dupack"): (13, 12),
    ("zeek-pppoe-over-qinq.pcap", "0", "bytesB"): (11105, 11141),
}


def test_counts_of_tshark_agree_or_differ_as_written(shared_folder):
    with (shared_folder / "captures" / "ORACLE.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    differing = {}
    compared = 0
    for name in sorted({row["file"] for row in rows}):
        streams = [row for row in rows if row["file"] == name]
        connections = list(analyse([shared_folder / "captures" / name]).connections)
        assert len(connections) == len(streams), name
        for row, c in zip(streams, connections, strict=True):
            is_flipped = f"{c.client.address}:{c.client.port}" != row["A"]
            a, b = (c.to_client, c.to_server) if is_flipped else (c.to_server, c.to_client)
            ours = {
                "pktsA": a.packets, "pktsB": b.packets, "bytesA": a.text_bytes, "bytesB": b.text_bytes,
                "rst": c.resets, "retrans": c.retransmissions, "ooo": c.out_of_order, "zerowin": c.zero_windows,
                "dupack": a.duplicate_acks + b.duplicate_acks, "keepalive": a.keepalives + b.keepalives,
            }  # fmt: skip
            for column, count in ours.items():
                compared += 1
                if int(row[column]) != count:
                    differing[name, row["stream"], column] = (int(row[column]), count)
    assert differing == TSHARK_DIFFERS
    assert compared >= 320
