"""The commands explain and diagram, as typed."""

import io
import json
import os
import xml.etree.ElementTree as ET

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tcpscope.cli.explain import find_answer
from tcpscope.cli.main import main
from tcpscope.model.errors import UsageError
from tcpscope.views.prose import emit_answer


def test_explain_json_prints_one_object_with_its_schema(capsys):
    assert main(["explain", "--json", "FIN_WAIT_1", "->", "CLOSING"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["schema"] == "tcpscope.explain/1"
    assert (shown["kind"], shown["before"], shown["after"]) == ("transition", "FIN_WAIT_1", "CLOSING")


def test_explain_in_a_pipe_is_eighty_wide_and_plain(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["explain", "Recv-Q", "in", "LISTEN"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Column Recv-Q in LISTEN")
    assert max(map(len, shown.splitlines())) <= 80
    assert "\033" not in shown


def test_explain_width_and_color_are_obeyed(capsys):
    assert main(["explain", "--width", "40", "--color", "always", "LISTEN"]) == 0
    shown = capsys.readouterr().out
    assert "\033[1m" in shown


def test_explain_unknown_topic_is_one_line_and_exit_2(capsys):
    assert main(["explain", "FIN_WIAT_2"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "FIN_WAIT_2" in error


def test_explain_arrow_eaten_by_the_shell_says_how_to_quote(capsys):
    assert main(["explain", "FIN_WAIT_1", "-"]) == 2
    assert "quote the arrow" in capsys.readouterr().err


@pytest.mark.parametrize("bad", [":0", ":70000", "port:99999"])
def test_explain_port_out_of_range_is_exit_2(bad, capsys):
    assert main(["explain", bad]) == 2
    assert "1 to 65535" in capsys.readouterr().err


def test_explain_bad_width_is_exit_2(capsys):
    assert main(["explain", "--width", "ten", "LISTEN"]) == 2
    assert "expected a width from 20" in capsys.readouterr().err


def test_explain_own_listener_names_this_process(capsys):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert main(["explain", "--json", f":{port}"]) == 0
        by_port = json.loads(capsys.readouterr().out)
        assert main(["explain", "--json", f"pid:{os.getpid()}"]) == 0
        by_pid = json.loads(capsys.readouterr().out)
    listener = next(one for one in by_port["sockets"] if one["state"] == "LISTEN")
    assert listener["processes"][0]["pid"] == os.getpid()
    assert port in {one["local"]["port"] for one in by_pid["sockets"]}


def test_explain_close_wait_on_loopback_tells_unread_from_forgotten(capsys):
    import socket

    def server_end(port):
        assert main(["explain", "--json", f":{port}"]) == 0
        return next(one for one in json.loads(capsys.readouterr().out)["sockets"] if one["state"] == "CLOSE_WAIT")

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        with accepted:
            client.close()
            assert "not read the end of file" in server_end(port)["why"]
            assert accepted.recv(1) == b""
            shown = server_end(port)
    assert "has not closed" in shown["why"]
    assert f"(pid {os.getpid()}): close it" in shown["acts_next"]
    assert "for ever" in shown["what_comes"]


def test_explain_column_of_sar_is_the_counter_behind_it(capsys):
    assert main(["explain", "--json", "estres/s"]) == 0
    assert json.loads(capsys.readouterr().out)["counter"] == "Tcp.EstabResets"


@pytest.mark.parametrize(
    ("line", "state", "why"),
    [
        ("tcp 1 0 192.168.190.81:48008 192.168.190.81:10050 CLOSE_WAIT 2510/client", "CLOSE_WAIT", "not read the end"),
        ("tcp 0 0 192.168.190.81:10050 192.168.190.81:48008 FIN_WAIT2 -", "FIN_WAIT_2", "closed it completely"),
        ("CLOSE-WAIT 0 0 127.0.0.1:9001 127.0.0.1:52958", "CLOSE_WAIT", "has not closed"),
        (
            "oracle 22725 ora 4u IPv4 18621469 TCP RHEL3:6800->RHEL3:2174 (CLOSE_WAIT)",
            "CLOSE_WAIT",
            "waits for close()",
        ),
        ("ESTAB 0 3782144 127.0.0.1:9001 127.0.0.1:52952 timer:(persist,500ms,1)", "ESTABLISHED", "does not read"),
    ],
)
def test_explain_pasted_line_of_any_tool(line, state, why, capsys):
    assert main(["explain", "--json", line]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["kind"], shown["source"], shown["matches"]) == ("socket", "dump", 1)
    assert shown["sockets"][0]["state"] == state
    assert why in shown["sockets"][0]["why"]


def test_explain_line_of_windows_says_whose_times_these_are(capsys):
    assert main(["explain", "  TCP    10.0.0.5:9000    10.0.0.9:40001    CLOSE_WAIT    1234"]) == 0
    assert "the times named here are Linux's" in " ".join(capsys.readouterr().out.split())


def test_explain_reads_lines_from_a_pipe(capsys, monkeypatch):
    text = b"tcp 1 0 10.0.0.5:9000 10.0.0.9:40001 CLOSE_WAIT 7/x\ntcp 0 0 10.0.0.5:9000 10.0.0.9:40002 TIME_WAIT -\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert main(["explain", "-"]) == 0
    assert "2 TCP sockets match: 1 TIME_WAIT, 1 CLOSE_WAIT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("[ 12.5] TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:22. Sending cookies.", "syn-flood"),
        ("kernel: nf_conntrack: nf_conntrack: table full, dropping packet", "conntrack-table-full"),
        ("TCP: out of memory -- consider tuning tcp_mem", "tcp-memory-pressure"),
        ("TCP: time wait bucket table overflow", "tw-bucket-overflow"),
        ("TCP: too many orphaned sockets", "too-many-orphans"),
    ],
)
def test_explain_line_of_the_kernels_log_is_the_finding_about_it(line, finding, capsys):
    assert main(["explain", "--json", line]) == 0
    assert json.loads(capsys.readouterr().out)["finding"] == finding


def test_stats_list_as_json_names_every_counter(capsys):
    assert main(["stats", "--list", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["schema"] == "tcpscope.stats.catalogue/1"
    assert {"name", "meaning"} == set(tree["counters"][0])
    assert "TcpExt.ListenOverflows" in {row["name"] for row in tree["counters"]}


def test_explain_finding_of_the_doctor_shows_where_it_appears(capsys):
    pytest.importorskip("tcpscope.doctor.catalogue", reason="the doctor is not built yet")
    assert main(["explain", "--json", "close-wait-leak"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["kind"], shown["finding"]) == ("finding", "close-wait-leak")
    assert "CLOSE_WAIT" in shown["see_also"]
    assert main(["explain", "close-wait-leek"]) == 2
    assert "'close-wait-leak'" in capsys.readouterr().err


def test_diagram_writes_svg_and_mermaid(tmp_path, capsys):
    assert main(["diagram", "-o", str(tmp_path / "tcp.svg")]) == 0
    assert ET.parse(tmp_path / "tcp.svg").getroot().tag.endswith("svg")
    assert main(["diagram", "-o", str(tmp_path / "tcp.mmd")]) == 0
    assert (tmp_path / "tcp.mmd").read_text().startswith("flowchart")
    assert main(["diagram", "--format", "mermaid"]) == 0
    assert capsys.readouterr().out == (tmp_path / "tcp.mmd").read_text()


def test_diagram_highlight_needs_a_state(capsys):
    assert main(["diagram", "--highlight", "NOWHERE"]) == 2
    assert "NOWHERE" in capsys.readouterr().err


WORDS = ["tcp", "ESTAB", "CLOSE_WAIT", "1", "0", "-", "10.0.0.1:80", ":::22", "0.0.0.0:*", "a->b:3", "7/x", "users:(("]
WORDS += ["TCP", "(LISTEN)", "4u", "IPv4", "ino:3", "timer:(on,3sec,2)", "TIME_WAIT", "\0", "\033[1m"]


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=8), min_size=4, max_size=12))
def test_explain_any_words_are_answered_or_refused_in_one_line(words):
    assume(" ".join(words).strip() != "-")  # that is standard input
    try:
        answer = find_answer(" ".join(words))
    except UsageError as error:
        assert str(error).isprintable()
        return
    for width in (40, 80):
        assert all(len(line) <= width for line in emit_answer(answer, width).splitlines())


def test_explain_name_of_a_process_cannot_speak_to_the_terminal(capsys):
    assert main(["explain", "tcp 1 0 10.0.0.1:80 10.0.0.2:81 CLOSE_WAIT 7/\033]0;x\007y"]) == 0
    assert not set(capsys.readouterr().out) & {"\033", "\007"}
