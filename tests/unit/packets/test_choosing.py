"""The engine is chosen by the number of packets and by what is compiled already."""

import gzip
import io
import os

import pytest

from tcpscope.capture.pcap import PcapWriter
from tcpscope.model.errors import Unsupported
from tcpscope.packets import choosing, compiled
from tcpscope.packets.choosing import choose_engine, estimate_packets


def pcap(path, packets, size=60):
    file = io.BytesIO()
    writer = PcapWriter(file, 1)
    for number in range(packets):
        writer.write(number * 1000, os.urandom(size))
    path.write_bytes(file.getvalue())
    return str(path)


@pytest.mark.parametrize(("packets", "size"), [(1, 60), (500, 60), (5000, 60), (300, 1500)])
def test_packets_of_one_size_are_estimated_exactly(tmp_path, packets, size):
    estimate = estimate_packets([pcap(tmp_path / "a", packets, size)])
    assert packets <= estimate <= packets * 1.01 + 1


def test_packets_of_several_files_are_estimated_by_the_largest(tmp_path):
    paths = [pcap(tmp_path / "a", 1000), pcap(tmp_path / "b", 3000)]
    assert 4000 <= estimate_packets(paths) <= 4050


def test_packets_of_a_compressed_file_are_more_than_its_bytes_say(tmp_path):
    plain = pcap(tmp_path / "a", 2000)
    packed = tmp_path / "a.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a").read_bytes()))
    assert estimate_packets([str(packed)]) > estimate_packets([plain])


def test_pipe_is_not_looked_into(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert estimate_packets([str(tmp_path / "pipe")]) is None
    assert estimate_packets(["-"]) is None


@pytest.mark.parametrize("content", [b"", b"no capture", b"\xd4\xc3\xb2\xa1"])
def test_file_that_is_no_capture_holds_none(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert estimate_packets([str(tmp_path / "a")]) == 0


@pytest.fixture
def world(monkeypatch):
    """What is installed and compiled, and how many packets there are: all up to the test."""
    facts = {"packets": 0, "ready": False, "installed": True, "compiled": 0, "told": []}

    def prepare(progress=None):
        if not facts["installed"]:
            raise Unsupported("not installed")
        facts["compiled"] += 1

    monkeypatch.setattr(choosing, "estimate_packets", lambda paths: facts["packets"])
    monkeypatch.setattr(choosing, "_is_installed", lambda: facts["installed"])
    monkeypatch.setattr(compiled, "is_ready", lambda: facts["ready"])
    monkeypatch.setattr(compiled, "prepare", prepare)
    facts["choose"] = lambda engine="auto": choose_engine(engine, ["a"], facts["told"].append)
    return facts


@pytest.mark.parametrize(
    ("packets", "ready", "engine", "lines"),
    [
        (1_000, True, "python", 0),
        (choosing.MANY_PACKETS, True, "compiled", 0),
        (choosing.MANY_PACKETS, False, "python", 0),
        (choosing.LONG_PACKETS, False, "python", 1),
        (choosing.COMPILING_PACKETS, False, "compiled", 1),
        (choosing.COMPILING_PACKETS, True, "compiled", 0),
        (None, True, "compiled", 0),
        (None, False, "python", 0),
    ],
)
def test_engine_follows_packets_and_what_is_compiled(world, packets, ready, engine, lines):
    world.update(packets=packets, ready=ready)
    assert world["choose"]() == engine
    assert len(world["told"]) == lines
    assert world["compiled"] == (engine == "compiled" and not ready)


def test_engine_without_the_extra_is_python_and_silent(world):
    world.update(packets=10**7, installed=False)
    assert world["choose"]() == "python"
    assert world["told"] == []


def test_engine_asked_for_is_compiled_whatever_the_size(world):
    assert world["choose"]("compiled") == "compiled"
    assert world["compiled"] == 1 and len(world["told"]) == 1


def test_engine_asked_for_without_the_extra_is_refused(world):
    world.update(installed=False)
    with pytest.raises(Unsupported):
        world["choose"]("compiled")
    assert world["told"] == []


def test_engine_that_breaks_is_said_and_python_reads(world, monkeypatch):
    def refuse():
        raise Unsupported("no code may be made")

    world.update(packets=10**7)
    monkeypatch.setattr(compiled, "is_ready", refuse)
    assert world["choose"]() == "python"
    assert world["told"] == ["note: no code may be made"]


def test_engine_python_looks_at_nothing(monkeypatch):
    monkeypatch.setattr(choosing, "estimate_packets", lambda paths: pytest.fail("looked"))
    assert choose_engine("python", ["a"]) == "python"
