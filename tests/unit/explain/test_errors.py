"""Errors of the socket calls: made for real, each in the way its explanation tells."""

import errno
import os
import socket
import struct
import subprocess
import sys

import pytest

from tcpscope.explain.errors import ERRORS, error_named
from tcpscope.explain.topics import find_answer

LOOPBACK = ("127.0.0.1", 0)


def pair():
    with socket.create_server(LOOPBACK) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=60)
        server, _ = listener.accept()
        server.settimeout(60)
        return client, server


def reset(client, server):
    """End the connection with RST and wait until the client's kernel has it."""
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def refused():
    with socket.create_server(LOOPBACK) as listener:
        place = listener.getsockname()
    socket.create_connection(place, timeout=60)


def reset_by_unread_data():
    client, server = pair()
    client.sendall(b"nobody reads this")
    server.recv(1)
    server.close()
    client.recv(1)


def pipe_after_shutdown():
    client, _server = pair()
    client.shutdown(socket.SHUT_WR)
    client.send(b"x")


def pipe_after_reset():
    client, server = pair()
    reset(client, server)
    assert client.recv(1) == b""
    client.send(b"x")


def in_use():
    with socket.create_server(LOOPBACK) as listener, socket.socket() as other:
        other.bind(listener.getsockname())


def in_use_at_listen():
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(LOOPBACK)
        other.bind(one.getsockname())
        one.listen()
        other.listen()


def no_such_address():
    with socket.socket() as one:
        one.bind(("192.0.2.77", 0))


def not_connected():
    with socket.create_server(LOOPBACK) as listener:
        listener.recv(1)


def not_connected_after_reset():
    client, server = pair()
    reset(client, server)
    client.shutdown(socket.SHUT_WR)


def connected_already():
    client, server = pair()
    server.connect(client.getsockname())


def listens_already():
    with socket.create_server(LOOPBACK) as listener:
        listener.connect(("127.0.0.1", 1))


def nothing_to_read():
    client, _server = pair()
    client.setblocking(False)
    client.recv(1)


def no_room():
    client, _server = pair()
    client.setblocking(False)
    while True:
        client.send(bytes(1 << 20))


def nobody_to_accept():
    with socket.create_server(LOOPBACK) as listener:
        listener.setblocking(False)
        listener.accept()


MAKE = {
    "ECONNREFUSED": [refused],
    "ECONNRESET": [reset_by_unread_data],
    "EPIPE": [pipe_after_shutdown, pipe_after_reset],
    "EADDRINUSE": [in_use, in_use_at_listen],
    "EADDRNOTAVAIL": [no_such_address],
    "ENOTCONN": [not_connected, not_connected_after_reset],
    "EISCONN": [connected_already, listens_already],
    "EAGAIN": [nothing_to_read, no_room, nobody_to_accept],
}


@pytest.mark.parametrize(("name", "make"), [(name, make) for name, ways in MAKE.items() for make in ways])
def test_error_comes_as_it_is_told(name, make):
    with pytest.raises(OSError) as caught:
        make()
    assert errno.errorcode[caught.value.errno] == name
    assert error_named(f"curl: (7) Failed: {caught.value}").name == name


OUT_OF_DESCRIPTORS = """
import resource, socket
with socket.create_server(("127.0.0.1", 0)) as listener:
    client = socket.create_connection(listener.getsockname(), timeout=60)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    listener.accept()
"""
NO_ROUTE = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=60)"


@pytest.mark.parametrize(
    ("name", "command", "code"),
    [
        ("EMFILE", [], OUT_OF_DESCRIPTORS),
        pytest.param("ENETUNREACH", ["unshare", "--net"], NO_ROUTE, marks=pytest.mark.root),
    ],
)
def test_error_of_a_process_of_its_own_comes_as_it_is_told(name, command, code):
    done = subprocess.run([*command, sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert error_named(done.stderr.splitlines()[-1]).name == name


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.name)
def test_number_and_message_are_those_of_this_system(error):
    assert getattr(errno, error.name) == error.number
    assert os.strerror(error.number) == error.message


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.name)
def test_error_is_found_by_name_number_and_message(error):
    for text in (error.name, error.name.lower(), error.message, f"[Errno {error.number}] {error.message}"):
        answer = find_answer(text)
        assert (answer.kind, answer.name) == ("error", error.name), text
