"""Tiny server and client programs: a correct one, and the mistakes that fill hosts with CLOSE_WAIT.

Each file is a program of its own that imports nothing of the project: ``python3 correct_server.py 10050``. The
scenes run them, the documentation quotes them.
"""

from __future__ import annotations

from pathlib import Path


def path_of(name: str) -> str:
    """Return the path of a program: ``correct_server forgets_close ignores_recv never_accepts quiet_client ...``."""
    return str(Path(__file__).with_name(f"{name}.py"))
