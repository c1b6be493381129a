"""Files of any kind: dumps, cut dumps, other things."""

import io
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.dumps import test_dump_formats as samples
from tests.unit.dumps import test_dump_surroundings as surroundings
from tests.unit.dumps import test_dump_tools as tools

from tcpscope.dumps.looks import DumpReader
from tcpscope.dumps.read import _read_stream, parse_dumps, read_dump, read_dumps, with_ages
from tcpscope.model.errors import TcpscopeError

ALL = [samples.LINUX_ANLP, samples.LINUX_E_O, samples.JAVA, samples.FREEBSD, samples.MACOS_V,
       samples.WINDOWS, samples.SS, samples.LSOF, samples.LSOF_F, samples.PROC,
       surroundings.GERMAN, surroundings.WINDOWS_B, tools.POWERSHELL, tools.SOCKSTAT, tools.SOLARIS,
       tools.LSOF_QUEUES]  # fmt: skip

ROWS = [line for text in ALL for line in text.splitlines()]


@pytest.mark.parametrize("text", ALL, ids=range(len(ALL)))
def test_a_dump_cut_anywhere_keeps_what_was_whole(text):
    whole = [samples.brief(socket)[1:4] for look in parse_dumps(text) for socket in look.sockets]
    for cut in range(0, len(text), 7):
        looks = parse_dumps(text[:cut])
        found = [samples.brief(socket)[1:4] for look in looks for socket in look.sockets]
        assert found[:-1] == whole[: max(0, len(found) - 1)]  # the last row may have lost its end


@settings(max_examples=200)
@given(st.lists(st.one_of(st.text(max_size=80), st.sampled_from([line for text in ALL for line in text.splitlines()])),
                max_size=20), st.randoms())  # fmt: skip
def test_lines_in_any_order_with_anything_between_never_raise(lines, random):
    random.shuffle(lines)
    for look in parse_dumps("\n".join(lines)):
        for socket in look.sockets:
            assert 0 <= socket.local.port <= 65535 and 0 <= socket.remote.port <= 65535


def one_by_one(lines):
    """Read every line on the slow road, on which no row profits from the rows before it."""
    reader = DumpReader()
    for place, line in enumerate(lines):
        reader._lines, reader._rest = lines, iter(lines[place + 1 :])
        reader._read_line(line)
    return reader.snapshots(0)


def odd(line, random):
    """The line with one of its words replaced by another that may stand there, or by one that may not."""
    words = line.split()
    if words:
        words[random.randrange(len(words))] = random.choice(ODD_WORDS)
    return " ".join(words)


ODD_WORDS = ["0", "00", "1", "-", "7/x", "77", "9" * 30, "9" * 5000, "10.0.0.1:80", "10.0.0.1:70000", "[::1]:80",
             "::1:80", "*:80", "0.0.0.0:*", "a%b:80", "1.2.3.4->5.6.7.8:9", "1.2.3.4:1->1.2.3.5:2", "\u0661.0.0.1:80",
             "10.0.0.1:\u0661", "TIME_WAIT", "(LISTEN)", "TCP", "UDP", "tcp6", "ESTAB", "0100007F:0050",
             "0100007F:00500", "0A", "03:00001770", "IPv6", "3u", "cwd", "1:"]  # fmt: skip


@settings(max_examples=300)
@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_rows_read_together_are_the_rows_read_one_by_one(random, count):
    lines = [random.choice(ROWS) for _ in range(count)]
    lines += [random.choice(lines) for _ in range(count)]
    lines = [odd(line, random) if random.random() < 0.4 else line for line in lines]
    reader = DumpReader()
    reader.read_lines(lines)
    together, apart = reader.snapshots(0), one_by_one(lines)
    assert [look.sockets for look in together] == [look.sockets for look in apart]
    assert [look.coverage for look in together] == [look.coverage for look in apart]


@pytest.mark.parametrize("text", ALL, ids=range(len(ALL)))
def test_many_copies_of_a_dump_are_read_as_each(text):
    lines = [line for line in text.splitlines() if not line.lower().startswith(("active", "proto", "command"))] * 5
    reader = DumpReader()
    reader.read_lines(lines)
    assert [look.sockets for look in reader.snapshots(0)] == [look.sockets for look in one_by_one(lines)]


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_dump_or_refused_in_words(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bytes") / "file"
    path.write_bytes(data)
    try:
        read_dumps(str(path))
    except TcpscopeError as error:
        assert "file" in str(error)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1", "cp850"])
def test_encodings_of_other_systems(tmp_path, encoding):
    path = tmp_path / "dump.txt"
    path.write_bytes(("Größe\r\n" + samples.WINDOWS.replace("\n", "\r\n")).encode(encoding))
    assert len(read_dump(str(path)).sockets) == 6


class Counted(io.BytesIO):
    """A gigabyte of something else: one block again and again, and how much of it was asked for."""

    def __init__(self):
        super().__init__()
        self.block = b"Nov 21 03:00:00 host kernel: something happened, nothing to see here\n" * 15_000
        self.taken = 0

    def read(self, size=-1):
        self.taken += min(size, len(self.block))
        return self.block[:size] if self.taken < 1 << 30 else b""


def test_a_large_file_of_something_else_is_refused_early_and_in_little_memory():
    stream = Counted()
    tracemalloc.start()
    with pytest.raises(TcpscopeError, match="no row of netstat"):
        _read_stream(stream, "messages", 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20
    assert stream.taken <= 6 << 20  # of 1 GiB


def test_one_endless_line_is_read_in_constant_memory(tmp_path):
    path = tmp_path / "line"
    path.write_bytes(b"x" * (8 << 20))
    with pytest.raises(TcpscopeError, match="no row of netstat"):
        read_dumps(str(path))


def test_binary_and_missing_files_are_named(tmp_path):
    path = tmp_path / "binary"
    path.write_bytes(b"\x7fELF\0\0\0")
    with pytest.raises(TcpscopeError, match=r"binary is no text: expected a capture"):
        read_dumps(str(path))
    with pytest.raises(FileNotFoundError, match="absent"):
        read_dumps(str(tmp_path / "absent"))
    with pytest.raises(IsADirectoryError):
        read_dumps(str(tmp_path))


def test_samples_of_the_articles(shared_folder):
    looks = read_dumps(str(shared_folder / "seeds" / "000_8f4b9e03e1590a76.txt"))
    assert [[socket.state.name for socket in look.sockets] for look in looks] == [
        ["LISTEN", "ESTABLISHED", "ESTABLISHED"],
        ["CLOSE_WAIT", "FIN_WAIT_2"],
        ["LISTEN", "ESTABLISHED", "ESTABLISHED"],
        ["CLOSE_WAIT", "FIN_WAIT_2"],
        ["LISTEN", "CLOSE_WAIT", "FIN_WAIT_2"],
    ]
    (look,) = read_dumps(str(shared_folder / "seeds" / "002_8713370453ca5097.txt"))
    assert len(look.sockets) == 4
    assert all([owner.pid for owner in socket.owners] == [22725, 22726] for socket in look.sockets)
    for name in ("001_8c8783140590f35c", "003_4276ac47101bf931", "004_2fa58ff5697fafc7"):  # prose, no table
        with pytest.raises(TcpscopeError, match="no row"):
            read_dumps(str(shared_folder / "seeds" / f"{name}.txt"))


HELD = "ESTAB 0 0 10.0.0.1:22 10.0.0.9:50001 ino:{} sk:{}\n"
MORNING, LATER = "Sat Nov 21 01:00:00 UTC 2026\n", "Sat Nov 21 01:10:00 UTC 2026\n"


@pytest.mark.parametrize(
    ("first", "second", "age"),
    [((7, "a"), (7, "a"), 600_000), ((7, "a"), (7, "b"), 0), ((7, "a"), (8, "a"), 0)],
)
def test_another_socket_at_the_same_addresses_is_not_as_old(first, second, age):
    looks = parse_dumps(MORNING + HELD.format(*first) + LATER + HELD.format(*second))
    assert with_ages(*looks).sockets[0].age.ms == age


def test_a_distance_between_looks_that_only_one_tells_is_not_known():
    (told,), (untold,) = parse_dumps(MORNING + HELD.format(7, "a")), parse_dumps(HELD.format(7, "a"), 10**18)
    aged = with_ages(told, untold)
    assert aged.taken_ns == told.taken_ns and aged.sockets[0].age.ms == 0
    assert any("how far they are apart is not known" in note for note in aged.coverage.notes)


def test_a_distance_that_files_tell_is_said_to_be_theirs():
    first, second = (parse_dumps(HELD.format(7, "a"), taken_ns)[0] for taken_ns in (10**18, 2 * 10**18))
    aged = with_ages(first, second)
    assert aged.sockets[0].age.ms == 10**12
    assert any("that between their files" in note for note in aged.coverage.notes)
    told = parse_dumps(MORNING + HELD.format(7, "a") + LATER + HELD.format(7, "a"))
    assert not any("between" in note for note in with_ages(*told).coverage.notes)
