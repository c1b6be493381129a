"""tracefs: the description of tracepoints, without mounting anything where others could see it.

Where it is mounted already it is used; otherwise a detached mount is made (``fsopen(2)``, ``fsmount(2)``, Linux 5.2):
a descriptor of this process, attached nowhere, gone when it is closed. Needs CAP_SYS_ADMIN.
"""

from __future__ import annotations

import errno
import os
import re

from tcpscope.model.errors import NotPermitted, TcpscopeError, Unsupported
from tcpscope.model.record import NamedTuple

MOUNTED = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # the same on every architecture
_FSCONFIG_CMD_CREATE = 6
_CLOEXEC = 1

_FIELD = re.compile(r"^\s*field:(?P<declared>[^;]+);\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);", re.MULTILINE)
_SYMBOL = re.compile(r"\{ (-?\d+), \"([A-Z0-9_]+)\" \}")


class Format(NamedTuple):
    """One tracepoint: its number for perf, ``name -> (offset, size)`` of its fields, and the text it prints."""

    id: int
    fields: dict[str, tuple[int, int]]
    printed: str

    def symbols(self, field: str) -> dict[int, str]:
        """Return the names of values that the tracepoint prints for ``field`` (the last table that mentions it)."""
        at = self.printed.rfind(f"(REC->{field},")
        return {int(number): name for number, name in _SYMBOL.findall(self.printed[at:])} if at >= 0 else {}


def open_tracefs(mounted: tuple[str, ...] = MOUNTED) -> int:
    """Return a descriptor of tracefs' root folder. Raises :class:`NotPermitted` or :class:`Unsupported`."""
    for path in mounted:
        if os.path.isdir(path + "/events"):
            try:
                return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except PermissionError:
                raise NotPermitted(f"{path} is for root alone") from None
    return _mount_detached()


def read_format(root: int, event: str) -> Format:
    """Read the description of ``group/name``. Raises :class:`Unsupported` when the kernel has no such tracepoint."""
    try:
        fd = os.open(f"events/{event}/format", os.O_RDONLY | os.O_CLOEXEC, dir_fd=root)
    except FileNotFoundError:
        raise Unsupported(f"this kernel has no tracepoint {event}") from None
    except PermissionError:
        raise NotPermitted(f"tracepoint {event}: tracefs is for root alone") from None
    with open(fd, encoding="utf-8") as file:
        return parse_format(file.read())


def parse_format(text: str) -> Format:
    """Parse a tracepoint's ``format`` file. Raises :class:`Unsupported` when it has no number."""
    number = re.search(r"^ID: (\d+)$", text, re.MULTILINE)
    if number is None:
        raise Unsupported("a tracepoint's format has no ID")
    fields = {}
    for found in _FIELD.finditer(text):
        name = found["declared"].split()[-1].partition("[")[0].lstrip("*")
        fields[name] = int(found["offset"]), int(found["size"])
    return Format(int(number[1]), fields, text.partition("print fmt:")[2])


def _mount_detached() -> int:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    context = libc.syscall(_FSOPEN, b"tracefs", _CLOEXEC)
    if context < 0:
        raise _refused(ctypes.get_errno())
    try:
        if libc.syscall(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0) < 0:
            raise _refused(ctypes.get_errno())
        mount = libc.syscall(_FSMOUNT, context, _CLOEXEC, 0)
        if mount < 0:
            raise _refused(ctypes.get_errno())
        return int(mount)
    finally:
        os.close(context)


def _refused(number: int) -> TcpscopeError:
    if number in (errno.EPERM, errno.EACCES):
        return NotPermitted("tracefs is not mounted, and mounting it needs CAP_SYS_ADMIN")
    if number in (errno.ENODEV, errno.ENOSYS):
        return Unsupported("this kernel has no tracefs")
    return Unsupported(f"tracefs: {os.strerror(number)}")
