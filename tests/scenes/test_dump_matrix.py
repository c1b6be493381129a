"""What the real tools print about real sockets, read back and compared with the kernel's own list."""

import shutil
import subprocess

import pytest
from tests.scenes.busy import busy_namespace

from tcpscope.dumps.read import parse_dumps
from tcpscope.live.sockets import read_sockets
from tcpscope.model.state import State

__all__ = ["busy_namespace"]
pytestmark = pytest.mark.root

TOOLS = {
    "netstat -an": ["netstat", "-Wan"],
    "netstat -anp": ["netstat", "-Wanp"],
    "netstat -anlp": ["netstat", "-Wanlp", "-a"],
    "netstat -nat": ["netstat", "-Wnat"],
    "netstat -anoep": ["netstat", "-Wanoep"],
    "ss -tan": ["ss", "-tan"],
    "ss -tanp": ["ss", "-tanp"],
    "ss -tanpioem": ["ss", "-tanpioem"],
    "ss -tanpioemO": ["ss", "-tanpioemO"],
    "ss -Han (Netid)": ["ss", "-A", "tcp,udp", "-Han"],
    "/proc/net/tcp tcp6": ["cat", "/proc/net/tcp", "/proc/net/tcp6"],
    "lsof -nP -i": ["lsof", "-nP", "-iTCP"],
    "lsof -F": ["lsof", "-nP", "-iTCP", "-F"],
    "lsof +fg -R -T qs": ["lsof", "-nP", "-iTCP", "+fg", "-R", "-T", "qs"],
    "busybox netstat -tan": ["busybox", "netstat", "-tan"],
    "grep -n /proc/net/tcp tcp6": ["grep", "-n", ".", "/proc/net/tcp", "/proc/net/tcp6"],
}


def key(one):
    return (one.state, one.local.unmapped, one.local.port, one.remote.unmapped, one.remote.port)


@pytest.mark.parametrize("name", TOOLS)
def test_tool_is_read_back(busy_namespace, name):
    command = TOOLS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    with busy_namespace.entered():
        before, ours, printed = None, [], ""
        while before is None or sorted(map(key, before)) != sorted(
            map(key, ours)
        ):  # a TIME_WAIT may end while the tool looks
            before, _ = read_sockets(udp=0)
            printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            ours, _ = read_sockets(udp=0)
    (look,) = parse_dumps(printed)
    assert look.coverage.unread_rows == 0, look.coverage.unread_samples
    expected = [one for one in ours if command[0] != "lsof" or one.owners]
    theirs = [one for one in look.sockets if one.proto == "tcp"]
    assert sorted(map(key, theirs)) == sorted(map(key, expected))
    by_key = {key(one): one for one in expected}
    for one in theirs:
        mine = by_key[key(one)]
        if command[0] != "lsof" and one.state != State.LISTEN:
            assert (one.recv_q, one.send_q) == (mine.recv_q, mine.send_q)
        if "p" in command[-1] and command[0] in ("netstat", "ss"):
            assert {owner.pid for owner in one.owners} == {owner.pid for owner in mine.owners}
        if "oe" in command[-1] or command[0] in ("cat", "lsof"):
            assert one.inode == mine.inode
        if "oe" in command[-1]:
            assert (one.timer is None) == (mine.timer is None), (one, mine)
            assert one.is_unaccepted == mine.is_unaccepted and one.is_orphan == mine.is_orphan
        if "ioem" in command[-1] and one.state == State.ESTABLISHED:
            assert one.tcp_info.snd_mss == mine.tcp_info.snd_mss
            assert one.memory.rcvbuf_bytes == mine.memory.rcvbuf_bytes
            assert one.cookie == mine.cookie
    print(f"{name}: {len(theirs)} sockets")
