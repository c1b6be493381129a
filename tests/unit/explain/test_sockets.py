"""Sockets as the kernel shows them, explained: why, who acts next, what comes."""

import pytest

from tcpscope.explain.answer import answer_as_json
from tcpscope.explain.sockets import LIMIT, explain_sockets, what_comes, who_acts, who_owns, why
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Age, Owner, Socket, TcpInfo, Timer
from tcpscope.model.state import State
from tcpscope.views.prose import emit_answer

HERE, THERE = Endpoint("10.9.0.2", 9000), Endpoint("10.9.0.1", 40000)
OWNER = (Owner(2215, "java", 7),)


def socket(state, **fields):
    return Socket("tcp", state, HERE, THERE, **fields)


def test_close_wait_recv_q_tells_who_forgot_what():
    assert "has not closed" in why(socket(State.CLOSE_WAIT, recv_q=0, inode=5, owners=OWNER))
    assert "not read the end of file" in why(socket(State.CLOSE_WAIT, recv_q=1, inode=5, owners=OWNER))
    assert "41 bytes" in why(socket(State.CLOSE_WAIT, recv_q=42, inode=5, owners=OWNER))


def test_close_wait_names_the_process_that_must_close_and_no_end():
    one = socket(State.CLOSE_WAIT, inode=5, owners=OWNER)
    assert who_acts(one) == "java (pid 2215): close it"
    assert "for ever" in what_comes(one)
    both = one._replace(owners=(*OWNER, Owner(2216, "java", 7)))
    assert "all of them" in who_acts(both)


def test_fin_wait_2_orphan_ends_and_half_closed_does_not():
    orphan = socket(State.FIN_WAIT_2, kind="mini", timer=Timer("timewait", 42_000))
    half = socket(State.FIN_WAIT_2, inode=9, owners=OWNER)
    assert what_comes(orphan) == "gone in 42 s"
    assert "mini-socket" in who_owns(orphan)
    assert "shutdown()" in why(half)
    assert "for ever" in what_comes(half)


def test_established_without_inode_is_not_accepted():
    unaccepted = socket(State.ESTABLISHED)
    assert "accept()" in why(unaccepted)
    assert who_acts(unaccepted) == "the listening program: accept()"
    assert who_owns(unaccepted) == "none yet: not accepted"


@pytest.mark.parametrize(
    ("timer", "expected"),
    [
        (Timer("persist", 900, 2), "does not read"),
        (Timer("on", 900, 3), "not acknowledged after 3 retransmissions"),
        (Timer("on", 200), "on their way"),
    ],
)
def test_established_send_q_is_explained_by_the_timer(timer, expected):
    assert expected in why(socket(State.ESTABLISHED, send_q=1000, inode=1, owners=OWNER, timer=timer))


def test_established_unread_bytes_name_the_reader_on_either_side():
    unread = socket(State.ESTABLISHED, recv_q=128512, inode=5, owners=OWNER)
    assert "128512 bytes have arrived" in why(unread)
    assert who_acts(unread).startswith("the program here: read")
    stopped = socket(State.ESTABLISHED, send_q=4000, inode=5, owners=OWNER, timer=Timer("persist", 900))
    assert who_acts(stopped) == "the peer's program: read"
    assert "either program" in who_acts(socket(State.ESTABLISHED, inode=5, owners=OWNER))


def test_established_repeating_waits_for_the_peers_kernel_and_names_the_end():
    one = socket(State.ESTABLISHED, send_q=1000, inode=1, owners=OWNER, timer=Timer("on", 14_000, 7))
    assert who_acts(one) == "the peer's kernel, with an ACK"
    assert what_comes(one).startswith("retransmission in 14 s, after 7 retransmissions; ")
    assert "ETIMEDOUT" in what_comes(one)
    assert "no timer" not in what_comes(one._replace(state=State.CLOSE_WAIT))


def test_established_kept_back_with_an_open_window_is_this_hosts_own_doing():
    """The timer is that of a window probe, the peer's window has room: the own packet filter or queue drops it."""
    info = TcpInfo(snd_wnd=64_512, snd_mss=1448)
    one = socket(
        State.ESTABLISHED, send_q=1000, inode=1, owners=OWNER, timer=Timer("persist", 97_000, 14), tcp_info=info
    )
    assert "packet filter" in why(one)
    assert "packet filter" in who_acts(one)
    assert "another attempt in 97 s" in what_comes(one)
    for closed in (info._replace(snd_wnd=0), info._replace(snd_wnd=600), info._replace(unacked=1)):
        assert "does not read" in why(one._replace(tcp_info=closed))


def test_syn_received_has_no_owner_by_design():
    assert "request socket" in who_owns(socket(State.SYN_RECEIVED, kind="request"))


def test_listener_with_full_queue_says_so():
    listener = Socket("tcp", State.LISTEN, HERE, Endpoint("0.0.0.0", 0), recv_q=129, backlog=128, inode=3)
    assert "129 of 128" in why(listener)
    assert why(listener._replace(recv_q=128)) != why(listener)
    assert who_owns(listener) == "not visible with these privileges"


def test_like_sockets_are_explained_together():
    many = [socket(State.TIME_WAIT, kind="mini", timer=Timer("timewait", 1_000 * n)) for n in (30, 10, 20)]
    answer = explain_sockets(many, ":9000", "live")
    assert [section.heading for section in answer.sections] == ["3 sockets in TIME_WAIT"]
    assert ("what comes", "gone in 10 s ... gone in 30 s") in answer.sections[0].grid.rows
    assert answer_as_json(answer)["matches"] == len(answer_as_json(answer)["sockets"]) == 3


def test_sockets_of_different_processes_are_not_put_together():
    two = [socket(State.CLOSE_WAIT, inode=n, owners=(Owner(n, "java", 7),)) for n in (1, 2)]
    assert len(explain_sockets(two, ":9000").sections) == 2


def test_very_many_kinds_are_counted_and_few_explained():
    many = [socket(State.ESTABLISHED, inode=n, owners=(Owner(n, "java", 7),)) for n in range(1, LIMIT + 6)]
    answer = explain_sockets(many, ":9000", "live")
    assert len(answer.sections) == LIMIT
    assert f"{LIMIT + 5} ESTABLISHED" in answer.summary
    assert f"{LIMIT + 5} are explained" in answer.summary
    assert answer_as_json(answer)["matches"] == LIMIT + 5


def test_no_socket_is_said_plainly_and_udp_is_left_out():
    assert explain_sockets([], ":1").summary == "No TCP socket matches."
    assert explain_sockets([socket(State.CLOSED)._replace(proto="udp")], ":9000").summary == "No TCP socket matches."


@pytest.mark.parametrize("state", State)
def test_every_state_gives_complete_sentences_in_any_width(state):
    one = socket(state, age=Age(90_000, "bound"), timer=Timer("on", 500, 1), send_q=3, recv_q=1)
    answer = explain_sockets([one], ":9000")
    for width in (40, 80, 200):
        assert all(len(line) <= width for line in emit_answer(answer, width).splitlines())
    row = answer_as_json(answer)["sockets"][0]
    assert all(row[key] for key in ("why", "acts_next", "what_comes"))


def test_dump_without_timers_promises_no_eternity():
    established = socket(State.ESTABLISHED)._replace(owners=OWNER)
    assert "for ever" in what_comes(established)
    assert "for ever" not in what_comes(established, unseen=["timers"])
    assert "60 s" in what_comes(socket(State.TIME_WAIT, kind="mini"), unseen=["timers"])


def test_dump_without_queues_claims_nothing_about_reading():
    assert "read" not in why(socket(State.CLOSE_WAIT, inode=5, owners=OWNER), unseen=["queues"])
