"""``tcpscope tune``: the kernel settings that matter, as they are and as they might be, with the effect measured.

It prints. Only ``--write FILE`` writes, and only that file; nothing is ever applied.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tcpscope.cli.parsing import add_color_option, add_netns_option, new_parser
from tcpscope.cli.streams import is_coloured, write
from tcpscope.doctor.tuning import WRONG, Tuned, tuned
from tcpscope.model.errors import TcpscopeError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_EXAMPLES = """\
examples:
  tcpscope tune                                   now, default and better, with the reason
  tcpscope tune keepalive retries                 these topics alone
  tcpscope tune --changes                         only what differs from what is recommended
  tcpscope tune --write /etc/sysctl.d/60-tcp.conf write the differences as a sysctl.d file (not applied)
  tcpscope tune --wrong                           widespread advice that does not help, and why
  tcpscope tune --json

Nothing is applied: 'sysctl -p FILE' does that, when you have read it.
"""


def run(argv: list[str]) -> int:
    """Run ``tcpscope tune``."""
    options = _parser().parse_args(argv)
    rows = compare_settings(options.netns)
    topics = list(dict.fromkeys(row.setting.topic for row in rows))
    unknown = [topic for topic in options.topics if topic not in topics]
    if unknown:
        raise UsageError(f"no topic {unknown[0]!r}: there are {', '.join(topics)}")
    if options.topics:
        rows = [row for row in rows if row.setting.topic in options.topics]
    if options.changes:
        rows = [row for row in rows if row.needs_change]
    if options.write:
        _write_file(rows, options.write, options.force)
    elif options.json:
        _print_json(rows)
    elif options.wrong:
        _print_wrong()
    else:
        _print_text(rows, is_coloured(options.color))
    return 0


def compare_settings(netns: str | None = None) -> list[Tuned]:
    """Read the kernel settings that matter, beside what is recommended. ``tcpscope.tune`` is this.

    ``netns`` is a name, a path or ``pid:N`` (``None``: the caller's own). Source: ``/proc/sys``. Raises ``UsageError``
    or ``NotPermitted`` when the namespace cannot be entered.
    """
    from tcpscope.kernel.counters import read_sysctls
    from tcpscope.kernel.namespaces import inside

    with inside(netns):
        return tuned(read_sysctls())


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "tune", "Show the kernel settings that matter for connections: now, default, better, and why.", _EXAMPLES
    )
    add = parser.add_argument
    add("topics", metavar="TOPIC", nargs="*", help="keepalive, retries, backlog, ports, closing, path, tables")
    add("--changes", action="store_true", help="only settings whose present value is not the recommended one")
    add("--write", metavar="FILE", help="write these differences as a sysctl.d file ('-': standard output)")
    add("--force", action="store_true", help="let --write replace an existing file")
    add("--wrong", action="store_true", help="widespread wrong advice and what it really does")
    add_netns_option(parser)
    add_color_option(parser)
    add("--json", action="store_true", help="one JSON object (schema tcpscope.tune/1)")
    return parser


def _print_json(rows: Sequence[Tuned]) -> None:
    import json

    settings = [{**row.setting._asdict(), "current": row.current, "change": row.needs_change} for row in rows]
    missing = [row.setting.name for row in rows if row.current is None]
    tree = {
        "schema": "tcpscope.tune/1",
        "settings": settings,
        "wrong_advice": [advice._asdict() for advice in WRONG],
        "coverage": {"not_readable": missing},
    }
    write(json.dumps(tree, indent=1) + "\n")


def _print_wrong() -> None:
    write("".join(f"{advice.advice}\n    {advice.verdict}\n" for advice in WRONG))


def _print_text(rows: Sequence[Tuned], colour: bool) -> None:
    import shutil

    from tcpscope.views.settings import SettingLine, render_settings

    lines = [
        SettingLine(
            row.setting.topic,
            row.setting.name,
            "not here" if row.current is None else row.current,
            row.setting.default,
            row.setting.recommended,
            row.needs_change,
            row.setting.effect,
            row.setting.reason,
        )
        for row in rows
    ]
    if not lines:
        write("Nothing to change.\n")
        return
    write(render_settings(lines, shutil.get_terminal_size((100, 24)).columns, colour).lstrip("\n"))
    changed = sum(row.needs_change for row in rows)
    if changed:
        write(f"\n{changed} marked * differ. tcpscope tune --write FILE writes them; nothing is applied.\n")
    write("Widespread advice that does not help: tcpscope tune --wrong\n")


def _write_file(rows: Sequence[Tuned], path: str, is_forced: bool) -> None:
    changes = [row for row in rows if row.needs_change]
    text = _file_text(changes)
    if path == "-":
        write(text)
        return
    _replace_file(path, text, is_forced)
    print(f"wrote {len(changes)} settings to {path}; apply with: sysctl -p {path}", file=sys.stderr)


def _file_text(changes: Sequence[Tuned]) -> str:
    lines = ["# Written by tcpscope tune. Apply with: sysctl -p THIS_FILE", ""]
    for row in changes:
        setting = row.setting
        lines += [
            f"# was {row.current}, the kernel's default is {setting.default or 'by memory'}",
            f"# {setting.effect}",
            f"# {setting.reason}",
            f"{setting.name} = {setting.recommended}",
            "",
        ]
    return "\n".join(lines)


def _replace_file(path: str, text: str, is_forced: bool) -> None:
    """Write the file whole or not at all; never over an existing one unasked, never through a link."""
    import os

    if os.path.lexists(path) and not is_forced:
        raise UsageError(f"{path} exists: --force replaces it, or choose another name")
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        if isinstance(error, PermissionError):
            raise
        raise TcpscopeError(f"cannot write {path}: {error.strerror}") from error
