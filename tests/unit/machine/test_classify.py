"""Segments against numbers: the examples of RFC 9293 §3.10.7 and RFC 5961, and the whole lattice through the table."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpscope.machine.classify import classify, is_acceptable
from tcpscope.machine.lifecycle import find_row
from tcpscope.machine.sequence import MASK, add
from tcpscope.model.event import Event, Guard
from tcpscope.model.segment import ACK, FIN, PSH, RST, SYN, URG
from tcpscope.model.state import State

E, S = Event, State
UNA, NXT, RCV, WND = 1000, 1100, 5000, 500
OUR_FIN = NXT - 1


def classified(state, flags, seq=RCV, ack=NXT, text=0, **over):
    numbers = {"snd_una": UNA, "snd_nxt": NXT, "rcv_nxt": RCV, "rcv_wnd": WND, "max_snd_wnd": 2000} | over
    if state in (S.FIN_WAIT_1, S.CLOSING, S.LAST_ACK):
        numbers.setdefault("snd_fin", OUR_FIN)
    return classify(state, flags, seq, ack, text, **numbers)


CASES = [
    # CLOSED and LISTEN, §3.10.7.1 and §3.10.7.2
    (S.CLOSED, {"flags": RST | ACK}, (E.RST_UNACCEPTABLE,)),
    (S.CLOSED, {"flags": SYN | ACK}, (E.ACK_UNACCEPTABLE,)),
    (S.CLOSED, {"flags": SYN}, (E.SYN,)),
    (S.CLOSED, {"flags": FIN}, (E.SEGMENT_IRRELEVANT,)),
    (S.LISTEN, {"flags": RST}, (E.RST_UNACCEPTABLE,)),
    (S.LISTEN, {"flags": SYN | ACK}, (E.ACK_UNACCEPTABLE,)),
    (S.LISTEN, {"flags": SYN | FIN}, (E.SYN,)),
    (S.LISTEN, {"flags": 0}, (E.SEGMENT_IRRELEVANT,)),
    # SYN-SENT, §3.10.7.3
    (S.SYN_SENT, {"flags": SYN | ACK}, (E.SYN_ACK,)),
    (S.SYN_SENT, {"flags": SYN | ACK, "text": 7}, (E.SYN_ACK, E.TEXT)),
    (S.SYN_SENT, {"flags": SYN | ACK | FIN}, (E.SYN_ACK, E.FIN)),
    (S.SYN_SENT, {"flags": SYN | ACK, "ack": UNA}, (E.ACK_UNACCEPTABLE,)),
    (S.SYN_SENT, {"flags": SYN | ACK, "ack": NXT + 1}, (E.ACK_UNACCEPTABLE,)),
    (S.SYN_SENT, {"flags": RST | ACK, "ack": NXT + 1}, (E.RST_UNACCEPTABLE,)),
    (S.SYN_SENT, {"flags": RST | ACK}, (E.RST,)),
    (S.SYN_SENT, {"flags": RST}, (E.RST_UNACCEPTABLE,)),
    (S.SYN_SENT, {"flags": SYN}, (E.SYN,)),
    (S.SYN_SENT, {"flags": ACK}, (E.SEGMENT_IRRELEVANT,)),
    (S.SYN_SENT, {"flags": FIN}, (E.SEGMENT_IRRELEVANT,)),
    # SYN-RECEIVED, §3.10.7.4
    (S.SYN_RECEIVED, {"flags": ACK}, (E.ACK_OF_SYN,)),
    (S.SYN_RECEIVED, {"flags": ACK | FIN, "text": 3}, (E.ACK_OF_SYN, E.TEXT, E.FIN)),
    (S.SYN_RECEIVED, {"flags": ACK, "ack": UNA}, (E.ACK_UNACCEPTABLE,)),
    (S.SYN_RECEIVED, {"flags": SYN, "seq": RCV - 1}, (E.SEGMENT_UNACCEPTABLE,)),
    (S.SYN_RECEIVED, {"flags": SYN, "seq": RCV + 3}, (E.SYN_IN_SYNCHRONIZED,)),
    (S.SYN_RECEIVED, {"flags": SYN | ACK, "seq": RCV - 1}, (E.SEGMENT_UNACCEPTABLE,)),
    (S.SYN_RECEIVED, {"flags": SYN | ACK, "seq": RCV - 1, "opened_actively": True}, (E.SYN_ACK,)),
    (S.SYN_RECEIVED, {"flags": SYN | ACK, "seq": RCV - 1, "ack": UNA, "opened_actively": True}, (E.ACK_UNACCEPTABLE,)),
    # first: sequence number
    (S.ESTABLISHED, {"flags": ACK, "seq": RCV - 1}, (E.SEGMENT_UNACCEPTABLE,)),
    (S.ESTABLISHED, {"flags": ACK, "seq": RCV + WND}, (E.SEGMENT_UNACCEPTABLE,)),
    (S.ESTABLISHED, {"flags": ACK, "seq": RCV + WND - 1}, (E.ACK,)),
    (S.ESTABLISHED, {"flags": ACK, "seq": RCV - 10, "text": 10}, (E.SEGMENT_UNACCEPTABLE,)),
    (S.ESTABLISHED, {"flags": ACK, "seq": RCV - 10, "text": 11}, (E.ACK, E.TEXT)),
    (S.ESTABLISHED, {"flags": ACK, "seq": RCV, "text": 1, "rcv_wnd": 0}, (E.ACK, E.SEGMENT_UNACCEPTABLE)),
    (S.ESTABLISHED, {"flags": ACK, "seq": RCV, "rcv_wnd": 0}, (E.ACK,)),
    (S.ESTABLISHED, {"flags": ACK | FIN, "seq": RCV, "rcv_wnd": 0}, (E.ACK, E.SEGMENT_UNACCEPTABLE)),
    # second: RST, RFC 5961 §3
    (S.ESTABLISHED, {"flags": RST}, (E.RST,)),
    (S.ESTABLISHED, {"flags": RST | ACK, "ack": UNA - 99999}, (E.RST,)),
    (S.ESTABLISHED, {"flags": RST, "rcv_wnd": 0}, (E.RST,)),
    (S.ESTABLISHED, {"flags": RST, "seq": RCV + 1}, (E.RST_IN_WINDOW,)),
    (S.ESTABLISHED, {"flags": RST, "seq": RCV + 1, "exact_rst": False}, (E.RST,)),
    (S.ESTABLISHED, {"flags": RST, "seq": RCV - 1}, (E.RST_UNACCEPTABLE,)),
    (S.ESTABLISHED, {"flags": RST, "seq": RCV + WND}, (E.RST_UNACCEPTABLE,)),
    # fourth: SYN, RFC 5961 §4: whatever its number
    (S.ESTABLISHED, {"flags": SYN, "seq": RCV - 4000}, (E.SYN_IN_SYNCHRONIZED,)),
    (S.LAST_ACK, {"flags": SYN | ACK}, (E.SYN_IN_SYNCHRONIZED,)),
    # fifth: ACK, RFC 5961 §5
    (S.ESTABLISHED, {"flags": 0}, (E.ACK_MISSING,)),
    (S.ESTABLISHED, {"flags": ACK, "ack": NXT + 1}, (E.ACK_UNACCEPTABLE,)),
    (S.ESTABLISHED, {"flags": ACK, "ack": UNA - 2000}, (E.ACK,)),
    (S.ESTABLISHED, {"flags": ACK, "ack": UNA - 2001}, (E.ACK_UNACCEPTABLE,)),
    (S.ESTABLISHED, {"flags": ACK, "ack": UNA - 2001, "max_snd_wnd": -1}, (E.ACK,)),
    (S.FIN_WAIT_1, {"flags": ACK, "ack": OUR_FIN}, (E.ACK,)),
    (S.FIN_WAIT_1, {"flags": ACK}, (E.ACK_OF_FIN,)),
    (S.CLOSING, {"flags": ACK}, (E.ACK_OF_FIN,)),
    (S.LAST_ACK, {"flags": ACK}, (E.ACK_OF_FIN,)),
    # seventh and eighth: text and FIN
    (S.ESTABLISHED, {"flags": ACK | PSH | URG, "text": 9}, (E.ACK, E.TEXT)),
    (S.ESTABLISHED, {"flags": ACK | FIN, "text": 9}, (E.ACK, E.TEXT, E.FIN)),
    (S.ESTABLISHED, {"flags": ACK | FIN, "seq": RCV + 1}, (E.ACK,)),
    (S.ESTABLISHED, {"flags": ACK | FIN, "text": WND}, (E.ACK, E.TEXT)),
    (S.ESTABLISHED, {"flags": ACK | FIN, "text": WND - 1}, (E.ACK, E.TEXT, E.FIN)),
    (S.FIN_WAIT_1, {"flags": ACK | FIN}, (E.FIN_ACK_OF_FIN,)),
    (S.FIN_WAIT_1, {"flags": ACK | FIN, "text": 4}, (E.TEXT, E.FIN_ACK_OF_FIN)),
    (S.FIN_WAIT_1, {"flags": ACK | FIN, "seq": RCV + 1}, (E.ACK_OF_FIN,)),
    (S.FIN_WAIT_1, {"flags": ACK | FIN, "ack": OUR_FIN}, (E.ACK, E.FIN)),
    (S.FIN_WAIT_2, {"flags": ACK | FIN, "snd_una": NXT}, (E.ACK, E.FIN)),
    # a FIN that comes again, A.2
    (S.CLOSE_WAIT, {"flags": ACK | FIN, "seq": RCV - 1}, (E.ACK, E.FIN)),
    (S.CLOSING, {"flags": ACK | FIN, "seq": RCV - 5, "text": 4}, (E.ACK_OF_FIN, E.FIN)),
    (S.TIME_WAIT, {"flags": ACK | FIN, "seq": RCV - 1, "snd_una": NXT}, (E.ACK, E.FIN)),
    (S.ESTABLISHED, {"flags": ACK | FIN, "seq": RCV - 1}, (E.SEGMENT_UNACCEPTABLE,)),
    # SYN in TIME-WAIT, RFC 6191
    (S.TIME_WAIT, {"flags": SYN, "tsval": 8, "ts_recent": 7, "seq": 1}, (E.SYN_REOPENS,)),
    (S.TIME_WAIT, {"flags": SYN, "tsval": 7, "ts_recent": 7}, (E.SYN_REOPENS,)),
    (S.TIME_WAIT, {"flags": SYN, "tsval": 7, "ts_recent": 7, "seq": RCV - 1}, (E.SYN_OLD_DUPLICATE,)),
    (S.TIME_WAIT, {"flags": SYN, "tsval": 6, "ts_recent": 7}, (E.SYN_OLD_DUPLICATE,)),
    (S.TIME_WAIT, {"flags": SYN, "ts_recent": 7}, (E.SYN_REOPENS,)),
    (S.TIME_WAIT, {"flags": SYN, "tsval": 6, "seq": RCV - 9}, (E.SYN_REOPENS,)),
    (S.TIME_WAIT, {"flags": SYN, "seq": RCV - 1}, (E.SYN_OLD_DUPLICATE,)),
    (S.TIME_WAIT, {"flags": SYN, "reopens": False}, (E.SYN_IN_SYNCHRONIZED,)),
    (S.TIME_WAIT, {"flags": SYN | ACK}, (E.SYN_IN_SYNCHRONIZED,)),
]


@pytest.mark.parametrize(("state", "segment", "events"), CASES)
def test_segment_is_these_events(state, segment, events):
    assert classified(state, **segment) == events


@pytest.mark.parametrize(
    ("seq", "length", "window", "expected"),
    [
        (RCV, 0, 0, True), (RCV + 1, 0, 0, False), (RCV, 1, 0, False),
        (RCV - 1, 0, 10, False), (RCV, 0, 10, True), (RCV + 9, 0, 10, True), (RCV + 10, 0, 10, False),
        (RCV - 1, 1, 10, False), (RCV - 1, 2, 10, True), (RCV + 9, 5, 10, True), (RCV + 10, 5, 10, False),
        (RCV - 5, 40, 10, True),
    ],
)  # fmt: skip
def test_sequence_test_is_table_6(seq, length, window, expected):
    assert is_acceptable(seq, length, RCV, window) is expected


def brute_acceptable(seq, length, rcv_nxt, window):
    """Table 6 octet by octet: does any octet of the segment (or, of an empty one, its number) lie in the window?"""
    inside = {add(rcv_nxt, step) for step in range(window)}
    octets = [add(seq, step) for step in range(length)]
    if not window:
        return not length and seq == rcv_nxt
    return any(octet in inside for octet in octets) if length else seq in inside


@given(st.integers(0, MASK), st.integers(-20, 20), st.integers(0, 30), st.integers(0, 12))
@example(MASK, -1, 3, 2)
def test_sequence_test_agrees_with_counting_octets(rcv_nxt, offset, length, window):
    seq = add(rcv_nxt, offset)
    assert is_acceptable(seq, length, rcv_nxt, window) == brute_acceptable(seq, length, rcv_nxt, window)


@settings(max_examples=3000)
@given(
    state=st.sampled_from(list(State)),
    flags=st.integers(0, 255),
    base=st.sampled_from([0, 5000, MASK, 2**31]),
    offset=st.integers(-700, 700),
    ack_offset=st.one_of(st.integers(-3000, 300), st.sampled_from([-1, 0, 1, 99, 100, 101])),
    text=st.sampled_from([0, 1, 5, 499, 500, 501, 1500]),
    wnd=st.sampled_from([0, 1, 500]),
    fin=st.booleans(),
    active=st.booleans(),
    tsval=st.integers(-1, 3),
    ts_recent=st.integers(-1, 3),
    exact=st.booleans(),
    reopens=st.booleans(),
)
def test_whole_lattice_folds_through_the_table(
    state, flags, base, offset, ack_offset, text, wnd, fin, active, tsval, ts_recent, exact, reopens
):
    events = classify(
        state, flags, add(base, offset), add(base, 7 + ack_offset), text, snd_una=add(base, 7), snd_nxt=add(base, 107),
        rcv_nxt=base, rcv_wnd=wnd, snd_fin=add(base, 106) if fin else -1, max_snd_wnd=2000, opened_actively=active,
        tsval=tsval, ts_recent=ts_recent, exact_rst=exact, reopens=reopens,
    )  # fmt: skip
    assert events
    assert list(events) == sorted(events, key=PLACE.__getitem__)
    for event in events:
        row = find_row(state, event, (Guard.OPENED_ACTIVELY if active else Guard.OPENED_PASSIVELY,))
        assert row is not None, (State(state).name, event.name)
        state = row.after
    if flags & RST:
        assert events[0] in (E.RST, E.RST_UNACCEPTABLE, E.RST_IN_WINDOW)


#: Where in the eight steps an event belongs.
PLACE = dict.fromkeys(E, 0) | {E.SEGMENT_UNACCEPTABLE: 6, E.TEXT: 7, E.FIN: 8, E.FIN_ACK_OF_FIN: 8}
