"""Show the rows of one state on Linux: each on a fresh socket, against what the row says.

What Linux does otherwise is in :data:`OTHERWISE`, what it cannot be brought to is in :data:`NOT_ON_LINUX`, each with
the reason; both are checked against the table by a test.
"""

from __future__ import annotations

from typing import NamedTuple

from tcpscope.lab.stage import Stage
from tcpscope.lab.walk.endpoint_bench import EndpointBench
from tcpscope.lab.walk.kernel_bench import KernelBench
from tcpscope.lab.walk.rig import Bench, Rig
from tcpscope.lab.walk.stimuli import STIMULI
from tcpscope.machine.lifecycle import ROWS, Row, rows_from
from tcpscope.machine.profile import RFC, Profile
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.event import Event, Sends
from tcpscope.model.segment import ACK, FIN, RST, SYN, Segment
from tcpscope.model.state import State


class Shown(NamedTuple):
    """What one row looked like: ``expected`` and ``seen`` are a state and what is sent, in words."""

    row: Row
    expected: str
    seen: str

    @property
    def ok(self) -> bool:
        """Whether it was as expected."""
        return self.expected == self.seen


def show_rows(stage: Stage, state: State) -> None:
    """Show every row that starts in ``state`` and that Linux can be brought to show, and record each as a fact."""
    bench = KernelBench(stage)
    stage.server.set_sysctl("net.ipv4.tcp_synack_retries", 1)
    for row in rows_from(state):
        if row.id not in NOT_ON_LINUX and row.id not in ELSEWHERE:
            after, sends = OTHERWISE[row.id][:2] if row.id in OTHERWISE else (row.after, row.sends)
            shown = show_row(bench, row, after, sends)
            if not shown.ok:
                # Why again: put aside on a busy machine, a stimulus may come after the timer it was to precede
                shown = show_row(bench, row, after, sends)
            stage.verify(row.id, shown.expected, shown.seen)
    bench.wire.close()


def show_row(bench: Bench, row: Row, after: State, sends: Sends) -> Shown:
    """Bring a fresh end into the row's state, cause the event, and compare with ``after`` and ``sends``."""
    expected = f"{after.name}, sends {_spell(sends)}"
    try:
        needs_handle = row.event <= Event.ABORT
        rig = bench.build(row.before, row.guard, with_handle=needs_handle)
        heard = STIMULI[row.event](rig, row)
        if after != row.before and rig.noted is None:
            rig.settle(after)
        now = rig.noted or rig.state()
    except (OSError, TcpscopeError) as failure:
        return Shown(row, expected, f"{type(failure).__name__}: {failure}")
    # On Linux a passive rig has a listener behind it: its connection being gone is both LISTEN and CLOSED.
    is_there = now == after or {now, after} == {State.LISTEN, State.CLOSED}
    return Shown(row, expected, f"{(after if is_there else now).name}, sends {_spell(_classify(heard, rig))}")


def walk_endpoint() -> list[Shown]:
    """Take our own endpoint through every row, in virtual time."""
    return [show_row(EndpointBench(_profile_for(row)), row, row.after, row.sends) for row in ROWS]


def _profile_for(row: Row) -> Profile:
    """A SYN in TIME-WAIT is answered with a challenge ACK by an endpoint that does not reopen connections (MAY-2)."""
    return RFC._replace(reopens_time_wait=row.event != Event.SYN_IN_SYNCHRONIZED)


def _classify(heard: list[Segment], rig: Rig) -> Sends:
    """Name what was sent, by the first segment."""
    if not heard:
        return Sends.NOTHING
    first = heard[0]
    flags = first.flags
    if flags & RST:
        return Sends.RST_ACK if flags & ACK else Sends.RST
    if flags & SYN:
        return Sends.SYN_ACK if flags & ACK else Sends.SYN
    if first.payload:
        # RFC 9293 §3.8.6.1: a probe may carry one octet of new data.
        return Sends.PROBE if rig.peer.window == 0 and len(first.payload) == 1 else Sends.DATA
    if flags & FIN:
        return Sends.FIN
    return Sends.PROBE if (first.seq + 1 - rig.peer.rnxt) % 2**32 == 0 else Sends.ACK


def _spell(sends: Sends) -> str:
    """Spell what is sent; a challenge ACK is an ACK on the wire, and a reset may carry an ACK."""
    return {Sends.CHALLENGE_ACK: "ACK", Sends.RST_ACK: "RST"}.get(sends, sends.name)


_ICMP_STATES = (
    State.ESTABLISHED,
    State.FIN_WAIT_1,
    State.FIN_WAIT_2,
    State.CLOSE_WAIT,
    State.CLOSING,
    State.LAST_ACK,
)

#: Row -> what Linux does instead (state, what it sends), and why: the name of a deviation, or a sentence.
OTHERWISE: dict[str, tuple[State, Sends, str]] = {
    "LISTEN.OPEN_ACTIVE.REMOTE_GIVEN": (State.LISTEN, Sends.NOTHING, "no-listen-to-syn-sent"),
    "SYN_SENT.ICMP_SOFT_ERROR": (State.CLOSED, Sends.NOTHING, "soft-icmp-ends-connect"),
    "SYN_RECEIVED.RST.REOPENED": (State.LISTEN, Sends.NOTHING, "time-wait-reopened-by-listener"),
    "SYN_RECEIVED.SYN_IN_SYNCHRONIZED.OPENED_PASSIVELY": (
        State.LISTEN,
        Sends.RST,
        "the request socket dies as in the RFC, and Linux also answers the SYN with RST",
    ),
    "SYN_RECEIVED.SYN_ACK.OPENED_ACTIVELY": (
        State.ESTABLISHED,
        Sends.ACK,
        "Linux acknowledges the SYN that SYN|ACK repeats",
    ),
    "SYN_RECEIVED.ICMP_HARD_ERROR": (
        State.SYN_RECEIVED,
        Sends.NOTHING,
        "a request socket is only removed for net or host unreachable",
    ),
    "SYN_RECEIVED.ICMP_SOFT_ERROR": (
        State.LISTEN,
        Sends.NOTHING,
        "net or host unreachable removes a request socket silently",
    ),
    "TIME_WAIT.RST_IN_WINDOW": (State.TIME_WAIT, Sends.NOTHING, "a mini-socket ignores a reset that is not at RCV.NXT"),
    "TIME_WAIT.SYN_OLD_DUPLICATE": (State.TIME_WAIT, Sends.ACK, "time-wait-syn-answered"),
    "TIME_WAIT.ACK_MISSING": (State.TIME_WAIT, Sends.ACK, "a mini-socket acknowledges whatever is not exactly right"),
    "TIME_WAIT.ACK_UNACCEPTABLE": (
        State.TIME_WAIT,
        Sends.NOTHING,
        "a mini-socket does not look at acknowledgement numbers",
    ),
    "TIME_WAIT.TEXT": (State.TIME_WAIT, Sends.ACK, "a mini-socket acknowledges whatever is not exactly right"),
    "CLOSE_WAIT.CLOSE.DATA_QUEUED": (State.LAST_ACK, Sends.DATA, "close-wait-closes-at-once"),
    **{f"{state.name}.ICMP_HARD_ERROR": (state, Sends.NOTHING, "hard-icmp-is-soft") for state in _ICMP_STATES},
    **{
        f"{state.name}.KEEPALIVE_EXHAUSTED": (
            State.CLOSED,
            Sends.RST,
            "the last unanswered probe is followed by a reset",
        )
        for state in (State.ESTABLISHED, State.FIN_WAIT_2, State.CLOSE_WAIT)
    },
}

_WITHOUT_REMOTE = "the sockets API has no way to leave the remote socket out: connect() to 0.0.0.0 means this host"
#: Row -> why a Linux kernel cannot be brought to show it.
NOT_ON_LINUX: dict[str, str] = {
    "CLOSED.OPEN_ACTIVE.REMOTE_UNSPECIFIED": _WITHOUT_REMOTE,
    "LISTEN.OPEN_ACTIVE.REMOTE_UNSPECIFIED": _WITHOUT_REMOTE,
    "LISTEN.SEND.REMOTE_GIVEN": "a listener cannot be given a remote socket, and send() on it fails with EPIPE",
    "SYN_RECEIVED.CLOSE.DATA_QUEUED": "send() waits until the handshake is over, so nothing can be queued",
    "FIN_WAIT_1.KEEPALIVE_TIMEOUT": "keepalive rests while anything is unacknowledged, here the FIN",
    "FIN_WAIT_1.KEEPALIVE_EXHAUSTED": "keepalive rests while anything is unacknowledged, here the FIN",
    "FIN_WAIT_2.USER_TIMEOUT": "nothing is outstanding, so Linux's user timeout does not run",
}

#: Row -> why our own endpoint cannot be brought to show it.
NOT_ON_ENDPOINT: dict[str, str] = {
    "FIN_WAIT_2.ICMP_HARD_ERROR": "nothing is in flight, and errors about nothing are not believed (RFC 5927)",
    "FIN_WAIT_2.USER_TIMEOUT": "nothing is outstanding that the user timeout could concern",
    "LAST_ACK.PERSIST_TIMEOUT": "LAST_ACK is entered when the FIN goes out, so nothing waits for the window",
    "FIN_WAIT_1.KEEPALIVE_TIMEOUT": "keepalive rests while anything is unacknowledged, here the FIN",
    "FIN_WAIT_1.KEEPALIVE_EXHAUSTED": "keepalive rests while anything is unacknowledged, here the FIN",
}

#: Row -> the scene that shows it, because it takes a minute.
ELSEWHERE: dict[str, str] = {"TIME_WAIT.TIME_WAIT_TIMEOUT": "time-wait-expires"}
