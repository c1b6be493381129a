"""Start one program that cannot outlive the laboratory; run as ``python launch.py PARENT NAME SCRIPT [ARGUMENT...]``.

Asks the kernel for SIGKILL when the parent dies (``PR_SET_PDEATHSIG``), and goes away at once when that has already
happened. With a NAME it runs a Python script in this very interpreter, under that name (as ``ps`` and ``ss -p`` show
it); with an empty NAME it replaces itself by the program. It imports nothing of this project.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Tie this process to its parent, then become the program."""
    parent, name, program, *arguments = argv
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("the laboratory is gone")
    if not name:
        os.execvp(program, [program, *arguments])
    with open("/proc/self/comm", "w") as comm:
        comm.write(name)
    import runpy

    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
