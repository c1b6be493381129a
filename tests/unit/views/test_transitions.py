"""Transitions as lines: columns under their titles, and JSON that is what an encoder makes of the contract's object."""

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpscope.model.address import Endpoint, Flow
from tcpscope.model.event import Event
from tcpscope.model.socket import Owner
from tcpscope.model.spelling import IDENTIFIERS
from tcpscope.model.state import State
from tcpscope.model.transition import Transition
from tcpscope.views import spelled
from tcpscope.views.transition_json import TransitionLines
from tcpscope.views.transitions import TransitionStyle, TransitionTable, header_line

S, E = State, Event
FLOW = Flow(Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 80))


def move(flow, before, event, after, when_us, **fields):
    return Transition(flow, "local", before, event, after, 1_000_000_000_000_000_000 + when_us * 1000, **fields)


def line_of(found, **style):
    return TransitionTable(TransitionStyle(**style)).spell([found]).removesuffix("\n")


def test_line_has_columns_under_their_titles_and_marks_at_the_end():
    found = move(
        FLOW, S.SYN_RECEIVED, None, S.CLOSED, 123456, in_state_ns=65_000, by=Owner(7, "nginx", 3),
        legal=False, deviation="request-socket-dies", certainty="inferred", cause="gone",
    )  # fmt: skip
    line, head = line_of(found), header_line(TransitionStyle())
    assert line[: head.index("BEFORE")].strip().endswith(".123456")
    assert line[head.index("BEFORE") :].startswith("SYN_RECV ")
    assert line[head.index("LOCAL") :].startswith("10.0.0.1:40000 ")
    assert line[head.index("PROGRAM") :] == "nginx(7)  ~ request-socket-dies ? inferred (gone)"
    assert "! not in RFC 9293" in line_of(found._replace(deviation=""))


def test_line_in_colour_says_the_same():
    found = move(FLOW, S.ESTABLISHED, E.FIN, S.CLOSE_WAIT, 1)
    painted = line_of(found, colour=True)
    assert painted.count("\x1b[0m") == 2
    assert re.sub(r"\x1b\[[\d;]*m", "", painted) == line_of(found)


def test_line_of_all_namespaces_begins_with_the_number():
    assert line_of(move(FLOW, S.CLOSED, E.SYN, S.LISTEN, 1, netns=42), netns=True).startswith("42  ")


def test_address_is_spelled_as_the_peer_spells_it():
    served = Flow(Endpoint("::ffff:10.0.0.2", 80), Endpoint("::ffff:10.0.0.1", 40000))
    line = line_of(move(served, S.ESTABLISHED, E.FIN, S.CLOSE_WAIT, 1))
    assert " 10.0.0.2:80           10.0.0.1:40000 " in line
    far = Flow(Endpoint("2001:db8::1", 80), Endpoint("::", 0))
    assert " [2001:db8::1]:80      [::]:* " in line_of(move(far, S.CLOSED, E.OPEN_PASSIVE, S.LISTEN, 1))


def test_program_that_was_gone_before_its_name_was_read_still_has_a_number():
    assert line_of(move(FLOW, S.CLOSED, E.CLOSE, S.LISTEN, 1, by=Owner(7, ""))).endswith(" ?(7)")


def test_clock_follows_the_moves_over_seconds_and_back():
    """A move that was held back may be older than the one before it."""
    seconds = [0, 999_999, 1_000_000, 59_999_999, 2_000_000, 0]
    moves = [move(FLOW, S.CLOSED, E.OPEN_PASSIVE, S.LISTEN, when_us) for when_us in seconds]
    lines = TransitionTable(TransitionStyle()).spell(moves).splitlines()
    for line, found in zip(lines, moves, strict=True):
        second, rest_ns = divmod(found.when_ns, 1_000_000_000)
        assert line.split()[0] == f"{time.strftime('%H:%M:%S', time.localtime(second))}.{rest_ns // 1000:06}"


def test_no_moves_are_no_lines():
    assert TransitionTable(TransitionStyle()).spell([]) == TransitionLines().spell([]) == ""


def end_object(end):
    return {"address": end.address, "port": end.port}


def contract_object(move):
    """The object of CONTRACT's ``trace``, by hand."""
    by = move.by
    found = {
        "t_ns": move.when_ns,
        "local": end_object(move.flow.local),
        "remote": end_object(move.flow.remote),
        "before": IDENTIFIERS[move.before],
        "after": IDENTIFIERS[move.after],
        "event": None if move.event is None else move.event.name,
        "process": None if by is None else {"pid": by.pid, "name": by.name, "fd": None if by.fd < 0 else by.fd},
        "in_state_ms": None if move.in_state_ns is None else move.in_state_ns / 1e6,
        "source": move.source,
        "certainty": move.certainty,
        "legal": move.legal,
        "deviation": move.deviation or None,
        "cause": move.cause or None,
        "netns": move.netns,
    }
    if move.earliest_ns is not None or move.latest_ns is not None:
        found["earliest_ns"], found["latest_ns"] = move.earliest_ns, move.latest_ns
    return found


_ENDS = st.builds(Endpoint, st.sampled_from(["10.0.0.1", "::1", "fe80::1%eth\x07", 'a"b']), st.integers(0, 65535))
_TIMES = st.none() | st.integers(0, 2**62)
_MOVES = st.builds(
    Transition,
    flow=st.builds(Flow, _ENDS, _ENDS),
    end=st.just("local"),
    before=st.sampled_from(State),
    event=st.none() | st.sampled_from(Event),
    after=st.sampled_from(State),
    when_ns=st.integers(0, 2**62),
    by=st.none() | st.builds(Owner, st.integers(0, 9), st.text(max_size=5), st.integers(-1, 3)),
    source=st.sampled_from(["bpf", "poll"]),
    certainty=st.sampled_from(["seen", "inferred"]),
    legal=st.booleans(),
    deviation=st.sampled_from(["", "disconnect"]),
    in_state_ns=_TIMES,
    earliest_ns=_TIMES,
    latest_ns=_TIMES,
    netns=st.integers(0, 3),
    cause=st.text(max_size=5),
)


@given(st.lists(_MOVES, max_size=8))
def test_json_line_is_what_the_encoder_makes_of_the_contracts_object(moves):
    encode = json.JSONEncoder(separators=(",", ":")).encode
    assert TransitionLines().spell(moves) == "".join(encode(contract_object(move)) + "\n" for move in moves)


def test_first_event_is_told_although_its_number_is_0():
    line = TransitionLines().spell([move(FLOW, S.CLOSED, E.OPEN_PASSIVE, S.LISTEN, 1, by=Owner(7, "nginx"))])
    assert json.loads(line)["event"] == "OPEN_PASSIVE"
    assert json.loads(line)["process"] == {"pid": 7, "name": "nginx", "fd": None}


@pytest.mark.parametrize("speller", [TransitionLines, lambda: TransitionTable(TransitionStyle())])
def test_texts_that_are_kept_stay_few_and_right(speller, monkeypatch):
    monkeypatch.setattr(spelled, "_LIMIT", 10)
    kept = speller()
    moves = [
        move(Flow(Endpoint("10.0.0.1", port), Endpoint("10.0.0.2", 80)), S.CLOSED, E.OPEN_ACTIVE, S.SYN_SENT, port)
        for port in [*range(1, 50), *range(1, 50)]
    ]
    assert kept.spell(moves) == "".join(speller().spell([one]) for one in moves)
    assert len(kept._flows) <= 10
