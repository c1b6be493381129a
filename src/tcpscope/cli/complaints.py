"""What went wrong, as one line and an exit code: no traceback unless a developer asks for it."""

from __future__ import annotations

import os
import sys

from tcpscope.cli import streams
from tcpscope.model.errors import TcpscopeError


def report(error: Exception) -> int:
    """Say in one line on stderr what went wrong; return the exit code."""
    if isinstance(error, TcpscopeError):
        complain(str(error))
        return error.exit_code
    if isinstance(error, OSError):
        complain(spell_os_error(error))
        streams.forget_unwritten()
        return 4 if isinstance(error, PermissionError) else 1
    if sys.flags.dev_mode:
        raise error
    kind = type(error).__name__
    complain(f"internal error ({kind}: {error}); 'python -X dev -m tcpscope ...' shows where")
    return 1


def complain(line: str) -> None:
    """Say what went wrong; when stderr is full or closed the exit code still tells."""
    try:
        print(f"tcpscope: {line}", file=sys.stderr, flush=True)
    except OSError:
        streams.forget_stderr()


def spell_os_error(error: OSError) -> str:
    """Say in one line what the system refused, of which file, and why when that is easily seen."""
    name = error.filename
    if not isinstance(name, str):
        why = error.strerror or str(error)
        return f"not permitted: {why}" if isinstance(error, PermissionError) else why
    folder = os.path.dirname(name) or "."
    why = error.strerror or str(error)
    if isinstance(error, FileNotFoundError):
        if name.startswith("/proc/") and not os.path.exists("/proc/self"):
            why = "is /proc mounted?"
        elif not os.path.isdir(folder):
            why = f"there is no folder {folder}"
    return f"not permitted: {name}: {why}" if isinstance(error, PermissionError) else f"{name}: {why}"
