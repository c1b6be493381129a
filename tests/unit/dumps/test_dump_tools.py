"""Tools that are met less often, and rare forms of those that are met every day; samples as the tools print them."""

import pytest

from tcpscope.dumps.read import parse_dumps
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner
from tcpscope.model.state import State


def look_at(text):
    (look,) = parse_dumps(text)
    assert look.coverage.unread_rows == 0
    return look


def rows(text):
    return list(look_at(text).sockets)


def brief(socket):
    return (socket.proto, socket.state.name, str(socket.local), str(socket.remote), [who.pid for who in socket.owners])


POWERSHELL = """\
PS C:\\> Get-NetTCPConnection

LocalAddress                        LocalPort RemoteAddress                       RemotePort State       AppliedSetting OwningProcess
------------                        --------- -------------                       ---------- -----       -------------- -------------
::                                  49677     ::                                  0          Listen                     712
fe80::1%12                          49700     fe80::2%12                          445        CloseWait   Internet       77
10.0.0.4                            50110     20.54.37.64                         443        Established Internet       4312
10.0.0.4                            50111     20.54.37.64                         443        TimeWait    Internet       0
0.0.0.0                             50112     0.0.0.0                             0          Bound                      4312
"""  # noqa: E501  # as printed

POWERSHELL_SOCKETS = [
    ("tcp", "LISTEN", "[::]:49677", "[::]:*", [712]),
    ("tcp", "CLOSE_WAIT", "[fe80::1]:49700", "[fe80::2]:445", [77]),
    ("tcp", "ESTABLISHED", "10.0.0.4:50110", "20.54.37.64:443", [4312]),
    ("tcp", "TIME_WAIT", "10.0.0.4:50111", "20.54.37.64:443", []),
    ("tcp", "CLOSED", "0.0.0.0:50112", "0.0.0.0:*", [4312]),
]


def test_powershell_table():
    look = look_at(POWERSHELL)
    assert [brief(socket) for socket in look.sockets] == POWERSHELL_SOCKETS
    assert (look.host.system, look.coverage.listing) == ("windows", "powershell")


def test_powershell_list_and_csv():
    heading, _, *lines = POWERSHELL.splitlines()[2:]
    names = heading.split()
    cells = [line.split() if len(line.split()) == 7 else [*line.split()[:5], "", line.split()[5]] for line in lines]
    as_list = "\n\n".join("\n".join(f"{n:14} : {c}" for n, c in zip(names, row, strict=True)) for row in cells)
    as_csv = "\n".join(",".join(f'"{cell}"' for cell in row) for row in [names, *cells])
    assert [brief(socket) for socket in rows(as_list)] == POWERSHELL_SOCKETS
    assert [brief(socket) for socket in rows(as_csv)] == POWERSHELL_SOCKETS


def test_powershell_with_chosen_columns():
    look = look_at(
        "LocalAddress LocalPort OwningProcess\n------------ --------- -------------\n127.0.0.1  8080  1234\n"
    )
    assert [brief(socket) for socket in look.sockets] == [("tcp", "LISTEN", "127.0.0.1:8080", "0.0.0.0:*", [1234])]
    assert any("tells no states" in note for note in look.coverage.notes)
    named = "LocalPort State ProcessName OwningProcess LocalAddress\n"
    (socket,) = rows(f"{named}8080 Listen nginx 77 ::1\n")
    assert (socket.local, socket.owners) == (Endpoint("::1", 8080), (Owner(77, "nginx"),))
    udp = "PS> Get-NetUDPEndpoint\nLocalAddress LocalPort\n------------ ---------\n::1  123\n"
    assert rows(udp)[0].proto == "udp"


SOCKSTAT = """\
USER     COMMAND    PID   FD PROTO  LOCAL ADDRESS         FOREIGN ADDRESS
root     sshd       668   4  tcp6   *:22                  *:*
www      nginx      990   12 tcp4   10.0.0.1:443          10.0.0.9:48010
?        ?          ?     ?  tcp4   10.0.0.1:443          10.0.0.9:48011
root     ntpd       700   20 udp4   *:123                 *:*
"""


def test_sockstat_tells_no_states_and_that_is_said():
    look = look_at(SOCKSTAT)
    assert [brief(socket) for socket in look.sockets] == [
        ("tcp", "LISTEN", "[::]:22", "[::]:*", [668]),
        ("tcp", "ESTABLISHED", "10.0.0.1:443", "10.0.0.9:48010", [990]),
        ("tcp", "ESTABLISHED", "10.0.0.1:443", "10.0.0.9:48011", []),
        ("udp", "CLOSED", "0.0.0.0:123", "0.0.0.0:*", [700]),
    ]
    assert look.sockets[1].owners == (Owner(990, "nginx", 12),)
    assert look.host.system == "bsd"
    assert any("tells no states" in note for note in look.coverage.notes)


def test_sockstat_with_states():
    text = "www  nginx  990  12 tcp4   10.0.0.1:443   10.0.0.9:48010   CLOSE_WAIT\n"
    look = look_at(text)
    assert look.sockets[0].state is State.CLOSE_WAIT
    assert not any("tells no states" in note for note in look.coverage.notes)


SOLARIS = """\
TCP: IPv4
   Local Address        Remote Address     Swind  Send-Q  Rwind  Recv-Q    State
-------------------- -------------------- ------- ------ ------- ------ -----------
      *.22                 *.*                  0      0  128000      0 LISTEN
10.0.0.1.22          10.0.0.9.55016       131008     47  128872      3 CLOSE_WAIT
TCP: IPv6
   Local Address                     Remote Address                  Swind  Send-Q  Rwind  Recv-Q   State      If
--------------------------------- --------------------------------- ------- ------ ------- ------ ----------- -----
2001:db8::1.5999                  2001:db8::2.40000                   65536      0  128000      0 ESTABLISHED
"""


def test_solaris():
    look = look_at(SOLARIS)
    assert [(*brief(socket)[1:4], socket.recv_q, socket.send_q) for socket in look.sockets] == [
        ("LISTEN", "0.0.0.0:22", "0.0.0.0:*", 0, 0),
        ("CLOSE_WAIT", "10.0.0.1:22", "10.0.0.9:55016", 3, 47),
        ("ESTABLISHED", "[2001:db8::1]:5999", "[2001:db8::2]:40000", 0, 0),
    ]
    assert look.host.system == "solaris"


def test_illumos_names_the_program():
    text = "10.0.0.1.22 10.0.0.9.55016 root 812 /usr/lib/ssh/sshd 131008 47 128872 3 ESTABLISHED\n"
    assert rows(text)[0].owners == (Owner(812, "/usr/lib/ssh/sshd"),)


@pytest.mark.parametrize(
    ("row", "queues", "state"),
    [
        ("fffff80003df43d0 tcp4 5 7 10.0.0.1.22 10.0.0.9.64330 CLOSE_WAIT -", (5, 7), "CLOSE_WAIT"),  # -A -P
        ("7fb03cb94d505aed cedd0cbf tcp4 5 7 10.0.0.1.22 10.0.0.9.64330 CLOSE_WAIT 495 399", (5, 7), "CLOSE_WAIT"),
        ("f1000e00003c8bb8 tcp4 5 7 10.0.0.1.22 10.0.0.9.64330 CLOSE_WAIT", (5, 7), "CLOSE_WAIT"),  # AIX
        ("tcp4 3 0 1 10.0.0.1.22 10.0.0.9.64330", (0, 0), "ESTABLISHED"),  # -T: three counts and no queues
        ("tcp4 5 7 10.0.0.1.22 10.0.0.9.64330 0 0 0 0 65700 33580 1 2048 0 0 0.00 0.00", (5, 7), "ESTABLISHED"),  # -x
    ],
)
def test_bsd_with_addresses_of_blocks_counts_and_buffers(row, queues, state):
    (socket,) = rows(f"{row}\n")
    assert brief(socket)[1:4] == (state, "10.0.0.1:22", "10.0.0.9:64330")
    assert (socket.recv_q, socket.send_q) == queues


def test_bsd_tells_nothing_of_udp_but_its_ends_with_T():  # noqa: N802  # netstat's option
    assert brief(rows("udp6                        *.514          *.*\n")[0])[:3] == ("udp", "CLOSED", "[::]:514")


def test_macos_tells_the_process_in_three_ways():
    old = (
        "Proto Recv-Q Send-Q  Local Address  Foreign Address  (state)  rhiwat shiwat    pid   epid  state    options\n"
    )
    old += "tcp4  24  0  10.0.0.1.52040  140.82.114.4.443  CLOSE_WAIT  131072 132432   9811      0 0x0122 0x00000008\n"
    assert rows(old)[0].owners == (Owner(9811, ""),)
    new = "Proto Recv-Q Send-Q  Local Address  Foreign Address  (state)  rhiwat  shiwat  process:pid  state  options\n"
    new += (
        "tcp4  0  0  10.0.0.1.49152  17.57.144.20.443  ESTABLISHED  131072  131072  Google Chrome He:301  00182 0000\n"
    )
    new += "tcp46 0  0  *.5000  *.*  LISTEN  131072  131072  ControlCe:612  00180 00000006\n"
    chrome, listener = rows(new)
    assert chrome.owners == (Owner(301, "Google Chrome He"),)
    assert (listener.owners, listener.local, listener.v6only) == (
        (Owner(612, "ControlCe"),),
        Endpoint("::", 5000),
        False,
    )


def test_an_old_ss_means_ipv4_by_its_star_and_names_holders_without_words():
    text = """\
State      Recv-Q Send-Q     Local Address:Port       Peer Address:Port
LISTEN     0      128                    *:22                    *:*      users:(("sshd",812,3))
LISTEN     0      128                   :::22                   :::*      users:(("sshd",812,4))
LISTEN     0      100            127.0.0.1:25                    *:*
CLOSE-WAIT 1      0      ::ffff:10.0.0.1:39126  ::ffff:10.0.0.9:80
"""
    v4, v6, local, mapped = rows(text)
    assert (v4.local, v4.owners, v4.v6only) == (Endpoint("0.0.0.0", 22), (Owner(812, "sshd", 3),), None)
    assert (v6.local, v6.v6only) == (Endpoint("::", 22), None)
    assert local.local == Endpoint("127.0.0.1", 25)
    assert mapped.local == Endpoint("::ffff:10.0.0.1", 39126)


def test_a_new_ss_means_both_families_by_its_star():
    text = "LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\nLISTEN 0 4096 *:443 *:*\nLISTEN 0 128 [::]:22 [::]:*\n"
    text += "LISTEN 0 128 [::1]:25 [::]:*\nLISTEN 0 128 [::ffff:127.0.0.1]:26 *:*\n"
    v4, both, v6, one, mapped = rows(text)
    assert (v4.v6only, both.v6only, v6.v6only, one.v6only, mapped.v6only) == (None, False, True, True, False)
    assert mapped.local == Endpoint("::ffff:127.0.0.1", 26)
    assert (both.local, v6.local) == (Endpoint("::", 443), Endpoint("::", 22))


def test_ss_names_programs_with_blanks():
    text = 'ESTAB 0 0 10.0.0.1:22 10.0.0.9:50001 users:(("Isolated Web Co",pid=77,fd=9),("tmux: server",pid=8,fd=1)) {}'
    for rest in ("", "ino:7 sk:2 <->", "timer:(on,200ms,0)"):
        (socket,) = rows(text.format(rest) + "\n")
        assert socket.owners == (Owner(77, "Isolated Web Co", 9), Owner(8, "tmux: server", 1))
    assert rows(text.format("ino:7 sk:2"))[0].inode == 7


@pytest.mark.parametrize("heading", ["Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n", ""])
def test_ss_asked_for_one_state_has_no_column_for_it(heading):
    text = f"[root@web01 ~]# ss -tan state time-wait\n{heading}0  0  10.0.0.1:443  10.0.0.9:48010\n"
    (socket,) = rows(text)
    assert (socket.state, socket.remote) == (State.TIME_WAIT, Endpoint("10.0.0.9", 48010))


def test_ss_without_a_state_column_and_without_its_call_is_shown_as_not_understood():
    (look,) = parse_dumps(
        "Recv-Q Send-Q Local Address:Port Peer Address:Port\n"
        "0 0 10.0.0.1:443 10.0.0.9:48010\n0 128 0.0.0.0:22 0.0.0.0:*\n"
    )
    assert [socket.state for socket in look.sockets] == [State.LISTEN]
    assert look.coverage.unread_samples == ("0 0 10.0.0.1:443 10.0.0.9:48010",)


def test_lsof_columns_between_command_and_user_do_not_shift_the_pid():
    end = "12u IPv4 90001 0t0 TCP 10.0.0.1:443->10.0.0.9:48010 (CLOSE_WAIT)\n"
    for row in (
        f"java 990 www {end}",
        f"java 990 1044 GC www {end}",
        f"java 990 1044 www {end}",
        f"java 990 1 990 1000 {end}",
    ):
        assert rows(row)[0].owners == (Owner(990, "java", 12),)
    assert rows(f"Google\\x20Chrome 990 www {end}")[0].owners == (Owner(990, "Google Chrome", 12),)


LSOF_QUEUES = "java 990 www 12u IPv6 90001 0t0 TCP 10.0.0.1:443->10.0.0.9:48010 (CLOSE_WAIT QR=7 QS=9)\n"


def test_lsof_tells_queues_with_T_and_flags_with_fg():  # noqa: N802  # lsof's option
    (socket,) = rows(LSOF_QUEUES)
    assert (socket.recv_q, socket.send_q, socket.inode, socket.state) == (7, 9, 90001, State.CLOSE_WAIT)
    assert rows(LSOF_QUEUES.replace("IPv6", "IPv6 RW,ND"))[0] == socket


def test_lsof_hides_the_prefix_of_mapped_addresses_in_rows_of_ipv6():
    row = "java 990 www 12u IPv6 {} 0t0 TCP {}->{} (ESTABLISHED)\n"
    ends = [("10.0.0.1:443", "10.0.0.9:48010"), ("[2001:db8::1]:443", "[2001:db8::9]:48011")]
    text = "".join(row.format(90001 + number, *ends[number % 2]) for number in range(8))
    assert {str(socket.remote) for socket in rows(text)} == {"[::ffff:10.0.0.9]:48010", "[2001:db8::9]:48011"}
    assert {str(socket.remote) for socket in rows(text.replace("IPv6", "IPv4", 1))} > {"10.0.0.9:48010"}


def test_lsof_without_inodes_joins_the_holders_of_a_connection():
    row = "java {} www 12u IPv4 0xfff{} 0t0 TCP 10.0.0.1:443->10.0.0.9:48010 (CLOSE_WAIT)\n"
    (socket,) = rows(row.format(990, 1) + row.format(991, 1))
    assert [owner.pid for owner in socket.owners] == [990, 991]


def test_lsof_fields_that_end_in_zeros(tmp_path):
    from tcpscope.dumps.read import read_dumps

    path = tmp_path / "fields"
    path.write_bytes(b"p812\0csshd\0\nf3\0tIPv4\0d20001\0PTCP\0n*:22\0TST=LISTEN\0\n")
    (look,) = read_dumps(str(path))
    assert [brief(socket) for socket in look.sockets] == [("tcp", "LISTEN", "0.0.0.0:22", "0.0.0.0:*", [812])]


def test_lsof_fields_of_one_socket_are_read_at_the_end_of_the_text():
    (socket,) = rows("p812\ncIsolated Web Co\nf3\ntIPv4\nd20001\nPTCP\nn*:22\nTST=LISTEN\n")
    assert socket.owners == (Owner(812, "Isolated Web Co", 3),)


def test_lsof_fields_whose_process_is_cut_off_are_shown_as_not_understood():
    whole = "p100\ncnginx\nf5\ntIPv4\nd1001\nPTCP\nn10.0.0.1:80->10.0.0.2:4000\nTST=ESTABLISHED\n"
    rest = "f6\ntIPv4\nd1002\nPTCP\nn*:80\nTST=LISTEN\np200\ncsshd\nf3\ntIPv4\nd1003\nPTCP\nn*:22\nTST=LISTEN\n"
    (look,) = parse_dumps(whole + rest)
    assert (len(look.sockets), look.coverage.unread_rows) == (3, 0)
    (look,) = parse_dumps((whole + rest).removeprefix("p100\n"))
    assert [one.owners[0].pid for one in look.sockets] == [200]
    assert look.coverage.unread_rows == 2
    assert all("process is not told" in sample for sample in look.coverage.unread_samples)


def test_lsof_fields_that_tell_no_protocol_are_shown_as_not_understood():
    (look,) = parse_dumps("p812\ncsshd\nf3\nn*:22\nf4\nn/etc/hosts\nf5\nn10.0.0.1:22->10.0.0.9:50001\n")
    assert look.coverage.unread_rows == 2
    assert "ask for -F pcfnPT" in look.coverage.unread_samples[0]


@pytest.mark.parametrize(
    ("text", "octets"), [("8000bps", 1000), ("34.8Gbps", 4_350_000_000), ("1.2Mbps", 150_000), ("?", 0)]
)
def test_ss_rates_are_octets_a_second(text, octets):
    (socket,) = rows(
        f"ESTAB 0 0 10.0.0.1:22 10.0.0.9:50001\n\t cubic wscale:7,7 pacing_rate {text} delivery_rate {text}\n"
    )
    assert (socket.tcp_info.pacing_rate, socket.tcp_info.delivery_rate) == (octets, octets)


def test_lsof_fields_without_states_say_so():
    look = look_at("p812\ncsshd\nf3\ntIPv4\nPTCP\nn*:22\nf4\ntIPv4\nPTCP\nn10.0.0.1:22->10.0.0.9:50001\n")
    assert [socket.state for socket in look.sockets] == [State.LISTEN, State.ESTABLISHED]
    assert any("tells no states" in note for note in look.coverage.notes)


def test_a_program_name_with_blanks_is_read_as_far_as_netstat_prints_it():
    row = "tcp 0 0 10.0.0.1:35276 10.0.0.9:6379 ESTABLISHED 9420/{} off (0.00/0/0)\n"
    assert rows(row.format("Passenger Ruby"))[0].owners == (Owner(9420, "Passenger Ruby"),)
    assert rows(row.format("nginx: worker p"))[0].owners == (Owner(9420, "nginx"),)


@pytest.mark.parametrize(
    "date",
    ["Every 2.0s: ss -tan     web01: Sat Nov 21 {} 2026", "Sat 21 Nov 2026 {} AM UTC", "Sat Nov 21 {} CET 2026"],
)
def test_watch_and_other_dates_give_the_time_of_a_look(date):
    row = "ESTAB 0 0 10.0.0.1:22 10.0.0.9:50001\n"
    first, second = parse_dumps(f"{date.format('01:00:00')}\n{row}{date.format('01:00:10')}\n{row}")
    assert second.taken_ns - first.taken_ns == 10 * 10**9
