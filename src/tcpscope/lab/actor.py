"""A scene's hold on a process inside a host: real sockets of a real process, called as if they were here.

:class:`Actor` is the process (:mod:`tcpscope.lab.puppet` runs in it), :class:`ActorSocket` one of its sockets. An
error of a socket call there is an ``OSError`` here.
"""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
from typing import Any

from tcpscope.kernel.sandbox import Host
from tcpscope.lab import puppet
from tcpscope.model.errors import TcpscopeError


class Actor:
    """A process on a host that does what the scene says; ``name`` is what ``ps`` and ``ss -p`` show."""

    def __init__(self, host: Host, name: str) -> None:
        self.host = host
        self.name = name
        self._process: subprocess.Popen[bytes] = host.start_python(name, puppet.__file__)
        self.pid = self._process.pid
        self.ask("ready")

    def ask(self, verb: str, *arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Let the process do one thing and return its result. Raises ``OSError`` as the call there did."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps([verb, *arguments]).encode() + b"\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise TcpscopeError(f"process {self.name!r} of the scene ended (code {self._process.wait()})")
        done, *rest = json.loads(line)
        if not done:
            raise OSError(*rest)
        return rest[0]

    def socket(self, family: int = socket.AF_INET) -> ActorSocket:
        """Make a TCP socket there."""
        return ActorSocket(self, self.ask("new", int(family), int(socket.SOCK_STREAM), 0))

    def listen(self, port: int, backlog: int = 128, address: str = "0.0.0.0", *, reuse: bool = True) -> ActorSocket:
        """Make a listening socket there."""
        sock = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        if reuse:
            sock.set_option(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address, port)
        sock.listen(backlog)
        return sock

    def connect(self, address: str, port: int) -> ActorSocket:
        """Connect from there and wait for the outcome."""
        sock = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.connect(address, port)
        return sock

    def start_connect(self, address: str, port: int) -> ActorSocket:
        """Start to connect from there and do not wait."""
        sock = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.start_connect(address, port)
        return sock

    def try_connect(self, address: str, port: int, times: int) -> tuple[int, ActorSocket | None]:
        """Connect until it is not refused; return how many tries it took, and the socket if there is one."""
        tries, fd = self.ask("try_connect", [address, port], times)
        return tries, ActorSocket(self, fd) if fd >= 0 else None

    def fork(self) -> int:
        """Let it fork a child that holds the same sockets; return the child's pid."""
        pid: int = self.ask("fork")
        return pid

    def end_child(self, pid: int) -> None:
        """Kill a child made by :meth:`fork`."""
        self.ask("end_child", pid)

    def limit_files(self, count: int) -> None:
        """Set its soft limit of open files (``ulimit -n``)."""
        self.ask("limit_files", count)

    def end(self, signum: int = signal.SIGKILL) -> None:
        """Send a signal that ends it, and wait until it is gone."""
        self._process.send_signal(signum)
        self._process.wait()


class ActorSocket:
    """One socket of an actor, named by its descriptor there."""

    def __init__(self, actor: Actor, fd: int) -> None:
        self.actor = actor
        self.fd = fd

    def bind(self, address: str, port: int) -> None:
        """Bind to a local address."""
        self.actor.ask("bind", self.fd, [address, port])

    def listen(self, backlog: int) -> None:
        """Wait for connections."""
        self.actor.ask("listen", self.fd, backlog)

    def accept(self) -> ActorSocket:
        """Take the next connection, waiting for it."""
        fd, _ = self.actor.ask("accept", self.fd)
        return ActorSocket(self.actor, fd)

    def accept_waiting(self) -> list[ActorSocket]:
        """Take every connection that waits now."""
        return [ActorSocket(self.actor, fd) for fd in self.actor.ask("accept_waiting", self.fd)]

    def connect(self, address: str, port: int) -> None:
        """Connect and wait for the outcome."""
        self.actor.ask("connect", self.fd, [address, port])

    def start_connect(self, address: str, port: int) -> None:
        """Start to connect and do not wait."""
        self.actor.ask("start_connect", self.fd, [address, port])

    def send(self, payload: bytes) -> int:
        """Send without waiting; return how many octets the kernel took."""
        sent: int = self.actor.ask("send", self.fd, base64.b64encode(payload).decode())
        return sent

    def send_zeros(self, size: int, *, wait: bool = False) -> int:
        """Send many octets, as many as fit or, with ``wait``, all; return how many the kernel took."""
        sent: int = self.actor.ask("push_zeros" if wait else "send_zeros", self.fd, size)
        return sent

    def recv(self, size: int = 65536) -> bytes:
        """Receive, waiting for something; empty is end of file."""
        return base64.b64decode(self.actor.ask("recv", self.fd, size))

    def drain(self) -> int:
        """Read and throw away what has arrived; return how many octets."""
        total: int = self.actor.ask("drain", self.fd)
        return total

    def shutdown(self, how: int = socket.SHUT_WR) -> None:
        """Close one direction and keep the socket."""
        self.actor.ask("shutdown", self.fd, int(how))

    def close(self) -> None:
        """Close the socket."""
        self.actor.ask("close", self.fd)

    def set_option(self, level: int, name: int, value: int | list[int]) -> None:
        """Call setsockopt; two numbers are a ``struct linger``."""
        self.actor.ask("set_option", self.fd, int(level), int(name), value)

    def get_option(self, level: int, name: int) -> int:
        """Call getsockopt for a number."""
        value: int = self.actor.ask("get_option", self.fd, int(level), int(name))
        return value

    def vanish(self) -> None:
        """Disappear without a segment, as a host that loses power does (TCP_REPAIR, then close)."""
        self.set_option(socket.IPPROTO_TCP, 19, 1)
        self.close()

    def error(self) -> int:
        """Return and clear the pending error (SO_ERROR)."""
        code: int = self.actor.ask("error", self.fd)
        return code

    @property
    def port(self) -> int:
        """The local port."""
        port: int = self.actor.ask("local", self.fd)[1]
        return port
