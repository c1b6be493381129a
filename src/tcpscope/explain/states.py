"""The eleven states: explained from their portraits, and from the table (RFC 9293 §3.3.2, figure 5)."""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section
from tcpscope.explain.clocks import Clock
from tcpscope.explain.events import row_as_json, spell_sends, spell_stimulus
from tcpscope.explain.experiments import make_state_commands, scene_of
from tcpscope.explain.portraits import PORTRAITS, Portrait
from tcpscope.explain.queues import QUEUES
from tcpscope.explain.timers import clocks_of
from tcpscope.machine.lifecycle import CLIENT_ROAD, LIFE_ORDER, SERVER_ROAD, Row, road_of, ways_into, ways_out_of
from tcpscope.machine.linux import DEVIATIONS
from tcpscope.model.spelling import ALIASES, DIALECTS, KERNEL_EXTRA
from tcpscope.model.state import State

_TOOLS = {
    "rfc": "RFC 9293",
    "ss": "ss",
    "netstat": "netstat, lsof (Linux)",
    "bsd": "netstat (BSD)",
    "macos": "macOS",
    "windows": "Windows",
    "otel": "OpenTelemetry",
    "node_exporter": "node_exporter",
}


def kernel_codes(state: State) -> tuple[int, ...]:
    """Return the kernel's numbers for ``state``, its own first (12 and 13 are request and bound-only sockets)."""
    return (int(state), *(number for number, means in KERNEL_EXTRA.items() if means == state))


def state_named(text: str) -> State | None:
    """Return the state of any spelling, or of the code of ``/proc/net/tcp`` (``0A``, ``0x0A``); ``None`` if none."""
    try:
        return State.parse(text)
    except ValueError:
        pass
    digits = text.strip().lower().removeprefix("0x")
    if len(digits) != 2 or any(char not in "0123456789abcdef" for char in digits):
        return None
    try:
        return State.from_kernel(int(digits, 16))
    except ValueError:
        return None


def findings_of(state: State) -> tuple[str, ...]:
    """Return the ids of the findings a pile of this state may be."""
    return tuple(dict.fromkeys(finding for pile in PORTRAITS[state].piles for finding in pile.findings))


def road_text(state: State) -> str:
    """Say on whose usual road the state lies (generated)."""
    roads = []
    for name, road in (("client", CLIENT_ROAD), ("server", SERVER_ROAD)):
        stations = [road[0].before, *(row.after for row in road)]
        if state in stations:
            roads.append(f"{name}'s road: {' -> '.join(station.name for station in stations)}")
    return "; ".join(roads) or "on nobody's usual road"


def usual_first(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Put the rows of the usual roads before the others, otherwise in table order."""
    return tuple(sorted(rows, key=lambda row: road_of(row) == "other"))


def moves_grid(rows: tuple[Row, ...], end: str) -> Grid:
    """Tabulate rows with the state at the other ``end`` (``before`` or ``after``) first."""
    head = "from" if end == "before" else "to"
    cells = ((getattr(row, end).name, spell_stimulus(row), spell_sends(row.sends), row.rfc, row.note) for row in rows)
    return Grid((head, "event", "sends", "RFC 9293", "note"), tuple(cells))


def spellings_grid(state: State) -> Grid:
    """Tabulate how every tool spells the state."""
    rows = [(_TOOLS[dialect], state.spell(dialect)) for dialect in DIALECTS]
    rows.append(("/proc/net/tcp, column st", f"{int(state):02X}"))
    rows += [("inside the kernel also", str(number)) for number in kernel_codes(state)[1:]]
    others = sorted(alias for alias, name in ALIASES.items() if name == state.name)
    return Grid(("tool", "spelling"), (*rows, *((("also understood", ", ".join(others)),) if others else ())))


def explain_state(state: State) -> Answer:
    """Explain one state; the ways in and out come from the table."""
    portrait = PORTRAITS[state]
    queues = QUEUES[state]
    sections = (
        Section("Who and how long", grid=_facts_grid(state, portrait)),
        Section("How it came in", grid=moves_grid(usual_first(ways_into(state)), "before")),
        Section("How it leaves", grid=moves_grid(usual_first(ways_out_of(state)), "after")),
        Section(
            "Queues",
            items=(f"healthy (Recv-Q, Send-Q): {queues.normal}", f"Recv-Q: {queues.recv}", f"Send-Q: {queues.send}"),
        ),
        *_timer_section(clocks_of(state)),
        *_deviation_section(state),
        Section("What many of them mean", grid=_piles_grid(portrait)),
        Section("How the tools spell it", grid=spellings_grid(state)),
        Section("See it", commands=see_commands(state)),
        Section("Make it", commands=make_state_commands(state)),
    )
    return Answer(
        "state",
        state.name,
        f"{state.name}: {portrait.side}",
        portrait.summary,
        sections,
        _see_also(state),
        _state_facts(state),
    )


def see_commands(state: State) -> tuple[str, ...]:
    """Return the commands that list sockets in this state."""
    if state is State.CLOSED:
        return ("tcpscope list -tanpB",)
    word = scene_of(state)
    ss = {State.SYN_RECEIVED: "syn-recv", State.LISTEN: "listening"}.get(state, word)
    flag = "l" if state is State.LISTEN else "a"
    return (
        f"tcpscope list -t{flag}np state {word}",
        f"ss -t{flag}np state {ss}",
        f"netstat -t{flag}np | grep -w {state.spell('netstat')}",
    )


def _facts_grid(state: State, portrait: Portrait) -> Grid:
    return Grid(
        ("", ""),
        (
            ("which side", portrait.side),
            ("who acts next", portrait.acts),
            ("normally lasts", portrait.normal),
            ("ends on Linux", portrait.linux),
            ("owner shown", portrait.owner),
            ("other end is in", portrait.peer),
            ("usual road", road_text(state)),
        ),
    )


def _timer_section(clocks: tuple[Clock, ...]) -> tuple[Section, ...]:
    if not clocks:
        return (Section("Timers", ("None.",)),)
    rows = tuple(
        (clock.key, clock.shown or "-", clock.figures[0].condition, clock.figures[0].nominal, clock.figures[0].measured)
        for clock in clocks
    )
    return (Section("Timers", grid=Grid(("timer", "shown as", "condition", "nominal", "measured (Linux 6.18)"), rows)),)


def _deviation_section(state: State) -> tuple[Section, ...]:
    items = tuple(f"{row.name}: {row.reason}" for row in DEVIATIONS if state in (row.before, row.after))
    return (Section("Linux does it otherwise", items=items),) if items else ()


def _piles_grid(portrait: Portrait) -> Grid:
    rows = ((pile.when, pile.meaning, ", ".join(pile.findings)) for pile in portrait.piles)
    return Grid(("when", "meaning", "finding"), tuple(rows))


def _see_also(state: State) -> tuple[str, ...]:
    findings = findings_of(state)[:2]
    call = {State.CLOSED: ("close()",), State.LISTEN: ("listen()", "accept()"), State.SYN_SENT: ("connect()",)}
    return (*call.get(state, ()), f"Recv-Q {state.name}", *(clock.key for clock in clocks_of(state)[:2]), *findings)


def _state_facts(state: State) -> dict[str, object]:
    portrait = PORTRAITS[state]
    return {
        "state": state.name,
        "side": portrait.side,
        "acts_next": portrait.acts,
        "normally_lasts": portrait.normal,
        "ends_on_linux": portrait.linux,
        "ways_in": [row_as_json(row) for row in ways_into(state)],
        "ways_out": [row_as_json(row) for row in ways_out_of(state)],
        "spellings": {dialect: state.spell(dialect) for dialect in DIALECTS},
        "kernel_codes": list(kernel_codes(state)),
        "timers": [clock.key for clock in clocks_of(state)],
        "findings": list(findings_of(state)),
        "scene": scene_of(state),
    }


def explain_states() -> Answer:
    """List the eleven states in the order of a connection's life."""
    rows = tuple((state.name, PORTRAITS[state].side, PORTRAITS[state].summary) for state in LIFE_ORDER)
    return Answer(
        "states",
        "states",
        "The eleven states",
        "In the order in which a connection's life meets them.",
        (
            Section("States", grid=Grid(("state", "side", "meaning"), rows)),
            Section(
                "More", commands=("tcpscope explain FIN_WAIT_2", "tcpscope diagram -o tcp.svg", "tcpscope lab list")
            ),
        ),
        ("diagram", "table"),
        {"states": [state.name for state in LIFE_ORDER]},
    )
