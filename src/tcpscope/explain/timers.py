"""Timers explained; the data stands in :mod:`tcpscope.explain.clocks`."""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section, fold, prose_sections
from tcpscope.explain.clocks import CLOCKS, Clock
from tcpscope.model.state import State

_BY_NAME = {fold(name): clock for clock in CLOCKS for name in (clock.key, *clock.names)}


def clock_named(name: str) -> Clock | None:
    """Return the timer of this name or alias, or ``None``."""
    return _BY_NAME.get(fold(name))


def clocks_of(state: State) -> tuple[Clock, ...]:
    """Return the timers that can run in ``state``."""
    return tuple(clock for clock in CLOCKS if state in clock.states)


def explain_timer(clock: Clock) -> Answer:
    """Explain one timer."""
    figures = Grid(("condition", "nominal", "measured (Linux 6.18)"), tuple(tuple(figure) for figure in clock.figures))
    states = ", ".join(state.name for state in clock.states) or "none: it runs beside the connection"
    shown = f"timer '{clock.shown}'" if clock.shown else "not shown by any tool"
    return Answer(
        "timer",
        clock.key,
        clock.title,
        clock.summary,
        (
            Section(
                "When",
                items=(
                    f"starts: {clock.starts}",
                    f"ends: {clock.ends}",
                    f"runs in: {states}",
                    f"in ss, and in the column Timer: {shown}",
                ),
            ),
            Section("How long", grid=figures),
            *prose_sections(("Mind", clock.notes)),
            Section("What changes it", items=clock.knobs),
        ),
        clock.see_also,
        {
            "states": [state.name for state in clock.states],
            "event": clock.event.name if clock.event is not None else None,
            "shown_as": clock.shown or None,
            "figures": [figure._asdict() for figure in clock.figures],
            "knobs": list(clock.knobs),
        },
    )


def explain_timers() -> Answer:
    """List every timer with its first figures."""
    rows = tuple(
        (clock.key, clock.figures[0].condition, clock.figures[0].nominal, clock.figures[0].measured) for clock in CLOCKS
    )
    return Answer(
        "timers",
        "timers",
        "Timers",
        "Every clock that can end or move a connection on Linux.",
        (
            Section("Timers", grid=Grid(("timer", "by default", "nominal", "measured (Linux 6.18)"), rows)),
            Section("More", commands=("tcpscope explain keepalive", "tcpscope explain 2MSL")),
        ),
        facts={"timers": [clock.key for clock in CLOCKS]},
    )
