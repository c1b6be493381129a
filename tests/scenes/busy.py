"""A namespace with sockets of many kinds, for comparing listings: both families, v4-mapped, open, half-closed, done."""

import socket
import subprocess

import pytest
from tests.patience import wait_until_settled

from tcpscope.kernel.namespace import NetworkNamespace

PORTS = [1001, 1002, 1003, 1004]


@pytest.fixture(scope="module")
def busy_namespace():
    # Why two: a namespace made inside one with this setting has a small hash table of its own, quickly walked
    parent = NetworkNamespace.create()
    parent.write_sysctl("net.ipv4.tcp_child_ehash_entries", 1024)
    with parent.entered():
        namespace = NetworkNamespace.create()
    held = []
    with namespace.entered():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for family, address in ((2, "127.0.0.1"), (2, "127.0.0.2"), (10, "::1"), (10, "::")):
            for port in PORTS:
                held += open_connections(family, address, port)
        wait_until_settled()
        yield namespace
    for one in held:
        one.close()
    namespace.close()
    parent.close()


def open_connections(family, address, port):
    """A listener with an open, a half-closed and a finished connection; some through v4-mapped addresses."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == 10:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
    try:
        listener.bind((address, port + (10 if address == "::" else 0)))
    except OSError:
        listener.close()
        return []
    listener.listen(8)
    held = [listener]
    target = listener.getsockname()[:2]
    reach = (2, ("127.0.0.1", target[1])) if address == "::" else (family, target)
    for ending in ("open", "half", "done"):
        client = socket.socket(reach[0], socket.SOCK_STREAM)
        client.connect(reach[1])
        server, _ = listener.accept()
        if ending == "half":
            client.shutdown(socket.SHUT_WR)
        if ending == "done":
            client.close()
            server.close()
        else:
            held += [client, server]
    waiting = socket.socket(reach[0], socket.SOCK_STREAM)  # stays in the accept queue
    waiting.connect(reach[1])
    return [*held, waiting]
