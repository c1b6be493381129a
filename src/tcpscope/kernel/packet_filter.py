"""This namespace's packet filter: nftables, asked for by netlink, and the older ip_tables beside it.

:mod:`tcpscope.kernel.filter_rules` and :mod:`tcpscope.kernel.ip_tables` read the bytes. Not read: what stands before
this host. Nothing is loaded by asking: where ``nf_tables`` is not in the kernel yet, the answer is "not looked at".
"""

from __future__ import annotations

import os
from struct import pack

from tcpscope.kernel import filter_rules
from tcpscope.kernel.filter_rules import parse_chains, parse_ports, parse_rules
from tcpscope.kernel.ip_tables import read_older_chains
from tcpscope.kernel.netlink import NLM_F_DUMP, NLM_F_REQUEST, dump, open_netlink, pack_message
from tcpscope.model.packet_filter import FilterChain, FilterRule, Ports

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

_NETLINK_NETFILTER = 12


def read_packet_filter() -> tuple[FilterChain, ...] | None:
    """Return the chains with their rules, empty where nothing filters; ``None`` when it cannot be seen."""
    try:
        older = read_older_chains()
    except OSError:
        return None
    if not _is_present():
        return older or None
    try:
        channel = open_netlink(_NETLINK_NETFILTER)
    except OSError:
        return None
    try:
        return _read_chains(channel) + older
    except OSError:
        return None
    finally:
        channel.close()


def _read_chains(channel: _socket.socket) -> tuple[FilterChain, ...]:
    chains = parse_chains(_ask(channel, filter_rules.GET_CHAIN))
    if not chains:
        return ()
    sets: dict[tuple[int, bytes, bytes], Ports | None] = {}

    def ports_of(family: int, table: bytes, name: bytes) -> Ports | None:
        key = family, table, name
        if key not in sets:
            try:
                answer = _ask(channel, filter_rules.GET_ELEMENTS, family, _attribute(1, table) + _attribute(2, name))
                sets[key] = parse_ports(answer)
            except OSError:
                sets[key] = None
        return sets[key]

    rules: dict[tuple[str, str, str], list[FilterRule]] = {}
    for key, rule in parse_rules(_ask(channel, filter_rules.GET_RULE), ports_of):
        rules.setdefault(key, []).append(rule)
    return tuple(chain._replace(rules=tuple(rules.get(key, ()))) for key, chain in chains.items())


def _ask(channel: _socket.socket, kind: int, family: int = 0, attributes: bytes = b"") -> list[bytes]:
    """Send a dump request: ``struct nfgenmsg`` (family, version 0, resource 0), then attributes."""
    header = pack("=BBH", family, 0, 0)
    return dump(channel, pack_message(kind, NLM_F_REQUEST | NLM_F_DUMP, header + attributes))


def _attribute(kind: int, value: bytes) -> bytes:
    return pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _is_present() -> bool:
    """Whether asking loads nothing: the code is in the kernel already, or the kernel has no modules at all."""
    if os.path.exists("/sys/module/nf_tables") or not os.path.exists("/proc/modules"):
        return True
    try:
        with open(f"/lib/modules/{os.uname().release}/modules.builtin", encoding="ascii", errors="replace") as file:
            return "/nf_tables." in file.read()
    except OSError:
        return False
