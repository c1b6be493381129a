"""``import tcpscope`` gives the verbs of the command line as functions."""

import os
import subprocess
import sys
from pathlib import Path

import tcpscope
from tcpscope.model.snapshot import Snapshot


def test_doctor_is_a_verb_before_and_after_its_room_is_imported():
    code = """
import tcpscope
from tcpscope.model.snapshot import Snapshot
assert isinstance(tcpscope.doctor(Snapshot(0, ())), list)
import tcpscope.doctor
assert isinstance(tcpscope.doctor(Snapshot(0, ())), list)
"""
    where = {**os.environ, "PYTHONPATH": str(Path(tcpscope.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, env=where)


def test_explain_is_a_verb_before_and_after_its_room_is_imported():
    code = """
import tcpscope
for what in ("FIN_WAIT_2", "close-wait-leak", "tcp 0 0 1.1.1.1:1 2.2.2.2:2 CLOSE_WAIT -"):
    assert tcpscope.explain(what).summary
import tcpscope.explain.topics
assert tcpscope.explain("FIN_WAIT_2").summary == tcpscope.explain.topics.explain_topic("FIN_WAIT_2").summary
"""
    where = {**os.environ, "PYTHONPATH": str(Path(tcpscope.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=where)


def test_read_gives_a_snapshot_of_a_dump_that_the_doctor_takes(tmp_path):
    dump = tmp_path / "dump.txt"
    dump.write_text("tcp        1      0 10.0.0.1:9000   10.0.0.2:40000   CLOSE_WAIT  2510/client\n")
    snapshot = tcpscope.read(str(dump))
    assert isinstance(snapshot, Snapshot)
    assert [socket.state.name for socket in snapshot.sockets] == ["CLOSE_WAIT"]
    assert isinstance(tcpscope.doctor(snapshot), list)


def test_every_verb_can_be_called():
    for name in tcpscope._VERBS:
        assert callable(getattr(tcpscope, name)), name
