"""Lines to looks: one look is what one set of commands showed at one moment.

A file may hold the output of several tools, prompts and prose between them, in any order. Tables of different tools
that follow each other are one look (lsof adds the holders to netstat's queues); the same tool again is a new look.
A line that looks like a row and is not understood is counted and kept, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter

from tcpscope.dumps.addresses import AddressReader
from tcpscope.dumps.lsof import LsofReader
from tcpscope.dumps.netstat import PROTOCOLS, NetstatReader
from tcpscope.dumps.proc_net import ProcNetReader
from tcpscope.dumps.rows import INODE_UNKNOWN, is_count
from tcpscope.dumps.ss import CONTINUES, NETIDS, OTHER_NETIDS, STATES, SsReader
from tcpscope.dumps.statistics import StatisticsReader
from tcpscope.model.collector import collector_paused
from tcpscope.model.snapshot import Coverage, Host, Process, Snapshot
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

_SAMPLES = 5
_inode_of = itemgetter(Socket._fields.index("inode"))
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Look:
    """The rows of one look, by tool, as they come in."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Socket]] = {"netstat": [], "ss": [], "proc": [], "lsof": []}
        self.unread = 0
        self.samples: list[str] = []
        self.hides_owners = False
        self.statistics = StatisticsReader()
        self.taken_ns = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was read."""
        return not any(self.rows.values()) and not self.unread and not self.statistics.counters


class DumpReader:
    """Takes lines, sorts them to the readers of the tools, and cuts them into looks."""

    def __init__(self) -> None:
        self.addresses = AddressReader()
        self.netstat = NetstatReader(self.addresses)
        self.ss = SsReader(self.addresses)
        self.lsof = LsofReader(self.addresses)
        self.proc = ProcNetReader()
        self.looks = [Look()]
        self.broken: list[str] = []  #: the words of a row that may go on in the next line
        self.in_fields = False

    @property
    def rows_seen(self) -> bool:
        """Whether anything that looks like a row was seen yet."""
        return any(not look.is_empty for look in self.looks)

    def read_lines(self, lines: Iterable[str]) -> None:
        """Take lines, without their ends."""
        with collector_paused():
            self._read_lines(lines)

    def _read_lines(self, lines: Iterable[str]) -> None:
        follow = {
            "netstat": self.netstat.kinds.follow,
            "ss": self.ss.kinds.follow,
            "lsof": self.lsof.follow,
            "proc": self.proc.follow,
        }
        rest = iter(lines)
        for line in rest:
            tool = self._read_line(line)
            while tool:
                stopped = follow[tool](rest, self.looks[-1].rows[tool].append)
                tool = "" if stopped is None else self._read_line(stopped)

    def _read_line(self, line: str) -> str:
        """Take any line; return the tool when it is a whole row of one."""
        words = line.split()
        if not words:
            return ""
        if self.broken:
            joined, self.broken = [*self.broken, *words], []
            if self._read_row(joined):
                return ""
            self._count_unread(" ".join(joined[: len(joined) - len(words)]))
        tool = self._read_row(words)
        if tool:
            self._learn(tool, line, words)
        elif self._read_continuation(line, words) or self._read_field(line):
            pass
        elif _looks_like_row(words):
            self.broken = words
        else:
            self._read_heading(line, words)
        return tool

    def _learn(self, tool: str, line: str, words: list[str]) -> None:
        socket = self.looks[-1].rows[tool][-1]
        if tool == "proc":
            self.proc.learn(line, socket)
        elif tool == "netstat":
            self.netstat.learn(words, socket)
        elif tool == "ss":
            self.ss.learn(words, socket)
        else:
            self.lsof.learn(words, socket)

    def _read_row(self, words: list[str]) -> str:
        first = words[0]
        if first in PROTOCOLS and self._append("netstat", self.netstat.read(words)):
            return "netstat"
        if (first in STATES or first in NETIDS) and self._append("ss", self.ss.read(words)):
            return "ss"
        if first.endswith(":") and is_count(first[:-1]) and self._append("proc", self.proc.read(words)):
            return "proc"
        if len(words) > 6 and self._append("lsof", self.lsof.read(words)):
            return "lsof"
        return ""

    def _append(self, tool: str, socket: Socket | None) -> Socket | None:
        if socket is not None:
            self.looks[-1].rows[tool].append(socket)
        return socket

    def _read_continuation(self, line: str, words: list[str]) -> bool:
        """Details of ss on a line of their own: indented, or wrapped in front of a known word."""
        rows = self.looks[-1].rows["ss"]
        if not rows or not (line[:1] in " \t" or line.startswith(CONTINUES)) or not any(":" in word for word in words):
            return False
        rows[-1] = self.ss.continue_row(rows[-1], words)
        return True

    def _read_field(self, line: str) -> bool:
        """One field of ``lsof -F``: a letter, then the value; it begins with a process."""
        if not self.in_fields and not (line[:1] == "p" and is_count(line[1:])):
            return False
        if line[:1] not in "pcuLRfaltdinPTgsDoGNKMrzx":
            self.in_fields = False
            return False
        self.in_fields = True
        self._append("lsof", self.lsof.read_field(line))
        return True

    def _read_heading(self, line: str, words: list[str]) -> None:
        look = self.looks[-1]
        if look.statistics.read(words):
            return
        tool = _announced_tool(line, words)
        if tool:
            self._finish_fields()
            self.proc.set_heading(line)
            if look.rows[tool] and tool != "proc":
                self._begin_look()
        elif "not be shown, you would have to be root" in line or "non-owned process info" in line:
            look.hides_owners = True
            self.netstat.set_hides_owners(True)
        else:
            taken_ns = _read_date(words)
            if taken_ns and not any(look.rows.values()):
                look.taken_ns = taken_ns
            elif taken_ns:
                self._begin_look()
                self.looks[-1].taken_ns = taken_ns

    def _begin_look(self) -> None:
        self.looks.append(Look())
        self.netstat.set_hides_owners(False)

    def _finish_fields(self) -> None:
        if self.in_fields:
            self._append("lsof", self.lsof.complete())
            self.in_fields = False

    def _count_unread(self, text: str) -> None:
        look = self.looks[-1]
        look.unread += 1
        if len(look.samples) < _SAMPLES:
            look.samples.append(text[:200])

    def snapshots(self, taken_ns: int) -> list[Snapshot]:
        """Return what was read, one Snapshot a look; ``taken_ns`` is used for looks that tell no time."""
        with collector_paused():
            return self._snapshots(taken_ns)

    def _snapshots(self, taken_ns: int) -> list[Snapshot]:
        self._finish_fields()
        if self.broken:
            self._count_unread(" ".join(self.broken))
            self.broken = []
        looks = [look for look in self.looks if not look.is_empty and (any(look.rows.values()) or look.unread)]
        if not looks:
            looks = [look for look in self.looks if not look.is_empty][:1]
        return [self._snapshot(look, look.taken_ns or taken_ns) for look in looks]

    def _snapshot(self, look: Look, taken_ns: int) -> Snapshot:
        rows = {tool: sockets for tool, sockets in look.rows.items() if sockets}
        if "lsof" in rows:
            rows["lsof"] = _join_holders(rows["lsof"])
        sockets = _join_tools(rows)
        system = self.netstat.system if "netstat" in rows else "linux"
        return Snapshot(
            taken_ns=taken_ns,
            sockets=sockets,
            counters=dict(look.statistics.counters),
            processes=_processes(sockets),
            host=Host(system=system or "linux"),
            coverage=self._coverage(look, rows, sockets),
        )

    def _coverage(self, look: Look, rows: dict[str, list[Socket]], sockets: list[Socket]) -> Coverage:
        notes = []
        without = sum(not socket.owners for socket in sockets)
        if without == len(sockets):
            notes.append("No owners in this dump: ask for one taken as root with -p.")
        elif look.hides_owners:
            notes.append("The tool could not see all processes: ask for one taken as root.")
        if set(rows) == {"lsof"}:
            notes.append("lsof shows only sockets that a process holds: no TIME_WAIT, no orphans, no queues.")
        if set(rows) <= {"netstat", "lsof", "proc"} and State.LISTEN in {socket.state for socket in sockets}:
            notes.append("This dump does not tell the backlog of listeners: 'ss -tln' does.")
        if look.unread:
            notes.append(f"{look.unread} rows were not understood, such as: {look.samples[0]}")
        if self.addresses.unknown_services:
            some = ", ".join(sorted(self.addresses.unknown_services)[:3])
            notes.append(f"Service names that are not known here have port 0: {some}; ask for a dump taken with -n.")
        owners = "text" if without < len(sockets) else "none"
        return Coverage(
            "dump", " + ".join(sorted(rows)), owners, without, tuple(notes), look.unread, tuple(look.samples)
        )


def _looks_like_row(words: list[str]) -> bool:
    first = words[0]
    second = words[1] if len(words) > 1 else ""
    if first in PROTOCOLS:
        return is_count(second) or second in STATES or (first.isupper() and ":" in second)
    if first in STATES:
        return is_count(second) and len(words) > 2 and is_count(words[2])
    if first in OTHER_NETIDS:
        return False
    if first.endswith(":") and is_count(first[:-1]):
        return len(second) in (13, 37) and second[-5] == ":"
    return len(words) > 6 and ("IPv4" in words or "IPv6" in words) and ("TCP" in words or "UDP" in words)


def _announced_tool(line: str, words: list[str]) -> str:
    """Say whose table a header or a prompt announces; empty for any other line."""
    is_netstat = words[0] == "Proto" and ("Recv-Q" in words or "Local" in words)
    if is_netstat or line.startswith(("Active Internet", "Active Connections")):
        return "netstat"
    if words[0] in ("Netid", "State") and "Recv-Q" in words:
        return "ss"
    if words[0] == "COMMAND" and "PID" in words:
        return "lsof"
    if words[0] == "sl" and "local_address" in words:
        return "proc"
    for mark in ("$", "#", ">", "%"):
        _, found, command = line.partition(mark)
        if found:
            called = command.strip().lower().removeprefix("sudo ").rpartition("/")[2].partition(" ")[0]
            if "/proc/net/" in command:
                return "proc"
            for tool in ("netstat", "lsof", "ss"):
                if called == tool or called.startswith(f"{tool}-"):
                    return tool
    return ""


def _read_date(words: list[str]) -> int:
    """Read what ``date`` prints, also with ``-Is`` (``2026-11-21T01:57:54+00:00``); 0: no date.

    ``Sat Nov 21 01:57:54 UTC 2026``, ``Sat Nov 21 01:57:54 AM UTC 2026``, ``Sat 21 Nov 01:57:54 UTC 2026``: the zone is
    not looked at, for distances between looks do not depend on it.
    """
    if len(words) > 7 or len(words[0]) > 35:
        return 0
    try:
        if words[0][:1].isdigit() and "-" in words[0]:
            from datetime import UTC, datetime

            found = datetime.fromisoformat(" ".join(words[:2]))
            return max(0, int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 10**9))
        if len(words) < 5 or words[3].count(":") != 2 or not any(word in _MONTHS for word in words[1:3]):
            return 0
        from calendar import timegm

        day, month = sorted(words[1:3], key=_MONTHS.__contains__)
        hour, minute, second = map(int, words[3].split(":"))
        hour = hour % 12 + 12 * (words[4] == "PM") if words[4] in ("AM", "PM") else hour
        found_s = timegm((int(words[-1]), _MONTHS.index(month) + 1, int(day), hour, minute, second, 0, 0, 0))
        return max(0, found_s * 10**9)
    except (ValueError, OverflowError):
        return 0


def _join_holders(sockets: list[Socket]) -> list[Socket]:
    """Make one socket of rows with one inode: lsof prints a row for every process that holds it."""
    inodes = set(map(_inode_of, sockets))
    if len(inodes) == len(sockets) and min(inodes) > 0:
        return sockets
    joined: dict[object, Socket] = {}
    for index, socket in enumerate(sockets):
        key: object = socket.inode if socket.inode > 0 else index
        known = joined.get(key)
        if known is None:
            joined[key] = socket
        elif socket.owners[0] not in known.owners:
            joined[key] = known._replace(owners=known.owners + socket.owners)
    return list(joined.values())


def _join_tools(rows: dict[str, list[Socket]]) -> list[Socket]:
    """Join the tables of several tools: the longest one leads, the others add what it does not tell."""
    if len(rows) <= 1:
        return list(*rows.values()) if rows else []
    tables = sorted(rows.values(), key=len, reverse=True)
    joined = list(tables[0])
    places: dict[object, list[int]] = {}
    for place, socket in enumerate(joined):
        places.setdefault(socket.flow, []).append(place)
    for table in tables[1:]:
        free = {flow: list(reversed(found)) for flow, found in places.items()}
        for socket in table:
            found = free.get(socket.flow)
            if not found:
                joined.append(socket)
                continue
            place = found.pop()
            joined[place] = _enrich(joined[place], socket)
    return joined


def _enrich(socket: Socket, other: Socket) -> Socket:
    changes: dict[str, object] = {}
    if len(other.owners) > len(socket.owners):
        changes["owners"] = other.owners
    if socket.inode == INODE_UNKNOWN and other.inode != INODE_UNKNOWN:
        changes["inode"] = other.inode
    for field in ("uid", "timer", "tcp_info", "memory", "backlog"):
        if getattr(socket, field) is None and getattr(other, field) is not None:
            changes[field] = getattr(other, field)
    if not socket.recv_q and not socket.send_q and (other.recv_q or other.send_q):
        changes["recv_q"], changes["send_q"] = other.recv_q, other.send_q
    return socket._replace(**changes) if changes else socket  # type: ignore[arg-type]  # names are fields


def _processes(sockets: list[Socket]) -> dict[int, Process]:
    names = {pid: name for socket in sockets for pid, name, _ in socket.owners}
    return {pid: Process(pid, name) for pid, name in names.items()}
