"""Every row of the table is taken by the endpoint, driven there by segments, calls and time alone."""

import ast
import contextlib
from pathlib import Path

import pytest
from tests.endpoint_dump import dump
from tests.endpoint_kit import IRS, ISS, PLAIN, REMOTE, SECOND, Bench

import tcpscope.machine
from tcpscope.machine.calls import CallError
from tcpscope.machine.lifecycle import ROWS, Row, find_row
from tcpscope.machine.sequence import add
from tcpscope.model.address import Endpoint
from tcpscope.model.event import Event, Guard, Sends
from tcpscope.model.segment import ACK, FIN, RST, SYN, Segment
from tcpscope.model.state import State

E, S, G = Event, State, Guard

#: Rows that no segment, call or timer of this endpoint can cause, each with its reason; they are looked up only.
UNREACHABLE = {
    "SYN_RECEIVED.FIN": "the fifth check has made it ESTABLISHED before the eighth looks at FIN",
    "FIN_WAIT_1.KEEPALIVE_TIMEOUT": "our FIN is outstanding, so no keepalive may be sent (MUST-26)",
    "FIN_WAIT_1.KEEPALIVE_EXHAUSTED": "as FIN_WAIT_1.KEEPALIVE_TIMEOUT",
    "FIN_WAIT_2.USER_TIMEOUT": "nothing is outstanding, so nothing can be late; orphans have FIN_WAIT_2_TIMEOUT",
}


def bench_for(row: Row) -> Bench:
    """Bring a connection to where ``row`` starts, with its guard true."""
    bench = Bench(remote=None if row.guard is G.REMOTE_UNSPECIFIED else REMOTE)
    if row.guard is G.REOPENED:
        return reopened(bench)
    if row.before is S.SYN_RECEIVED and (row.guard is G.OPENED_ACTIVELY or row.event is E.SYN_ACK):
        return bench.syn_received_actively()
    if row.before is S.CLOSE_WAIT and row.guard is G.UNREAD_DATA:
        bench.established().got(ACK | FIN, text=b"unread")
        return bench
    if row.event is E.PERSIST_TIMEOUT:
        return shut_window(bench, row.before)
    bench.to(row.before)
    if row.guard is G.UNREAD_DATA:
        bench.got(ACK, text=b"unread", ack=bench.tcb.snd_una)
    if row.guard is G.DATA_QUEUED:
        bench.got(ACK, wnd=0) if row.before is S.CLOSE_WAIT else None
        bench.connection.send(b"queued")
    if row.guard is G.READER_GONE:
        bench.call("close")
    return bench


def reopened(bench: Bench) -> Bench:
    bench.time_wait().got(SYN, seq=add(bench.seq, 5000))
    assert bench.state is S.SYN_RECEIVED
    return bench


def shut_window(bench: Bench, state: State) -> Bench:
    """Reach ``state`` with text that the peer's zero window keeps here."""
    bench.established().got(ACK, wnd=0)
    if state in (S.CLOSE_WAIT, S.LAST_ACK):
        bench.got(ACK | FIN, wnd=0)
    if state is not S.LAST_ACK:
        bench.call("send", b"kept back")
    if state in (S.FIN_WAIT_1, S.CLOSING, S.LAST_ACK):
        bench.call("shutdown")
    if state is S.CLOSING:
        bench.got(ACK | FIN, wnd=0)
    assert bench.state is state
    return bench


def outstanding(bench: Bench, state: State) -> None:
    if state in (S.ESTABLISHED, S.CLOSE_WAIT):
        bench.call("send", b"never acknowledged")


def cause(bench: Bench, row: Row) -> None:
    """Do what ``row.event`` says, in whatever way its state needs."""
    event = row.event
    if event.is_user_call:
        cause_call(bench, event)
    elif event.is_segment:
        bench.got(**segment_for(bench, row))
    elif event is E.ICMP_HARD_ERROR:
        outstanding(bench, row.before)
        bench.connection.icmp_error(3, 3, bench.now_ns)
        bench.flush()
    elif event is E.ICMP_SOFT_ERROR:
        bench.connection.icmp_error(3, 1, bench.now_ns)
        bench.flush()
    else:
        cause_timeout(bench, row)


def cause_call(bench: Bench, event: Event) -> None:
    calls = {
        E.OPEN_PASSIVE: lambda: bench.call("open", active=False),
        E.OPEN_ACTIVE: lambda: bench.call("open"),
        E.SEND: lambda: bench.call("send", b"text"),
        E.RECEIVE: lambda: bench.call("receive"),
        E.CLOSE: lambda: bench.call("close" if bench.connection.readable_bytes else "shutdown"),
        E.ABORT: lambda: bench.call("abort"),
        E.STATUS: lambda: bench.call("status"),
    }
    calls[event]()


def cause_timeout(bench: Bench, row: Row) -> None:
    outstanding(bench, row.before) if row.event in (E.RETRANSMISSION_TIMEOUT, E.USER_TIMEOUT) else None
    if row.event is E.DELAYED_ACK_TIMEOUT:
        bench.got(ACK, text=b"one", ack=bench.tcb.snd_una)
    if row.event in (E.KEEPALIVE_TIMEOUT, E.KEEPALIVE_EXHAUSTED):
        bench.connection.set_keepalive(True, idle_ns=SECOND, interval_ns=SECOND, count=2)
    if row.event is E.FIN_WAIT_2_TIMEOUT:
        bench.call("close")
    bench.wait(1000 * SECOND)


SYN_WITH_NUMBERS = (S.CLOSED, S.LISTEN, S.SYN_SENT)


def segment_for(bench: Bench, row: Row) -> dict[str, object]:
    """Return a segment that is ``row.event`` to this bench."""
    tcb, nxt = bench.tcb, bench.tcb.snd_nxt
    in_window, outside = add(tcb.rcv_nxt, 9), add(tcb.rcv_nxt, -9)
    if row.before in SYN_WITH_NUMBERS:
        early = {
            E.SYN: {"flags": SYN},
            E.SYN_ACK: {"flags": SYN | ACK},
            E.RST: {"flags": RST | ACK},
            E.RST_UNACCEPTABLE: {"flags": RST},
            E.ACK_UNACCEPTABLE: {"flags": ACK, "ack": add(nxt, 77)},
            E.SEGMENT_IRRELEVANT: {"flags": FIN},
        }
        return early[row.event]
    if row.event is E.FIN and tcb.fin_received:
        return {"flags": FIN | ACK, "seq": add(tcb.rcv_nxt, -1), "ack": tcb.snd_una}
    return {
        E.SEGMENT_UNACCEPTABLE: {"flags": ACK, "seq": outside},
        E.RST: {"flags": RST, "seq": tcb.rcv_nxt},
        E.RST_UNACCEPTABLE: {"flags": RST, "seq": outside},
        E.RST_IN_WINDOW: {"flags": RST, "seq": in_window},
        E.SYN_IN_SYNCHRONIZED: {"flags": SYN | (ACK if row.before is S.TIME_WAIT else 0), "seq": in_window},
        E.SYN_REOPENS: {"flags": SYN, "seq": add(tcb.rcv_nxt, 5000)},
        E.SYN_OLD_DUPLICATE: {"flags": SYN, "seq": IRS},
        E.SYN_ACK: {"flags": SYN | ACK, "seq": IRS},
        E.ACK_OF_SYN: {"flags": ACK},
        E.ACK_MISSING: {"flags": 0},
        E.ACK_UNACCEPTABLE: {"flags": ACK, "ack": add(nxt, 77)},
        E.ACK: {"flags": ACK, "ack": tcb.snd_una},
        E.ACK_OF_FIN: {"flags": ACK},
        E.TEXT: {"flags": ACK, "ack": tcb.snd_una, "text": b"text"},
        E.FIN: {"flags": FIN | ACK, "ack": tcb.snd_una},
        E.FIN_ACK_OF_FIN: {"flags": FIN | ACK},
    }[row.event]


REACHABLE = [row for row in ROWS if row.id not in UNREACHABLE]


@pytest.mark.parametrize("row", REACHABLE, ids=lambda row: row.id)
def test_row_is_taken_by_the_endpoint(row):
    bench = bench_for(row)
    bench.tcb.taken.clear()
    refused = None
    try:
        cause(bench, row)
    except CallError as error:
        refused = str(error)
    assert row in bench.tcb.taken, (bench.state.name, bench.rows)
    # Sockets tell the end of file as long as the program has not closed; afterwards the RFC's error.
    if row.note.startswith("error") and row.event is not E.RECEIVE:
        assert refused, row.note
    if not row.event.is_timeout and row.event is not E.SYN:
        assert bench.state is row.after
        assert len([taken for taken in bench.tcb.taken if taken.changes_state]) == row.changes_state


@pytest.mark.parametrize("row", REACHABLE, ids=lambda row: row.id)
def test_row_leaves_the_same_block_with_header_prediction(row):
    dumps = []
    for fast_path in (True, False):
        bench = bench_for(row)
        bench.tcb.taken, bench.tcb.fast_path = None, fast_path  # whoever records rows gets the eight checks
        with contextlib.suppress(CallError):
            cause(bench, row)
        dumps.append((dump(bench.tcb), bench.out))
    assert dumps[0] == dumps[1]


ANSWERS = {
    Sends.SYN: SYN, Sends.SYN_ACK: SYN | ACK, Sends.ACK: ACK, Sends.CHALLENGE_ACK: ACK, Sends.RST: RST,
    Sends.RST_ACK: RST | ACK, Sends.FIN: FIN | ACK,
}  # fmt: skip
#: What waits, or is sent with other things, is shown by its own tests.
LATER = (E.RETRANSMISSION_TIMEOUT, E.DELAYED_ACK_TIMEOUT, E.TEXT)


ANSWERED = [row for row in REACHABLE if row.sends in ANSWERS and not (row.event in LATER and row.guard is G.ALWAYS)]


@pytest.mark.parametrize("row", ANSWERED, ids=lambda row: row.id)
def test_row_sends_what_it_says(row):
    bench = bench_for(row)
    cause(bench, row)
    assert [segment.flags & ~8 for segment in bench.out] == [ANSWERS[row.sends]]


@pytest.mark.parametrize("row", [row for row in REACHABLE if row.sends is Sends.NOTHING], ids=lambda row: row.id)
def test_row_that_sends_nothing_is_silent(row):
    bench = bench_for(row)
    try:
        cause(bench, row)
    except CallError:
        bench.flush()
    probing = row.event in (E.USER_TIMEOUT, E.KEEPALIVE_EXHAUSTED, E.KEEPALIVE_TIMEOUT)
    closing = row.id in ("SYN_RECEIVED.SYN_ACK.OPENED_ACTIVELY",)
    if not probing and not closing:
        assert bench.out == []


@pytest.mark.parametrize("name", UNREACHABLE)
def test_unreachable_row_is_in_the_table_for_readers_that_infer(name):
    before, event = name.split(".")
    assert find_row(S[before], E[event]).id == name
    assert len(UNREACHABLE[name]) > 10


@pytest.mark.parametrize("state", [S.CLOSING, S.LAST_ACK, S.TIME_WAIT], ids=lambda state: state.name)
def test_receive_after_both_fins_ends_the_file_and_after_close_is_refused(state):
    bench = Bench().to(state)
    assert bench.connection.receive() == b""
    bench.call("close")
    with pytest.raises(CallError, match="connection closing"):
        bench.connection.receive()


def test_state_is_assigned_in_one_function():
    """``take`` moves; a block is born CLOSED; nobody else writes a state."""
    folder = Path(tcpscope.machine.__file__).parent
    found = [
        (path.name, function.name)
        for path in sorted(folder.glob("*.py"))
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        for target in (node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)])
        if isinstance(target, ast.Attribute) and target.attr in ("state", "_state")
    ]
    assert found == [("moves.py", "take"), ("tcb.py", "__init__")]
    assert "setattr" not in "".join(path.read_text() for path in folder.glob("*.py") if path.name != "tcb.py")


def test_error_phrases_are_the_table_s():
    bench = Bench()
    with pytest.raises(CallError, match="connection does not exist"):
        bench.call("send", b"x")
    with pytest.raises(CallError, match="connection already exists"):
        bench.established().call("open")


def test_remote_that_is_no_unicast_address_is_refused():
    for address in ("224.0.0.1", "255.255.255.255", "ff02::1"):
        with pytest.raises(CallError, match="not a unicast"):
            Bench(PLAIN, remote=Endpoint(address, 80)).call("open")


def test_reset_of_unknown_connection_is_never_answered():
    bench = Bench()
    for flags in (RST, RST | ACK, RST | SYN, RST | FIN | ACK):
        assert bench.got(flags, ack=ISS) == []
    assert bench.got(SYN, seq=7)[0] == Segment(0, 8, RST | ACK)
    assert bench.got(ACK, ack=99)[0] == Segment(99, 0, RST)
