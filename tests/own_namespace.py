"""Run a module of the tests in a network namespace of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_in_namespace(module: str, *arguments: str, patience_s: int = 600) -> str:
    """Return what ``python -m module`` prints; what it says of a failure is the message of the assertion."""
    command = ["unshare", "-n", sys.executable, "-m", module, *arguments]
    paths = os.pathsep.join((str(ROOT), str(ROOT / "src")))
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=patience_s, check=False, env=os.environ | {"PYTHONPATH": paths}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
