"""``tcpscope explain``: a state, move, column, address, timer, setting, call, claim, finding or socket, in prose."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tcpscope.cli.parsing import add_color_option, new_parser, number_between

if TYPE_CHECKING:
    import argparse

    from tcpscope.explain.answer import Answer
    from tcpscope.explain.findings import Illness
    from tcpscope.model.socket import Socket

EXAMPLES = """examples:
  tcpscope explain                          what can be asked
  tcpscope explain FIN_WAIT_2               a state, in the spelling of any tool
  tcpscope explain 'FIN_WAIT_1 -> CLOSING'  a move: what leads there, and what Linux does
  tcpscope explain FIN_WAIT_2/CLOSE_WAIT    the states of both ends: who must act
  tcpscope explain Recv-Q LISTEN            a column, here in one state
  tcpscope explain :::22                    an address: who gets through
  tcpscope explain keepalive                a timer, nominal and measured
  tcpscope explain tcp_fin_timeout          a kernel setting
  tcpscope explain ECONNRESET               an error, or the message a program printed
  tcpscope explain ListenOverflows          a counter of the kernel, or a column of sar
  tcpscope explain 'TCP: too many orphaned sockets'                        a line of the kernel's log
  tcpscope explain claims                   what often-read articles say, and what is so
  tcpscope explain close-wait-leak          a finding of tcpscope doctor
  tcpscope explain :9000                    sockets of this host: why, who acts next, what comes
  tcpscope explain pid:1234                 the sockets of a process
  tcpscope explain 'tcp 1 0 10.0.0.5:9000 10.0.0.9:40001 CLOSE_WAIT -'     a line of netstat, ss or lsof
  netstat -anp | grep CLOSE_WAIT | tcpscope explain -                      the same, from a pipe

A kind in front decides where a word means several things: 'timer fin_wait_2', 'call close', 'state close'.
"""


def run(argv: list[str]) -> int:
    """Run ``tcpscope explain``."""
    # Why: argparse takes a bare arrow for an option.
    arguments = _parser().parse_args(["→" if word in ("->", "=>") else word for word in argv])
    _refuse_lost_arrow(arguments.what)
    answer = find_answer(" ".join(arguments.what))
    if arguments.json:
        import json

        from tcpscope.explain.answer import answer_as_json

        print(json.dumps(answer_as_json(answer), indent=2, ensure_ascii=False))
        return 0
    print_answer(answer, arguments.width, arguments.color)
    return 0


def _refuse_lost_arrow(words: list[str]) -> None:
    """``explain FIN_WAIT_1 -> CLOSING`` without quotes: the shell has taken ``> CLOSING`` for a file."""
    from tcpscope.explain.states import state_named
    from tcpscope.model.errors import UsageError

    if len(words) > 1 and words[-1] == "-" and state_named(" ".join(words[:-1])) is not None:
        raise UsageError("the shell took '>' for itself: quote the arrow, tcpscope explain 'FIN_WAIT_1 -> CLOSING'")


def _parser() -> argparse.ArgumentParser:
    parser = new_parser("explain", "Say what a thing of TCP is, why it is so, and what to do about it.", EXAMPLES)
    parser.add_argument("what", nargs="*", metavar="WHAT", help="what to explain; without it, a list of what can be")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--width", type=_width, metavar="COLUMNS", help="wrap to this width (default: the terminal's, 80 in a pipe)"
    )
    add_color_option(parser)
    return parser


def _width(text: str) -> int:
    return int(number_between(text, 20, 1e6, "a width from 20"))


def find_answer(text: str) -> Answer:
    """Find the explanation of ``text``: sockets of this host, a finding of the doctor, or a topic of the teacher.

    ``text`` is what the command takes: a word, a move, ``:9000``, ``pid:123``, a line of netstat, ss or lsof. Raises
    ``UsageError`` with the nearest topics.
    """
    from tcpscope.explain.topics import explain_topic

    wanted = text.strip()
    chosen = _socket_choice(wanted)
    if chosen:
        return _explain_live(wanted, *chosen)
    pasted = _explain_pasted(wanted)
    if pasted:
        return pasted
    if wanted.lower() == "findings":
        return _list_findings()
    return _explain_finding(wanted) or explain_topic(_counter_of_sar(wanted), _finding_ids())


def _explain_pasted(text: str) -> Answer | None:
    """Explain a line of netstat, ss or lsof that somebody pasted, or what comes in by a pipe (``-``)."""
    from tcpscope.dumps.read import parse_dumps, read_dumps
    from tcpscope.explain.answer import Section
    from tcpscope.explain.sockets import explain_sockets

    if text != "-" and (len(text.split()) < 4 or not any(char.isdigit() for char in text)):
        return None
    looks = read_dumps("-") if text == "-" else parse_dumps(text)
    if not looks:
        return None
    sockets = looks[-1].sockets
    unseen = [] if any(socket.timer for socket in sockets) else ["timers"]
    if looks[-1].coverage.listing == "lsof":
        unseen.append("queues")
    what = "of the text" if text == "-" else "of the line"
    answer = explain_sockets(sockets, what, "dump", unseen)
    system = looks[-1].host.system
    if system == "linux":
        return answer
    note = Section("Mind", (f"These are sockets of {system}; the times named here are Linux's.",))
    return answer._replace(sections=(*answer.sections, note))


def _counter_of_sar(text: str) -> str:
    """Translate a column of ``sar -n SOCK,TCP,ETCP`` into the counter behind it; leave anything else as it is."""
    from tcpscope.live.stats import ETCP, SOCK, TCP

    return (SOCK | TCP | ETCP).get(text.lower(), text)


def _explain_finding(text: str) -> Answer | None:
    from tcpscope.explain.findings import explain_finding, finding_in_kernel_line

    name = text.lower().removeprefix("finding ").strip().replace("_", "-").replace(" ", "-")
    illness = find_illness(finding_in_kernel_line(text) or name)
    return explain_finding(illness) if illness else None


def find_illness(name: str) -> Illness | None:
    """Gather what the doctor and the lab know about the finding ``name``; ``None`` when it is no finding."""
    from tcpscope.doctor.catalogue import CATALOGUE
    from tcpscope.doctor.hints import lines_to_write
    from tcpscope.doctor.thresholds import TABLE
    from tcpscope.explain.findings import Illness

    entry = CATALOGUE.get(name)
    if entry is None:
        return None
    thresholds = tuple(
        (one.name, f"{one.value:g} {one.unit}".removesuffix(" count"), one.reason)
        for one in TABLE
        if one.name.partition(".")[0] in entry.id
    )
    return Illness(
        entry.id,
        entry.title,
        entry.meaning,
        entry.needs,
        entry.verified,
        thresholds,
        lines_to_write(entry.id),
        _scenes_of(entry.id, "illness"),
        _scenes_of(entry.id, "trap"),
    )


def _scenes_of(finding: str, kind: str) -> tuple[tuple[str, str], ...]:
    from tcpscope.lab.scene import load_scenes

    scenes = load_scenes().values()
    return tuple((scene.name, scene.title) for scene in scenes if (scene.finding, scene.kind) == (finding, kind))


def _finding_ids() -> tuple[str, ...]:
    from tcpscope.doctor.catalogue import CATALOGUE

    return tuple(CATALOGUE)


def _list_findings() -> Answer:
    from tcpscope.doctor.catalogue import CATALOGUE
    from tcpscope.explain.findings import explain_findings

    return explain_findings(tuple((entry.id, entry.title) for entry in CATALOGUE.values()))


def _socket_choice(text: str) -> tuple[str, int] | None:
    """Read ``:9000`` and ``pid:123``; ``None`` for anything else."""
    from tcpscope.model.errors import UsageError

    kind, _, number = text.partition(":")
    if kind.lower() not in ("", "pid", "port") or not (number.isascii() and number.isdigit()):
        return None
    value = int(number[:20])
    if kind.lower() != "pid" and not 0 < value <= 65535:
        raise UsageError(f"{text!r}: a port is 1 to 65535")
    return ("pid" if kind.lower() == "pid" else "port"), value


def _explain_live(text: str, kind: str, number: int) -> Answer:
    from tcpscope.explain.sockets import explain_sockets
    from tcpscope.live.snapshot import take_snapshot

    snapshot = take_snapshot(detail=True)
    sockets = [socket for socket in snapshot.sockets if _matches(socket, kind, number)]
    sockets.sort(key=lambda socket: (not socket.is_listener, socket.state, socket.local, socket.remote))
    answer = explain_sockets(sockets, text, snapshot.coverage.source)
    if not snapshot.coverage.notes:
        return answer
    return answer._replace(facts={**answer.facts, "coverage": {"notes": list(snapshot.coverage.notes)}})


def _matches(socket: Socket, kind: str, number: int) -> bool:
    if kind == "pid":
        return any(owner.pid == number for owner in socket.owners)
    return number in (socket.local.port, socket.remote.port)


def print_answer(answer: Answer, width: int | None = None, color: str = "auto") -> None:
    """Print an answer to standard output in the width and colours of the terminal."""
    from tcpscope.views.prose import emit_answer

    sys.stdout.write(emit_answer(answer, width or terminal_width(), wants_color(color)))


def terminal_width() -> int:
    """Return the width of the terminal, 80 when standard output is none."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 80


def wants_color(choice: str) -> bool:
    """Say whether to use colour: only on a terminal, never with ``NO_COLOR`` or a dumb one, unless told."""
    import os

    if choice != "auto":
        return choice == "always"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
