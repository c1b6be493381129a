"""The sandbox: programs that fork and change their user end with it, also when its process is killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.patience import wait_until

from tcpscope.kernel.sandbox import Sandbox
from tcpscope.model.errors import Unsupported

pytestmark = pytest.mark.root


def stubborn(mark: str) -> list[str]:
    """A server as bad as can be: another user, a new session, and a child of a child."""
    return ["setpriv", "--reuid=65534", "--clear-groups", "setsid", "sh", "-c", f"sleep {mark} & sleep {mark}"]


def sleepers(mark: str) -> set[int]:
    found = set()
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if line.read_bytes().split(b"\0")[:2] == [b"sleep", mark.encode()]:
                found.add(int(line.parent.name))
        except OSError:
            continue
    return found


def wait_for(count: int, mark: str) -> None:
    wait_until(lambda: len(sleepers(mark)) == count, f"{count} sleepers")


def test_stubborn_server_ends_with_the_sandbox():
    mark = f"9{os.getpid()}"
    with Sandbox() as box:
        box.server.start(*stubborn(mark))
        wait_for(2, mark)
    wait_for(0, mark)


def test_stubborn_server_ends_when_the_sandbox_is_killed():
    mark = f"9{os.getpid()}"
    program = (
        "from tcpscope.kernel.sandbox import Sandbox; import time\n"
        f"with Sandbox() as box: box.server.start(*{stubborn(mark)!r}); print('up', flush=True); time.sleep(100)"
    )
    source = Path(__file__).resolve().parents[2] / "src"
    lab = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(source)}
    )
    lab.stdout.readline()
    wait_for(2, mark)
    lab.send_signal(signal.SIGKILL)
    lab.communicate()
    wait_for(0, mark)


def test_hosts_reach_each_other_over_both_families():
    with Sandbox() as box:
        for address in (box.server.address, box.server.address6):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with box.server.entered():
                listener = socket.create_server((address, 80), family=family)
            with box.client.entered():
                near = socket.socket(family)
            near.settimeout(60)
            near.connect((address, 80))
            near.close()
            listener.close()


def test_dropped_packets_do_not_arrive_and_come_back_after():
    with Sandbox() as box:
        box.server.drop("tcp dport 80")
        assert box.server.dropped_at(time.time_ns()) == ("tcp dport 80",)
        box.server.pass_everything()
        assert box.server.dropped_at(time.time_ns()) == ()


def test_unknown_sysctl_is_said_in_one_line():
    with Sandbox() as box, pytest.raises(Unsupported, match=r"net\.ipv4\.no_such_thing"):
        box.server.set_sysctl("net.ipv4.no_such_thing", 1)
