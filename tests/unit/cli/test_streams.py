"""Where the output goes may be closed, full, cut off or a terminal: never a traceback, and the right exit code."""

import fcntl
import io
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from tests.made_captures import Talk, pcap
from tests.patience import wait_until

from tcpscope.cli.streams import spell_whatever_the_encoding, write

ROOT = Path(__file__).resolve().parents[3]
TCPSCOPE = [sys.executable, "-I", "-S", str(ROOT / "tcpscope")]


def run(*argv, **options):
    return subprocess.run([*TCPSCOPE, *argv], stderr=subprocess.PIPE, text=True, timeout=300, **options)


needs_full_disk = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")


@needs_full_disk
def test_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        done = run("list", "-tan", stdout=full)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


@needs_full_disk
@pytest.mark.parametrize(
    ("argv", "code"), [(["bogus"], 2), (["list", "no predicate"], 2), (["read", "/nonexistent"], 1)]
)
def test_exit_code_tells_though_stderr_takes_nothing(argv, code):
    with open("/dev/full", "w") as full:
        assert subprocess.run([*TCPSCOPE, *argv], stderr=full, timeout=300).returncode == code
    reader, writer = os.pipe()
    os.close(reader)
    assert subprocess.run([*TCPSCOPE, *argv], stderr=writer, timeout=300).returncode == code
    os.close(writer)


@needs_full_disk
@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["list", "--help"]])
def test_help_to_a_full_disk_is_one_line(argv):
    with open("/dev/full", "w") as full:
        done = run(*argv, stdout=full)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", "vm - 1 ^ -> \\xe9"), ("latin-1", "vm · 1 ^ -> é"), ("utf-8", "vm · 1 ▲ → é")],
)
def test_signs_an_encoding_lacks_are_drawn_with_those_it_has(encoding, shown, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    spell_whatever_the_encoding()
    write("vm · 1 ▲ → é")
    stream.flush()
    assert stream.buffer.getvalue().decode(encoding) == shown


@pytest.mark.parametrize(
    "argv",
    [["explain", "claims"], ["explain", "closing", "--json"], ["lab", "list"], ["diagram"], ["simulate", "normal"]],
)
def test_an_encoding_without_signs_stops_no_command(argv):
    bare = [sys.executable, "-S", str(ROOT / "tcpscope")]  # no -I: it would not look at the environment
    done = subprocess.run(
        [*bare, *argv], capture_output=True, timeout=300, env=dict(os.environ, PYTHONIOENCODING="ascii")
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


def test_filter_that_is_no_utf8_is_a_usage_error():
    done = run("capture", b"\xff\xfe", stdout=subprocess.DEVNULL)
    if "libpcap" in done.stderr and "not installed" in done.stderr:
        pytest.skip("needs libpcap")
    assert done.returncode == 2, done.stderr
    assert "internal error" not in done.stderr


@pytest.mark.parametrize("blank", [(), ("",), (" ",), ("", "  ")])
def test_kill_with_a_blank_filter_closes_nothing(blank):
    done = run("kill", "--yes", "--netns", "/nonexistent", *blank, stdout=subprocess.DEVNULL)
    assert (done.returncode, "needs a FILTER" in done.stderr) == (2, True), done.stderr


def test_unknown_spelling_is_a_usage_error_even_when_nothing_matches():
    done = run("kill", "--dry-run", "--names", "klingon", "dport = :1", stdout=subprocess.DEVNULL)
    assert done.returncode == 2, done.stderr


@pytest.mark.parametrize("argv", [["list", "-tan"], ["list", "-tan", "--json"], ["states"], ["--json"]])
def test_closed_stdout_is_no_error(argv):
    done = subprocess.run(["sh", "-c", 'exec "$0" "$@" >&-', *TCPSCOPE, *argv], stderr=subprocess.PIPE, timeout=300)
    assert done.returncode == 0, done.stderr
    assert b"Error" not in done.stderr


@pytest.mark.parametrize("argv", [["read", "-"], ["doctor", "-"], ["explain", "-"], ["read", "--json", "-"]])
def test_closed_stdin_is_one_line(argv):
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" <&-', *TCPSCOPE, *argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count(b"\n") == 1 and b"internal error" not in done.stderr


@pytest.mark.parametrize("argv", [["list", "-tan"], ["list", "-tan", "--json"], ["states"]])
def test_reader_that_goes_away_is_quiet(argv):
    reader, writer = os.pipe()
    os.close(reader)
    done = run(*argv, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def in_terminal(*argv, **environment):
    """Run on a terminal; gives what it showed."""
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [*TCPSCOPE, *argv], stdout=follower, stderr=follower, stdin=follower, env={**os.environ, **environment}
    )
    os.close(follower)
    shown = b""
    try:
        while part := os.read(leader, 4096):
            shown += part
    except OSError:
        pass  # Linux: a terminal whose other side is closed gives EIO
    os.close(leader)
    return child.wait(), shown


@pytest.fixture
def listener():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def test_colour_on_a_terminal_only_and_not_against_the_wish(listener):
    plain = dict.fromkeys(("NO_COLOR",), "")
    assert b"\x1b[36mLISTEN" in in_terminal("list", "-tln", TERM="xterm", **plain)[1]
    assert b"\x1b" not in in_terminal("list", "-tln", TERM="xterm", NO_COLOR="1")[1]
    assert b"\x1b" not in in_terminal("list", "-tln", TERM="dumb", **plain)[1]
    assert b"\x1b" not in in_terminal("list", "-tln", "--color", "never", TERM="xterm", **plain)[1]
    assert "\x1b" not in run("list", "-tln", stdout=subprocess.PIPE).stdout
    assert "\x1b[36mLISTEN" in run("list", "-tln", "--color", "always", stdout=subprocess.PIPE).stdout


def test_diagram_puts_no_svg_on_a_terminal():
    code, shown = in_terminal("diagram")
    assert (code, shown.count(b"\n"), b"-o tcp.svg" in shown) == (2, 1, True), shown
    assert b"<svg" in in_terminal("diagram", "-o", "-")[1]
    assert b"flowchart" in in_terminal("diagram", "--format", "mermaid")[1]
    assert "<svg" in run("diagram", stdout=subprocess.PIPE).stdout


def test_ladder_puts_no_svg_on_a_terminal(tmp_path):
    (tmp_path / "one.pcap").write_bytes(pcap(Talk().shake().frames))
    asked = ("read", str(tmp_path / "one.pcap"), "--ladder", "1", "--svg")
    code, shown = in_terminal(*asked)
    assert (code, shown.count(b"\n"), b"> ladder.svg" in shown) == (2, 1, True), shown
    assert "<svg" in run(*asked, stdout=subprocess.PIPE).stdout


def test_watch_goes_on_until_it_is_interrupted(listener):
    child = subprocess.Popen([*TCPSCOPE, "list", "-tln", "--watch", "0.1"], stdout=subprocess.PIPE, text=True)
    blocks = 0
    deadline = time.monotonic() + 30
    while blocks < 3 and time.monotonic() < deadline:
        blocks += child.stdout.readline() == "\n"
    child.send_signal(signal.SIGINT)
    child.stdout.close()
    assert child.wait(timeout=300) == 0
    assert blocks == 3


@pytest.mark.parametrize("argv", [["-tan"], ["--sort", "-recv-q", "-tan"], ["--tcp"], ["list", "-t"]])
def test_flags_alone_mean_list(argv):
    assert run(*argv, stdout=subprocess.PIPE).stdout.startswith("Proto Recv-Q Send-Q Local Address")


@pytest.mark.parametrize(
    ("argv", "start"), [("help kill", "usage: tcpscope kill"), ("help", "tcpscope 0."), ("help -h", "tcpscope 0.")]
)
def test_help_of_a_command_is_its_help(argv, start):
    done = run(*argv.split(), stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout.startswith(start)) == (0, True)


@pytest.mark.parametrize(
    "argv",
    ["stats 0", "stats abc", "trace --count 0", "trace --duration -1", "doctor --interval -5", "kill --nope", "lab",
     "lab run --nope", "tune --nope", "diagram --format png", "explain --width 3", "read", "states --nope",
     "help lisst"],
)  # fmt: skip
def test_usage_error_is_one_line_that_speaks_of_the_user_s_words(argv):
    done = run(*argv.split(), stdout=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert " _" not in done.stderr


@pytest.mark.parametrize(
    ("words", "hint"), [([":443"], "tcpscope list :443"), (["state", "time-wait"], "tcpscope list state")]
)
def test_filter_without_a_command_is_told_where_it_goes(words, hint, capsys):
    from tcpscope.cli.main import main

    assert main(words) == 2
    assert hint in capsys.readouterr().err


def test_unbuffered_output_is_whole_although_a_signal_interrupts_its_writing(tmp_path):
    """PYTHONUNBUFFERED drops what write(2) leaves over: here the pipe is full when the signal comes."""
    program = """
import os, signal, sys
from tcpscope.cli import streams
streams.buffer_stdout()
signal.signal(signal.SIGUSR1, lambda *_: None)
print("ready", file=sys.stderr, flush=True)
sys.stdout.write("x" * 500_000)
sys.stdout.flush()
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stderr.readline() == b"ready\n"
    wait_until(lambda: waiting_bytes(process.stdout) == fcntl.fcntl(process.stdout, fcntl.F_GETPIPE_SZ), "a full pipe")
    process.send_signal(signal.SIGUSR1)
    assert len(process.communicate()[0]) == 500_000


def waiting_bytes(pipe):
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
