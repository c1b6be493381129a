"""What happened on the hosts of a scene, in order: every segment on the wire and every transition of their kernels.

Segments come from packet sockets (``eth0`` of both hosts, ``lo`` of the server), transitions from the kernel's
tracepoints where this machine lets us follow them. A rule that drops packets does so behind the packet socket;
whether it took a segment is worked out from the rules the scene had set at that moment.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tcpscope.kernel.raw_packets import PacketSocket, SeenFrame
from tcpscope.kernel.sandbox import Host, Sandbox
from tcpscope.live.trace import Feed, open_trace
from tcpscope.model.address import Endpoint
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.segment import ACK, FIN, RST, SYN, Segment
from tcpscope.model.transition import Transition

_MOST_FRAMES = 20_000
_FLAGS = {"fin": FIN, "syn": SYN, "rst": RST, "ack": ACK}
_FLAG_MATCH = re.compile(r"tcp flags & \(([a-z|]+)\) == ([a-z]+|0)")
_NUMBER_MATCH = re.compile(r"tcp ackseq (\d+)|ip length > (\d+)")


class Crossing(NamedTuple):
    """One segment on the wire. ``fate``: ``arrived``, ``lost`` (a rule of the scene dropped it) or ``unknown``."""

    when_ns: int
    source: Endpoint
    destination: Endpoint
    segment: Segment
    fate: str


class Record(NamedTuple):
    """Segments and transitions since the last look, each in order of time."""

    crossings: tuple[Crossing, ...] = ()
    transitions: tuple[Transition, ...] = ()


class Recorder:
    """Records from now on; use as a context manager. Not ``wanted``, it records nothing: for hosts under full load."""

    def __init__(self, sandbox: Sandbox, *, wanted: bool = True) -> None:
        self._hosts = {host.namespace.inode: host for host in sandbox.hosts}
        # Why both ends of the wire: only what goes out is sure to carry the time at which it did.
        self._taps = (
            (sandbox.server, PacketSocket(sandbox.client)),
            (sandbox.client, PacketSocket(sandbox.server)),
            (sandbox.server, PacketSocket(sandbox.server, "lo")),
        )
        self._wanted = wanted
        self._feeds = _open_feeds(sandbox) if wanted else []
        self.source = f"tier {self._feeds[0].tier}" if self._feeds else "not followed"
        self.all_transitions: list[Transition] = []
        self.all_frames: list[SeenFrame] = []

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        for _target, tap in self._taps:
            tap.close()
        for feed in self._feeds:
            feed.close()

    def read(self) -> Record:
        """Return what has happened since the last call."""
        if not self._wanted:
            return Record()
        crossings = []
        for target, tap in self._taps:
            frames = [seen for seen in tap.read_frames() if seen.is_outgoing]
            self.all_frames += frames[: _MOST_FRAMES - len(self.all_frames)]
            crossings += [_crossing(target, seen) for seen in frames]
        transitions = self._read_transitions()
        self.all_transitions += transitions
        return Record(tuple(sorted(crossings, key=lambda one: one.when_ns)), tuple(transitions))

    def _read_transitions(self) -> list[Transition]:
        found = [one for feed in self._feeds for one in feed.read_transitions(0.005) + feed.read_rest()]
        return sorted((one for one in found if one.netns in self._hosts), key=lambda one: one.when_ns)


def _crossing(target: Host, seen: SeenFrame) -> Crossing:
    frame = seen.frame
    is_local = frame.source.address == frame.destination.address
    fate = "arrived" if is_local else _fate(target, seen)
    return Crossing(seen.when_ns, frame.source, frame.destination, frame.segment, fate)


def _open_feeds(sandbox: Sandbox) -> list[Feed]:
    """Follow each host by itself. Why: what the rest of a busy machine does would cost more than the scene."""
    feeds: list[Feed] = []
    try:
        for host in sandbox.hosts:
            feeds.append(open_trace(host.namespace.inode))  # noqa: PERF401 - what is open must be closed
    except (TcpscopeError, OSError):
        for feed in feeds:
            feed.close()
        return []  # the scene is as true without; its outcome then has no transitions
    return feeds


def _fate(target: Host, seen: SeenFrame) -> str:
    matches = target.dropped_at(seen.when_ns)
    verdicts = [_is_taken(match, seen) for match in matches]
    if any(verdicts):
        return "lost"
    return "unknown" if None in verdicts else "arrived"


def _is_taken(match: str, seen: SeenFrame) -> bool | None:
    """Whether an nft expression of a scene takes a frame; ``None``: it cannot be told from the frame alone."""
    if not match:
        return True
    flags = _FLAG_MATCH.fullmatch(match)
    if flags:
        mask = sum(_FLAGS[name] for name in flags[1].split("|"))
        return seen.segment.flags & mask == _FLAGS.get(flags[2], 0)
    number = _NUMBER_MATCH.fullmatch(match)
    if number and number[1]:
        return seen.segment.has(ACK) and seen.segment.ack == int(number[1])
    if number:
        return len(seen.octets) - 14 > int(number[2])
    return None
