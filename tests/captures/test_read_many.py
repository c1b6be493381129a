"""Many files through the command itself: a Dask cluster with one worker killed at work, and the progress bar."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.made_captures import ACK, PSH, Talk, pcap, random_capture

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
COMMAND = (sys.executable, "-m", "tcpscope", "read")
PATIENCE_S = 280


@pytest.fixture
def pieces(tmp_path):
    """Eight captures in a row whose connections span the cuts, each good for some tenths of a second of work."""
    frames = [item for seed in range(150) for item in random_capture(seed, flows=12, length=40)]
    size = len(frames) // 8 + 1
    for number in range(8):
        (tmp_path / f"{number}.pcap").write_bytes(pcap(frames[number * size : number * size + size]))
    return [str(tmp_path / f"{number}.pcap") for number in range(8)]


def kill_a_worker_at_work(client, command):
    """Wait until a worker has files to read, kill it."""
    pids = client.run(os.getpid)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        busy = [address for address, tasks in client.processing().items() if tasks and address in pids]
        if busy:
            assert command.poll() is None
            os.kill(pids[busy[0]], signal.SIGKILL)
            return pids[busy[0]]
    raise AssertionError("no worker was given a file")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_cluster_of_two_workers_one_killed_at_work(pieces):
    distributed = pytest.importorskip("distributed")
    alone = subprocess.run([*COMMAND, "--json", *pieces], env=ENVIRONMENT, capture_output=True, check=True)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        arguments = ["--json", "--cluster", cluster.scheduler_address, *pieces]
        with subprocess.Popen(
            [*COMMAND, *arguments], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as command:
            killed = kill_a_worker_at_work(client, command)
            out, errors = command.communicate(timeout=PATIENCE_S)
        assert command.returncode == 0, errors
        assert killed not in client.run(os.getpid).values()
    assert json.loads(out) == json.loads(alone.stdout)
    assert len(json.loads(out)["connections"]) > 1000


def read_all(descriptor):
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # Linux: EIO when the other side of a terminal is gone
            return b"".join(parts)
        if not part:
            return b"".join(parts)
        parts.append(part)


@pytest.mark.parametrize("files", [1, 3])
def test_progress_is_drawn_on_a_terminal_alone(tmp_path, files):
    talk = Talk().shake()
    for _ in range(8000):
        talk.say("a", PSH | ACK, 1400)
    paths = [tmp_path / f"{number}.pcap" for number in range(files)]
    for path in paths:
        path.write_bytes(pcap(talk.frames))
    command = [*COMMAND, *map(str, paths)]
    main, terminal = pty.openpty()
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=terminal) as run:
        os.close(terminal)
        drawn = read_all(main).decode()
        table = run.stdout.read()
    os.close(main)
    assert run.returncode == 0
    done = [(int(part), int(whole)) for part, whole in re.findall(r"\rreading \[[#-]{30}\] (\d+) of (\d+) MiB", drawn)]
    size = files * paths[0].stat().st_size >> 20
    assert len(done) >= 2 and done == sorted(done) and all(whole == size for _, whole in done)
    assert drawn.endswith("\r\x1b[K"), "the bar is wiped out"
    silent = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True)
    assert (silent.stdout, silent.stderr) == (table, b"")
