"""What Recv-Q and Send-Q mean, state by state (measured on Linux 6.18): the one list of queue meanings.

Bytes, never packets. A FIN counts 1 in the receiver's Recv-Q and in the sender's Send-Q, a SYN 1 in Send-Q.
"""

from __future__ import annotations

from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State


class Queues(NamedTuple):
    """``normal`` is what a healthy socket shows; ``recv``/``send`` say what the numbers count.

    ``timers`` are those that can run while bytes wait in Send-Q: none in a state in which nothing waits there.
    """

    normal: str
    recv: str
    send: str
    timers: tuple[str, ...] = ()


_ANY_TIMER = ("on", "persist", "none")


QUEUES: dict[State, Queues] = {
    State.CLOSED: Queues(normal="0 0", recv="nothing: there is no connection", send="nothing: there is no connection"),
    State.LISTEN: Queues(
        normal="0 and the backlog (netstat: 0)",
        recv="connections, not bytes: handshake done, accept() not called yet; full at backlog + 1",
        send=(
            "the backlog in ss and tcpscope: min(argument of listen(), somaxconn at that moment); netstat always"
            " shows 0"
        ),
    ),
    State.SYN_SENT: Queues(
        normal="0 1", recv="nothing yet", send="1 is our SYN; more is data queued with TCP Fast Open", timers=("on",)
    ),
    State.SYN_RECEIVED: Queues(
        normal="0 0", recv="nothing: a request socket has no buffers", send="nothing: a request socket has no buffers"
    ),
    State.ESTABLISHED: Queues(
        normal="0 0, or moving",
        recv="bytes that arrived in order and that the program has not read; no owner and above 0: not even accepted",
        send="bytes sent or to be sent that the peer has not acknowledged; the timer says why they wait",
        timers=_ANY_TIMER,
    ),
    State.FIN_WAIT_1: Queues(
        normal="0 1",
        recv="bytes nobody has read yet",
        send="unacknowledged bytes, plus 1 for our FIN",
        timers=_ANY_TIMER,
    ),
    State.FIN_WAIT_2: Queues(
        normal="0 0",
        recv="bytes not read, after shutdown(); 0 when the program is gone",
        send="0: all is acknowledged, or this would be FIN_WAIT_1",
    ),
    State.CLOSE_WAIT: Queues(
        normal="1 0, then 0 0 for a moment",
        recv=(
            "bytes not read, plus 1 for the peer's FIN. Exactly 1: the program has not noticed the end of file. 0: it"
            " has read the end of file and did not close"
        ),
        send="bytes this side still sends; that is allowed",
        timers=_ANY_TIMER,
    ),
    State.CLOSING: Queues(
        normal="1 1", recv="1 is the peer's FIN", send="1 is our FIN, not acknowledged", timers=("on", "persist")
    ),
    State.LAST_ACK: Queues(
        normal="0 1, or 1 1",
        recv="0 when the program had read the end of file before it closed, 1 (the peer's FIN) when it had not",
        send="unacknowledged bytes, plus 1 for our FIN",
        timers=_ANY_TIMER,
    ),
    State.TIME_WAIT: Queues(
        normal="0 0", recv="nothing: a mini-socket has no buffers", send="nothing: a mini-socket has no buffers"
    ),
}

#: How to read Send-Q above 0 from the timer, in this order.
SEND_Q_BY_TIMER: tuple[tuple[str, str, str], ...] = (
    ("on, 0 retransmissions", "in flight, normal", "nothing"),
    (
        "on, 1 or more",
        "segments or their ACKs are lost, or the peer is gone",
        "the network path; it ends as 'tcpscope explain retransmission' says",
    ),
    (
        "persist",
        "the peer's window is 0: its program does not read (snd_wnd above 0: this host's own packet filter drops)",
        "the peer's program; waits for ever while the peer answers",
    ),
    (
        "none, bytes not yet sent",
        "paced, corked or limited by congestion",
        "tcp_info: busy, rwnd_limited and sndbuf_limited times",
    ),
)
