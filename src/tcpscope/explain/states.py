"""The eleven states for people: who is in it, who must act, how long, what a pile of it means.

How a state is entered and left is not written here: it is generated from :mod:`tcpscope.machine.lifecycle`
(RFC 9293 §3.3.2, figure 5). Residence and timers as Linux has them.
"""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section
from tcpscope.explain.events import row_as_json, spell_sends, spell_stimulus
from tcpscope.explain.queues import QUEUES
from tcpscope.explain.timers import Clock, clocks_of
from tcpscope.machine.lifecycle import CLIENT_ROAD, LIFE_ORDER, SERVER_ROAD, Row, road_of, ways_into, ways_out_of
from tcpscope.machine.linux import DEVIATIONS
from tcpscope.model.record import NamedTuple
from tcpscope.model.spelling import ALIASES, DIALECTS, KERNEL_EXTRA
from tcpscope.model.state import State


class Pile(NamedTuple):
    """What many of this state mean under a condition, and the findings that say so."""

    when: str
    meaning: str
    findings: tuple[str, ...] = ()


class Portrait(NamedTuple):
    """One state: everything that the table cannot say."""

    summary: str
    side: str
    acts: str  #: who must act next, and how
    normal: str  #: how long it normally lasts
    linux: str  #: what ends it on Linux when nobody acts
    owner: str  #: which process the tools show
    peer: str  #: the states the other end is usually in
    piles: tuple[Pile, ...]


PORTRAITS: dict[State, Portrait] = {
    State.CLOSED: Portrait(
        "There is no connection. A socket exists at most as a number in a program.",
        "both, before and after",
        "the program: connect() or listen() to begin, close() to give the descriptor back",
        "not a state one stays in",
        "nothing ends it: a descriptor lives until the program closes it",
        "Lists leave it out. A socket that was only bound is in no list of ss or netstat; tcpscope list -B shows it. One that the peer's RST killed is in no list at all until close().",
        "CLOSED or LISTEN",
        (Pile("descriptors of a process that are in no list", "it does not close sockets that were reset", ("zombie-socket-fds",)),),
    ),
    State.LISTEN: Portrait(
        "A program waits for connections. The handshake is done by the kernel beside it; this socket itself never leaves LISTEN.",
        "the server",
        "a client, by sending SYN; then the program, by calling accept()",
        "the life of the program",
        "no timer",
        "The program that called listen(), and every child that inherited the descriptor.",
        "none",
        (
            Pile("Recv-Q stays above 0", "the program accepts too slowly; at backlog + 1 SYNs are dropped and clients hang in SYN_SENT", ("accept-queue-overflow", "accept-stalled-by-fd-limit", "reuseport-imbalance")),
            Pile("address 0.0.0.0, * or ::", "reachable from outside unless a firewall forbids it", ("exposed-listener", "dual-stack-surprise")),
            Pile("a listener nobody knows", "find the program behind it", ("unexpected-listener", "deleted-executable-listening", "world-listening-without-owner")),
        ),
    ),
    State.SYN_SENT: Portrait(
        "The program called connect(); the SYN is out and nothing has answered.",
        "the client",
        "the other host, with SYN,ACK or RST",
        "one round trip, so it is rarely seen",
        "131 s with default settings, then ETIMEDOUT (measured 133.6 s, 11 SYNs); 3 s and EHOSTUNREACH when the host is absent from the own LAN",
        "The program that connects.",
        "LISTEN; or nothing, or a full accept queue",
        (
            Pile("to one destination, more than 3 s", "packets vanish: a filter, a dead host, or a listener whose accept queue is full", ("syn-sent-blackhole",)),
            Pile("to many addresses on few ports", "a scanner, a worm, or service discovery in a broken network", ("scanner-or-worm-pattern",)),
            Pile("address and port equal on both ends", "the program has connected to itself", ("self-connect",)),
        ),
    ),
    State.SYN_RECEIVED: Portrait(
        "A SYN came and SYN,ACK went out; the last ACK of the handshake is missing.",
        "the server (both ends in a simultaneous open)",
        "the client, with the ACK",
        "one round trip",
        "63 s with default settings (measured 64.2 s), then it vanishes silently; no program learns of it",
        "None: it is a request socket of the kernel, inode 0. netstat shows '-'.",
        "ESTABLISHED (its ACK was lost or is deferred) or nothing (forged address)",
        (
            Pile("near backlog + 1, many sources", "a SYN flood, or real clients faster than the listener; SYN cookies keep it usable. The number is capped, so it never measures the flood", ("syn-flood",)),
            Pile("few, always the same clients", "their ACKs are lost: asymmetric route or firewall", ("syn-recv-ack-lost",)),
            Pile("TCPDeferAcceptDrop grows", "TCP_DEFER_ACCEPT: healthy", ("deferred-accept-misread",)),
        ),
    ),
    State.ESTABLISHED: Portrait(
        "The handshake is complete. It says nothing about traffic: the connection may be idle for ever, or not even accepted.",
        "both",
        "either program: send, or close",
        "as long as the programs want",
        "no timer while nothing is unacknowledged; unacknowledged data gives up after 924 s (measured 938 s); keepalive only if the program set it",
        "The program; none and inode 0 means that accept() has not taken it yet.",
        "ESTABLISHED; CLOSE_WAIT for an instant; nothing, when the peer vanished without FIN",
        (
            Pile("idle, no keepalive, segs_in stands still", "half open: the peer is gone and nobody has noticed", ("half-open-stale", "no-keepalive-on-long-idle")),
            Pile("no owner, inode 0", "not accepted: the program is behind or out of descriptors", ("accept-queue-overflow", "accept-stalled-by-fd-limit")),
            Pile("Recv-Q stands high", "the local program does not read", ("reader-stalled-locally",)),
            Pile("Send-Q stands high", "timer on with retransmissions: path or peer lost; timer persist: the peer does not read", ("retransmission-stall", "zero-window-peer-slow", "pmtu-blackhole", "idle-firewall-drop")),
        ),
    ),
    State.FIN_WAIT_1: Portrait(
        "This end closed first; its FIN is queued or sent and not acknowledged.",
        "the end that closes first (client or server)",
        "the peer's kernel, with the ACK; no program is involved there",
        "one round trip, plus the time to deliver what was queued before the FIN",
        "102 s for an orphan (measured 107.0 s); behind a zero window longer (measured 341.5 s); a socket still open follows tcp_retries2",
        "None after close() (orphan, '-'); the program after shutdown().",
        "ESTABLISHED (the FIN did not arrive) or CLOSE_WAIT (its ACK did not)",
        (
            Pile("timer on, retransmissions 2 or more", "the path to the peer is dead", ("fin-wait1-stuck",)),
            Pile("timer persist, Send-Q large", "the peer does not read: slow or hostile", ("fin-wait1-zero-window",)),
        ),
    ),
    State.FIN_WAIT_2: Portrait(
        "This end closed first and its FIN is acknowledged; it waits for the peer's FIN.",
        "the end that closed first (client or server)",
        "the peer's program, by closing its end",
        "the peer's time to notice the end of file and close",
        "after close(): tcp_fin_timeout, 60 s (measured 62.3 s). After shutdown(): no limit at all",
        "None after close(): a mini-socket with timer 'timewait'. The program after shutdown(): no timer.",
        "CLOSE_WAIT",
        (
            Pile("timer timewait, many, few remotes", "those peers leave CLOSE_WAIT behind; 60 s times the rate of closes is normal", ("fin-wait2-orphan-pile",)),
            Pile("no timer, an owner, for minutes", "half-closed with shutdown() and the peer never closes", ("fin-wait2-half-closed-forever",)),
        ),
    ),
    State.CLOSE_WAIT: Portrait(
        "The peer has closed; the program here has not. The kernel has acknowledged the FIN and waits for close().",
        "the end that closes second (client or server)",
        "the local program: read the end of file and close() the socket",
        "milliseconds, as long as the program needs to notice",
        "no timer at all, so it lasts as long as the program keeps the socket; keepalive ends it only when the peer is gone",
        "The program that must close it; every holder of the descriptor after a fork.",
        "FIN_WAIT_2 for the first 60 s, then nothing",
        (
            Pile("Recv-Q 0", "the program read the end of file and forgot close(): a leak", ("close-wait-leak", "shared-socket-holders")),
            Pile("Recv-Q 1 or more", "the program has not read up to the end of file: it is stuck or overloaded", ("close-wait-app-blocked",)),
            Pile("inode 0", "closed by the client before accept() took it", ("accept-queue-overflow",)),
        ),
    ),
    State.CLOSING: Portrait(
        "Both ends closed at once: the FINs crossed, and ours is not acknowledged yet.",
        "both ends of a simultaneous close",
        "the peer's kernel, with the ACK of our FIN",
        "one round trip; almost never seen",
        "as an orphan: 102 s",
        "None after close(): an orphan.",
        "CLOSING or TIME_WAIT",
        (Pile("any that lasts more than 2 s", "the ACK of our FIN is lost on the way", ("closing-visible",)),),
    ),
    State.LAST_ACK: Portrait(
        "The peer closed first, the program here closed too; our FIN waits for its ACK.",
        "the end that closes second (client or server)",
        "the peer's kernel, with the last ACK",
        "one round trip",
        "102 s (measured 107.2 s), then dropped silently",
        "None: an orphan, unless the program only called shutdown().",
        "TIME_WAIT, FIN_WAIT_2, or nothing",
        (Pile("timer on, retransmissions 2 or more", "the peer's host or the path is gone, or a firewall has forgotten the connection", ("last-ack-pile",)),),
    ),
    State.TIME_WAIT: Portrait(
        "Both ends have closed. The end that closed first remembers the connection, so that a lost last ACK can be repeated and old segments die.",
        "the end that closed first (client or server); both after a simultaneous close",
        "nobody: it ends by itself",
        "60 s, always",
        "60 s, compiled in (measured 62.0 to 62.4 s); no sysctl changes it",
        "None: a mini-socket of 256 bytes (a full one has 2368, measured), without a descriptor.",
        "nothing; LAST_ACK if the last ACK was lost",
        (
            Pile("any number, and nothing fails", "normal: closes per second times 60", ("time-wait-normal",)),
            Pile("to one destination, near the size of the port range", "connect() fails with EADDRNOTAVAIL: pool connections, or tcp_tw_reuse=1 on the client", ("ephemeral-port-exhaustion-timewait", "excessive-connection-churn")),
            Pile("at tcp_max_tw_buckets", "the kernel sends RST instead of waiting", ("tw-bucket-overflow",)),
            Pile("on the own service port, restart fails", "SO_REUSEADDR is missing on the old or the new listener", ("bind-eaddrinuse-timewait",)),
        ),
    ),
}  # fmt: skip

_TOOLS = {
    "rfc": "RFC 9293", "ss": "ss", "netstat": "netstat, lsof (Linux)", "bsd": "netstat (BSD)", "macos": "macOS",
    "windows": "Windows", "otel": "OpenTelemetry", "node_exporter": "node_exporter",
}  # fmt: skip


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


def scene_of(state: State) -> str:
    """Return the name of the lab scene that makes this state."""
    return state.name.lower().replace("_", "-")


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
        Section("Queues", items=(f"healthy (Recv-Q, Send-Q): {queues.normal}", f"Recv-Q: {queues.recv}", f"Send-Q: {queues.send}")),
        *_timer_section(clocks_of(state)),
        *_deviation_section(state),
        Section("What many of them mean", grid=_piles_grid(portrait)),
        Section("How the tools spell it", grid=spellings_grid(state)),
        Section("See it", commands=see_commands(state)),
        Section("Make it", commands=(f"tcpscope lab run {scene_of(state)}",)),
    )  # fmt: skip
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
    ss = "syn-recv" if state is State.SYN_RECEIVED else word
    flag = "l" if state is State.LISTEN else "a"
    return (f"tcpscope list -t{flag}np state {word}", f"ss -t{flag}np state {ss}", f"netstat -t{flag}np | grep -w {state.spell('netstat')}")  # fmt: skip


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
    rows = tuple((clock.key, clock.shown or "-", clock.figures[0].condition, clock.figures[0].nominal, clock.figures[0].measured) for clock in clocks)  # fmt: skip
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
        "states", "states", "The eleven states", "In the order in which a connection's life meets them.",
        (Section("States", grid=Grid(("state", "side", "meaning"), rows)),
         Section("More", commands=("tcpscope explain FIN_WAIT_2", "tcpscope diagram -o tcp.svg", "tcpscope lab list"))),
        ("diagram", "table"), {"states": [state.name for state in LIFE_ORDER]},
    )  # fmt: skip
