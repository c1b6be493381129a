"""``tcpscope doctor`` on files: two looks at one host, and what the packets of a capture tell by themselves."""

import json
import os

from tests.made_captures import ACK, FIN, RST, SYN, T0, Talk, pcap

from tcpscope.cli.main import main

LISTENER = "tcp        0      0 127.0.0.1:9000          0.0.0.0:*               LISTEN      26210/python\n"
LEAKED = "tcp        0      0 127.0.0.1:9000          127.0.0.1:{port}         CLOSE_WAIT  26210/python\n"


def findings(capsys, *words):
    main(["doctor", "--json", *map(str, words)])
    return json.loads(capsys.readouterr().out)


def test_two_dumps_of_loopback_alone_are_two_looks_at_one_host(tmp_path, capsys):
    for name, when_s in (("first", 1_700_000_000), ("second", 1_700_000_060)):
        (tmp_path / name).write_text(LISTENER + "".join(LEAKED.format(port=port) for port in range(40000, 40008)))
        os.utime(tmp_path / name, (when_s, when_s))
    tree = findings(capsys, tmp_path / "first", tmp_path / "second")
    assert tree["coverage"]["looks"] == 2
    assert [one["id"] for one in tree["findings"]].count("close-wait-leak") == 1


def test_looks_of_netstat_and_ss_show_the_same_sockets(tmp_path, capsys):
    leaked, ports = "tcp 0 0 10.0.0.1:9000 10.0.0.2:{} CLOSE_WAIT 26210/python\n", range(40000, 40008)
    extended = 'CLOSE-WAIT 0 0 10.0.0.1:9000 10.0.0.2:{} users:(("python",pid=26210,fd=4)) ino:{} sk:{}\n'
    (tmp_path / "first").write_text("".join(leaked.format(port) for port in ports))
    (tmp_path / "second").write_text(
        "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n"
        + "".join(extended.format(port, port, port) for port in ports)
    )
    for name, when_s in (("first", 1_700_000_000), ("second", 1_700_000_060)):
        os.utime(tmp_path / name, (when_s, when_s))
    tree = findings(capsys, tmp_path / "first", tmp_path / "second")
    (leak,) = (one for one in tree["findings"] if one["id"] == "close-wait-leak")
    assert "the oldest for at least 1 min" in leak["evidence"][0]
    assert not [line for line in leak["evidence"] if "growing" in line]


def test_dumps_of_loopback_with_other_connections_are_two_hosts(tmp_path, capsys):
    for name, first in (("first", 40000), ("second", 50000)):
        (tmp_path / name).write_text("".join(LEAKED.format(port=port) for port in range(first, first + 8)))
    assert findings(capsys, tmp_path / "first", tmp_path / "second")["coverage"]["looks"] == 1


def sick_capture():
    """Five connections that the server never closes, and one port that refuses."""
    frames = []
    for number in range(5):
        talk = Talk(port=40000 + number, start=T0 + number * 10**9).shake()
        frames += talk.say("a", FIN | ACK).say("b", ACK).frames
    frames += Talk(port=41000, start=T0 + 6 * 10**9).say("a", SYN).say("b", RST | ACK).frames
    return pcap(sorted(frames))


def test_doctor_says_of_a_capture_what_read_says_of_it(tmp_path, capsys):
    path = tmp_path / "trace.pcap"
    path.write_bytes(sick_capture())
    main(["read", "--json", str(path)])
    read = {one["id"] for one in json.loads(capsys.readouterr().out)["findings"]}
    tree = findings(capsys, path)
    assert {"close-wait-leak", "connection-refused-storm"} <= read
    assert read <= {one["id"] for one in tree["findings"]}
    assert not read & {one["id"] for one in tree["coverage"]["not_judged"]}
    main(["doctor", str(path)])
    assert "the server does not close: 5 connections" in capsys.readouterr().out


def test_place_of_what_packets_tell_is_the_capture_among_several_files(tmp_path, capsys):
    (tmp_path / "trace.pcap").write_bytes(sick_capture())
    (tmp_path / "dump").write_text("tcp 0 0 192.0.2.9:9 192.0.2.8:8 ESTABLISHED 1/x\n")
    tree = findings(capsys, tmp_path / "trace.pcap", tmp_path / "dump")
    leak = next(one for one in tree["findings"] if one["id"] == "close-wait-leak")
    assert leak["place"] == str(tmp_path / "trace.pcap")
