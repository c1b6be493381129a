"""The table of the older ip_tables as Linux 6.18 gave it, and whatever else might stand there."""

import base64
import zlib

from hypothesis import given
from hypothesis import strategies as st

from tcpscope.kernel.ip_tables import parse_table
from tcpscope.model.packet_filter import FilterChain, FilterRule

#: iptables-legacy -A INPUT -i lo -j ACCEPT; -A INPUT -p tcp -m multiport --dports 80,443 -j web; -A INPUT -p udp
#: -j ACCEPT; -A INPUT -s 192.0.2.0/24 -p tcp --dport 22 -j ACCEPT; -A web -p tcp --dport 443 -j REJECT; -P INPUT DROP
IPV4 = (
    {"input": 0, "forward": 888, "output": 1040},
    {"input": 736, "forward": 888, "output": 1040},
    "c-muNKm|GZ40yr+|Nj|?0R;>*7?`k#YY@=)k5~&x1Z+_H0K*Hc?h0VYEzK#(EXXe^!KR&&ktu*-HzV=(5%OmQD+5h{AeF-Z08}@%q5~HG3m8sdb(aA{Npb;!lqbd@H"
    "sI-q()9hG4(?(ZMEMTcT^xhbT^q29J21Eg1^EZz)K{LG#6V9#jr_Bl5mAC^Fa)`JxjKj7Qq4?b|B#!1eh<?0fM1q@0RZyNNLK",
)
#: ip6tables-legacy -A OUTPUT ! -o lo -p tcp --dport 9000:9010 -j DROP
IPV6 = (
    {"input": 0, "forward": 208, "output": 416},
    {"input": 0, "forward": 208, "output": 672},
    "c-muN7(8GF!vzK=9C8{2^#1$*|3AYZ10esf3^M=Z<l~n|x0a28fe{ubH-Kyo9Qq6xN|Fl*n5>~}q)e>;{}0mm<QP`z^94>h2L{)mApano^7v&L7yuM6BEJ",
)


def block(golden: tuple[dict[str, int], dict[str, int], str]) -> bytes:
    return zlib.decompress(base64.b85decode(golden[2]))


def test_chains_policies_and_rules_of_the_older_tables_are_read():
    chains = {chain.name: chain for chain in parse_table("ip", IPV4[0], IPV4[1], block(IPV4))}
    assert {name: (chain.hook, chain.policy) for name, chain in chains.items()} == {
        "INPUT": ("input", "drop"),
        "FORWARD": ("forward", "accept"),
        "OUTPUT": ("output", "accept"),
        "web": ("", "accept"),
    }
    assert all(chain.is_older and chain.table == "filter" for chain in chains.values())
    assert chains["INPUT"].rules == (
        FilterRule(1, "accept", loopback=True, packets=0),
        FilterRule(2, "jump", "web", ((80, 80), (443, 443)), packets=0),
        FilterRule(3),  # about UDP: it has its number and says nothing
        FilterRule(4, "accept", to_ports=((22, 22),), is_partial=True, packets=0),
    )
    assert chains["web"].rules[0] == FilterRule(1, "reject", to_ports=((443, 443),), packets=0)


def test_chains_of_ipv6_have_their_own_layout():
    *_, last = parse_table("ip6", IPV6[0], IPV6[1], block(IPV6))
    drop = FilterRule(1, "drop", to_ports=((9000, 9010),), loopback=False, packets=0)
    assert last == FilterChain("ip6", "filter", "OUTPUT", "output", rules=(drop,), is_older=True)


@given(st.data())
def test_any_table_is_read_without_raising(data):
    family, (hooks, ends, _) = ("ip", IPV4) if data.draw(st.booleans()) else ("ip6", IPV6)
    bent = bytearray(block(IPV4 if family == "ip" else IPV6))
    for place in data.draw(st.lists(st.integers(0, len(bent) - 1), max_size=8)):
        bent[place] = data.draw(st.integers(0, 255))
    parse_table(family, hooks, ends, bytes(bent[: data.draw(st.integers(0, len(bent)))]))
