"""One connection's transitions as rungs of a ladder: the opener left, the other end right."""

from __future__ import annotations

from tcpscope.model.address import Endpoint, Flow
from tcpscope.model.event import Event
from tcpscope.model.rung import AT_LEFT, AT_RIGHT, TO_LEFT, TO_RIGHT, Rung
from tcpscope.model.spelling import DIALECTS
from tcpscope.model.state import State
from tcpscope.model.transition import Transition
from tcpscope.views.row_table import escape
from tcpscope.views.transitions import spell_remark, spell_short

_SEGMENTS = {
    Event.SYN: "SYN",
    Event.SYN_ACK: "SYN,ACK",
    Event.ACK_OF_SYN: "ACK",
    Event.ACK_OF_FIN: "ACK of FIN",
    Event.FIN: "FIN",
    Event.FIN_ACK_OF_FIN: "FIN,ACK of FIN",
    Event.RST: "RST",
    Event.TEXT: "data",
    Event.SYN_REOPENS: "SYN, a new life",
}
_CALLS = {
    Event.OPEN_ACTIVE: "connect()",
    Event.OPEN_PASSIVE: "listen()",
    Event.CLOSE: "close() or shutdown()",
    Event.ABORT: "abort",
}
_ENDED = (State.CLOSED, State.TIME_WAIT)


class Ladder:
    """Follows the two ends of one connection. ``left`` is the end that opened it, as far as that was seen."""

    def __init__(self, first: Transition, names: str = "netstat") -> None:
        opener_is_remote = first.before is State.LISTEN or first.event is Event.SYN
        flow = _plain(first.flow.reversed if opener_is_remote else first.flow)
        self.left, self.right = flow.local, flow.remote
        self._flow = flow
        self._names = names
        self._start_ns = first.when_ns
        self._states: dict[Endpoint, State] = {}

    def takes(self, flow: Flow) -> bool:
        """Whether a transition of ``flow`` belongs here."""
        return _plain(flow) in (self._flow, self._flow.reversed)

    @property
    def is_over(self) -> bool:
        """Whether every end that was seen has reached TIME_WAIT or CLOSED."""
        return bool(self._states) and all(state in _ENDED for state in self._states.values())

    def rung(self, move: Transition) -> Rung:
        """Return the rung of one transition of this connection."""
        here = _plain(move.flow).local
        is_left = here == self.left
        self._states[here] = move.after
        text, towards = _place(move, is_left)
        remark = spell_remark(move)
        program = f"{escape(move.by.name or '?')}({move.by.pid})" if move.by and move.event in _CALLS else ""
        return Rung(
            time="+" + spell_short(move.when_ns - self._start_ns),
            left=self._spell(self.left),
            right=self._spell(self.right),
            text=text,
            towards=towards,
            note=" ".join(part for part in (program, remark) if part),
        )

    def _spell(self, end: Endpoint) -> str:
        state = self._states.get(end)
        return "" if state is None else DIALECTS[self._names][state]


def _plain(flow: Flow) -> Flow:
    """Return the flow as both ends know it: a dual-stack socket has v4-mapped addresses, its peer IPv4 ones."""
    local, remote = (end._replace(address=end.unmapped) for end in (flow.local, flow.remote))
    return Flow(local, remote, flow.proto)


def _place(move: Transition, is_left: bool) -> tuple[str, str]:
    here = AT_LEFT if is_left else AT_RIGHT
    if move.event is None:
        return "?", here
    if move.event in _SEGMENTS:
        return _SEGMENTS[move.event], TO_LEFT if is_left else TO_RIGHT
    return _CALLS.get(move.event, move.event.name.lower().replace("_", " ")), here
