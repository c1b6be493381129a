"""Which language or program family a process belongs to, from its executable, its arguments and its libraries.

Pure: the paths are handed in (``/proc/PID/exe``, ``/proc/PID/maps``). Remedies are written for the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: Base name of the executable, or a prefix of it -> runtime. Programs come before the languages they are written in.
_PROGRAMS = (
    ("nginx", "nginx"), ("openresty", "nginx"), ("haproxy", "haproxy"), ("envoy", "envoy"),
    ("apache2", "apache"), ("httpd", "apache"), ("postgres", "postgresql"), ("postmaster", "postgresql"),
    ("mysqld", "mysql"), ("mariadbd", "mysql"), ("redis-server", "redis"), ("valkey-server", "redis"),
    ("memcached", "memcached"), ("mongod", "mongodb"), ("sshd", "sshd"), ("systemd", "systemd"),
    ("java", "jvm"), ("nodejs", "node"), ("node", "node"), ("bun", "node"), ("deno", "node"),
    ("python", "cpython"), ("pypy", "cpython"), ("uwsgi", "cpython"), ("gunicorn", "cpython"),
    ("ruby", "ruby"), ("puma", "ruby"), ("php", "php"), ("dotnet", "dotnet"), ("mono", "dotnet"),
    ("beam.smp", "erlang"), ("perl", "perl"),
)  # fmt: skip
_LIBRARIES = (
    ("libjvm.so", "jvm"), ("libpython", "cpython"), ("libnode.so", "node"), ("libruby", "ruby"),
    ("libcoreclr.so", "dotnet"), ("libphp", "php"), ("libperl", "perl"),
)  # fmt: skip


def runtime_of(executable: str, libraries: Iterable[str] = (), command: Sequence[str] = (), is_go: bool = False) -> str:
    """Name the runtime (``cpython jvm node go nginx postgresql ...``); an empty text when nothing tells.

    ``is_go``: whether the executable carries a Go build id (the only trace a static Go program leaves).
    """
    names = [_base(executable)] + [_base(word) for word in command[:1]]
    for name in names:
        for prefix, runtime in _PROGRAMS:
            if name == prefix or (name.startswith(prefix) and not name[len(prefix)].isalpha()):
                return runtime
    if is_go:
        return "go"
    for library in libraries:
        name = _base(library)
        for prefix, runtime in _LIBRARIES:
            if name.startswith(prefix):
                return runtime
    return ""


def _base(path: str) -> str:
    words = path.removesuffix(" (deleted)").rsplit("/", 1)[-1].split()
    return words[0].rstrip(":").lower() if words else ""
