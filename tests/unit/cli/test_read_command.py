"""``tcpscope read`` for dumps, as a person runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.dumps.test_dump_formats import LINUX_ANLP, LSOF, SS

from tcpscope.cli.main import main

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def dump(tmp_path):
    path = tmp_path / "dump.txt"
    path.write_text(LINUX_ANLP)
    return str(path)


def test_read_prints_counts_rows_and_what_is_missing(dump, capsys):
    assert main(["read", dump]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("netstat, 9 sockets: 3 ESTABLISHED, 2 LISTEN")
    assert "10.0.0.1:48008          10.0.0.2:10050          CLOSE_WAIT  2510/client" in out
    assert "does not tell the backlog of listeners" in err


def test_read_json_has_the_contract_of_list(dump, capsys):
    assert main(["read", dump, "--json", "--filter", "state close-wait"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["schema"] == "tcpscope.read/1"
    (socket,) = whole["sockets"]
    assert socket["state"] == "CLOSE_WAIT"
    assert socket["local"] == {"address": "10.0.0.1", "port": 48008}
    assert socket["processes"][0]["pid"] == 2510


def test_read_several_files_as_several_looks(tmp_path, capsys):
    for name, text in (("a", SS), ("b", LSOF)):
        (tmp_path / name).write_text(text)
    assert main(["read", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["looks"]) == 2


def test_read_standard_input():
    done = subprocess.run([sys.executable, "-I", "-S", str(ROOT / "tcpscope"), "read", "-"], input=LSOF.encode(),
                          capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 0
    assert b"990/nginx,991/nginx" in done.stdout
    assert b"ending one of them frees nothing" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["DUMP", "--filter", "state none"], "'none' is no state"),
        (["DUMP", "--columns", "nonsense"], "nonsense"),
        ([], "FILE"),
    ],
)
def test_mistakes_are_one_line_and_code_2(dump, arguments, says, capsys):
    assert main(["read", *(dump if word == "DUMP" else word for word in arguments)]) == 2
    assert says in capsys.readouterr().err


COUNTERS = """\
Tcp:
    1500 active connection openings
    3 failed connection attempts
"""


def test_counters_alone_are_said_to_be_so_and_judge_nothing_by_themselves(tmp_path, capsys):
    path = tmp_path / "netstat-s.txt"
    path.write_text(COUNTERS)
    assert main(["read", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("counters alone (2 read), no sockets; two of them tell rates")
    assert "Proto" not in out
    assert "owners" not in err
    assert main(["doctor", str(path)]) == 0
    out = capsys.readouterr().out
    assert "Nothing could be judged" in out
    assert "Nothing wrong" not in out
    assert "a second 'netstat -s' a minute later" in out
    assert main(["doctor", str(path), str(path)]) == 0
    assert "Nothing wrong was found" in capsys.readouterr().out
