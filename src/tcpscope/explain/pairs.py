"""Pairs: what the states of both ends mean together, and which of them must act."""

from __future__ import annotations

from tcpscope.explain.answer import Answer, Grid, Section
from tcpscope.explain.states import PORTRAITS, state_named
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
    Pair(S.ESTABLISHED, S.ESTABLISHED, "The connection stands.", "either program: send or close", ()),
    Pair(S.LISTEN, S.SYN_SENT, "The SYN does not arrive, or the accept queue is full and it is dropped.", "the server's program (accept faster) or whoever filters", ("accept-queue-overflow", "syn-sent-blackhole")),
    Pair(S.SYN_SENT, S.SYN_RECEIVED, "The SYN,ACK is lost on the way back.", "the kernel in SYN_RECEIVED: it sends SYN,ACK again", ("syn-retries", "syn-ack-retries")),
    Pair(S.ESTABLISHED, S.SYN_RECEIVED, "The last ACK is lost, deferred (TCP_DEFER_ACCEPT), or the accept queue was full when it came.", "the client, with its next segment; after 63 s the server forgets", ("syn-recv-ack-lost", "accept-queue-overflow", "defer accept")),
    Pair(S.ESTABLISHED, S.CLOSED, "A ghost: one end has vanished without a FIN or RST that arrived, or the accept queue dropped the handshake's end.", "the end that is ESTABLISHED: its next data is answered with RST, or not at all; keepalive finds it", ("half-open-stale", "ghost-established-by-overflow")),
    Pair(S.FIN_WAIT_1, S.ESTABLISHED, "The FIN does not arrive: the path is lost, or data before it waits.", "the kernel in FIN_WAIT_1 retransmits; 107 s as an orphan", ("fin-wait1-stuck", "orphan")),
    Pair(S.FIN_WAIT_1, S.CLOSE_WAIT, "The FIN arrived, its ACK did not yet.", "the kernel in CLOSE_WAIT: it acknowledges the FIN again", ()),
    Pair(S.FIN_WAIT_2, S.CLOSE_WAIT, "One program has closed, the other has not. Normal for as long as the other program needs to read the end of file; a leak after that.", "the program in CLOSE_WAIT: close()", ("close-wait-leak", "fin-wait2-orphan-pile", "claim 002-3")),
    Pair(S.CLOSED, S.CLOSE_WAIT, "FIN_WAIT_2 is over (60 s); the other program still has not closed, and nobody waits for it any more.", "the program in CLOSE_WAIT: close(). Data it sends is answered with RST", ("close-wait-leak",)),
    Pair(S.FIN_WAIT_2, S.LAST_ACK, "The last FIN is on its way.", "the kernel in FIN_WAIT_2, as soon as the FIN arrives", ()),
    Pair(S.TIME_WAIT, S.LAST_ACK, "The last ACK was lost; the FIN will come again and is acknowledged again.", "the end in LAST_ACK: it retransmits", ("2MSL", "last-ack-pile")),
    Pair(S.TIME_WAIT, S.CLOSED, "The normal end: one side remembers for 60 s, the other is gone.", "nobody", ("time-wait-normal",)),
    Pair(S.CLOSED, S.LAST_ACK, "The last ACK was lost and the other end has forgotten: the retransmitted FIN is answered with RST, or filtered.", "the end in LAST_ACK; gives up after 107 s", ("last-ack-pile",)),
    Pair(S.CLOSING, S.CLOSING, "Both closed at the same moment; both wait for the ACK of their FIN.", "both kernels, with an ACK", ("closing-visible",)),
    Pair(S.CLOSING, S.TIME_WAIT, "Simultaneous close; one ACK arrived, the other did not yet.", "the kernel in TIME_WAIT: it repeats its ACK", ()),
    Pair(S.FIN_WAIT_1, S.FIN_WAIT_1, "Both closed at once and the FINs are on the way (or lost).", "both kernels", ("CLOSING",)),
    Pair(S.SYN_SENT, S.SYN_SENT, "Simultaneous open: the SYNs cross.", "both kernels, with SYN,ACK", ()),
    Pair(S.SYN_RECEIVED, S.SYN_RECEIVED, "Simultaneous open: both have answered the other's SYN.", "both kernels, with the ACK", ()),
    Pair(S.SYN_SENT, S.CLOSED, "Nobody listens there and nothing answers: filtered, or the host is gone. A reachable host would have sent RST.", "the kernel in SYN_SENT retransmits, until 131 s are over", ("syn-sent-blackhole",)),
    Pair(S.FIN_WAIT_1, S.CLOSED, "The other end is gone and its RST does not arrive.", "the kernel in FIN_WAIT_1 retransmits, until 107 s are over", ("fin-wait1-stuck",)),
)  # fmt: skip


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
    each = Grid(("end", "state", "who acts next", "lasts"), tuple((end, state.name, PORTRAITS[state].acts, PORTRAITS[state].normal) for end, state in (("here", here), ("there", there))))  # fmt: skip
    if known is None:
        summary = "No usual pair: either the two were not seen at the same moment, or one end has missed something."
        return Answer("pair", name, name, summary, (Section("Each end", grid=each),), (here.name, there.name), {"here": here.name, "there": there.name, "usual": False})  # fmt: skip
    sections = (Section("Who must act", (f"{known.acts[0].upper()}{known.acts[1:]}.",)), Section("Each end", grid=each))
    return Answer("pair", name, name, known.meaning, sections, (here.name, there.name, *known.see_also), {"here": here.name, "there": there.name, "usual": True, "acts_next": known.acts})  # fmt: skip


def explain_pairs() -> Answer:
    """List the pairs of states that mean something together."""
    rows = tuple((f"{pair.here.name}/{pair.there.name}", pair.meaning, pair.acts) for pair in PAIRS)
    return Answer("pairs", "pairs", "Pairs of states", "What the states of both ends mean together (here/there).", (Section("Pairs", grid=Grid(("pair", "meaning", "who acts next"), rows)),), (), {"pairs": [f"{pair.here.name}/{pair.there.name}" for pair in PAIRS]})  # fmt: skip
