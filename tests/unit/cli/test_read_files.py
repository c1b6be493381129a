"""Several files, good and bad, captures and dumps: each good one is shown, each bad one named; the exit code."""

import bz2
import gzip
import json
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.made_captures import ACK, FIN, PSH, SYN, Talk, pcap

from tcpscope.cli.main import main

ROOT = Path(__file__).resolve().parents[3]
DUMP = """Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp        0      0 0.0.0.0:22              0.0.0.0:*               LISTEN      812/sshd
tcp        1      0 10.0.0.1:48008          10.0.0.2:10050          CLOSE_WAIT  2510/client
"""


@pytest.fixture
def files(tmp_path):
    closed = Talk(1000).shake().say("a", PSH | ACK, 10).say("b", ACK).say("a", FIN | ACK).say("b", FIN | ACK)
    leaking = Talk(2000, 443).shake().say("a", FIN | ACK).say("b", ACK)
    silent = Talk(3000, 8080).say("a", SYN)
    raw = pcap([*closed.say("a", ACK).frames, *leaking.frames, *silent.frames])
    made = {
        "good.pcap": raw, "dump.txt": DUMP.encode(), "text": b"hello\n", "empty": b"", "header.pcap": raw[:10],
        "cut.pcap": raw[:-20], "corrupt.pcap": raw[:300] + b"\xff" * 64 + raw[364:], "gz": gzip.compress(b"hello"),
        "rubbish": bytes(range(256)), "other": b"snoop\0\0\0" + bytes(100),
    }  # fmt: skip
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    return tmp_path


def read(files, capsys, *arguments):
    words = [str(files / word) if (files / word).exists() or word[:2] == "no" else word for word in arguments]
    code = main(["read", *words])
    done = capsys.readouterr()
    return code, done.out, done.err.splitlines()


PRINTED = "14:12:45.104687 IP 10.0.0.1.39870 > 10.0.0.2.9502: Flags [S], seq 1, win 32792, length 0\n"
BAD = {
    "nothing": "nothing: No such file or directory", "nofolder/x.pcap": "there is no folder", "folder": "no capture in",
    "nosuch*": "no capture in", "text": "no row of netstat", "empty": "no row of netstat", "rubbish": "is no text",
    "gz": "no row of netstat", "other": "is no text",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_file_that_cannot_be_read_is_one_line_and_code_1(files, name, capsys):
    code, out, errors = read(files, capsys, name)
    assert (code, out, len(errors)) == (1, "", 1)
    assert BAD[name] in errors[0] and name.strip("*").partition("/")[0] in errors[0]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_text_is_read_as_the_text(files, compress, capsys):
    for text, shown in ((DUMP, " socket"), (PRINTED, "1 connection")):
        (files / "text.packed").write_bytes(compress(text.encode()))
        code, out, _ = read(files, capsys, "text.packed")
        assert code == 0 and shown in out.partition("\n")[0]


def test_a_compressed_dump_that_breaks_off_keeps_its_rows_and_says_so(files, capsys):
    rows = "".join(f"tcp 0 0 10.0.0.1:22 10.0.0.{number}:{number * 211} CLOSE_WAIT 9/sshd\n" for number in range(200))
    (files / "cut.gz").write_bytes(gzip.compress(rows.encode())[:-200])
    code, out, errors = read(files, capsys, "cut.gz")
    assert code == 0 and "CLOSE_WAIT" in out
    assert any("ends early" in error and "the dump may go on" in error for error in errors)


@pytest.mark.parametrize("name", ["header.pcap", "cut.pcap", "corrupt.pcap"])
def test_damaged_capture_is_shown_said_and_code_1(files, name, capsys):
    code, out, errors = read(files, capsys, name)
    assert code == 1 and out and "damaged" in errors[0] and "at byte" in errors[0]


def test_each_good_file_is_shown_beside_the_bad(files, capsys):
    code, out, errors = read(files, capsys, "text", "good.pcap", "nothing", "dump.txt", "folder")
    assert code == 1
    assert "10.0.0.2:443" in out and "CLOSE_WAIT  2510/client" in out and "netstat, 2 sockets" in out
    assert [any(name in line for line in errors) for name in ("text", "nothing", "folder")] == [True] * 3


def test_capture_and_dump_are_one_object(files, capsys):
    code, out, _ = read(files, capsys, "--json", "good.pcap", "dump.txt", "nothing")
    whole = json.loads(out)
    assert code == 1 and whole["kind"] == "capture and dump"
    assert len(whole["connections"]) == 3 and len(whole["sockets"]) == 2
    assert [place["file"] for place in whole["damage"]] == [str(files / "nothing")]
    code, out, _ = read(files, capsys, "--json", "dump.txt", "nothing")
    assert code == 1 and len(json.loads(out)["damage"]) == 1
    code, out, _ = read(files, capsys, "--json", "dump.txt")
    assert code == 0 and json.loads(out)["damage"] == []


@pytest.fixture
def open_folder():
    """Why not tmp_path: each run of pytest on the machine shuts the folder above it to others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_permission_that_is_missing_is_code_4(files, capsys, open_folder):
    for name in ("good.pcap", "text"):
        shutil.copy(files / name, open_folder)
    files = open_folder
    (files / "good.pcap").chmod(0o600)
    for names, code in ((["good.pcap"], 4), (["good.pcap", "text"], 1)):
        assert read(files, capsys, "good.pcap", "text")[0] == 1  # everything is imported
        os.seteuid(65534)
        try:
            found, _, errors = read(files, capsys, *names)
        finally:
            os.seteuid(0)
        assert found == code
        assert "not permitted" in errors[0] and "good.pcap: Permission denied" in errors[0]


@pytest.mark.parametrize(
    ("words", "ports"),
    [
        ("dport = :443", [2000]),
        ("dport = :443 or sport = :3000", [2000, 3000]),
        ("state close-wait", [2000]),
        ("state fin-wait-2 sport = :2000", [2000]),
        ("state syn-sent", [3000]),
        ("src 10.0.0.1:1000", [1000]),
        ("dst 10.0.0.9", []),
        ("sport != :80 and dport != :80", [2000, 3000]),
    ],
)
def test_filter_chooses_connections_by_either_end(files, words, ports, capsys):
    code, out, _ = read(files, capsys, "good.pcap", "--json", "--filter", words)
    whole = json.loads(out)
    assert code == 0
    assert [one["client"]["port"] for one in whole["connections"]] == ports
    assert [one["number"] for one in whole["connections"]] == [port // 1000 for port in ports]
    assert whole["totals"]["connections"] == len(ports)
    assert sum(pair["count"] for pair in whole["totals"]["state_pairs"]) == len(ports)


def test_filter_narrows_table_lines_moments_and_findings(files, capsys):
    _, out, _ = read(files, capsys, "good.pcap", "--filter", "dport = :443")
    assert "10.0.0.2:443" in out and "10.0.0.2:80" not in out and "8080" not in out
    _, out, _ = read(files, capsys, "good.pcap", "--lines", "--filter", "state close-wait")
    assert out and all("CLOSE_WAIT" in line.partition(": ")[0] for line in out.splitlines())
    _, out, _ = read(files, capsys, "good.pcap", "--state-at", "+100", "--filter", "state close-wait", "-H")
    assert len(out.splitlines()) == 1 and "10.0.0.2:443" in out
    _, out, _ = read(files, capsys, "good.pcap", "--json", "--filter", "dport = :80")
    assert not json.loads(out)["findings"]


@pytest.mark.parametrize("words", ["pid = 1", "comm sshd", "age > 5s", "recv-q > 0 and dport = :80"])
def test_filter_that_no_packet_answers_is_code_2(files, words, capsys):
    code, out, errors = read(files, capsys, "good.pcap", "--filter", words)
    assert (code, out, len(errors)) == (2, "", 1)


def test_pipe_by_name_is_read(files):
    command = f"{sys.executable} -m tcpscope read <(cat {files / 'good.pcap'}) --json"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["connections"]) == 3


@pytest.mark.parametrize(
    "arguments",
    [["capture", "-i", "lo", "-w", "/no/such/folder/x.pcap"], ["diagram", "-o", "/no/such/folder/x.svg"]],
)
def test_missing_folder_is_named(arguments, capsys):
    if arguments[0] == "capture" and os.geteuid() != 0:
        pytest.skip("needs root: capture")
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "there is no folder /no/such/folder" in error and "Errno" not in error
