"""Names of this system, looked up as ss looks them up."""

import os

from tcpscope.kernel.names import read_names


def test_names_of_this_system():
    names = read_names()
    assert names.device("lo") == 1
    assert names.user("root") == 0
    assert "127.0.0.1" in names.addresses("127.0.0.1")
    first, last = names.ephemeral_ports
    assert 0 < first < last < 65536
    if os.path.exists("/etc/services"):
        assert names.port("ssh") == 22


def test_names_that_do_not_exist_are_none_not_errors():
    names = read_names()
    for look_up in (names.port, names.device, names.user, names.netns):
        assert look_up("no-such-name-anywhere") is None
        assert look_up("\udcff\0x") is None
    assert list(names.addresses("\udcff" * 80)) == []


def test_namespace_by_process_and_by_path_as_for_the_option():
    own = os.stat("/proc/self/ns/net").st_ino
    names = read_names()
    assert names.netns(f"pid:{os.getpid()}") == own
    assert names.netns("/proc/self/ns/net") == own
    assert names.netns("pid:x") is None
