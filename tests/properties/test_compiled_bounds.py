"""Compiled code has bare pointers: it must read nothing behind what was captured, whatever was captured."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.made_captures import icmp_frame, random_capture

LINKS = (0, 1, 9, 12, 50, 51, 104, 113, 228, 229, 239, 276)
#: Frames come as lines on standard input: link type and octets. Behind each lies a page that nobody may read.
CHILD = """
import ctypes, mmap, sys
from tcpscope.capture.packets import Chunk
from tcpscope.packets.compiled import CompiledEngine

page = mmap.PAGESIZE
memory = mmap.mmap(-1, 33 * page)
base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
assert libc.mprotect(base + 32 * page, page, 0) == 0
engine, number = CompiledEngine(), 0
for line in sys.stdin:
    link_type, text, original = line.split(",")
    frame, number = bytes.fromhex(text), number + 1
    at = 32 * page - len(frame)
    memory[at : at + len(frame)] = frame
    columns = ([value] for value in (at, len(frame), int(original), number * 1000, 0, int(link_type)))
    engine.take(Chunk(memory, 0, number, *(__import__("array").array("q", column) for column in columns)))
print(number, len(engine.finish()))
"""


def _frames(rng):
    for seed in range(30):
        frames = [data for _, data in random_capture(seed)]
        frames += [icmp_frame((10, 0, 0, 1), (10, 0, 0, 2), 3, rng.randrange(5), data) for data in frames[:20]]
        for data in frames:
            yield 1, data
            yield 1, data[: rng.randrange(1, len(data) + 1)]
            spoilt = bytearray(data)
            for _ in range(rng.randrange(1, 4)):
                spoilt[rng.randrange(12, min(len(data), 60))] = rng.randrange(256)
            yield 1, bytes(spoilt)
            start = rng.choice((0, 14))
            yield rng.choice(LINKS), bytes(spoilt[start : rng.randrange(start + 1, len(data) + 1)])
    for _ in range(3000):
        yield rng.choice(LINKS), rng.randbytes(rng.randrange(1, 120))


@pytest.mark.slow
def test_compiled_engine_reads_nothing_behind_a_frame():
    pytest.importorskip("numba")
    rng = random.Random(7)
    frames = list(_frames(rng))
    lines = "".join(f"{kind},{data.hex()},{len(data) + rng.choice((0, 0, 900))}\n" for kind, data in frames)
    found = subprocess.run(
        [sys.executable, "-c", CHILD], input=lines, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")},
    )  # fmt: skip
    assert found.returncode == 0, (found.returncode, found.stderr[-2000:])
    taken, connections = map(int, found.stdout.split())
    assert taken == len(frames)
    assert connections > 100
