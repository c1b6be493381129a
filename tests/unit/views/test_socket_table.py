"""The table made from words: columns that stay columns, and cells that claim nothing the kernel did not measure."""

from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner, Socket, TcpInfo, Timer
from tcpscope.model.state import State
from tcpscope.views.socket_table import FIELDS, Style, render_sockets, sort_sockets

ENDS = Endpoint("127.0.0.1", 80), Endpoint("127.0.0.1", 5000)
ESTABLISHED = Socket("tcp", State.ESTABLISHED, *ENDS, tcp_info=TcpInfo(rtt_us=1500, unacked=3, snd_cwnd=10))
LISTENER = Socket("tcp", State.LISTEN, *ENDS, tcp_info=TcpInfo(unacked=4, snd_cwnd=10))
SYN_SENT = Socket("tcp", State.SYN_SENT, *ENDS, tcp_info=TcpInfo(rttvar_us=250_000, snd_cwnd=10))


def cell(column, socket):
    return FIELDS[column].spell(socket, Style())


def test_numbers_of_tcp_info_stand_where_they_mean_what_the_column_says():
    assert [cell(column, ESTABLISHED) for column in ("rtt", "unacked", "cwnd")] == ["1.500", "3", "10"]
    assert [cell(column, LISTENER) for column in ("rtt", "unacked", "cwnd")] == ["", "", ""]
    assert [cell(column, SYN_SENT) for column in ("rtt", "unacked", "cwnd")] == ["", "0", "10"]


def test_unmeasured_sorts_below_everything_measured():
    quick = ESTABLISHED._replace(tcp_info=TcpInfo(rtt_us=1))
    assert sort_sockets([LISTENER, ESTABLISHED, SYN_SENT, quick], "-rtt")[:2] == [ESTABLISHED, quick]


def test_many_holders_do_not_push_the_next_column_aside():
    crowded = ESTABLISHED._replace(owners=tuple(Owner(pid, "nginx") for pid in range(1000, 1005)))
    timed = ESTABLISHED._replace(owners=(Owner(1, "init"),), timer=Timer("on", 200))
    lines = render_sockets([crowded, timed], ["program", "timer"], Style()).splitlines()
    assert lines[0].index("Timer") == lines[2].index("on(0.20s,0)") == len(lines[1].rstrip()) + 1
    narrow = render_sockets([crowded, timed], ["timer", "program"], Style()).splitlines()
    assert len(narrow[2]) < len(narrow[1])  # the last column is as wide as netstat's, whatever stands in it


def test_window_of_zero_is_shown_where_it_is_probed():
    shut = ESTABLISHED._replace(tcp_info=TcpInfo(rto_us=200_000, snd_wnd=0), timer=Timer("persist", 900, 2))
    assert "snd_wnd:0" in render_sockets([shut], ["state"], Style(), info=True)
    assert "snd_wnd" not in render_sockets([shut._replace(timer=None)], ["state"], Style(), info=True)
