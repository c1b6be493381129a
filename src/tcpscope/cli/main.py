"""The entry: look at the first word, import that command alone, turn errors into one line and an exit code.

A command is a module ``tcpscope.cli.<name>`` with ``run(argv) -> int``. Nothing else is imported before it is needed:
the cost of ``tcpscope list`` is guarded by a test.
"""

from __future__ import annotations

import sys

from tcpscope.cli import streams

#: Command -> (module in this package, one line for ``--help``). The order is the order of the help.
COMMANDS: dict[str, tuple[str, str]] = {
    "overview": ("overview", "this host at a glance (also: tcpscope alone)"),
    "list": ("list", "sockets with state, queues and owner (also: tcpscope -tanp)"),
    "trace": ("trace", "every transition the kernel makes, as it happens; counts; one connection as a ladder"),
    "stats": ("stats", "rates of the kernel's TCP counters (as sar -n SOCK,TCP,ETCP) with what they mean"),
    "kill": ("kill", "close chosen sockets (SOCK_DESTROY): shows them, asks, then does it"),
    "read": ("read", "a netstat, ss or lsof dump of any system, or a capture"),
    "states": ("states", "how many sockets are in which state, per process, remote host, listener"),
    "doctor": ("doctor", "what is wrong with these connections, why, and what to do"),
    "tune": ("tune", "kernel settings that matter: now, default, better, and the effect measured"),
    "capture": ("capture", "packets as they pass, each end with its state"),
    "explain": ("explain", "a state, move, column, address, timer, setting, claim or socket, in prose"),
    "diagram": ("diagram", "the life cycle as SVG or Mermaid, drawn from the table"),
    "lab": ("lab", "make any state, transition or illness with real sockets, in private namespaces"),
    "simulate": ("simulate", "two endpoints over a simulated network: ladders and loss tables in virtual time"),
}


def main(argv: list[str]) -> int:
    """Run one command line; return its exit code (0 done, 1 failed, 2 usage, 4 not permitted, 130 interrupted)."""
    try:
        return _run(argv)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        streams.forget_stdout()
        return 0
    except Exception as error:
        from tcpscope.cli.complaints import report

        return report(error)


def entry() -> int:
    """Run the console script ``tcpscope``."""
    return main(sys.argv[1:])


def _run(argv: list[str]) -> int:
    """Why flush here: what cannot be written (full disk, closed pipe) is told by us, not by the interpreter's end."""
    try:
        code = _dispatch(argv)
    except SystemExit:  # argparse printed its help
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return code


def _dispatch(argv: list[str]) -> int:
    streams.replace_closed_streams()
    streams.buffer_stdout()
    streams.spell_whatever_the_encoding()
    name = argv[0] if argv else "overview"
    if name in ("-h", "--help", "help"):
        return _print_help_of(argv[1]) if len(argv) > 1 and argv[1][:1] != "-" else _print_help()
    if name in ("-V", "--version"):
        return _print_version()
    arguments = argv[1:]
    if name.startswith("-"):
        name, arguments = _command_for_flags(argv)
    if name not in COMMANDS:
        raise _unknown(argv)
    module = __import__(f"tcpscope.cli.{COMMANDS[name][0]}", fromlist=["run"])
    code: int = module.run(arguments)
    return code


def _command_for_flags(argv: list[str]) -> tuple[str, list[str]]:
    """Flags without a command: netstat's habit (``-anlp``) means ``list``; long options alone are the overview's."""
    has_cluster = any(word[:1] == "-" and word[1:2] not in ("", "-") for word in argv)
    is_list = has_cluster or argv[0].partition("=")[0] not in ("--json", "--netns", "--names", "--color")
    return ("list" if is_list else "overview"), argv


def _print_help() -> int:
    from tcpscope import __version__

    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items()]
    print(f"tcpscope {__version__}: the state of every TCP connection, why it is in it and what to do\n")
    print("usage: tcpscope [COMMAND] [OPTIONS]\n\n" + "\n".join(lines))
    print("\n  tcpscope COMMAND --help shows options and examples.")
    return 0


def _print_help_of(name: str) -> int:
    """``tcpscope help list`` is ``tcpscope list --help``."""
    if name not in COMMANDS:
        raise _unknown([name])
    return _dispatch([name, "--help"])


def _print_version() -> int:
    from tcpscope import __version__

    print(f"tcpscope {__version__}")
    return 0


def _unknown(argv: list[str]) -> Exception:
    import difflib

    from tcpscope.cli.flags import is_filter
    from tcpscope.model.errors import UsageError

    name = argv[0]
    near = difflib.get_close_matches(name, COMMANDS, 1)
    hint = f"did you mean {near[0]!r}?" if near else "see tcpscope --help"
    if is_filter(argv[:2]):
        hint = f"a filter goes behind a command: tcpscope list {' '.join(argv)}"
    return UsageError(f"unknown command {name!r}: {hint}")
