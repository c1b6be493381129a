"""``states`` and ``overview`` on real sockets of this process, as tables and as JSON."""

import json
import os
import socket

import pytest

from tcpscope.cli.main import main
from tcpscope.live import counts
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner, Socket
from tcpscope.model.state import State


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def run(capsys, *argv):
    code = main(list(argv))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def counted(capsys, *argv):
    code, out, _ = run(capsys, "states", "--json", *argv)
    assert code == 0
    return json.loads(out)


def test_all_eleven_states_are_counted(capsys, server):
    document = counted(capsys)
    assert document["schema"] == "tcpscope.states/1"
    assert [entry["state"] for entry in document["counts"]] == [state.name for state in State]
    assert {entry["state"]: entry["count"] for entry in document["counts"]}["LISTEN"] >= 1


def test_filter_and_process(capsys, server):
    port = server.getsockname()[1]
    document = counted(capsys, "--by", "process", f"sport = :{port}")
    (entry,) = document["counts"]
    assert entry["state"] == "LISTEN"
    assert entry["process"].startswith(f"{os.getpid()}/")


def test_connection_counts_for_its_listener(capsys, server):
    with socket.create_connection(server.getsockname()) as client, server.accept()[0]:
        port = server.getsockname()[1]
        document = counted(capsys, "--by", "listener", f"sport = :{port} or dport = :{port}")
        found = {(entry["state"], entry["listener"]): entry["count"] for entry in document["counts"]}
        assert client
    address = f"127.0.0.1:{port}"
    assert found == {("LISTEN", address): 1, ("ESTABLISHED", address): 1, ("ESTABLISHED", None): 1}


@pytest.mark.parametrize("by", ["state", "process", "remote", "listener"])
def test_tables_and_csv(capsys, server, by):
    code, out, _ = run(capsys, "states", "--by", by, "--sort", "-count")
    assert code == 0
    numbers = [int(line.split()[0]) for line in out.splitlines()[1:]]
    assert numbers == sorted(numbers, reverse=True)
    code, out, _ = run(capsys, "states", "--by", by, "--csv", "-H", "-o", "state,count")
    assert code == 0
    assert all(line.count(",") == 1 for line in out.splitlines())


@pytest.mark.parametrize(
    "argv", [["--by", "moon"], ["--sort", "moon"], ["-o", "moon"], ["-o", ","], ["-o"], ["sport", "="], ["-Z"]]
)
def test_mistakes_are_one_usage_error(capsys, argv):
    code, out, err = run(capsys, "states", *argv)
    assert (code, out) == (2, "")
    assert err.startswith("tcpscope: ")


def test_flags_of_netstat_are_taken(capsys, server):
    own = f"sport = :{server.getsockname()[1]} state listening"
    assert counted(capsys, "-tan", own)["counts"] == counted(capsys, "-t", own)["counts"]


@pytest.mark.parametrize("command", ["list", "states"])
def test_watched_json_is_one_line_for_each_look(capsys, monkeypatch, server, command):
    looks = iter(range(2))

    def next_look(_):
        if next(looks, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", next_look)
    code, out, err = run(capsys, command, "--json", "--watch", "1")
    assert (code, err) == (0, "")
    assert [json.loads(line)["schema"] for line in out.splitlines()] == [f"tcpscope.{command}/1"] * 3


def test_no_column_at_all_is_a_mistake(capsys):
    code, out, err = run(capsys, "list", "-o", ",")
    assert (code, out) == (2, "")
    assert "no column is named" in err


def make(state, local="10.0.0.1", port=80, remote="10.0.0.9", remote_port=5000, owners=()):
    return Socket("tcp", state, Endpoint(local, port), Endpoint(remote, remote_port), owners=owners)


def test_shared_socket_counts_for_each_holder():
    shared = make(State.CLOSE_WAIT, owners=(Owner(1, "a", 3), Owner(1, "a", 4), Owner(2, "b", 3)))
    found = counts.count_sockets([shared, make(State.TIME_WAIT)], counts.by_process)
    assert {(one.key, one.state, one.sockets) for one in found} == {
        ("1/a", State.CLOSE_WAIT, 1),
        ("2/b", State.CLOSE_WAIT, 1),
        ("", State.TIME_WAIT, 1),
    }


def test_holder_that_is_not_seen_is_not_said_to_be_nobody():
    unseen = make(State.ESTABLISHED)._replace(inode=7)
    assert [one.key for one in counts.count_sockets([unseen], counts.by_process)] == ["?"]


def test_mapped_and_plain_remote_are_one_host():
    sockets = [make(State.ESTABLISHED), make(State.ESTABLISHED, remote="::ffff:10.0.0.9")]
    assert counts.count_sockets(sockets, counts.by_remote) == [counts.Count(State.ESTABLISHED, 2, "10.0.0.9")]


def test_listener_is_found_by_address_before_wildcard():
    listeners = [make(State.LISTEN, "0.0.0.0", 80, "0.0.0.0", 0), make(State.LISTEN, "10.0.0.1", 80, "0.0.0.0", 0)]
    key = counts.by_listener(listeners)
    assert list(key(make(State.ESTABLISHED, "10.0.0.1"))) == ["10.0.0.1:80"]
    assert list(key(make(State.ESTABLISHED, "::ffff:10.0.0.2"))) == ["0.0.0.0:80"]
    assert list(key(make(State.ESTABLISHED, port=81))) == [""]


def test_overview_names_host_listener_and_next_steps(capsys, server):
    code, out, _ = run(capsys, "overview")
    assert code == 0
    assert os.uname().nodename in out.splitlines()[0]
    assert f"127.0.0.1:{server.getsockname()[1]}" in out or "more: tcpscope list" in out
    assert "tcpscope doctor" in out.splitlines()[-1]
    assert "\x1b" not in out


def test_overview_in_json(capsys, server):
    code, out, _ = run(capsys, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["schema"] == "tcpscope.overview/1"
    assert set(document["states"]) == {state.name for state in State}
    assert server.getsockname()[1] in {one["local"]["port"] for one in document["listeners"]}


def test_overview_marks_the_state_of_a_finding():
    from tcpscope.model.finding import Finding, Severity
    from tcpscope.model.snapshot import Snapshot
    from tcpscope.views.overview import render_overview

    leaked = make(State.CLOSE_WAIT)
    finding = Finding("close-wait-leak", Severity.HIGH, 0.9, "java does not close \x1b[31m", "", sockets=(leaked,))
    text = render_overview(Snapshot(0, [leaked] * 1234), [finding], 41.4)
    assert "1 234 TCP sockets · look took 41 ms" in text
    assert "CLOSE_WAIT    1 234 ▲" in text
    assert "HIGH" in text and "close-wait-leak" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_overview_fits_the_terminal(width):
    from tcpscope.model.finding import Finding, Severity
    from tcpscope.model.snapshot import Coverage, Host, Snapshot
    from tcpscope.views.overview import render_overview

    holders = tuple(Owner(pid, "python3.11-worker", 3) for pid in range(200_000, 200_009))
    listeners = [
        make(State.LISTEN, "2001:db8:aaaa:bbbb", 8000, "::", 0, holders),
        make(State.LISTEN, "::", 443, "::", 0)._replace(v6only=False, owners=holders[:1]),
        make(State.LISTEN, "::", 444, "::", 0)._replace(v6only=True),
    ]
    finding = Finding(
        "close-wait-leak", Severity.HIGH, 0.9, "java (2215) does not close " * 4, "", evidence=("oldest " * 30,)
    )
    host = Host("web01.example.org", "Linux 6.18.44-some-long-suffix")
    snapshot = Snapshot(0, listeners, host=host, coverage=Coverage(notes=("3 processes may not be looked at. " * 3,)))
    lines = render_overview(snapshot, [finding], 41.4, width=width).splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "*:443" in text and "[::]:444" in text and "python3.11-worker (200000) and 8 more" in text
    assert "[close-wait-leak]" in text
    assert "tcpscope explain close-wait-leak" in "\n".join(lines)


def test_namespace_in_the_filter_is_looked_for_among_all(capsys, server):
    own = os.stat("/proc/self/ns/net").st_ino
    port = server.getsockname()[1]
    code, out, _ = run(capsys, "list", "-tln", "-o", "+port", f"netns {own} and src 127.0.0.1:{port}")
    assert code == 0
    header, row = out.splitlines()
    assert header.startswith("Netns ") and row.startswith("(own)") and row.split()[-1] == str(port)
    assert counted(capsys, f"netns = {own} and src 127.0.0.1:{port}")["counts"][-2]["count"] == 1
    code, _, err = run(capsys, "kill", "--dry-run", f"netns = {own}")
    assert code == 2
    assert "--netns NAME" in err
