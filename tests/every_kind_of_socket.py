"""A network namespace that holds every kind of TCP and UDP socket Linux can show, and stays like that for a minute.

All eleven states over IPv4 and IPv6, v4-mapped and IPv6-only listeners, connections nobody accepted, orphans,
handshakes, mini-sockets, sockets that several processes hold or one process holds twice, and descriptors of other
families as noise. nft drops what would make the states move on; only TIME_WAIT and the orphan in FIN_WAIT_2 end.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
SILENT_PORTS = "7101, 7102, 7103, 7104, 7105, 7106"

RULES = """
table inet quiet {{
  chain in {{
    type filter hook input priority 0; policy accept;
    ip daddr 127.0.0.66 drop
    tcp dport 7003 tcp flags & (syn | ack) == ack drop
    {more}
  }}
}}
"""


@contextmanager
def every_kind_of_socket():
    """Give the process id of the holder; its namespace is ``/proc/PID/ns/net``. Needs root."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _hold(writer)
    os.close(writer)
    try:
        with os.fdopen(reader) as pipe:
            said = pipe.readline()
        if said != "ready\n":
            raise RuntimeError(f"the namespace could not be filled: {said}")
        yield pid
    finally:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def run_inside(pid, *command):
    """Run a command in the holder's namespace; gives the completed process."""
    return subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", *command], capture_output=True, text=True, timeout=300
    )


def _hold(writer):
    try:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        _bring_loopback_up()
        for patience in ("tcp_syn_retries", "tcp_synack_retries", "tcp_orphan_retries"):
            with open(f"/proc/sys/net/ipv4/{patience}", "w") as setting:
                setting.write("12")
        held = [*_listeners(), *_connections(), *_other_families()]
        held += _silenced()
        for _ in range(2):
            if os.fork() == 0:
                ctypes.CDLL(None).prctl(1, signal.SIGKILL)
                _wait()
        os.write(writer, b"ready\n")
        _wait(held)
    except BaseException:
        os.write(writer, traceback.format_exc().replace("\n", " | ").encode())
    os._exit(1)


def _wait(held=None):
    while True:
        signal.pause()


def _bring_loopback_up():
    with socket.socket() as channel:
        fcntl.ioctl(channel, 0x8914, struct.pack("16sh14x", b"lo", 1))


def _rules(more=""):
    # Why in one transaction: what is silenced would be heard while there is no table
    anew = "table inet quiet\ndelete table inet quiet\n" + RULES.format(more=more)
    subprocess.run(["nft", "-f", "-"], input=anew, text=True, check=True, capture_output=True)


def _listen(address, port, *, v6only=None, backlog=5):
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if v6only is not None:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    listener.bind((address, port))
    listener.listen(backlog)
    return listener


def _connect(address, port, *, wait=True):
    client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    client.setblocking(wait)
    client.connect_ex((address, port))
    return client


def _pair(address, port, **options):
    """A listener, and both ends of one connection through it."""
    listener = _listen(address, port, **options)
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    client = _connect(target, port)
    return listener, client, listener.accept()[0]


def _listeners():
    _rules()
    yield _listen("0.0.0.0", 7001)
    yield _listen("127.0.0.5", 7002, backlog=77)
    yield _listen("127.0.0.1", 7003)
    yield _connect("127.0.0.1", 7003)  # ESTABLISHED here, SYN_RECEIVED there: the last ACK is dropped
    yield _listen("::", 7004, v6only=0)
    yield _connect("127.0.0.1", 7004)  # v4-mapped, never accepted
    yield _listen("::", 7005, v6only=1)
    yield _listen("::1", 7006)
    yield _listen("::ffff:127.0.0.1", 7007)
    waiting = _listen("127.0.0.1", 7008, backlog=9)
    yield waiting
    for _ in range(3):
        client = _connect("127.0.0.1", 7008)
        client.send(b"hello")
        yield client
    _connect("127.0.0.1", 7008).close()  # CLOSE_WAIT that nobody accepted, FIN_WAIT_2 mini-socket here
    yield _connect("127.0.0.66", 7009, wait=False)  # SYN_SENT
    bound = socket.socket()
    bound.bind(("127.0.0.1", 7010))
    yield bound


def _connections():
    for number, address in enumerate(("127.0.0.1", "::1")):
        port = 7020 + 10 * number
        yield from _pair(address, port)
        listener, client, server = _pair(address, port + 1)
        client.close()  # FIN_WAIT_2 mini-socket and CLOSE_WAIT
        yield from (listener, server)
        listener, client, server = _pair(address, port + 2)
        client.shutdown(socket.SHUT_WR)  # FIN_WAIT_2 of a living socket, Recv-Q 1
        yield from (listener, client, server)
        listener, client, server = _pair(address, port + 3)
        client.close()
        server.recv(1)
        server.close()  # TIME_WAIT
        yield listener
        listener, client, server = _pair(address, port + 4)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.send(b"x" * 1234)  # Recv-Q 1234, keepalive timer
        yield from (listener, client, server, client.dup())
        listener, client, server = _pair(address, port + 5)
        client.setblocking(False)
        while True:  # until the window is shut: persist timer, Send-Q
            try:
                client.send(bytes(1 << 16))
            except BlockingIOError:
                break
        yield from (listener, client, server)


def _other_families():
    yield from socket.socketpair()
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(f"\0tcpscope-noise-{os.getpid()}")
    yield unix
    yield os.open(os.devnull, os.O_RDONLY)
    yield socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    yield socket.socket()  # neither bound nor connected: in no list
    for address in ("127.0.0.1", "::1", "0.0.0.0", "::"):
        listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind((address, 0))
        yield listener
    connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connected.connect(("127.0.0.1", 7099))
    yield connected


def _silenced():
    """States that last only while nothing gets through: FIN_WAIT_1, LAST_ACK, CLOSING, each over both families."""
    ports = iter(range(7101, 7107))
    kept, to_close, crossing = [], [], []
    for address in ("127.0.0.1", "::1"):
        listener, client, server = _pair(address, next(ports))
        kept += (listener, server)
        to_close.append(client)  # its FIN will be lost: FIN_WAIT_1
        listener, client, server = _pair(address, next(ports))
        client.close()
        server.recv(1)
        kept.append(listener)
        to_close.append(server)  # the FIN of its CLOSE_WAIT will be lost: LAST_ACK
        listener, client, server = _pair(address, next(ports))
        kept += (listener, client, server)
        crossing += (client, server)
    _rules(f"tcp sport {{ {SILENT_PORTS} }} drop; tcp dport {{ {SILENT_PORTS} }} drop;")
    for connection in to_close:
        connection.close()
    for connection in crossing:
        connection.shutdown(socket.SHUT_WR)
    # Only the client's FIN gets through, and no answer: the server is CLOSING, the client stays in FIN_WAIT_1.
    _rules(
        f"tcp sport {{ {SILENT_PORTS} }} drop; tcp dport {{ 7103, 7106 }} tcp flags & fin == fin accept;"
        f"tcp dport {{ {SILENT_PORTS} }} drop;"
    )
    _settle(lambda: all(_state(server) == 11 for server in crossing[1::2]))
    return kept


def _state(connection):
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def _settle(is_done, pause=0.01, seconds=60):
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError("a state was not reached")
        time.sleep(pause)


if __name__ == "__main__":
    with every_kind_of_socket() as holder:
        print(run_inside(holder, *sys.argv[1:]).stdout)
