"""Addresses as people write them: one end (``Endpoint``) and both (``Flow``)."""

from __future__ import annotations

from tcpscope.model.record import NamedTuple

WILDCARDS = frozenset(("0.0.0.0", "::", "*"))


class Endpoint(NamedTuple):
    """One address and port. IPv6 without brackets; the port is 0 when unspecified."""

    address: str
    port: int

    @property
    def is_wildcard(self) -> bool:
        """Whether the address part stands for every local address."""
        return self.address in WILDCARDS

    @property
    def is_ipv6(self) -> bool:
        """Whether the address is written as IPv6 (a v4-mapped one included)."""
        return ":" in self.address

    @property
    def unmapped(self) -> str:
        """The address with the prefix of a v4-mapped one (``::ffff:192.0.2.1``) taken off."""
        return self.address[7:] if self.address.startswith("::ffff:") and "." in self.address else self.address

    @property
    def is_loopback(self) -> bool:
        """Whether the address is reachable from this host alone."""
        return self.unmapped.startswith("127.") or self.address == "::1"

    def __str__(self) -> str:
        port = str(self.port) if self.port else "*"
        return f"[{self.address}]:{port}" if self.is_ipv6 else f"{self.address}:{port}"


class Flow(NamedTuple):
    """The 4-tuple and the protocol, as seen from ``local``."""

    local: Endpoint
    remote: Endpoint
    proto: str = "tcp"

    @property
    def reversed(self) -> Flow:
        """The same connection as seen from the other end."""
        return Flow(self.remote, self.local, self.proto)

    @property
    def key(self) -> tuple[str, Endpoint, Endpoint]:
        """A key that both ends share."""
        low, high = sorted((self.local, self.remote))
        return (self.proto, low, high)

    def __str__(self) -> str:
        return f"{self.local} -> {self.remote}"
