"""The endpoint: CPU per data segment in and out, with and without header prediction; memory per connection.

Figures are microseconds of CPU time (``time.process_time``) for the pure machine: no parsing, no checksum, no system
call. Rounds with and without header prediction alternate, the median counts.
"""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable

from tcpscope.machine.connection import Connection
from tcpscope.machine.profile import LINUX
from tcpscope.machine.timewait import TimeWait
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import ACK, FIN, SYN, Options, Segment

A, B = Endpoint("192.0.2.1", 1000), Endpoint("192.0.2.2", 80)
OFFER = Options(mss=1460, window_scale=7, sack_permitted=True, timestamp=(1000, 0))
STAMP = Options(timestamp=(1000, 1000))
TEXT = bytes(1448)
SEGMENTS = 20_000
ROUNDS = 7


def established(fast_path: bool = True) -> Connection:
    """Return a client in ESTABLISHED with timestamps, SACK and window scale."""
    client = Connection(A, B, iss=1000, profile=LINUX)
    client.set_buffers(receive_bytes=4 << 20, send_bytes=4 << 20)
    client.tcb.fast_path = fast_path
    client.open(0)
    client.poll(0)
    client.receive_segment(Segment(5000, 1001, SYN | ACK, 65535, b"", OFFER), 0)
    client.poll(0)
    client.events()
    return client


def cost_in(fast_path: bool) -> float:
    """Receive text in order: 16 segments, then poll (an ACK for each two) and read."""
    client, seq = established(fast_path), 5001
    started = time.process_time()
    for _ in range(SEGMENTS // 16):
        for _ in range(8):
            for _ in range(2):
                client.receive_segment(Segment(seq, 1001, ACK, 65535, TEXT, STAMP), 1000)
                seq = (seq + 1448) & 0xFFFFFFFF
            client.poll(1000)
        client.receive()
    return (time.process_time() - started) / SEGMENTS * 1e6


def cost_out(fast_path: bool) -> float:
    """Send text in full segments; the peer acknowledges each second one."""
    client = established(fast_path)
    client.tcb.congestion.cwnd_bytes = 1 << 20
    text = bytes(1448 * 16)
    started = time.process_time()
    for _ in range(SEGMENTS // 16):
        client.send(text)
        out = client.poll(1000)
        assert len(out) == 16
        for segment in out[1::2]:
            ack = (segment.seq + 1448) & 0xFFFFFFFF
            client.receive_segment(Segment(5001, ack, ACK, 65535, b"", STAMP), 1000)
        client.poll(1000)
    return (time.process_time() - started) / SEGMENTS * 1e6


def memory_of(make: Callable[[], object], count: int = 500) -> float:
    """Return the octets that one more of what ``make`` returns costs."""
    make()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [make() for _ in range(count)]
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used / len(kept)


def in_time_wait() -> TimeWait:
    """Return the record of a connection that closed first."""
    client = established()
    client.shutdown(0)
    client.poll(0)
    client.receive_segment(Segment(5001, 1002, ACK | FIN, 65535, b"", STAMP), 0)
    client.poll(0)
    return TimeWait(client)


def run() -> None:
    """Print the figures beside the goals."""
    costs: dict[tuple[str, bool], list[float]] = {}
    for _ in range(ROUNDS):
        for fast_path in (True, False):
            costs.setdefault(("in", fast_path), []).append(cost_in(fast_path))
            costs.setdefault(("out", fast_path), []).append(cost_out(fast_path))
    print(f"{'cost per data segment':<28}{'predicted':>10}{'checks':>10}{'goal':>8}   us of CPU, median of {ROUNDS}")
    for way, goal in (("in", 12), ("out", 15)):
        fast, slow = (statistics.median(costs[way, on]) for on in (True, False))
        print(f"  {way:<26}{fast:>10.1f}{slow:>10.1f}{goal:>8}")
    print(f"{'memory':<28}{'bytes':>10}{'':>10}{'goal':>8}")
    print(f"  {'idle ESTABLISHED':<26}{memory_of(established):>10.0f}{'':>10}{4096:>8}")
    print(f"  {'TIME_WAIT record':<26}{memory_of(in_time_wait):>10.0f}{'':>10}{512:>8}")
