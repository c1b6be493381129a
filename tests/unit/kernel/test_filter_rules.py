"""Rules of nftables out of the kernel's bytes. What they mean is compared with the kernel in tests/scenes."""

from __future__ import annotations

import sys
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpscope.kernel.filter_rules import NEW_CHAIN, NEW_ELEMENTS, NEW_RULE, parse_chains, parse_ports, parse_rules
from tcpscope.kernel.packet_filter import read_packet_filter

INET = 1


def attribute(kind: int, value: bytes) -> bytes:
    return pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def number(kind: int, value: int) -> bytes:
    return attribute(kind, pack(">I", value & 0xFFFFFFFF))


def message(kind: int, body: bytes, family: int = INET) -> bytes:
    return pack("=IHHIIBBH", 20 + len(body), kind, 2, 1, 0, family, 0, 0) + body


def expression(name: str, *parts: bytes) -> bytes:
    return attribute(1, attribute(1, name.encode() + b"\0") + attribute(0x8002, b"".join(parts)))


def value(kind: int, data: bytes) -> bytes:
    return attribute(kind, attribute(1, data))


def rule(*expressions: bytes, family: int = INET) -> bytes:
    names = attribute(1, b"filter\0") + attribute(2, b"input\0") + attribute(3, pack(">Q", 9))
    return message(NEW_RULE, names + attribute(0x8004, b"".join(expressions)), family)


def dport(how: int, port: int) -> bytes:
    return expression("cmp", number(1, 1), number(2, how), value(3, pack(">H", port)))


LOAD_DPORT = expression("payload", number(1, 1), number(2, 2), number(3, 2), number(4, 2))
LOAD_PROTOCOL = expression("meta", number(1, 1), number(2, 16))
DROP = expression("immediate", number(1, 0), attribute(2, attribute(2, number(1, 0))))


def is_protocol(protocol: int) -> bytes:
    return LOAD_PROTOCOL + expression("cmp", number(1, 1), number(2, 0), value(3, bytes([protocol])))


def only(*expressions: bytes, sets=lambda *key: None):
    found = [one for _, one in parse_rules([rule(*expressions)], sets)]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("conditions", "ports"),
    [
        ((dport(0, 80),), ((80, 80),)),
        ((dport(5, 80), dport(3, 90)), ((80, 90),)),
        ((dport(4, 80), dport(2, 90)), ((81, 89),)),
        ((dport(1, 80),), ((0, 79), (81, 65535))),
        ((), ()),
    ],
)
def test_ports_of_comparisons_are_bounds(conditions, ports):
    found = only(is_protocol(6), LOAD_DPORT, *conditions, DROP)
    assert (found.verdict, found.to_ports, found.is_partial, found.handle) == ("drop", ports, False, 9)


def test_rule_about_another_protocol_is_left_out():
    assert only(is_protocol(17), LOAD_DPORT, dport(0, 53), DROP) is None


def test_condition_that_is_not_read_makes_the_rule_partial():
    assert only(expression("limit"), DROP).is_partial
    assert only(expression("cmp", number(1, 3), number(2, 0), value(3, b"x")), DROP).is_partial
    assert not only(expression("counter", attribute(2, pack(">Q", 5))), expression("log"), DROP).is_partial


def test_set_that_cannot_be_read_makes_the_rule_partial_and_one_that_can_gives_the_ports():
    lookup = expression("lookup", attribute(1, b"s\0"), number(2, 1))
    assert only(LOAD_DPORT, lookup, DROP).is_partial
    found = only(LOAD_DPORT, lookup, DROP, sets=lambda *key: ((5, 9),))
    assert (found.to_ports, found.is_partial) == (((5, 9),), False)


def test_matches_of_iptables_are_read():
    order = "<" if sys.byteorder == "little" else ">"
    tcp = pack(f"{order}4H4B", 0, 65535, 25, 26, 0, 0, 0, 0)
    found = only(
        expression("match", attribute(1, b"tcp\0"), attribute(3, tcp)), expression("target", attribute(1, b"REJECT\0"))
    )
    assert (found.verdict, found.to_ports, found.is_partial) == ("reject", ((25, 26),), False)
    others = pack(f"{order}4H4B", 0, 65535, 25, 26, 0, 0, 0, 2)
    found = only(expression("match", attribute(1, b"tcp\0"), attribute(3, others)), DROP)
    assert (found.to_ports, found.is_partial) == (((0, 24), (27, 65535)), False)
    many = pack(f"{order}BB15H15BB", 1, 3, 22, 80, 90, *[0] * 12, 0, 1, *[0] * 13, 0)
    found = only(expression("match", attribute(1, b"multiport\0"), attribute(3, many)), DROP)
    assert found.to_ports == ((22, 22), (80, 90))


def elements(*keys: tuple[int, int]) -> bytes:
    rows = [attribute(1, value(1, pack(">H", key)) + number(3, flags)) for key, flags in keys]
    return message(NEW_ELEMENTS, attribute(1, b"t\0") + attribute(2, b"s\0") + attribute(0x8003, b"".join(rows)))


@pytest.mark.parametrize(
    ("keys", "ports"),
    [
        ([(443, 0), (80, 0)], ((80, 80), (443, 443))),
        ([(8000, 0), (8011, 1), (22, 0), (23, 1), (0, 1)], ((22, 22), (8000, 8010))),
        ([(60000, 0), (0, 1)], ((60000, 65535),)),
        ([(80, 0), (81, 1), (81, 0), (91, 1)], ((80, 80), (81, 90))),
    ],
)
def test_elements_of_a_set_are_ranges_of_ports(keys, ports):
    assert parse_ports([elements(*keys)]) == ports


def test_chains_have_hook_priority_and_policy():
    hook = attribute(0x8004, number(1, 1) + number(2, -150))
    body = attribute(1, b"filter\0") + attribute(3, b"in\0") + hook + number(5, 0)
    (chain,) = parse_chains([message(NEW_CHAIN, body), message(NEW_CHAIN, body, family=7)]).values()
    assert (chain.hook, chain.priority, chain.policy, str(chain)) == ("input", -150, "drop", "inet filter in")


@given(st.lists(st.binary(max_size=120) | st.just(rule(LOAD_DPORT, dport(0, 80), DROP)[:70]), max_size=4))
def test_any_bytes_are_read_without_raising(datagrams):
    parse_chains(datagrams)
    parse_ports(datagrams)
    list(parse_rules(datagrams, lambda *key: None))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["cmp", "payload", "meta", "ct", "bitwise", "lookup", "range", "match", "immediate", "counter", "x"]
            ),
            st.binary(max_size=60),
        ),
        max_size=6,
    )
)
def test_any_expressions_are_read_without_raising(parts):
    broken = [attribute(1, attribute(1, name.encode() + b"\0") + attribute(2, data)) for name, data in parts]
    list(parse_rules([rule(*broken)], lambda *key: ()))


def test_the_kernel_is_asked_without_raising():
    assert read_packet_filter() is None or isinstance(read_packet_filter(), tuple)
