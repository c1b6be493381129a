"""A scene's segments and calls as rungs: the client's end left, the server's right, each with its state."""

from __future__ import annotations

from collections.abc import Iterator

from tcpscope.lab.recorder import Crossing, Record
from tcpscope.model.address import Endpoint
from tcpscope.model.event import Event
from tcpscope.model.rung import AT_LEFT, AT_RIGHT, TO_LEFT, TO_RIGHT, Rung
from tcpscope.model.segment import ACK, FIN, RST, SYN
from tcpscope.model.state import State
from tcpscope.model.transition import Transition
from tcpscope.views.ladder import draw_head, draw_rungs

_CALLS = {
    Event.OPEN_ACTIVE: "connect()",
    Event.CLOSE: "close() or shutdown()",
    Event.ABORT: "abort",
    Event.USER_TIMEOUT: "gives up",
    Event.FIN_WAIT_2_TIMEOUT: "tcp_fin_timeout is over",
    Event.TIME_WAIT_TIMEOUT: "60 s are over",
}
_MOST = 24


class SceneLadder:
    """Draws the connection a scene begins with; others are counted. Keeps states from one record to the next."""

    def __init__(self) -> None:
        self._client: Endpoint | None = None
        self._server: Endpoint | None = None
        self._start_ns = 0
        self._states: dict[Endpoint, State] = {}
        self._bases: dict[Endpoint, int] = {}
        self._has_head = False

    def draw(self, record: Record) -> Iterator[str]:
        """Yield the lines of what happened since the last record; nothing when nothing did."""
        self._choose(record)
        rungs = list(self._rungs(record))
        if not rungs:
            return
        if not self._has_head:
            self._has_head = True
            yield from (f"    {line}" for line in draw_head(f"client {self._client}", f"server {self._server}"))
        yield from (f"    {line}" for line in draw_rungs(rungs[:_MOST]))
        if len(rungs) > _MOST:
            yield f"    ... and {len(rungs) - _MOST} more"
        others = {tuple(sorted((one.source, one.destination))) for one in record.crossings if not self._is_ours(one)}
        if others:
            yield f"    ({len(others)} more connections had segments meanwhile)"

    def _choose(self, record: Record) -> None:
        """Take the first connection that begins: whoever sends the first SYN is the client."""
        if self._client is not None:
            return
        for crossing in record.crossings:
            if crossing.segment.has(SYN) and not crossing.segment.has(ACK):
                self._client, self._server = crossing.source, crossing.destination
                self._start_ns = crossing.when_ns
                return

    def _is_ours(self, crossing: Crossing) -> bool:
        return {crossing.source, crossing.destination} == {self._client, self._server}

    def _rungs(self, record: Record) -> Iterator[Rung]:
        crossings = [one for one in record.crossings if self._is_ours(one)]
        moves = [one for one in record.transitions if self._concerns(one)]
        happened: list[tuple[int, Crossing | Transition]] = sorted(
            [(one.when_ns, one) for one in crossings] + [(one.when_ns, one) for one in moves],
            key=lambda pair: pair[0],
        )
        pending: Crossing | None = None
        for when_ns, one in happened:
            if isinstance(one, Crossing) or one.event in _CALLS:
                if pending is not None:
                    yield self._segment(pending)
                pending = one if isinstance(one, Crossing) else None
            if isinstance(one, Transition):
                self._states[one.flow.local] = one.after
                if one.event in _CALLS:
                    yield self._call(when_ns, one)
        if pending is not None:
            yield self._segment(pending)

    def _concerns(self, move: Transition) -> bool:
        return {move.flow.local, move.flow.remote} == {self._client, self._server}

    def _segment(self, crossing: Crossing) -> Rung:
        note = {"lost": "lost on the way", "unknown": ""}.get(crossing.fate, "")
        return Rung(
            self._time(crossing.when_ns),
            self._spell(self._client),
            self._spell(self._server),
            self._describe(crossing),
            TO_RIGHT if crossing.source == self._client else TO_LEFT,
            note,
        )

    def _call(self, when_ns: int, move: Transition) -> Rung:
        place = AT_LEFT if move.flow.local == self._client else AT_RIGHT
        text = _CALLS[move.event] if move.event is not None else ""
        return Rung(self._time(when_ns), self._spell(self._client), self._spell(self._server), text, place)

    def _describe(self, crossing: Crossing) -> str:
        segment = crossing.segment
        names = [name for bit, name in ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST")) if segment.flags & bit]
        if segment.seg_len:
            base = self._bases.setdefault(crossing.source, segment.seq)
            names.append(f"{(segment.seq - base) % 2**32}")
        if segment.payload:
            names.append(f"({len(segment.payload)} octets)")
        if segment.flags & ACK:
            base = self._bases.get(crossing.destination, segment.ack)
            names.append(f"ACK {(segment.ack - base) % 2**32}")
        return " ".join(names)

    def _spell(self, end: Endpoint | None) -> str:
        state = self._states.get(end) if end is not None else None
        return state.spell("netstat") if state is not None else ""

    def _time(self, when_ns: int) -> str:
        seconds = round((when_ns - self._start_ns) / 1e9, 4) + 0.0  # no -0.0000
        return f"{seconds:+.4f} s"
