"""``tcpscope diagram``: the life cycle drawn from the table, as SVG or Mermaid."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tcpscope.cli.parsing import new_parser
from tcpscope.model.errors import UsageError

if TYPE_CHECKING:
    import argparse

EXAMPLES = """examples:
  tcpscope diagram -o tcp.svg                 the picture, placed as in RFC 9293's figure 5
  tcpscope diagram --format mermaid           for Markdown pages that draw Mermaid
  tcpscope diagram --highlight FIN_WAIT_2 -o fw2.svg
"""


def run(argv: list[str]) -> int:
    """Run ``tcpscope diagram``."""
    arguments = _parser().parse_args(argv)
    by_name = "mermaid" if (arguments.output or "").endswith((".mmd", ".mermaid")) else "svg"
    format = arguments.format or by_name
    if arguments.output is None and format == "svg" and sys.stdout.isatty():
        raise UsageError("a terminal shows no SVG: write it with -o tcp.svg, pipe it, or say --format mermaid")
    text = draw_diagram(arguments.highlight or "", format)
    if arguments.output in (None, "-"):
        sys.stdout.write(text)
        return 0
    with open(arguments.output, "w", encoding="utf-8") as file:
        file.write(text)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "diagram",
        "Draw TCP's life cycle from the table: client's road solid, server's dashed, the rest thin.",
        EXAMPLES,
    )
    parser.add_argument("--format", choices=("svg", "mermaid"), help="default: by the file's name, svg otherwise")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write to FILE (default: standard output, unless a terminal)"
    )
    parser.add_argument("--highlight", metavar="STATE", help="mark one state")
    return parser


def draw_diagram(highlight: str = "", format: str = "svg") -> str:
    """Draw the life cycle as ``svg`` or ``mermaid``, one state of any spelling marked. ``tcpscope.diagram`` is this.

    Source: the table of the life cycle. Raises ``UsageError`` for what is no state.
    """
    from tcpscope.explain.states import state_named
    from tcpscope.views.diagram import emit_mermaid, emit_svg

    marked = None
    if highlight:
        marked = state_named(highlight)
        if marked is None:
            raise UsageError(f"{highlight!r} is no TCP state; 'tcpscope explain states' lists them")
    return emit_mermaid(marked) if format == "mermaid" else emit_svg(marked)
