"""Processes that cannot run at all: stopped by a signal, held by a debugger, or in a wait no signal ends.

Of many holders of a socket (a master and its workers hold each listener) the halted one is at fault. Sleeping says
nothing: a healthy server sleeps. The state is that of the main thread.
"""

from __future__ import annotations

from collections.abc import Iterable

from tcpscope.doctor.hints import command
from tcpscope.doctor.look import Look
from tcpscope.model.finding import Remedy
from tcpscope.model.snapshot import Process
from tcpscope.model.socket import Socket

_STATES = {
    "D": "is in uninterruptible sleep (D)",
    "T": "is stopped (T)",
    "t": "is held by a debugger (t)",
}


def halted_holders(look: Look, sockets: Iterable[Socket]) -> list[Process]:
    """Return the holders of these sockets that cannot run, each once, lowest pid first."""
    pids = {owner.pid for socket in sockets for owner in socket.owners}
    known = (look.snapshot.processes.get(pid) for pid in sorted(pids))
    return [one for one in known if one is not None and one.state in _STATES]


def spell_halted(process: Process) -> str:
    """``nginx (2215) is stopped (T)``."""
    return f"{process.name} ({process.pid}) {_STATES[process.state]} {process.wait_channel}".rstrip()


def wake(process: Process) -> Remedy:
    """Return what to type to let it run again, or to see what it waits for."""
    pid = process.pid
    if process.state == "T":
        return command(f"kill -CONT {pid}   lets {process.name} run again; find out who stopped it")
    if process.state == "t":
        return command(f"grep TracerPid /proc/{pid}/status   shows the debugger that holds it")
    return command(f"cat /proc/{pid}/stack   shows what it waits for: mostly a disk or a network file system")
