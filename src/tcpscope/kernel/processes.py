"""Who holds which socket, from ``/proc/PID/fd``, and what a process is.

Rules of the file: a process is looked at through a descriptor of its ``/proc/PID`` folder. Such a descriptor stays
with that process: when it ends while being read the reads fail, and a new process with the same number is never
mistaken for it. A process that ended, or that we may not look at, is no error; it is counted or left out.

Why ``posix`` and not :mod:`os`: :func:`scan_owners` is on the path of ``tcpscope list -p``, and ``os`` brings five
modules along.
"""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from tcpscope.model.snapshot import Process

_FOLDER = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
_SOCKET_LINK = "socket:["


class Owners:
    """Holders by inode: ``holders[inode]`` is a list of ``(pid, fd)``, ``names[pid]`` the program's short name.

    ``refused`` counts the processes that we were not allowed to look at, ``with_sockets`` are those that hold any
    socket at all; ``source`` says how it was found out, ``reason`` why no better way was taken. ``records`` are those
    of the BPF iterator, for who joins them in bulk.
    """

    __slots__ = ("holders", "names", "reason", "records", "refused", "source", "with_sockets")

    def held_by_pid(self) -> dict[int, tuple[int, ...]]:
        """Return the inodes of all sockets of each process with a holder's name, as far as ``records`` tell."""
        if not self.records:
            return {}
        from struct import iter_unpack

        from tcpscope.kernel.bpf.socket_owners import OWNER_RECORD

        held: dict[int, list[int]] = {pid: [] for pid in self.names}
        for inode, pid, _, _ in iter_unpack(OWNER_RECORD, self.records):
            if pid in held:
                held[pid].append(inode)
        return {pid: tuple(inodes) for pid, inodes in held.items()}

    def __init__(self, source: str = "none", reason: str = "") -> None:
        self.holders: dict[int, list[tuple[int, int]]] = {}
        self.names: dict[int, str] = {}
        self.refused = 0
        self.with_sockets: list[int] = []
        self.source = source
        self.reason = reason
        self.records = b""


class TooMany(Exception):
    """The processes hold more descriptors than the caller wants to have read one by one."""


def scan_owners(wanted: Container[int], netns: int, *, sufficient: int = 0, budget: int = 0) -> Owners:
    """Scan the descriptors of the processes of namespace ``netns`` (its inode) for the inodes in ``wanted``.

    A socket may be held from outside its namespace (opened before ``setns``, or passed on). When fewer than
    ``sufficient`` inodes have a holder after the first round the other processes are scanned too. Raises
    :class:`TooMany` as soon as more than ``budget`` descriptors (0: any number) would have to be read.
    """
    owners = Owners("procfs")
    left = budget or _UNLIMITED
    elsewhere = []
    try:
        pids = posix.listdir("/proc")
    except OSError:
        pids = []
    if "self" not in pids:
        owners.source, owners.reason = "none", "No owners: /proc is not mounted or cannot be read."
        return owners
    for pid in filter(str.isdecimal, pids):
        read = _scan_process(pid, wanted, netns, owners, left)
        if read < 0:
            elsewhere.append(pid)
        else:
            left -= read
    if len(owners.holders) < sufficient:
        for pid in elsewhere:
            left -= _scan_process(pid, wanted, 0, owners, left)
    return owners


_UNLIMITED = 1 << 62


def _scan_process(pid: str, wanted: Container[int], netns: int, owners: Owners, budget: int) -> int:
    """Scan one process; gives how many descriptors it has, -1 when it lives elsewhere than in ``netns`` (0: any)."""
    try:
        folder = posix.open("/proc/" + pid, _FOLDER)
    except OSError:
        return 0
    try:
        if netns and posix.readlink("ns/net", dir_fd=folder) != f"net:[{netns}]":
            return -1
        return _collect_held(folder, wanted, owners, int(pid), budget)
    except PermissionError:
        owners.refused += 1
    except OSError:
        pass  # Why: it ended while we looked; what was found stays true
    finally:
        posix.close(folder)
    return 0


def _collect_held(folder: int, wanted: Container[int], owners: Owners, pid: int, budget: int) -> int:
    descriptors = posix.open("fd", _FOLDER, dir_fd=folder)
    readlink, holders = posix.readlink, owners.holders
    sockets = held = 0
    try:
        # Linux: since 6.2 the size of /proc/PID/fd is the number of descriptors; before it is 0.
        if posix.stat(descriptors).st_size > budget:
            raise TooMany
        names = posix.listdir(descriptors)
        for name in names:
            try:
                target = readlink(name, dir_fd=descriptors)
            except FileNotFoundError:
                continue
            if target.startswith(_SOCKET_LINK):
                sockets += 1
                inode = int(target[8:-1])
                if inode in wanted:
                    holders.setdefault(inode, []).append((pid, int(name)))
                    held += 1
    finally:
        posix.close(descriptors)
    if sockets:
        owners.with_sockets.append(pid)
    if held:
        owners.names[pid] = _read_name(folder)
    return len(names)


def read_name(pid: int) -> str:
    """Return the program's short name (``comm``, at most 15 bytes, as ``ss`` prints it); empty when it is gone."""
    try:
        folder = posix.open(f"/proc/{pid}", _FOLDER)
    except OSError:
        return ""
    try:
        return _read_name(folder)
    finally:
        posix.close(folder)


def _read_name(folder: int) -> str:
    return _read(folder, "comm").removesuffix(b"\n").decode("utf-8", "backslashreplace")


def _read(folder: int, name: str) -> bytes:
    """Read a small file of a process; empty when it is gone or refused."""
    try:
        descriptor = posix.open(name, posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return b""
    try:
        parts = []
        while part := posix.read(descriptor, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return b""
    finally:
        posix.close(descriptor)


def read_processes(pids: Iterable[int], held: Mapping[int, tuple[int, ...]] | None = None) -> dict[int, Process]:
    """Read what a diagnosis wants to know of each process; one that is gone is left out.

    ``held`` are the inodes of the sockets of processes, where they are known already.
    """
    found = ((pid, read_process(pid, (held or {}).get(pid))) for pid in sorted(set(pids)))
    return {pid: process for pid, process in found if process is not None}


def read_process(pid: int, held: tuple[int, ...] | None = None) -> Process | None:
    """Read one process; fields we may not see are ``None``. ``None`` when it has ended."""
    try:
        folder = posix.open(f"/proc/{pid}", _FOLDER)
    except OSError:
        return None
    try:
        return _describe(folder, pid, held)
    finally:
        posix.close(folder)


def _describe(folder: int, pid: int, held: tuple[int, ...] | None = None) -> Process | None:
    from tcpscope.model.snapshot import Process

    stat = _read(folder, "stat")
    name, state, start_ticks = parse_stat(stat)
    if not stat:
        return None
    command = tuple(word.decode("utf-8", "backslashreplace") for word in _read(folder, "cmdline").split(b"\0") if word)
    executable = _link(folder, "exe")
    inodes = _socket_inodes(folder, held)
    return Process(
        pid=pid,
        name=name,
        uid=parse_status_uid(_read(folder, "status")),
        executable=executable,
        command=command,
        cgroup=parse_cgroup(_read(folder, "cgroup")),
        state=state,
        start_ns=_start_ns(start_ticks),
        open_fds=None if inodes is None else inodes[0],
        fd_limit=parse_fd_limit(_read(folder, "limits")),
        socket_inodes=() if inodes is None else inodes[1],
        wait_channel=_wait_channel(folder),
        runtime=recognise_runtime(name, executable, command) or recognise_contents(folder),
        netns=_netns(folder),
    )


def parse_stat(stat: bytes) -> tuple[str, str, int | None]:
    """Parse ``/proc/PID/stat``: short name (it may hold blanks and brackets), state letter, start in clock ticks."""
    opening, closing = stat.find(b"("), stat.rfind(b")")
    if opening < 0 or closing < opening:
        return "", "", None
    words = stat[closing + 1 :].split()
    name = stat[opening + 1 : closing].decode("utf-8", "backslashreplace")
    start = int(words[19]) if len(words) > 19 and words[19].isdigit() else None
    return name, words[0].decode("ascii", "replace") if words else "", start


def parse_status_uid(status: bytes) -> int | None:
    """Return the effective uid of ``/proc/PID/status``."""
    for line in status.splitlines():
        if line.startswith(b"Uid:"):
            words = line.split()
            return int(words[2]) if len(words) > 2 and words[2].isdigit() else None
    return None


def parse_fd_limit(limits: bytes) -> int | None:
    """Return the soft limit of open files in ``/proc/PID/limits``; ``None`` for unlimited or unknown."""
    for line in limits.splitlines():
        if line.startswith(b"Max open files"):
            words = line.split()
            return int(words[3]) if len(words) > 3 and words[3].isdigit() else None
    return None


def parse_cgroup(text: bytes) -> str | None:
    """Return the path in the unified hierarchy of ``/proc/PID/cgroup`` (line ``0::/path``)."""
    for line in text.splitlines():
        if line.startswith(b"0::"):
            return line[3:].decode("utf-8", "backslashreplace")
    return None


#: Program or language family -> beginnings of the executable's or the command's name.
RUNTIMES = {
    "cpython": ("python", "pypy", "gunicorn", "uvicorn", "celery", "uwsgi"),
    "jvm": ("java",),
    "node": ("node", "nodejs", "bun", "deno"),
    "ruby": ("ruby", "puma"),
    "php": ("php",),
    "dotnet": ("dotnet",),
    "beam": ("beam.smp", "erl"),
    "perl": ("perl",),
    "nginx": ("nginx",),
    "apache": ("apache2", "httpd"),
    "haproxy": ("haproxy",),
    "envoy": ("envoy",),
    "postgresql": ("postgres",),
    "mysql": ("mysqld", "mariadbd"),
    "redis": ("redis-server", "valkey-server"),
    "mongodb": ("mongod", "mongos"),
    "openssh": ("sshd",),
}


def recognise_runtime(name: str, executable: str | None, command: tuple[str, ...]) -> str:
    """Guess language or program family from the names; a Go program only from its file's build note, so not here."""
    candidates = [(executable or "").removesuffix(" (deleted)"), command[0] if command else "", name]
    for candidate in candidates:
        base = candidate.rpartition("/")[2].lower()
        for runtime, beginnings in RUNTIMES.items():
            if base and base.startswith(beginnings):
                return runtime
    return ""


#: Beginning of a library's name -> runtime, for programs that embed one.
_LIBRARIES = (
    (b"/libjvm.so", "jvm"),
    (b"/libpython", "cpython"),
    (b"/libnode.so", "node"),
    (b"/libruby", "ruby"),
    (b"/libcoreclr.so", "dotnet"),
    (b"/libphp", "php"),
    (b"/libperl", "perl"),
)
#: The ELF note of Go's build id: type 4, name "Go", among the first bytes of every Go executable.
_GO_NOTE, _NOTES_BYTES = b"\4\0\0\0Go\0\0", 1 << 15


def recognise_contents(folder: int) -> str:
    """Recognise a runtime by what the executable is (Go) or has mapped (an embedded interpreter)."""
    try:
        descriptor = posix.open("exe", posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return ""
    try:
        if _GO_NOTE in posix.read(descriptor, _NOTES_BYTES):
            return "go"
    except OSError:
        return ""
    finally:
        posix.close(descriptor)
    maps = _read(folder, "maps")
    return next((runtime for library, runtime in _LIBRARIES if library in maps), "")


def _socket_inodes(folder: int, held: tuple[int, ...] | None = None) -> tuple[int, tuple[int, ...]] | None:
    """Count all descriptors and collect the inodes of the sockets; ``None`` when refused."""
    try:
        descriptors = posix.open("fd", _FOLDER, dir_fd=folder)
    except OSError:
        return None
    inodes = []
    try:
        # Linux: since 6.2 the size of /proc/PID/fd is the number of descriptors; before it is 0.
        size = posix.stat(descriptors).st_size
        if held is not None and size:
            return size, held
        names = posix.listdir(descriptors)
        for name in names:
            try:
                target = posix.readlink(name, dir_fd=descriptors)
            except OSError:
                continue
            if target.startswith(_SOCKET_LINK):
                inodes.append(int(target[8:-1]))
    except OSError:
        return None
    finally:
        posix.close(descriptors)
    return len(names), tuple(inodes)


def _link(folder: int, name: str) -> str | None:
    try:
        return posix.readlink(name, dir_fd=folder)
    except OSError:
        return None


def _netns(folder: int) -> int:
    """Return the inode of the process's network namespace; 0 when refused."""
    try:
        return posix.stat("ns/net", dir_fd=folder).st_ino
    except OSError:
        return 0


def _wait_channel(folder: int) -> str:
    text = _read(folder, "wchan").decode("ascii", "replace")
    return "" if text == "0" else text


def _start_ns(ticks: int | None) -> int | None:
    """Turn clock ticks since boot into nanoseconds since the epoch."""
    if ticks is None:
        return None
    import time

    boot_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return boot_ns + ticks * 1_000_000_000 // posix.sysconf("SC_CLK_TCK")
