"""``tcpscope read``: a capture or a text dump, whichever the file is."""

from __future__ import annotations

import os
import sys

from tcpscope.cli.flags import new_parser

EPILOG = """examples:
  tcpscope read customer.txt                  netstat, ss or lsof output from any system, several in one file too
  ssh web01 netstat -anp | tcpscope read -    from a pipe
  tcpscope read monday.txt tuesday.txt        two looks: ages and growth
  tcpscope read dump.txt --filter 'state close-wait'
  tcpscope read trace.pcapng                  a capture: both ends' states of every connection

Text: netstat (Linux, BSD, macOS, Windows), ss, lsof -i and -F, /proc/net/tcp; prompts and prose in between are no
harm. What looks like a row and is not understood is counted and shown."""

#: The first bytes of pcap (both byte orders, micro- and nanoseconds), pcapng, gzip and zstd.
CAPTURE_MAGICS = (
    b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a",
    b"\xa1\xb2\xcd\x34", b"\x34\xcd\xb2\xa1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zX",
)  # fmt: skip


def run(argv: list[str]) -> int:
    """Run ``tcpscope read``."""
    paths = [word for word in argv if not word.startswith("-") or word == "-"]
    if any(is_capture(path) for path in paths):
        code: int = __import__("tcpscope.cli.read_capture", fromlist=["run"]).run(argv)
        return code
    return _run_dump(argv)


def is_capture(path: str) -> bool:
    """Whether a file begins as a capture does; looks ahead on standard input without consuming it.

    A folder, and a pattern the shell has left as it is, stand for captures.
    """
    if os.path.isdir(path) or ("*" in path and not os.path.exists(path)):
        return True
    try:
        if path == "-":
            ahead: bytes = getattr(sys.stdin.buffer, "peek", lambda size: b"")(4)
            return ahead.startswith(CAPTURE_MAGICS)
        with open(path, "rb") as file:
            return file.read(4).startswith(CAPTURE_MAGICS)
    except OSError:
        return False


def _run_dump(argv: list[str]) -> int:
    parser = new_parser("read", "Read a capture, or a dump of netstat, ss, lsof or /proc/net/tcp.", EPILOG)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file; - is standard input")
    parser.add_argument("--filter", metavar="FILTER", help="only these sockets (as tcpscope list FILTER)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("-o", "--columns", metavar="A,B,+C", help="these columns; with + added to the usual ones")
    parser.add_argument("--sort", metavar="[-]COLUMN", help="by this column; with - descending")
    parser.add_argument("-H", "--no-header", action="store_true", help="no header line")
    parser.add_argument("--names", choices=("netstat", "ss", "rfc", "bsd", "windows", "otel"), default="netstat")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    options = parser.parse_args(argv)

    from tcpscope.cli.filtering import read_selection
    from tcpscope.cli.read_dump import looks_object, print_looks, read_looks
    from tcpscope.model.errors import UsageError

    selection = read_selection([options.filter] if options.filter else [])
    looks = read_looks(options.files)
    if options.json:
        import json

        print(json.dumps(looks_object(looks, selection)))
        return 0
    try:
        print_looks(
            looks, selection, names=options.names, columns=options.columns, sort=options.sort, color=options.color,
            header=not options.no_header,
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(str(error)) from error
    return 0
