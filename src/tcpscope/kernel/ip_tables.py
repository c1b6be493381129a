"""The older ``ip_tables`` and ``ip6_tables``: their table ``filter``, asked for by getsockopt and read into chains.

Layouts: linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h, linux/netfilter/x_tables.h. A table is one
block of entries; a chain of its own begins with an entry whose target is called ``ERROR``, a chain at a hook ends with
the entry that is its policy. The handle of a rule is its number in its chain, as ``iptables-legacy -L --line-numbers``
counts. Nothing is loaded by asking: only tables that are there are asked for. ``raw`` and ``mangle`` are not read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from struct import pack, unpack_from

from tcpscope.kernel.filter_rules import RuleReader
from tcpscope.model.packet_filter import FilterChain, FilterRule
from tcpscope.model.record import NamedTuple

_GET_INFO, _GET_ENTRIES = 64, 65  # IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES; the same for IPv6
_INFO = "=32xI5I5III"
_HEADER_BYTES = 40  # struct ipt_get_entries, aligned to 8
_FILTER_HOOKS = {1: "input", 2: "forward", 3: "output"}
_GOTO = 2  # IPT_F_GOTO; IP6T_F_GOTO is 4
_VERDICTS = {-1: "drop", -2: "accept", -5: "return"}
_TCP = 6


class _Layout(NamedTuple):
    """Where the fields of an entry stand: ``struct ipt_entry`` or ``struct ip6t_entry``."""

    family: str
    names_file: str
    socket_family: int
    level: int
    addresses_bytes: int  #: both addresses and both masks, the names of interfaces follow
    inverted: int
    flags: int
    goto: int
    offsets: int
    counters: int
    body: int


_LAYOUTS = (
    _Layout("ip", "ip_tables_names", 2, 0, 16, 83, 82, _GOTO, 88, 96, 112),
    _Layout("ip6", "ip6_tables_names", 10, 41, 64, 132, 131, 4, 140, 152, 168),
)


def read_older_chains() -> tuple[FilterChain, ...]:
    """Return the chains of the older tables ``filter`` of this namespace. Raises ``OSError`` where it may not look."""
    found: list[FilterChain] = []
    for layout in _LAYOUTS:
        if _has_filter(layout.names_file):
            hooks, ends, block = _ask(layout)
            found += parse_table(layout.family, hooks, ends, block)
    return tuple(found)


def _has_filter(names_file: str) -> bool:
    try:
        with open(f"/proc/thread-self/net/{names_file}", encoding="ascii") as file:
            return "filter" in file.read().split()
    except FileNotFoundError:
        return False


def _ask(layout: _Layout) -> tuple[dict[str, int], dict[str, int], bytes]:
    """Return where each hook's chain begins and its policy stands, and the entries."""
    import socket

    name = b"filter".ljust(32, b"\0")
    with socket.socket(layout.socket_family, socket.SOCK_RAW, socket.IPPROTO_RAW) as one:
        info = _get(one.fileno(), layout.level, _GET_INFO, name.ljust(84, b"\0"))
        valid, *rest = unpack_from(_INFO, info)
        size = rest[11]
        question = pack("=32sI", name, size).ljust(_HEADER_BYTES + size, b"\0")
        block = _get(one.fileno(), layout.level, _GET_ENTRIES, question)[_HEADER_BYTES:]
    hooks = {word: number for number, word in _FILTER_HOOKS.items() if valid & (1 << number)}
    return (
        {word: rest[number] for word, number in hooks.items()},
        {word: rest[5 + number] for word, number in hooks.items()},
        block,
    )


def _get(fd: int, level: int, option: int, question: bytes) -> bytes:
    """Call getsockopt with a buffer that asks: Python's own method only takes an answer."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(question, len(question))
    length = ctypes.c_uint32(len(question))
    if libc.getsockopt(fd, level, option, buffer, ctypes.byref(length)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return buffer.raw


def parse_table(family: str, hooks: dict[str, int], ends: dict[str, int], block: bytes) -> list[FilterChain]:
    """Read the entries of a table; ``hooks`` and ``ends`` are the places of each hook's first entry and its policy."""
    layout = next(one for one in _LAYOUTS if one.family == family)
    entries = dict(_entries(layout, block))
    begins = {place: word for word, place in hooks.items()}
    policies = {place: word for word, place in ends.items()}
    names = {place: word.upper() for place, word in begins.items()}
    for entry, after in entries.values():
        if entry.target == "ERROR" and after in entries:
            names[after] = entry.label
    chains: dict[int, FilterChain] = {}
    here = -1
    for place, (entry, _) in entries.items():
        if place in names:
            here = place
            chains[here] = FilterChain(family, "filter", names[place], begins.get(place, ""), is_older=True)
        if here < 0 or entry.target == "ERROR":
            here = -1
            continue
        chain = chains[here]
        if place in policies:
            chains[here] = chain._replace(policy=entry.rule.verdict if entry.rule else "accept")
            here = -1
            continue
        number = len(chain.rules) + 1
        rule = entry.rule and entry.rule._replace(handle=number, target=names.get(entry.jump, ""))
        chains[here] = chain._replace(rules=(*chain.rules, rule or FilterRule(number)))
    return list(chains.values())


class _Entry(NamedTuple):
    """One entry: its rule (``None``: not about TCP), the name of its target, where it jumps, the name of a chain."""

    rule: FilterRule | None
    target: str
    jump: int
    label: str


def _entries(layout: _Layout, block: bytes) -> Iterator[tuple[int, tuple[_Entry, int]]]:
    """Yield (place, (entry, place of the next one))."""
    place = 0
    while place + layout.body <= len(block):
        target, after = unpack_from("=HH", block, place + layout.offsets)
        if not layout.body <= target < after or place + after > len(block):
            return
        yield place, (_entry(layout, block[place : place + after], target), place + after)
        place += after


def _entry(layout: _Layout, entry: bytes, target: int) -> _Entry:
    name, data = _extension(entry, target)
    rule = RuleReader(0, 0, b"", lambda *key: None)
    _add_header(rule, layout, entry)
    place = layout.body
    while place + 32 <= target:
        size = unpack_from("=H", entry, place)[0]
        if size < 32:
            break
        match, content = _extension(entry, place)
        rule.add("match", {1: match.encode(), 3: content})
        place += size
    jump, label = -1, ""
    known = rule.finish()._replace(packets=unpack_from("=Q", entry, layout.counters)[0])
    if name == "" and len(data) >= 4:
        jump = unpack_from("=i", data)[0]
        is_goto = bool(entry[layout.flags] & layout.goto)
        known = known._replace(verdict=_VERDICTS.get(jump, "" if jump < 0 else "goto" if is_goto else "jump"))
    elif name == "REJECT":
        known = known._replace(verdict="reject")
    elif name == "ERROR":
        label = data.split(b"\0")[0].decode("utf-8", "replace")
    return _Entry(known if rule.concerns_tcp else None, name, jump, label)


def _extension(entry: bytes, place: int) -> tuple[str, bytes]:
    """Return name and content of a match or a target (``struct xt_entry_match``)."""
    size = unpack_from("=H", entry, place)[0]
    name = entry[place + 2 : place + 31].split(b"\0")[0].decode("ascii", "replace")
    return name, entry[place + 32 : place + max(32, size)]


def _add_header(rule: RuleReader, layout: _Layout, entry: bytes) -> None:
    """Take the conditions every entry has: addresses, interfaces, protocol."""
    names = layout.addresses_bytes
    inverted = entry[layout.inverted]
    if any(entry[names // 2 : names]) or (entry[layout.flags] & 1 and layout.family == "ip"):
        rule.doubt()
    for place, flag in ((names, 1), (names + 16, 2)):
        interface = entry[place : place + 16].rstrip(b"\0")
        if interface == b"lo":
            rule.on_loopback(not inverted & flag)
        elif interface:
            rule.doubt()
    protocol = unpack_from("=H", entry, names + 64)[0]
    if protocol:
        rule.concerns_tcp &= (protocol == _TCP) != bool(inverted & 0x40)
