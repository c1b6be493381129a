"""What tcpdump printed, read back: our own samples, and tcpdump itself on captures of our making."""

import io
import random
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tcpscope
from tcpscope.capture.packets import Interface
from tcpscope.capture.writing import CaptureFile
from tcpscope.cli.main import main
from tcpscope.dumps.tcpdump import Printed, emit_packets, read_tcpdump
from tcpscope.model.segment import ACK, FIN, NO_OPTIONS, PSH, RST, SYN, Options, Segment
from tcpscope.wire.link import RAW

HANDSHAKE = """\
14:12:45.104687 IP localhost.39870 > localhost.9502: Flags [S], seq 2927179378, win 32792, options [mss 16396,sackOK,TS val 7 ecr 0,nop,wscale 3], length 0
14:12:45.104701 IP localhost.9502 > localhost.39870: Flags [S.], seq 1721825043, ack 2927179379, win 32768, options [mss 16396], length 0
14:12:45.104711 IP localhost.39870 > localhost.9502: Flags [.], ack 1, win 4099, length 0
14:13:01.415407 IP localhost.39870 > localhost.9502: Flags [P.], seq 1:8, ack 1, win 4099, length 7
14:13:01.415432 IP localhost.9502 > localhost.39870: Flags [.], ack 8, win 4096, length 0
"""  # noqa: E501  # as printed
ISS, IRS = 2927179378, 1721825043


def brief(reader):
    return [
        (one.source[1], one.segment.flags, one.segment.seq, one.segment.ack, one.text_bytes) for one in reader.packets()
    ]


WHOLE = [
    (39870, SYN, ISS, 0, 0),
    (9502, SYN | ACK, IRS, ISS + 1, 0),
    (39870, ACK, ISS + 1, IRS + 1, 0),
    (39870, PSH | ACK, ISS + 1, IRS + 1, 7),
    (9502, ACK, IRS + 1, ISS + 8, 0),
]


def test_relative_numbers_become_those_of_the_wire():
    reader = read_tcpdump(HANDSHAKE.splitlines())
    assert brief(reader) == WHOLE
    syn = reader.packets()[0]
    assert syn.segment.options == Options(mss=16396, window_scale=3, sack_permitted=True, timestamp=(7, 0))
    assert syn.t_ns == ((14 * 60 + 12) * 60 + 45) * 10**9 + 104_687_000
    assert syn.segment.wnd == 32792


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace("14:12", "2024-05-01 14:12").replace("14:13", "2024-05-01 14:13"),
        lambda line: line.replace(" IP ", " lo    In  IP "),
        lambda line: line.replace("localhost", "10.0.0.1"),
        lambda line: line.replace(" IP ", " IP6 ").replace("localhost", "2001:db8::1"),
        lambda line: line[line.index("IP") :],  # -t
        lambda line: f"{line} (1)",
        lambda line: line.replace(
            "IP ", "IP (tos 0x0, ttl 64, id 7, offset 0, flags [DF], proto TCP (6), length 60)\n    "
        ).replace("],", "], cksum 0xfe30 (incorrect -> 0x1234),", 1),  # -v
        lambda line: line.replace(
            "IP ", "02:42:ac:11:00:02 > 02:42:ac:11:00:03, ethertype IPv4 (0x0800), length 74: "
        ),  # -e
        lambda line: line.replace("14:12:45", "1700000000").replace("14:13:01", "1700000016"),
    ],
)
def test_other_forms_of_the_lines(change):
    text = "\n".join(change(line) for line in HANDSHAKE.splitlines())
    assert brief(read_tcpdump(text.splitlines())) == WHOLE


def test_absolute_numbers_of_option_S_stay_as_they_are():  # noqa: N802  # tcpdump's option
    text = HANDSHAKE.replace("ack 1,", f"ack {IRS + 1},").replace("seq 1:8", f"seq {ISS + 1}:{ISS + 8}")
    assert brief(read_tcpdump(text.replace("ack 8", f"ack {ISS + 8}").splitlines())) == WHOLE


def test_cut_lines_are_counted_and_quotations_without_a_time_change_nothing():
    lines = HANDSHAKE.splitlines()
    lines[2:2] = [lines[3][lines[3].index("IP") :], lines[1][:60] + " ...", "IP prose > and more: Flags [x]"]
    lines.append("14:12:45.104687 IP localhost.39870 > localhost.9502: Flags [S], seq 2927179378")
    reader = read_tcpdump(lines)
    assert brief(reader) == WHOLE
    assert reader.unread == 1
    assert reader.samples == [lines[-1]]


def test_names_of_hosts_become_addresses_and_are_named(tmp_path, capsys):
    path = tmp_path / "text"
    path.write_text(HANDSHAKE.replace("localhost.9502", "web01.example.http"))
    assert main(["read", str(path)]) == 0
    out, err = capsys.readouterr()
    assert "192.0.2.3:80" in out and "ESTABLISHED" in out
    assert "web01.example stands as 192.0.2.3" in err


def test_a_dump_of_sockets_beside_it_is_read_as_the_dump(tmp_path, capsys):
    path = tmp_path / "text"
    path.write_text(HANDSHAKE + "tcp 0 0 10.0.0.1:22 10.0.0.2:5000 CLOSE_WAIT 9/sshd\n")
    assert main(["read", str(path)]) == 0
    assert "CLOSE_WAIT" in capsys.readouterr().out


def test_standard_input_of_what_tcpdump_printed_is_the_capture_too(capsys, monkeypatch):
    text = HANDSHAKE * 2000  # more than is looked at to know what it is
    for command, shown in (("read", "10 000 packets"), ("doctor", "2 TCP sockets")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(text.encode()))))
        assert main([command, "-"]) == 0
        out, err = capsys.readouterr()
        assert shown in out and "standard input: read from what tcpdump printed" in err


@pytest.mark.parametrize("size", [1, 60_000])
def test_standard_input_of_a_dump_is_read_from_its_beginning(capsys, monkeypatch, size):
    rows = "".join(
        f"tcp 0 0 10.0.0.1:22 10.0.{number >> 8}.{number & 255}:5000 CLOSE_WAIT 9/sshd\n" for number in range(size)
    )
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(rows.encode()))))
    assert main(["read", "-"]) == 0
    assert f": {size} CLOSE_WAIT" in capsys.readouterr().out


def test_the_doctor_takes_it_too(tmp_path, capsys):
    path = tmp_path / "text"
    path.write_text(HANDSHAKE)
    assert main(["doctor", str(path)]) == 0
    assert "2 TCP sockets" in capsys.readouterr().out


def test_the_sample_of_the_articles(shared_folder):
    analysis = tcpscope.read(str(shared_folder / "seeds" / "003_4276ac47101bf931.txt"))
    (connection,) = analysis.connections
    assert (connection.client_state.name, connection.server_state.name, connection.packets) == (
        "ESTABLISHED", "ESTABLISHED", 7,
    )  # fmt: skip


@given(st.text(max_size=300), st.integers(0, 400))
def test_any_text_is_read_in_peace(text, cut):
    whole = (HANDSHAKE[:cut] + text + HANDSHAKE[cut:]).splitlines()
    for _, headers, original_len in emit_packets(read_tcpdump(whole).packets()):
        assert original_len >= len(headers) >= 40


def conversation(rng, number):
    """Packets of one connection: handshake or not, text, repeated segments, a FIN or a reset; numbers that wrap."""
    ends = (f"10.0.0.{number % 250 + 1}", 1024 + number), ("10.1.0.1", 443)
    if number % 3 == 0:
        ends = (f"2001:db8::{number + 1:x}", 1024 + number), ("2001:db8:1::1", 443)
    nxt = [rng.choice((5, 2**32 - 30, rng.randrange(2**32))) for _ in ends]
    # Why text first: tcpdump does not print the sequence number of a segment without, and nobody can tell it then.
    script = [(0, PSH | ACK, 9)] if rng.random() < 0.3 else [(0, SYN, 0), (1, SYN | ACK, 0), (0, ACK, 0)]
    script += [(rng.randrange(2), PSH | ACK, rng.randrange(1, 1400)) if rng.random() < 0.7 else
               (rng.randrange(2), ACK, 0) for _ in range(rng.randrange(8))]  # fmt: skip
    script += rng.choice(([], [(0, FIN | ACK, 0), (1, FIN | ACK, 0), (0, ACK, 0)], [(1, RST, 0)], [(1, RST | ACK, 0)]))
    for at, flags, size in script:
        options = NO_OPTIONS
        if flags & ACK and rng.random() < 0.3:  # the blocks lie behind what is acknowledged, and wrap as it does
            left = (nxt[1 - at] + rng.randrange(1, 3000)) % 2**32
            blocks = ((left, (left + rng.randrange(1, 3000)) % 2**32), (nxt[1 - at], left))
            options = NO_OPTIONS._replace(sack=blocks[: rng.randrange(1, 3)])
        segment = Segment(nxt[at], nxt[1 - at] if flags & ACK else 0, flags, rng.randrange(65536), options=options)
        yield ends[at], ends[1 - at], segment, size
        if rng.random() < 0.1 and size:
            yield ends[at], ends[1 - at], segment, size
        nxt[at] = (nxt[at] + size + segment.seg_len) % 2**32


def test_times_since_the_line_before_are_added_up():
    times = ("00:00:00.000000", "00:00:00.000014", "00:00:00.000010", "00:00:16.310696", "00:00:00.000025")
    lines = [f"{time} {line[16:]}" for time, line in zip(times, HANDSHAKE.splitlines(), strict=True)]
    reader = read_tcpdump(lines)
    assert brief(reader) == WHOLE
    assert [packet.t_ns // 1000 for packet in reader.packets()] == [0, 14, 24, 16310720, 16310745]


@pytest.mark.parametrize("options", [[], ["-S"], ["-tttt"], ["-tt"], ["-v"], ["-vvv", "-S"], ["-e"], ["-X"], ["-#"]])
@pytest.mark.parametrize("seed", range(3))
def test_tcpdump_prints_and_we_read_the_same_packets(tmp_path, seed, options):
    if shutil.which("tcpdump") is None:
        pytest.skip("needs tcpdump")
    rng = random.Random(seed)
    rows = [row for number in range(40) for row in conversation(rng, number)]
    sent = [Printed(1_700_000_000 * 10**9 + at * 1_000_000, *row) for at, row in enumerate(rows)]
    path = tmp_path / "made.pcap"
    with CaptureFile(str(path), Interface(RAW)) as capture:
        for t_ns, headers, original_len in emit_packets(sent):
            capture.write(t_ns, headers, original_len)
    done = subprocess.run(
        ["tcpdump", "-nr", str(path), *options], capture_output=True, text=True, check=True, timeout=60,
        env={"TZ": "UTC"},
    )  # fmt: skip
    reader = read_tcpdump(done.stdout.splitlines())
    assert reader.unread == 0
    found = reader.packets()
    assert [(one.source, one.target, one.text_bytes) for one in found] == [
        (one.source, one.target, one.text_bytes) for one in sent
    ]
    assert [one.segment for one in found] == [one.segment for one in sent]
