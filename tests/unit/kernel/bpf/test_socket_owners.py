"""The iterator's answer equals what /proc says; its refusals are named."""

import os
import re
import socket
import struct

import pytest

from tcpscope.kernel.bpf import socket_owners
from tcpscope.model.errors import NotPermitted, Unsupported


def owners_by_proc(pid):
    """The same from /proc/PID/fd: the oracle."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            continue
        if match:
            found.setdefault(int(match[1]), set()).add((pid, int(fd)))
    return found


def owners_by_inode(records):
    found = {}
    for inode, pid, fd, comm in struct.iter_unpack(socket_owners.OWNER_RECORD, records):
        found.setdefault(inode, []).append((pid, fd, comm.partition(b"\0")[0].decode()))
    return found


@pytest.mark.root
def test_owners_equal_proc_for_every_kind_of_socket_and_shared_descriptors(tmp_path):
    held = [socket.socket() for _ in range(20)]
    held += socket.socketpair()
    held += [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)]
    twice = os.dup(held[0].fileno())
    pipe = os.pipe()
    child = os.fork()
    if not child:
        os.read(pipe[0], 1)
        os._exit(0)
    try:
        found = owners_by_inode(socket_owners.read_socket_owners())
    finally:
        os.write(pipe[1], b"x")
        os.waitpid(child, 0)
        expected = owners_by_proc(os.getpid())
        for fd in (twice, *pipe):
            os.close(fd)
    assert len(expected) >= len(held)
    with open("/proc/self/comm") as file:
        comm = file.read().strip()
    for inode, holders in expected.items():
        assert {(pid, fd) for pid, fd, _ in found[inode] if pid == os.getpid()} == holders
        assert {name for pid, _, name in found[inode] if pid == os.getpid()} == {comm}
    inode = os.fstat(held[0].fileno()).st_ino
    assert {pid for pid, _, _ in found[inode]} == {os.getpid(), child}
    for one in held:
        one.close()


def test_record_has_its_golden_bytes():
    golden = bytes.fromhex("ba0f000000000000 11000000 03000000 6e67696e78000000 0000000000000000")
    assert len(golden) == socket_owners.OWNER_RECORD_BYTES
    assert owners_by_inode(golden * 2) == {4026: [(17, 3, "nginx"), (17, 3, "nginx")]}


def test_other_pid_namespace_is_refused_not_told_wrong_numbers(monkeypatch):
    monkeypatch.setattr(os, "readlink", lambda path: "pid:[4026532999]")
    with pytest.raises(Unsupported, match="pid namespace"):
        socket_owners.read_socket_owners()


@pytest.mark.root
def test_without_privilege_the_missing_one_is_named():
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            socket_owners.read_socket_owners()
            text = "no error"
        except NotPermitted as error:
            text = str(error)
        except Exception as error:
            text = repr(error)
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        assert "CAP_BPF" in file.read()
    os.waitpid(child, 0)
