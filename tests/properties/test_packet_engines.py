"""The engines find the same connections, states and transitions in random traffic, sensible and not."""

import random

import pytest
from tests.made_captures import frame, icmp_frame, pcap, random_capture
from tests.packet_engines import everything, run_compiled, run_interpreted, run_pure

from tcpscope.model.state import State
from tcpscope.packets import layout
from tcpscope.packets.cases import collect
from tcpscope.packets.records import Connections
from tcpscope.packets.totals import count_totals


def _states(ledger):
    for f in ledger.flows:
        high = f[0] if f[layout.SHARED] & layout.SELF else f[layout.HALF_WORDS]
        yield State(f[0]), State(high)


@pytest.mark.parametrize("block", range(8))
def test_interpreted_engine_equals_the_pure_one(tmp_path, block):
    path = tmp_path / "random.pcap"
    moves = 0
    for seed in range(block * 40, block * 40 + 40):
        path.write_bytes(pcap(random_capture(seed)))
        pure, ledger = run_pure(path), run_interpreted(path)
        assert [(c.halves[0].state, c.halves[1].state) for c in pure.connections] == list(_states(ledger)), seed
        assert sorted(pure.rows()) == sorted(ledger.rows()), seed
        moves += len(pure.rows())
    assert moves > 500


def test_rows_are_moves_of_the_table(tmp_path):
    from tcpscope.machine.lifecycle import EDGES

    path = tmp_path / "random.pcap"
    for seed in range(1000, 1040):
        path.write_bytes(pcap(random_capture(seed)))
        for row in run_interpreted(path).rows():
            assert (State(row.before), State(row.after)) in EDGES


@pytest.mark.slow
def test_compiled_engine_equals_the_interpreted_one_in_every_number(tmp_path):
    pytest.importorskip("numba")
    path = tmp_path / "random.pcap"
    for seed in range(2000, 2150):
        path.write_bytes(pcap(random_capture(seed)))
        assert everything(run_compiled(path)) == everything(run_interpreted(path)), seed


@pytest.mark.slow
def test_compiled_engine_grows_its_tables_without_forgetting(tmp_path):
    pytest.importorskip("numba")
    path = tmp_path / "many.pcap"
    frames = [item for seed in range(3) for item in random_capture(seed, flows=60, length=30)]
    scan = [
        (1_800_000_000 * 10**9 + n * 1000, frame((10, 1, n >> 8, n & 255), (10, 0, 0, 2), 1000 + n, 80, n, 0, 2))
        for n in range(9000)
    ]
    again = [(t_ns + 10**10, data) for t_ns, data in scan]
    path.write_bytes(pcap(frames + scan + again))
    assert everything(run_compiled(path)) == everything(run_interpreted(path))


def test_rows_of_the_untroubled_share_an_empty_row(tmp_path):
    path = tmp_path / "random.pcap"
    for seed in range(4000, 4100):
        path.write_bytes(pcap(random_capture(seed)))
        assert not any(run_interpreted(path).extras[0]), seed


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["compiled", "interpreted"])
def test_engine_folds_a_flood_and_keeps_the_rest(tmp_path, monkeypatch, engine):
    pytest.importorskip("numba")
    from tcpscope.packets import compiled, interpreted

    frames = random_capture(1, flows=100, length=40)
    began, ended = frames[0][0], frames[-1][0]
    flood = []
    for n in range(20_000):
        syn = frame((11, 1, n >> 8, n & 255), (10, 9, 9, 9), 99, 80, n, 0, 2)
        t_ns = began + (ended - began) * n // 20_000
        flood += [(t_ns, syn), (t_ns + 1000, syn)] if n % 3 else [(t_ns, syn)]
        if n % 1000 == 0:
            for lost in (syn, frame((11, 9, n >> 8, n & 255), (10, 9, 9, 9), 99, 80, n, 0, 2)):  # known and unknown
                flood.append((t_ns + 10, icmp_frame((10, 9, 9, 9), (11, 1, n >> 8, n & 255), 3, 3, lost)))
    path = tmp_path / "flood.pcap"
    path.write_bytes(pcap(sorted(frames + flood)))
    whole = run_interpreted(path)
    monkeypatch.setattr({"compiled": compiled, "interpreted": interpreted}[engine], "FOLD_FLOWS", 4096)
    folded = run_compiled(path) if engine == "compiled" else run_interpreted(path)
    assert folded.folded[bytes((10, 9, 9, 9, 0, 80))] > 10_000
    assert len(folded) + sum(folded.folded.values()) == len(whole)
    assert len(folded.extras) < len(whole.extras) / 2
    assert len(folded.mentioned) >= 20 and folded.mentioned == whole.mentioned
    kept = {flow[:3]: flow[3:] for flow in everything(folded)[0]}
    common = [flow for flow in everything(whole)[0] if flow[:3] in kept]
    assert len(common) > 1000
    assert all(kept[flow[:3]] == flow[3:] for flow in common)


def _judgement(ledger):
    connections = Connections(ledger)
    cases = collect(ledger, connections.places)
    kinds = sorted({kind for kind, _ in cases.groups})
    groups = [
        (kind, group.server, group.total, group.clients, group.examples, group.sums)
        for kind in kinds
        for group in cases.of(kind)
    ]
    return groups, cases.answered, cases.segments, count_totals(ledger, ""), list(connections)


@pytest.mark.slow
def test_rows_in_arrays_are_judged_as_rows_in_lists(tmp_path):
    pytest.importorskip("numba")
    path = tmp_path / "random.pcap"
    kinds = set()
    for seed in range(5000, 5100):
        path.write_bytes(pcap(random_capture(seed)))
        arrays, lists = _judgement(run_compiled(path)), _judgement(run_interpreted(path))
        assert arrays == lists, seed
        kinds |= {group[0] for group in lists[0]}
    assert len(kinds) >= 10, kinds


def mutate(rng, raw):
    """Change octets, flip bits, copy stretches over others; the file header stays."""
    for _ in range(rng.randrange(1, 30)):
        at = rng.randrange(24, len(raw))
        kind = rng.randrange(3)
        if kind == 0:
            raw[at] = rng.randrange(256)
        elif kind == 1:
            raw[at] ^= 1 << rng.randrange(8)
        else:
            start, length = rng.randrange(len(raw)), rng.randrange(1, 80)
            raw[at : at + length] = raw[start : start + length]
    return raw


@pytest.mark.parametrize("block", range(4))
def test_engines_agree_on_mutated_captures(tmp_path, block):
    rng = random.Random(9293 + block)
    path = tmp_path / "mutant.pcap"
    for seed in range(40):
        path.write_bytes(mutate(rng, bytearray(pcap(random_capture(40 * block + seed)))))
        assert sorted(run_interpreted(path).rows()) == sorted(run_pure(path).rows()), (block, seed)
