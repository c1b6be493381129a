"""The canonical walks through the life cycle, each by segments and calls alone (RFC 9293 §3.5, §3.6, §3.10)."""

import pytest
from tests.endpoint_kit import IRS, ISS, MS, PLAIN, SECOND, Bench

from tcpscope.machine.calls import CallError
from tcpscope.machine.connection import Connection
from tcpscope.machine.profile import FREEBSD, RFC
from tcpscope.machine.sequence import add
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import ACK, FIN, PSH, RST, SYN
from tcpscope.model.state import State
from tcpscope.stack.network import Link, Network

S = State
A, B = Endpoint("192.0.2.1", 1000), Endpoint("192.0.2.2", 80)


def walked(connection: Connection) -> list[State]:
    """The states a connection went through."""
    rows = [report.row for report in connection.events() if report.kind == "state"]
    return [rows[0].before, *(row.after for row in rows)] if rows else []


def flags(bench: Bench) -> list[int]:
    return [segment.flags & ~PSH for segment in bench.out]


def test_active_open_walks_to_established():
    bench = Bench()
    (syn,) = bench.call("open")
    assert (syn.seq, syn.flags, syn.ack) == (ISS, SYN, 0)
    (ack,) = bench.got(SYN | ACK)
    assert (ack.seq, ack.ack, ack.flags) == (add(ISS, 1), add(IRS, 1), ACK)
    assert walked(bench.connection) == [S.CLOSED, S.SYN_SENT, S.ESTABLISHED]


def test_passive_open_walks_to_established():
    bench = Bench()
    bench.call("open", active=False)
    (answer,) = bench.got(SYN)
    assert (answer.seq, answer.ack, answer.flags) == (ISS, add(IRS, 1), SYN | ACK)
    assert bench.got(ACK) == []
    assert walked(bench.connection) == [S.CLOSED, S.LISTEN, S.SYN_RECEIVED, S.ESTABLISHED]


@pytest.mark.rfc("MUST-10", "MUST-11")
def test_simultaneous_open_establishes_both_ends():
    ends = (Connection(A, B, iss=100, profile=RFC), Connection(B, A, iss=300, profile=RFC))
    network = Network(ends, (Link(), Link()))
    for end in ends:
        end.open(0)
    assert network.run_until(lambda: all(end.state is S.ESTABLISHED for end in ends), limit_ns=SECOND)
    for end in ends:
        assert walked(end) == [S.CLOSED, S.SYN_SENT, S.SYN_RECEIVED, S.ESTABLISHED]
    assert [passage.segment.flags for passage in network.passages[:4]] == [SYN, SYN, SYN | ACK, SYN | ACK]
    ends[0].send(b"after all")
    assert network.run_until(lambda: ends[1].receive() == b"after all", limit_ns=SECOND)


@pytest.mark.rfc("MUST-10")
def test_connection_to_itself_is_established_by_one_block():
    alone = Connection(A, A, iss=7, profile=PLAIN)
    alone.open(0)
    for _ in range(4):
        for segment in alone.poll(0):
            alone.receive_segment(segment, 0)
    assert alone.state is S.ESTABLISHED
    alone.send(b"echo")
    for segment in alone.poll(0):
        alone.receive_segment(segment, 0)
    assert alone.receive() == b"echo"


def test_refused_connection_ends_in_closed():
    bench = Bench().syn_sent()
    assert bench.got(RST | ACK) == []
    assert bench.state is S.CLOSED and bench.connection.error == "connection refused"


@pytest.mark.rfc("MUST-11")
def test_passive_handshake_that_is_reset_listens_again():
    bench = Bench(remote=None).syn_received()
    assert bench.got(RST) == []
    assert bench.state is S.LISTEN and bench.connection.error == ""
    bench.seq = 99
    bench.got(SYN)
    bench.got(ACK)
    assert bench.state is S.ESTABLISHED


@pytest.mark.rfc("MUST-11")
def test_simultaneous_handshake_that_is_reset_is_refused():
    bench = Bench().syn_received_actively()
    bench.got(RST)
    assert bench.state is S.CLOSED and bench.connection.error == "connection refused"


def test_close_before_established_sends_fin():
    bench = Bench().syn_received()
    (fin,) = bench.call("shutdown")
    assert fin.flags == FIN | ACK and bench.state is S.FIN_WAIT_1
    bench.got(ACK)
    assert bench.state is S.FIN_WAIT_2


@pytest.mark.rfc("MUST-13")
def test_active_close_waits_two_msl():
    bench = Bench().fin_wait_2()
    (ack,) = bench.got(FIN | ACK)
    assert ack.flags == ACK and bench.state is S.TIME_WAIT
    msl = bench.tcb.profile.msl_ns
    bench.wait(2 * msl - 1)
    assert bench.state is S.TIME_WAIT
    bench.wait(1)
    assert bench.state is S.CLOSED
    assert walked(bench.connection)[2:] == [S.ESTABLISHED, S.FIN_WAIT_1, S.FIN_WAIT_2, S.TIME_WAIT, S.CLOSED]


@pytest.mark.rfc("MUST-13")
def test_fin_and_ack_of_ours_in_one_segment_skips_fin_wait_2():
    bench = Bench().fin_wait_1()
    assert [segment.flags for segment in bench.got(FIN | ACK)] == [ACK]
    assert walked(bench.connection)[-2:] == [S.FIN_WAIT_1, S.TIME_WAIT]


def test_simultaneous_close_goes_through_closing():
    bench = Bench().fin_wait_1()
    (ack,) = bench.got(FIN | ACK, ack=add(bench.tcb.snd_nxt, -1))
    assert bench.state is S.CLOSING and (ack.flags, ack.seq) == (ACK, bench.tcb.snd_nxt)
    bench.got(ACK)
    assert bench.state is S.TIME_WAIT


def test_freebsd_repeats_its_fin_in_closing():
    bench = Bench(FREEBSD._replace(timestamps=False, sack=False)).fin_wait_1()
    (fin,) = bench.got(FIN | ACK, ack=add(bench.tcb.snd_nxt, -1))
    assert (fin.flags, fin.seq) == (FIN | ACK, add(bench.tcb.snd_nxt, -1))


def test_passive_close_ends_in_closed():
    bench = Bench().established()
    (ack,) = bench.got(FIN | ACK)
    assert ack.ack == add(IRS, 2) and bench.state is S.CLOSE_WAIT
    (fin,) = bench.call("shutdown")
    assert fin.flags == FIN | ACK and bench.state is S.LAST_ACK
    assert bench.got(ACK) == []
    assert bench.state is S.CLOSED and bench.connection.error == ""


def test_half_close_still_receives_and_acknowledges():
    bench = Bench().fin_wait_2()
    bench.got(ACK, text=b"late")
    assert bench.connection.receive() == b"late"
    assert [segment.ack for segment in bench.wait(SECOND)] == [bench.seq]
    with pytest.raises(CallError, match="closing"):
        bench.call("send", b"no")


@pytest.mark.parametrize("state", [S.SYN_RECEIVED, S.ESTABLISHED, S.FIN_WAIT_1, S.FIN_WAIT_2, S.CLOSE_WAIT])
def test_abort_resets_the_peer(state):
    bench = Bench().to(state)
    nxt = bench.tcb.snd_nxt
    (reset,) = bench.call("abort")
    assert (reset.flags, reset.seq) == (RST, nxt) and bench.state is S.CLOSED


@pytest.mark.parametrize("state", [S.SYN_SENT, S.LISTEN, S.CLOSING, S.LAST_ACK, S.TIME_WAIT])
def test_abort_with_nobody_to_tell_is_silent(state):
    bench = Bench().to(state)
    assert bench.call("abort") == [] and bench.state is S.CLOSED


def test_fin_with_text_delivers_both():
    bench = Bench().established()
    (ack,) = bench.got(FIN | ACK, text=b"last words")
    assert ack.ack == bench.seq and bench.state is S.CLOSE_WAIT
    assert bench.connection.receive() == b"last words" and bench.connection.receive() == b""


def test_fin_before_its_text_waits_for_it():
    bench = Bench().established()
    at = bench.seq
    (again,) = bench.got(FIN | ACK, seq=add(at, 4), text=b"efgh")
    assert again.ack == at and bench.state is S.ESTABLISHED
    (ack,) = bench.got(ACK, seq=at, text=b"abcd")
    assert ack.ack == add(at, 9) and bench.state is S.CLOSE_WAIT
    assert bench.connection.receive() == b"abcdefgh"


@pytest.mark.parametrize("state", [S.CLOSE_WAIT, S.CLOSING, S.LAST_ACK, S.TIME_WAIT])
def test_repeated_fin_is_acknowledged_again(state):
    bench = Bench().to(state)
    unacknowledged = bench.tcb.snd_una
    (ack,) = bench.got(FIN | ACK, seq=add(bench.tcb.rcv_nxt, -1), ack=unacknowledged)
    assert (ack.flags, ack.ack) == (ACK, bench.tcb.rcv_nxt) and bench.state is state


@pytest.mark.rfc("MUST-13")
def test_repeated_fin_restarts_two_msl():
    bench = Bench().time_wait()
    before = bench.connection.next_deadline()
    bench.now_ns += 5 * SECOND
    bench.got(FIN | ACK, seq=add(bench.tcb.rcv_nxt, -1))
    assert bench.connection.next_deadline() == before + 5 * SECOND


def test_half_open_connection_is_found_and_dropped():
    """§3.5.1, figure 10: the peer has rebooted and tries anew; our challenge ACK makes it reset us."""
    old = Bench().established()
    (challenge,) = old.got(SYN, seq=add(IRS, -9000))
    assert challenge.flags == ACK and old.state is S.ESTABLISHED
    peer = Connection(B, A, iss=add(IRS, -9000), profile=PLAIN)
    peer.open(0)
    peer.poll(0)
    peer.receive_segment(challenge, 0)
    (reset,) = peer.poll(0)
    assert (reset.flags, reset.seq) == (RST, challenge.ack)
    old.connection.receive_segment(reset, old.now_ns)
    assert old.state is S.CLOSED and old.connection.error == "connection reset"
    assert [segment.flags for segment in peer.poll(peer.next_deadline())] == [SYN]


def test_simultaneous_close_over_a_network():
    ends = (Connection(A, B, iss=100), Connection(B, None, iss=300))
    network = Network(ends, (Link(), Link()))
    ends[1].open(0, active=False)
    ends[0].open(0)
    network.run_until(lambda: ends[1].state is S.ESTABLISHED, limit_ns=SECOND)
    for end in ends:
        end.shutdown(network.now_ns)
    network.run(10 * SECOND)
    for end in ends:
        assert end.state is S.TIME_WAIT
        assert walked(end)[-3:] == [S.FIN_WAIT_1, S.CLOSING, S.TIME_WAIT]


def test_orphan_in_fin_wait_2_ends_by_itself():
    bench = Bench().established()
    bench.call("close")
    bench.got(ACK)
    assert bench.state is S.FIN_WAIT_2
    bench.wait(RFC.fin_wait_2_ns - 1)
    assert bench.state is S.FIN_WAIT_2
    bench.wait(1)
    assert bench.state is S.CLOSED


def test_last_ack_lost_is_answered_from_time_wait():
    ends = (Connection(A, B, iss=100), Connection(B, None, iss=300))
    network = Network(ends, (Link(delay_ns=MS), Link(delay_ns=MS)))
    ends[1].open(0, active=False)
    ends[0].open(0)
    network.run_until(lambda: ends[1].state is S.ESTABLISHED, limit_ns=SECOND)
    ends[0].shutdown(network.now_ns)
    network.run_until(lambda: ends[1].state is S.CLOSE_WAIT, limit_ns=SECOND)
    network.loses = lambda end, segment: end == 0 and network.now_ns < 2 * SECOND
    ends[1].shutdown(network.now_ns)
    network.run(SECOND // 2)
    assert (ends[0].state, ends[1].state) == (S.TIME_WAIT, S.LAST_ACK)
    network.run(20 * SECOND)
    assert ends[1].state is S.CLOSED
