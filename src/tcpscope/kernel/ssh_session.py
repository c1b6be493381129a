"""The connection this command is typed through, as sshd tells it in ``SSH_CONNECTION``.

Why also the environment of the ancestors: sudo drops the variable, and closing sockets is mostly done with sudo. Within
tmux or screen the ancestors end at their server, which was started in some session, perhaps an older one.
"""

from __future__ import annotations

import os

from tcpscope.model.record import NamedTuple

_NAME = "SSH_CONNECTION"
_MOST_ANCESTORS = 64


class SshSession(NamedTuple):
    """Both ends as sshd sees them."""

    remote_address: str
    remote_port: int
    local_address: str
    local_port: int


def find_ssh_session() -> SshSession | None:
    """Return the session of this process or of the nearest ancestor that has one; ``None`` for none."""
    session = parse_session(os.environ.get(_NAME, ""))
    pid = os.getppid()
    for _ in range(_MOST_ANCESTORS):
        if session is not None or pid <= 1:
            break
        session = parse_session(_variable_of(pid))
        pid = _parent_of(pid)
    return session


def parse_session(text: str) -> SshSession | None:
    """Parse ``192.0.2.1 50000 192.0.2.2 22``; the zone of a link-local address is cut off."""
    words = text.split()
    if len(words) != 4 or not (words[1].isdecimal() and words[3].isdecimal()):
        return None
    remote, local = (word.partition("%")[0] for word in words[::2])
    return SshSession(remote, int(words[1]), local, int(words[3]))


def _variable_of(pid: int) -> str:
    prefix = f"{_NAME}=".encode()
    found = (one for one in _read(pid, "environ").split(b"\0") if one.startswith(prefix))
    return next(found, b"")[len(prefix) :].decode("ascii", "replace")


def _parent_of(pid: int) -> int:
    """The fourth word of ``/proc/PID/stat``; the second, the name, may hold blanks and brackets. 0: not known."""
    words = _read(pid, "stat").rpartition(b")")[2].split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""
