"""When the table of holders is read anew: for an inode it does not know, seldom, and not for what is long gone."""

import pytest

from tcpscope.live import trace_owners
from tcpscope.model.socket import Owner

MS = 1_000_000


class Host:
    """Holders by inode, a clock, and how often the holders were read; each reading takes a while."""

    def __init__(self):
        self.owners, self.now_ns, self.readings, self.cost_ns = {}, 1000 * MS, 0, 0

    def read(self):
        self.readings += 1
        self.now_ns += self.cost_ns
        return dict(self.owners)


@pytest.fixture
def host(monkeypatch):
    host = Host()
    monkeypatch.setattr(trace_owners, "read_by_bpf", host.read)
    return host


@pytest.fixture
def table(host):
    return trace_owners.OwnerTable(clock_ns=lambda: host.now_ns)


def test_unknown_inode_is_looked_for_once_and_then_known(host, table):
    host.owners[5] = Owner(1, "nginx", 3)
    assert table(5) == table(5) == Owner(1, "nginx", 3)
    assert host.readings == 1


def test_no_inode_has_no_holder_and_costs_nothing(host, table):
    assert table(0) is None
    assert host.readings == 0


def test_reading_takes_at_most_a_twentieth_of_the_time(host, table):
    host.cost_ns = 10 * MS
    assert table(5) is None
    host.owners[5] = Owner(1, "nginx", 3)
    host.now_ns += 199 * MS
    assert table(5) is None
    host.now_ns += 2 * MS
    assert table(5) == Owner(1, "nginx", 3)


def test_what_a_later_reading_did_not_find_is_gone_and_not_looked_for_again(host, table):
    """A burst told late asks for sockets that were closed long ago."""
    table.told_ns = host.now_ns + 1
    assert table(5) is None
    host.now_ns += 1000 * MS
    assert table(6) is None
    assert host.readings == 2, "the first reading began before the youngest record"
    host.now_ns += 1000 * MS
    assert table(7) is None
    assert host.readings == 2
    table.told_ns = host.now_ns
    table(7)
    assert host.readings == 3


def test_refused_iterator_falls_back_to_proc(host, table, monkeypatch):
    from tcpscope.model.errors import NotPermitted

    def refuse():
        raise NotPermitted("CAP_BPF is missing")

    monkeypatch.setattr(trace_owners, "read_by_bpf", refuse)
    monkeypatch.setattr(trace_owners, "read_by_procfs", lambda netns: {5: Owner(1, "nginx", 3)})
    assert table(5) == Owner(1, "nginx", 3)
    assert (table.source, table.reason) == ("procfs", "CAP_BPF is missing")
