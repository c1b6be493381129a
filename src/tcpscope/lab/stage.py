"""What a scene works with: two hosts, processes on them, steps of the story, and checkpoints.

A :class:`Stage` belongs to one run of one scene. Nothing is asserted by exception: checkpoints, diagnoses and facts
are collected with what was expected and what was shown, and the scene goes on, so that a person sees the whole story.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tcpscope.kernel.sandbox import Host, Sandbox
from tcpscope.lab import programs
from tcpscope.lab.actor import Actor, ActorSocket
from tcpscope.lab.look import compare_with_ss, look_at
from tcpscope.lab.scene import Checkpoint, End, Fact, Seen, describe, is_match
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

PORT = 10050
PATIENCE_S = 5.0


class Moment(NamedTuple):
    """Something a person who watches is told at once: a ``step`` (text) or a ``checkpoint``."""

    kind: str
    text: str
    checkpoint: Checkpoint | None = None


class Pair(NamedTuple):
    """The two ends of one connection, and the listener it came through."""

    client: ActorSocket
    server: ActorSocket
    listener: ActorSocket


class Stage:
    """The hosts of one run and the record of what happened there."""

    def __init__(self, sandbox: Sandbox, on_moment: Callable[[Moment], None] = lambda moment: None) -> None:
        self.sandbox = sandbox
        self.client: Host = sandbox.client
        self.server: Host = sandbox.server
        self.checkpoints: list[Checkpoint] = []
        self.facts: list[Fact] = []
        self._tell = on_moment

    def step(self, text: str) -> None:
        """Say what is done next and why."""
        self._tell(Moment("step", text))

    def actor(self, host: Host, name: str = "") -> Actor:
        """Start a process on a host that does what the scene says; it is called as the host unless named."""
        return Actor(host, name or host.name)

    def demo(self, host: Host, name: str, *arguments: str, called: str = "") -> subprocess.Popen[bytes]:
        """Start one of the demo programs (``lab/programs``) on a host and wait until it says that it is ready."""
        process = host.start_python(called or name, programs.path_of(name), *arguments)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def connect(self, *, backlog: int = 5, port: int = PORT) -> Pair:
        """Make a server process and a client process, connected."""
        server, client = self.actor(self.server), self.actor(self.client)
        listener = server.listen(port, backlog)
        near = client.connect(self.server.address, port)
        return Pair(near, listener.accept(), listener)

    def expect(
        self,
        text: str,
        client: Iterable[Seen] | None = None,
        server: Iterable[Seen] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> Checkpoint:
        """Wait until the hosts show exactly these TCP sockets (``None``: do not look) and record what they show."""
        wanted = [(self.client, client), (self.server, server)]
        ends = [self._end(host, tuple(seen), patience_s) for host, seen in wanted if seen is not None]
        checkpoint = Checkpoint(text, tuple(ends))
        self.checkpoints.append(checkpoint)
        self._tell(Moment("checkpoint", text, checkpoint))
        return checkpoint

    def verify(self, text: str, expected: object, shown: object) -> None:
        """Record a plain fact besides states: what a call returned, what was counted."""
        self.facts.append(Fact(text, str(expected), str(shown)))
        self._tell(Moment("fact", f"{text}: {shown}"))

    def verify_error(self, text: str, code: int, call: Callable[[], object]) -> None:
        """Record that a call fails with this error number."""
        try:
            shown = f"returned {call()!r}"
        except OSError as error:
            shown = os.strerror(error.errno or 0)
        self.verify(text, os.strerror(code), shown)

    def wait_until(self, is_so: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
        """Ask again and again until something is so; return whether it became so in time."""
        deadline = time.monotonic() + patience_s
        while not is_so():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _end(self, host: Host, expected: Sequence[Seen], patience_s: float) -> End:
        sockets: Sequence[Socket] = ()

        def is_so() -> bool:
            nonlocal sockets
            sockets = look_at(host)
            return is_match(expected, sockets)

        ok = self.wait_until(is_so, patience_s)
        return End(host.name, tuple(map(str, expected)), describe(sockets), tuple(sockets), ok, compare_with_ss(host))


def listening(owner: str = "server", recv_q: int = 0) -> Seen:
    """Return the listener most scenes have on the server."""
    return Seen(State.LISTEN, recv_q, owner=owner)
