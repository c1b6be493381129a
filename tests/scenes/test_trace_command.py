"""``tcpscope trace`` from outside: lines, JSON, filter, counts, ladder, its ends."""

import ctypes
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.patience import in_its_own_namespace, wait_until, wait_until_settled

from tcpscope.kernel.bpf import syscall
from tcpscope.kernel.namespace import NetworkNamespace
from tcpscope.kernel.rtnetlink import RouteSocket
from tcpscope.model.state import State

pytestmark = pytest.mark.root
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def netns():
    space = NetworkNamespace.create()
    with space.entered(), RouteSocket() as route:
        route.set_up("lo")
    yield space
    space.close()


class Trace:
    """The command, running in ``space``; ``ready`` once the tier was named."""

    def __init__(self, space, *arguments):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        with space.entered():
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tcpscope", "trace", *arguments],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
            )  # fmt: skip
        says = self.process.stderr if {"--json", "-H"} & {*arguments} else self.process.stdout
        self.first = says.readline()

    def end(self):
        out, err = self.process.communicate(timeout=300)
        return self.process.returncode, out, err


def connect(space, number=1):
    with space.entered():
        listener = socket.create_server(("127.0.0.1", 0))
        for _ in range(number):
            client = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
            client.close()
            server.recv(1)
            server.close()
        listener.close()
        wait_until_settled()


@in_its_own_namespace
def test_json_lines_are_moves_alone_and_the_tier_is_named_beside_them(netns):
    trace = Trace(netns, "--json", "--count", "11")
    assert trace.first.startswith("# tier A: ") and f"[{netns.inode}]" in trace.first
    connect(netns, 2)  # Why not 1, which makes 12 moves: one that no tracepoint tells would be waited for forever
    code, out, err = trace.end()
    assert (code, err) == (0, "")
    moves = [json.loads(line) for line in out.splitlines()]
    assert all("t_ns" in move for move in moves)
    assert len(moves) == 11
    assert [(move["before"], move["after"]) for move in moves][:2] == [("CLOSED", "LISTEN"), ("CLOSED", "SYN_SENT")]
    assert {move["legal"] for move in moves} == {True}
    assert abs(moves[0]["t_ns"] - time.time_ns()) < 60e9


@in_its_own_namespace
def test_text_and_json_and_summary_tell_the_same_of_a_thousand_connections(netns):
    number = 1000
    netns.write_sysctl("net.ipv4.tcp_tw_reuse", 0)
    traces = [Trace(netns, *arguments) for arguments in (("-H",), ("--json",), ("--summary", "--json"))]
    connect(netns, number)
    for trace in traces:
        trace.process.send_signal(signal.SIGINT)
    (code, text, _), (_, lines, _), (_, summary, _) = (trace.end() for trace in traces)
    assert code == 0
    moves = [json.loads(line) for line in lines.splitlines()]
    assert all("t_ns" in move for move in moves), moves[-1]
    by_json = Counter(map(move_of_object, moves))
    assert Counter(map(move_of_line, text.splitlines())) == by_json
    counts = Counter((before, after) for before, after, *_ in by_json.elements())
    assert {(one["before"], one["after"]): one["count"] for one in json.loads(summary)["counts"]} == counts
    assert counts.pop(("CLOSED", "LISTEN")) == counts.pop(("LISTEN", "CLOSED")) == 1
    assert len(counts) == 10, "SYN_RECEIVED and TIME_WAIT among them"
    assert set(counts.values()) == {number}


def move_of_object(move):
    ends = ["{address}:{port}".format(**move[end]).replace(":0", ":*") for end in ("local", "remote")]
    return move["before"], move["after"], *ends, (move["event"] or "").lower().replace("_", " "), move["process"]["pid"]


def move_of_line(line):
    _, before, after, _, local, remote, rest = line.split(None, 6)
    event, pid = re.fullmatch(r"(.*?) +\S+\((\d+)\)", rest).groups()
    return State.parse(before).name, State.parse(after).name, local, remote, event, int(pid)


def test_other_namespace_is_not_seen(netns):
    other = NetworkNamespace.create()
    with other.entered(), RouteSocket() as route:
        route.set_up("lo")
    traces = [Trace(space, "--json") for space in (netns, other)]
    connect(other, 5)
    for trace in traces:
        trace.process.send_signal(signal.SIGINT)
    here, there = (trace.end()[1] for trace in traces)
    other.close()
    assert here == ""
    assert len(there.splitlines()) > 5 * 3, "the calls alone are three moves of each connection"


@in_its_own_namespace
def test_filter_takes_moves_into_and_out_of_a_state(netns):
    trace = Trace(netns, "--json", "--count", "4", "state", "close-wait")
    connect(netns, 10)
    moves = [json.loads(line) for line in trace.end()[1].splitlines()]
    assert len(moves) == 4
    assert {(move["before"], move["after"]) for move in moves} == {
        ("ESTABLISHED", "CLOSE_WAIT"),
        ("CLOSE_WAIT", "LAST_ACK"),
    }


@pytest.mark.parametrize(("signum", "expected"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
@in_its_own_namespace
def test_summary_counts_exactly_until_interrupted(netns, signum, expected):
    trace = Trace(netns, "--summary")
    assert trace.first.startswith("# tier A: ")
    connect(netns, 100)
    trace.process.send_signal(signum)
    code, out, err = trace.end()
    assert code == expected, err
    counts = {tuple(line.split()[:2]): int(line.split()[2]) for line in out.splitlines()[1:]}
    assert counts.pop(("CLOSE", "LISTEN")) == counts.pop(("LISTEN", "CLOSE")) == 1
    assert len(counts) == 10
    assert set(counts.values()) == {100}
    assert ", 0 lost" in err


@in_its_own_namespace
def test_ladder_shows_one_connection_with_both_ends(netns):
    trace = Trace(netns, "--ladder", "--duration", "60")  # it ends with the connection, if every move of it was told
    connect(netns)
    code, out, _ = trace.end()
    assert code == 0
    lines = out.splitlines()
    assert re.search(r"127\.0\.0\.1:\d+ +127\.0\.0\.1:\d+", lines[0])
    assert "connect()" in lines[1] and "SYN_SENT" in lines[1]
    assert re.search(r"FIN_WAIT1 +─+ FIN ─+▶ CLOSE_WAIT", out)
    assert "TIME_WAIT" in lines[-1]


def test_closed_pipe_and_ctrl_c_end_quietly(netns):
    trace = Trace(netns, "--color", "never")
    trace.process.stdout.close()
    connect(netns, 20)
    assert trace.process.wait(timeout=300) == 0
    assert "Traceback" not in trace.process.stderr.read()
    trace = Trace(netns, "--count", "1000")
    trace.process.send_signal(signal.SIGINT)
    code, _, err = trace.end()
    assert code == 130
    assert err.startswith("# 0 transitions")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nonsense"], "no predicate"), (["--count", "0"], "--count"), (["--summary", "--ladder"], "choose one")],
)
def test_bad_usage_is_said_with_code_2(netns, arguments, message):
    trace = Trace(netns, *arguments)
    code, _, err = trace.end()
    assert code == 2
    assert message in err


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_right_after_the_first_line_still_sums_up(netns, signum):
    for arguments in ((), ("--json",), ("--ladder",), ("--summary", "--json")):
        trace = Trace(netns, *arguments)
        trace.process.send_signal(signum)
        code, out, err = trace.end()
        assert code == (0 if signum == signal.SIGINT else 128 + signum), (arguments, err)
        assert "Traceback" not in err
        if arguments in ((), ("--ladder",)):
            assert "# 0 transitions" in err
        if "--summary" in arguments:
            told = json.loads(out)
            assert (told["schema"], told["tier"], told["transitions"]) == ("tcpscope.trace/1", "A", 0)


def test_programs_are_gone_when_the_process_is_killed(netns):
    trace = Trace(netns, "--json")
    numbers = program_numbers(trace.process.pid)
    assert len(numbers) > 3
    assert all(map(is_program, numbers))
    trace.process.kill()
    trace.process.wait()
    trace.process.stdout.close()
    trace.process.stderr.close()
    wait_until(lambda: not any(map(is_program, numbers)), "the end of the BPF programs")


def program_numbers(pid):
    texts = [path.read_text() for path in Path(f"/proc/{pid}/fdinfo").iterdir()]
    return {int(found) for text in texts for found in re.findall(r"^prog_id:\t(\d+)$", text, re.MULTILINE)}


def is_program(number):
    """BPF_PROG_GET_NEXT_ID: the first number after the one given."""
    attributes = ctypes.create_string_buffer(struct.pack("<III", number - 1, 0, 0), 12)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(syscall._syscall_number(), 11, attributes, 12) < 0:
        return False
    return struct.unpack("<III", attributes.raw)[1] == number
