"""Which way the sockets and their holders are read, what is said about it, and that both ways agree."""

import os
import socket

import pytest
from tests.sock_diag_messages import build_message

from tcpscope.kernel import netlink
from tcpscope.live import columns, listing
from tcpscope.live.sockets import list_sockets, read_sockets
from tcpscope.model.errors import NotPermitted, UsageError


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def inode_of(one):
    return os.fstat(one.fileno()).st_ino


def refuse_bpf(monkeypatch, error):
    from tcpscope.kernel.bpf import socket_owners

    def read():
        raise error

    monkeypatch.setattr(socket_owners, "read_socket_owners", read)


@pytest.mark.parametrize("error", [NotPermitted("CAP_BPF is needed"), OSError(1, "Operation not permitted")])
def test_refused_bpf_falls_back_to_procfs_with_the_reason(monkeypatch, server, error):
    monkeypatch.setattr(listing, "_MANY", 1)
    refuse_bpf(monkeypatch, error)
    found = listing.read_listing(udp=0)
    found.find_owners({inode_of(server)})
    assert found.owners.source == "procfs"
    assert found.owners.holders[inode_of(server)] == [(os.getpid(), server.fileno())]
    (reason,) = [note for note in found.notes if "BPF" in note]
    assert "permitted" in reason or "CAP_BPF" in reason


@pytest.mark.root
def test_bpf_and_procfs_find_the_same_holders(monkeypatch, server):
    wanted = {inode_of(server)}
    by_scan = listing.read_listing(udp=0)
    by_scan.find_owners(wanted)
    monkeypatch.setattr(listing, "_MANY", 1)
    by_bpf = listing.read_listing(udp=0)
    by_bpf.find_owners(wanted)
    if by_bpf.owners.source != "bpf":
        pytest.skip(f"no BPF iterator here: {by_bpf.notes}")
    assert by_bpf.owners.holders == by_scan.owners.holders
    assert by_bpf.owners.names == by_scan.owners.names


@pytest.mark.root
def test_columns_join_the_records_of_bpf(server):
    pytest.importorskip("numpy")
    owners, reason = listing.read_owner_records()
    if owners is None:
        pytest.skip(reason)
    found = listing.read_listing(udp=0)
    table = columns.read_columns(found)
    columns.attach_holders(table, owners)
    (row,) = [index for index, inode in enumerate(table.inode.tolist()) if inode == inode_of(server)]
    assert table.holder_sets[table.holders[row]] == (os.getpid(),)
    assert table.names[os.getpid()] == owners_name()


def owners_name():
    with open("/proc/self/comm", encoding="ascii") as file:
        return file.read().strip()


def test_kernel_without_inet_diag_is_read_through_procfs(monkeypatch, server):
    def refuse(protocol=4):
        raise OSError(2, "No such file or directory")

    monkeypatch.setattr(listing, "open_netlink", refuse)
    sockets, coverage = read_sockets(udp=0)
    (found,) = [one for one in sockets if one.inode == inode_of(server)]
    assert coverage.listing == "procfs"
    assert found.backlog is None
    assert found.owners[0].pid == os.getpid()
    assert any("/proc/net" in note for note in coverage.notes)


def test_answer_that_is_cut_is_kept_as_far_as_it_goes_and_said(monkeypatch):
    whole = build_message(sport=1234)
    monkeypatch.setattr(listing, "_ask_kernel", lambda *_: [whole + build_message()[:40]])
    sockets, coverage = read_sockets(udp=0, owners=False)
    assert [one.local.port for one in sockets] == [1234]
    assert any("cut" in note for note in coverage.notes)


def test_timeout_of_the_kernel_falls_back(monkeypatch, server):
    class Silent:
        def settimeout(self, seconds): ...
        def send(self, data): ...
        def close(self): ...

        def recv(self, size):
            raise TimeoutError("timed out")

    monkeypatch.setattr(listing, "open_netlink", lambda: Silent())
    found = listing.read_listing(udp=0)
    assert found.source == "procfs"
    assert inode_of(server) in {row[15] for row in found.rows()}


def test_python_verb_lists_and_selects(server):
    port = server.getsockname()[1]
    (one,) = list_sockets(udp=False, where=lambda s: s.is_listener and s.local.port == port)
    assert one.owners[0].fd == server.fileno()


def test_unknown_namespace_is_a_usage_error_that_names_the_known():
    with pytest.raises(UsageError, match="no network namespace 'no-such-one'"):
        read_sockets(netns="no-such-one")


def test_channel_is_closed_when_the_kernel_refuses(monkeypatch):
    closed = []
    original = netlink.open_netlink

    class Refusing:
        def __init__(self):
            self.inner = original()

        def send(self, data):
            raise PermissionError(1, "Operation not permitted")

        def close(self):
            closed.append(True)
            self.inner.close()

    monkeypatch.setattr(listing, "open_netlink", Refusing)
    listing.read_listing(udp=0)
    assert closed == [True]


@pytest.mark.parametrize(
    ("uid", "words"), [(1000, "root or CAP_SYS_PTRACE may"), (0, "root lacks CAP_SYS_PTRACE here")]
)
def test_root_is_not_told_to_be_root(monkeypatch, uid, words):
    monkeypatch.setattr(listing, "geteuid", lambda: uid)
    assert words in listing._why_unseen(refused=1)
