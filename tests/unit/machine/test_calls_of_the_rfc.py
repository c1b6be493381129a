"""The six user calls in the eleven states: what RFC 9293 §3.10.1 to §3.10.6 says, written down by hand.

Nothing here is read from the table: ``error`` cells hold the RFC's own phrases. Where the RFC queues a call, this
endpoint, which never blocks, answers "not yet" (``None``, or the octets that were taken); where it has a choice, the
cell says which was taken and why.
"""

import pytest
from tests.endpoint_kit import REMOTE, Bench

from tcpscope.machine.calls import CallError
from tcpscope.model.segment import ACK, FIN, PSH, RST, SYN
from tcpscope.model.state import State

S = State
STATES = (
    S.CLOSED, S.LISTEN, S.SYN_SENT, S.SYN_RECEIVED, S.ESTABLISHED, S.FIN_WAIT_1, S.FIN_WAIT_2, S.CLOSE_WAIT,
    S.CLOSING, S.LAST_ACK, S.TIME_WAIT,
)  # fmt: skip
NO_CONNECTION = "connection does not exist"
EXISTS = "connection already exists"
NO_REMOTE = "remote socket unspecified"
CLOSING = "connection closing"
SAME = None

#: call -> state -> (answer, state afterwards, flags of what is sent); an answer that is text is an error.
OPEN_PASSIVE = {
    S.CLOSED: (..., S.LISTEN, []),
    **dict.fromkeys(STATES[1:], (EXISTS, SAME, [])),  # LISTEN: MUST-41 leaves an error or a new record
}
OPEN_ACTIVE = {
    S.CLOSED: (..., S.SYN_SENT, [SYN]),
    S.LISTEN: (..., S.SYN_SENT, [SYN]),
    **dict.fromkeys(STATES[2:], (EXISTS, SAME, [])),
}
OPEN_ACTIVE_TO_NOBODY = {S.CLOSED: (NO_REMOTE, SAME, []), S.LISTEN: (NO_REMOTE, SAME, [])}
SEND = {
    S.CLOSED: (NO_CONNECTION, SAME, []),
    S.LISTEN: (4, S.SYN_SENT, [SYN]),  # the text waits for ESTABLISHED
    S.SYN_SENT: (4, SAME, []),
    S.SYN_RECEIVED: (4, SAME, []),
    S.ESTABLISHED: (4, SAME, [PSH | ACK]),
    S.CLOSE_WAIT: (4, SAME, [PSH | ACK]),
    **dict.fromkeys((S.FIN_WAIT_1, S.FIN_WAIT_2, S.CLOSING, S.LAST_ACK, S.TIME_WAIT), (CLOSING, SAME, [])),
}
SEND_TO_NOBODY = {S.LISTEN: (NO_REMOTE, SAME, [])}
RECEIVE = {
    S.CLOSED: (NO_CONNECTION, SAME, []),
    **dict.fromkeys((S.LISTEN, S.SYN_SENT, S.SYN_RECEIVED), (None, SAME, [])),
    **dict.fromkeys((S.ESTABLISHED, S.FIN_WAIT_1, S.FIN_WAIT_2), (None, SAME, [])),
    # "error: connection closing" once everything is read: told as the end of file, as sockets do (MUST-12), until
    # the program has closed; then in the RFC's words (CLOSED_THEN_RECEIVE).
    **dict.fromkeys((S.CLOSE_WAIT, S.CLOSING, S.LAST_ACK, S.TIME_WAIT), (b"", SAME, [])),
}
CLOSED_THEN_RECEIVE = dict.fromkeys((S.CLOSING, S.LAST_ACK, S.TIME_WAIT), (CLOSING, SAME, []))
CLOSE = {
    S.CLOSED: (NO_CONNECTION, SAME, []),
    S.LISTEN: (..., S.CLOSED, []),
    S.SYN_SENT: (..., S.CLOSED, []),
    S.SYN_RECEIVED: (..., S.FIN_WAIT_1, [FIN | ACK]),
    S.ESTABLISHED: (..., S.FIN_WAIT_1, [FIN | ACK]),
    # "error: connection closing" or "ok", "as long as a second FIN is not emitted": ok
    S.FIN_WAIT_1: (..., SAME, []),
    S.FIN_WAIT_2: (..., SAME, []),
    S.CLOSE_WAIT: (..., S.LAST_ACK, [FIN | ACK]),
    **dict.fromkeys((S.CLOSING, S.LAST_ACK, S.TIME_WAIT), (CLOSING, SAME, [])),
}
ABORT = {
    S.CLOSED: (NO_CONNECTION, SAME, []),
    **dict.fromkeys((S.LISTEN, S.SYN_SENT), (..., S.CLOSED, [])),
    **dict.fromkeys((S.SYN_RECEIVED, S.ESTABLISHED, S.FIN_WAIT_1, S.FIN_WAIT_2, S.CLOSE_WAIT), (..., S.CLOSED, [RST])),
    **dict.fromkeys((S.CLOSING, S.LAST_ACK, S.TIME_WAIT), (..., S.CLOSED, [])),
}
STATUS = {S.CLOSED: (NO_CONNECTION, SAME, []), **{state: (state, SAME, []) for state in STATES[1:]}}

MATRIX = [
    ("open_passive", OPEN_PASSIVE, True),
    ("open_active", OPEN_ACTIVE, True),
    ("open_active", OPEN_ACTIVE_TO_NOBODY, False),
    ("send", SEND, True),
    ("send", SEND_TO_NOBODY, False),
    ("receive", RECEIVE, True),
    ("closed_then_receive", CLOSED_THEN_RECEIVE, True),
    ("close", CLOSE, True),
    ("abort", ABORT, True),
    ("status", STATUS, True),
]
CELLS = [
    pytest.param(call, state, cell, has_remote, id=f"{call}-{state.name}{'' if has_remote else '-nobody'}")
    for call, column, has_remote in MATRIX
    for state, cell in column.items()
]


def make_call(bench: Bench, call: str) -> object:
    """Make the RFC's call; CLOSE is ``shutdown``: our direction ends, reading goes on."""
    connection, now_ns = bench.connection, bench.now_ns
    if call == "closed_then_receive":
        connection.close(now_ns)
        bench.flush()
        return connection.receive()
    calls = {
        "open_passive": lambda: connection.open(now_ns, active=False),
        "open_active": lambda: connection.open(now_ns),
        "send": lambda: connection.send(b"text"),
        "receive": connection.receive,
        "close": lambda: connection.shutdown(now_ns),
        "abort": lambda: connection.abort(now_ns),
        "status": lambda: connection.status().state,
    }
    return calls[call]()


@pytest.mark.parametrize(("call", "state", "cell", "has_remote"), CELLS)
def test_call_is_answered_as_the_rfc_says(call, state, cell, has_remote):
    expected, after, sent = cell
    bench = Bench(remote=REMOTE if has_remote else None).to(state)
    if isinstance(expected, str):
        with pytest.raises(CallError) as refused:
            make_call(bench, call)
        assert str(refused.value) == expected
    else:
        answer = make_call(bench, call)
        assert expected is ... or answer == expected
    assert [segment.flags for segment in bench.flush()] == sent
    assert bench.state is (state if after is SAME else after)


def test_matrix_has_every_call_in_every_state():
    whole = [column for call, column, has_remote in MATRIX if has_remote and call != "closed_then_receive"]
    assert len(whole) == 7 and all(column.keys() == set(STATES) for column in whole)  # OPEN counts twice
    assert len(STATES) == 11 == len(S)


@pytest.mark.parametrize("state", [S.SYN_SENT, S.SYN_RECEIVED])
def test_text_queued_before_established_goes_first(state):
    bench = Bench().to(state)
    bench.call("send", b"text")
    sent = bench.got(SYN | ACK) if state is S.SYN_SENT else bench.got(ACK)
    assert [bytes(segment.payload) for segment in sent if segment.payload] == [b"text"]


@pytest.mark.parametrize(
    ("state", "call", "phrase"),
    [
        # §3.10.4: "return 'error: closing' responses to any queued SENDs, or RECEIVEs"
        (S.SYN_SENT, "shutdown", "connection closing"),
        # §3.10.5: "any outstanding RECEIVEs should be returned with 'error: connection reset' responses"
        (S.LISTEN, "abort", "connection reset"),
        (S.SYN_SENT, "abort", "connection reset"),
        (S.SYN_RECEIVED, "abort", "connection reset"),
        (S.ESTABLISHED, "abort", "connection reset"),
        (S.FIN_WAIT_1, "abort", "connection reset"),
        (S.FIN_WAIT_2, "abort", "connection reset"),
        (S.CLOSE_WAIT, "abort", "connection reset"),
    ],
)
def test_what_was_queued_ends_with_the_rfc_s_phrase(state, call, phrase):
    bench = Bench().to(state)
    bench.call(call)
    for again in (bench.connection.receive, lambda: bench.connection.send(b"x")):
        with pytest.raises(CallError) as refused:
            again()
        assert str(refused.value) == phrase


def test_close_in_syn_received_with_queued_text_waits_for_established():
    bench = Bench().syn_received()
    bench.connection.send(b"text")
    bench.call("shutdown")
    assert bench.state is S.SYN_RECEIVED
    with pytest.raises(CallError, match=CLOSING):
        bench.connection.send(b"more")
    sent = bench.got(ACK)
    assert bench.state is S.FIN_WAIT_1
    assert [bytes(segment.payload) for segment in sent if segment.payload] == [b"text"] and sent[-1].flags & FIN


def test_established_close_with_queued_text_is_fin_wait_1_at_once_and_the_fin_comes_last():
    bench = Bench().established()
    bench.got(ACK, wnd=0)
    bench.connection.send(b"text")
    assert bench.call("shutdown") == [] and bench.state is S.FIN_WAIT_1
    sent = bench.got(ACK, wnd=100)
    assert b"".join(bytes(segment.payload) for segment in sent) == b"text" and sent[-1].flags & FIN


@pytest.mark.parametrize("state", [S.ESTABLISHED, S.FIN_WAIT_1, S.FIN_WAIT_2])
def test_receive_delivers_what_has_arrived(state):
    bench = Bench().to(state)
    bench.got(ACK, text=b"text", ack=bench.tcb.snd_una)
    assert bench.connection.receive() == b"text" and bench.connection.receive() is None


def test_receive_in_close_wait_delivers_what_is_left_first():
    bench = Bench().established()
    bench.got(ACK | FIN, text=b"left")
    assert [bench.connection.receive(), bench.connection.receive()] == [b"left", b""]
