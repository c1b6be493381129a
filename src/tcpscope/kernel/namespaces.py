"""Network namespaces: find them (named, and held by processes), and be inside one for a while.

A namespace is identified by the inode of its ``ns/net`` file, as ``lsns`` and the kernel's own tools do.

Linux: a namespace belongs to a *thread*; :func:`inside` moves the calling thread alone and always brings it back.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from sys import byteorder

from tcpscope.model.errors import NotPermitted, TcpscopeError, UsageError
from tcpscope.model.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWNET = 0x40000000
NAMED_FOLDER = "/run/netns"
_OWN = "/proc/thread-self/ns/net"
_SO_NETNS_COOKIE = 71


class Namespace(NamedTuple):
    """One network namespace. ``names`` are those of ``ip netns``; ``pids`` the processes seen in it."""

    inode: int
    names: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """What to call it in a table: its name, else a process in it, else its number."""
        if self.names:
            return self.names[0]
        return f"pid:{self.pids[0]}" if self.pids else f"net:[{self.inode}]"

    @property
    def path(self) -> str:
        """A path that leads into it."""
        if self.names:
            return f"{NAMED_FOLDER}/{self.names[0]}"
        # Why: since it was seen a process may have ended, or gone on to another namespace.
        there = (path for path in map("/proc/{}/ns/net".format, self.pids) if _inode_of(path) == self.inode)
        return next(there, f"/proc/{self.pids[0]}/ns/net") if self.pids else _OWN


def own_inode() -> int:
    """Return the number of the namespace the calling thread is in; 0 when procfs does not tell."""
    return _inode_of(_OWN)


def _inode_of(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def find_namespaces() -> tuple[list[Namespace], int]:
    """Find all namespaces, the own one first; also how many processes could not be looked at.

    One that is kept alive only by an open descriptor or a socket is not found.
    """
    names, pids = _named(), {own_inode(): [os.getpid()]}
    refused = 0
    for pid in _pids():
        try:
            pids.setdefault(os.stat(f"/proc/{pid}/ns/net").st_ino, []).append(pid)
        except PermissionError:
            refused += 1
        except OSError:
            continue  # Why: it ended while we looked
    order = list(dict.fromkeys((*pids, *names)))
    found = [
        Namespace(inode, tuple(names.get(inode, ())), tuple(dict.fromkeys(pids.get(inode, ())))) for inode in order
    ]
    return found, refused


@contextmanager
def inside(netns: str | None) -> Iterator[int]:
    """Be inside a namespace (a name, a path, ``pid:N`` or ``None`` for the present one); gives its inode.

    Raises :class:`UsageError` when there is none of that name, :class:`NotPermitted` without CAP_SYS_ADMIN.
    """
    if netns is None:
        yield own_inode()
        return
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(netns)
        try:
            yield own_inode()
        finally:
            _set_namespace(home)
    finally:
        os.close(home)


def resolve_path(netns: str) -> str:
    """Return the path that a name, a path or ``pid:N`` stands for."""
    if netns.startswith("pid:"):
        return f"/proc/{netns[4:]}/ns/net"
    return netns if "/" in netns else f"{NAMED_FOLDER}/{netns}"


def _enter(netns: str) -> None:
    path = resolve_path(netns)
    try:
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise NotPermitted(f"network namespace {netns}: {path}: {error.strerror} (CAP_SYS_PTRACE is needed)") from error
    except OSError as error:
        known = ", ".join(sorted(name for names in _named().values() for name in names)) or "none"
        raise UsageError(f"no network namespace {netns!r} ({path}: {error.strerror}); named ones: {known}") from error
    try:
        _set_namespace(target)
    except PermissionError as error:
        raise NotPermitted(f"entering network namespace {netns}: CAP_SYS_ADMIN is needed") from error
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise UsageError(f"no network namespace {netns!r}: {path} is something else") from error
        raise TcpscopeError(f"entering network namespace {netns}: {error.strerror}") from error
    finally:
        os.close(target)


def _set_namespace(descriptor: int) -> None:
    # Why ctypes: os.setns exists only since Python 3.12.
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _named() -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    try:
        entries = sorted(os.listdir(NAMED_FOLDER))
    except OSError:
        return names
    for name in entries:
        try:
            status = os.stat(f"{NAMED_FOLDER}/{name}")
        except OSError:
            continue
        if _is_namespace(status):
            names.setdefault(status.st_ino, []).append(name)
    return names


def _is_namespace(status: os.stat_result) -> bool:
    """A file left behind after a reboot lies on another file system than the namespaces do."""
    try:
        return status.st_dev == os.stat(_OWN).st_dev
    except OSError:
        return False


def _pids() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())


def read_cookie() -> int:
    """Return the number of the present namespace that is never given again; 0 before Linux 5.14."""
    import _socket

    try:
        with_cookie = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    except OSError:
        return 0
    try:
        return int.from_bytes(with_cookie.getsockopt(_socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), byteorder)
    except OSError:
        return 0
    finally:
        with_cookie.close()
