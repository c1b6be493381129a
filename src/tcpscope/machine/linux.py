"""What Linux does otherwise than RFC 9293, each with a name and a reason.

The kernel watcher and the tracker check a transition first against :data:`tcpscope.machine.lifecycle.EDGES`, then
against :data:`DEVIATIONS`; what is in neither is marked as such, never explained away. Measured on Linux 6.18.
"""

from __future__ import annotations

from tcpscope.machine.lifecycle import EDGES
from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State

CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED = State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED
ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2 = State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2
CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT = State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK, State.TIME_WAIT


class Deviation(NamedTuple):
    """One way in which Linux differs.

    ``kind``: ``adds`` a move RFC 9293 does not have, ``hides`` one from the kernel's own tracepoint, ``lacks`` one
    that the RFC has, or ``answers`` otherwise without a change of state.
    """

    name: str
    kind: str
    before: State
    after: State
    reason: str


# fmt: off
DEVIATIONS: tuple[Deviation, ...] = (
    # request sockets: the listener never leaves LISTEN, the handshake lives beside it
    Deviation("request-socket-born", "hides", LISTEN, SYN_RECEIVED, "a SYN creates a small request socket (state 12, shown as SYN_RECV); inet_sock_set_state reports LISTEN -> SYN_RECV only when the last ACK makes a child of it"),
    Deviation("request-socket-dies", "adds", SYN_RECEIVED, CLOSED, "RST, SYN|ACK retries used up (63 s) or pruning deletes the request socket; the listener was LISTEN all the time"),
    Deviation("no-return-to-listen", "lacks", SYN_RECEIVED, LISTEN, "the request socket vanishes instead of turning back into the listener"),
    Deviation("no-close-in-syn-received", "lacks", SYN_RECEIVED, FIN_WAIT_1, "no program has a handle on a request socket; closing the listener resets the handshakes (with TCP Fast Open the child exists early and can)"),
    Deviation("no-listen-to-syn-sent", "lacks", LISTEN, SYN_SENT, "connect() on a listening socket fails with EISCONN"),
    # time-wait mini-sockets: the socket is freed, a mini-socket goes on
    Deviation("time-wait-mini-socket", "hides", FIN_WAIT_2, CLOSED, "the peer's FIN turns the socket into a time-wait mini-socket: the tracepoint says FIN_WAIT2 -> CLOSE, ss and netstat show TIME_WAIT for 60 s"),
    Deviation("orphan-fin-wait-2-mini-socket", "hides", FIN_WAIT_2, CLOSED, "after close() the waiting is done by a mini-socket: the tracepoint says FIN_WAIT2 -> CLOSE, ss and netstat show FIN_WAIT2 until tcp_fin_timeout"),
    Deviation("closing-mini-socket", "hides", CLOSING, CLOSED, "as time-wait-mini-socket, from CLOSING"),
    Deviation("fin-wait-1-mini-socket", "hides", FIN_WAIT_1, CLOSED, "FIN and the ACK of ours arrive together: the tracepoint may say FIN_WAIT1 -> FIN_WAIT2 -> CLOSE or FIN_WAIT1 -> CLOSE, the mini-socket shows TIME_WAIT"),
    Deviation("time-wait-is-60-seconds", "answers", TIME_WAIT, TIME_WAIT, "TCP_TIMEWAIT_LEN is 60 s, not 2 x 2 minutes, and no sysctl changes it"),
    Deviation("time-wait-syn-answered", "answers", TIME_WAIT, TIME_WAIT, "a SYN that may not reopen is answered with an ACK instead of being dropped"),
    Deviation("time-wait-reopened-by-listener", "hides", TIME_WAIT, SYN_RECEIVED, "a SYN that may reopen deletes the mini-socket and goes to the listener"),
    # closing
    Deviation("close-wait-closes-at-once", "answers", CLOSE_WAIT, LAST_ACK, "close() with queued data enters LAST_ACK at once; the FIN follows the data"),
    Deviation("fin-sent-after-reset", "answers", CLOSED, CLOSED, "a socket reset by its peer stays with the program in state CLOSE and in no list until close()"),
    Deviation("orphan-gives-up", "adds", FIN_WAIT_1, CLOSED, "an orphan is dropped after tcp_orphan_retries (107 s) or under memory pressure"),
    # opening
    Deviation("repair-restores", "adds", CLOSED, ESTABLISHED, "TCP_REPAIR puts a connection in place without a handshake (CRIU)"),
    Deviation("fast-open-child", "adds", CLOSED, SYN_RECEIVED, "TCP Fast Open or MPTCP creates the child at the SYN"),
    Deviation("fast-open-closed-early", "adds", SYN_RECEIVED, FIN_WAIT_1, "a TCP Fast Open child was closed before the last ACK of the handshake"),
    Deviation("disconnect", "adds", LAST_ACK, CLOSED, "connect(AF_UNSPEC), SOCK_DESTROY or tcp_disconnect() drops any connection"),
    # errors
    Deviation("hard-icmp-is-soft", "answers", ESTABLISHED, ESTABLISHED, "a hard ICMP error on a synchronized connection is only remembered (RFC 5927), not obeyed"),
    Deviation("soft-icmp-ends-connect", "answers", SYN_SENT, CLOSED, "net or host unreachable ends connect() at once with EHOSTUNREACH or ENETUNREACH; the RFC goes on (MUST-56)"),
    Deviation("syn-gives-up-early", "answers", SYN_SENT, CLOSED, "connect() fails after 131 s (tcp_syn_retries 6, tcp_syn_linear_timeouts 4), below the RFC's 3 minutes (MUST-23)"),
)
# fmt: on

_EXPLAINS = {(row.before, row.after): row.name for row in reversed(DEVIATIONS) if row.kind in ("adds", "hides")}


def judge(before: State, after: State) -> tuple[bool, str]:
    """Judge a move the kernel reported: ``(legal in RFC 9293, name of the deviation that explains it or "")``."""
    return (before, after) in EDGES, _EXPLAINS.get((before, after), "")


def deviation(name: str) -> Deviation:
    """Return the deviation of this name. Raises ``KeyError``."""
    return _BY_NAME[name]


_BY_NAME = {row.name: row for row in DEVIATIONS}
