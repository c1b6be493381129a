"""A laboratory bench: hosts in private namespaces, joined by veth pairs, with rules that lose packets.

Everything lives through this process alone: namespaces have no name (:mod:`tcpscope.kernel.namespace`), programs are
started by :mod:`tcpscope.kernel.launch` and get SIGKILL when this process dies. So a killed lab leaves nothing behind.

Rules of this file: a process is started and ended here and nowhere else; only pids started here are signalled.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from tcpscope.kernel import launch
from tcpscope.kernel.namespace import NetworkNamespace
from tcpscope.kernel.rtnetlink import RouteSocket
from tcpscope.model.errors import TcpscopeError, Unsupported

_TABLE = "tcpscope_lab"


class Host:
    """One host of the laboratory: a namespace with an interface ``eth0``, an IPv4 and an IPv6 address."""

    def __init__(self, name: str, namespace: NetworkNamespace, address: str, address6: str) -> None:
        self.name = name
        self.namespace = namespace
        self.address = address
        self.address6 = address6
        self.processes: list[subprocess.Popen[bytes]] = []
        self._drops: list[tuple[int, tuple[str, ...]]] = []

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Run the block with the calling thread on this host."""
        with self.namespace.entered():
            yield

    def set_sysctl(self, name: str, value: object) -> None:
        """Set a sysctl of this host's namespace."""
        self.namespace.write_sysctl(name, value)

    def add_address(self, address: str, prefix: int = 32) -> None:
        """Give ``eth0`` one more address."""
        with self.entered(), RouteSocket() as route:
            route.add_address("eth0", address, prefix)

    def forbid_super_packets(self) -> None:
        """Let every packet be one segment, so that a loss rule meets segments and not 64 KiB at once."""
        with self.entered(), RouteSocket() as route:
            route.limit_gso("eth0", 1)

    def drop(self, *matches: str, chain: str = "input") -> None:
        """Drop packets that match an nft expression (``tcp flags & (fin|syn|rst) == 0``); none means every packet."""
        self.set_rules(*(f"{match} drop" for match in matches or ("",)), chain=chain)
        self._drops[-1] = (self._drops[-1][0], matches or ("",))

    def set_rules(self, *rules: str, chain: str = "input") -> None:
        """Put nft rules for packets that arrive (``input``) or leave (``output``) in the place of all rules before.

        The exchange is atomic. Loopback is never touched.
        """
        device = "iifname" if chain == "input" else "oifname"
        self.nft(
            f"add table inet {_TABLE}\ndelete table inet {_TABLE}\nadd table inet {_TABLE}\n"
            f"add chain inet {_TABLE} {chain} {{ type filter hook {chain} priority 0; policy accept; }}\n"
            + "".join(f"add rule inet {_TABLE} {chain} {device} != lo {rule}\n" for rule in rules)
        )
        self._drops.append((time.time_ns(), rules))

    def pass_everything(self) -> None:
        """Remove all rules of :meth:`drop` and :meth:`set_rules`."""
        self.nft(f"add table inet {_TABLE}\ndelete table inet {_TABLE}")
        self._drops.append((time.time_ns(), ()))

    def dropped_at(self, when_ns: int) -> tuple[str, ...]:
        """Return the expressions whose packets were dropped at a time, as :meth:`drop` got them."""
        in_force: tuple[str, ...] = ()
        for since_ns, matches in self._drops:
            if since_ns <= when_ns:
                in_force = matches
        return in_force

    def nft(self, script: str) -> None:
        """Load an nft script on this host. Raises ``Unsupported`` when nft is not installed."""
        program = shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin")
        if program is None:
            raise Unsupported("this scene loses packets with nft, which is not installed (package nftables)")
        with self.entered():
            done = subprocess.run([program, "-f", "-"], input=script.encode(), capture_output=True, check=False)
        if done.returncode:
            raise TcpscopeError(f"nft: {done.stderr.decode(errors='replace').strip()}\n{script}")

    def run(self, *argv: str, timeout_s: float = 60) -> str:
        """Run a program on this host to its end and return what it printed. Raises ``TcpscopeError`` on failure."""
        with self.entered():
            done = subprocess.run(argv, capture_output=True, check=False, timeout=timeout_s)
        if done.returncode:
            raise TcpscopeError(f"{argv[0]}: exit code {done.returncode}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode(errors="replace")

    def start_python(self, name: str, script: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a Python script on this host as a process called ``name``, with pipes for its stdin and stdout."""
        return self._start([sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), name, script, *arguments])

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start any program on this host in process and mount namespaces that end when its first process does."""
        unshare = shutil.which("unshare")
        if unshare is None:
            raise Unsupported("starting servers that fork needs unshare (package util-linux)")
        # Why a shell in between: it is the first process of the namespace, and its death ends all others. A program
        # that changes its user would lose the signal of its parent's death.
        first = ["sh", "-c", '"$@"; exit $?', "sh", *argv]
        wrapped = [unshare, "--pid", "--mount", "--fork", "--kill-child=SIGKILL", *first]
        return self._start([sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), "", *wrapped], quiet=True)

    def _start(self, argv: Sequence[str], *, quiet: bool = False) -> subprocess.Popen[bytes]:
        errors = subprocess.DEVNULL if quiet else None
        with self.entered():
            process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, process_group=0
            )
        self.processes.append(process)
        return process

    def close(self) -> None:
        """End every process started here and let go of the namespace."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        self.processes.clear()
        self.namespace.close()


class Sandbox:
    """Two hosts, ``client`` (10.9.0.1) and ``server`` (10.9.0.2), joined by a veth pair. Use as a context manager."""

    client: Host
    server: Host

    def __init__(self) -> None:
        self._hosts: list[Host] = []

    def __enter__(self) -> Sandbox:
        try:
            self.client = self._add_host("client", 1)
            self.server = self._add_host("server", 2)
            self._join(self.client, self.server)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, in the order they were made."""
        return tuple(self._hosts)

    def close(self) -> None:
        """Take everything down; safe to call twice."""
        while self._hosts:
            self._hosts.pop().close()

    def _add_host(self, name: str, number: int) -> Host:
        host = Host(name, NetworkNamespace.create(), f"10.9.0.{number}", f"fd09::{number}")
        self._hosts.append(host)
        return host

    def _join(self, one: Host, two: Host) -> None:
        with one.entered(), RouteSocket() as route:
            route.add_veth("eth0", "eth0", two.namespace.fd)
        for host in (one, two):
            with host.entered(), RouteSocket() as route:
                for link in ("lo", "eth0"):
                    route.set_up(link)
                route.add_address("eth0", host.address, 24)
                route.add_address("eth0", host.address6, 64)
        for host, other in ((one, two), (two, one)):
            with host.entered(), RouteSocket() as route:
                route.add_default_route("eth0", other.address)
