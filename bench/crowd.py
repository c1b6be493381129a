"""A crowd of real sockets in a network namespace of its own, held by several processes, gone when the block ends."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def set_namespace(path: str) -> None:
    """Move this thread into the network namespace at ``path``."""
    descriptor = os.open(path, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(descriptor)


def new_namespace() -> None:
    """Leave for a new network namespace and bring its loopback up."""
    import fcntl
    import struct

    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare: needs root")
    with socket.socket() as channel:
        fcntl.ioctl(channel, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


@contextmanager
def crowd(count: int, share_of_ipv6: float = 0.0) -> Iterator[str]:
    """Open ``count`` TCP sockets (both ends of loopback connections); gives the path of their namespace.

    Each process holds as many as its descriptor limit allows. Every process dies with this one.
    """
    per_process = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 20_000) - 100
    pids: list[int] = []
    try:
        leader = _spawn(new_namespace, 0, 0, False)
        pids.append(leader)
        path = f"/proc/{leader}/ns/net"
        left, number = count, 1
        while left > 0:
            pairs = (min(left, per_process) + 1) // 2
            pid = _spawn(lambda: set_namespace(path), number, pairs, number % 10 < share_of_ipv6 * 10)
            pids.append(pid)
            left -= 2 * pairs
            number += 1
        yield path
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _spawn(enter: Callable[[], None], number: int, pairs: int, is_ipv6: bool) -> int:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        ready = os.read(reader, 1) == b"r"
        os.close(reader)
        if not ready:
            raise RuntimeError("the crowd could not be opened (see above)")
        return pid
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        enter()
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        held = _open_pairs(number, pairs, is_ipv6)
        os.write(writer, b"r")
        os.close(writer)
        while held is not None:
            signal.pause()
    except BaseException as error:
        print(f"crowd: {error}", file=sys.stderr)
    os._exit(1)


def _open_pairs(number: int, pairs: int, is_ipv6: bool) -> list[socket.socket]:
    if not pairs:
        return []
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    listener = socket.create_server(("::1" if is_ipv6 else f"127.0.0.{number}", 0), family=family, backlog=128)
    held = [listener]
    for _ in range(pairs):
        client = socket.socket(family)
        client.connect(listener.getsockname())
        held += (client, listener.accept()[0])
    return held
