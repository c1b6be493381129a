"""The grammar: what ss reads, what we read besides, and where a bad filter is bad."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpscope.filters import expression as ex
from tcpscope.filters.match import compile_filter
from tcpscope.filters.parse import PREDICATES, STATE_GROUPS, Names, parse_filter
from tcpscope.model.address import Endpoint
from tcpscope.model.errors import UsageError
from tcpscope.model.socket import Owner, Socket
from tcpscope.model.state import State

S22, D443 = ex.Port("src", "=", 22), ex.Port("dst", "=", 443)
ENDS = Endpoint("127.0.0.1", 80), Endpoint("127.0.0.1", 5000)
NAMES = Names(
    port={"ssh": 22, "https": 443}.get,
    addresses=lambda host: ["192.0.2.1", "192.0.2.2", "2001:db8::1"] if host == "example" else [],
    device={"lo": 1}.get,
    user={"root": 0}.get,
    netns={"blue": 4026532000}.get,
    ephemeral_ports=(40000, 50000),
)


@pytest.mark.parametrize(
    "text", ["sport = :22", "sport 22", "sport :ssh", "sport eq 22", "sport == :22", "sport=:22", "sport *:22"]
)
def test_port_spellings(text):
    assert parse_filter(text, NAMES).expression == S22


@pytest.mark.parametrize("text", ["::1:22", "inet6:::1:22"])
def test_address_without_brackets_that_may_end_in_a_port_is_read_both_ways(text):
    found = parse_filter(f"src {text}").expression
    expected = ex.Or(ex.Host("src", 6, bytes(15) + b"\1", 128, 22), ex.Host("src", 6, bytes(13) + b"\1\0\x22", 128))
    if text.startswith("inet6"):
        expected = ex.Or(ex.And(ex.Family(6), expected.left), ex.And(ex.Family(6), expected.right))
    assert found == expected


@pytest.mark.parametrize(
    ("text", "operator"),
    [("!=", "!="), ("ne", "!="), ("neq", "!="), (">", ">"), ("gt", ">"), ("<", "<"), ("lt", "<"), (">=", ">="),
     ("ge", ">="), ("geq", ">="), ("<=", "<="), ("le", "<="), ("leq", "<=")],
)  # fmt: skip
def test_operator_aliases(text, operator):
    assert parse_filter(f"dport {text} :443").expression == ex.Port("dst", operator, 443)


def test_and_or_bind_equally_from_the_left_as_in_ss():
    third = ex.Port("src", "=", 1)
    assert parse_filter("sport 22 or dport 443 and sport 1").expression == ex.And(ex.Or(S22, D443), third)
    assert parse_filter("sport 22 dport 443 | sport 1").expression == ex.Or(ex.And(S22, D443), third)
    assert parse_filter("sport 22 or ( dport 443 && sport 1 )").expression == ex.Or(S22, ex.And(D443, third))


def test_not_binds_to_the_next_term():
    assert parse_filter("not sport 22 dport 443").expression == ex.And(ex.Not(S22), D443)
    assert parse_filter("! ( sport 22 dport 443 )").expression == ex.Not(ex.And(S22, D443))
    assert parse_filter("not not sport 22").expression == S22


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("src 192.0.2.1", ex.Host("src", 4, bytes((192, 0, 2, 1)), 32)),
        ("dst = 192.0.2.0/24", ex.Host("dst", 4, bytes((192, 0, 2, 0)), 24)),
        ("src 192.0.2.1:443", ex.Host("src", 4, bytes((192, 0, 2, 1)), 32, 443)),
        ("src [::1]:22", ex.Host("src", 6, bytes(15) + b"\1", 128, 22)),
        ("src [::1]", ex.Host("src", 6, bytes(15) + b"\1", 128)),
        ("src ::1", ex.Host("src", 6, bytes(15) + b"\1", 128)),
        ("src [2001:db8::]/32", ex.Host("src", 6, bytes((0x20, 1, 0xD, 0xB8)) + bytes(12), 32)),
        ("src 2001:db8:0:0:0:0:0:7:22", ex.Host("src", 6, bytes((0x20, 1, 0xD, 0xB8)) + bytes(11) + b"\7", 128, 22)),
        ("src :::22", ex.Host("src", 6, bytes(16), 128, 22)),
        ("src ::1:ssh", ex.Host("src", 6, bytes(15) + b"\1", 128, 22)),
        ("src ::ffff:192.0.2.1", ex.Host("src", 6, bytes(10) + bytes((255, 255, 192, 0, 2, 1)), 128)),
        ("src ::ffff:192.0.2.1:22", ex.Host("src", 6, bytes(10) + bytes((255, 255, 192, 0, 2, 1)), 128, 22)),
        ("src :22", ex.Host("src", port=22)),
        ("src *:22", ex.Host("src", port=22)),
        ("dst *", ex.Host("dst")),
        ("src any:22", ex.Host("src", port=22)),
        ("dst default", ex.Host("dst")),
        ("src 127/8", ex.Host("src", 4, bytes((127, 0, 0, 0)), 8)),
        ("src 10.1/16", ex.Host("src", 4, bytes((10, 1, 0, 0)), 16)),
        ("src 10.1", ex.Host("src", 4, bytes((10, 1, 0, 0)), 32)),
        ("src 192.0.2.1/255.255.255.0", ex.Host("src", 4, bytes((192, 0, 2, 1)), 24)),
        ("src != 192.0.2.1", ex.Not(ex.Host("src", 4, bytes((192, 0, 2, 1)), 32))),
        ("dst example:https", ex.Host("dst", 4, bytes((192, 0, 2, 1)), 32, 443, (bytes((192, 0, 2, 2)),))),
    ],
)
def test_hosts(text, host):
    if "example" in text:  # both families unless said: the first answer decides
        assert parse_filter(text.replace("dst ", "dst inet:"), NAMES).expression == ex.And(ex.Family(4), host)
        return
    assert parse_filter(text, NAMES).expression == host


@pytest.mark.parametrize("text", ["src [fe80::1%lo]:22", "src [fe80::1]%lo:22", "src [fe80::1%1]:22"])
def test_zone_is_the_device_the_socket_is_bound_to(text):
    address = ex.Host("src", 6, bytes((0xFE, 0x80)) + bytes(13) + b"\1", 128, 22)
    assert parse_filter(text, NAMES).expression == ex.And(address, ex.Device(1))


def test_any_port_is_equal_to_every_port():
    assert parse_filter("sport = *").expression == ex.Host("src")
    assert parse_filter("sport != :*").expression == ex.Not(ex.Host("src"))


def test_host_that_differs_is_at_neither_end():
    matches = compile_filter(parse_filter("host != 192.0.2.1"))
    ends = [Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2), Endpoint("192.0.2.3", 3)]
    assert [
        matches(Socket("tcp", State.ESTABLISHED, one, other))
        for one, other in [(ends[0], ends[1]), (ends[1], ends[0]), (ends[1], ends[2])]
    ] == [False, False, True]


def test_control_group_by_its_path_in_the_hierarchy_or_in_the_file_system():
    wanted = ex.Cgroup("/web/api")
    for path in ("/web/api", "web/api/", "/sys/fs/cgroup/web/api", "/sys/fs/cgroup/unified/web/api"):
        assert parse_filter(f"cgroup {path}").expression == wanted


def test_leading_states_add_up_and_exclude():
    assert parse_filter("state time-wait state FIN_WAIT2").states == {State.TIME_WAIT, State.FIN_WAIT_2}
    assert parse_filter("exclude listening").states == set(State) - {State.LISTEN}
    assert parse_filter("state connected exclude time-wait").states == STATE_GROUPS["connected"] - {State.TIME_WAIT}
    assert parse_filter("state big").states == set(State) - {State.SYN_RECEIVED, State.TIME_WAIT}
    assert parse_filter("state syn-rcv").states == {State.SYN_RECEIVED}
    assert parse_filter("").is_empty


@pytest.mark.parametrize(
    ("text", "states", "matched"),
    [
        ("state close-wait and sport = :22", {State.CLOSE_WAIT}, {(State.CLOSE_WAIT, 22)}),
        ("state close-wait sport = :22", {State.CLOSE_WAIT}, {(State.CLOSE_WAIT, 22)}),
        (
            "state close-wait or sport = :22",
            None,
            {(State.CLOSE_WAIT, 22), (State.CLOSE_WAIT, 80), (State.LISTEN, 22)},
        ),
        (
            "state close-wait and sport = :22 or sport = :80",
            None,
            {(State.CLOSE_WAIT, 22), (State.CLOSE_WAIT, 80), (State.LISTEN, 80)},
        ),
        (
            "state close-wait and (sport = :22 or sport = :80)",
            {State.CLOSE_WAIT},
            {(State.CLOSE_WAIT, 22), (State.CLOSE_WAIT, 80)},
        ),
        ("exclude listen && not sport = :22", set(State) - {State.LISTEN}, {(State.CLOSE_WAIT, 80)}),
        (
            "state listen state close-wait and sport 80",
            {State.LISTEN, State.CLOSE_WAIT},
            {(State.LISTEN, 80), (State.CLOSE_WAIT, 80)},
        ),
    ],
)
def test_a_leading_state_may_be_joined_to_the_rest(text, states, matched):
    found = parse_filter(text)
    assert found.states == states
    matches = compile_filter(found)
    ends = [(state, port) for state in (State.CLOSE_WAIT, State.LISTEN) for port in (22, 80)]
    assert {
        (state, port)
        for state, port in ends
        if matches(Socket("tcp", state, Endpoint("1.1.1.1", port), Endpoint("2.2.2.2", 9)))
    } == matched


def test_state_elsewhere_is_a_predicate():
    found = parse_filter("sport 22 and state close-wait")
    assert found.expression == ex.And(S22, ex.InStates(frozenset((State.CLOSE_WAIT,))))


@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        ("age > 10m", ("age", ">", 600 * 10**9)),
        ("rtt >= 50ms", ("rtt", ">=", 50 * 10**6)),
        ("rtt < 200us", ("rtt", "<", 200_000)),
        ("recv-q > 64k", ("recv-q", ">", 65536)),
        ("send-q gt 0", ("send-q", ">", 0)),
        ("pid 123", ("pid", "=", 123)),
        ("uid root", ("uid", "=", 0)),
        ("netns = blue", ("netns", "=", 4026532000)),
    ],
)
def test_own_quantities(text, quantity):
    assert parse_filter(text, NAMES).expression == ex.Quantity(*quantity)


def test_other_predicates():
    assert parse_filter("dev = lo", NAMES).expression == ex.Device(1)
    assert parse_filter("dev != 3").expression == ex.Not(ex.Device(3))
    assert parse_filter("fwmark = 0x01/0x03").expression == ex.Mark(1, 3)
    assert parse_filter("cgroup = /a/b/").expression == ex.Cgroup("/a/b")
    assert parse_filter("autobound", NAMES).expression == ex.Autobound(40000, 50000)
    assert parse_filter("comm ngin*").expression == ex.Command("=", "ngin*")
    assert parse_filter("port 443").expression == parse_filter(":443").expression
    assert parse_filter("port = :443 and state listen", NAMES).expression.left == parse_filter(":443").expression
    assert parse_filter("port != 443").expression == ex.And(ex.Port("src", "!=", 443), ex.Port("dst", "!=", 443))
    assert parse_filter("host 10.0.0.7").expression == parse_filter("src 10.0.0.7 or dst 10.0.0.7").expression
    assert parse_filter(":443").expression == ex.Or(ex.Port("src", "=", 443), D443)


@pytest.mark.parametrize(
    ("text", "says", "at"),
    [
        ("sport =", "a port is missing", 7),
        ("sport = :http", "does not look like a port", 8),
        ("sport = :70000", "does not look like a port", 8),
        ("state nonsense", "no state; known: estab", 6),
        ("sporty = :22", "did you mean 'sport'", 0),
        ("( sport = :22", "never closed", 0),
        ("sport = :22 )", "not expected here", 12),
        ("src = 1.2.3.4/33", "no prefix length", 6),
        ("src nowhere.invalid", "neither an address nor", 4),
        ("age > soon", "no age (such as", 6),
        ("sport 22 or", "a predicate is missing", 11),
        ("src > 1.2.3.4", "takes only = !=", 4),
        ("10.0.0.1:22", "an address needs src, dst or host before it: host 10.0.0.1:22", 0),
        ("[::1]:22", "an address needs src, dst or host", 0),
        ("CLOSE-WAIT", "a state needs 'state' before it: state close-wait", 0),
        ("sport = :22 and established", "a state needs 'state' before it: state established", 16),
        ("src 10.0.0.1/255.0.255.0", "no prefix length", 4),
        ("src 300.1.1.1", "neither an address nor", 4),
        ("src fe80::1%nowhere", "no device 'nowhere'", 4),
        ("sport >= *", ">= needs a port", 9),
        ("sport = 1_000", "does not look like a port", 8),
        ("sport = -1", "does not look like a port", 8),
        ("not", "a predicate is missing", 3),
        ("state listen and", "a predicate is missing", 16),
    ],
)
def test_bad_filter_says_what_and_where(text, says, at):
    with pytest.raises(UsageError) as caught:
        parse_filter(text, NAMES)
    first, shown, caret = str(caught.value).split("\n")
    assert says in first
    assert shown == "  " + text
    assert caret.index("^") == at + 2


@pytest.mark.parametrize("text", ['comm "tmux: server"', "comm='tmux: server'", "comm tmux:?server"])
def test_names_with_blanks(text):
    holder = Owner(7, "tmux: server")
    assert compile_filter(parse_filter(text))(Socket("tcp", State.LISTEN, *ENDS, owners=(holder,)))


def test_name_longer_than_linux_keeps_is_found_by_what_is_kept():
    def selects(text, name):
        return compile_filter(parse_filter(text))(Socket("tcp", State.LISTEN, *ENDS, owners=(Owner(7, name),)))

    assert selects("comm python3.11-worker", "python3.11-work")
    assert selects("comm python3.11-worker", "python3.11-worker"), "a dump may have it whole"
    assert not selects("comm != python3.11-worker", "python3.11-work")
    assert not selects("comm python3.11-work", "python3.11-wor")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("state listening", {State.LISTEN}),
        ("state listening state established sport 22", {State.LISTEN, State.ESTABLISHED}),
        ("state listening and sport 22", {State.LISTEN}),
        ("state all", set()),
        ("state big sport 22", set()),
        ("exclude established", set()),
        ("state listening exclude listening", set()),
        ("state listening or sport 22", set()),
    ],
)
def test_states_that_are_named_one_by_one(text, named):
    assert parse_filter(text).named == named


def test_filter_over_several_lines_is_shown_in_one():
    with pytest.raises(UsageError) as caught:
        parse_filter("sport = :22\n\tand moon", NAMES)
    _, shown, caret = str(caught.value).split("\n")
    assert shown[caret.index("^") :] == "moon"


_WORDS = st.sampled_from(
    [*PREDICATES, "not", "and", "or", "(", ")", "=", "!=", ">", ":22", "1.2.3.4/8", "[::1]", "x", "10m"]
)


@given(st.one_of(st.text(max_size=60), st.lists(_WORDS, max_size=14).map(" ".join)))
def test_any_text_parses_or_is_refused_in_words(text):
    try:
        parse_filter(text, NAMES)
    except UsageError as error:
        assert str(error).startswith("bad filter: ")


def test_conditions_are_iterated_in_the_order_in_which_they_were_written():
    found = parse_filter("pid 3 or not (rtt > 1ms and sport = :1)").expression
    pid, rtt, port = ex.iter_conditions(found)
    assert (pid.field, rtt.field, port.port) == ("pid", "rtt", 1)
    assert list(ex.iter_conditions(None)) == []
