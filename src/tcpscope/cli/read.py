"""``tcpscope read``: a capture or a text dump, whichever the file is."""

from __future__ import annotations

from tcpscope.cli.flags import join_values
from tcpscope.cli.read_options import is_capture, new_read_parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tcpscope.model.snapshot import Snapshot
    from tcpscope.packets.analysis import Analysis

_OF_CAPTURES = ("ladder", "lines", "svg", "state_at", "export", "to", "csv", "cluster")


def run(argv: list[str]) -> int:
    """Run ``tcpscope read``."""
    paths = [word for word in argv if not word.startswith("-") or word == "-"]
    if any(is_capture(path) for path in paths):
        from tcpscope.cli.read_capture import run as run_capture

        return run_capture(argv)
    return _run_dump(argv)


def read_file(path: str) -> Snapshot | Analysis:
    """Read one file: the connections of a capture, or the last look of a dump. ``tcpscope.read`` is this."""
    if is_capture(path):
        from tcpscope.packets.analysis import analyse

        return analyse([path])
    from tcpscope.dumps.read import read_dump

    return read_dump(path)


def _run_dump(argv: list[str]) -> int:
    options = new_read_parser().parse_args(join_values(argv))
    for name in _OF_CAPTURES:
        if getattr(options, name) not in (None, False):
            from tcpscope.model.errors import UsageError

            raise UsageError(f"--{name.replace('_', '-')} is for captures; {options.files[0]} is none")

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
