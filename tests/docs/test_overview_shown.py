"""What the pages show of ``tcpscope`` alone is what it prints of such a host."""

import re
from pathlib import Path

import pytest

from tcpscope.cli import overview
from tcpscope.cli.main import main
from tcpscope.model.address import Endpoint
from tcpscope.model.snapshot import Coverage, Host, Process, Snapshot
from tcpscope.model.socket import Age, Owner, Socket, TcpInfo
from tcpscope.model.state import State

ROOT = Path(__file__).resolve().parents[2]


def snapshot(sockets, kernel, process):
    return Snapshot(
        1_790_000_000_000_000_000,
        sockets,
        processes={process.pid: process},
        host=Host("web01", kernel),
        coverage=Coverage("live", "sock_diag", "procfs"),
    )


def listener(address, port, process, waiting=0, backlog=128):
    here, nobody = Endpoint(address, port), Endpoint("0.0.0.0", 0)
    owners = (Owner(process.pid, process.name, 3),)
    return Socket("tcp", State.LISTEN, here, nobody, waiting, owners=owners, inode=port, backlog=backlog)


def end(state, local, remote, process=None, age_s=0, **fields):
    owners = (Owner(process.pid, process.name, 7),) if process else ()
    age = Age(age_s * 1000, "bound") if age_s else Age()
    return Socket("tcp", state, local, remote, owners=owners, inode=9, tcp_info=TcpInfo(), age=age, **fields)


def server_that_never_closes():
    """One listener, and 150 connections whose peers have closed."""
    python = Process(4372, "python3", fd_limit=1024, open_fds=160, runtime="cpython")
    here = Endpoint("192.0.2.10", 9000)
    left = [
        end(State.CLOSE_WAIT, here, Endpoint("198.51.100.20", 40_000 + number), python, age_s=64)
        for number in range(150)
    ]
    return snapshot([listener("0.0.0.0", 9000, python), *left], "Linux 6.18", python)


def both_ends_of_a_leak():
    """A program with two listeners, and its clients on the same host: 120 have just closed, two are connected."""
    python = Process(9849, "python", fd_limit=1024, open_fds=130, runtime="cpython")
    sockets = [listener("127.0.0.1", 5432, python, waiting=1), listener("0.0.0.0", 8080, python, backlog=64)]
    web, database = Endpoint("127.0.0.1", 8080), Endpoint("127.0.0.1", 5432)
    for port in range(33420, 33540):
        client = Endpoint("127.0.0.1", port)
        sockets.append(end(State.FIN_WAIT_2, client, web, kind="mini"))
        sockets.append(end(State.CLOSE_WAIT, web, client, python, age_s=1))
    for port, holder in ((40000, python), (40001, None)):
        client = Endpoint("127.0.0.1", port)
        sockets += [end(State.ESTABLISHED, client, database, python), end(State.ESTABLISHED, database, client, holder)]
    sockets.append(end(State.TIME_WAIT, Endpoint("127.0.0.1", 40002), database, kind="mini"))
    return snapshot(sockets, "Linux 6.18.44", python)


def without_time(lines):
    return [re.sub(r"look took \d+ ms", "look took # ms", line) for line in lines]


@pytest.mark.parametrize(
    ("page", "host"),
    [("README.md", server_that_never_closes), ("docs/reference/commands/overview.md", both_ends_of_a_leak)],
)
def test_overview_that_a_page_shows_is_what_is_printed(page, host, monkeypatch, capsys):
    text = (ROOT / page).read_text(encoding="utf-8")
    (sample,) = re.findall(r"^```(?:text)?\n\$ sudo (?:\./)?tcpscope\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    monkeypatch.setattr(overview, "take_snapshot", lambda netns: host())
    monkeypatch.setenv("COLUMNS", "100")
    assert main([]) == 0
    printed = iter(without_time(capsys.readouterr().out.splitlines()))
    for line in without_time(sample.splitlines()):
        assert line in printed, line  # in this order; the sample may leave lines out
