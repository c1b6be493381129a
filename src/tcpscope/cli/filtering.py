"""A FILTER on the command line: what of it the kernel judges, what we judge, and what must be read for that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tcpscope.filters import expression as ex
from tcpscope.filters.match import compile_filter
from tcpscope.filters.parse import parse_filter
from tcpscope.kernel.diag_bytecode import compile_bytecode
from tcpscope.kernel.names import read_names
from tcpscope.live.sockets import read_cgroup_paths, read_namespaces
from tcpscope.model.record import NamedTuple
from tcpscope.model.snapshot import Coverage
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

_DETAIL_FIELDS = frozenset(("age", "rtt"))
_NO_CGROUPS = "No control group is known here: the unified hierarchy is not mounted on /sys/fs/cgroup."
_LISTENING = ex.InStates(frozenset((State.LISTEN,)))


class Selection(NamedTuple):
    """A filter in its parts: a mask of kernel states (``None``: not said), bytecode for the kernel, the whole test."""

    states: int | None
    bytecode: bytes
    matches: Callable[[Socket], bool]
    needs_owners: bool
    needs_detail: bool
    needs_cgroups: bool = False
    needs_namespaces: bool = False  #: whether it chooses by namespace
    names_listeners: bool = False  #: whether it says 'state listening' of all it chooses
    unseen_in_packets: str = ""  #: the first thing it asks for that no packet tells


def read_selection(words: Sequence[str]) -> Selection | None:
    """Read the FILTER words of a command line; ``None`` when there are none. Raises ``UsageError``."""
    if not words:
        return None
    found = parse_filter(words, read_names())
    parts = list(ex.iter_conditions(found.expression))
    fields = {part.field for part in parts if isinstance(part, ex.Quantity)}
    return Selection(
        states=None if found.states is None else _mask(found.states),
        bytecode=compile_bytecode(found.expression) or b"",
        matches=compile_filter(found),
        needs_owners="pid" in fields or any(isinstance(part, ex.Command) for part in parts),
        unseen_in_packets=next(filter(None, map(_unseen_in_packets, parts)), ""),
        needs_detail=bool(fields & _DETAIL_FIELDS) or any(isinstance(part, (ex.Cgroup, ex.Mark)) for part in parts),
        needs_namespaces="netns" in fields,
        needs_cgroups=any(isinstance(part, ex.Cgroup) for part in parts),
        names_listeners=_names_listeners(found),
    )


def read_chosen(
    selection: Selection | None,
    masks: tuple[int, int, int],
    *,
    everywhere: bool,
    netns: str | None,
    detail: bool,
    owners: bool,
) -> tuple[list[Socket], Coverage, dict[int, str]]:
    """Read the sockets that a filter chooses, in one namespace or everywhere; also what each namespace is called.

    ``masks`` are the states asked for of TCP and of UDP, and the address family; a state in the filter decides instead.
    """
    tcp, udp, family = masks
    if selection is None:
        return read_namespaces(
            everywhere=everywhere, netns=netns, tcp=tcp, udp=udp, family=family, detail=detail, owners=owners
        )
    if selection.states is not None:
        tcp, udp = tcp and selection.states, udp and selection.states
    sockets, coverage, labels = read_namespaces(
        everywhere=everywhere,
        netns=netns,
        tcp=tcp,
        udp=udp,
        family=family,
        detail=detail or selection.needs_detail,
        owners=owners or selection.needs_owners,
        select=selection.matches,
        bytecode=selection.bytecode,
    )
    if selection.needs_cgroups and not read_cgroup_paths():
        coverage = coverage._replace(notes=(*coverage.notes, _NO_CGROUPS))
    return sockets, coverage, labels


def _mask(states: frozenset[State]) -> int:
    mask = sum(1 << state for state in states)
    return mask | 1 << 12 if State.SYN_RECEIVED in states else mask  # Linux: request sockets are state 12


def _names_listeners(found: ex.Filter) -> bool:
    """``exclude established`` and ``state all`` choose listeners too, but do not name them."""
    rest = found.expression
    while isinstance(rest, ex.And):
        if rest.right == _LISTENING:
            return True
        rest = rest.left
    return State.LISTEN in found.named or rest == _LISTENING


def _unseen_in_packets(part: ex.Expression) -> str:
    if isinstance(part, ex.Quantity):
        return part.field
    named = {ex.Command: "comm", ex.Cgroup: "cgroup", ex.Mark: "fwmark", ex.Device: "dev", ex.Autobound: "autobound"}
    return named.get(type(part), "")
