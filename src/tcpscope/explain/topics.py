"""The desk: reads what a person typed and finds the module that explains it.

The first reader that knows the text answers; others that know it too are named under "see also". A kind in front
decides: ``timer fin_wait_2``, ``call close``, ``state close``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from tcpscope.explain import (
    addresses,
    calls,
    claims,
    columns,
    counters,
    errors,
    moves,
    pairs,
    states,
    sysctls,
    terms,
    timers,
    tools,
)
from tcpscope.explain.answer import Answer, Grid, Section, fold
from tcpscope.explain.claim_table import ARTICLES
from tcpscope.explain.clocks import CLOCKS
from tcpscope.explain.sysctls import SETTINGS
from tcpscope.machine import linux
from tcpscope.machine.lifecycle import row_by_id
from tcpscope.model.errors import UsageError
from tcpscope.model.event import Event
from tcpscope.model.state import State


def _explain_diagram() -> Answer:
    commands = (
        "tcpscope diagram -o tcp.svg",
        "tcpscope diagram --format mermaid",
        "tcpscope diagram --highlight FIN_WAIT_2 -o fw2.svg",
    )
    summary = (
        "The life cycle placed as in RFC 9293's figure 5: the client's road solid, the server's dashed, the rest thin."
    )
    return Answer(
        "diagram", "diagram", "The picture", summary, (Section("Draw it", commands=commands),), ("table", "states")
    )


LISTS: dict[str, tuple[Callable[[], Answer], str]] = {
    "states": (states.explain_states, "the eleven states"),
    "columns": (columns.explain_columns, "the columns of netstat, ss and tcpscope list"),
    "timers": (timers.explain_timers, "every clock, nominal and measured"),
    "sysctls": (sysctls.explain_settings, "kernel settings and their defaults"),
    "counters": (counters.explain_counters, "what each counter of the kernel counts"),
    "errors": (errors.explain_errors, "what calls return when a connection goes wrong"),
    "pairs": (pairs.explain_pairs, "what both ends' states mean together"),
    "claims": (claims.explain_claims, "what often-read articles say, and what is so"),
    "advice": (sysctls.explain_advice, "what is often recommended and wrong"),
    "tools": (tools.explain_tools, "netstat, ss, lsof, sar, tcpdump ... and the same here"),
    "table": (moves.explain_table, "all rows of the life cycle (also: table FIN_WAIT_1)"),
    "diagram": (_explain_diagram, "how to draw the life cycle"),
    "deviations": (moves.explain_deviations, "what Linux does otherwise than RFC 9293"),
}

_EXAMPLES: tuple[tuple[str, str], ...] = (
    ("a state, in any spelling", "FIN_WAIT_2"),
    ("a move", "'FIN_WAIT_1 -> CLOSING'"),
    ("the states of both ends", "FIN_WAIT_2/CLOSE_WAIT"),
    ("a column, also in one state", "'Recv-Q LISTEN'"),
    ("an address", ":::22"),
    ("a timer", "keepalive"),
    ("a kernel setting", "tcp_fin_timeout"),
    ("a call or socket option", "'shutdown()'"),
    ("a segment or an event", "RST"),
    ("an error", "'Connection reset by peer'"),
    ("a counter", "ListenOverflows"),
    ("a claim", "'claim 002-4'"),
    ("a finding of the doctor", "close-wait-leak"),
    ("sockets of this host", ":9000"),
    ("sockets of a process", "pid:123"),
)


def _listed(text: str) -> Answer | None:
    found = LISTS.get(text.strip().lower())
    return found[0]() if found else None


def _table_of(text: str) -> Answer | None:
    word, _, rest = text.strip().partition(" ")
    state = states.state_named(rest) if word.lower() == "table" and rest else None
    return moves.explain_table(state) if state is not None else None


def _state(text: str) -> Answer | None:
    # Why: 2MSL is understood as TIME_WAIT in dumps, but who asks for it here wants the timer.
    state = None if fold(text) == "2msl" else states.state_named(text)
    return states.explain_state(state) if state is not None else None


def _move(text: str) -> Answer | None:
    walk = moves.parse_move(text)
    return moves.explain_walk(walk) if walk else None


def _pair(text: str) -> Answer | None:
    pair = pairs.parse_pair(text)
    return pairs.explain_pair(*pair) if pair else None


def _claim(text: str) -> Answer | None:
    claim = claims.claim_named(text)
    if claim is not None:
        return claims.explain_claim(claim)
    word, _, article = text.strip().lower().partition(" ")
    return claims.explain_claims(article) if word in ("claims", "claim") and article in ARTICLES else None


def _row(text: str) -> Answer | None:
    try:
        return moves.explain_row(row_by_id(text.strip().upper()))
    except KeyError:
        return None


def _column(text: str) -> Answer | None:
    column = columns.column_named(text)
    if column is not None:
        return columns.explain_column(column)
    words = text.replace("/", " ").split()
    for cut in range(1, len(words)):
        column = columns.column_named(" ".join(words[:cut]))
        rest = [word for word in words[cut:] if word.lower() not in ("in", "of", "column")]
        state = states.state_named(" ".join(rest)) if rest else None
        if column is not None and state is not None:
            return columns.explain_column(column, state)
    return None


def _address(text: str) -> Answer | None:
    if fold(text) in ("v6only", "ipv6v6only", "dualstack"):
        return addresses.explain_v6only()
    return addresses.explain_address(text)


def _segment(text: str) -> Answer | None:
    flag = moves.flag_named(text)
    return moves.explain_flag(flag) if flag else None


def _call(text: str) -> Answer | None:
    call = calls.call_named(text)
    return calls.explain_call(call) if call else None


def _sysctl(text: str) -> Answer | None:
    setting = sysctls.setting_named(text)
    return sysctls.explain_setting(setting) if setting else None


def _timer(text: str) -> Answer | None:
    clock = timers.clock_named(text)
    return timers.explain_timer(clock) if clock else None


def _event(text: str) -> Answer | None:
    event = next((event for event in Event if fold(event.name) == fold(text)), None)
    return moves.explain_event(event) if event is not None else None


def _deviation(text: str) -> Answer | None:
    try:
        return moves.explain_deviation(linux.deviation(text.strip().lower()))
    except KeyError:
        return None


def _tool(text: str) -> Answer | None:
    tool = tools.tool_named(text)
    return tools.explain_tool(tool) if tool else None


def _error(text: str) -> Answer | None:
    error = errors.error_named(text)
    return errors.explain_error(error) if error else None


def _term(text: str) -> Answer | None:
    term = terms.term_named(text)
    return terms.explain_term(term) if term else None


def _counter(text: str) -> Answer | None:
    name = counters.counter_named(text)
    return counters.explain_counter(name) if name else None


#: Kind -> reader, in the order in which they are asked.
READERS: dict[str, Callable[[str], Answer | None]] = {
    "list": _listed,
    "table": _table_of,
    "state": _state,
    "transition": _move,
    "pair": _pair,
    "claim": _claim,
    "row": _row,
    "column": _column,
    "address": _address,
    "segment": _segment,
    "call": _call,
    "sysctl": _sysctl,
    "timer": _timer,
    "event": _event,
    "deviation": _deviation,
    "tool": _tool,
    "term": _term,
    "error": _error,
    "counter": _counter,
}


def find_answer(text: str) -> Answer | None:
    """Return the explanation of ``text``, or ``None`` when nothing here knows it."""
    hits = list(_hits(text))
    if not hits:
        return None
    kind, answer = hits[0]
    also = tuple(
        f"{other} {text.strip()}"
        for other, found in hits[1:]
        if (found.kind, found.name) != (answer.kind, answer.name) and other != kind
    )
    return answer._replace(see_also=tuple(dict.fromkeys((*also, *answer.see_also))))


def _hits(text: str) -> Iterator[tuple[str, Answer]]:
    word, _, rest = text.strip().partition(" ")
    if word.lower() in READERS and rest:
        found = READERS[word.lower()](rest)
        if found is not None:
            yield word.lower(), found
            return
    for kind, reader in READERS.items():
        found = reader(text)
        if found is not None:
            yield kind, found


def explain_topic(text: str, others: Collection[str] = ()) -> Answer:
    """Explain ``text``; ``others`` are names that the caller can explain (findings, counters).

    Raises ``UsageError`` with the nearest topics when nothing knows it.
    """
    if not text.strip():
        return explain_topics()
    answer = find_answer(text)
    if answer is None:
        raise UsageError(unknown_topic(text, others))
    return answer


def topic_names() -> tuple[str, ...]:
    """Return the names of all topics that have one (for the nearest match, and for completion)."""
    return (
        *LISTS,
        *(state.name for state in State),
        *(column.name for column in columns.COLUMNS),
        *(clock.key for clock in CLOCKS),
        *(setting.name for setting in SETTINGS),
        *(call.name for call in calls.CALLS),
        *(event.name for event in Event),
        *(row.name for row in linux.DEVIATIONS),
        *(tool.name for tool in tools.TOOLS),
        *(term.name for term in terms.TERMS),
        *(error.name for error in errors.ERRORS),
        *counters.COUNTERS,
        "v6only",
    )


def unknown_topic(text: str, others: Collection[str] = ()) -> str:
    """Say in one line that ``text`` is no topic, with the nearest ones."""
    import difflib

    shown = " ".join(text.split())
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    by_fold = {fold(name): name for name in (*topic_names(), *others)}
    by_fold = {fold(name.rpartition(".")[2]): name for name in topic_names() if "." in name} | by_fold
    near = [by_fold[name] for name in difflib.get_close_matches(fold(text), by_fold, 3, 0.6)]
    hint = (
        f"did you mean {' or '.join(repr(name) for name in dict.fromkeys(near))}?"
        if near
        else "'tcpscope explain' lists the topics"
    )
    return f"nothing is known about {shown!r}: {hint}"


def explain_topics() -> Answer:
    """List what can be asked."""
    lists = (*((name, what) for name, (_, what) in LISTS.items()), ("findings", "the illnesses the doctor looks for"))
    return Answer(
        "topics",
        "topics",
        "What can be explained",
        "Ask for one thing, or for a list of them.",
        (
            Section("One thing", grid=Grid(("for example", "tcpscope explain ..."), _EXAMPLES)),
            Section("Lists", grid=Grid(("tcpscope explain ...", "what"), lists)),
        ),
        facts={"topics": list(topic_names())},
    )
