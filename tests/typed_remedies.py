"""Whether the commands a finding tells to type can be typed: those of tcpscope are parsed by its own parsers."""

from __future__ import annotations

import re
import shlex

from tcpscope.filters.parse import parse_filter
from tcpscope.model.finding import Finding


def check_remedies(finding: Finding) -> None:
    """Fail when a command of the finding's remedies would be refused."""
    for remedy in finding.remedies:
        typed = re.split(r"\s{2,}", remedy.text)[0]
        if remedy.kind != "command":
            continue
        assert " PID" not in typed or not finding.sockets or not finding.sockets[0].owners, typed
        words = shlex.split(typed)
        if words[0] == "tcpscope":
            _check(words[1], words[2:])


def _check(verb: str, words: list[str]) -> None:
    if verb == "capture":
        from tcpscope.cli.capture import _parse

        _parse(words)
    elif verb == "doctor":
        from tcpscope.cli.doctor import _parser

        _parser().parse_args(words)
    else:
        assert verb in ("list", "kill", "trace", "states"), verb
        if verb in ("list", "states") and any(word.startswith("-") for word in words):
            from tcpscope.cli.flags import parse_options

            if verb == "list":
                words = parse_options(words).filter
            else:
                return
        parse_filter(words)
