"""Holders and processes: descriptors of many kinds, processes that end while being read, and those we may not see."""

import errno
import os
import posix
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import tcpscope.model.snapshot  # noqa: F401  # before the calls an import makes are played with
from tcpscope.kernel import processes

OWN_NETNS = os.stat("/proc/self/ns/net").st_ino


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def inode_of(one):
    return os.fstat(one.fileno()).st_ino


def test_holder_is_found_with_every_descriptor(listener):
    twin = os.dup(listener.fileno())
    try:
        owners = processes.scan_owners({inode_of(listener)}, OWN_NETNS, sufficient=1)
    finally:
        os.close(twin)
    held = owners.holders[inode_of(listener)]
    assert sorted(held) == sorted([(os.getpid(), listener.fileno()), (os.getpid(), twin)])
    assert owners.names[os.getpid()] == Path("/proc/self/comm").read_text().strip()
    assert os.getpid() in owners.with_sockets


def test_all_holders_after_a_fork(listener):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
    try:
        owners = processes.scan_owners({inode_of(listener)}, OWN_NETNS, sufficient=1)
        assert {pid for pid, _ in owners.holders[inode_of(listener)]} == {os.getpid(), child.pid}
    finally:
        child.communicate(b"\n")


def test_process_of_another_namespace_is_scanned_only_when_holders_are_missing(listener):
    wanted = {inode_of(listener)}
    assert processes.scan_owners(wanted, OWN_NETNS + 1, sufficient=0).holders == {}
    assert set(processes.scan_owners(wanted, OWN_NETNS + 1, sufficient=1).holders) == wanted


def test_procfs_that_is_not_mounted_is_no_error(monkeypatch):
    listdir = posix.listdir
    monkeypatch.setattr(processes.posix, "listdir", lambda path: listdir("/no/such/folder"))
    owners = processes.scan_owners({1}, OWN_NETNS, sufficient=1)
    monkeypatch.undo()
    assert owners.holders == {}
    assert "/proc" in owners.reason


@pytest.mark.skipif(os.stat("/proc/self/fd").st_size == 0, reason="Linux before 6.2 does not count descriptors")
def test_too_many_descriptors_are_left_to_another_way(listener):
    with pytest.raises(processes.TooMany):
        processes.scan_owners({inode_of(listener)}, OWN_NETNS, sufficient=1, budget=2)


def play_procfs(monkeypatch, fail_at, error):
    """Let the nth reading of a process fail, as it does when the process ends or belongs to others."""
    calls = {"open": posix.open, "readlink": posix.readlink, "listdir": posix.listdir, "stat": posix.stat}
    count = 0

    def failing(name):
        def call(path, *args, **kwargs):
            nonlocal count
            is_about_process = name != "listdir" or path != "/proc"
            if is_about_process:
                count += 1
                if count >= fail_at:
                    raise OSError(error, os.strerror(error), path if isinstance(path, str) else None)
            return calls[name](path, *args, **kwargs)

        return call

    for name in calls:
        monkeypatch.setattr(processes.posix, name, failing(name))


@pytest.mark.parametrize("error", [errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM, errno.EIO])
@pytest.mark.parametrize("fail_at", [1, 2, 3, 4, 5, 6, 7, 12])
def test_process_that_ends_or_is_forbidden_at_any_moment_is_no_error(monkeypatch, listener, error, fail_at):
    play_procfs(monkeypatch, fail_at, error)
    owners = processes.scan_owners({inode_of(listener)}, OWN_NETNS, sufficient=1)
    monkeypatch.undo()
    assert owners.holders.keys() <= {inode_of(listener)}


@pytest.mark.parametrize("fail_at", range(1, 16))
def test_description_of_a_process_that_ends_is_partial_or_none(monkeypatch, fail_at):
    play_procfs(monkeypatch, fail_at, errno.ESRCH)
    found = processes.read_process(os.getpid())
    monkeypatch.undo()
    assert found is None or found.pid == os.getpid()


def test_descriptor_of_an_ended_process_never_shows_its_successor():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    folder = os.open(f"/proc/{child.pid}", os.O_RDONLY | os.O_DIRECTORY)
    try:
        child.communicate(b"\n")
        assert processes._read_name(folder) == ""
        assert processes._describe(folder, child.pid) is None
    finally:
        os.close(folder)


def test_own_process_is_described():
    found = processes.read_process(os.getpid())
    assert found.uid == os.geteuid()
    assert found.executable == os.path.realpath(f"/proc/{os.getpid()}/exe")
    assert found.command[0] == Path("/proc/self/cmdline").read_text().split("\0")[0]
    assert found.open_fds >= 3
    assert found.runtime == "cpython"
    assert processes.read_processes([os.getpid(), 2**22 + 1]).keys() == {os.getpid()}


def test_ended_process_has_no_description():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert processes.read_process(child.pid) is None
    assert processes.read_name(child.pid) == ""


def test_stat_with_brackets_and_blanks_in_the_name():
    stat = b"77 (a) b (c)) S 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4321 0 0"
    assert processes.parse_stat(stat) == ("a) b (c)", "S", 4321)
    assert processes.parse_stat(b"77 (cut") == ("", "", None)
    assert processes.parse_stat(b"") == ("", "", None)


def test_limits_status_and_cgroup():
    assert (
        processes.parse_fd_limit(b"Max open files            1024                 4096                 files\n") == 1024
    )
    assert (
        processes.parse_fd_limit(b"Max open files            unlimited            4096                 files\n") is None
    )
    assert processes.parse_status_uid(b"Name:\tx\nUid:\t1000\t1001\t0\t0\n") == 1001
    assert processes.parse_status_uid(b"") is None
    assert processes.parse_cgroup(b"1:cpu:/x\n0::/system.slice/nginx.service\n") == "/system.slice/nginx.service"
    assert processes.parse_cgroup(b"1:cpu:/x\n") is None


@pytest.mark.parametrize(
    ("name", "executable", "command", "runtime"),
    [
        ("python3", "/usr/bin/python3.11", (), "cpython"),
        ("java", "/opt/jdk/bin/java (deleted)", (), "jvm"),
        ("nginx", None, ("nginx: worker process",), "nginx"),
        ("sshd", "/usr/sbin/sshd", (), "openssh"),
        ("tcpscope", "/usr/local/bin/thing", (), ""),
    ],
)
def test_runtime_is_recognised(name, executable, command, runtime):
    assert processes.recognise_runtime(name, executable, command) == runtime


def test_an_embedded_python_and_a_go_program_are_recognised_by_what_they_are(tmp_path):
    import posix

    from tcpscope.kernel.processes import recognise_contents

    (tmp_path / "exe").write_bytes(b"\x7fELF" + bytes(3900) + b"\x04\0\0\0S\0\0\0\x04\0\0\0Go\0\0build-id")
    (tmp_path / "maps").write_bytes(b"")
    folder = posix.open(str(tmp_path), posix.O_RDONLY)
    try:
        assert recognise_contents(folder) == "go"
        (tmp_path / "exe").write_bytes(b"\x7fELF" + bytes(4000))
        assert recognise_contents(folder) == ""
        (tmp_path / "maps").write_bytes(b"7f00-7f01 r-xp 0 00:00 1 /usr/lib/libpython3.11.so.1.0\n")
        assert recognise_contents(folder) == "cpython"
    finally:
        posix.close(folder)
