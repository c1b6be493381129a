"""``tcpscope kill``: close chosen sockets with SOCK_DESTROY, after showing them and asking."""

from __future__ import annotations

import os
import sys

from tcpscope.cli.filtering import read_selection
from tcpscope.cli.list import is_coloured, warn, write
from tcpscope.model.errors import TcpscopeError, UsageError
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

REMARK = (
    "The peer of each gets a reset, the program an error from its next call (ECONNABORTED); data not yet sent or read "
    "is lost. Its descriptor stays open until the program closes it, and a leak goes on."
)
EPILOG = f"""examples:
  tcpscope kill --dry-run state close-wait        what would be closed
  tcpscope kill state close-wait and comm java    shows, asks, closes
  tcpscope kill --yes 'dport = :5432 and age > 1h'
  tcpscope kill dst 10.0.0.7 --json --yes | jq .closed

{REMARK}
Each socket is named by its cookie, so another that took over the same addresses meanwhile is not hit. Listeners are
left alone unless FILTER says 'state listening'; so is the ssh session this command runs in.
"""
_COLUMNS = ("proto", "state", "local", "remote", "age", "program")


def run(argv: list[str]) -> int:
    """Run ``tcpscope kill``."""
    arguments = _parse(argv)
    victims, spared = find_victims(arguments.filter, arguments.netns)
    if not arguments.json:
        _show(victims, spared, arguments)
    if arguments.dry_run or not victims:
        outcome: dict[str, list[Socket]] = {"closed": [], "gone": []}
    else:
        if not arguments.yes and not _is_agreed(len(victims)):
            print("nothing was closed", file=sys.stderr)
            return 1
        outcome = destroy(victims, arguments.netns)
    _report(arguments, victims, spared, outcome)
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    import argparse

    parser = argparse.ArgumentParser(
        prog="tcpscope kill",
        description="Close TCP sockets by FILTER with SOCK_DESTROY.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("filter", nargs="*", metavar="FILTER", help="which sockets, as for list (required)")
    add("--dry-run", action="store_true", help="show what would be closed, close nothing")
    add("-y", "--yes", action="store_true", help="do not ask")
    add("--json", action="store_true", help="one JSON object; needs --yes or --dry-run")
    add("--netns", metavar="NAME", help="another network namespace (name, path or pid:N)")
    add("--names", default="netstat", help="spelling of states (default netstat)")
    add("--color", choices=("auto", "always", "never"), default="auto", help="default auto: on a terminal")
    arguments = parser.parse_args(argv)
    if not arguments.filter:
        raise UsageError("kill needs a FILTER: which sockets? (tcpscope kill --help)")
    if not (arguments.yes or arguments.dry_run) and (arguments.json or not sys.stdin.isatty()):
        raise UsageError("nobody can be asked here: say --yes, or --dry-run to look first")
    return arguments


# which


def find_victims(words: list[str], netns: str | None) -> tuple[list[Socket], list[str]]:
    """Return the sockets FILTER selects, and sentences about those that are spared."""
    from tcpscope.live.sockets import read_sockets

    selection = read_selection(words)
    assert selection is not None
    states = 0xFFF if selection.states is None else selection.states
    found, _ = read_sockets(tcp=states, udp=0, netns=netns, select=selection.matches, bytecode=selection.bytecode)
    wants_listeners = selection.states is not None and bool(selection.states & 1 << State.LISTEN)
    victims, spared = [], []
    own = _own_session()
    for socket in found:
        if socket.state is State.CLOSED:
            continue
        if socket.is_listener and not wants_listeners:
            spared.append(f"listener {socket.local} is left alone: say 'state listening' to close it.")
        elif own == (socket.remote.unmapped, socket.remote.port, socket.local.unmapped, socket.local.port):
            spared.append(f"{socket.local} from {socket.remote} is left alone: it is this ssh session.")
        else:
            victims.append(socket)
    return victims, spared


def _own_session() -> tuple[str, int, str, int] | None:
    """The connection this command is typed through, as sshd tells it."""
    words = os.environ.get("SSH_CONNECTION", "").split()
    if len(words) != 4 or not (words[1].isdecimal() and words[3].isdecimal()):
        return None
    return words[0], int(words[1]), words[2], int(words[3])


# doing it


def destroy(victims: list[Socket], netns: str | None) -> dict[str, list[Socket]]:
    """Destroy them one by one; what is gone meanwhile is told apart. Stops at the first refusal."""
    from tcpscope.kernel.namespaces import inside
    from tcpscope.kernel.netlink import open_netlink
    from tcpscope.kernel.sock_destroy import destroy_socket

    outcome: dict[str, list[Socket]] = {"closed": [], "gone": []}
    with inside(netns):
        channel = open_netlink()
        try:
            for victim in victims:
                outcome[destroy_socket(channel, victim)].append(victim)
        except (TcpscopeError, OSError) as error:
            if not outcome["closed"]:
                raise
            raise TcpscopeError(f"{error} (after {len(outcome['closed'])} of {len(victims)} were closed)") from error
        finally:
            channel.close()
    return outcome


def _is_agreed(number: int) -> bool:
    sys.stdout.flush()
    print(f"{REMARK}\nClose {_sockets(number)}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


# telling


def _show(victims: list[Socket], spared: list[str], arguments: argparse.Namespace) -> None:
    from tcpscope.views.socket_table import Style, render_sockets

    if victims:
        write(render_sockets(victims, _COLUMNS, Style(arguments.names), colour=is_coloured(arguments.color)))
    for sentence in spared:
        warn(sentence)


def _report(
    arguments: argparse.Namespace, victims: list[Socket], spared: list[str], outcome: dict[str, list[Socket]]
) -> None:
    if arguments.json:
        import json

        from tcpscope.views.socket_table import socket_object

        found = {
            "schema": "tcpscope.kill/1",
            "dry_run": arguments.dry_run,
            "selected": [socket_object(socket) for socket in victims],
            "closed": [socket_object(socket) for socket in outcome["closed"]],
            "gone": [socket_object(socket) for socket in outcome["gone"]],
            "spared": spared,
            "remark": REMARK,
        }
        print(json.dumps(found, separators=(",", ":")))
        return
    sys.stdout.flush()
    if not victims:
        print("no socket matches", file=sys.stderr)
    elif arguments.dry_run:
        print(f"would close {_sockets(len(victims))} (dry run). {REMARK}", file=sys.stderr)
    else:
        gone = f"; {_sockets(len(outcome['gone']))} had ended meanwhile" if outcome["gone"] else ""
        print(f"closed {_sockets(len(outcome['closed']))}{gone}", file=sys.stderr)


def _sockets(number: int) -> str:
    return f"{number} socket{'' if number == 1 else 's'}"
