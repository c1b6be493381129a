"""A process that does with sockets what a scene tells it, one call at a time; run on a host of the sandbox.

This file runs as a program of its own and imports nothing of the project; :mod:`tcpscope.lab.actor` holds the other
end. Each line on stdin is a JSON list ``[verb, *arguments]``; each line on stdout is ``[true, result]`` or ``[false,
errno, text]``. Sockets are named by their file descriptor.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

SOCKETS: dict[int, socket.socket] = {}
CHILDREN: list[int] = []


def keep(sock: socket.socket) -> int:
    """Remember a socket under its descriptor."""
    SOCKETS[sock.fileno()] = sock
    return sock.fileno()


def new(family: int, kind: int, proto: int) -> int:
    """Make a socket; calls on it give up after 10 s, so that a scene that goes wrong ends."""
    sock = socket.socket(family, kind, proto)
    sock.settimeout(30)
    return keep(sock)


def accept(fd: int) -> list[Any]:
    """Accept one connection; return its descriptor and the peer's address."""
    sock, peer = SOCKETS[fd].accept()
    sock.settimeout(30)
    return [keep(sock), list(peer)]


def connect(fd: int, address: list[Any]) -> None:
    """Connect and wait for the outcome."""
    SOCKETS[fd].connect(tuple(address))


def try_connect(address: list[Any], times: int) -> list[int]:
    """Connect again and again with new sockets that are closed at once when refused; return ``[tries, fd or -1]``."""
    for tried in range(1, times + 1):
        sock = socket.socket()
        sock.settimeout(30)
        try:
            sock.connect(tuple(address))
        except ConnectionRefusedError:
            sock.close()
        else:
            return [tried, keep(sock)]
    return [times, -1]


def accept_waiting(fd: int) -> list[int]:
    """Accept every connection that waits now; return their descriptors."""
    accepted = []
    with at_once(fd) as listener:
        while True:
            sock, _ = listener.accept()
            sock.settimeout(30)
            accepted.append(keep(sock))
    return accepted


def start_connect(fd: int, address: list[Any]) -> None:
    """Start to connect and do not wait."""
    with at_once(fd) as sock:
        sock.connect(tuple(address))


@contextlib.contextmanager
def at_once(fd: int) -> Iterator[socket.socket]:
    """Let the calls in the block return at once, and end the block when one would have to wait."""
    sock = SOCKETS[fd]
    sock.setblocking(False)
    try:
        with contextlib.suppress(BlockingIOError):
            yield sock
    finally:
        sock.settimeout(30)


def send(fd: int, payload: str) -> int:
    """Send what fits without waiting; return how much."""
    with at_once(fd) as sock:
        return sock.send(base64.b64decode(payload))
    return 0


def send_zeros(fd: int, size: int) -> int:
    """Send ``size`` zero octets or as many as fit without waiting; return how many."""
    sent = 0
    with at_once(fd) as sock:
        while sent < size:
            sent += sock.send(bytes(min(65536, size - sent)))
    return sent


def push_zeros(fd: int, size: int) -> int:
    """Send ``size`` zero octets, waiting for room as long as it takes (one call at most 10 s without room)."""
    sent = 0
    while sent < size:
        sent += SOCKETS[fd].send(bytes(min(65536, size - sent)))
    return sent


def recv(fd: int, size: int) -> str:
    """Receive, waiting for something."""
    return base64.b64encode(SOCKETS[fd].recv(size)).decode()


def drain(fd: int) -> int:
    """Read and throw away what is there; return how many octets."""
    total = 0
    with at_once(fd) as sock:
        while chunk := sock.recv(1 << 20):
            total += len(chunk)
    return total


def set_option(fd: int, level: int, name: int, value: int | list[int]) -> None:
    """Call setsockopt; a list is the two words of ``struct linger``."""
    SOCKETS[fd].setsockopt(level, name, struct.pack("ii", *value) if isinstance(value, list) else value)


def get_option(fd: int, level: int, name: int) -> int:
    """Call getsockopt for a number."""
    return SOCKETS[fd].getsockopt(level, name)


def close(fd: int) -> None:
    """Close and forget a socket."""
    SOCKETS.pop(fd).close()


def fork() -> int:
    """Fork a child that holds every socket and does nothing; it dies with this process."""
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
        os.close(0)
        os.close(1)
        while os.getppid() == parent:
            time.sleep(3600)
        os._exit(0)
    CHILDREN.append(child)
    return child


def end_child(pid: int) -> None:
    """Kill a child made by :func:`fork` and wait for its end."""
    CHILDREN.remove(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def limit_files(count: int) -> None:
    """Set the soft limit of open files."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (count, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


VERBS: dict[str, Callable[..., Any]] = {
    "new": new,
    "accept": accept,
    "connect": connect,
    "try_connect": try_connect,
    "accept_waiting": accept_waiting,
    "start_connect": start_connect,
    "send": send,
    "send_zeros": send_zeros,
    "push_zeros": push_zeros,
    "recv": recv,
    "drain": drain,
    "set_option": set_option,
    "get_option": get_option,
    "close": close,
    "fork": fork,
    "end_child": end_child,
    "limit_files": limit_files,
    "bind": lambda fd, address: SOCKETS[fd].bind(tuple(address)),
    "listen": lambda fd, backlog: SOCKETS[fd].listen(backlog),
    "shutdown": lambda fd, how: SOCKETS[fd].shutdown(how),
    "local": lambda fd: list(SOCKETS[fd].getsockname()),
    "error": lambda fd: SOCKETS[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
    "ready": lambda: os.getpid(),
}


def answer(request: list[Any]) -> list[Any]:
    """Do one request."""
    try:
        return [True, VERBS[request[0]](*request[1:])]
    except TimeoutError:
        return [False, 110, "the call did not return within 10 s"]
    except OSError as error:
        return [False, error.errno or 5, str(error)]


def main() -> None:
    """Obey until stdin ends."""
    for line in sys.stdin:
        try:
            print(json.dumps(answer(json.loads(line))), flush=True)
        except BrokenPipeError:  # the lab was killed in the middle of a request: nobody is left to answer
            os._exit(0)


if __name__ == "__main__":
    main()
