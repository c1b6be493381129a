"""Live capture of real traffic: the same packets as tcpdump's, states, filters, drops, its ends."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.patience import PATIENCE_S, wait_until, wait_until_settled
from tests.peers import peer, run_peer

import tcpscope
from tcpscope.capture import open_capture
from tcpscope.capture.libpcap_filter import PacketFilter, is_available
from tcpscope.capture.live import LiveSource, filter_link_type_of
from tcpscope.capture.segments import iter_segments
from tcpscope.capture.writing import CaptureFile
from tcpscope.kernel.namespace import NetworkNamespace
from tcpscope.kernel.rtnetlink import RouteSocket
from tcpscope.model.errors import TcpscopeError, UsageError

pytestmark = pytest.mark.root
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def netns():
    space = NetworkNamespace.create()
    with space.entered(), RouteSocket() as route:
        route.set_up("lo")
    yield space
    space.close()


def talk(port=0, rounds=5, family=socket.AF_INET):
    """A connection with some data, opened and closed in the namespace of the calling thread."""
    where = ("::1" if family == socket.AF_INET6 else "127.0.0.1", port)
    with socket.create_server(where, family=family) as listener:
        client = socket.create_connection(listener.getsockname()[:2])
        server, _ = listener.accept()
        for size in range(rounds):
            client.sendall(b"x" * (1 + 700 * size))
            received = 0
            while received < 1 + 700 * size:
                received += len(server.recv(65536))
            server.sendall(b"ok")
            client.recv(10)
        client.close()
        server.recv(1)
        server.close()
        return listener.getsockname()[1]


def collect(source, act):
    """Packets that pass while ``act`` runs in another thread, ``(t_ns, data, original length, link type)``."""
    failed = []

    def work():
        try:
            act()
        except Exception as error:
            failed.append(error)
        finally:
            source.stop()

    worker = threading.Thread(target=work)
    worker.start()
    packets = []
    for chunk in source.iter_chunks():
        for index, offset in enumerate(chunk.offset):
            data = bytes(chunk.data[offset : offset + chunk.captured_len[index]])
            packets.append((chunk.t_ns[index], data, chunk.original_len[index], chunk.link_type[index]))
    worker.join()
    assert not failed
    return packets


def in_namespace(space, act):
    def work():
        with space.entered():
            act()

    return work


class Tcpdump:
    """tcpdump at work in a namespace, with everything on disk at the end. Why -s and -B: it would drop packets."""

    def __init__(self, space, interface, path, *arguments):
        command = [
            peer("tcpdump"),
            "-s",
            "4096",
            "-B",
            "32768",
            "--immediate-mode",
            "-U",
            "-n",
            "-i",
            interface,
            "-w",
            str(path),
            *arguments,
        ]
        with space.entered():
            self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert any("listening on" in line for line in iter(self._process.stderr.readline, ""))
        self._path = path

    def end(self, number):
        """End it once ``number`` packets are in its file."""
        wait_until(lambda: self._packets() >= number, f"{number} packets of tcpdump's")
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=PATIENCE_S)

    def _packets(self):
        with contextlib.suppress(TcpscopeError), open_capture(self._path) as source:
            return len(list(source.iter_packets()))
        return 0


@pytest.mark.parametrize("interface", ["lo", "any"])
def test_live_capture_sees_what_tcpdump_sees(netns, interface, tmp_path):
    other, mine = tmp_path / "tcpdump.pcap", tmp_path / "mine.pcap"
    tcpdump = Tcpdump(netns, interface, other)
    with netns.entered():
        source = LiveSource(interface)

    def act():
        for _ in range(20):
            talk()
        talk(family=socket.AF_INET6)
        wait_until_settled()

    with source, CaptureFile(str(mine), source.interfaces[0]) as file:
        packets = collect(source, in_namespace(netns, act))
        for t_ns, data, original, _ in packets:
            file.write(t_ns, data, original)
    tcpdump.end(len(packets))
    assert len(packets) >= 21 * 15, "how many ACKs go alone is up to the kernel's timers"
    assert source.dropped == 0
    listing = [run_peer("tcpdump", "-n", "-t", "-S", "-v", "-r", path) for path in (mine, other)]
    assert listing[0].splitlines() == listing[1].splitlines()
    if interface == "any":
        with open_capture(other) as theirs:
            assert [packet.data for packet in theirs.iter_packets()] == [data for _, data, _, _ in packets]


@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
def test_command_shows_states_and_writes_the_packets(netns, suffix, tmp_path):
    path = tmp_path / f"live.{suffix}"
    process = start(netns, "-w", str(path), "--json")
    with netns.entered():
        port = talk(rounds=1)
    lines = []
    while not lines or "CLOSED" not in (lines[-1]["destination_state"], lines[-1]["source_state"]):
        lines.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert out == ""
    moves = [(line["source_before"], line["source_state"]) for line in lines if line["source"]["port"] != port]
    assert moves[0] == (None, "SYN_SENT")
    assert ("ESTABLISHED", "FIN_WAIT_1") in moves
    assert re.search(rf"{len(lines)} packets captured, {len(lines)} TCP segments shown, 1 connection$", err.strip())
    with open_capture(path) as source:
        assert len(list(iter_segments(source.iter_chunks()))) == len(lines)


def start(space, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with space.entered():
        process = subprocess.Popen(
            [sys.executable, "-m", "tcpscope", "capture", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
    first = process.stderr.readline()
    assert first.startswith("capturing on"), first
    return process


def test_command_ladder_and_count(netns):
    process = start(netns, "--ladder", "1", "-i", "lo", "-c", "3")
    with netns.entered():
        talk(rounds=1)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert out.count("─▶") + out.count("◀─") == 3
    assert "3 TCP segments shown" in err


def test_command_writes_a_capture_to_a_pipe(netns):
    process = start(netns, "-w", "-", "-i", "lo", "--seconds", "1.5")
    process.stdout.close()
    assert process.wait(timeout=PATIENCE_S) in (0, 1)


@pytest.mark.skipif(not is_available(), reason="libpcap is not installed")
@pytest.mark.parametrize("interface", ["lo", "any"])
def test_filter_runs_in_the_kernel(netns, interface):
    with netns.entered():
        chosen = PacketFilter("tcp dst port 7001", filter_link_type_of(interface))
        source = LiveSource(interface, packet_filter=chosen)
    with source:
        packets = collect(source, in_namespace(netns, lambda: [talk(port) for port in (7000, 7001, 7002)]))
    assert len(packets) > 5
    for _, data, _, _ in packets:
        assert b"\x1b\x59" in data  # 7001
    assert source.received <= 2 * len(packets)


def test_ring_too_small_for_the_traffic_counts_drops(netns):
    with netns.entered():
        source = LiveSource("lo", ring_bytes=1 << 20)
    with source:
        in_namespace(netns, lambda: [talk(rounds=90) for _ in range(3)])()
        source.stop()
        seen = sum(len(chunk.offset) for chunk in source.iter_chunks())
    assert seen > 0
    assert source.dropped > 0
    assert source.received >= seen


def test_unknown_interface_and_bad_filter_are_one_line(netns):
    with netns.entered():
        with pytest.raises(TcpscopeError, match="there is no interface 'nope0'; there are: any, lo"):
            LiveSource("nope0")
        if is_available():
            with pytest.raises(UsageError, match="the filter 'prt 5' is not understood"):
                PacketFilter("prt 5", filter_link_type_of("lo"))


def test_vlan_tag_the_kernel_took_out_is_put_back(netns):
    """On arrival Linux moves the tag out of the frame to its side; tcpdump shows it in the frame, so do we."""
    frame = bytes.fromhex("020000000002 020000000001 8100 e007 0800".replace(" ", "")) + b"\x45" + bytes(45)
    with netns.entered():
        for command in ("link add v0 type veth peer name v1", "link set v0 up", "link set v1 up"):
            subprocess.run([peer("ip"), *command.split()], check=True)
        source = LiveSource("v1")

    def act():
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("v0", 0))
            sender.send(frame)

    with source:
        packets = [data for _, data, _, _ in collect(source, in_namespace(netns, act))]
    assert frame in packets


def test_verb_capture_follows_from_the_call_on_until_it_is_closed(netns):
    with netns.entered():
        segments = tcpscope.capture("lo")
        port = talk()
        first = [next(segments) for _ in range(3)]
        segments.close()
    assert [number for number, _ in first] == [1, 1, 1]
    assert first[0][1].destination.port == port
    assert [seen.source_state.name for _, seen in first] == ["SYN_SENT", "SYN_RECEIVED", "ESTABLISHED"]
    with pytest.raises(StopIteration):
        next(segments)
