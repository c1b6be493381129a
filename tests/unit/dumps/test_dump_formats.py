"""Every tool and system we read, in samples as the tools print them."""

import pytest

from tcpscope.dumps.read import parse_dumps
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner, SocketMemory, Timer
from tcpscope.model.state import State

LINUX_ANLP = """\
[root@web01 ~]# netstat -anlp
Active Internet connections (servers and established)
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp        0      0 0.0.0.0:22              0.0.0.0:*               LISTEN      812/sshd
tcp        1      0 10.0.0.1:48008          10.0.0.2:10050          CLOSE_WAIT  2510/client
tcp        0      0 10.0.0.1:10050          10.0.0.9:48008          FIN_WAIT2   -
tcp        0      0 10.0.0.1:443            10.0.0.9:48010          ESTABLISHED 990/nginx: worker p
tcp        0      0 10.0.0.1:443            10.0.0.9:48011          ESTABLISHED -
tcp        0      0 10.0.0.1:443            10.0.0.9:48012          TIME_WAIT   -
tcp6       0      0 :::22                   :::*                    LISTEN      812/sshd
tcp6       0      0 10.0.0.1:8080           10.0.0.9:48013          ESTABLISHED 2215/java
udp        0      0 0.0.0.0:68              0.0.0.0:*                           700/dhclient
Active UNIX domain sockets (servers and established)
Proto RefCnt Flags       Type       State         I-Node   PID/Program name     Path
unix  2      [ ACC ]     STREAM     LISTENING     20001    1/init               /run/systemd/private
"""

LINUX_E_O = """\
Proto Recv-Q Send-Q Local Address           Foreign Address         State       User       Inode      PID/Program name     Timer
tcp        0      5 10.0.0.1:443            10.0.0.9:48010          ESTABLISHED 33         90001      990/nginx: worker    on (0.21/2/0)
tcp        0      0 10.0.0.1:443            10.0.0.9:48011          ESTABLISHED 0          0          -                    off (0.00/0/0)
tcp        0      0 10.0.0.1:443            10.0.0.9:48012          TIME_WAIT   0          0          -                    timewait (50.12/0/0)
tcp        0      9 10.0.0.1:443            10.0.0.9:48014          ESTABLISHED 33         90002      990/nginx            probe (1.50/0/3)
"""  # noqa: E501  # as printed

FREEBSD = """\
Active Internet connections (including servers)
Proto Recv-Q Send-Q Local Address          Foreign Address        (state)
tcp4       0      0 192.168.1.5.22         192.168.1.9.51515      ESTABLISHED
tcp4       0     36 192.168.1.5.22         192.168.1.9.51516      FIN_WAIT_2
tcp4       0      0 192.168.1.5.22         192.168.1.9.51517      SYN_RCVD
tcp6       0      0 *.22                   *.*                    LISTEN
tcp4       0      0 127.0.0.1.25           *.*                    LISTEN
udp4       0      0 *.514                  *.*
"""

MACOS_V = """\
Active Internet connections (including servers)
Proto Recv-Q Send-Q  Local Address          Foreign Address        (state)      rhiwat  shiwat    process:pid    state  options
tcp4       0      0  10.0.1.7.49152         17.57.144.20.443       ESTABLISHED  131072  131072      trustd:301    00182 00000000
tcp46      0      0  *.5000                 *.*                    LISTEN       131072  131072  ControlCe:612    00180 00000006
tcp6       0      0  fe80::1%lo0.8770       fe80::1%lo0.49200      CLOSE_WAIT   131072  131072    sharingd:99    00182 00000000
"""  # noqa: E501  # as printed

WINDOWS = """\
C:\\Users\\me>netstat -ano

Active Connections

  Proto  Local Address          Foreign Address        State           PID
  TCP    0.0.0.0:135            0.0.0.0:0              LISTENING       1044
  TCP    10.0.0.4:50110         20.54.37.64:443        ESTABLISHED     4312
  TCP    10.0.0.4:50111         20.54.37.64:443        TIME_WAIT       0
  TCP    [::]:445               [::]:0                 LISTENING       4
  TCP    [fe80::1%12]:49700     [fe80::2%12]:445       CLOSE_WAIT      77
  UDP    0.0.0.0:123            *:*                                    5120
"""

JAVA = """\
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp6       0      0 10.0.0.1:8080           10.0.0.9:48013          ESTABLISHED 2215/java
tcp        0      0 10.0.0.1:8080           10.0.0.9:48014          ESTABLISHED 2215/java
tcp6       0      0 10.0.0.1:8080           10.0.0.9:48015          ESTABLISHED 2215/java
tcp6       0      0 2001:db8::1:8080        2001:db8::9:48015       ESTABLISHED 2215/java
tcp6       0      0 2001:db8::1:8080        2001:db8::9:48016       ESTABLISHED 2215/java
"""

SS = """\
$ ss -tanpioem
State      Recv-Q Send-Q        Local Address:Port          Peer Address:Port Process
LISTEN     2      128                 0.0.0.0:22                 0.0.0.0:*     users:(("sshd",pid=812,fd=3)) ino:20001 sk:1 cgroup:/system.slice/ssh.service <->
\t skmem:(r0,rb131072,t0,tb16384,f0,w0,o0,bl0,d0) cubic cwnd:10
ESTAB      0      0                  10.0.0.1:22                10.0.0.9:50001 users:(("sshd",pid=900,fd=4),("sshd",pid=901,fd=4)) timer:(keepalive,119min,0) uid:1000 ino:20002 sk:2 <->
\t skmem:(r1,rb2,t3,tb4,f5,w6,o7,bl8,d9) ts sack cubic wscale:7,8 rto:204 rtt:3.5/1.25 ato:40 mss:1448 cwnd:10 bytes_acked:3201 segs_out:40 segs_in:41 lastsnd:5012 lastrcv:5000 lastack:4999 retrans:0/3 busy:1200ms rwnd_limited:12ms(1.0%) minrtt:0.9
ESTAB      0      0                  10.0.0.1:22                10.0.0.9:50002 sk:3 <->
FIN-WAIT-2 0      0                  10.0.0.1:22                10.0.0.9:50003 timer:(timewait,9.552ms,0) sk:4
SYN-SENT   0      1                  10.0.0.1:50004             10.0.0.8:9     timer:(on,,3) ino:20004 sk:5
ESTAB      0      0     [::ffff:10.0.0.1]:80       [::ffff:10.0.0.9]:50005
"""  # noqa: E501  # as printed

LSOF = """\
COMMAND   PID     USER   FD   TYPE   DEVICE SIZE/OFF NODE NAME
sshd      812     root    3u  IPv4    20001      0t0  TCP *:22 (LISTEN)
sshd      812     root    4u  IPv6    20003      0t0  TCP *:22 (LISTEN)
nginx     990 www-data   12u  IPv4    90001      0t0  TCP 10.0.0.1:443->10.0.0.9:48010 (ESTABLISHED)
nginx     991 www-data   12u  IPv4    90001      0t0  TCP 10.0.0.1:443->10.0.0.9:48010 (ESTABLISHED)
dhclient  700     root    6u  IPv4    15001      0t0  UDP *:68
"""

LSOF_F = """\
p812
csshd
u0
Lroot
f3
au
l
tIPv4
d20001
PTCP
n*:22
TST=LISTEN
TQR=0
TQS=0
f4
tIPv4
d20002
PTCP
n10.0.0.1:22->10.0.0.9:50001
TST=CLOSE_WAIT
TQR=1
TQS=0
p813
csshd
f4
tIPv4
d20002
PTCP
n10.0.0.1:22->10.0.0.9:50001
TST=CLOSE_WAIT
TQR=1
TQS=0
"""

PROC = """\
$ cat /proc/net/tcp
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000002 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 08 00000000:00000001 00:00000000 00000000  1000        0 4712 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:C351 0100007F:1F90 05 00000000:00000000 03:00001770 00000000     0        0 0 3 0000000000000000
$ cat /proc/net/tcp6
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1 0000000000000000 100 0 0 10 0
"""  # noqa: E501  # as printed


def rows(text):
    (look,) = parse_dumps(text)
    assert look.coverage.unread_rows == 0
    assert look.coverage.source == "dump"
    return list(look.sockets)


def brief(socket):
    return (socket.proto, socket.state, str(socket.local), str(socket.remote), socket.recv_q, socket.send_q)


def test_netstat_linux():
    found = rows(LINUX_ANLP)
    assert [brief(socket) for socket in found] == [
        ("tcp", State.LISTEN, "0.0.0.0:22", "0.0.0.0:*", 0, 0),
        ("tcp", State.CLOSE_WAIT, "10.0.0.1:48008", "10.0.0.2:10050", 1, 0),
        ("tcp", State.FIN_WAIT_2, "10.0.0.1:10050", "10.0.0.9:48008", 0, 0),
        ("tcp", State.ESTABLISHED, "10.0.0.1:443", "10.0.0.9:48010", 0, 0),
        ("tcp", State.ESTABLISHED, "10.0.0.1:443", "10.0.0.9:48011", 0, 0),
        ("tcp", State.TIME_WAIT, "10.0.0.1:443", "10.0.0.9:48012", 0, 0),
        ("tcp", State.LISTEN, "[::]:22", "[::]:*", 0, 0),
        ("tcp", State.ESTABLISHED, "[::ffff:10.0.0.1]:8080", "[::ffff:10.0.0.9]:48013", 0, 0),
        ("udp", State.CLOSED, "0.0.0.0:68", "0.0.0.0:*", 0, 0),
    ]
    assert found[0].owners == (Owner(812, "sshd"),)
    assert found[3].owners == (Owner(990, "nginx"),)
    assert found[4].is_unaccepted and found[2].is_orphan  # root saw all processes, and nobody holds these
    assert found[5].kind == "mini"


def test_netstat_linux_hides_the_prefix_of_mapped_addresses_in_tcp6_alone():
    assert [str(socket.remote) for socket in rows(JAVA)] == [
        "[::ffff:10.0.0.9]:48013", "10.0.0.9:48014", "[::ffff:10.0.0.9]:48015",
        "[2001:db8::9]:48015", "[2001:db8::9]:48016",
    ]  # fmt: skip
    assert [str(socket.local) for socket in rows(JAVA)][:3] == [
        "[::ffff:10.0.0.1]:8080", "10.0.0.1:8080", "[::ffff:10.0.0.1]:8080",
    ]  # fmt: skip


def test_netstat_linux_without_root_concludes_nothing_from_a_dash():
    notice = "(Not all processes could be identified, non-owned process info\n will not be shown, ...)\n"
    (look,) = parse_dumps(LINUX_ANLP.replace("Active Internet", notice + "Active Internet"))
    assert not any(socket.is_unaccepted or socket.is_orphan for socket in look.sockets)
    assert any("as root" in note for note in look.coverage.notes)


def test_netstat_linux_with_inode_and_timer():
    found = rows(LINUX_E_O)
    assert [socket.inode for socket in found] == [90001, 0, 0, 90002]
    assert [socket.uid for socket in found] == [33, 0, 0, 33]
    assert found[0].timer == Timer("on", 210, 2)
    assert found[1].timer is None and found[1].is_unaccepted
    assert found[2].timer == Timer("timewait", 50120)
    assert found[3].timer == Timer("persist", 1500, 3)  # probes, as ss counts them


def test_netstat_freebsd():
    found = rows(FREEBSD)
    assert [brief(socket) for socket in found[:4]] == [
        ("tcp", State.ESTABLISHED, "192.168.1.5:22", "192.168.1.9:51515", 0, 0),
        ("tcp", State.FIN_WAIT_2, "192.168.1.5:22", "192.168.1.9:51516", 0, 36),
        ("tcp", State.SYN_RECEIVED, "192.168.1.5:22", "192.168.1.9:51517", 0, 0),
        ("tcp", State.LISTEN, "[::]:22", "[::]:*", 0, 0),
    ]
    assert len(found) == 6


def test_netstat_macos_verbose():
    found = rows(MACOS_V)
    assert found[0].owners == (Owner(301, "trustd"),)
    assert found[1].local == Endpoint("::", 5000)
    assert (found[2].state, found[2].local) == (State.CLOSE_WAIT, Endpoint("fe80::1", 8770))


def test_netstat_windows():
    found = rows(WINDOWS)
    assert [brief(socket)[:4] for socket in found] == [
        ("tcp", State.LISTEN, "0.0.0.0:135", "0.0.0.0:*"),
        ("tcp", State.ESTABLISHED, "10.0.0.4:50110", "20.54.37.64:443"),
        ("tcp", State.TIME_WAIT, "10.0.0.4:50111", "20.54.37.64:443"),
        ("tcp", State.LISTEN, "[::]:445", "[::]:*"),
        ("tcp", State.CLOSE_WAIT, "[fe80::1]:49700", "[fe80::2]:445"),
        ("udp", State.CLOSED, "0.0.0.0:123", "*:*"),
    ]
    assert [owner.pid for socket in found for owner in socket.owners] == [1044, 4312, 4, 77, 5120]
    assert parse_dumps(WINDOWS)[0].host.system == "windows"


def test_ss_with_everything():
    found = rows(SS)
    assert [socket.state.spell("ss") for socket in found] == [
        "LISTEN", "ESTAB", "ESTAB", "FIN-WAIT-2", "SYN-SENT", "ESTAB",
    ]  # fmt: skip
    listener, established, unaccepted, orphan, syn_sent, mapped = found
    assert (listener.backlog, listener.recv_q, listener.inode) == (128, 2, 20001)
    assert listener.cgroup == "/system.slice/ssh.service"
    assert listener.memory.rcvbuf_bytes == 131072 and listener.congestion == "cubic"
    assert established.owners == (Owner(900, "sshd", 4), Owner(901, "sshd", 4))
    assert established.timer == Timer("keepalive", 119 * 60_000)
    assert established.memory == SocketMemory(1, 2, 3, 4, 5, 6, 7, 8, 9)
    info = established.tcp_info
    assert (info.rto_us, info.rtt_us, info.rttvar_us, info.snd_mss, info.snd_cwnd) == (204000, 3500, 1250, 1448, 10)
    assert (info.snd_wscale, info.rcv_wscale, info.options & 7) == (7, 8, 7)
    assert (info.last_data_sent_ms, info.last_data_recv_ms, info.last_ack_recv_ms) == (5012, 5000, 4999)
    assert (info.retrans, info.total_retrans, info.busy_time_us, info.rwnd_limited_us) == (0, 3, 1_200_000, 12_000)
    assert unaccepted.is_unaccepted and orphan.is_orphan
    assert orphan.timer == Timer("timewait", 9552)  # printed as 9.552ms, meant are seconds
    assert syn_sent.timer == Timer("on", 0, 3)
    assert mapped.local == Endpoint("::ffff:10.0.0.1", 80)


def test_ss_with_netid_and_udp():
    text = "Netid State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n"
    text += 'udp   UNCONN 0      0      127.0.0.53%lo:53  0.0.0.0:*  users:(("systemd-resolve",pid=5,fd=1))\n'
    text += "u_str ESTAB  0      0      * 20111 * 20112\nnl    UNCONN 0 0 rtnl:kernel *\n"
    text += "tcp   LISTEN 0      4096   *:443              *:*\n"
    udp, tcp = rows(text)
    assert brief(udp) == ("udp", State.CLOSED, "127.0.0.53:53", "0.0.0.0:*", 0, 0)
    assert (tcp.local.port, tcp.backlog) == (443, 4096)


def test_lsof_joins_the_holders_of_one_inode():
    found = rows(LSOF)
    assert len(found) == 4
    assert found[2].owners == (Owner(990, "nginx", 12), Owner(991, "nginx", 12))
    assert (found[1].local, found[1].state) == (Endpoint("::", 22), State.LISTEN)


def test_lsof_fields():
    listener, leaked = rows(LSOF_F)
    assert (listener.local, listener.state, listener.owners) == (
        Endpoint("0.0.0.0", 22), State.LISTEN, (Owner(812, "sshd", 3),),
    )  # fmt: skip
    assert leaked.owners == (Owner(812, "sshd", 4), Owner(813, "sshd", 4))
    assert (leaked.state, leaked.recv_q, leaked.inode) == (State.CLOSE_WAIT, 1, 20002)


def test_proc_net_tcp():
    found = rows(PROC)
    assert [brief(socket) for socket in found] == [
        ("tcp", State.LISTEN, "127.0.0.1:8080", "0.0.0.0:*", 2, 0),
        ("tcp", State.CLOSE_WAIT, "127.0.0.1:8080", "127.0.0.1:50000", 1, 0),
        ("tcp", State.FIN_WAIT_2, "127.0.0.1:50001", "127.0.0.1:8080", 0, 0),
        ("tcp", State.LISTEN, "[::1]:631", "[::]:*", 0, 0),
    ]
    assert found[2].kind == "mini" and found[2].timer.kind == "timewait"
    assert [socket.inode for socket in found] == [4711, 4712, 0, 4714]


def test_tools_in_one_look_complete_each_other():
    (look,) = parse_dumps(LINUX_ANLP + "\n$ lsof -nP -i\n" + LSOF)
    assert look.coverage.listing == "lsof + netstat"
    held = next(socket for socket in look.sockets if socket.remote.port == 48010)
    assert held.inode == 90001 and [owner.pid for owner in held.owners] == [990, 991]
    assert len(look.sockets) == 9  # every row of lsof is one of netstat


def test_the_same_tool_again_is_another_look():
    first, second = parse_dumps(LINUX_ANLP + "[root@web01 ~]# date; netstat -anlp\n" + LINUX_ANLP)
    assert len(first.sockets) == len(second.sockets) == 9


def test_times_in_the_text_give_ages():
    from tcpscope.dumps.read import with_ages

    text = "Sat Nov 21 01:00:00 UTC 2026\n" + LINUX_ANLP + "Sat Nov 21 01:10:00 UTC 2026\n" + LINUX_ANLP
    first, second = parse_dumps(text)
    assert second.taken_ns - first.taken_ns == 600 * 10**9
    aged = with_ages(first, second)
    assert {(socket.age.known, socket.age.ms) for socket in aged.sockets} == {("bound", 600_000)}


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("Sat Nov 21 01:00:00 UTC 2026", 1_795_222_800),
        ("Sat Nov 21 01:00:00 AM CET 2026", 1_795_222_800),
        ("Sat Nov 21 12:00:00 AM CET 2026", 1_795_219_200),
        ("Sat Nov 21 01:00:00 PM CET 2026", 1_795_266_000),
        ("Sat 21 Nov 01:00:00 UTC 2026", 1_795_222_800),
        ("2026-11-21T01:00:00+00:00", 1_795_222_800),
        ("2026-11-21 01:00:00", 1_795_222_800),
        ("Sat Nov 21 01:00:00 UTC 99999", 7),
        ("Sat Nov 21 01:00:00 UTC 0", 7),
        ("2026-13-45T00:00:00", 7),
        ("Sat Nov Nov 01:00:00 UTC 2026", 7),
        (f"Sat Nov {'9' * 5000} 01:00:00 UTC 2026", 7),
    ],
)
def test_dates_of_looks(line, seconds):
    (look,) = parse_dumps(f"{line}\n{LINUX_ANLP}", 7 * 10**9)
    assert look.taken_ns == seconds * 10**9


@pytest.mark.parametrize(
    "line",
    [
        "TcpExtFoo \u00b2",
        "TcpExt: A\nTcpExt: --5",
        "\u00b2 resets sent",
        "9" * 5000 + " resets sent",
        "ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 skmem:(r" + "9" * 5000 + ")",
    ],
)
def test_numbers_that_are_none_do_not_stop_the_reading(line):
    (look,) = parse_dumps(f"{LINUX_ANLP}{line}\n")
    assert len(look.sockets) >= 9


def test_rows_that_are_not_understood_are_counted_and_shown():
    (look,) = parse_dumps(
        LINUX_ANLP + "tcp        0      0 garbage here WHAT 1/x\ntcp 0 0 1.2.3.4:99999 0.0.0.0:* LISTEN\n"
    )
    assert look.coverage.unread_rows == 2
    assert look.coverage.unread_samples[0].startswith("tcp 0 0 garbage")
    assert any("2 rows were not understood" in note for note in look.coverage.notes)


def test_a_row_broken_by_a_mail_program_is_put_together():
    (look,) = parse_dumps(
        "tcp 0 0 10.0.0.1:48008 10.0.0.2:10050\n    CLOSE_WAIT 2510/client\ntcp 0 0 1.1.1.1:1 2.2.2.2:2 CLOSING -\n"
    )
    assert [socket.state for socket in look.sockets] == [State.CLOSE_WAIT, State.CLOSING]
    assert look.sockets[0].owners == (Owner(2510, "client"),)


@pytest.mark.parametrize(
    ("text", "counters"),
    [
        ("TcpExtListenOverflows           5                  0.0\n", {"TcpExt.ListenOverflows": 5}),
        ("TcpExt: SyncookiesSent ListenDrops\nTcpExt: 3 4\n", {"TcpExt.SyncookiesSent": 3, "TcpExt.ListenDrops": 4}),
        ("    120 resets sent\n    TCPTimeouts: 7\n", {"Tcp.OutRsts": 120, "TcpExt.TCPTimeouts": 7}),
        ("Tcp:\n    InCsumErrors: 3\nUdp:\n    InCsumErrors: 4\n", {"Tcp.InCsumErrors": 3}),
        (
            "TcpExt:\n    9 time wait sockets recycled by time stamp\n    TCP ran low on memory 2 times\n",
            {"TcpExt.TWRecycled": 9, "TcpExt.TCPMemoryPressures": 2},
        ),
    ],
)
def test_counters(text, counters):
    (look,) = parse_dumps(LINUX_ANLP + text)
    assert look.counters == counters
