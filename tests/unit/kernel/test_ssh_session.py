"""The ssh session of a command, found although sudo dropped the variable."""

import os
import subprocess
import sys

SESSION = "192.0.2.1 50000 192.0.2.2 22"
FIND = "from tcpscope.kernel.ssh_session import find_ssh_session; print(*(find_ssh_session() or ('none',)))"


def found(command, **variables):
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment = {name: value for name, value in os.environ.items() if name != "SSH_CONNECTION"}
    arguments = [*command, sys.executable, "-c", FIND]
    run = subprocess.run(
        arguments, capture_output=True, text=True, env={**environment, **paths, **variables}, timeout=300, check=True
    )
    return run.stdout.strip()


def test_own_variable_is_taken():
    assert found([], SSH_CONNECTION=SESSION) == SESSION


def test_variable_of_an_ancestor_is_taken_where_the_own_environment_has_none():
    keep_parent = ["sh", "-c", '"$@"; exit $?', "sh"]
    assert found([*keep_parent, "env", "-u", "SSH_CONNECTION"], SSH_CONNECTION=SESSION) == SESSION


def test_nearest_session_counts():
    keep_parent = ["sh", "-c", '"$@"; exit $?', "sh"]
    other = "192.0.2.9 1 192.0.2.2 22"
    assert found([*keep_parent, "env", f"SSH_CONNECTION={other}"], SSH_CONNECTION=SESSION) == other
