"""The Python of every command's page runs as it stands, in a network namespace of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.made_captures import Talk, pcap

import tcpscope
from tcpscope.cli.main import COMMANDS
from tcpscope.doctor.tuning import Tuned
from tcpscope.explain.answer import Answer
from tcpscope.live.stats import Interval
from tcpscope.model.connection import Connection
from tcpscope.model.finding import Finding
from tcpscope.model.simulated import Step
from tcpscope.model.snapshot import Snapshot
from tcpscope.model.socket import Socket
from tcpscope.model.transition import Transition

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "reference" / "commands"
#: Endless: it wants traffic (tests/scenes/test_live_capture.py).
ENDLESS = {"capture"}
#: What must be in the output of these.
PRINTS = {
    "explain": "waits for the peer's FIN",
    "kill": "0 0",
    "lab": "FIN_WAIT_2",
    "read": "ESTABLISHED",
    "simulate": "SYN|ACK",
    "states": "State.LISTEN",
    "tune": " -> ",
}


def code_of(command):
    text = (PAGES / f"{command}.md").read_text(encoding="utf-8")
    part = re.split(r"^## the same in python$", text, flags=re.MULTILINE | re.IGNORECASE)[1]
    return "\n".join(re.findall(r"^```python\n(.*?)^```", part, re.MULTILINE | re.DOTALL))


def test_every_command_is_a_verb():
    assert set(COMMANDS) - {"overview"} <= set(tcpscope._VERBS)
    assert {"snapshot", "doctor"} <= set(tcpscope._VERBS)  # what the overview is made of


@pytest.mark.parametrize("command", COMMANDS)
def test_python_of_a_page_uses_the_verb(command):
    code = code_of(command)
    compile(code, command, "exec")
    assert f"tcpscope.{'snapshot' if command == 'overview' else command}(" in code


@pytest.mark.parametrize("verb", tcpscope._VERBS)
def test_verb_has_a_docstring_and_types(verb):
    function = tcpscope.find_verb(verb)
    assert re.match(r"[A-Z][a-z]+ .*", function.__doc__ or ""), verb
    assert "return" in function.__annotations__
    assert function.__module__.startswith("tcpscope.")


WORDS = (Socket, Snapshot, Finding, Transition, Interval, Connection, Step, Answer, Tuned)


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.__name__)
def test_page_of_the_verbs_shows_every_field_of_their_words(word):
    page = (PAGES.parent / "python.md").read_text(encoding="utf-8")
    part = page.split(f"\n`{word.__module__}.{word.__name__}`\n")[1].split("\n### ")[0]
    (fields,) = re.findall(r"^```python\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    assert tuple(re.findall(r"^(\w+): ", fields, re.MULTILINE)) == word._fields


def test_page_of_the_verbs_shows_every_verb():
    page = (PAGES.parent / "python.md").read_text(encoding="utf-8")
    assert re.findall(r"^## tcpscope\.(\w+)$", page, re.MULTILINE) == list(tcpscope._VERBS)


@pytest.mark.root
@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ENDLESS])
def test_python_of_a_page_runs(command, tmp_path):
    (tmp_path / "page.py").write_text(code_of(command))
    (tmp_path / "trace.pcapng").write_bytes(pcap(Talk().shake().frames))
    (tmp_path / "customer.txt").write_text("tcp  1  0 10.0.0.1:9000  10.0.0.2:40000  CLOSE_WAIT  2510/client\n")
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", f"ip link set lo up && exec {sys.executable} page.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert PRINTS.get(command, "") in done.stdout
