"""What Recv-Q and Send-Q mean, state by state (measured on Linux 6.18): the one list of queue meanings.

Bytes, never packets. A FIN counts 1 in the receiver's Recv-Q and in the sender's Send-Q, a SYN 1 in Send-Q.
"""

from __future__ import annotations

from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State


class Queues(NamedTuple):
    """``normal`` is what a healthy socket shows; ``recv``/``send`` say what the numbers count."""

    normal: str
    recv: str
    send: str


QUEUES: dict[State, Queues] = {
    State.CLOSED: Queues("0 0", "nothing: there is no connection", "nothing: there is no connection"),
    State.LISTEN: Queues(
        "0 and the backlog (netstat: 0)",
        "connections, not bytes: handshake done, accept() not called yet; full at backlog + 1",
        "the backlog in ss and tcpscope: min(argument of listen(), somaxconn at that moment); netstat always shows 0",
    ),
    State.SYN_SENT: Queues("0 1", "nothing yet", "1 is our SYN; more is data queued with TCP Fast Open"),
    State.SYN_RECEIVED: Queues("0 0", "nothing: a request socket has no buffers", "nothing: a request socket has no buffers"),
    State.ESTABLISHED: Queues(
        "0 0, or moving",
        "bytes that arrived in order and that the program has not read; no owner and above 0: not even accepted",
        "bytes sent or to be sent that the peer has not acknowledged; the timer says why they wait",
    ),
    State.FIN_WAIT_1: Queues("0 1", "bytes nobody has read yet", "unacknowledged bytes, plus 1 for our FIN"),
    State.FIN_WAIT_2: Queues("0 0", "bytes not read, after shutdown(); 0 when the program is gone", "0: all is acknowledged, or this would be FIN_WAIT_1"),
    State.CLOSE_WAIT: Queues(
        "1 0, then 0 0 for a moment",
        "bytes not read, plus 1 for the peer's FIN. Exactly 1: the program has not noticed the end of file. 0: it has read the end of file and did not close",
        "bytes this side still sends; that is allowed",
    ),
    State.CLOSING: Queues("1 1", "1 is the peer's FIN", "1 is our FIN, not acknowledged"),
    State.LAST_ACK: Queues("0 1, or 1 1", "0 when the program had read the end of file before it closed, 1 (the peer's FIN) when it had not", "unacknowledged bytes, plus 1 for our FIN"),
    State.TIME_WAIT: Queues("0 0", "nothing: a mini-socket has no buffers", "nothing: a mini-socket has no buffers"),
}  # fmt: skip

#: How to read Send-Q above 0 from the timer, in this order.
SEND_Q_BY_TIMER: tuple[tuple[str, str, str], ...] = (
    ("on, 0 retransmissions", "in flight, normal", "nothing"),
    ("on, 1 or more", "segments or their ACKs are lost, or the peer is gone", "the network path; it ends as 'tcpscope explain retransmission' says"),
    ("persist", "the peer's window is 0: its program does not read", "the peer's program; waits for ever while the peer answers"),
    ("none, bytes not yet sent", "paced, corked or limited by congestion", "tcp_info: busy, rwnd_limited and sndbuf_limited times"),
)  # fmt: skip
