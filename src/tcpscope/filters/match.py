"""Expression to predicate: closures over the words of the model, so that a filter is read once, not per socket.

Hosts match as ``inet_diag_bc_run()`` matches: the family must fit (a v4 rule also takes v4-mapped sockets), then the
leading bits. Differs from ss in one corner: ss compares the bits a second time without looking at the family, so that
its ``not src 0.0.0.0`` also drops ``[::]``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

from tcpscope.filters import expression as ex
from tcpscope.filters.values import parse_address
from tcpscope.model.address import Endpoint
from tcpscope.model.socket import Socket

Predicate = Callable[[Socket], bool]

_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_MAPPED = bytes(10) + b"\xff\xff"


def compile_filter(found: ex.Filter) -> Predicate:
    """Return a predicate for a whole filter, states included."""
    states = found.states
    if found.expression is None:
        return (lambda socket: True) if states is None else (lambda socket: socket.state in states)
    matches = compile_expression(found.expression)
    return matches if states is None else (lambda socket: socket.state in states and matches(socket))


def compile_expression(found: ex.Expression) -> Predicate:
    """Return a predicate for an expression."""
    if isinstance(found, ex.Not):
        inner = compile_expression(found.inner)
        return lambda socket: not inner(socket)
    if isinstance(found, ex.And):
        every = [compile_expression(part) for part in _chain(found, ex.And)]
        return lambda socket: all(matches(socket) for matches in every)
    if isinstance(found, ex.Or):
        some = [compile_expression(part) for part in _chain(found, ex.Or)]
        return lambda socket: any(matches(socket) for matches in some)
    return _compile_predicate(found)


def _chain(found: ex.And | ex.Or, kind: type) -> list[ex.Expression]:
    """Flatten a left-leaning chain, so that long filters do not recurse."""
    parts: list[ex.Expression] = []
    rest: ex.Expression = found
    while isinstance(rest, kind):
        parts.append(rest.right)  # type: ignore[union-attr]  # kind is And or Or
        rest = rest.left  # type: ignore[union-attr]
    return [rest, *reversed(parts)]


def _compile_predicate(found: ex.Expression) -> Predicate:
    if isinstance(found, ex.Host):
        return _host(found)
    if isinstance(found, ex.Port):
        compare, port = _COMPARE[found.operator], found.port
        if found.side == ex.LOCAL:
            return lambda socket: compare(socket.local.port, port)
        return lambda socket: compare(socket.remote.port, port)
    if isinstance(found, ex.Quantity):
        return _quantity(found)
    if isinstance(found, ex.Command):
        return _command(found)
    return _compile_simple(found)


def _compile_simple(found: ex.Expression) -> Predicate:
    if isinstance(found, ex.InStates):
        return lambda socket: socket.state in found.states
    if isinstance(found, ex.Device):
        return lambda socket: socket.interface == found.ifindex
    if isinstance(found, ex.Mark):
        return lambda socket: (socket.mark or 0) & found.mask == found.value
    if isinstance(found, ex.Cgroup):
        return lambda socket: socket.cgroup == found.path
    if isinstance(found, ex.Autobound):
        return lambda socket: found.first <= socket.local.port <= found.last
    if isinstance(found, ex.Family):
        return lambda socket: socket.local.is_ipv6 == (found.family == 6)
    raise TypeError(f"no predicate: {found!r}")


def _host(found: ex.Host) -> Predicate:
    networks = (found.network, *found.alternatives)
    side: Callable[[Socket], Endpoint] = operator.attrgetter("local" if found.side == ex.LOCAL else "remote")
    port, bits, family = found.port, found.prefix_bits, found.family
    if not family:
        return lambda socket: port is None or side(socket).port == port

    def matches(socket: Socket) -> bool:
        end = side(socket)
        return (port is None or end.port == port) and _address_in(end.address, networks, bits)

    return matches


def _address_in(address: str, networks: Sequence[bytes], bits: int) -> bool:
    packed = parse_address(address.partition("%")[0]) or b""
    if len(packed) == 16 and len(networks[0]) == 4 and packed[:12] == _MAPPED:
        packed = packed[12:]
    if len(packed) != len(networks[0]):
        return False
    shift = len(packed) * 8 - bits
    value = int.from_bytes(packed, "big") >> shift
    return any(value == int.from_bytes(network, "big") >> shift for network in networks)


def _quantity(found: ex.Quantity) -> Predicate:
    compare, value = _COMPARE[found.operator], found.value
    if found.field == "pid":
        return lambda socket: _any_of((owner.pid for owner in socket.owners), found.operator, value)
    number = _NUMBERS[found.field]

    def matches(socket: Socket) -> bool:
        known = number(socket)
        return compare(known, value) if known is not None else found.operator == "!="

    return matches


def _any_of(numbers: object, sign: str, value: int) -> bool:
    known = list(numbers)  # type: ignore[call-overload]
    if sign == "!=":
        return value not in known
    return any(_COMPARE[sign](number, value) for number in known)


def _age_ns(socket: Socket) -> int | None:
    return None if socket.age.known == "unknown" else socket.age.ms * 10**6


def _rtt_ns(socket: Socket) -> int | None:
    return socket.tcp_info.rtt_us * 1000 if socket.tcp_info and socket.tcp_info.rtt_us else None


_NUMBERS: dict[str, Callable[[Socket], int | None]] = {
    "uid": lambda socket: socket.uid,
    "netns": lambda socket: socket.netns,
    "recv-q": lambda socket: socket.recv_q,
    "send-q": lambda socket: socket.send_q,
    "age": _age_ns,
    "rtt": _rtt_ns,
}


def _command(found: ex.Command) -> Predicate:
    from fnmatch import translate
    from re import compile as compile_pattern

    pattern = compile_pattern("|".join(map(translate, dict.fromkeys((found.pattern, _as_kept(found.pattern))))))
    if found.operator == "!=":
        return lambda socket: not any(pattern.match(owner.name) for owner in socket.owners)
    return lambda socket: any(pattern.match(owner.name) for owner in socket.owners)


def _as_kept(name: str) -> str:
    """Linux: a name is cut to 15 bytes (``TASK_COMM_LEN``); one that is asked for in full is found by what is left."""
    is_pattern = any(char in name for char in "*?[")
    return name if is_pattern else name.encode("utf-8", "replace")[:15].decode("utf-8", "backslashreplace")
