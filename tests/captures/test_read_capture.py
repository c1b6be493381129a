"""``tcpscope read CAPTURE`` as a person runs it, against tcpdump, Zeek's expectations and the contract."""

import gzip
import io
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from tests.captures.test_tracker import DIFFERS
from tests.peers import peer, run_peer

from tcpscope.capture.libpcap_filter import is_available
from tcpscope.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
NAMES = [
    "arkime-mysql-deny-simclose.pcap", "arkime-wireshark-retrans.pcap", "pcpp-fin_rst_close.pcap",
    "pcpp-nanosecs_big_endian.pcap", "pcpp-rawip-ipv6-http.pcap", "zeek-fin_retransmission.pcap",
    "zeek-miss_end_data.pcap", "zeek-ssh-dups.pcap",
]  # fmt: skip
LINE = re.compile(
    r"^\S+ (?P<family>IP6?) (?P<source>\S+)(?: \([^)]*\))? > (?P<destination>[^ :]*(?::[^ ]+)*?)(?: \([^)]*\))?: "
    r"Flags \[(?P<flags>[^]]*)\]"
)


def numbers(line):
    """Ends, flags and numbers of a line of tcpdump or of ours."""
    line = re.sub(r" \([A-Z_0-9→]+\)", "", line)
    found = LINE.match(line)
    assert found, line
    pick = {key: re.search(rf"\b{key} ([0-9:]+)", line.split("options")[0]) for key in ("seq", "ack", "win")}
    length = re.search(r"length (\d+)", line)
    values = {key: hit and hit[1] for key, hit in pick.items()}
    if "S" not in found["flags"] and "." not in found["flags"]:
        values["seq"] = None  # Why: tcpdump falls back to absolute numbers without an ACK
    return (*found.groups(), *values.values(), length[1])


@pytest.fixture
def captures(shared_folder):
    return shared_folder / "captures"


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_those_of_tcpdump(name, captures, capsys):
    assert main(["read", str(captures / name), "--lines"]) == 0
    ours = [numbers(line) for line in capsys.readouterr().out.splitlines()]
    theirs = [numbers(line) for line in run_peer("tcpdump", "-n", "-r", captures / name).splitlines()]
    assert ours == theirs


def test_lines_count_handshake_and_close(captures, capsys):
    main(["read", str(captures / "zeek-miss_end_data.pcap"), "--lines"])
    steps = re.findall(r"\(((?:handshake|close) [^)]*)\)", capsys.readouterr().out)
    assert steps == [
        "handshake 1 of 3", "handshake 2 of 3", "handshake 3 of 3",
        "close 1 of 4", "close 2 of 4", "close 3 of 4", "close 4 of 4",
    ]  # fmt: skip


def expectations(captures):
    rows = (captures / "ZEEK-EXPECT.tsv").read_text().splitlines()
    head = rows[0].split("\t")
    return [dict(zip(head, row.split("\t"), strict=True)) for row in rows[1:]]


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("zeek-fin_retransmission.pcap", ("156", "92")), ("zeek-missing-syn.pcap", ("670", "9945")),
        ("zeek-miss_end_data.pcap", ("750", "172")), ("zeek-pppoe-over-qinq.pcap", ("25283", "13001")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("engine", ["python", "compiled"])
def test_octets_of_ip_are_those_of_zeeks_baselines(name, octets, engine, captures, capsys):
    if engine == "compiled":
        pytest.importorskip("numba")
    assert main(["read", str(captures / name), "--export", "zeek", "--engine", engine]) == 0
    lines = capsys.readouterr().out.splitlines()
    fields = next(line for line in lines if line.startswith("#fields")).split("\t")[1:]
    log = dict(zip(fields, next(line for line in lines if line[0] != "#").split("\t"), strict=True))
    assert (log["orig_ip_bytes"], log["resp_ip_bytes"]) == octets


def test_zeek_log_agrees_with_zeek(captures, capsys):
    """conn_state, history, packets and bytes of every capture whose values Zeek's own tests expect."""
    checked = 0
    for expected in expectations(captures):
        assert main(["read", str(captures / expected["file"]), "--export", "zeek"]) == 0
        lines = capsys.readouterr().out.splitlines()
        fields = next(line for line in lines if line.startswith("#fields")).split("\t")[1:]
        logs = [dict(zip(fields, line.split("\t"), strict=True)) for line in lines if not line.startswith("#")]
        mine = {f"{log['id.orig_h']}:{log['id.orig_p']}": log for log in logs}
        log = mine[expected["orig"]] if expected["orig"] != "-" else logs[0]
        for ours, theirs in (
            ("conn_state", "conn_state"), ("history", "history"), ("orig_pkts", "orig_pkts"),
            ("resp_pkts", "resp_pkts"), ("orig_bytes", "orig_bytes"), ("resp_bytes", "resp_bytes"),
            ("missed_bytes", "missed"),
        ):  # fmt: skip
            if expected[theirs] != "-" and (expected["file"], ours) not in DIFFERS:
                assert log[ours] == expected[theirs], (expected["file"], ours)
                checked += 1
        named = re.search(r"1:[A-Za-z0-9+/=]{28}", expected["note"])
        if named:
            assert log["community_id"] == named[0]
    assert checked >= 20


def test_json_is_one_object_of_the_contract(captures, capsys):
    assert main(["read", str(captures / "zeek-missing-syn.pcap"), "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["schema"] == "tcpscope.read/1"
    (connection,) = whole["connections"]
    assert connection["client"] == {"address": "141.42.64.125", "port": 56730}
    assert (connection["client_state"], connection["server_state"]) == ("TIME_WAIT", "CLOSED")
    assert connection["zeek"] == {"conn_state": "SF", "history": "^hADdFaf"}
    wanted = {
        "client", "server", "start_ns", "end_ns", "client_state", "server_state", "transitions", "packets", "bytes",
        "retransmissions", "out_of_order", "zero_windows", "resets", "zeek", "community_id", "handshake_ms",
        "closed_by", "notes",
    }  # fmt: skip
    assert wanted <= set(connection)
    assert {"t_ns", "packet", "end", "before", "after", "event", "certainty"} <= set(connection["transitions"][0])
    assert whole["damage"] == []


def test_table_begins_with_pairs_of_states_and_verdicts(captures, capsys):
    assert main(["read", str(captures / "pcpp-fin_rst_close.pcap")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("13 packets in ")
    assert re.search(
        r"^ +count +client is +server is +verdict\n +1 +[A-Z_0-9]+ +[A-Z_0-9]+ +[a-z]{3}", out, re.MULTILINE
    ), out
    assert "192.168.221.130:43766" in out


def test_columns_sort_csv_and_limit(captures, capsys):
    path = str(captures / "arkime-tcp_handshake_synthetic.pcap")
    assert main(["read", path, "-o", "number,packets", "--sort", "-packets", "--csv", "--limit", "3"]) == 0
    out, err = capsys.readouterr()
    rows = [line.split(",") for line in out.splitlines()]
    assert rows[0] == ["number", "packets"]
    assert len(rows) == 4
    assert [int(row[1]) for row in rows[1:]] == sorted((int(row[1]) for row in rows[1:]), reverse=True)
    assert "13 more connections" in err


@pytest.mark.parametrize(
    "arguments", [["-o", "nope"], ["--sort", "nope"], ["--ladder", "99"], ["--svg"], ["--state-at", "noon"],
                  ["--export", "parquet"], ["--limit", "x"]],
)  # fmt: skip
def test_bad_option_is_one_line_and_exit_2(arguments, captures, capsys):
    assert main(["read", str(captures / "zeek-missing-syn.pcap"), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("tcpscope: ")
    assert err.count("\n") == 1


def test_ladder_shows_every_segment_and_both_ends(captures, capsys):
    assert main(["read", str(captures / "zeek-miss_end_data.pcap"), "--ladder", "1"]) == 0
    rungs = [line for line in capsys.readouterr().out.splitlines() if "─" in line]
    assert len(rungs) == 9
    assert re.search(r"SYN_SENT +─+ S seq .*▶ LISTEN\?\?", rungs[0])
    assert re.search(r"ESTABLISHED\? +◀─.* S\. .*SYN_RECV", rungs[1])
    assert re.search(r"CLOSE\?\? +◀─", rungs[-1])


def test_ladder_from_a_pipe_reads_it_twice(captures):
    raw = (captures / "zeek-miss_end_data.pcap").read_bytes()
    done = subprocess.run(
        [sys.executable, ROOT / "tcpscope", "read", "-", "--ladder", "1"], input=raw, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().count("▶") + done.stdout.decode().count("◀") == 9


def test_ladder_as_svg_is_well_formed(captures, capsys):
    assert main(["read", str(captures / "zeek-ssh-dups.pcap"), "--ladder", "1", "--svg"]) == 0
    root = ElementTree.fromstring(capsys.readouterr().out)
    arrows = [part for part in root.iter() if part.tag.endswith("path")]
    assert len(arrows) == 97  # of 377 packets, most captured four times


def test_state_at_is_what_ss_shows(captures, capsys):
    path = str(captures / "zeek-miss_end_data.pcap")
    assert main(["read", path, "--state-at", "+1"]) == 0
    out = capsys.readouterr().out
    assert out.count("ESTAB") == 2
    assert main(["read", path, "--state-at", "+10.0480", "--json"]) == 0
    ends = {end["end"]: end for end in json.loads(capsys.readouterr().out)["sockets"]}
    assert (ends["server"]["state"], ends["server"]["or_state"]) == ("FIN_WAIT_1", None)
    assert (ends["client"]["state"], ends["client"]["or_state"]) == ("ESTABLISHED", "CLOSE_WAIT")
    assert main(["read", path, "--state-at", "1331764600"]) == 0
    assert "ESTAB" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_tables_hold_every_connection_and_transition(kind, captures, tmp_path, capsys):
    pyarrow = pytest.importorskip("pyarrow")
    path = str(captures / "arkime-tcp_handshake_synthetic.pcap")
    assert main(["read", path, "--export", kind, "--to", str(tmp_path / "out")]) == 0
    names = capsys.readouterr().out.split()
    read = pyarrow.parquet.read_table if kind == "parquet" else pyarrow.feather.read_table
    connections, transitions = (read(name) for name in names)
    main(["read", path, "--json"])
    whole = json.loads(capsys.readouterr().out)["connections"]
    assert connections["community_id"].to_pylist() == [one["community_id"] for one in whole]
    assert len(transitions) == sum(len(one["transitions"]) for one in whole)
    assert transitions["after"].to_pylist() == [move["after"] for one in whole for move in one["transitions"]]


def test_zeek_json_has_zeek_names(captures, capsys):
    assert main(["read", str(captures / "zeek-missing-syn.pcap"), "--export", "zeek-json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    log = json.loads(line)
    assert (log["id.orig_h"], log["conn_state"], log["orig_bytes"]) == ("141.42.64.125", "SF", 98)


def test_damaged_capture_is_shown_said_and_exit_1(captures, tmp_path, capsys):
    raw = (captures / "zeek-missing-syn.pcap").read_bytes()
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(raw[:-7])
    assert main(["read", str(cut)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("20 packets")
    assert re.search(r"damaged: .*cut.pcap: the file ends inside a packet \(\d+ of \d+ captured bytes\) \(at byte", err)
    assert main(["read", str(cut), "--json"]) == 1
    (damage,) = json.loads(capsys.readouterr().out)["damage"]
    assert damage["place_bytes"] > 6000


def test_folder_pattern_and_compressed_files(captures, tmp_path, capsys):
    raw = (captures / "zeek-missing-syn.pcap").read_bytes()
    (tmp_path / "a.pcap.gz").write_bytes(gzip.compress(raw))
    (tmp_path / "notes.txt").write_text("not a capture")
    for words in ([str(tmp_path)], [str(tmp_path / "*.gz")]):
        assert main(["read", *words]) == 0
        assert capsys.readouterr().out.startswith("21 packets")
    assert main(["read", str(tmp_path / "none*")]) == 1


def test_file_that_is_no_capture_is_one_line(tmp_path, capsys):
    for name, raw in (("snoop", b"snoop\0\0\0\0\0\0\2"), ("bad.gz", b"\x1f\x8b\x08\0" + bytes(20)), ("zero", b"")):
        path = tmp_path / name
        path.write_bytes(raw)
        assert main(["read", str(path)]) in (1, 2)
        assert capsys.readouterr().err.count("\n") == 1


def test_pipe_from_tcpdump(captures):
    path = captures / "zeek-ssh-dups.pcap"
    with subprocess.Popen(
        [peer("tcpdump"), "-r", path, "-w", "-"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as first:
        done = subprocess.run(
            [sys.executable, ROOT / "tcpscope", "read", "-"], stdin=first.stdout, capture_output=True, check=False
        )
    assert done.stdout.decode().startswith("377 packets"), done.stderr


@pytest.mark.skipif(not is_available(), reason="libpcap is not installed")
def test_filter_selects_what_tcpdump_selects(captures):
    from tcpscope.capture import open_capture
    from tcpscope.capture.libpcap_filter import PacketFilter

    path = captures / "zeek-ssh-dups.pcap"
    for expression in ("src port 22", "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "greater 200", "udp"):
        with open_capture(path) as source:
            packet_filter = PacketFilter(expression, 1)
            kept = sum(len(packet_filter.select(chunk).offset) for chunk in source.iter_chunks())
            packet_filter.close()
        assert kept == len(run_peer("tcpdump", "-n", "-r", path, expression).splitlines())


def test_growing_file_is_read_as_it_grows(tmp_path, captures):
    from tcpscope.capture import open_capture

    raw = (captures / "zeek-ssh-dups.pcap").read_bytes()
    path = tmp_path / "grows.pcap"
    path.write_bytes(raw[:1000])
    with open_capture(path, follow=True) as source:
        chunks = source.iter_chunks()
        seen = len(next(chunks).offset)
        with open(path, "ab") as file:
            file.write(raw[1000:])
        while seen < 377:
            seen += len(next(chunks).offset)
    assert seen == 377
    assert source.damage == []


def test_file_still_being_written_is_said(captures):
    """The file is longer at the end than what could be read of it."""

    class Growing(io.FileIO):
        def readinto(self, view):
            return super().readinto(view[: max(0, min(len(view), 1000 - self.tell()))])

    from tcpscope.capture import open_capture

    with open_capture(Growing(os.fspath(captures / "zeek-ssh-dups.pcap"))) as source:
        packets = sum(len(chunk.offset) for chunk in source.iter_chunks())
    assert packets > 3
    assert source.damage[0].what.endswith("it is still being written")


def test_ladder_over_several_files_counts_packets_on(captures, tmp_path, capsys):
    from tcpscope.capture.pcap import PcapWriter

    with open_source(captures / "zeek-miss_end_data.pcap") as source:
        packets = list(source.iter_packets())
    for name, part in (("a.pcap", packets[:4]), ("b.pcap", packets[4:])):
        with open(tmp_path / name, "wb") as file:
            writer = PcapWriter(file, 1)
            for packet in part:
                writer.write(packet.t_ns, packet.data, packet.original_len)
    main(["read", str(captures / "zeek-miss_end_data.pcap"), "--ladder", "1"])
    whole = capsys.readouterr().out
    assert main(["read", str(tmp_path), "--ladder", "1"]) == 0
    assert capsys.readouterr().out == whole


def test_compiled_engine_once_prepared_imports_no_compiler(captures):
    pytest.importorskip("numba")
    from tcpscope.packets import compiled

    compiled.prepare()
    assert compiled.is_kept()
    code = (
        "import sys; from tcpscope.cli.main import main; code = main(sys.argv[1:])\n"
        "print({'numba', 'llvmlite'} & set(sys.modules), code, file=sys.stderr)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, "read", "--engine", "compiled", str(captures / "zeek-ssh-dups.pcap")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True,
    )  # fmt: skip
    assert found.stderr == "set() 0\n"
    assert "closed in order" in found.stdout


def open_source(path):
    from tcpscope.capture import open_capture

    return open_capture(path)
