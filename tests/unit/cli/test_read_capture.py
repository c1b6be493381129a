"""``tcpscope read`` and its views on a capture made here: a handshake, data, a close, and a refused connection."""

import json
import re

import pytest

from tcpscope.capture.pcap import PcapWriter
from tcpscope.cli.main import main
from tcpscope.model.segment import ACK, FIN, PSH, RST, SYN, Options, Segment
from tcpscope.wire import emit, link

CLIENT, SERVER = bytes((192, 0, 2, 1)), bytes((198, 51, 100, 7))
START_NS = 1_700_000_000_000_000_000
#: (from the client?, port of the client, segment), a millisecond apart.
SEGMENTS = [
    (True, 40000, Segment(1000, 0, SYN, 512, options=Options(1460))),
    (False, 40000, Segment(5000, 1001, SYN | ACK, 512, options=Options(1460))),
    (True, 40000, Segment(1001, 5001, ACK, 512)),
    (True, 40000, Segment(1001, 5001, ACK | PSH, 512, b"hello")),
    (False, 40000, Segment(5001, 1006, ACK, 512)),
    (True, 40000, Segment(1006, 5001, FIN | ACK, 512)),
    (False, 40000, Segment(5001, 1007, ACK, 512)),
    (False, 40000, Segment(5001, 1007, FIN | ACK, 512)),
    (True, 40000, Segment(1007, 5002, ACK, 512)),
    (True, 40001, Segment(9000, 0, SYN, 512)),
    (False, 40001, Segment(0, 9001, RST | ACK, 0)),
]


@pytest.fixture
def capture(tmp_path):
    path = tmp_path / "made.pcap"
    with open(path, "wb") as file:
        writer = PcapWriter(file, link.RAW)
        for index, (is_client, port, segment) in enumerate(SEGMENTS):
            ends = (CLIENT, SERVER, port, 80) if is_client else (SERVER, CLIENT, 80, port)
            writer.write(START_NS + index * 1_000_000, emit.emit_packet(segment, *ends))
    return str(path)


def run(capsys, *arguments):
    assert main(["read", *arguments]) == 0
    return capsys.readouterr().out


def test_table_counts_pairs_then_lists_connections(capture, capsys):
    out = run(capsys, capture)
    assert re.match(r"11 packets in 0\.010 s from \S+, 11 TCP segments, 2 connections\n", out)
    assert re.search(r"^ +1  TIME_WAIT +CLOSE +closed in order: nobody owes a packet$", out, re.MULTILINE)
    assert re.search(r"^1 192\.0\.2\.1:40000 198\.51\.100\.7:80 TIME_WAIT CLOSE +9 +5 ", out, re.MULTILINE)
    assert re.search(r"^2 192\.0\.2\.1:40001 .* CLOSE +CLOSE .* server refused REJ ", out, re.MULTILINE)


def test_lines_show_states_changes_and_steps(capture, capsys):
    lines = run(capsys, capture, "--lines", "--names", "rfc").splitlines()
    assert len(lines) == 11
    assert lines[1].split(" ", 1)[1] == (
        "IP 198.51.100.7.80 (LISTEN→SYN-RECEIVED) > 192.0.2.1.40000 (SYN-SENT→ESTABLISHED): Flags [S.], seq 5000, "
        "ack 1001, win 512, options [mss 1460], length 0 (handshake 2 of 3)"
    )
    assert lines[3].endswith("Flags [P.], seq 1:6, ack 1, win 512, length 5")
    assert [re.search(r"\((close [^)]*)\)", line)[1] for line in lines if "(close" in line] == [
        "close 1 of 4", "close 2 of 4", "close 3 of 4", "close 4 of 4",
    ]  # fmt: skip
    assert "(LISTEN→CLOSED)" in lines[10]


def test_limit_holds_for_the_table_and_for_lines(capture, capsys):
    assert len(run(capsys, capture, "--lines", "--limit", "3").splitlines()) == 3
    assert len(run(capsys, capture, "--lines", "--limit", "0").splitlines()) == 11
    assert len(run(capsys, capture, "--limit", "1", "--csv").splitlines()) == 2
    assert main(["read", capture, "--limit", "-1"]) == 2


def test_ladder_says_what_is_inferred_and_expected(capture, capsys):
    out = run(capsys, capture, "--ladder", "1")
    rungs = [line for line in out.splitlines() if line.startswith(" ") and ("─" in line or "…" in line)]
    assert [re.sub(r"[ ─]+", " ", rung).split("client:")[0].split("server:")[0].strip() for rung in rungs] == [
        "+0.000000 SYN_SENT S seq 1000 ▶ LISTEN??",
        "+0.001000 ESTABLISHED? ◀ S. seq 5000 ack 1001 SYN_RECV",
        "+0.002000 . seq 1 ack 1 ▶ ESTABLISHED?",
        "+0.003000 P. seq 1 ack 1 5 B ▶",
        "+0.004000 ◀ . seq 1 ack 6",
        "+0.005000 FIN_WAIT1 F. seq 6 ack 1 ▶ CLOSE_WAIT?",
        "+0.006000 FIN_WAIT2? ◀ . seq 1 ack 7",
        "+0.007000 TIME_WAIT? ◀ F. seq 1 ack 7 LAST_ACK",
        "+0.008000 . seq 7 ack 2 ▶ CLOSE??",
        "+60.008000 CLOSE…",
    ]


@pytest.mark.parametrize(
    ("moment", "states"),
    [
        ("+0.0035", {"client": "ESTABLISHED", "server": "ESTABLISHED"}),
        ("+0.0065", {"client": "FIN_WAIT_2", "server": "CLOSE_WAIT"}),
        ("+0.0075", {"client": "TIME_WAIT", "server": "LAST_ACK"}),
        ("+30", {"client": "TIME_WAIT"}),
        ("+100", {}),
    ],
)
def test_state_at_follows_both_ends(capture, capsys, moment, states):
    whole = json.loads(run(capsys, capture, "--state-at", moment, "--json"))
    found = {end["end"]: end["state"] for end in whole["sockets"] if end["connection"] == 1}
    assert found == states or (moment == "+100" and all(end["or_state"] for end in whole["sockets"]))


def test_exports_and_json_agree(capture, capsys):
    whole = json.loads(run(capsys, capture, "--json"))
    zeek = [json.loads(line) for line in run(capsys, capture, "--export", "zeek-json").splitlines()]
    assert [log["conn_state"] for log in zeek] == ["SF", "REJ"]
    assert [log["community_id"] for log in zeek] == [one["community_id"] for one in whole["connections"]]
    tsv = run(capsys, capture, "--export", "zeek").splitlines()
    assert len([line for line in tsv if not line.startswith("#")]) == 2
    csv = run(capsys, capture, "--csv", "-o", "client-state,server-state", "--names", "ss").splitlines()
    assert csv == ["client-state,server-state", "TIME-WAIT,UNCONN", "UNCONN,UNCONN"]


def test_options_of_the_other_kind_are_refused(capture, tmp_path, capsys):
    dump = tmp_path / "dump.txt"
    dump.write_text("Proto Recv-Q Send-Q Local Address Foreign Address State\ntcp 0 0 0.0.0.0:22 0.0.0.0:* LISTEN\n")
    for arguments in ([capture, "--filter", "pid = 1"], [str(dump), "--ladder", "1"]):
        assert main(["read", *arguments]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_prepare_compiles_once_and_says_so(monkeypatch, capsys):
    from tcpscope.packets import compiled

    done = []
    monkeypatch.setattr(compiled, "is_ready", lambda: bool(done))
    monkeypatch.setattr(compiled, "prepare", lambda progress: done.append(progress))
    monkeypatch.setattr(compiled, "is_kept", lambda: True)
    assert run(capsys, "--prepare") == "the engine for large captures is compiled\n"
    assert run(capsys, "--prepare") == "the engine for large captures is ready\n"
    monkeypatch.setattr(compiled, "is_kept", lambda: False)
    assert main(["read", "--prepare"]) == 1
    assert "cannot be kept" in capsys.readouterr().err


def test_prepare_reads_nothing(capture, capsys):
    assert main(["read", "--prepare", capture]) == 2
    assert "give it alone" in capsys.readouterr().err


def test_prepare_without_the_extra_says_how_to_install(tmp_path, monkeypatch, capsys):
    import sys

    from tcpscope import native

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "_loaded", {})
    monkeypatch.setitem(sys.modules, "numba", None)
    assert main(["read", "--prepare"]) == 1
    assert "pip install 'tcpscope[fast]'" in capsys.readouterr().err


def test_reading_leaves_the_collector_of_cycles_as_it_was(capture, capsys):
    import gc

    assert gc.isenabled()
    run(capsys, capture)
    assert gc.isenabled()
    gc.disable()
    try:
        run(capsys, capture)
        assert not gc.isenabled()
    finally:
        gc.enable()
