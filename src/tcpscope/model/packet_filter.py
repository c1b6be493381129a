"""A host's packet filter as far as it decides about TCP ports: chains at their hooks, and rules with a verdict.

A rule's conditions are kept where they are about ports, the protocol family, loopback or the state of conntrack;
whatever else a rule asks for makes it ``is_partial``: it applies to some packets, and which ones is not known here.
"""

from __future__ import annotations

from tcpscope.model.record import NamedTuple

#: Inclusive bounds.
Ports = tuple[tuple[int, int], ...]


class FilterRule(NamedTuple):
    """One rule. ``verdict`` is ``accept``, ``drop``, ``reject``, ``return``, ``jump``, ``goto`` or empty (none)."""

    handle: int
    verdict: str = ""
    target: str = ""  #: the chain of a jump or goto
    to_ports: Ports = ()  #: empty: any
    from_ports: Ports = ()
    family: str = ""  #: ``ip``, ``ip6`` or empty: both
    loopback: bool | None = None  #: ``True``: packets of lo alone, ``False``: of other interfaces alone
    for_new: bool = True  #: whether it is asked about packets that open a connection
    for_known: bool = True  #: whether it is asked about packets of connections conntrack knows
    is_partial: bool = False
    packets: int | None = None  #: what its counter counted, where it has one


class FilterChain(NamedTuple):
    """One chain; ``hook`` is ``input``, ``output``, ``prerouting`` ... or empty for a chain that is jumped to."""

    family: str  #: ``ip``, ``ip6`` or ``inet``
    table: str
    name: str
    hook: str = ""
    priority: int = 0
    policy: str = "accept"
    rules: tuple[FilterRule, ...] = ()
    is_older: bool = False  #: of ip_tables, not of nf_tables

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.name}"
