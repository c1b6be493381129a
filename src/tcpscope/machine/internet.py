"""What one connection asks of IP, and what IP told it: DS field, hop limit, source route (RFC 9293 §3.9.1.9, §3.9.2).

TCP chooses none of these; it keeps them for the connection's life and hands them down with every segment. Headers are
written by whoever drives the connection (:mod:`tcpscope.stack.host`).
"""

from __future__ import annotations

from tcpscope.model.errors import UsageError
from tcpscope.model.record import NamedTuple

MOST_OPTION_BYTES = 40
MOST_HOPS = 8  #: addresses besides the destination that an IPv4 header has room for


class Internet(NamedTuple):
    """Settings of one connection, the same for all its segments until they are changed."""

    dscp: int = 0  #: MUST-48; SHLD-21: may change during the connection's life
    hop_limit: int = 64  #: TTL or hop limit (MUST-49)
    route: tuple[str, ...] = ()  #: routers to pass on the way to the peer (IPv4 loose source route)
    is_route_ours: bool = False  #: the application has named the route: it goes before any received (MUST-52)
    options: bytes = b""  #: IPv4 options the application wants sent: record route, timestamp (MAY-10, MAY-11)
    received_dscp: int = -1  #: of the newest segment that came in (MAY-9); -1: none yet

    @property
    def option_bytes(self) -> int:
        """Octets of IPv4 options that every segment carries, which its text must leave room for (MUST-16)."""
        route = 3 + 4 * len(self.route) if self.route else 0
        return -(-(-(-route // 4) * 4 + len(self.options)) // 4) * 4


DEFAULTS = Internet()


def checked(internet: Internet) -> Internet:
    """Return ``internet``. Raises UsageError when a value does not fit into its field of an IP header."""
    if not 0 <= internet.dscp < 64:
        raise UsageError(f"{internet.dscp} is no DS code point: 0 to 63")
    if not 1 <= internet.hop_limit < 256:
        raise UsageError(f"a hop limit of {internet.hop_limit} reaches nobody: 1 to 255")
    if len(internet.route) > MOST_HOPS:
        raise UsageError(f"a source route of {len(internet.route)} routers: an IPv4 header has room for {MOST_HOPS}")
    if internet.option_bytes > MOST_OPTION_BYTES:
        raise UsageError(f"IPv4 options of {internet.option_bytes} octets: a header has room for {MOST_OPTION_BYTES}")
    return internet
