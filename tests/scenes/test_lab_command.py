"""``tcpscope lab`` from outside: JSON, exit codes, and that a killed scene leaves nothing behind."""

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.patience import wait_until

from tcpscope.lab.scene import load_scenes

ROOT = Path(__file__).resolve().parents[2]
TCPSCOPE = [sys.executable, str(ROOT / "tcpscope")]


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    settings = {"timeout": 300, **options}
    return subprocess.run([*TCPSCOPE, *arguments], capture_output=True, text=True, check=False, **settings)


def test_list_names_every_scene():
    done = run("lab", "list")
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in load_scenes())


def test_list_as_json_is_one_object():
    document = json.loads(run("lab", "list", "--json").stdout)
    assert document["schema"] == "tcpscope.lab/1"
    assert {scene["name"] for scene in document["scenes"]} == set(load_scenes())


def test_unknown_scene_is_a_usage_error_with_a_hint():
    done = run("lab", "run", "fin-wait-3")
    assert done.returncode == 2
    assert "fin-wait-2" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.root
def test_run_as_json_says_what_was_shown():
    done = run("lab", "run", "fin_wait_2", "--json")
    assert done.returncode == 0
    (scene,) = json.loads(done.stdout)["scenes"]
    assert scene["ok"] is True
    assert scene["shown"][-1]["client"] == ["FIN_WAIT_2 recv-q 0 send-q 0 timer timewait of no process"]
    assert {"name", "expected", "transitions", "findings"} <= scene.keys()


@pytest.mark.root
def test_run_of_rows_shows_each_of_them():
    done = run("lab", "run", "rows-of-closed")
    assert done.returncode == 0, done.stdout
    assert "  CLOSED.OPEN_PASSIVE: LISTEN, sends NOTHING\n" in done.stdout
    assert "ok: rows-of-closed" in done.stdout


@pytest.mark.root
def test_explain_tells_the_story_with_both_ends():
    done = run("lab", "run", "close-wait", "--explain")
    assert done.returncode == 0
    assert "CLOSE_WAIT" in done.stdout and "FIN_WAIT2" in done.stdout
    assert "> It calls close()." in done.stdout


@pytest.mark.root
def test_pause_waits_after_every_step():
    lab = subprocess.Popen(
        [*TCPSCOPE, "lab", "run", "listen", "--pause"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        lines = [lab.stdout.readline() for _ in range(5)]
        assert lines[0].startswith("listen: ")
        assert lab.poll() is None
        rest, _ = lab.communicate("\n" * 20, timeout=300)
        assert lab.returncode == 0
        assert "ok: listen" in rest
    finally:
        lab.kill()
        lab.wait()


@pytest.mark.root
@pytest.mark.slow
def test_coverage_as_json_accounts_for_every_row():
    from tcpscope.machine.lifecycle import ROWS

    document = json.loads(run("lab", "coverage", "--json", timeout=300).stdout)
    assert document["schema"] == "tcpscope.lab-coverage/1"
    rows = {row["row"]: row for row in document["rows"]}
    assert rows.keys() == {row.id for row in ROWS}
    assert {row["linux"] for row in document["rows"]} == {"shown", "otherwise", "impossible", "elsewhere"}
    assert rows["ESTABLISHED.FIN"]["linux"] == "shown"
    assert rows["ESTABLISHED.FIN"]["capture"] and rows["ESTABLISHED.FIN"]["endpoint"]
    assert rows["LISTEN.OPEN_ACTIVE.REMOTE_GIVEN"]["linux"] == "otherwise"


@pytest.mark.root
def test_without_privilege_one_line_and_exit_code_4():
    done = run("lab", "run", "listen", preexec_fn=_drop_capabilities)
    assert done.returncode == 4, done.stderr
    assert "CAP_SYS_ADMIN" in done.stderr
    assert done.stderr.count("\n") == 1


def _drop_capabilities():
    """Empty the bounding set: after exec even uid 0 has no capability."""
    prctl = ctypes.CDLL(None).prctl
    for capability in range(64):
        prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.mark.root
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_killed_scene_leaves_nothing_behind(signum):
    """Hold a scene open, kill the lab, and look for its processes, namespaces, devices and mounts."""
    lab = subprocess.Popen(
        [*TCPSCOPE, "lab", "run", "listen", "--keep"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        lines = [lab.stderr.readline().decode() for _ in range(5)]
        namespaces = {os.stat(f"/proc/{lab.pid}/fd/{fd}").st_ino for fd in _namespace_fds(lab.pid)}
        children = _children(lab.pid)
        assert len(namespaces) >= 2 and len(children) >= 2, lines
        lab.send_signal(signum)
        assert lab.wait(timeout=300) == (130 if signum is signal.SIGINT else -signum)
    finally:
        lab.kill()
        lab.communicate()
    # Why not all mounts before and after: others mount and unmount meanwhile.
    wait_until(
        lambda: not _alive(children) and not namespaces & (_namespaces_in_use() | _namespaces_mounted()),
        "the end of all",
        pause=0.05,
    )


def _namespaces_mounted() -> set[int]:
    """Namespaces that a mount keeps (``ip netns`` does it so)."""
    return {int(inode) for inode in re.findall(r"\bnet:\[(\d+)\]", Path("/proc/self/mountinfo").read_text())}


def _namespace_fds(pid: int) -> list[str]:
    folder = Path(f"/proc/{pid}/fd")
    return [fd.name for fd in folder.iterdir() if os.readlink(fd).startswith("net:[")]


def _children(pid: int) -> set[int]:
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found |= {int(status.parent.name), *_children(int(status.parent.name))}
    return found


def _alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


def _namespaces_in_use() -> set[int]:
    found = set()
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):
            found.add(os.stat(link).st_ino)
    return found
