"""The first screen: host, counts per state, listeners of note, what is wrong, and where to go next."""

from __future__ import annotations

from tcpscope.model.finding import Finding, Severity
from tcpscope.model.record import NamedTuple
from tcpscope.model.snapshot import Snapshot
from tcpscope.model.socket import Socket
from tcpscope.model.spelling import DIALECTS
from tcpscope.model.state import State
from tcpscope.views.row_table import escape, paint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_ORDER = (
    (State.LISTEN, State.ESTABLISHED, State.CLOSE_WAIT),
    (State.SYN_SENT, State.SYN_RECEIVED, State.TIME_WAIT),
    (State.FIN_WAIT_1, State.FIN_WAIT_2, State.LAST_ACK),
    (State.CLOSING, State.CLOSED),
)
_LISTENERS, _FINDINGS = 8, 5


class Listener(NamedTuple):
    """One listening address: who, how many connections it has, and its queue of not accepted ones."""

    socket: Socket
    connections: int


def find_listeners(sockets: Sequence[Socket]) -> list[Listener]:
    """Return the listeners, those with waiting connections first, then those with many."""
    listening = [socket for socket in sockets if socket.is_listener]
    busy: dict[int, int] = {}
    for socket in sockets:
        if socket.proto == "tcp" and not socket.is_listener:
            busy[socket.local.port] = busy.get(socket.local.port, 0) + 1
    found = [Listener(socket, busy.get(socket.local.port, 0)) for socket in listening]
    return sorted(found, key=lambda one: (-one.socket.recv_q, -one.connections, one.socket.local.port))


def count_states(sockets: Sequence[Socket]) -> dict[State, int]:
    """Count TCP sockets per state."""
    counts = dict.fromkeys(State, 0)
    for socket in sockets:
        if socket.proto == "tcp":
            counts[socket.state] += 1
    return counts


def render_overview(
    snapshot: Snapshot, findings: Sequence[Finding], took_ms: float, *, names: str = "netstat", colour: bool = False
) -> str:
    """Render the screen."""
    counts = count_states(snapshot.sockets)
    alarming = {socket.state for one in findings if one.severity >= Severity.MEDIUM for socket in one.sockets}
    host = snapshot.host
    total = sum(counts.values())
    sockets = f"{spell_number(total)} TCP socket{'' if total == 1 else 's'}"
    lines = [f"{host.name} · {host.kernel} · {sockets} · look took {took_ms:.0f} ms", ""]
    lines += _state_lines(counts, alarming, names, colour)
    lines += _listener_lines(find_listeners(snapshot.sockets))
    lines += _finding_lines(findings, colour)
    lines += [f"  note: {note}" for note in snapshot.coverage.notes]
    if snapshot.coverage.notes:
        lines.append("")
    lines.append("  more: " + " · ".join(_next_steps(counts, findings)))
    return "\n".join((*lines, ""))


def spell_number(number: int) -> str:
    """Spell with a blank between thousands: ``4 812``."""
    return f"{number:,}".replace(",", " ")


def _state_lines(counts: dict[State, int], alarming: set[State], names: str, colour: bool) -> list[str]:
    lines = []
    for group in _ORDER:
        cells = []
        for state in group:
            text = f"{DIALECTS[names][state]:<12}{spell_number(counts[state]):>7}"
            mark = " ▲" if state in alarming else "  "
            cells.append((paint(text, state) if colour and counts[state] else text) + mark)
        lines.append(("  " + "  ".join(cells)).rstrip())
    return [*lines, ""]


def _listener_lines(listeners: Sequence[Listener]) -> list[str]:
    if not listeners:
        return ["  nobody listens", ""]
    lines = ["  listeners                          program               connections   waiting/backlog"]
    for one in listeners[:_LISTENERS]:
        socket = one.socket
        program = ", ".join(sorted({f"{escape(owner.name)} ({owner.pid})" for owner in socket.owners})) or "?"
        backlog = "?" if socket.backlog is None else str(socket.backlog)
        lines.append(f"  {socket.local!s:<34} {program:<24} {one.connections:>8}   {socket.recv_q:>7}/{backlog}")
    if len(listeners) > _LISTENERS:
        lines.append(f"  ... and {len(listeners) - _LISTENERS} more: tcpscope list -tlp")
    return [*lines, ""]


def _finding_lines(findings: Sequence[Finding], colour: bool) -> list[str]:
    told = [one for one in findings if one.severity > Severity.INFO] or list(findings[:1])
    if not told:
        return ["  nothing stands out", ""]
    lines = []
    for one in told[:_FINDINGS]:
        severity = f"{one.severity.name:<8}"
        if colour and one.severity >= Severity.HIGH:
            severity = f"\x1b[1;31m{severity}\x1b[0m"
        lines.append(f"  {severity} {escape(one.title)}  [{one.id}]")
        lines += [f"           {escape(fact)}" for fact in one.evidence[:1]]
    if len(told) > _FINDINGS:
        lines.append(f"  ... and {len(told) - _FINDINGS} more: tcpscope doctor")
    return [*lines, ""]


def _next_steps(counts: dict[State, int], findings: Sequence[Finding]) -> list[str]:
    steps = ["tcpscope doctor", "tcpscope list -tanp"]
    if findings:
        steps.append(f"tcpscope explain {findings[0].id}")
    else:
        fullest = max(counts, key=lambda state: counts[state])
        steps.append(f"tcpscope explain {fullest.name}")
    return steps
