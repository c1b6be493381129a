"""``tcpscope doctor`` and ``tcpscope tune`` as people type them: dumps, options, exit codes, the store, the file."""

from __future__ import annotations

import json

import pytest

from tcpscope.cli.main import main
from tcpscope.doctor import CATALOGUE, TABLE

NETSTAT = """\
Active Internet connections (servers and established)
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp        0      0 0.0.0.0:8080            0.0.0.0:*               LISTEN      2215/java
"""


def leaking(number: int, first: int = 40000, recv_q: int = 0) -> str:
    rows = (
        f"tcp {recv_q:>8} {0:>6} 192.0.2.10:8080 198.51.100.7:{first + i} CLOSE_WAIT 2215/java\n" for i in range(number)
    )
    return NETSTAT + "".join(rows)


@pytest.fixture
def dump(tmp_path):
    def write(text: str, name: str = "dump.txt") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def test_a_dump_with_a_leak_ends_with_ten_and_names_the_program(dump, capsys):
    assert main(["doctor", dump(leaking(120))]) == 10
    shown = capsys.readouterr().out
    assert "java (2215) does not close 120 connections" in shown
    assert "a second dump a minute later" in shown
    assert "not judged:" in shown


def test_a_healthy_dump_ends_with_zero(dump, capsys):
    assert main(["doctor", dump(NETSTAT)]) == 0
    assert "Nothing wrong was found" in capsys.readouterr().out


def test_fail_on_moves_the_exit_code(dump, capsys):
    assert main(["doctor", "--fail-on", "critical", dump(leaking(120))]) == 0
    assert main(["doctor", "--fail-on", "low", dump(leaking(6))]) == 10
    capsys.readouterr()


def test_json_has_what_the_contract_says(dump, capsys):
    main(["doctor", "--json", dump(leaking(120))])
    tree = json.loads(capsys.readouterr().out)
    assert tree["schema"] == "tcpscope.doctor/1"
    finding = next(row for row in tree["findings"] if row["id"] == "close-wait-leak")
    wanted = {
        "id",
        "severity",
        "confidence",
        "title",
        "explanation",
        "scope",
        "evidence",
        "counter_evidence",
        "remedies",
        "sockets",
    }
    assert wanted <= set(finding)
    assert finding["severity"] == "high"
    assert {remedy["kind"] for remedy in finding["remedies"]} <= {"code", "config", "command"}
    assert finding["sockets"][0]["state"] == "CLOSE_WAIT"
    assert {row["id"] for row in tree["coverage"]["not_judged"]} >= {"packet-loss", "accept-queue-overflow"}
    assert tree["coverage"]["source"] == "dump"


def test_only_and_threshold_and_config_choose_what_is_judged(dump, capsys):
    path = dump(leaking(3))
    assert main(["doctor", "--fail-on", "low", path]) == 0
    assert main(["doctor", "--fail-on", "low", "--threshold", "close-wait-leak.count=3", path]) == 10
    config = dump("[thresholds.close-wait-leak]\ncount = 2\n", "doctor.toml")
    assert main(["doctor", "--fail-on", "low", "--config", config, path]) == 10
    assert main(["doctor", "--fail-on", "low", "--config", config, "--only", "syn-flood", path]) == 0
    capsys.readouterr()


def test_only_tells_what_was_asked_for_in_full_and_nothing_of_the_rest(dump, capsys):
    local = "tcp 0 0 127.0.0.1:6379 0.0.0.0:* LISTEN 7/redis-server\n"
    path = dump(leaking(120) + local)
    assert main(["doctor", "--only", "syn-flood", path]) == 0
    shown = capsys.readouterr().out
    assert "Not found: syn-flood. Others were not asked for." in shown
    assert "Nothing wrong" not in shown  # there is a leak
    assert main(["doctor", "--only", "loopback-only-service", path]) == 0
    shown = capsys.readouterr().out
    assert "Nothing wrong" not in shown
    assert "evidence  127.0.0.1:6379 (redis-server (7))" in shown


BAD = (
    "--only close-wait-leek",
    "--threshold nonsense=1",
    "--threshold close-wait-leak.age_s=x",
    "--config /nonexistent",
    "--interval 0",
    "--fail-on dreadful",
    "--netns x /dev/null",
    "--port 70000",
    "--nonsense",
)


@pytest.mark.parametrize("arguments", BAD)
def test_bad_options_are_one_line_and_exit_two(arguments, capsys):
    try:
        code = main(["doctor", *arguments.split()])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith("tcpscope")


def test_a_config_with_another_table_is_refused(dump, capsys):
    assert main(["doctor", "--config", dump("[limits]\nx = 1\n"), dump(NETSTAT, "b")]) == 2
    assert main(["doctor", "--config", dump("[thresholds\n"), dump(NETSTAT, "b")]) == 2
    capsys.readouterr()


def test_two_dumps_of_one_host_are_two_looks(dump, capsys):
    first, second = dump(leaking(120), "a"), dump(leaking(150), "b")
    main(["doctor", "--json", first, second])
    tree = json.loads(capsys.readouterr().out)
    assert len([row for row in tree["findings"] if row["id"] == "close-wait-leak"]) == 1
    assert tree["coverage"]["looks"] == 2


def test_two_dumps_of_two_hosts_pair_their_ends(dump, capsys):
    waits = "".join(
        f"tcp 0 0 198.51.100.7:{40000 + i} 192.0.2.10:8080 FIN_WAIT2 -  timewait (30.00/0/0)\n" for i in range(120)
    )
    header = "Proto Recv-Q Send-Q Local Address Foreign Address State PID/Program name Timer\n"
    main(["doctor", "--json", dump(leaking(120), "a"), dump(header + waits, "b")])
    findings = json.loads(capsys.readouterr().out)["findings"]
    leak = next(row for row in findings if row["id"] == "close-wait-leak")
    assert any("FIN_WAIT_2" in line for line in leak["evidence"])


def test_the_catalogue_and_the_thresholds_can_be_read(capsys):
    assert main(["doctor", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(CATALOGUE) == 68
    assert main(["doctor", "--thresholds", "--threshold", "packet-loss.low=2%"]) == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == len(TABLE)
    assert "(default 0.01)" in shown
    assert main(["doctor", "--list", "--json"]) == 0
    assert {row["recipe"] for row in json.loads(capsys.readouterr().out)["findings"]} == {"verified", "constructed"}


def test_the_live_host_is_judged_and_only_the_store_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["doctor", "--interval", "0.1", "--json"]) in (0, 10)
    first = json.loads(capsys.readouterr().out)
    assert first["coverage"]["looks"] == 2
    assert len(list((tmp_path / "tcpscope").iterdir())) == 1
    assert main(["doctor", "--once", "--no-store", "--json"]) in (0, 10)
    once = json.loads(capsys.readouterr().out)
    assert any("two looks" in row["reason"] for row in once["coverage"]["not_judged"])


@pytest.mark.parametrize("width", [40, 60, 100])
def test_no_line_is_wider_than_the_terminal(dump, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    main(["doctor", dump(leaking(120))])
    wide = [line for line in capsys.readouterr().out.splitlines() if len(line) > width]
    assert all(" " not in line.strip() or line.startswith(("more:", "dump")) for line in wide), wide


def test_tune_prints_and_writes_only_on_request(tmp_path, capsys):
    assert main(["tune", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["schema"] == "tcpscope.tune/1"
    assert {"name", "current", "default", "recommended", "effect", "reason", "change"} <= set(tree["settings"][0])
    assert any("tw_recycle" in row["advice"] for row in tree["wrong_advice"])
    path = tmp_path / "60-tcp.conf"
    assert main(["tune", "--write", str(path)]) == 0
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    changes = {row["name"]: row["recommended"] for row in tree["settings"] if row["change"]}
    assert dict(line.split(" = ") for line in lines) == changes
    assert main(["tune", "--write", str(path)]) == 2
    assert main(["tune", "--write", str(path), "--force"]) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["60-tcp.conf"]
    capsys.readouterr()


def test_tune_by_topic_and_wrong_advice(capsys):
    assert main(["tune", "keepalive"]) == 0
    shown = capsys.readouterr().out
    assert "tcp_keepalive_time" in shown
    assert "somaxconn" not in shown
    assert main(["tune", "--wrong"]) == 0
    assert "2 MSL" in capsys.readouterr().out
    assert main(["tune", "magic"]) == 2
    assert "keepalive" in capsys.readouterr().err
