"""The chains and rules of this namespace's packet filter (nftables), read by netlink as far as TCP ports are concerned.

``iptables-nft`` keeps its rules there too; its ``tcp`` and ``multiport`` matches are read. What a condition on anything
else means is not read: the rule is marked partial. Rules that can never concern TCP are left out. Constants:
``include/uapi/linux/netfilter/nf_tables.h``, ``xt_tcpudp.h``, ``xt_multiport.h``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator

from tcpscope.kernel.netlink import iter_messages, parse_attributes
from tcpscope.model.packet_filter import FilterChain, FilterRule, Ports

_SUBSYSTEM = 10 << 8
NEW_CHAIN, GET_CHAIN = _SUBSYSTEM | 3, _SUBSYSTEM | 4
NEW_RULE, GET_RULE = _SUBSYSTEM | 6, _SUBSYSTEM | 7
NEW_ELEMENTS, GET_ELEMENTS = _SUBSYSTEM | 12, _SUBSYSTEM | 13
FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_VERDICTS = {0: "drop", 1: "accept", 0xFFFFFFFB: "return", 0xFFFFFFFC: "goto", 0xFFFFFFFD: "jump"}
_TCP = 6
_EQUAL, _UNEQUAL, _LESS, _AT_MOST, _MORE, _AT_LEAST = range(6)
_HIGHEST = 65535
_ESTABLISHED, _NEW = 2, 8  # NF_CT_STATE_BIT(IP_CT_ESTABLISHED), NF_CT_STATE_BIT(IP_CT_NEW)

#: (family number, table, set) -> its ports as ranges.
Sets = Callable[[int, bytes, bytes], Ports | None]


def parse_chains(datagrams: Iterable[bytes]) -> dict[tuple[str, str, str], FilterChain]:
    """Parse the answer to a dump of chains; the rules are still missing."""
    chains = {}
    for family, known in _objects(datagrams, NEW_CHAIN):
        table, name = _text(known.get(1)), _text(known.get(3))
        hook = _nested(known.get(4))
        number = _number(hook.get(1))
        policy = "drop" if _number(known.get(5)) == 0 else "accept"
        where = _HOOKS[number] if 0 <= number < len(_HOOKS) else ""
        chain = FilterChain(FAMILIES[family], table, name, where, _signed(hook.get(2)), policy)
        chains[chain.family, table, name] = chain
    return chains


def parse_rules(datagrams: Iterable[bytes], sets: Sets) -> Iterator[tuple[tuple[str, str, str], FilterRule]]:
    """Parse the answer to a dump of rules; yields the chain's key and the rule, in the kernel's order."""
    for family, known in _objects(datagrams, NEW_RULE):
        rule = RuleReader(_number(known.get(3)), family, known.get(1, b""), sets)
        for expression in _elements(known.get(4)):
            parts = parse_attributes(expression, 0, len(expression))
            rule.add(_text(parts.get(1)), _nested(parts.get(2)))
        if rule.concerns_tcp:
            yield (FAMILIES[family], _text(known.get(1)), _text(known.get(2))), rule.finish()


def parse_ports(datagrams: Iterable[bytes]) -> Ports:
    """Parse the answer to a dump of a set's elements whose keys are numbers of one or two bytes."""
    edges: list[tuple[int, bool]] = []
    for _, known in _objects(datagrams, NEW_ELEMENTS):
        for element in _elements(known.get(3)):
            parts = parse_attributes(element, 0, len(element))
            key = _value(parts.get(1))
            if 1 <= len(key) <= 2:
                edges.append((int.from_bytes(key, "big"), bool(_number(parts.get(3), 0) & 1)))
    if not any(is_end for _, is_end in edges):
        return tuple((number, number) for number, _ in sorted(edges))
    return tuple(_intervals(sorted(edges, key=lambda edge: (edge[0], not edge[1]))))


def _intervals(edges: Iterable[tuple[int, bool]]) -> Iterator[tuple[int, int]]:
    """Linux: an interval is an element at its start and another, marked as end, just past its last number."""
    start = None
    for number, is_end in edges:
        if is_end and start is not None:
            yield start, number - 1
            start = None
        elif not is_end:
            start = number
    if start is not None:
        yield start, _HIGHEST


class RuleReader:
    """Follow a rule's expressions: what each register holds, and what is asked of it."""

    def __init__(self, handle: int, family: int, table: bytes, sets: Sets) -> None:
        self._known = FilterRule(handle)
        self._family, self._table, self._sets = family, table, sets
        self._registers: dict[int, str] = {}
        self._bounds: dict[str, list[int]] = {}
        self._mask = 0
        self.concerns_tcp = True

    def add(self, name: str, parts: dict[int, bytes]) -> None:
        """Take the next expression."""
        reader = getattr(self, f"_on_{name}", None)
        if reader is not None:
            reader(parts)
        elif name not in ("log", "last", "notrack"):
            self._known = self._known._replace(is_partial=True)

    def finish(self) -> FilterRule:
        """Return the rule."""
        for what, (low, high) in self._bounds.items():
            self._narrow(what, ((low, high),))
        return self._known

    def _narrow(self, what: str, ports: Ports) -> None:
        if what == "dport":
            self._known = self._known._replace(to_ports=ports)
        else:
            self._known = self._known._replace(from_ports=ports)

    def on_loopback(self, is_wanted: bool) -> None:
        """Note that it asks for packets of lo, or of other interfaces."""
        self._known = self._known._replace(loopback=is_wanted)

    def doubt(self) -> None:
        """Note a condition that is not read."""
        self._known = self._known._replace(is_partial=True)

    def _on_meta(self, parts: dict[int, bytes]) -> None:
        names = {16: "l4proto", 15: "nfproto", 6: "name", 7: "name", 4: "number", 5: "number"}
        if 1 in parts:
            self._registers[_number(parts[1])] = names.get(_number(parts.get(2)), "")

    def _on_payload(self, parts: dict[int, bytes]) -> None:
        if 1 in parts:
            place = _number(parts.get(2)), _number(parts.get(3)), _number(parts.get(4))
            # (base, offset, length): 1 is the network header (protocol of IPv4), 2 the transport header.
            names = {(2, 2, 2): "dport", (2, 0, 2): "sport", (1, 9, 1): "l4proto"}
            self._registers[_number(parts[1])] = names.get(place, "")

    def _on_ct(self, parts: dict[int, bytes]) -> None:
        if 1 in parts:
            self._registers[_number(parts[1])] = "" if _number(parts.get(2)) else "ct"

    def _on_bitwise(self, parts: dict[int, bytes]) -> None:
        """``ct state new`` is: load the state, mask it, compare with 0."""
        is_state = self._registers.get(_number(parts.get(1))) == "ct"
        self._mask = int.from_bytes(_value(parts.get(4)), sys.byteorder)
        self._registers[_number(parts.get(2))] = "ct masked" if is_state else ""

    def _on_counter(self, parts: dict[int, bytes]) -> None:
        self._known = self._known._replace(packets=int.from_bytes(parts.get(2, b""), "big"))

    def _on_reject(self, parts: dict[int, bytes]) -> None:
        self._known = self._known._replace(verdict="reject")

    def _on_immediate(self, parts: dict[int, bytes]) -> None:
        verdict = _nested(_nested(parts.get(2)).get(2))
        if verdict:
            word = _VERDICTS.get(_number(verdict.get(1)), "")
            self._known = self._known._replace(verdict=word, target=_text(verdict.get(2)))

    def _on_cmp(self, parts: dict[int, bytes]) -> None:
        what, how = self._registers.get(_number(parts.get(1)), ""), _number(parts.get(2))
        value = _value(parts.get(3))
        number = int.from_bytes(value, "big")
        if what in ("dport", "sport"):
            self._compare_port(what, how, number)
        elif what == "ct masked" and how == _UNEQUAL and not number:
            self._known = self._known._replace(
                for_new=bool(self._mask & _NEW), for_known=bool(self._mask & _ESTABLISHED)
            )
        elif what == "l4proto" and how in (_EQUAL, _UNEQUAL):
            self.concerns_tcp &= (number == _TCP) == (how == _EQUAL)
        elif what == "nfproto" and how == _EQUAL and number in FAMILIES:
            self._known = self._known._replace(family=FAMILIES[number])
        elif what in ("name", "number") and how in (_EQUAL, _UNEQUAL) and _is_loopback(what, value):
            self._known = self._known._replace(loopback=how == _EQUAL)
        else:
            self.doubt()

    def _compare_port(self, what: str, how: int, number: int) -> None:
        low, high = self._bounds.get(what, (0, _HIGHEST))
        if how == _UNEQUAL:
            self._narrow(what, ((0, number - 1), (number + 1, _HIGHEST)))
            return
        low = {_EQUAL: number, _AT_LEAST: number, _MORE: number + 1}.get(how, low)
        high = {_EQUAL: number, _AT_MOST: number, _LESS: number - 1}.get(how, high)
        self._bounds[what] = [low, high]

    def _on_range(self, parts: dict[int, bytes]) -> None:
        what = self._registers.get(_number(parts.get(1)), "")
        low, high = (int.from_bytes(_value(parts.get(kind)), "big") for kind in (3, 4))
        if what not in ("dport", "sport"):
            self.doubt()
        elif _number(parts.get(2)):
            self._narrow(what, ((0, low - 1), (high + 1, _HIGHEST)))
        else:
            self._narrow(what, ((low, high),))

    def _on_lookup(self, parts: dict[int, bytes]) -> None:
        what = self._registers.get(_number(parts.get(2)), "")
        is_plain = 3 not in parts and not _number(parts.get(5), 0)
        found = self._sets(self._family, self._table, parts.get(1, b"")) if is_plain and what else None
        if found is None or what not in ("dport", "sport", "l4proto"):
            self.doubt()
        elif what == "l4proto":
            self.concerns_tcp &= any(low <= _TCP <= high for low, high in found)
        else:
            self._narrow(what, found)

    def _on_match(self, parts: dict[int, bytes]) -> None:
        """A match of iptables: ``struct xt_tcp`` and ``struct xt_multiport_v1`` are in the host's byte order."""
        name, data = _text(parts.get(1)), parts.get(3, b"")
        if name == "tcp" and len(data) >= 12 and not any(data[8:11]):
            self._bound("sport", data, 0, bool(data[11] & 1))
            self._bound("dport", data, 4, bool(data[11] & 2))
        elif name == "multiport" and len(data) >= 48 and data[0] in (0, 1) and not data[47]:
            self._narrow("dport" if data[0] else "sport", tuple(_multiport(data)))
        elif name in ("udp", "icmp", "icmp6", "sctp"):
            self.concerns_tcp = False
        elif name != "comment":
            self.doubt()

    def _bound(self, what: str, data: bytes, offset: int, is_inverted: bool) -> None:
        low, high = _host(data, offset), _host(data, offset + 2)
        if is_inverted:
            self._narrow(what, ((0, low - 1), (high + 1, _HIGHEST)))
        elif (low, high) != (0, _HIGHEST):
            self._bounds[what] = [low, high]

    def _on_target(self, parts: dict[int, bytes]) -> None:
        if _text(parts.get(1)) == "REJECT":
            self._known = self._known._replace(verdict="reject")


def _multiport(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield ranges: where a port's flag is set, the next port is the end of its range."""
    numbers = iter(range(min(data[1], 15)))
    for number in numbers:
        low = high = _host(data, 2 + 2 * number)
        if data[32 + number]:
            high = _host(data, 2 + 2 * next(numbers, number))
        yield low, high


def _is_loopback(what: str, value: bytes) -> bool:
    return value.rstrip(b"\0") == b"lo" if what == "name" else int.from_bytes(value, sys.byteorder) == 1


def _host(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], sys.byteorder)


def _objects(datagrams: Iterable[bytes], wanted: int) -> Iterator[tuple[int, dict[int, bytes]]]:
    """Yield (family number, attributes) of the messages of one kind; other families than IP's are left out."""
    for kind, datagram, start, end in iter_messages(datagrams):
        if kind == wanted and end - start >= 4 and datagram[start] in FAMILIES:
            yield datagram[start], parse_attributes(datagram, start + 4, end)


def _elements(value: bytes | None) -> Iterator[bytes]:
    """Yield the members of a list: attributes that all have the same number."""
    data, offset = value or b"", 0
    while offset + 4 <= len(data):
        length = _host(data, offset)
        if length < 4 or offset + length > len(data):
            return
        yield data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def _nested(value: bytes | None) -> dict[int, bytes]:
    return parse_attributes(value or b"", 0, len(value or b""))


def _value(value: bytes | None) -> bytes:
    """Return what ``NFTA_DATA_VALUE`` holds."""
    return _nested(value).get(1, b"")


def _number(value: bytes | None, absent: int = -1) -> int:
    return int.from_bytes(value, "big") if value else absent


def _signed(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "big", signed=True)


def _text(value: bytes | None) -> str:
    return (value or b"").split(b"\0")[0].decode("utf-8", "replace")
