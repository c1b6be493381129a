"""Rows as they arrive: quoted, numbered, logged, coloured, cut, in other languages, or not there at all."""

import pytest

from tcpscope.dumps.read import parse_dumps, read_dumps
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Owner
from tcpscope.model.state import State

NETSTAT = "tcp        1      0 10.0.0.1:48008          10.0.0.2:10050          CLOSE_WAIT  2510/client"
SS = 'ESTAB  0      36     10.0.0.1:22      10.0.0.9:50001 users:(("sshd",pid=900,fd=4))'
PROC = "   1: 0100007F:1F90 0100007F:C350 08 00000000:00000001 00:00000000 00000000  1000        0 4712 1 0"
LSOF = "nginx     990 www-data   12u  IPv4    90001      0t0  TCP 10.0.0.1:443->10.0.0.9:48010 (ESTABLISHED)"


def only(text):
    (look,) = parse_dumps(text)
    (socket,) = look.sockets
    assert look.coverage.unread_rows == 0
    return socket


def rows(text):
    (look,) = parse_dumps(text)
    assert look.coverage.unread_rows == 0
    return list(look.sockets)


@pytest.mark.parametrize(
    "around",
    [
        "> {}",
        "> > {}",
        "| {} |",
        "12:{}",
        "   12\t{}",
        "web_1  | {}",
        "2026-11-21T01:57:54.123456Z stdout F {}",
        "Nov 21 01:57:54 web01 watchdog[77]: {}",
        "[2026-11-21 01:57:54,123] INFO  dump - {}",
        "\x1b[32m{}\x1b[0m",
        "\x1b[1;31m12\x1b[m\x1b[36m:\x1b[m{}",
    ],
)
@pytest.mark.parametrize("row", [NETSTAT, SS, PROC, LSOF], ids=["netstat", "ss", "proc", "lsof"])
def test_a_row_is_the_same_whatever_stands_in_front_of_it(row, around):
    assert only(around.format(row)) == only(row)


@pytest.mark.parametrize("row", [NETSTAT, SS, LSOF], ids=["netstat", "ss", "lsof"])
def test_tabs_and_markdown_columns_are_blanks(row):
    assert only("\t".join(row.split())) == only(row)
    if row is not LSOF:
        assert only("| " + " | ".join(row.split()) + " |") == only(row)


@pytest.mark.parametrize("row", [NETSTAT, NETSTAT.partition(" 2510")[0]])
def test_a_row_in_quotes_ends_with_them(row):
    assert only(f'    "{row}   \\n",') == only(row)
    assert only(f'write(1, "{row}   \\n", 80) = 80') == only(row)


def test_colours_and_quotes_around_a_whole_dump_change_nothing():
    text = "Proto Recv-Q Send-Q Local Address Foreign Address State PID/Program name\n" + NETSTAT + "\n"
    quoted = "".join(f"> {line}\n" for line in text.splitlines())
    assert [look.sockets for look in parse_dumps(quoted)] == [look.sockets for look in parse_dumps(text)]


def test_details_of_ss_below_a_quoted_row_belong_to_it():
    socket = only(f"> {SS}\n> \t cubic wscale:7,8 rto:204 rtt:3.5/1.25 cwnd:10\n")
    assert (socket.tcp_info.rto_us, socket.congestion) == (204000, "cubic")
    socket = only(f"12:{SS}\n13-\t cubic wscale:7,8 rto:204 rtt:3.5/1.25 cwnd:10\n")
    assert socket.tcp_info.snd_cwnd == 10


def test_rows_of_other_families_in_a_log_are_no_rows():
    (look,) = parse_dumps(
        f"{SS}\n> nl UNCONN 0 0 rtnl:kernel *\n12:u_str ESTAB 0 0 * 20111 * 20112\nnl UNCONN 0 0 a:b *\n"
    )
    assert len(look.sockets) == 1 and not look.coverage.unread_rows


def test_a_row_in_a_log_that_is_not_understood_is_counted():
    (look,) = parse_dumps(f"{SS}\nNov 21 01:57:54 web01 x: tcp 0 0 what is this\n")
    assert look.coverage.unread_samples == ("tcp 0 0 what is this",)


GERMAN = """\
Aktive Verbindungen

  Proto  Lokale Adresse         Remoteadresse          Status           PID
  TCP    0.0.0.0:135            0.0.0.0:0              ABHÖREN          1044
  TCP    10.0.0.4:50110         20.54.37.64:443        HERGESTELLT      4312
  TCP    10.0.0.4:50111         20.54.37.64:443        WARTEND          0
  TCP    10.0.0.4:50112         20.54.37.64:443        SCHLIESSEN_WARTEN 4312
  TCP    10.0.0.4:50113         20.54.37.64:443        SYN_GESENDET     4312
  UDP    0.0.0.0:123            *:*                                     5120
"""


@pytest.mark.parametrize("garble", [lambda text: text, lambda text: text.encode("cp850").decode("utf-8", "replace"),
                                    lambda text: text.encode("cp850").decode("cp1252")])  # fmt: skip
def test_windows_in_german_in_any_code_page(garble):
    found = rows(garble(GERMAN))
    assert [socket.state for socket in found] == [
        State.LISTEN, State.ESTABLISHED, State.TIME_WAIT, State.CLOSE_WAIT, State.SYN_SENT, State.CLOSED,
    ]  # fmt: skip
    assert [owner.pid for socket in found for owner in socket.owners] == [1044, 4312, 4312, 4312, 5120]


def test_a_listener_in_an_unknown_language_is_one_and_other_states_are_shown_as_not_understood():
    text = "  TCP  0.0.0.0:135  0.0.0.0:0  À L'ÉCOUTE  1044\n  TCP  10.0.0.4:50110  20.54.37.64:443  ÉTABLI  4312\n"
    (look,) = parse_dumps(text)
    assert [(one.state, one.owners) for one in look.sockets] == [(State.LISTEN, (Owner(1044, ""),))]
    assert look.coverage.unread_samples == ("TCP 10.0.0.4:50110 20.54.37.64:443 ÉTABLI 4312",)


def test_netstat_of_linux_in_german_concludes_nothing_from_a_dash():
    socket = only("tcp6      50      0 10.0.0.1:43434     10.0.0.9:52158    VERBUNDEN   -\n")
    assert socket.state is State.ESTABLISHED and not socket.is_unaccepted


WINDOWS_B = """\
  TCP    0.0.0.0:135            0.0.0.0:0              LISTENING       1044
  RpcSs
 [svchost.exe]
  TCP    0.0.0.0:445            0.0.0.0:0              LISTENING       4
 Can not obtain ownership information
  TCP    10.0.0.4:50110         20.54.37.64:443        ESTABLISHED     4312
 [Some Program.exe]
  TCP    10.0.0.4:50111         20.54.37.64:443        CLOSE_WAIT      4312
"""


def test_windows_names_programs_below_their_rows():
    assert [socket.owners for socket in rows(WINDOWS_B)] == [
        (Owner(1044, "svchost.exe"),), (Owner(4, ""),), (Owner(4312, "Some Program.exe"),),
        (Owner(4312, "Some Program.exe"),),
    ]  # fmt: skip


def test_windows_names_without_numbers_are_said_to_be_left_out():
    text = "  TCP    0.0.0.0:135            orion:0                LISTENING\n  RpcEptMapper\n [svchost.exe]\n"
    (look,) = parse_dumps(text)
    assert look.sockets[0].owners == ()
    assert any("-anob" in note for note in look.coverage.notes)


def test_tasklist_beside_netstat_names_the_programs():
    tasks = (
        "Image Name                     PID Session Name        Session#    Mem Usage\n"
        "svchost.exe                   1044 Services                   0     12,345 K\n"
        "Some Program.exe              4312 Console                    1    123,456 K\n"
    )
    bare = "\n".join(line for line in WINDOWS_B.splitlines() if line.strip().startswith("TCP"))
    assert [socket.owners for socket in rows(f"{bare}\n{tasks}")] == [socket.owners for socket in rows(WINDOWS_B)]


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("Active Internet connections\nProto Recv-Q Send-Q Local Address Foreign Address State\n", "netstat"),
        ("State  Recv-Q Send-Q  Local Address:Port  Peer Address:Port  Process\n", "ss"),
        ("COMMAND PID USER FD TYPE DEVICE SIZE/OFF NODE NAME\n", "lsof"),
        ("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n", "proc"),
        ("Active Connections\n\n  Proto  Local Address  Foreign Address  State  PID\n", "netstat"),
    ],
)  # fmt: skip
def test_a_table_without_rows_is_an_empty_snapshot_and_says_so(tmp_path, text, tool):
    path = tmp_path / "dump"
    path.write_text(text)
    (look,) = read_dumps(str(path))
    assert look.sockets == [] and look.coverage.listing == tool
    assert any(f"The table of {tool} is there and has no row" in note for note in look.coverage.notes)


def test_headings_of_each_family_are_one_look_and_headings_again_are_another():
    v4 = "Active Internet connections\nProto Recv-Q Send-Q Local Foreign (state)\n"
    v4 += "tcp 0 0 10.0.0.1.22 10.0.0.2.5000 ESTABLISHED\n"
    v6 = v4.replace("Internet", "Internet6").replace("10.0.0.1", "2001:db8::1").replace("10.0.0.2", "2001:db8::2")
    udp = v4.replace("tcp 0 0", "udp 0 0").replace("ESTABLISHED", "")
    (look,) = parse_dumps(v4 + udp + v6)
    assert [str(socket.local) for socket in look.sockets] == ["10.0.0.1:22", "10.0.0.1:22", "[2001:db8::1]:22"]
    assert len(parse_dumps(v4 + v4 + v4)) == 3


@pytest.mark.parametrize(("text", "is_cut"), [(SS.partition(" users")[0], True), (SS, False), (NETSTAT, False)])
def test_a_file_that_ends_in_a_number_may_be_cut(tmp_path, text, is_cut):
    path = tmp_path / "dump"
    path.write_text(f"{SS}\n{text}")
    (look,) = read_dumps(str(path))
    assert any("may be cut" in note for note in look.coverage.notes) is is_cut
    path.write_text(f"{SS}\n{text}\n")
    assert not any("may be cut" in note for note in read_dumps(str(path))[0].coverage.notes)


def test_ipv6_with_a_dot_before_the_port_is_no_name_of_a_service():
    socket = only("tcp6       0      0  2001:db8::e1.443       2001:db8::2.50000     ESTABLISHED\n")
    assert (socket.local, socket.remote) == (Endpoint("2001:db8::e1", 443), Endpoint("2001:db8::2", 50000))


@pytest.mark.parametrize("text", ["[fe80::1%eth0]:22", "[fe80::1]%eth0:22", "fe80::1%eth0:22"])
def test_the_zone_of_an_address_is_read_in_each_place(text):
    socket = only(f"ESTAB 0 0 {text} [fe80::2]:5000\n")
    assert socket.local == Endpoint("fe80::1", 22)


SORTED = """\
ESTAB     0      0      10.0.0.1:443     10.0.0.9:48010 users:(("nginx",pid=990,fd=7))
ESTAB     0      0      10.0.0.1:443     10.0.0.9:48011 users:(("nginx",pid=990,fd=8))
LISTEN    0      128    0.0.0.0:443      0.0.0.0:*      users:(("nginx",pid=990,fd=6))
State     Recv-Q Send-Q Local Address:Port Peer Address:PortProcess
TIME-WAIT 0      0      10.0.0.1:443     10.0.0.9:48012
TIME-WAIT 0      0      10.0.0.1:443     10.0.0.9:48013
"""


def test_headings_of_a_sorted_table_begin_no_new_look():
    (look,) = parse_dumps(SORTED)
    assert len(look.sockets) == 5


def test_headings_below_rows_without_any_begin_a_new_look():
    first, heading, second = SORTED.partition("State")
    again = heading + second.splitlines(keepends=True)[0] + first
    assert [len(look.sockets) for look in parse_dumps(first + again)] == [3, 3]
    headed = heading + second  # a table of its own above: what follows is the next one
    assert len(parse_dumps(headed + headed)) == 2


@pytest.mark.parametrize("width", range(90, 140))
def test_rows_of_ss_cut_at_the_width_of_a_terminal_keep_their_holders(width):
    rows = "".join(
        f"ESTAB 0 {number}         192.0.2.1:5000{number}   198.51.100.7:443    "
        f'users:(("web (b) 1",pid=812{number},fd=3),("nginx",pid=99{number},fd=17))     ino:77{number} sk:2{number}\n'
        for number in range(3)
    )
    (whole,) = parse_dumps(rows)
    lines = (line[at : at + width] for line in rows.splitlines() for at in range(0, len(line), width))
    (wrapped,) = parse_dumps("\n".join(lines) + "\nroot@web01:~# \n")
    assert [one.owners for one in wrapped.sockets] == [one.owners for one in whole.sockets]
    assert len(whole.sockets[0].owners) == 2 and not wrapped.coverage.unread_rows


def test_programs_of_netstat_on_a_line_of_their_own_belong_to_the_row_above():
    row = "tcp        0      0 192.0.2.1:22            198.51.100.7:5000{}        ESTABLISHED \n{}/sshd\n"
    (look,) = parse_dumps(row.format(1, 812) + row.format(2, 813) + "root@web01:~# \n")
    assert [(one.owners[0].pid, one.owners[0].name) for one in look.sockets] == [(812, "sshd"), (813, "sshd")]


def test_ss_rows_with_holders_behind_the_time_of_a_log_are_rows():
    row = '2026-11-21T12:00:00.1Z stdout F ESTAB 0 0 192.0.2.1:5000{} 198.51.100.7:443 users:(("web",pid=81{},fd=3))\n'
    (look,) = parse_dumps("".join(row.format(number, number) for number in range(5)))
    assert [one.owners[0].pid for one in look.sockets] == [810, 811, 812, 813, 814]


def test_lines_that_end_in_a_carriage_return_alone_are_lines(tmp_path):
    path = tmp_path / "dump"
    path.write_bytes(f"{NETSTAT}\n{NETSTAT}\n".replace("\n", "\r").encode())
    assert len(read_dumps(str(path))[0].sockets) == 2 * len(parse_dumps(NETSTAT)[0].sockets)


@pytest.mark.parametrize(
    "keep", ["192.0.2.1:5000 198.51.100.", "192.0.2.1:5000 198.51.100.7:", '1:5000 198.51.100.7:443 users:(("we']
)
def test_row_that_stops_within_a_word_may_be_cut(tmp_path, keep):
    path = tmp_path / "dump"
    row = 'ESTAB 0 0 192.0.2.1:5000 198.51.100.7:443 users:(("web",pid=812,fd=3))'
    path.write_text(f"{row}\n{row[: row.index(keep) + len(keep)]}")
    coverage = read_dumps(str(path))[0].coverage
    assert coverage.unread_rows or any("may be cut" in note for note in coverage.notes)
