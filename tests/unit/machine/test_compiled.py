"""The compiled table is the table, the packed classifier is the classifier."""

import random

import pytest

from tcpscope.machine import compiled
from tcpscope.machine.classify import classify
from tcpscope.machine.compiled import AFTER, EVENTS, GUARD_SETS, STATES, classify_code, unpack_events
from tcpscope.machine.lifecycle import find_row
from tcpscope.model.event import Event, Guard
from tcpscope.model.segment import ACK, FIN, PSH, RST, SYN
from tcpscope.model.state import State


def test_every_cell_of_the_array_is_the_row_of_the_table():
    for number, guards in enumerate(GUARD_SETS):
        for state in State:
            for event in Event:
                row = find_row(state, event, guards)
                assert AFTER[(number * STATES + state) * EVENTS + event] == (row.after if row else 0)
    assert len(AFTER) == len(GUARD_SETS) * STATES * EVENTS


def test_packed_event_numbers_are_the_words():
    named = {name[2:]: value for name, value in vars(compiled).items() if name.startswith("E_")}
    assert named == {name: Event[name] + 1 for name in named}
    assert GUARD_SETS[compiled.PASSIVELY][0] == Guard.OPENED_PASSIVELY
    assert GUARD_SETS[compiled.ACTIVELY][0] == Guard.OPENED_ACTIVELY
    assert GUARD_SETS[compiled.REOPENED][0] == Guard.REOPENED


FLAGS = [0, ACK, FIN, FIN | ACK, SYN, SYN | ACK, RST, RST | ACK, SYN | FIN, PSH | ACK, SYN | ACK | FIN, SYN | RST]
EDGES = [-2, -1, 0, 1, 2, 99, 100, 101, 1 << 31, (1 << 31) - 1, -(1 << 31)]


@pytest.mark.parametrize("state", list(State))
def test_packed_classification_equals_the_words_over_the_lattice(state):
    rng = random.Random(f"lattice {state.name}")
    for _ in range(15_000):
        una, rcv = rng.randrange(1 << 32), rng.choice([0, 5, 0xFFFFFFFF, rng.randrange(1 << 32)])
        nxt = (una + rng.choice([0, 1, 2, 100])) & 0xFFFFFFFF
        fin = (nxt - 1) & 0xFFFFFFFF if rng.random() < 0.5 and nxt != una else -1
        window = rng.choice([0, 1, 2, 100, 65535, 1 << 30])
        flags, text = rng.choice(FLAGS), rng.choice([0, 0, 1, 2, 100, 101, 70_000])
        seq = (rcv + rng.choice([*EDGES, -text, window, window - 1])) & 0xFFFFFFFF
        ack = (rng.choice([una, nxt]) + rng.choice(EDGES)) & 0xFFFFFFFF
        active = rng.random() < 0.5
        words = classify(
            state, flags, seq, ack, text, snd_una=una, snd_nxt=nxt, rcv_nxt=rcv, rcv_wnd=window, snd_fin=fin,
            opened_actively=active, reopens=False,
        )  # fmt: skip
        code = classify_code(state, flags, seq, ack, text, una, nxt, rcv, window, int(fin >= 0), fin, int(active))
        assert unpack_events(code) == words, (state, flags, seq, ack, text, una, nxt, rcv, window, fin, active)
