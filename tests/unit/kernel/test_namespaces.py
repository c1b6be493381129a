"""Network namespaces: found by name and by process, entered and always left again."""

import os
import socket
import subprocess

import pytest

from tcpscope.kernel import counters, namespaces
from tcpscope.live.snapshot import take_snapshot
from tcpscope.live.sockets import read_namespaces
from tcpscope.model.errors import UsageError


def test_staying_here_gives_the_own_number():
    with namespaces.inside(None) as inode:
        assert inode == os.stat("/proc/self/ns/net").st_ino == namespaces.own_inode()


@pytest.mark.parametrize("name", ["no-such-name", "pid:999999999", "/no/such/path", "pid:x", ""])
def test_namespace_that_is_not_there_is_a_usage_error(name):
    with pytest.raises(UsageError, match="no network namespace"), namespaces.inside(name):
        pass


def test_own_namespace_is_found_first():
    found, _ = namespaces.find_namespaces()
    assert found[0].inode == namespaces.own_inode()
    assert os.getpid() in found[0].pids


def test_label_and_path():
    assert namespaces.Namespace(7, ("web",), (3,)).label == "web"
    assert namespaces.Namespace(7, ("web",), (3,)).path == "/run/netns/web"
    assert namespaces.Namespace(7, (), (3,)).label == "pid:3"
    own = namespaces.Namespace(namespaces.own_inode(), (), (999_999_999, os.getpid()))
    assert own.path == f"/proc/{os.getpid()}/ns/net"
    assert namespaces.Namespace(7).label == "net:[7]"


@pytest.fixture
def other():
    """A process in a network namespace of its own, whose port range is its own too."""
    inside = "echo 40000 40100 > /proc/sys/net/ipv4/ip_local_port_range; echo ready; exec sleep 60"
    child = subprocess.Popen(["unshare", "--net", "sh", "-c", inside], stdout=subprocess.PIPE, text=True)
    if child.stdout.readline() != "ready\n":
        pytest.skip("no network namespace could be made")
    yield child.pid
    child.kill()
    child.wait()
    child.stdout.close()


@pytest.mark.root
def test_inside_everything_is_of_that_namespace_and_home_is_found_again(other):
    home = namespaces.own_inode()
    with namespaces.inside(f"pid:{other}") as inode:
        assert inode == os.stat(f"/proc/{other}/ns/net").st_ino != home
        assert counters.read_sysctl("net.ipv4.ip_local_port_range") == "40000 40100"
        assert counters.read_counters()["Tcp.ActiveOpens"] == 0
    assert namespaces.own_inode() == home
    with pytest.raises(RuntimeError), namespaces.inside(f"/proc/{other}/ns/net"):
        raise RuntimeError
    assert namespaces.own_inode() == home


@pytest.mark.root
def test_path_of_a_namespace_leads_past_processes_that_went_elsewhere(other):
    inode = os.stat(f"/proc/{other}/ns/net").st_ino
    assert namespaces.Namespace(inode, (), (os.getpid(), other)).path == f"/proc/{other}/ns/net"


@pytest.mark.root
def test_sockets_are_not_told_twice_when_a_process_came_back_from_another_namespace(other, monkeypatch):
    """Seen in a namespace of its own and back in this one when it is looked at: the way there leads here."""
    moved = namespaces.Namespace(os.stat(f"/proc/{other}/ns/net").st_ino, (), (os.getpid(),))
    own = namespaces.Namespace(namespaces.own_inode(), (), (os.getpid(),))
    monkeypatch.setattr("tcpscope.live.sockets.find_namespaces", lambda: ([own, moved], 0))
    with socket.create_server(("127.0.0.1", 0)) as server:
        sockets, _, _ = read_namespaces(everywhere=True)
        assert [one.local.port for one in sockets].count(server.getsockname()[1]) == 1


@pytest.mark.root
def test_namespace_of_a_process_is_found_and_its_snapshot_is_empty(other):
    found, _ = namespaces.find_namespaces()
    inode = os.stat(f"/proc/{other}/ns/net").st_ino
    (namespace,) = [one for one in found if one.inode == inode]
    assert other in namespace.pids
    snapshot = take_snapshot(netns=f"pid:{other}")
    assert (snapshot.netns, list(snapshot.sockets)) == (inode, [])
    assert snapshot.sysctls["net.ipv4.ip_local_port_range"] == "40000 40100"
    assert snapshot.limits["sockstat.TCP.inuse"] == 0


@pytest.mark.root
def test_file_left_in_run_netns_is_no_namespace(other, tmp_path, monkeypatch):
    (tmp_path / "stale").write_text("")
    monkeypatch.setattr(namespaces, "NAMED_FOLDER", str(tmp_path))
    found, _ = namespaces.find_namespaces()
    assert not any(one.names for one in found)
    with pytest.raises(UsageError, match="stale"), namespaces.inside("stale"):
        pass


def test_process_that_ends_meanwhile_is_left_out():
    child = subprocess.Popen(["sleep", "0.05"])
    while child.poll() is None:
        namespaces.find_namespaces()
    assert child.returncode == 0
