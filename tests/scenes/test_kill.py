"""SOCK_DESTROY on real sockets in a namespace: what is hit, what is not, what both sides feel."""

import errno
import json
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.patience import states_of_tcp, wait_until, wait_until_settled

from tcpscope.kernel.namespace import NetworkNamespace
from tcpscope.kernel.netlink import open_netlink
from tcpscope.kernel.rtnetlink import RouteSocket
from tcpscope.kernel.sock_destroy import CLOSED, GONE, destroy_socket
from tcpscope.live.sockets import read_sockets
from tcpscope.model.state import State

pytestmark = pytest.mark.root
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def netns():
    space = NetworkNamespace.create()
    with space.entered(), RouteSocket() as route:
        route.set_up("lo")
    yield space
    space.close()


def kill(space, *arguments, through=()):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    environment.pop("SSH_CONNECTION", None)
    with space.entered():
        return subprocess.run(
            [*through, sys.executable, "-m", "tcpscope", "kill", *arguments],
            capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, timeout=300,
        )  # fmt: skip


def pair(family=socket.AF_INET, address="127.0.0.1", port=0, client_port=0):
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(8)
    client = socket.socket(family)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind((address, client_port))
    client.connect(listener.getsockname()[:2])
    server, _ = listener.accept()
    return listener, client, server


def error_of(sock):
    try:
        return sock.recv(1)
    except OSError as error:
        return error.errno


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_killed_end_aborts_and_its_peer_is_reset(netns, family, address):
    with netns.entered():
        _, client, server = pair(family, address)
        _, other_client, _other = pair(family, address)
    port = client.getsockname()[1]
    result = kill(netns, "--json", "--yes", f"sport = :{port}")
    found = json.loads(result.stdout)
    assert (result.returncode, result.stderr) == (0, "")
    assert found["schema"] == "tcpscope.kill/1"
    assert [one["local"]["port"] for one in found["closed"]] == [port]
    assert found["closed"][0]["cookie"]
    assert error_of(client) == errno.ECONNABORTED
    assert error_of(server) == errno.ECONNRESET
    other_client.setblocking(False)
    assert error_of(other_client) == errno.EAGAIN, "a neighbour is not touched"


def test_dry_run_and_missing_consent_close_nothing(netns):
    with netns.entered():
        _, client, _server = pair()
    client.setblocking(False)
    shown = kill(netns, "--dry-run", "state", "established")
    assert shown.returncode == 0
    assert shown.stdout.count("ESTABLISHED") == 2
    assert "would close 2 sockets" in shown.stderr and "reset" in shown.stderr
    refused = kill(netns, "state", "established")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert kill(netns, "--yes").returncode == 2, "never everything by accident"
    assert error_of(client) == errno.EAGAIN


def test_recycled_addresses_are_not_hit(netns):
    """Listed, then the connection ends and another one takes exactly its addresses: the cookie tells them apart."""
    with netns.entered():
        listener, client, server = pair()
        port, client_port = listener.getsockname()[1], client.getsockname()[1]
        found, _ = read_sockets(udp=0, select=lambda one: one.local.port == client_port)
        (victim,) = [one for one in found if one.state is State.ESTABLISHED]
        linger = (1).to_bytes(4, "little") + bytes(4)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        for one in (client, server, listener):
            one.close()
        wait_until(lambda: not states_of_tcp(), "the end of all sockets")
        _, again, _server = pair(port=port, client_port=client_port)
        again.setblocking(False)
        channel = open_netlink()
        assert destroy_socket(channel, victim) == GONE
        assert error_of(again) == errno.EAGAIN
        (successor,) = [
            one
            for one in read_sockets(udp=0, select=lambda one: one.local.port == client_port)[0]
            if one.state is State.ESTABLISHED
        ]
        assert (successor.flow, successor.cookie != victim.cookie) == (victim.flow, True)
        assert destroy_socket(channel, successor) == CLOSED
        assert error_of(again) == errno.ECONNABORTED
        channel.close()


def test_time_wait_can_be_ended_and_listeners_are_spared(netns):
    with netns.entered():
        listener, client, server = pair()
    client.close()
    server.recv(1)
    server.close()
    with netns.entered():
        wait_until_settled()
    result = kill(netns, "--yes", f":{listener.getsockname()[1]}")
    assert result.returncode == 0
    assert "TIME_WAIT" in result.stdout
    assert "closed 1 socket" in result.stderr
    assert "is left alone" in result.stderr
    with netns.entered():
        left, _ = read_sockets(udp=0)
    assert [one.state for one in left] == [State.LISTEN]
    assert kill(netns, "--yes", "state", "listening").returncode == 0
    with netns.entered():
        assert read_sockets(udp=0)[0] == []


@pytest.mark.parametrize(("answer", "closed"), [("y\n", 1), ("YES\n", 1), ("n\n", 0), ("\n", 0), ("\x04", 0)])
def test_terminal_is_asked_and_only_a_yes_closes(netns, answer, closed):
    with netns.entered():
        _, client, _server = pair()
    leader, follower = pty.openpty()
    os.write(leader, answer.encode())
    with netns.entered():
        result = subprocess.run(
            [sys.executable, "-m", "tcpscope", "kill", f"sport = :{client.getsockname()[1]}"],
            stdin=follower, capture_output=True, text=True, timeout=300,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "SSH_CONNECTION": ""},
        )  # fmt: skip
    os.close(follower)
    os.close(leader)
    assert "ESTABLISHED" in result.stdout
    assert "Close 1 socket? [y/N] " in result.stderr
    client.setblocking(False)
    assert error_of(client) == (errno.ECONNABORTED if closed else errno.EAGAIN)
    assert result.returncode == (0 if closed else 1)
    assert ("nothing was closed" in result.stderr) == (not closed)


def test_own_ssh_session_is_spared(netns):
    with netns.entered():
        _, client, server = pair()
    (remote, remote_port), (local, port) = client.getsockname(), server.getsockname()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    environment["SSH_CONNECTION"] = f"{remote} {remote_port} {local} {port}"
    with netns.entered():
        result = subprocess.run(
            [sys.executable, "-m", "tcpscope", "kill", "--json", "--yes", f"sport = :{port}"],
            capture_output=True, text=True, env=environment, timeout=300,
        )  # fmt: skip
    assert json.loads(result.stdout)["closed"] == []
    assert "ssh session" in json.loads(result.stdout)["spared"][0] + json.loads(result.stdout)["spared"][-1]


def test_without_privilege_code_4_names_the_missing_one(netns):
    with netns.entered():
        _, client, _server = pair()

    result = kill(netns, "--yes", "state", "established", through=("setpriv", "--bounding-set=-net_admin"))
    assert result.returncode == 4
    assert "CAP_NET_ADMIN" in result.stderr
    assert "Traceback" not in result.stderr
    client.setblocking(False)
    assert error_of(client) == errno.EAGAIN


def test_nothing_matches_is_no_error(netns):
    result = kill(netns, "--yes", "sport = :1")
    assert (result.returncode, result.stderr) == (0, "no socket matches\n")
