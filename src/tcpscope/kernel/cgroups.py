"""How much memory a control group's sockets take, and what it may take (cgroup v2, ``memory.stat`` and ``memory.max``).

Kernel documentation, ``cgroup-v2.rst``: ``sock`` in ``memory.stat`` is the memory of network transmission buffers of
the group and all below it. A limit counts for everything below too, so the parents are read as well. Where the memory
controller is in the older hierarchy there is nothing to read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from tcpscope.model.snapshot import ControlGroup

#: Linux: reading memory.stat makes the kernel add up its per-CPU counts; very many groups are not worth that.
_MOST = 200


def read_control_groups(paths: Iterable[str | None], root: str = "/sys/fs/cgroup") -> tuple[ControlGroup, ...]:
    """Return those groups of ``paths`` and above them that have a memory limit."""
    tops = (top for top in (root, f"{root}/unified") if os.path.exists(f"{top}/cgroup.controllers"))
    top = next(tops, None)
    if top is None:
        return ()
    wanted = sorted({above for path in paths if path for above in _upwards(path)})
    groups = (_read_group(top, path) for path in wanted[:_MOST])
    return tuple(group for group in groups if group is not None)


def _upwards(path: str) -> list[str]:
    """``/a/b/c`` and all above it, ``/`` included: in a container that is the container's own group, with its limit."""
    names = [name for name in path.split("/") if name]
    return ["/" + "/".join(names[:depth]) for depth in range(len(names) + 1)] if ".." not in names else ["/"]


def _read_group(top: str, path: str) -> ControlGroup | None:
    folder = top + path.rstrip("/")
    limit, used = _number(f"{folder}/memory.max"), _number(f"{folder}/memory.current")
    if limit is None or used is None:
        return None
    return ControlGroup(path, parse_socket_bytes(_read(f"{folder}/memory.stat")), used, limit)


def parse_socket_bytes(text: str) -> int:
    """Return ``sock`` of ``memory.stat``; 0 when it has none."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "sock" and value.strip().isdecimal():
            return int(value)
    return 0


def _number(path: str) -> int | None:
    """Read one number; ``None`` for ``max`` (no limit) and where there is no such file."""
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
