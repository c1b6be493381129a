"""The first screen: host, counts per state, listeners of note, what is wrong, and where to go next.

No line is wider than the terminal: sentences are wrapped, states and listeners stand in fewer columns.
"""

from __future__ import annotations

import textwrap

from tcpscope.live.listeners import find_listeners
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.snapshot import Snapshot
from tcpscope.model.socket import Socket
from tcpscope.model.spelling import DIALECTS
from tcpscope.model.state import State
from tcpscope.views.row_table import escape, paint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tcpscope.live.listeners import Listener

#: Three in a row on a wide terminal.
_ORDER = (
    *(State.LISTEN, State.ESTABLISHED, State.CLOSE_WAIT),
    *(State.SYN_SENT, State.SYN_RECEIVED, State.TIME_WAIT),
    *(State.FIN_WAIT_1, State.FIN_WAIT_2, State.LAST_ACK),
    *(State.CLOSING, State.CLOSED),
)
_LISTENERS, _FINDINGS = 8, 5
_CELL_WIDTH = 23
_NARROWEST, _WIDEST = 40, 120
_LEAST_PROGRAM_WIDTH = 16


def count_states(sockets: Sequence[Socket]) -> dict[State, int]:
    """Count TCP sockets per state."""
    counts = dict.fromkeys(State, 0)
    for socket in sockets:
        if socket.proto == "tcp":
            counts[socket.state] += 1
    return counts


def render_overview(
    snapshot: Snapshot,
    findings: Sequence[Finding],
    took_ms: float,
    *,
    names: str = "netstat",
    colour: bool = False,
    width: int = 80,
) -> str:
    """Render the screen, no line of it wider than ``width`` (from 40 on)."""
    width = max(_NARROWEST, min(width, _WIDEST))
    counts = count_states(snapshot.sockets)
    alarming = {socket.state for one in findings if one.severity >= Severity.MEDIUM for socket in one.sockets}
    host = snapshot.host
    total = sum(counts.values())
    sockets = f"{spell_number(total)} TCP socket{'' if total == 1 else 's'}"
    lines = [*_join((host.name, host.kernel, sockets, f"look took {took_ms:.0f} ms"), width), ""]
    lines += [*_state_lines(counts, alarming, names, colour, width), ""]
    lines += [*_listener_lines(find_listeners(snapshot.sockets), width), ""]
    lines += [*_finding_lines(findings, colour, width), ""]
    notes = [line for note in snapshot.coverage.notes for line in _wrap(f"note: {note}", width, "  ", "        ")]
    lines += [*notes, ""] if notes else []
    lines += _join(_next_steps(counts, findings), width, "  more: ")
    return "\n".join((*lines, ""))


def spell_number(number: int) -> str:
    """Spell with a blank between thousands: ``4 812``."""
    return f"{number:,}".replace(",", " ")


def _wrap(text: str, width: int, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        escape(text), width, initial_indent=first, subsequent_indent=later, break_on_hyphens=False
    ) or [first]


def _join(parts: Sequence[str], width: int, first: str = "") -> list[str]:
    """Join with dots; a line ends between two parts, never inside of one."""
    solid = " · ".join(part.replace(" ", "\xa0") for part in parts)
    lines = textwrap.wrap(
        solid, width, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    )
    return [line.replace("\xa0", " ") for line in lines]


def _state_lines(counts: dict[State, int], alarming: set[State], names: str, colour: bool, width: int) -> Iterator[str]:
    in_a_row = min(3, (width - 2) // _CELL_WIDTH)
    for begin in range(0, len(_ORDER), in_a_row):
        cells = []
        for state in _ORDER[begin : begin + in_a_row]:
            text = f"{DIALECTS[names][state]:<12}{spell_number(counts[state]):>7}"
            mark = " ▲" if state in alarming else "  "
            cells.append((paint(text, state) if colour and counts[state] else text) + mark)
        yield ("  " + "  ".join(cells)).rstrip()


def _listener_lines(listeners: Sequence[Listener], width: int) -> Iterator[str]:
    if not listeners:
        yield "  nobody listens"
        return
    shown = listeners[:_LISTENERS]
    address = max(len("listeners"), *(len(one.socket.listening_at) for one in shown))
    head = f"  {'listeners':<{address}}  connections  waiting/backlog  "
    is_table = width - len(head) >= _LEAST_PROGRAM_WIDTH
    yield head + "program" if is_table else "  listeners"
    for one in shown:
        place, waiting = one.socket.listening_at, f"{one.waiting}/{'?' if one.backlog is None else one.backlog}"
        if is_table:
            line = f"  {place:<{address}}  {spell_number(one.connections):>11}  {waiting:>15}  "
            yield from _wrap(_spell_programs(one), width, line, " " * len(line))
        else:
            facts = f"connections {spell_number(one.connections)}, waiting {waiting}, {_spell_programs(one)}"
            yield from (f"  {place}", *_wrap(facts, width, "      ", "      "))
    if len(listeners) > _LISTENERS:
        yield f"  ... and {len(listeners) - _LISTENERS} more: tcpscope list -tlp"


def _spell_programs(listener: Listener) -> str:
    """The first holder, how many others there are, and how many sockets share the address."""
    owners = sorted({(owner.pid, owner.name) for owner in listener.socket.owners})
    if not owners:
        return "?"
    pid, name = owners[0]
    more = f" and {len(owners) - 1} more" if len(owners) > 1 else ""
    shared = f", {listener.sockets} sockets" if listener.sockets > 1 else ""
    return f"{name} ({pid}){more}{shared}"


def _finding_lines(findings: Sequence[Finding], colour: bool, width: int) -> Iterator[str]:
    told = [one for one in findings if one.severity > Severity.INFO] or list(findings[:1])
    if not told:
        yield "  nothing stands out"
    margin = " " * 11
    for one in told[:_FINDINGS]:
        first, *rest = _wrap(f"{one.title}  [{one.id}]", width, margin, margin)
        severity = f"  {one.severity.name:<8}"
        if colour and one.severity >= Severity.HIGH:
            severity = f"\x1b[1;31m{severity}\x1b[0m"
        yield from (severity + first[len(margin) - 1 :], *rest)
        for fact in one.evidence[:1]:
            yield from _wrap(fact, width, margin, margin)
    if len(told) > _FINDINGS:
        yield f"  ... and {len(told) - _FINDINGS} more: tcpscope doctor"


def _next_steps(counts: dict[State, int], findings: Sequence[Finding]) -> list[str]:
    if findings:
        return ["tcpscope doctor", "tcpscope list -tanp", f"tcpscope explain {findings[0].id}"]
    fullest = max(counts, key=lambda state: counts[state])
    return ["tcpscope doctor", "tcpscope list -tanp", f"tcpscope explain {fullest.name}"]
