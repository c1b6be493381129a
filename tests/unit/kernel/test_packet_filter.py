"""Policies of nftables' input chains out of the kernel's bytes."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpscope.kernel.packet_filter import parse_input_policies, read_input_policies

INET, IPV4, IPV6 = 1, 2, 10
INPUT, OUTPUT, DROP, ACCEPT = 1, 3, 0, 1


def attribute(kind: int, value: bytes) -> bytes:
    return pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def chain(family: int, hook: int, policy: int) -> bytes:
    """One NFT_MSG_NEWCHAIN as ``nft list chains`` gets it: table, name, nested hook, policy (big-endian numbers)."""
    nested = attribute(1, pack(">I", hook)) + attribute(2, pack(">i", 0))
    body = pack("=BBH", family, 0, 0)
    body += (
        attribute(1, b"filter\0")
        + attribute(3, b"input\0")
        + attribute(0x8004, nested)
        + attribute(5, pack(">I", policy))
    )
    return pack("=IHHII", 16 + len(body), 10 << 8 | 3, 2, 1, 0) + body


@pytest.mark.parametrize(
    ("chains", "ip", "ip6"),
    [
        ([], 0, 0),
        ([chain(IPV4, INPUT, DROP)], 1, 0),
        ([chain(IPV6, INPUT, DROP)], 0, 1),
        ([chain(INET, INPUT, DROP)], 1, 1),
        ([chain(INET, INPUT, ACCEPT), chain(INET, OUTPUT, DROP)], 0, 0),
        ([chain(INET, INPUT, ACCEPT), chain(IPV4, INPUT, DROP)], 1, 0),
        ([chain(7, INPUT, DROP)], 0, 0),
    ],
)
def test_a_family_drops_when_one_of_its_input_chains_does(chains, ip, ip6):
    expected = {"firewall.ip.input_drops": ip, "firewall.ip6.input_drops": ip6}
    assert parse_input_policies([b"".join(chains)]) == expected


@given(st.lists(st.binary(max_size=80) | st.just(chain(IPV4, INPUT, DROP)[:50]), max_size=4))
def test_any_bytes_are_read_without_raising(datagrams):
    assert set(parse_input_policies(datagrams)) == {"firewall.ip.input_drops", "firewall.ip6.input_drops"}


def test_the_kernel_is_asked_without_raising():
    assert set(read_input_policies().values()) <= {0, 1}
