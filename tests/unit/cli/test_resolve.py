"""``list -r``: names for numbers, the number where there is no name, and nobody is asked who was not to be asked."""

import pwd
import socket

import pytest

from tcpscope.cli import resolve
from tcpscope.cli.main import main


@pytest.fixture(autouse=True)
def names(monkeypatch):
    """A resolver and tables of our own; returns what they were asked."""
    asked = []

    def name_host(address, flags):
        asked.append(address[0])
        if address[0] != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "no name")
        return "here.example", "0"

    def name_port(port, proto):
        asked.append((port, proto))
        raise OSError("port/proto not found")

    monkeypatch.setattr(socket, "getnameinfo", name_host)
    monkeypatch.setattr(socket, "getservbyport", name_port)
    for cached in (resolve.host_name, resolve.port_name, resolve.user_name):
        cached.cache_clear()
    yield asked
    for cached in (resolve.host_name, resolve.port_name, resolve.user_name):
        cached.cache_clear()


def rows_of(capfd, *arguments, address="127.0.0.1"):
    with socket.create_server((address, 0)) as listener:
        port = listener.getsockname()[1]
        assert main(["list", *arguments]) == 0
    return port, [line for line in capfd.readouterr().out.splitlines() if line.split()[3].endswith(f":{port}")]


def test_host_gets_its_name_and_an_unnamed_port_stays_a_number(capfd, names):
    port, (row,) = rows_of(capfd, "-r", "-tl")
    assert row.split()[3] == f"here.example:{port}"
    assert (port, "tcp") in names


def test_named_port_is_told(capfd, monkeypatch):
    monkeypatch.setattr(socket, "getservbyport", lambda port, proto: f"service-{port}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert main(["list", "-r", "-tl"]) == 0
        assert f"here.example:service-{listener.getsockname()[1]}" in capfd.readouterr().out


def test_address_without_a_name_stays_an_address(capfd):
    port, (row,) = rows_of(capfd, "-r", "-tl", address="127.0.0.2")
    assert row.split()[3] == f"127.0.0.2:{port}"


@pytest.mark.parametrize("arguments", [("-tl",), ("-r", "-tln")])
def test_nobody_is_asked_without_wish_or_against_n(capfd, names, arguments):
    port, (row,) = rows_of(capfd, *arguments)
    assert row.split()[3] == f"127.0.0.1:{port}"
    assert names == []


def test_resolver_is_asked_once_for_an_address(capfd, names):
    rows_of(capfd, "-r", "-tl")
    rows_of(capfd, "-r", "-tl")
    assert names.count("127.0.0.1") == 1


def test_user_is_named_or_stays_a_number():
    known = pwd.getpwall()[0]
    assert resolve.user_name(known.pw_uid) == pwd.getpwuid(known.pw_uid).pw_name
    assert resolve.user_name(2**31 - 7) == str(2**31 - 7)
