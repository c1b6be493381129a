"""``list`` against ss and netstat, in a namespace that holds every kind of socket there is."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.every_kind_of_socket import every_kind_of_socket, run_inside

ROOT = Path(__file__).resolve().parents[2]
TCPSCOPE = [sys.executable, "-I", "-S", str(ROOT / "tcpscope")]
ATTEMPTS = 20  # the two looks are not simultaneous: retransmissions and timers go on between them

pytestmark = pytest.mark.root

SS_STATES = {
    "LISTEN": "LISTEN",
    "ESTABLISHED": "ESTAB",
    "SYN_SENT": "SYN-SENT",
    "SYN_RECEIVED": "SYN-RECV",
    "FIN_WAIT_1": "FIN-WAIT-1",
    "FIN_WAIT_2": "FIN-WAIT-2",
    "TIME_WAIT": "TIME-WAIT",
    "CLOSE_WAIT": "CLOSE-WAIT",
    "LAST_ACK": "LAST-ACK",
    "CLOSING": "CLOSING",
    "CLOSED": "UNCONN",
}


@pytest.fixture(scope="module")
def holders():
    for program in ("ss", "nft", "nsenter"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    with ExitStack() as stack:
        yield stack, []


@pytest.fixture
def holder(holders):
    """A holder that is young: a TIME_WAIT lasts a minute, and a busy machine may need that for a few tests."""
    stack, made = holders
    if not made or time.monotonic() - made[-1][1] > 15:
        made.append((stack.enter_context(every_kind_of_socket()), time.monotonic()))
    return made[-1][0]


def ours(pid, *arguments):
    run = run_inside(pid, *TCPSCOPE, "list", *arguments)
    assert run.returncode == 0, run.stderr
    return run


def our_sockets(pid, *arguments):
    return json.loads(ours(pid, *arguments, "--json").stdout)["sockets"]


def ss_lines(pid, *arguments):
    run = run_inside(pid, "ss", "-H", "-O", *arguments)
    assert run.returncode == 0
    return run.stdout.splitlines()


def equal_soon(ours_of, theirs_of):
    """Compare two looks until they agree; the last difference is shown when they never do."""
    for _ in range(ATTEMPTS):
        mine, theirs = ours_of(), theirs_of()
        if mine == theirs:
            break
    assert mine == theirs, f"only here: {sorted(mine - theirs)}\nonly there: {sorted(theirs - mine)}"
    return mine


def ss_row(line):
    """State, queues, both ends and the holders of a line of ``ss -tanpOH``."""
    words = line.split()
    holders = re.findall(r'\("((?:[^"\\]|\\.)*)",pid=(\d+),fd=(\d+)\)', line)
    return (*words[:5], frozenset((name, int(pid), int(fd)) for name, pid, fd in holders))


def our_row(socket):
    """The same, spelled as ss does, from our JSON."""
    star = socket["v6only"] is False

    def end(endpoint):
        address, port = endpoint["address"], endpoint["port"] or "*"
        if address == "::" and star:
            return f"*:{port}"
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

    holders = frozenset((one["name"], one["pid"], one["fd"]) for one in socket["processes"])
    queues = str(socket["recv_q"]), str(socket["send_q"])
    return (SS_STATES[socket["state"]], *queues, end(socket["local"]), end(socket["remote"]), holders)


def test_all_eleven_states_but_closed_are_there_in_both_families(holder):
    sockets = our_sockets(holder, "-tan")
    states = {(socket["state"], ":" in socket["local"]["address"]) for socket in sockets}
    wanted = set(SS_STATES) - {"CLOSED", "SYN_SENT", "SYN_RECEIVED"}
    assert {state for state, is_v6 in states if is_v6} >= wanted
    assert {state for state, is_v6 in states if not is_v6} == set(SS_STATES) - {"CLOSED"}


def test_json_names_the_sockets_states_queues_and_holders_that_ss_names(holder):
    rows = equal_soon(
        lambda: Counter(map(our_row, our_sockets(holder, "-tanp"))),
        lambda: Counter(map(ss_row, ss_lines(holder, "-tanp"))),
    )
    assert sum(rows.values()) > 60
    assert max(len(row[5]) for row in rows) > 3  # forked holders, and one that holds twice


def test_udp_sockets_are_those_of_ss(holder):
    rows = equal_soon(
        lambda: Counter(row[:5] for row in map(our_row, our_sockets(holder, "-uan"))),
        lambda: Counter(row[:5] for row in map(ss_row, ss_lines(holder, "-uan"))),
    )
    assert sum(rows.values()) == 5


@pytest.mark.parametrize("flags", ["-tan", "-tln", "-tan4", "-tan6", "-tln6"])
def test_table_in_the_names_of_ss_is_that_of_ss(holder, flags):
    def table():
        lines = ours(holder, flags, "-H", "--names", "ss").stdout.splitlines()
        words = [line.split() for line in lines]
        return Counter((word[5], word[1], word[2], word[3], word[4]) for word in words)

    equal_soon(table, lambda: Counter(tuple(line.split()[:5]) for line in ss_lines(holder, flags)))


def test_bound_socket_is_listed_only_when_asked_for(holder):
    def ports(*flags):
        return [s["local"]["port"] for s in our_sockets(holder, *flags) if s["state"] == "CLOSED"]

    assert ports("-tan") == []
    assert ports("-tanB") == [7010]


def test_quick_table_and_table_from_words_are_equal(holder):
    columns = "proto,recv-q,send-q,local,remote,state,program"
    equal_soon(
        lambda: Counter(ours(holder, "-tanp").stdout.splitlines()),
        lambda: Counter(ours(holder, "-tanp", "-o", columns).stdout.splitlines()),
    )


def test_nobody_is_named(holder):
    lines = ours(holder, "-tanp").stdout.splitlines()
    seen = {(line.split()[5], line.split(None, 6)[6].strip()) for line in lines[1:]}
    said = {(state, text) for state, text in seen if "/" not in text}
    assert said == {
        ("ESTABLISHED", "(not accepted)"),
        ("CLOSE_WAIT", "(not accepted)"),
        ("SYN_RECV", "(handshake)"),
        ("FIN_WAIT1", "(orphan)"),
        ("FIN_WAIT2", "(orphan)"),
        ("LAST_ACK", "(orphan)"),
        ("TIME_WAIT", "(time-wait)"),
    }


def test_kinds_are_told_apart(holder):
    kinds = {(socket["state"], socket["kind"]) for socket in our_sockets(holder, "-tan")}
    assert ("SYN_RECEIVED", "request") in kinds
    assert {("FIN_WAIT_2", "full"), ("FIN_WAIT_2", "mini"), ("TIME_WAIT", "mini")} <= kinds
    assert ("ESTABLISHED", "mini") not in kinds


def test_ages_are_never_more_than_the_namespace_is_old(holder):
    for socket in our_sockets(holder, "-tan"):
        assert socket["age"]["known"] in ("bound", "unknown")
        assert socket["age"]["ms"] < 120_000


@pytest.mark.parametrize("flags", ["-tanp", "-tn", "-tln", "-uan", "-un", "-uln", "-an4", "-an6"])
def test_netstat_shows_the_same_rows(holder, flags):
    if shutil.which("netstat") is None:
        pytest.skip("netstat is not installed")

    def rows(text):
        found = Counter()
        for line in text.splitlines():
            words = line.split()
            if words and words[0] in ("tcp", "tcp6", "udp", "udp6"):
                state = words[5] if len(words) > 5 else ""  # of a UDP socket that is not connected
                send_q = "-" if state == "LISTEN" else words[2]  # netstat shows no backlog
                found[(words[0], words[1], send_q, words[3], words[4], state)] += 1
        return found

    equal_soon(
        lambda: rows(ours(holder, flags).stdout),
        lambda: rows(run_inside(holder, "netstat", flags).stdout),
    )


def test_holder_that_netstat_names_is_one_of_ours(holder):
    if shutil.which("netstat") is None:
        pytest.skip("netstat is not installed")
    mine = {tuple(line.split()[3:5]): line.split(None, 6)[6] for line in ours(holder, "-tanpH").stdout.splitlines()}
    checked = 0
    for line in run_inside(holder, "netstat", "-tanp").stdout.splitlines():
        words = line.split()
        if words and words[0].startswith("tcp") and "/" in words[6]:
            assert words[6].split("/")[0] in re.findall(r"(\d+)/", mine[tuple(words[3:5])])
            checked += 1
    assert checked > 20


#: Become nobody after everything is imported (the interpreter may lie where nobody can read), then list.
AS_NOBODY = """
import ctypes, os, socket, sys
sys.path.insert(0, {source!r})
import tcpscope.kernel.processes, tcpscope.live.listing, tcpscope.views.row_table
from tcpscope.cli import list as command
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: setuid hides a process from itself
held = socket.create_server(("127.0.0.9", 7999))
sys.exit(command.run(sys.argv[1:]))
"""


def test_without_privilege_own_sockets_are_shown_and_the_rest_without_owner(holder):
    script = AS_NOBODY.format(source=str(ROOT / "src"))
    run = run_inside(holder, sys.executable, "-c", script, "-tanp")
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()[1:]
    (own,) = [line for line in lines if "127.0.0.9:7999" in line]
    assert re.search(r"LISTEN +\d+/python", own)
    others = [line.split(None, 6)[6].strip() for line in lines if line != own]
    assert len(others) == len(ours(holder, "-tanpH").stdout.splitlines())
    assert "-" in others
    assert not any("/" in text for text in others)
    assert run.stderr.count("\n") == 1
    assert re.search(r"\d+ sockets have no visible owner: \d+ process", run.stderr)


def test_without_netlink_procfs_gives_the_same_sockets(holder):
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})\n"
        "import tcpscope.kernel.netlink as netlink, tcpscope.live.listing as listing\n"
        "def refuse(protocol=4): raise OSError(93, 'Protocol not supported')\n"
        "listing.open_netlink = refuse\n"
        "from tcpscope.cli.main import main\n"
        "sys.exit(main(['list', '-tanp']))\n"
    )
    run = run_inside(holder, sys.executable, "-I", "-S", "-c", script)
    assert run.returncode == 0, run.stderr
    assert "/proc/net (netlink sock_diag: Protocol not supported)" in run.stderr

    def rows(text):
        words = [line.split() for line in text.splitlines()[1:]]
        return Counter((w[0], w[1], "-" if w[5] == "LISTEN" else w[2], *w[3:6], w[6]) for w in words)

    equal_soon(
        lambda: rows(run_inside(holder, sys.executable, "-I", "-S", "-c", script).stdout),
        lambda: rows(ours(holder, "-tanp").stdout),
    )


def test_process_with_a_hostile_name_is_harmless(holder):
    script = (
        "import ctypes, socket, subprocess, sys\n"
        "ctypes.CDLL(None).prctl(15, b'\\x1b[31mred\\nrow\\xff', 0, 0, 0)\n"
        "s = socket.create_server(('127.0.0.9', 7998))\n"
        "run = subprocess.run(sys.argv[1:], capture_output=True)\n"
        "sys.stdout.buffer.write(run.stdout)\n"
    )
    run = run_inside(holder, sys.executable, "-c", script, *TCPSCOPE, "list", "-tlnp")
    (line,) = [line for line in run.stdout.splitlines() if "127.0.0.9:7998" in line]
    assert r"/\x1b[31mred\nrow\xff" in line
    assert "\x1b" not in run.stdout


def test_other_namespace_by_name_of_a_process(holder):
    run = subprocess.run(
        [*TCPSCOPE, "list", "-tan", "--json", "--netns", f"pid:{holder}"], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr

    def names(sockets):
        return {(one["local"]["port"], one["state"]) for one in sockets}

    equal_soon(lambda: names(json.loads(run.stdout)["sockets"]), lambda: names(our_sockets(holder, "-tan")))
