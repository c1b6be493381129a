"""The endpoint against chance: lossy networks, mutated segments, random calls and timers.

Few runs by default; the long mode (10**4 transfers, 10**6 segments, some minutes)::

    TCPSCOPE_LONG=1 python -m pytest tests/properties/test_endpoint.py -s
"""

import os
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chaos_kit import Chaos
from tests.endpoint_dump import dump
from tests.transfer_kit import Transfer

LONG = bool(os.environ.get("TCPSCOPE_LONG"))
TRANSFERS = 10_000 if LONG else 300
EPISODES = 25_000 if LONG else 600
STEPS = 60
PARTS = 10
PATIENCE_S = 0 if LONG else 900  # 0: none


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("part", range(PARTS))
def test_transfer_over_bad_links_delivers_identical_bytes(part):
    for seed in range(part * TRANSFERS // PARTS, (part + 1) * TRANSFERS // PARTS):
        Transfer(seed).run()
    if LONG:
        print(f"{TRANSFERS // PARTS} transfers over bad links: identical bytes")


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("part", range(PARTS))
def test_random_segments_calls_and_timers_keep_the_invariants(part):
    for seed in range(part * EPISODES // PARTS, (part + 1) * EPISODES // PARTS):
        chaos = Chaos(Random(seed))
        for _ in range(STEPS):
            chaos.step()
    if LONG:
        print(f"{EPISODES // PARTS * STEPS} random segments, calls and timers: no exception, invariants hold")


@pytest.mark.parametrize("seed", [7004, 17157, 19722, 31125, 40334])
def test_random_inputs_that_once_broke_an_invariant(seed):
    chaos = Chaos(Random(seed))
    for _ in range(STEPS):
        chaos.step()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**64))
def test_random_segments_calls_and_timers_found_by_hypothesis(seed):
    chaos = Chaos(Random(seed))
    for _ in range(STEPS):
        chaos.step()


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("part", range(PARTS))
def test_fast_path_equals_the_eight_checks_under_chaos(part):
    for seed in range(part * EPISODES // PARTS // 4, (part + 1) * EPISODES // PARTS // 4):
        fast, slow = Chaos(Random(seed)), Chaos(Random(seed))
        fast.tcb.fast_path, slow.tcb.fast_path = True, False
        for _ in range(STEPS):
            fast.step()
            slow.step()
            assert dump(fast.tcb) == dump(slow.tcb), seed


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("part", range(PARTS))
def test_fast_path_puts_the_same_segments_on_the_wire(part):
    for seed in range(part * TRANSFERS // PARTS // 3, (part + 1) * TRANSFERS // PARTS // 3):
        runs = []
        for fast_path in (True, False):
            transfer = Transfer(seed)
            transfer.network.keeps_passages = True
            for end in transfer.network.ends:
                end.tcb.fast_path = fast_path
            transfer.run()
            runs.append([(*passage[:2], dump(passage.segment)) for passage in transfer.network.passages])
        assert runs[0] == runs[1], seed
