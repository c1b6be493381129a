"""Every command a tutorial or how-to tells people to type is typed, on a host that has the illness it tells about."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.made_captures import ACK, FIN, PSH, RST, SYN, T0, Talk, pcap
from tests.patience import wait_until

from tcpscope.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted((*(DOCS / "tutorial").glob("*.md"), *(DOCS / "how-to").glob("*.md")))
TUTORIAL = DOCS / "tutorial" / "two-in-the-morning.md"
CLIENTS = 8


def typed_in(page):
    """The commands of tcpscope that stand behind a prompt, without what follows a pipe."""
    fences = re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    prompts = [line for fence in fences for line in fence.splitlines() if line.startswith("$ ")]
    lines = [line.removeprefix("$ ").removeprefix("sudo ") for line in prompts]
    return [line.split(" | ")[0] for line in lines if line.startswith("tcpscope ")]


TYPED = list(dict.fromkeys(command for page in PAGES for command in typed_in(page)))


@pytest.mark.parametrize("command", TYPED)
def test_command_of_a_tutorial_exists(command):
    word = command.split()[1]
    assert word in COMMANDS or word.startswith("-")


def programs():
    """The server of the tutorial as it is at the beginning, and as it is after the cure."""
    blocks = re.findall(r"^```python\n(.*?)^```", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    leaky, cure = blocks
    start = leaky.index("def serve")
    cured = leaky[:start] + cure + "\n\n" + leaky[leaky.index("forgotten = []") :]
    return leaky, cured


class Host:
    """A network namespace with loopback up and the tutorial's server in it."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder
        (folder / "server.py").write_text(program)
        inside = f"ip link set lo up && exec {shlex.quote(sys.executable)} server.py"
        self.server = subprocess.Popen(["unshare", "--net", "sh", "-c", inside], cwd=folder)

    def run(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        inside = ["nsenter", f"--net=/proc/{self.server.pid}/ns/net", *words]
        return subprocess.run(inside, cwd=self.folder, capture_output=True, text=True, timeout=timeout, check=False)

    def tcpscope(self, command: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, str(ROOT / "tcpscope"), *shlex.split(command)[1:])

    def visit(self) -> None:
        """Let the clients come and go; wait until the server knows that they have gone."""
        call = "import socket; socket.create_connection(('127.0.0.1', 9000)).close()"
        wait_until(lambda: self.is_apart() and ":9000" in self.run("ss", "-tln").stdout, "the server")
        for _ in range(CLIENTS):
            assert self.run(sys.executable, "-c", call).returncode == 0

    def is_apart(self) -> bool:
        """Whether unshare has made the namespace; before, the host's own sockets would be looked at."""
        return Path(f"/proc/{self.server.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()

    def close(self) -> None:
        self.server.kill()
        self.server.wait()


@pytest.fixture(scope="module")
def sick_host(tmp_path_factory):
    if not all(map(shutil.which, ("unshare", "nsenter", "ip", "ss", "netstat"))):
        pytest.skip("needs unshare, nsenter, ip, ss and netstat")
    host = Host(tmp_path_factory.mktemp("sick"), programs()[0])
    try:
        host.visit()
        wait_until(lambda: host.run("ss", "-tan").stdout.count("CLOSE-WAIT 0 ") == CLIENTS)
        (host.folder / "customer.txt").write_text(host.run("netstat", "-anp").stdout)
        (host.folder / "second.txt").write_text(host.run("ss", "-tanpioem").stdout)
        (host.folder / "trace.pcap").write_bytes(capture_of_the_page())
        yield host
    finally:
        host.close()


@pytest.mark.root
@pytest.mark.parametrize("command", [one for one in TYPED if " lab run " not in one])
def test_command_of_a_tutorial_runs(command, sick_host):
    done = sick_host.tcpscope(command)
    assert done.returncode in (0, 10), done.stderr
    assert done.stdout or "-o" in shlex.split(command) or "time-wait" in command
    assert "error" not in done.stderr


@pytest.mark.root
def test_close_wait_of_the_tutorial_is_listed_and_diagnosed(sick_host):
    listed = sick_host.tcpscope("tcpscope list -tanp state close-wait").stdout
    assert listed.count("CLOSE_WAIT") == CLIENTS
    judged = sick_host.tcpscope("tcpscope doctor --interval 0.5 --threshold close-wait-leak.age_s=0.1").stdout
    assert "close-wait-leak" in judged
    assert f"does not close {CLIENTS} connections" in judged
    assert "Recv-Q 0 on 8" in judged


@pytest.mark.root
def test_cure_of_the_tutorial_leaves_no_close_wait(sick_host, tmp_path):
    host = Host(tmp_path, programs()[1])
    try:
        host.visit()
        wait_until(lambda: "CLOSE_WAIT" not in host.tcpscope("tcpscope list -tan state close-wait").stdout)
        wait_until(lambda: host.tcpscope("tcpscope list -tan state time-wait").stdout.count("TIME_WAIT") == CLIENTS)
    finally:
        host.close()


def talk_at_second(number):
    """A request and its answer that begin ``number`` seconds into the capture."""
    talk = Talk(port=40000 + number, server_port=443, start=T0 + number * 10**9)
    talk.shake().say("a", PSH | ACK, 500).say("b", ACK, after_ms=20)
    return talk.say("b", PSH | ACK, 1200, after_ms=30).say("a", ACK)


def capture_of_the_page():
    """Three connections closed in order, five that the server never closes, a reset, a refusal and silence."""
    talks = [talk_at_second(number) for number in range(9)]
    for talk in talks[:8]:
        talk.say("a", FIN | ACK).say("b", ACK, after_ms=20)
    for talk in talks[:3]:
        talk.say("b", FIN | ACK, after_ms=5).say("a", ACK)
    talks[8].say("b", RST | ACK, after_ms=4000)
    refused, silent = (Talk(port=40000 + number, server_port=443, start=T0 + number * 10**9) for number in (9, 10))
    refused.say("a", SYN).say("b", RST | ACK, after_ms=20)
    silent.say("a", SYN, seq=100).say("a", SYN, seq=100, after_ms=1000).say("a", SYN, seq=100, after_ms=2000)
    return pcap(sorted(frame for talk in (*talks, refused, silent) for frame in talk.frames))


def test_output_of_the_page_on_captures_is_what_is_printed(tmp_path):
    (tmp_path / "trace.pcap").write_bytes(capture_of_the_page())
    page = (DOCS / "how-to" / "read-a-capture.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n\$ (tcpscope .*)\n((?:(?!\$ )(?:.*)\n)+?)```", page, re.MULTILINE)
    assert len(blocks) == 2
    for command, sample in blocks:
        words = [sys.executable, str(ROOT / "tcpscope"), *shlex.split(command)[1:]]
        environment = {**os.environ, "TZ": "UTC"}
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600, env=environment)
        for part in sample.split("...\n"):
            assert part in done.stdout, command


def shape(line):
    """A line of a scene without what differs from run to run: ports, process ids, widths, seconds."""
    return re.sub(r"[0-9.]+", "#", re.sub(r"10\.9\.0\.\d:\d+|\d+/", "#", re.sub(r"\s+", " ", line.strip())))


@pytest.mark.root
def test_scene_of_the_tutorial_shows_what_the_page_shows():
    page = (DOCS / "tutorial" / "eleven-states.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    command = [sys.executable, str(ROOT / "tcpscope"), "lab", "run", "fin-wait-2", "--explain"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    shown = {shape(line) for line in done.stdout.splitlines()}
    assert [line for line in sample.splitlines() if shape(line) not in shown] == []
