"""Lines to looks: one look is what one set of commands showed at one moment.

A file may hold the output of several tools, prompts and prose between them, in any order. Tables of different tools
that follow each other are one look (lsof adds the holders to netstat's queues); the same tool again is a new look.
A line that looks like a row and is not understood is counted and kept, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import length_hint
from typing import Protocol

from tcpscope.dumps.addresses import AddressReader
from tcpscope.dumps.decoration import iter_rows, plain
from tcpscope.dumps.headings import command_of, read_date, table_of
from tcpscope.dumps.joining import find_processes, join_holders, join_tools
from tcpscope.dumps.lsof import LsofReader
from tcpscope.dumps.netstat import PROTOCOLS, NetstatReader
from tcpscope.dumps.powershell import PowershellReader
from tcpscope.dumps.proc_net import ProcNetReader
from tcpscope.dumps.rows import is_count
from tcpscope.dumps.sockstat import SockstatReader
from tcpscope.dumps.solaris import SolarisReader
from tcpscope.dumps.ss import CONTINUES, DETAILS, NETIDS, OTHER_NETIDS, STATES, SsReader, is_cut_in_users
from tcpscope.dumps.statistics import StatisticsReader
from tcpscope.model.collector import collector_paused
from tcpscope.model.snapshot import Coverage, Host, Snapshot
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

_SAMPLES = 5
#: A row whose last line has no end and stops at one of these may have had more: a port, an address, a list.
_UNFINISHED = tuple('0123456789.:,="')
_SYSTEMS = {"powershell": "windows", "sockstat": "bsd"}
TOOLS = ("netstat", "ss", "proc", "lsof", "sockstat", "powershell")


class Stateless(Protocol):
    """A reader of tables that may lack the states."""

    is_stateless: bool


class Look:
    """The rows of one look, by tool, as they come in."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Socket]] = {tool: [] for tool in TOOLS}
        self.headed: set[str] = set()  #: tools whose table was begun, rows or not
        self.unread = 0
        self.samples: list[str] = []
        self.hides_owners = False
        self.statistics = StatisticsReader()
        self.taken_ns = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was read, no row of headings either."""
        return not self.has_table and not self.statistics.counters

    @property
    def has_table(self) -> bool:
        """Whether a table was seen: a healthy host may have one without rows."""
        return any(self.rows.values()) or bool(self.unread or self.headed)


class DumpReader:
    """Takes lines, sorts them to the readers of the tools, and cuts them into looks."""

    def __init__(self) -> None:
        self.addresses = AddressReader()
        self.netstat = NetstatReader(self.addresses)
        self.ss = SsReader(self.addresses)
        self.lsof = LsofReader(self.addresses)
        self.proc = ProcNetReader()
        self.solaris = SolarisReader(self.addresses)
        self.powershell = PowershellReader()
        self.sockstat = SockstatReader(self.addresses)
        self._stateless: dict[str, Stateless] = {
            "netstat": self.netstat, "lsof": self.lsof, "sockstat": self.sockstat, "powershell": self.powershell,
        }  # fmt: skip
        self.looks = [Look()]
        self.broken: list[str] = []  #: the words of a row that may go on in the next line
        self.in_fields = False
        self.begun = ""  #: the tool whose headings were read and no row yet
        self.was_headed = False  #: whether that tool's table had headings before
        self.may_be_cut = False  #: the text ends in the middle of a line
        self._lines: Sequence[str] = ()  #: those that are being read
        self._rest: Iterator[str] = iter(())
        self._wrapped = -1, ""  #: the place of the line up to which a row was put together, and its text

    @property
    def rows_seen(self) -> bool:
        """Whether anything that looks like a row, or a table's headings, was seen yet."""
        return any(not look.is_empty for look in self.looks)

    def read_lines(self, lines: Sequence[str]) -> None:
        """Take lines, without their ends."""
        with collector_paused():
            self._read_lines(lines)

    def read_last(self, line: str) -> None:
        """Take a last line that has no end: it may have been longer."""
        count = self._count_rows()
        self.read_lines([line])
        if self._count_rows() > count:
            self.may_be_cut = line[-1:] in _UNFINISHED or line.count("(") != line.count(")") or self._lacks_owners()
        else:
            words = line.split()
            is_of_lsof = len(words) > 1 and is_count(words[1]) and bool(self.looks[-1].rows["lsof"])
            self.may_be_cut = self.in_fields or is_of_lsof

    def _lacks_owners(self) -> bool:
        """Whether the last row tells no holder and the one before it does."""
        return any(
            len(rows) > 1 and rows[-2].owners and not rows[-1].owners and rows[-1].state is not State.TIME_WAIT
            for rows in self.looks[-1].rows.values()
        )

    def _count_rows(self) -> int:
        return sum(map(len, self.looks[-1].rows.values()))

    def _read_lines(self, lines: Sequence[str]) -> None:
        follow = {
            "netstat": self.netstat.kinds.follow,
            "ss": self.ss.kinds.follow,
            "lsof": self.lsof.follow,
            "proc": self.proc.follow,
        }
        rest = iter(lines)
        self._lines, self._rest, self._wrapped = lines, rest, (-1, "")
        for line in rest:
            tool = self._read_line(line)
            while tool:
                stopped = follow[tool](rest, self.looks[-1].rows[tool].append)
                tool = "" if stopped is None else self._read_line(stopped)

    def _read_line(self, line: str) -> str:
        """Take any line; return the tool when it is a whole row of one, and rows like it can be read fast."""
        line = plain(line)
        words = line.split()
        if not words:
            return ""
        if self.broken:
            joined, self.broken = [*self.broken, *words], []
            if self._read_row(joined):
                return ""
            self._count_unread(" ".join(joined[: len(joined) - len(words)]))
        tool = self._read_row(words)
        if tool in ("netstat", "ss", "lsof", "proc"):
            self._learn(tool, line, words)
            return tool
        if not tool:
            self._read_other(line, words)
        return ""

    def _read_other(self, line: str, words: list[str]) -> None:
        """Take a line that is no row from its first word on."""
        if (
            self._read_wrapped(line, words)
            or self._read_continuation(line, words)
            or self._read_field(line)
            or self.netstat.windows.read_name(words)
        ):
            return
        if table_of(line, words):
            self._read_heading(line, words)
            return
        candidates = list(iter_rows(line))
        if candidates and any(word.rpartition(":")[2] in OTHER_NETIDS for word in words[:4]):
            return
        for candidate in candidates:
            if self._read_row(candidate):
                return
        self.broken = next(filter(self._looks_like_row, (words, *candidates)), [])
        if not self.broken:
            self._read_prose(line, words)

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
        return self._read_rare_row(words)

    def _looks_like_row(self, words: list[str]) -> bool:
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
        if len(words) > 6 and ("IPv4" in words or "IPv6" in words) and ("TCP" in words or "UDP" in words):
            return True
        return self.ss.is_row_without_state(words)

    def _read_rare_row(self, words: list[str]) -> str:
        """Rows that no word at their beginning gives away."""
        if self._append("ss", self.ss.read_stateless(words)):
            return "ss without states"
        if self._append("powershell", self.powershell.read(words)):
            return "powershell"
        if len(words) < 7:
            return ""
        if self._append("sockstat", self.sockstat.read(words)):
            return "sockstat"
        if self._append("netstat", self.solaris.read(words)):
            self.netstat.system = "solaris"
            return "solaris"
        return ""

    def _append(self, tool: str, socket: Socket | None) -> Socket | None:
        if socket is not None:
            if self.begun:
                self._settle(tool, socket)
            self.looks[-1].rows[tool].append(socket)
        return socket

    def _settle(self, tool: str, socket: Socket) -> None:
        """Decide at the first row below headings whether they began another look.

        Why: BSD prints headings for each protocol and family, Linux again for each time (``-c``, ``watch``); sort puts
        those of ss between its rows.
        """
        rows = self.looks[-1].rows[tool] if self.begun == tool else []
        self.begun = ""
        if tool == "ss" and not self.was_headed and _is_sorted(rows, socket):
            return
        if any(one.proto == socket.proto and one.local.is_ipv6 == socket.local.is_ipv6 for one in rows):
            self._begin_look()

    def _read_wrapped(self, line: str, words: list[str]) -> bool:
        """Take the rest of a row that a terminal has cut at its width: in the list of holders, or before it."""
        place = len(self._lines) - length_hint(self._rest) - 1
        if place < 1:
            return False
        before = self._wrapped[1] if self._wrapped[0] == place - 1 else plain(self._lines[place - 1])
        pid, slash, _ = words[0].partition("/")
        tool = "ss" if is_cut_in_users(before, line) else "netstat" if slash and is_count(pid) else ""
        rows = self.looks[-1].rows[tool] if tool else []
        whole = (before + line).split()
        if not rows or (tool == "netstat" and whole[0] not in PROTOCOLS):
            return False
        socket = self.ss.read(whole) if tool == "ss" else self.netstat.read(whole)
        if socket is None or socket.flow != rows[-1].flow:
            return False
        rows[-1], self._wrapped = socket, (place, before + line)
        return True

    def _read_continuation(self, line: str, words: list[str]) -> bool:
        """Details of ss on a line of their own: indented, or with a word that ss alone prints."""
        rows = self.looks[-1].rows["ss"]
        if not rows or not any(":" in word for word in words):
            return False
        is_plain = line[:1] in " \t" or line.startswith(CONTINUES)
        if not is_plain and (not any(word.startswith(DETAILS) for word in words) or next(iter_rows(line), None)):
            return False  # prose, or a row with details behind a log's time
        rows[-1] = self.ss.continue_row(rows[-1], words)
        return True

    def _read_field(self, line: str) -> bool:
        """One field of ``lsof -F``: a letter, then the value; it begins with a process."""
        line = line.strip()
        if not self.in_fields and not (line[:1] == "p" and is_count(line[1:])):
            if self.lsof.lacks_process(line):
                self._count_unread(f"{line} (its process is not told: the output of lsof -F begins with a line p)")
            return False
        if line[:1] not in "pcuLRfaltdinPTgsDoGNKMrzx":
            self._finish_fields()
            return False
        self.in_fields = True
        if self.lsof.lacks_protocol(line):
            self._count_unread(f"{line} (its protocol is not told: ask for -F pcfnPT)")
        self._append("lsof", self.lsof.read_field(line))
        return True

    def _read_heading(self, line: str, words: list[str]) -> None:
        tool = table_of(line, words)
        self._finish_fields()
        self.proc.set_heading(line)
        self.netstat.set_heading(words)
        self.ss.set_heading(words)
        self.was_headed = tool in self.looks[-1].headed
        self.looks[-1].headed.add(tool)
        self.begun = tool if tool != "proc" else ""

    def _read_prose(self, line: str, words: list[str]) -> None:
        look = self.looks[-1]
        if look.statistics.read(words):
            return
        tool, call = command_of(line)
        taken_ns = 0 if tool else read_date(words)
        if tool:
            self._finish_fields()
            self.proc.set_heading(line)
            self.ss.set_command(call if tool == "ss" else [])
            if tool != "proc" and (look.rows[tool] or tool in look.headed):
                self._begin_look()
        elif taken_ns:
            if look.has_table:
                self._begin_look()
            self.looks[-1].taken_ns = taken_ns
        elif "not be shown, you would have to be root" in line or "non-owned process info" in line:
            look.hides_owners = True
            self.netstat.set_hides_owners(True)
        elif "LocalAddress" in line or "Get-Net" in line:
            self.powershell.read_heading(words)

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
        self._append("powershell", self.powershell.complete())
        if self.broken:
            self._count_unread(" ".join(self.broken))
            self.broken = []
        looks = [look for look in self.looks if look.has_table]
        if not looks:
            looks = [look for look in self.looks if not look.is_empty][:1]
        return [self._snapshot(look, look.taken_ns or taken_ns) for look in looks]

    def _snapshot(self, look: Look, taken_ns: int) -> Snapshot:
        rows = {tool: sockets for tool, sockets in look.rows.items() if sockets}
        if "lsof" in rows:
            rows["lsof"] = join_holders(rows["lsof"])
        if "ss" in rows:
            rows["ss"] = self.ss.settled(rows["ss"])
        for tool in rows.keys() & {"netstat", "powershell"}:
            rows[tool] = self.netstat.windows.named(rows[tool])
        sockets = join_tools(rows)
        system = (
            self.netstat.system
            if "netstat" in rows
            else next((_SYSTEMS[tool] for tool in rows if tool in _SYSTEMS), "")
        )
        return Snapshot(
            taken_ns=taken_ns,
            sockets=sockets,
            counters=dict(look.statistics.counters),
            processes=find_processes(sockets),
            host=Host(system=system or "linux"),
            coverage=self._coverage(look, rows, sockets),
        )

    def _coverage(self, look: Look, rows: dict[str, list[Socket]], sockets: list[Socket]) -> Coverage:
        without = sum(not socket.owners for socket in sockets)
        return Coverage(
            "dump",
            " + ".join(sorted(rows or look.headed)),
            "text" if without < len(sockets) else "none",
            without,
            tuple(self._notes(look, rows, sockets, without)),
            look.unread,
            tuple(look.samples),
            "text" if look.taken_ns else "file",
        )

    def _notes(self, look: Look, rows: dict[str, list[Socket]], sockets: list[Socket], without: int) -> Iterable[str]:
        if look.headed and not sockets and not look.unread:
            yield f"The table of {' and '.join(sorted(look.headed))} is there and has no row: no socket was shown."
        elif self.netstat.windows.has_nameless and without == len(sockets):
            yield "Programs are named without their process numbers, so they are left out: ask for 'netstat -anob'."
        elif sockets and without == len(sockets):
            yield "No owners in this dump: ask for one taken as root with -p."
        elif look.hides_owners:
            yield "The tool could not see all processes: ask for one taken as root."
        if set(rows) == {"lsof"}:
            yield "lsof shows only sockets that a process holds: no TIME_WAIT, no orphans, no queues."
        if (
            rows
            and set(rows) <= {"netstat", "lsof", "proc", "sockstat"}
            and State.LISTEN in {one.state for one in sockets}
        ):
            yield "This dump does not tell the backlog of listeners: 'ss -tln' does."
        if any(rows.get(tool) and reader.is_stateless for tool, reader in self._stateless.items()):
            yield "A table here tells no states: connections stand as ESTABLISHED, sockets without a peer as LISTEN."
        if look.unread:
            rows_were = "1 row was" if look.unread == 1 else f"{look.unread} rows were"
            yield f"{rows_were} not understood, such as: {look.samples[0]}"
        if self.may_be_cut and look is self.looks[-1]:
            yield "The text ends in the middle of a line: the last row may be cut."
        if self.addresses.unknown_services:
            some = ", ".join(sorted(self.addresses.unknown_services)[:3])
            yield f"Service names that are not known here have port 0: {some}; ask for a dump taken with -n."


def _is_sorted(before: Iterable[Socket], after: Socket) -> bool:
    """Whether the heading ``State`` stands where sorting puts it, with letters of both cases apart or together."""
    states = {row.state.spell("ss") for row in before}
    return any(
        all(key(state) <= key("State") for state in states) and key(after.state.spell("ss")) > key("State")
        for key in (str, str.casefold)
    )
