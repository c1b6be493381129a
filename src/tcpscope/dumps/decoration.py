"""What people and programs put around a row: quotes, colours, line numbers, times of a log, the address of a PCB.

Nothing here reads a row: it finds where one may begin.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: A word that begins a row of netstat, ss or /proc/net/tcp and what follows it there, after anything but a name.
_BEGINNING = re.compile(
    r"(?<![\w.*\[\]%-])(?:"
    r"(?:tcp|TCP|udp|UDP)(?:4|6|46|v6|lite6?)?(?=\s+(?:\d+\s+\d+\s|[A-Z][A-Z0-9-]+\s+\d|\S+:\S+\s))"
    r"|(?:ESTAB|LISTEN|UNCONN|(?:SYN|FIN|TIME|CLOSE|LAST)-[A-Z]+(?:-[12])?|CLOSING|CLOSED)(?=\s+\d+\s+\d+\s)"
    r"|\d+:(?=\s+[0-9A-F]{8}))"
)
#: One of these is in every line that has such a beginning, and looking for them takes a tenth of the time.
_SIGNS = ("tcp", "TCP", "udp", "UDP", "ESTAB", "LISTEN", "UNCONN", "SYN-", "FIN-", "-WAIT", "LAST-", "CLOS", "00000000")
_QUOTES = "\"'`"
#: Rows begin early in a line, and a line holds few words that look like a beginning.
_FARTHEST, _MOST = 160, 4


def plain(line: str) -> str:
    """Return a line without colours, and without what marks it as quoted or as a row of a Markdown table."""
    if "\x1b" in line:
        line = _COLOUR.sub("", line)
    quoted = line.lstrip()
    if quoted[:1] not in ("|", ">"):
        return line
    return line.replace("|", " ") if quoted[0] == "|" else quoted.lstrip(">| ")


def iter_rows(line: str) -> Iterator[list[str]]:
    """Yield the words from each place on where a row may begin, the line's own first word left out.

    ``12:tcp 0 0 ..``, ``fffff80003a4 tcp4 0 0 ..``, ``Nov 21 01:57:54 web01 cron: ESTAB 0 0 ..``, ``"tcp 0 0 ..",``.
    """
    if not any(sign in line for sign in _SIGNS):
        return
    for count, found in enumerate(_BEGINNING.finditer(line, 0, _FARTHEST)):
        at = found.start()
        rest = line[at:]
        if at and line[at - 1] in _QUOTES:
            rest = rest.partition(line[at - 1])[0].removesuffix("\\n")
        if at:
            yield rest.split()
        if count == _MOST:
            return
