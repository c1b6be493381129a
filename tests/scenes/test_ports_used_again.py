"""Ports used again while an end still holds their last connection: the tracker beside what the kernel answered.

In TIME_WAIT Linux takes a SYN whose number or timestamp is newer (RFC 6191); its SYN|ACK then begins 65537 beyond the
last number sent. Any other SYN, there or in LAST_ACK, gets the last ACK once more: the client resets what is held and
sends its SYN again (RFC 9293 §3.5.1).
"""

import os
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest
from tests.loopback_dump import MARK_PORT, LoopbackDump, has_tcpdump
from tests.patience import in_its_own_namespace, wait_until, wait_until_settled

from tcpscope.model.state import State
from tcpscope.packets import analyse

pytestmark = pytest.mark.root
CLIENT, SERVER = 20000, 7000
SYN, ACK = 2, 16
#: Linux numbers a new connection 15.6 million a second further on: so much is sent faster, on a slow machine too.
MANY = 300_000_000
TABLE = "flush ruleset\ntable inet again {\n chain input {\n type filter hook input priority 0;\n %s\n }\n}\n"


@pytest.fixture
def capture(tmp_path):
    if not has_tcpdump():
        pytest.skip("tcpdump is not installed")
    return Capture(tmp_path / "again.pcap", "-s", "96")


class Capture(LoopbackDump):
    """What passes the loopback."""

    def segments(self):
        """Yield ``(is of the server, flags, sequence number)`` of the two connections."""
        raw, at = self.path.read_bytes(), 24
        while at < len(raw):
            (captured,) = struct.unpack_from("<I", raw, at + 8)
            source, target, seq, _, _, flags = struct.unpack_from(">HHIIBB", raw, at + 16 + 34)
            if MARK_PORT not in (source, target):
                yield source == SERVER, flags, seq
            at += 16 + captured


def listen():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", SERVER))
    listener.listen()
    return listener


def talk(listener, octets):
    """One connection from the same port, closed by the server."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(("127.0.0.1", CLIENT))
    client.connect(("127.0.0.1", SERVER))
    server, _ = listener.accept()
    writer = threading.Thread(target=client.sendall, args=(bytes(octets),))
    writer.start()
    while octets:
        octets -= len(server.recv(1 << 20))
    writer.join()
    server.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    client.close()
    assert server.recv(1) == b""
    server.close()


def numbers_of(capture):
    """Return the client's SYNs, the server's SYN|ACKs and the number behind its first FIN."""
    syns, answers, fins = [], [], []
    for is_server, flags, seq in capture.segments():
        if flags & SYN:
            (answers if is_server else syns).append(seq)
        elif is_server and flags & 1:
            fins.append(seq + 1)
    return syns, answers, fins[0]


def last_connection(capture):
    analysis = analyse([capture.path])
    found = [one for one in analysis.connections if one.client.port == CLIENT]
    assert [one.incarnation for one in found] == [0, 1]
    moves = [(move.before.name, move.after.name) for move in found[1].transitions if move.end == "server"]
    return found[1], moves, {finding.id for finding in analysis.findings if finding.scope.endswith(f":{SERVER}")}


@in_its_own_namespace
def test_time_wait_lower_number_newer_timestamp_opens_another(space, capture):
    with space.entered(), listen() as listener, capture:
        talk(listener, MANY)
        time.sleep(0.05)  # the clock of timestamps goes on by milliseconds
        talk(listener, 100)
        wait_until_settled()
    syns, answers, snd_nxt = numbers_of(capture)
    assert (syns[1] - syns[0]) % (1 << 32) < MANY
    assert len(syns) == 2 and (answers[1] - snd_nxt) % (1 << 32) == 65537
    connection, moves, _ = last_connection(capture)
    assert moves[0] == ("TIME_WAIT", "SYN_RECEIVED")
    assert (connection.closed_by, connection.closed_how, connection.resets) == ("server", "fin", 0)


@in_its_own_namespace
def test_time_wait_lower_number_without_timestamps_is_reset_first(space, capture):
    space.write_sysctl("net.ipv4.tcp_timestamps", 0)
    with space.entered(), listen() as listener, capture:
        talk(listener, MANY)
        talk(listener, 100)
        wait_until_settled()
    syns, answers, snd_nxt = numbers_of(capture)
    assert len(syns) > 2 and syns[1] == syns[2] and (answers[1] - snd_nxt) % (1 << 32) != 65537
    connection, moves, findings = last_connection(capture)
    assert moves[:2] == [("TIME_WAIT", "CLOSED"), ("LISTEN", "SYN_RECEIVED")]
    assert (connection.closed_by, connection.closed_how) == ("server", "fin")
    assert connection.to_server.resets_late == connection.resets == 1
    assert connection.verdict.startswith("closed in order")
    assert any("still held an older connection" in note for note in connection.notes)
    assert "reset-by-peer-rate" not in findings


@in_its_own_namespace
def test_last_ack_met_by_a_reused_port_is_reset_first(space, capture):
    nft = shutil.which("nft", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if nft is None:
        pytest.skip("nft is not installed")

    def filter_by(rule):
        assert os.stat("/proc/thread-self/ns/net").st_ino == space.inode
        subprocess.run([nft, "-f", "-"], input=TABLE % rule, text=True, check=True)

    space.write_sysctl("net.ipv4.tcp_tw_reuse", 1)
    space.write_sysctl("net.ipv4.ip_local_port_range", f"{CLIENT} {CLIENT}")
    with space.entered(), listen() as listener, capture:
        client = socket.create_connection(("127.0.0.1", SERVER))
        server, _ = listener.accept()
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        filter_by(f"tcp dport {SERVER} tcp flags & (syn | rst) == 0 drop")
        server.close()
        assert client.recv(1) == b""
        client.close()
        client = wait_until(connect_again, "the port")
        filter_by("")
        server, _ = listener.accept()
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        server.close()
        assert client.recv(1) == b""
        client.close()
        wait_until_settled()
    connection, moves, findings = last_connection(capture)
    assert [after for _, after in moves[:2]] == ["CLOSED", "SYN_RECEIVED"]
    assert (connection.closed_by, connection.closed_how) == ("client", "fin")
    assert (connection.client_state, connection.server_state) == (State.TIME_WAIT, State.CLOSED)
    assert connection.to_server.resets_late == connection.resets == 1
    assert connection.verdict.startswith("closed in order")
    assert "reset-by-peer-rate" not in findings


def connect_again():
    client = socket.socket()
    try:
        client.connect(("127.0.0.1", SERVER))
    except OSError:  # Linux takes a port out of TIME_WAIT after a second
        client.close()
        return None
    return client
