"""Following packets as they pass: what is forgotten changes nothing for what is kept, and memory is bounded."""

import random
import tracemalloc

import pytest
from tests.made_captures import ACK, FIN, PSH, RST, SYN, T0, Talk, pcap, random_capture

from tcpscope.capture import open_capture
from tcpscope.packets import following, layout
from tcpscope.packets.following import Follower
from tcpscope.packets.interpreted import InterpretedEngine


def chunks(path, frames):
    path.write_bytes(pcap(frames))
    with open_capture(path) as source:
        yield from source.iter_chunks(256)


def rows_of(engine, hidden=()):
    """Flows without what points into the log."""
    rows = []
    for serial in range(len(engine.ledger)):
        f, q, extra, key = engine.ledger.flow(serial)
        for half in (0, layout.HALF_WORDS):
            f[half + layout.PENDING_1] = bool(f[half + layout.PENDING_1])
            f[half + layout.PENDING_2] = bool(f[half + layout.PENDING_2])
        f[layout.SYN_ROW] = bool(f[layout.SYN_ROW])
        f[layout.EXTRA] = 0
        if key not in hidden:
            rows.append((key, f[layout.INCARNATION], f, q, extra))
    return sorted(rows)


@pytest.mark.parametrize("seed", range(30))
def test_keeping_some_connections_changes_nothing_for_them(tmp_path, seed):
    rng = random.Random(seed)
    whole, forgetful = InterpretedEngine(), InterpretedEngine()
    gone = set()
    for chunk in chunks(tmp_path / "made.pcap", random_capture(seed, flows=8)):
        whole.take(chunk)
        forgetful.take(chunk)
        ledger = forgetful.ledger
        lost = {ledger.keys[serial] for serial in range(len(ledger)) if rng.random() < 0.05}
        gone |= lost
        forgetful.keep([serial for serial in range(len(ledger)) if ledger.keys[serial] not in lost])
    assert rows_of(whole, gone) == rows_of(forgetful, gone)
    assert {row.serial for row in forgetful.finish().rows()} <= set(range(len(forgetful.ledger)))


def short_connections(count):
    for number in range(count):
        talk = Talk(1024 + number % 60_000, client=(10, 1, number >> 8 & 255, number & 255), start=T0 + number * 10**7)
        yield from talk.shake().say("a", PSH | ACK, 10).say("b", FIN | ACK).say("a", FIN | ACK).say("b", ACK).frames


def test_short_connections_without_end_stay_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(following, "MOST_CONNECTIONS", 100)
    lasting = Talk(9).shake()
    follower, seen = Follower(), []
    frames = [*lasting.frames, *short_connections(1500)]
    lasting.t = T0 + 2 * 10**12
    frames += lasting.say("a", PSH | ACK, 10).say("a", RST | ACK).frames[3:]
    tracemalloc.start()
    for chunk in chunks(tmp_path / "made.pcap", frames):
        seen.extend(
            (number, one.source_before.name if one.source_before else "") for number, one in follower.follow(chunk)
        )
        assert len(follower._engine.ledger) <= 101
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert follower.connections == 1501
    assert [number for number, _ in seen] == [1] * 3 + [n for n in range(2, 1502) for _ in range(7)] + [1, 1]
    assert seen[-2:] == [(1, "ESTABLISHED"), (1, "ESTABLISHED")]  # it lives, so it was never forgotten
    assert peak < 6 << 20


def test_syn_flood_is_forgotten_before_what_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(following, "MOST_CONNECTIONS", 100)
    alive = [Talk(2000 + n).shake() for n in range(20)]
    flood = [Talk(1024, client=(10, 9, n >> 8, n & 255), start=T0 + 10**9 + n).say("a", SYN) for n in range(2000)]
    frames = [item for talk in alive for item in talk.frames] + [talk.frames[0] for talk in flood]
    for talk in alive:
        talk.t = T0 + 10**11
        frames += talk.say("b", FIN | ACK).frames[3:]
    follower = Follower()
    numbers = [number for chunk in chunks(tmp_path / "made.pcap", frames) for number, _ in follower.follow(chunk)]
    assert numbers[-20:] == list(range(1, 21))
