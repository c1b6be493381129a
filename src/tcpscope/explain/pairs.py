"""Pairs: what the states of both ends mean together, and which of them must act."""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section
from tcpscope.explain.portraits import PORTRAITS
from tcpscope.explain.states import state_named
from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State


class Pair(NamedTuple):
    """What two states, here and at the other end, mean together."""

    here: State
    there: State
    meaning: str
    acts: str
    see_also: tuple[str, ...] = ()


S = State
PAIRS: tuple[Pair, ...] = (
    Pair(
        here=S.ESTABLISHED,
        there=S.ESTABLISHED,
        meaning="The connection stands.",
        acts="either program: send or close",
        see_also=(),
    ),
    Pair(
        here=S.LISTEN,
        there=S.SYN_SENT,
        meaning="The SYN does not arrive, or the accept queue is full and it is dropped.",
        acts="the server's program (accept faster) or whoever filters",
        see_also=("accept-queue-overflow", "syn-sent-blackhole"),
    ),
    Pair(
        here=S.SYN_SENT,
        there=S.SYN_RECEIVED,
        meaning="The SYN,ACK is lost on the way back.",
        acts="the kernel in SYN_RECEIVED: it sends SYN,ACK again",
        see_also=("syn-retries", "syn-ack-retries"),
    ),
    Pair(
        here=S.ESTABLISHED,
        there=S.SYN_RECEIVED,
        meaning="The last ACK is lost, deferred (TCP_DEFER_ACCEPT), or the accept queue was full when it came.",
        acts="the client, with its next segment; after 63 s the server forgets",
        see_also=("syn-recv-ack-lost", "accept-queue-overflow", "defer accept"),
    ),
    Pair(
        here=S.ESTABLISHED,
        there=S.CLOSED,
        meaning=(
            "A ghost: one end has vanished without a FIN or RST that arrived, or the accept queue dropped the"
            " handshake's end."
        ),
        acts="the end that is ESTABLISHED: its next data is answered with RST, or not at all; keepalive finds it",
        see_also=("half-open-stale", "ghost-established-by-overflow"),
    ),
    Pair(
        here=S.FIN_WAIT_1,
        there=S.ESTABLISHED,
        meaning="The FIN does not arrive: the path is lost, or data before it waits.",
        acts="the kernel in FIN_WAIT_1 retransmits; 107 s as an orphan",
        see_also=("fin-wait1-stuck", "orphan"),
    ),
    Pair(
        here=S.FIN_WAIT_1,
        there=S.CLOSE_WAIT,
        meaning="The FIN arrived, its ACK did not yet.",
        acts="the kernel in CLOSE_WAIT: it acknowledges the FIN again",
        see_also=(),
    ),
    Pair(
        here=S.FIN_WAIT_2,
        there=S.CLOSE_WAIT,
        meaning=(
            "One program has closed, the other has not. Normal for as long as the other program needs to read the end"
            " of file; a leak after that."
        ),
        acts="the program in CLOSE_WAIT: close()",
        see_also=("close-wait-leak", "fin-wait2-orphan-pile", "claim 002-3"),
    ),
    Pair(
        here=S.CLOSED,
        there=S.CLOSE_WAIT,
        meaning="FIN_WAIT_2 is over (60 s); the other program still has not closed, and nobody waits for it any more.",
        acts="the program in CLOSE_WAIT: close(). Data it sends is answered with RST",
        see_also=("close-wait-leak",),
    ),
    Pair(
        here=S.FIN_WAIT_2,
        there=S.LAST_ACK,
        meaning="The last FIN is on its way.",
        acts="the kernel in FIN_WAIT_2, as soon as the FIN arrives",
        see_also=(),
    ),
    Pair(
        here=S.TIME_WAIT,
        there=S.LAST_ACK,
        meaning="The last ACK was lost; the FIN will come again and is acknowledged again.",
        acts="the end in LAST_ACK: it retransmits",
        see_also=("2MSL", "last-ack-pile"),
    ),
    Pair(
        here=S.TIME_WAIT,
        there=S.CLOSED,
        meaning="The normal end: one side remembers for 60 s, the other is gone.",
        acts="nobody",
        see_also=("time-wait-normal",),
    ),
    Pair(
        here=S.CLOSED,
        there=S.LAST_ACK,
        meaning=(
            "The last ACK was lost and the other end has forgotten: the retransmitted FIN is answered with RST, or"
            " filtered."
        ),
        acts="the end in LAST_ACK; gives up after 107 s",
        see_also=("last-ack-pile",),
    ),
    Pair(
        here=S.CLOSING,
        there=S.CLOSING,
        meaning="Both closed at the same moment; both wait for the ACK of their FIN.",
        acts="both kernels, with an ACK",
        see_also=("closing-visible",),
    ),
    Pair(
        here=S.CLOSING,
        there=S.TIME_WAIT,
        meaning="Simultaneous close; one ACK arrived, the other did not yet.",
        acts="the kernel in TIME_WAIT: it repeats its ACK",
        see_also=(),
    ),
    Pair(
        here=S.FIN_WAIT_1,
        there=S.FIN_WAIT_1,
        meaning="Both closed at once and the FINs are on the way (or lost).",
        acts="both kernels",
        see_also=("CLOSING",),
    ),
    Pair(
        here=S.SYN_SENT,
        there=S.SYN_SENT,
        meaning="Simultaneous open: the SYNs cross.",
        acts="both kernels, with SYN,ACK",
        see_also=(),
    ),
    Pair(
        here=S.SYN_RECEIVED,
        there=S.SYN_RECEIVED,
        meaning="Simultaneous open: both have answered the other's SYN.",
        acts="both kernels, with the ACK",
        see_also=(),
    ),
    Pair(
        here=S.SYN_SENT,
        there=S.CLOSED,
        meaning=(
            "Nobody listens there and nothing answers: filtered, or the host is gone. A reachable host would have sent"
            " RST."
        ),
        acts="the kernel in SYN_SENT retransmits, until 131 s are over",
        see_also=("syn-sent-blackhole",),
    ),
    Pair(
        here=S.FIN_WAIT_1,
        there=S.CLOSED,
        meaning="The other end is gone and its RST does not arrive.",
        acts="the kernel in FIN_WAIT_1 retransmits, until 107 s are over",
        see_also=("fin-wait1-stuck",),
    ),
)


def parse_pair(text: str) -> tuple[State, State] | None:
    """Read ``FIN_WAIT_2/CLOSE_WAIT``; ``None`` when it is no pair of states."""
    parts = [part.strip() for part in text.split("/")]
    if len(parts) != 2:
        return None
    here, there = (state_named(part) for part in parts)
    return (here, there) if here is not None and there is not None else None


def explain_pair(here: State, there: State) -> Answer:
    """Explain what two ends' states mean together."""
    known = next((pair for pair in PAIRS if {(pair.here, pair.there)} & {(here, there), (there, here)}), None)
    name = f"{here.name}/{there.name}"
    each = Grid(
        ("end", "state", "who acts next", "lasts"),
        tuple(
            (end, state.name, PORTRAITS[state].acts, PORTRAITS[state].normal)
            for end, state in (("here", here), ("there", there))
        ),
    )
    if known is None:
        summary = "No usual pair: either the two were not seen at the same moment, or one end has missed something."
        return Answer(
            "pair",
            name,
            name,
            summary,
            (Section("Each end", grid=each),),
            (here.name, there.name),
            {"here": here.name, "there": there.name, "usual": False},
        )
    sections = (Section("Who must act", (f"{known.acts[0].upper()}{known.acts[1:]}.",)), Section("Each end", grid=each))
    return Answer(
        "pair",
        name,
        name,
        known.meaning,
        sections,
        (here.name, there.name, *known.see_also),
        {"here": here.name, "there": there.name, "usual": True, "acts_next": known.acts},
    )


def explain_pairs() -> Answer:
    """List the pairs of states that mean something together."""
    rows = tuple((f"{pair.here.name}/{pair.there.name}", pair.meaning, pair.acts) for pair in PAIRS)
    return Answer(
        "pairs",
        "pairs",
        "Pairs of states",
        "What the states of both ends mean together (here/there).",
        (Section("Pairs", grid=Grid(("pair", "meaning", "who acts next"), rows)),),
        (),
        {"pairs": [f"{pair.here.name}/{pair.there.name}" for pair in PAIRS]},
    )
