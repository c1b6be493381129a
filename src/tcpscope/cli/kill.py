"""``tcpscope kill``: close chosen sockets with SOCK_DESTROY, after showing them and asking."""

from __future__ import annotations

import sys
from textwrap import fill

from tcpscope.cli.filtering import read_selection
from tcpscope.cli.parsing import add_color_option, add_names_option, add_netns_option, new_parser
from tcpscope.cli.streams import is_coloured, warn, write
from tcpscope.kernel.ssh_session import find_ssh_session
from tcpscope.live.killing import REMARK, Choice, Outcome, choose_victims, close_sockets, tell_price
from tcpscope.model.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from tcpscope.model.socket import Socket

EPILOG = f"""examples:
  tcpscope kill --dry-run state close-wait        what would be closed
  tcpscope kill state close-wait and comm java    shows, asks, closes
  tcpscope kill --yes 'dport = :5432 and age > 1h'
  tcpscope kill dst 10.0.0.7 --json --yes | jq .closed

{fill(REMARK, 118)}

Each socket is named by its cookie, so another that took over the same addresses meanwhile is not hit. Listeners are
left alone unless FILTER says 'state listening'; so is the ssh session this command runs in.
"""
_COLUMNS = ("proto", "state", "local", "remote", "age", "program")


def run(argv: list[str]) -> int:
    """Run ``tcpscope kill``."""
    arguments = _parse(argv)
    choice = choose(arguments.filter, arguments.netns)
    if not arguments.json:
        _show(choice, arguments)
    outcome = Outcome()
    if choice.victims and not arguments.dry_run:
        if not arguments.yes and not _is_agreed(choice.victims):
            print("nothing was closed", file=sys.stderr)
            return 1
        outcome = close_sockets(choice.victims, arguments.netns)
    _report(arguments, choice, outcome)
    if outcome.refusal is not None:
        raise outcome.refusal
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = new_parser("kill", "Close TCP sockets by FILTER with SOCK_DESTROY.", EPILOG)
    add = parser.add_argument
    add("filter", nargs="*", metavar="FILTER", help="which sockets, as for list (required)")
    add("--dry-run", action="store_true", help="show what would be closed, close nothing")
    add("-y", "--yes", action="store_true", help="do not ask")
    add("--json", action="store_true", help="one JSON object; needs --yes or --dry-run")
    add_netns_option(parser)
    add_names_option(parser)
    add_color_option(parser)
    arguments = parser.parse_args(argv)
    if not " ".join(arguments.filter).strip():
        # Why also blanks: kill "$FILTER" with an unset variable must not mean every connection
        raise UsageError("kill needs a FILTER: which sockets? (tcpscope kill --help)")
    if not (arguments.yes or arguments.dry_run) and (arguments.json or not sys.stdin.isatty()):
        raise UsageError("nobody can be asked here: say --yes, or --dry-run to look first")
    return arguments


def choose(words: list[str], netns: str | None) -> Choice:
    """Return what FILTER selects; this ssh session is never among it."""
    selection = read_selection(words)
    assert selection is not None
    if selection.needs_namespaces and netns is None:
        raise UsageError("kill works in one namespace: choose it with --netns NAME, not in FILTER")
    return choose_victims(
        selection.matches,
        states=selection.states,
        bytecode=selection.bytecode,
        netns=netns,
        with_listeners=selection.names_listeners,
        own_session=find_ssh_session(),
    )


def _is_agreed(victims: Sequence[Socket]) -> bool:
    sys.stdout.flush()
    print(f"{tell_price(victims)}\nClose {_sockets(len(victims))}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


# telling


def _show(choice: Choice, arguments: argparse.Namespace) -> None:
    from tcpscope.views.socket_table import Style, render_sockets

    if choice.victims:
        write(render_sockets(choice.victims, _COLUMNS, Style(arguments.names), colour=is_coloured(arguments.color)))
    for sentence in (*choice.coverage.notes, *choice.spared):
        warn(sentence)


def _report(arguments: argparse.Namespace, choice: Choice, outcome: Outcome) -> None:
    if arguments.json:
        import json

        from tcpscope.views.socket_table import socket_object

        found = {
            "schema": "tcpscope.kill/1",
            "dry_run": arguments.dry_run,
            "selected": [socket_object(socket) for socket in choice.victims],
            "closed": [socket_object(socket) for socket in outcome.closed],
            "gone": [socket_object(socket) for socket in outcome.gone],
            "spared": list(choice.spared),
            "remark": tell_price(choice.victims),
            "coverage": choice.coverage._asdict(),
        }
        print(json.dumps(found, separators=(",", ":")))
        return
    sys.stdout.flush()
    if not choice.victims:
        print("no socket matches", file=sys.stderr)
    elif arguments.dry_run:
        print(f"would close {_sockets(len(choice.victims))} (dry run). {tell_price(choice.victims)}", file=sys.stderr)
    else:
        gone = f"; {_sockets(len(outcome.gone))} had ended meanwhile" if outcome.gone else ""
        price = f". {tell_price(outcome.closed)}" if arguments.yes and outcome.closed else ""  # else it was told before
        print(f"closed {_sockets(len(outcome.closed))}{gone}{price}", file=sys.stderr)


def _sockets(number: int) -> str:
    return f"{number} socket{'' if number == 1 else 's'}"
