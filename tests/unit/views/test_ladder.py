"""The drawn ladder, line by line; and transitions as lines and objects."""

from tcpscope.model.address import Endpoint, Flow
from tcpscope.model.event import Event
from tcpscope.model.rung import AT_LEFT, AT_RIGHT, TO_LEFT, TO_RIGHT, Rung
from tcpscope.model.state import State
from tcpscope.model.transition import Transition
from tcpscope.views.ladder import draw_head, draw_rungs
from tcpscope.views.transition_ladder import Ladder
from tcpscope.views.transitions import spell_short

S, E = State, Event
FLOW = Flow(Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 80))


def move(flow, before, event, after, when_us, **fields):
    return Transition(flow, "local", before, event, after, 1_000_000_000_000_000_000 + when_us * 1000, **fields)


def test_arrows_point_where_the_segment_goes():
    lines = list(
        draw_rungs(
            [
                Rung("+0us", "SYN_SENT", "", "connect()", AT_LEFT),
                Rung("+1us", "SYN_SENT", "SYN_RECV", "SYN", TO_RIGHT),
                Rung("+2us", "ESTABLISHED", "SYN_RECV", "SYN,ACK", TO_LEFT),
                Rung("+3us", "ESTABLISHED", "LAST_ACK", "close()", AT_RIGHT, "nginx(7)"),
            ]
        )
    )
    assert lines == [
        "        +0us  SYN_SENT    connect()",
        "        +1us  SYN_SENT    ─────────── SYN ─────────────▶ SYN_RECV",
        "        +2us  ESTABLISHED ◀────────── SYN,ACK ────────── SYN_RECV",
        "        +3us  ESTABLISHED                        close() LAST_ACK     nginx(7)",
    ]
    assert len({line.index("SYN_RECV") for line in lines if "SYN_RECV" in line}) == 1


def test_opener_stands_left_whichever_end_is_seen_first():
    seen_by_server = move(FLOW.reversed, S.LISTEN, E.SYN, S.SYN_RECEIVED, 0)
    ladder = Ladder(seen_by_server)
    assert (ladder.left, ladder.right) == (FLOW.local, FLOW.remote)
    rung = ladder.rung(seen_by_server)
    assert (rung.left, rung.right, rung.text, rung.towards) == ("", "SYN_RECV", "SYN", TO_RIGHT)
    assert next(draw_head(str(ladder.left), str(ladder.right))).split() == ["10.0.0.1:40000", "10.0.0.2:80"]


def test_ladder_is_over_when_every_end_seen_has_ended():
    ladder = Ladder(move(FLOW, S.CLOSED, E.OPEN_ACTIVE, S.SYN_SENT, 0))
    assert not ladder.is_over
    ladder.rung(move(FLOW, S.FIN_WAIT_2, E.FIN, S.TIME_WAIT, 5))
    assert ladder.is_over
    ladder.rung(move(FLOW.reversed, S.CLOSE_WAIT, E.CLOSE, S.LAST_ACK, 6))
    assert not ladder.is_over
    ladder.rung(move(FLOW.reversed, S.LAST_ACK, E.ACK_OF_FIN, S.CLOSED, 7))
    assert ladder.is_over
    assert ladder.takes(FLOW) and ladder.takes(FLOW.reversed)
    assert not ladder.takes(Flow(FLOW.local, Endpoint("10.0.0.2", 81)))


def test_ends_of_a_dual_stack_listener_are_one_connection():
    """The client has IPv4 addresses, the socket that serves it v4-mapped ones of the same."""
    mapped = Flow(*(Endpoint(f"::ffff:{end.address}", end.port) for end in (FLOW.remote, FLOW.local)))
    opened = move(FLOW, S.CLOSED, E.OPEN_ACTIVE, S.SYN_SENT, 0)
    ladder = Ladder(opened)
    assert ladder.takes(mapped)
    ladder.rung(opened)
    rung = ladder.rung(move(mapped, S.LISTEN, E.SYN, S.SYN_RECEIVED, 10))
    assert (rung.left, rung.right) == ("SYN_SENT", "SYN_RECV")
    served_first = Ladder(move(mapped, S.LISTEN, E.SYN, S.SYN_RECEIVED, 10))
    assert (served_first.left, served_first.right) == (FLOW.local, FLOW.remote)


def test_durations_are_short():
    values = [None, 999, 65_000, 1_200_000, 12_000_000_000, 185_000_000_000, 15_000_000_000_000]
    assert [spell_short(value) for value in values] == ["-", "0us", "65us", "1.2ms", "12.0s", "3m05s", "4h10m"]
