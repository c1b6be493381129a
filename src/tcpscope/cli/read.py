"""``tcpscope read``: captures and text dumps, whichever the files are; several at once, good and bad."""

from __future__ import annotations

import sys

from tcpscope.cli.complaints import complain
from tcpscope.cli.parsing import join_values
from tcpscope.cli.read_files import Files, is_capture, refused_object, sort_files
from tcpscope.cli.read_options import new_read_parser
from tcpscope.cli.spooled import Spooled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from tcpscope.cli.filtering import Selection
    from tcpscope.model.snapshot import Snapshot
    from tcpscope.packets.analysis import Analysis

_OF_CAPTURES = ("ladder", "lines", "svg", "state_at", "export", "to", "csv", "cluster")


def run(argv: list[str]) -> int:
    """Run ``tcpscope read``."""
    if "--prepare" in argv:
        return _prepare(argv)
    options = new_read_parser().parse_args(join_values(argv))
    selection = _read_selection(options)
    with Spooled(options.files) as words:
        files = sort_files(words)
        _refuse_contradictions(options, files, selection)
        code = _show(files, options, selection)
    for refused in files.refused:
        complain(refused.why)
    return code or files.code


def _prepare(argv: list[str]) -> int:
    """Compile the engine for large captures; say on a terminal how far it is."""
    from tcpscope.model.errors import UsageError
    from tcpscope.packets import compiled

    if len(argv) > 1:
        raise UsageError("--prepare compiles what large captures need and reads nothing: give it alone")
    was_ready, is_terminal = compiled.is_ready(), sys.stderr.isatty()

    def tell(done: int) -> None:
        sys.stderr.write(f"\rcompiling: {done} functions")
        sys.stderr.flush()

    try:
        compiled.prepare(tell if is_terminal else None)
    finally:
        if is_terminal and not was_ready:
            sys.stderr.write("\r\x1b[K")
    print(f"the engine for large captures is {'ready' if was_ready else 'compiled'}")
    if compiled.is_kept():
        return 0
    print("tcpscope: it cannot be kept here for the next run", file=sys.stderr)
    return 1


def read_file(path: str) -> Snapshot | Analysis:
    """Read one file: the connections of a capture, or the last look of a dump. ``tcpscope.read`` is this.

    ``-`` is standard input. Raises ``OSError`` when it cannot be opened, and ``TcpscopeError`` when it is neither, or a
    dump without a row of any known tool; damage inside a capture is in the analysis.
    """
    with Spooled([path]) as (name,):
        if is_capture(name):
            from tcpscope.packets.analysis import analyse

            return analyse([name])
        from tcpscope.dumps.read import read_dump

        return read_dump(name)


def _read_selection(options: Namespace) -> Selection | None:
    if not options.filter:
        return None
    from tcpscope.cli.filtering import read_selection

    return read_selection([options.filter])


def _refuse_contradictions(options: Namespace, files: Files, selection: Selection | None) -> None:
    """Raise ``UsageError`` when an option or the filter asks what one of the files cannot tell."""
    from tcpscope.model.errors import UsageError

    if files.dumps:
        for name in _OF_CAPTURES:
            if getattr(options, name) not in (None, False):
                raise UsageError(f"--{name.replace('_', '-')} is for captures; {files.dumps[0]} is none")
    if files.captures and selection is not None and selection.unseen_in_packets:
        asked = selection.unseen_in_packets
        raise UsageError(f"--filter: no packet tells {asked!r}; captures are filtered by addresses, ports and states")
    if options.svg and options.ladder is None:
        raise UsageError("--svg draws a ladder: say which with --ladder N")
    if options.svg and sys.stdout.isatty():
        raise UsageError("a terminal shows no SVG: send it to a file, ... --svg > ladder.svg")
    if options.ladder is not None and selection is not None:
        raise UsageError("--ladder N draws one connection: leave --filter out")
    if options.export in ("parquet", "arrow") and not options.to:
        raise UsageError(f"--export {options.export} writes files: say where with --to PATH")
    if options.limit is not None and options.limit < 0:
        raise UsageError(f"--limit {options.limit}: a number from 0, and 0 is all")


def _show(files: Files, options: Namespace, selection: Selection | None) -> int:
    """Show captures first, dumps then; with ``--json`` all in one object."""
    rest: dict[str, object] = {}
    if files.looks:
        from tcpscope.cli.read_dump import looks_object, ordered_looks, show_looks

        looks = ordered_looks(files.looks)
        if options.json:
            rest = looks_object(looks, selection)
    if files.captures:
        from tcpscope.cli.read_capture import show_captures

        code = show_captures(files, options, selection, rest)
    else:
        code = 0
        if options.json and rest:
            import json

            damage = [*map(refused_object, files.refused)]
            print(json.dumps({"schema": "tcpscope.read/1", "kind": "dump", **rest, "damage": damage}))
    if files.looks and not options.json:
        if files.captures:
            print()
        show_looks(looks, selection, options)
    return code
