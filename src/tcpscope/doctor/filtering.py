"""What a packet filter does with a port: walk the chains of a hook as the kernel does, and name the rule that decides.

Rules with conditions that are not read (``is_partial``) decide nothing; one that refuses and names the port is kept as a
possibility. Address conditions, connection tracking and limits are such.
"""

from __future__ import annotations

from collections.abc import Sequence

from tcpscope.doctor.case import Case
from tcpscope.doctor.hints import command
from tcpscope.doctor.look import Look, has_address
from tcpscope.doctor.wording import count
from tcpscope.model.address import Endpoint
from tcpscope.model.finding import Remedy
from tcpscope.model.packet_filter import FilterChain, FilterRule, Ports
from tcpscope.model.record import NamedTuple
from tcpscope.model.snapshot import Snapshot

_REFUSING = ("drop", "reject")
_DEEPEST = 16  # Linux: NFT_JUMP_STACK_SIZE


class Refusal(NamedTuple):
    """The rule (or policy, ``handle`` 0) that refuses a port.

    ``is_total``: whatever is not excepted; ``has_exception``: a rule before it, with conditions that are not read, lets
    some packets to that port pass.
    """

    chain: FilterChain
    rule: FilterRule
    is_total: bool = True
    has_exception: bool = False

    @property
    def is_sure(self) -> bool:
        """Whether it refuses every packet to that port."""
        return self.is_total and not self.has_exception

    def __str__(self) -> str:
        chain = self.chain
        if not self.rule.handle:
            return f"policy {self.rule.verdict} of chain {chain} (hook {chain.hook})"
        wanted, origin = spell_ports(self.rule.to_ports), spell_ports(self.rule.from_ports)
        ports = " ".join(
            (
                *((f"from port {origin}",) if origin else ()),
                *((f"port {wanted or 'any'}",) if wanted or not origin else ()),
            )
        )
        return f"rule {self.rule.handle} of chain {chain} (hook {chain.hook or 'none'}): {ports} {self.rule.verdict}"


def spell_ports(ports: Ports) -> str:
    """``80, 8000-8100``."""
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ports[:8])


def find_refusal(
    chains: Sequence[FilterChain] | None,
    hook: str,
    family: str,
    port: int,
    *,
    over_loopback: bool = False,
    is_new: bool = True,
    from_port: int | None = None,
) -> Refusal | None:
    """Return what refuses TCP packets to ``port`` as far as the rules tell.

    Asked about are packets between hosts (unless ``over_loopback``) that open a connection (unless not ``is_new``),
    from any port unless ``from_port`` is known.
    """
    walk = _Walk(chains or (), family, port, over_loopback, is_new, from_port)
    bases = sorted((one for one in chains or () if one.hook == hook), key=lambda one: one.priority)
    for base in bases:
        if base.family not in (family, "inet"):
            continue
        end = walk.through(base, 0)
        refusal = Refusal(base, FilterRule(0, base.policy)) if end is None and base.policy == "drop" else end
        if refusal is not None and refusal.rule.verdict in _REFUSING:
            return refusal._replace(has_exception=walk.has_exception)
    return walk.possible


class _Walk:
    """One packet's way; remembers what might have happened to it."""

    def __init__(
        self,
        chains: Sequence[FilterChain],
        family: str,
        port: int,
        over_loopback: bool,
        is_new: bool,
        from_port: int | None,
    ) -> None:
        self._chains = {(one.family, one.table, one.name): one for one in chains}
        self._family, self._port, self._over_loopback = family, port, over_loopback
        self._is_new, self._from_port = is_new, from_port
        self.possible: Refusal | None = None
        self.has_exception = False

    def through(self, chain: FilterChain, depth: int) -> Refusal | None:
        """Return what ended the packet's way in this chain (``accept`` included), ``None`` when its end was reached."""
        for rule in chain.rules:
            if not self._matches(rule) or not rule.verdict:
                continue
            if rule.is_partial:
                self._note(chain, rule)
                continue
            if rule.verdict == "return":
                return None
            if rule.verdict not in ("jump", "goto"):
                return Refusal(chain, rule)
            target = self._chains.get((chain.family, chain.table, rule.target))
            end = self.through(target, depth + 1) if target is not None and depth < _DEEPEST else None
            if end is not None or rule.verdict == "goto":
                return end
        return None

    def _matches(self, rule: FilterRule) -> bool:
        return (
            rule.family in ("", self._family)
            and rule.loopback in (None, self._over_loopback)
            and _holds(rule.to_ports, self._port)
            and (rule.for_new if self._is_new else rule.for_known)
            and (not rule.from_ports or (self._from_port is not None and _holds(rule.from_ports, self._from_port)))
        )

    def _note(self, chain: FilterChain, rule: FilterRule) -> None:
        if not rule.to_ports and not rule.from_ports:
            return
        if rule.verdict in _REFUSING and self.possible is None:
            self.possible = Refusal(chain, rule, is_total=False)
        self.has_exception |= rule.verdict in ("accept", "jump", "goto")


def _holds(ports: Ports, port: int) -> bool:
    return not ports or any(low <= port <= high for low, high in ports)


def refusal_of(
    look: Look, remote: Endpoint, is_new: bool, local: Endpoint | None = None
) -> tuple[Refusal, str, Snapshot] | None:
    """Return the filter rule here (hook output) or at the visible other host (hook input) that refuses ``remote``.

    With ``local`` also the one here that keeps the answers out (hook input). The text says whose filter it is, the
    snapshot is the one it stands in.
    """
    family, is_own = "ip6" if ":" in remote.unmapped else "ip", look.is_own(remote.address)
    filters, source_port = look.snapshot.packet_filter, local.port if local else None
    mine = find_refusal(
        filters, "output", family, remote.port, over_loopback=is_own, is_new=is_new, from_port=source_port
    )
    if mine is not None:
        return mine, "this host's own packet filter", look.snapshot
    if local is not None:
        answers = find_refusal(
            filters, "input", family, local.port, over_loopback=is_own, is_new=False, from_port=remote.port
        )
        if answers is not None:
            return answers, "this host's own packet filter", look.snapshot
    for source in (look.snapshot,) if is_own else look.others:
        if is_own or has_address(source, remote.unmapped):
            theirs = find_refusal(
                source.packet_filter,
                "input",
                family,
                remote.port,
                over_loopback=is_own,
                is_new=is_new,
                from_port=source_port,
            )
            if theirs is not None:
                return theirs, f"the packet filter of {remote.unmapped}", source
    return None


def show_chain(chain: FilterChain) -> str:
    """Return the command that shows a chain with its rules' numbers."""
    if not chain.is_older:
        return f"nft -a list chain {chain}"
    return f"{'ip6tables' if chain.family == 'ip6' else 'iptables'}-legacy -nvL {chain.name} --line-numbers"


def grown_packets(look: Look, refusal: Refusal) -> int | None:
    """Return how many packets the rule counted between the looks; ``None`` when it has no counter or is not here."""
    if look.previous is None or refusal.rule.packets is None:
        return None
    for chain in look.previous.packet_filter or ():
        if str(chain) == str(refusal.chain):
            for rule in chain.rules:
                if rule.handle == refusal.rule.handle and rule.packets is not None:
                    return refusal.rule.packets - rule.packets
    return None


class Blocked(NamedTuple):
    """A visible packet filter that drops what is sent: whose it is, whether it is sure, and how to look at it."""

    by: str = ""
    is_sure: bool = False
    remedies: tuple[Remedy, ...] = ()


def witness_filter(
    look: Look, case: Case, remote: Endpoint, *, is_new: bool = True, local: Endpoint | None = None
) -> Blocked:
    """Name the rule that drops packets to ``remote`` (or its answers to ``local``) if one is visible."""
    found = refusal_of(look, remote, is_new, local)
    if found is None or found[0].rule.verdict != "drop":
        return Blocked()
    refusal, whose, source = found
    is_here = source is look.snapshot
    more = grown_packets(look, refusal) if is_here else None
    is_sure = bool(refusal.is_sure or more)
    case.witness(
        0.9 if is_sure else 0.3,
        f"{whose} has {refusal}"
        + (f", +{count(more)} packets between the looks" if more else "")
        + ("" if is_sure else ", with conditions that are not read here"),
    )
    place = "" if is_here else "there: "
    return Blocked(
        whose,
        is_sure,
        (command(f"{show_chain(refusal.chain)}   {place}change that rule, or accept the port before it"),),
    )


def grown_rejects(look: Look) -> list[str]:
    """Return the rules here that reject and have counted packets between the looks."""
    rules = [Refusal(chain, rule) for chain in look.snapshot.packet_filter or () for rule in chain.rules]
    counted = [(one, grown_packets(look, one)) for one in rules if one.rule.verdict == "reject"]
    return [f"{one}, +{count(more)} packets" for one, more in counted if more]
