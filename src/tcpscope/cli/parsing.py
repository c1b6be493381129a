"""What the commands' parsers have in common: complaints of one line, and options that mean the same everywhere."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import NoReturn


def new_parser(command: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Make an argparse parser whose complaints are one line (:class:`~tcpscope.model.errors.UsageError`)."""
    import argparse

    from tcpscope.model.errors import UsageError

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise UsageError(f"{command}: {message} (see tcpscope {command} --help)")

    return Parser(
        prog=f"tcpscope {command}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_output_options(parser: argparse.ArgumentParser, *, timers: bool = True) -> None:
    """Add what every command that prints a table of sockets or counts understands; ``-o`` alone means ``timers``."""
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--csv", action="store_true", help="comma-separated values")
    parser.add_argument(
        "-o",
        "--columns",
        nargs="?" if timers else None,
        const="+timer" if timers else None,
        metavar="A,B,+C",
        help="these columns; with + added to the usual ones" + ("; alone: +timer, as netstat -o" if timers else ""),
    )
    parser.add_argument("--sort", metavar="[-]COLUMN", help="by this column; with - descending")
    parser.add_argument(
        "--watch", nargs="?", type=float, const=2.0, metavar="SECONDS", help="again and again (default: every 2 s)"
    )
    add_names_option(parser)
    add_color_option(parser)
    parser.add_argument("-c", "--continuous", dest="watch", action="store_const", const=1.0, help="as --watch 1")
    add_namespace_options(parser)


def add_names_option(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a dialect."""
    from tcpscope.model.spelling import DIALECTS

    parser.add_argument(
        "--names", choices=tuple(DIALECTS), default="netstat", help="whose spelling of the states (default netstat)"
    )


def add_color_option(parser: argparse.ArgumentParser) -> None:
    """Add the choice of colour, for :func:`tcpscope.cli.streams.is_coloured`."""
    choices = ("auto", "always", "never")
    parser.add_argument("--color", choices=choices, default="auto", help="default auto: on a terminal")


def add_netns_option(parser: argparse.ArgumentParser) -> None:
    """Add the choice of another network namespace."""
    parser.add_argument("--netns", metavar="NAME", help="another network namespace: a name, a path or pid:N")


def add_namespace_options(parser: argparse.ArgumentParser) -> None:
    """Add the choice of network namespaces."""
    add_netns_option(parser)
    parser.add_argument("--all-namespaces", action="store_true", help="all named ones and those of processes")


def number_between(text: str, least: float, most: float, expected: str) -> float:
    """Read a number for argparse; what is none, or outside, is answered with what was ``expected``."""
    import argparse

    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {expected}")
    return value


def join_values(argv: list[str]) -> list[str]:
    """Join ``--sort -age`` and ``--watch 1`` to one word each, as argparse cannot tell such values from options."""
    joined: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--sort":
            value = next(words, None)
            joined.append(word if value is None else f"{word}={value}")
        elif word == "--watch":
            value = next(words, "")
            is_number = value.replace(".", "", 1).isdecimal()
            joined += [f"{word}={value}"] if is_number else [f"{word}=2", *([value] if value else [])]
        else:
            joined.append(word)
    return joined
