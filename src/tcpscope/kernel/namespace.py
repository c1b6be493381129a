"""Network namespaces that are held open: make a private one or open another, work inside it, let go of it.

A namespace made here has no name and no holder process: it lives through the descriptor of this process and through
the processes and sockets inside it. When this process ends, however it ends (SIGKILL included), the kernel closes the
descriptor and removes the namespace with its devices, addresses, rules and sockets. Nothing is mounted.

Namespaces are a property of a thread: :meth:`NetworkNamespace.entered` moves the calling thread in and back out.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from tcpscope.kernel.namespaces import CLONE_NEWNET, inside
from tcpscope.model.errors import NotPermitted, TcpscopeError, Unsupported

_OWN = "/proc/thread-self/ns/net"


class NetworkNamespace:
    """One network namespace, open as long as this object is."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.inode = os.fstat(fd).st_ino

    @classmethod
    def open(cls, netns: str) -> NetworkNamespace:
        """Open a namespace that exists: a name, a path or ``pid:N``. Raises as :func:`inside` does."""
        with inside(netns):
            return cls(os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC))

    @classmethod
    def create(cls) -> NetworkNamespace:
        """Make a new, empty namespace. Raises ``NotPermitted`` without CAP_SYS_ADMIN."""
        try:
            with inside(_OWN):
                _unshare_network()
                return cls.open(_OWN)
        except NotPermitted as error:
            raise NotPermitted("network namespaces need CAP_SYS_ADMIN: run as root (sudo)") from error

    @property
    def path(self) -> str:
        """A path that other programs can open while this process lives (``nsenter --net=PATH``)."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run the block with the calling thread (and the processes it starts meanwhile) in this namespace."""
        with inside(self.path):
            yield

    def write_sysctl(self, name: str, value: object) -> None:
        """Set a per-namespace sysctl (``net.ipv4.tcp_fin_timeout``). Raises ``Unsupported`` when there is none."""
        try:
            with self.entered(), open(_sysctl_path(name), "w") as file:
                file.write(str(value))
        except FileNotFoundError:
            raise Unsupported(f"this kernel has no sysctl {name} in a network namespace") from None

    def read_sysctl(self, name: str) -> str:
        """Return the value of a sysctl as seen inside. Raises ``Unsupported`` when there is none."""
        try:
            with self.entered(), open(_sysctl_path(name)) as file:
                return file.read().strip()
        except FileNotFoundError:
            raise Unsupported(f"this kernel has no sysctl {name} in a network namespace") from None

    def close(self) -> None:
        """Let go of the namespace; the kernel removes it when no process or socket is left inside."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _sysctl_path(name: str) -> str:
    return "/proc/sys/" + name.replace(".", "/")


def _unshare_network() -> None:
    # Why ctypes: os.unshare exists only since Python 3.12.
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0:
        return
    code = ctypes.get_errno()
    if code == errno.EPERM:
        raise NotPermitted("unshare()")
    if code == errno.EINVAL:
        raise Unsupported("this kernel has no network namespaces (CONFIG_NET_NS)")
    raise TcpscopeError(f"unshare(): {os.strerror(code)}")
