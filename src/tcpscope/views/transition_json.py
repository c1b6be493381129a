"""Transitions as JSON objects, one a line, in the shape of the public contract.

Made of pieces that are encoded once and kept: the encoder alone would cost three times as much as the kernel's record,
its story and its line together. A test compares every line with what the encoder makes of the same object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tcpscope.model.address import Endpoint, Flow
from tcpscope.model.event import Event
from tcpscope.model.socket import Owner
from tcpscope.model.spelling import IDENTIFIERS
from tcpscope.model.state import State
from tcpscope.model.transition import Transition
from tcpscope.views.spelled import Spelled

_encode = json.JSONEncoder(separators=(",", ":")).encode
_quote = json.encoder.encode_basestring_ascii


class TransitionLines:
    """Spells moves; states by their RFC names with underscores."""

    def __init__(self) -> None:
        self._flows = Spelled(_flow)
        self._steps = Spelled(_step)
        self._programs = Spelled(_program)
        self._origins = Spelled(_origin)

    def spell(self, moves: Iterable[Transition]) -> str:
        """Return a line for each move, in one piece."""
        flows, steps, programs, origins = self._flows, self._steps, self._programs, self._origins
        lines = []
        for move in moves:
            flow, _, before, event, after, t_ns, by, *origin, in_state_ns, _, earliest_ns, latest_ns, netns, cause = (
                move
            )
            in_state = "null" if in_state_ns is None else in_state_ns / 1e6
            line = (
                f'{{"t_ns":{t_ns},{flows[flow]},{steps[before, after, event]},"process":{programs[by]},'
                f'"in_state_ms":{in_state},{origins[(*origin, cause, netns)]}'
            )
            if earliest_ns is not None or latest_ns is not None:
                line = f"{line},{_fields(earliest_ns=earliest_ns, latest_ns=latest_ns)}"
            lines.append(line)
        return "}\n".join((*lines, ""))


def _fields(**named: object) -> str:
    """Return the inside of an object."""
    return _encode(named)[1:-1]


def _flow(flow: Flow) -> str:
    return f'"local":{_end(flow.local)},"remote":{_end(flow.remote)}'


def _end(end: Endpoint) -> str:
    return f'{{"address":{_quote(end.address)},"port":{end.port}}}'


def _step(step: tuple[State, State, Event | None]) -> str:
    before, after, event = step
    return _fields(before=IDENTIFIERS[before], after=IDENTIFIERS[after], event=None if event is None else event.name)


def _program(by: Owner | None) -> str:
    return _encode(None if by is None else {"pid": by.pid, "name": by.name, "fd": None if by.fd < 0 else by.fd})


def _origin(origin: tuple[str, str, bool, str, str, int]) -> str:
    source, certainty, legal, deviation, cause, netns = origin
    return _fields(
        source=source, certainty=certainty, legal=legal, deviation=deviation or None, cause=cause or None, netns=netns
    )
