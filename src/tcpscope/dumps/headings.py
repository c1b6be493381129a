"""Headings, prompts and dates: what says whose table comes next, and when it was taken."""

from __future__ import annotations

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TOOLS = ("netstat", "lsof", "ss", "sockstat")


def table_of(line: str, words: list[str]) -> str:
    """Say whose table a line of headings begins; empty for any other line."""
    if "Proto" in words[:3] and ("Recv-Q" in words or "Local" in words or "Rexmit" in words):
        return "netstat"
    if "Active Internet" in line or "Active Connections" in line:
        return "netstat"
    if "Recv-Q" in words and ("Address:Port" in line or words[0] in ("Netid", "State")):
        return "ss"
    if "COMMAND" in words and "PID" in words and "FD" in words:
        return "sockstat" if "PROTO" in words else "lsof"
    if "local_address" in words and "sl" in words[:3]:
        return "proc"
    return ""


def command_of(line: str) -> tuple[str, list[str]]:
    """Return the tool that a prompt calls (``[root@web01 ~]# date; sudo netstat -an``), and the words of its call."""
    for mark in ("$", "#", ">", "%"):
        _, found, command = line.partition(mark)
        if not found:
            continue
        if "/proc/net/" in command or "/net/tcp" in command:
            return "proc", []
        words = command.replace(";", " ").replace("|", " ").replace("&", " ").split()
        for place, word in enumerate(words[:8]):
            called = word.lower().rpartition("/")[2].removesuffix(".exe")
            if called in _TOOLS:
                return called, words[place:]
    return "", []


def read_date(words: list[str]) -> int:
    """Read what ``date`` and ``watch`` print, also with ``-Is`` (``2026-11-21T01:57:54+00:00``); 0: no date.

    ``Sat Nov 21 01:57:54 UTC 2026``, ``Sat 21 Nov 2026 01:57:54 AM UTC``, ``Every 2.0s: ss -tan  web01: Sat Nov ..``:
    the zone is not looked at, for distances between looks do not depend on it.
    """
    if words[0] == "Every":
        words = words[-5:]
    if len(words) > 7 or len(words[0]) > 35:
        return 0
    try:
        if words[0][:1].isdigit() and "-" in words[0]:
            from datetime import UTC, datetime

            found = datetime.fromisoformat(" ".join(words[:2]))
            return max(0, int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 10**9))
        return _read_words_of_date(words) if len(words) > 4 else 0
    except (ValueError, OverflowError):
        return 0


def _read_words_of_date(words: list[str]) -> int:
    """Read month, day, year and time in any order; raise ``ValueError`` when they make no date."""
    month = next((_MONTHS.index(word) + 1 for word in words if word in _MONTHS), 0)
    time = next((word for word in words if word.count(":") == 2), "")
    numbers = [word for word in words if word.isdecimal()]
    if not month or len(numbers) != 2:
        return 0
    from calendar import timegm

    day, year = sorted(map(int, numbers))
    hour, minute, second = map(int, time.split(":"))
    if "AM" in words or "PM" in words:
        hour = hour % 12 + 12 * ("PM" in words)
    return max(0, timegm((year, month, day, hour, minute, second, 0, 0, 0)) * 10**9)
