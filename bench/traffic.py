"""Synthetic captures of any size: many connections of known fate, mixed in time, valid enough for every peer.

84 % live and close in order, 5 % are three SYNs without an answer, 3 % are refused, 2 % are never closed, 4 % are
reset, 2 % stay half closed; about 1 % of data is sent twice. ``flood`` writes SYNs from forged addresses.
"""

from __future__ import annotations

import struct

import numba
import numpy as np

Rows = np.ndarray
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
NORMAL, SILENT, REFUSED, OPEN, RESET, HALF_CLOSED = range(6)
_SHARES = (0.84, 0.05, 0.03, 0.02, 0.04, 0.02)
_MEAN_PACKETS = 34.2


def write_capture(path: str, packets: int, *, snaplen: int = 96, clients: int = 250, seed: int = 1) -> int:
    """Write about ``packets`` packets (a few less); return how many connections."""
    rng = np.random.default_rng(seed)
    connections = max(int(packets / _MEAN_PACKETS), 1)
    fate = rng.choice(len(_SHARES), connections, p=_SHARES)
    rounds = np.where(fate == NORMAL, rng.poisson(10.3, connections) + 1, rng.integers(1, 6, connections))
    span_ns = int(packets / 57_000 * 1e9)
    start = np.sort(rng.integers(0, span_ns, connections)) + 1_700_000_000 * 10**9
    rows = np.empty((packets + 200, 7), np.int64)
    count = _script(fate, rounds, start, rows, packets, seed)
    rows = rows[:count]
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, 1))
        for begin in range(0, count, 100_000):
            part = rows[begin : begin + 100_000]
            room = np.zeros(len(part) * (16 + min(snaplen, 1600)), np.uint8)
            out.write(room[: _write(part, room, snaplen, clients)].data)
    return int(rows[:, 1].max()) + 1


def write_flood(path: str, packets: int, *, seconds: float = 100.0, seed: int = 1) -> None:
    """Write ``packets`` SYNs from as many forged addresses to one server."""
    rng = np.random.default_rng(seed)
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 96, 1))
        for begin in range(0, packets, 250_000):
            count = min(250_000, packets - begin)
            room = np.zeros(count * 70, np.uint8)
            sources = rng.integers(1 << 24, 224 << 24, count, dtype=np.int64)
            ports = rng.integers(1024, 65536, count, dtype=np.int64)
            times = ((np.arange(begin, begin + count) / packets) * seconds * 1e6).astype(np.int64)
            _write_syns(room, sources, ports, times)
            out.write(room.data)


@numba.njit(cache=True)
def _script(fate: Rows, rounds: Rows, start: Rows, rows: Rows, most: int, seed: int) -> int:
    np.random.seed(seed)
    n = 0
    for c in range(len(fate)):
        if n + 4 * rounds[c] + 12 > most:
            break
        t = start[c]
        client, server = np.random.randint(1 << 32), np.random.randint(1 << 32)
        if fate[c] == SILENT:
            for again in range(3):
                n = _put(rows, n, t + again * 1_000_000_000, c, 0, SYN, 0, client, 0)
            continue
        n = _put(rows, n, t, c, 0, SYN, 0, client, 0)
        if fate[c] == REFUSED:
            n = _put(rows, n, t + 300_000, c, 1, RST | ACK, 0, 0, client + 1)
            continue
        client += 1
        n = _put(rows, n, t + 300_000, c, 1, SYN | ACK, 0, server, client)
        server += 1
        n = _put(rows, n, t + 600_000, c, 0, ACK, 0, client, server)
        t += 700_000
        for _ in range(rounds[c]):
            asked = 80 + np.random.randint(400)
            n = _put(rows, n, t, c, 0, PSH | ACK, asked, client, server)
            if np.random.random() < 0.01:
                n = _put(rows, n, t + 200_000, c, 0, PSH | ACK, asked, client, server)
            client += asked
            answered = 200 + np.random.randint(1260)
            n = _put(rows, n, t + 400_000, c, 1, PSH | ACK, answered, server, client)
            if np.random.random() < 0.01:
                n = _put(rows, n, t + 600_000, c, 1, PSH | ACK, answered, server, client)
            server += answered
            n = _put(rows, n, t + 900_000, c, 0, ACK, 0, client, server)
            t += 1_000_000 + np.random.randint(50_000_000)
        if fate[c] == RESET:
            n = _put(rows, n, t, c, 0, RST | ACK, 0, client, server)
        elif fate[c] != OPEN:
            n = _put(rows, n, t, c, 0, FIN | ACK, 0, client, server)
            n = _put(rows, n, t + 300_000, c, 1, ACK, 0, server, client + 1)
            if fate[c] == NORMAL:
                n = _put(rows, n, t + 400_000, c, 1, FIN | ACK, 0, server, client + 1)
                n = _put(rows, n, t + 700_000, c, 0, ACK, 0, client + 1, server + 1)
    return n


@numba.njit(cache=True)
def _put(rows: Rows, n: int, t: int, c: int, way: int, flags: int, text: int, seq: int, ack: int) -> int:
    rows[n, 0], rows[n, 1], rows[n, 2], rows[n, 3] = t, c, way, flags
    rows[n, 4], rows[n, 5], rows[n, 6] = text, seq, ack
    return n + 1


@numba.njit(cache=True)
def _big(room: Rows, at: int, value: int, octets: int) -> None:
    for place in range(octets):
        room[at + place] = value >> 8 * (octets - 1 - place) & 255


@numba.njit(cache=True)
def _little(room: Rows, at: int, value: int) -> None:
    for place in range(4):
        room[at + place] = value >> 8 * place & 255


@numba.njit(cache=True)
def _sum16(room: Rows, at: int, octets: int) -> int:
    total = 0
    for place in range(0, octets, 2):
        total += room[at + place] * 256 + room[at + place + 1]
    return total


@numba.njit(cache=True)
def _fold(total: int) -> int:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


@numba.njit(cache=True)
def _write(rows: Rows, room: Rows, snaplen: int, clients: int) -> int:
    at = 0
    for n in range(len(rows)):
        t, c, way, flags, text, seq, ack = rows[n]
        header = 32 if flags & SYN else 20
        length = 34 + header + text
        captured = min(length, snaplen)
        _little(room, at, t // 1_000_000_000)
        _little(room, at + 4, t % 1_000_000_000 // 1000)
        _little(room, at + 8, captured)
        _little(room, at + 12, length)
        at += 16
        room[at + 12] = 8
        ip = at + 14
        room[ip] = 0x45
        _big(room, ip + 2, length - 14, 2)
        room[ip + 6] = 0x40
        room[ip + 8] = 64
        room[ip + 9] = 6
        client, server = 0x0A000000 + 1 + c % clients, 0xC0000200 + 1 + c // clients % 8
        port = 1024 + c // clients % 64000
        _big(room, ip + 12, server if way else client, 4)
        _big(room, ip + 16, client if way else server, 4)
        _big(room, ip + 10, _fold(_sum16(room, ip, 20)), 2)
        tcp = ip + 20
        _big(room, tcp, 80 if way else port, 2)
        _big(room, tcp + 2, port if way else 80, 2)
        _big(room, tcp + 4, seq, 4)
        _big(room, tcp + 8, ack, 4)
        room[tcp + 12] = header // 4 << 4
        room[tcp + 13] = flags
        _big(room, tcp + 14, 65535 if flags & SYN else 512, 2)
        if flags & SYN:
            _big(room, tcp + 20, 0x020405B4_01030307, 8)
            _big(room, tcp + 28, 0x04020000, 4)
        total = _sum16(room, ip + 12, 8) + 6 + header + text + _sum16(room, tcp, header)
        _big(room, tcp + 16, _fold(total), 2)
        at += captured
    return at


@numba.njit(cache=True)
def _write_syns(room: Rows, sources: Rows, ports: Rows, times: Rows) -> None:
    for n in range(len(sources)):
        at = n * 70
        _little(room, at, 1_700_000_000 + times[n] // 1_000_000)
        _little(room, at + 4, times[n] % 1_000_000)
        _little(room, at + 8, 54)
        _little(room, at + 12, 54)
        at += 16
        room[at + 12] = 8
        ip = at + 14
        room[ip] = 0x45
        _big(room, ip + 2, 40, 2)
        room[ip + 8] = 64
        room[ip + 9] = 6
        _big(room, ip + 12, sources[n], 4)
        _big(room, ip + 16, 0xC0000201, 4)
        _big(room, ip + 34 - 14, ports[n], 2)
        _big(room, ip + 22, 80, 2)
        _big(room, ip + 24, sources[n] * 2654435761 & 0xFFFFFFFF, 4)
        room[ip + 32] = 0x50
        room[ip + 33] = SYN
        _big(room, ip + 34, 1024, 2)
