"""What a scene works with: two hosts, processes on them, steps of the story, and checkpoints.

A :class:`Stage` belongs to one run of one scene. Nothing is asserted by exception: checkpoints, diagnoses and facts
are collected with what was expected and what was shown, and the scene goes on, so that a person sees the whole story.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tcpscope.doctor import diagnose
from tcpscope.doctor.thresholds import DEFAULTS, Thresholds
from tcpscope.kernel.sandbox import Host, Sandbox
from tcpscope.lab import programs
from tcpscope.lab.actor import Actor, ActorSocket
from tcpscope.lab.look import compare_with_ss, look_at
from tcpscope.lab.recorder import Record, Recorder
from tcpscope.lab.shown import Checkpoint, Diagnosis, End, Fact, Seen, describe, is_match
from tcpscope.live.snapshot import take_snapshot
from tcpscope.model.errors import Unsupported
from tcpscope.model.finding import Severity
from tcpscope.model.snapshot import Snapshot
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

PORT = 10050
PATIENCE_S = 20.0


class Moment(NamedTuple):
    """Something a person who watches is told at once: ``step``, ``fact``, ``checkpoint`` or ``diagnosis``.

    ``record`` holds what happened since the moment before.
    """

    kind: str
    text: str
    checkpoint: Checkpoint | None = None
    diagnosis: Diagnosis | None = None
    record: Record = Record()


class Pair(NamedTuple):
    """The two ends of one connection, and the listener it came through."""

    client: ActorSocket
    server: ActorSocket
    listener: ActorSocket


class Crowd(NamedTuple):
    """Many connections between two processes; ``server`` is empty when nobody has accepted."""

    client: list[ActorSocket]
    server: list[ActorSocket]
    listener: ActorSocket

    def close_clients(self) -> None:
        """Let the client close all of them."""
        for socket in self.client:
            socket.close()

    def close_servers(self) -> None:
        """Let the server close all of them."""
        for socket in self.server:
            socket.close()


class Stage:
    """The hosts of one run and the record of what happened there."""

    def __init__(
        self,
        sandbox: Sandbox,
        recorder: Recorder | None = None,
        on_moment: Callable[[Moment], None] = lambda moment: None,
    ) -> None:
        self.sandbox = sandbox
        self.recorder = recorder
        self.client: Host = sandbox.client
        self.server: Host = sandbox.server
        self.checkpoints: list[Checkpoint] = []
        self.diagnoses: list[Diagnosis] = []
        self.facts: list[Fact] = []
        self._first: dict[str, Snapshot] = {}
        self._on_moment = on_moment

    def _tell(self, moment: Moment) -> None:
        record = self.recorder.read() if self.recorder else Record()
        self._on_moment(moment._replace(record=record))

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

    def need(self, program: str) -> str:
        """Return the path of a program the scene needs. Raises ``Unsupported`` when it is not installed."""
        from glob import glob

        places = [os.environ.get("PATH", ""), "/usr/sbin", *sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True)]
        found = shutil.which(program, path=os.pathsep.join(places))
        if found is None:
            raise Unsupported(f"this scene needs {program}, which is not installed")
        return found

    def connect(self, *, backlog: int = 5, port: int = PORT) -> Pair:
        """Make a server process and a client process, connected."""
        server, client = self.actor(self.server), self.actor(self.client)
        listener = server.listen(port, backlog)
        near = client.connect(self.server.address, port)
        return Pair(near, listener.accept(), listener)

    def spare_time_wait(self) -> None:
        """Let no reset end a TIME_WAIT at the client early, where they are counted.

        Linux: in about one of 15 runs the trace showed one TIME_WAIT ended by a RST from the closed server (RFC 1337;
        what the server answered was not captured). With ``tcp_rfc1337=1`` none of 80 runs did.
        """
        self.client.set_sysctl("net.ipv4.tcp_rfc1337", 1)

    def crowd(self, number: int, *, backlog: int = 128, port: int = PORT, accept: bool = True) -> Crowd:
        """Make a server process and a client process with many connections between them."""
        server, client = self.actor(self.server), self.actor(self.client)
        listener = server.listen(port, backlog)
        near: list[ActorSocket] = []
        far: list[ActorSocket] = []
        for _ in range(number):
            near.append(client.connect(self.server.address, port))
            if accept:
                far.append(listener.accept())
        return Crowd(near, far, listener)

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

    def look_first(self, host: Host) -> None:
        """Let the doctor take the first of its two looks; :meth:`diagnose` takes the second."""
        # As the command does: the first look needs no owners.
        self._first[host.name] = take_snapshot(netns=host.namespace.path, owners=False, defer=True)

    def diagnose(
        self,
        host: Host,
        *finds: str,
        never: Sequence[str] = (),
        also: Sequence[str] = (),
        thresholds: Mapping[str, float] | None = None,
        ports: Sequence[int] = (),
    ) -> Diagnosis:
        """Ask the doctor about a host: it must find ``finds``, must not say ``never``, and may say ``also``.

        Anything else above info that is not explained by another finding is a surprise. ``thresholds`` stand in for
        waits of minutes; they are told. The two looks are 0.5 s apart at least.
        """
        if host.name not in self._first:
            self.look_first(host)
        # Why: a rate over a few milliseconds is no rate.
        elapsed_s = (time.time_ns() - self._first[host.name].taken_ns) / 1e9
        time.sleep(max(0.0, 0.5 - elapsed_s))
        for name, value in (thresholds or {}).items():
            self.step(f"(threshold {name}: {value:g} here instead of {DEFAULTS[name]:g}, to spare the wait)")
        findings = tuple(
            diagnose(
                take_snapshot(netns=host.namespace.path),
                self._first.pop(host.name),
                thresholds=Thresholds(thresholds),
                wanted_ports=ports,
            )
        )
        known = {finding.id for finding in findings}
        surprises = tuple(
            finding.id
            for finding in findings
            if finding.severity > Severity.INFO
            and finding.id not in (*finds, *also)
            and finding.explained_by not in known
        )
        diagnosis = Diagnosis(host.name, finds, tuple(never), findings, surprises)
        self.diagnoses.append(diagnosis)
        self._tell(Moment("diagnosis", f"the doctor on {host.name}", diagnosis=diagnosis))
        return diagnosis

    def grown(self, host: Host, counter: str) -> int:
        """Return by how much a counter (``Tcp.InErrs``) has grown since :meth:`look_first`."""
        now = take_snapshot(netns=host.namespace.path, detail=False, owners=False)
        return now.counters.get(counter, 0) - self._first[host.name].counters.get(counter, 0)

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
