"""Where bytes come from: compressed files, pipes, standard input; and what is missing is said."""

import bz2
import gzip
import io
import lzma
import os
import sys
import threading

import pytest

from tcpscope import extras
from tcpscope.capture import open_capture
from tcpscope.capture.libpcap_filter import PacketFilter, is_available
from tcpscope.capture.pcap import PcapWriter
from tcpscope.model.errors import TcpscopeError, Unsupported


@pytest.fixture
def raw():
    file = io.BytesIO()
    writer = PcapWriter(file, 101)
    for index in range(3000):
        writer.write(index, os.urandom(20) + bytes(index % 300))
    return file.getvalue()


def count(raw):
    with open_capture(io.BytesIO(raw)) as source:
        return sum(len(chunk.offset) for chunk in source.iter_chunks(5000)), source


@pytest.mark.parametrize(
    ("name", "compress"), [("gzip", gzip.compress), ("bzip2", bz2.compress), ("xz", lzma.compress)]
)
def test_compressed_captures_are_read_members_and_padding_too(name, compress, raw):
    packets, source = count(compress(raw))
    assert (packets, source.format.compression, source.damage) == (3000, name, [])
    packets, source = count(compress(raw[:5000]) + compress(raw[5000:]) + b"\0" * 512)
    assert (packets, source.damage) == (3000, [])


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_capture_cut_short_keeps_what_came_out(compress, raw):
    packed = compress(raw)
    cut = packed[: len(packed) * 3 // 4]
    if compress is bz2.compress:  # one block, of which nothing comes out before it is whole
        with pytest.raises(TcpscopeError, match="is no capture: bzip2 data ends early"):
            count(cut)
        return
    packets, source = count(cut)
    assert 0 < packets < 3000
    assert any("ends early" in damage.what for damage in source.damage)


def test_compressed_capture_with_a_broken_byte_keeps_what_came_out(raw):
    packed = bytearray(gzip.compress(raw))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = b"\xff" * 64
    packets, source = count(bytes(packed))
    assert 0 < packets <= 3000
    assert any(damage.what.startswith("gzip data is damaged") for damage in source.damage)


def test_rubbish_after_a_gzip_member_is_damage(raw):
    packets, source = count(gzip.compress(raw) + b"rubbish")
    assert packets == 3000
    assert any("gzip data is damaged" in damage.what for damage in source.damage)


def test_zstd_without_a_library_says_what_to_do(monkeypatch):
    monkeypatch.setattr(extras, "load", lambda name: None)
    with pytest.raises(Unsupported, match=r"Python 3\.14 or the library zstandard .*zstd -dc FILE \| tcpscope read -"):
        open_capture(io.BytesIO(b"\x28\xb5\x2f\xfd" + bytes(40)))


def test_zstd_is_read(raw):
    zstd = extras.load("compression.zstd") or pytest.importorskip("zstandard")
    packets, source = count(zstd.compress(raw))
    assert (packets, source.format.compression) == (3000, "zstd")


def test_pipe_hands_packets_over_before_it_is_full(raw):
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as end:
        first = raw[: 24 + 36 * 2]
        os.write(writing, first)
        source = open_capture(end)
        chunks = source.iter_chunks()
        assert len(next(chunks).offset) >= 1  # would hang if a whole chunk were waited for
        rest = threading.Thread(target=lambda: (os.write(writing, raw[len(first) : 40_000]), os.close(writing)))
        rest.start()
        packets = source.packets + sum(len(chunk.offset) for chunk in chunks)
        rest.join()
    assert packets > 100
    assert "the file ends inside" in source.damage[0].what


def test_standard_input_that_is_a_terminal_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    with pytest.raises(TcpscopeError, match="standard input is a terminal"):
        open_capture("-")


def test_folder_and_missing_file_are_said(tmp_path):
    with pytest.raises(TcpscopeError, match="is a directory"):
        open_capture(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_capture(tmp_path / "nope")


def test_missing_libpcap_is_said(monkeypatch):
    import ctypes

    def refuse(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert not is_available()
    with pytest.raises(Unsupported, match="packet filters need libpcap, which is not installed"):
        PacketFilter("tcp", 1)
