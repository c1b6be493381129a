"""The doctor's wait between two looks: what enters its state meanwhile has an exact age."""

import errno
import os
import socket
import struct
import subprocess
import threading
import time

import pytest
from tests.patience import wait_until_settled

from tcpscope.kernel.namespace import NetworkNamespace
from tcpscope.live.snapshot import take_snapshot
from tcpscope.live.witness import Witnessed, watch, with_witnessed
from tcpscope.model.address import Endpoint
from tcpscope.model.state import State

pytestmark = pytest.mark.root


def test_close_wait_that_begins_while_waiting_has_an_exact_age():
    namespace = NetworkNamespace.create()
    with namespace.entered():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        listener = socket.create_server(("127.0.0.1", 9000))
        clients = [socket.create_connection(("127.0.0.1", 9000)) for _ in range(2)]
        servers = [listener.accept()[0] for _ in clients]
        clients[0].close()  # before anybody watches

        def close_second(left):
            clients[1].close()
            wait_until_settled()

        wait_until_settled()
        began = time.monotonic()
        seen = watch(0.5, close_second)
        snapshot = with_witnessed(take_snapshot(), seen)
        waited_ms = (time.monotonic() - began) * 1000
        ages = {one.remote.port: one.age for one in snapshot.sockets if one.state == State.CLOSE_WAIT}
        ports = [server.getpeername()[1] for server in servers]
    for one in (listener, *servers):
        one.close()
    namespace.close()
    assert ages[ports[0]].known != "exact"
    assert ages[ports[1]].known == "exact"
    assert 0 <= ages[ports[1]].ms <= waited_ms


def test_refused_connections_name_destination_and_program():
    namespace = NetworkNamespace.create()
    with namespace.entered():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40000"], check=True)
        listener = socket.create_server(("127.0.0.1", 8))
        holder = socket.create_connection(("127.0.0.1", 8))  # has the only port there is to that destination
        stop = threading.Event()

        def hammer():
            # Why: from before watching began until after it ended, however slow the machine is.
            with namespace.entered():
                while not stop.is_set():
                    with socket.socket() as one:
                        assert one.connect_ex(("127.0.0.1", 9)) == errno.ECONNREFUSED
                    with socket.socket() as one:
                        assert one.connect_ex(("127.0.0.1", 8)) == errno.EADDRNOTAVAIL  # nobody refuses this one
                    time.sleep(0.02)

        client = threading.Thread(target=hammer)
        client.start()
        seen = next(seen for _ in range(20) if (seen := watch(0.5, lambda left: None)).refused)
        snapshot = with_witnessed(take_snapshot(), seen)
        stop.set()
        client.join()
        holder.close()
        listener.close()
    namespace.close()
    assert {(one.remote, one.by.pid) for one in snapshot.refused} == {(Endpoint("127.0.0.1", 9), os.getpid())}
    assert sum(one.attempts for one in snapshot.refused) >= 1


def test_reset_connections_name_peer_state_and_program():
    namespace = NetworkNamespace.create()
    with namespace.entered():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        listener = socket.create_server(("127.0.0.1", 9000))

        def reset_one(left):
            client = socket.create_connection(("127.0.0.1", 9000))
            server, _ = listener.accept()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            server.close()
            held.append(client)

        held = []
        seen = next(seen for _ in range(20) if (seen := watch(0.5, reset_one)).resets)
        snapshot = with_witnessed(take_snapshot(), seen)
    for one in (listener, *held):
        one.close()
    namespace.close()
    (reset,) = snapshot.resets
    assert (reset.remote, reset.port, reset.is_served, reset.state) == ("127.0.0.1", 9000, False, State.ESTABLISHED)
    assert reset.by is None or reset.by.pid == os.getpid()
    assert reset.number >= reset.young >= 0


def test_nothing_is_claimed_without_the_kernel_s_tracepoints(monkeypatch):
    monkeypatch.setattr("tcpscope.live.witness._open_feed", lambda all_namespaces: None)
    ticks = []
    started = time.monotonic()
    assert watch(0.1, ticks.append) == Witnessed({})
    assert time.monotonic() - started >= 0.1 and ticks
    snapshot = take_snapshot(detail=False, owners=False)
    assert with_witnessed(snapshot, Witnessed({})) is snapshot
