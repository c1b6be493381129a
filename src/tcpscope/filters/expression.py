"""What a filter says, as a tree of words.

Addresses are kept as network bytes so that prefixes compare by bits, as ``inet_diag_bc_run()`` does in the kernel.
"""

from __future__ import annotations

from tcpscope.model.record import NamedTuple
from tcpscope.model.state import State

LOCAL, REMOTE = "src", "dst"


class Host(NamedTuple):
    """Address and port of one side; ``prefix_bits`` 0 is any address, ``port`` ``None`` any port.

    ``family`` is 4, 6 or 0 (either). A v4 rule also matches v4-mapped IPv6 sockets, as in the kernel.
    ``alternatives`` are further addresses (a host name may have several).
    """

    side: str
    family: int = 0
    network: bytes = b""
    prefix_bits: int = 0
    port: int | None = None
    alternatives: tuple[bytes, ...] = ()


class Port(NamedTuple):
    """Comparison of one side's port; ``operator`` is one of ``= != < <= > >=``."""

    side: str
    operator: str
    port: int


class Device(NamedTuple):
    """The interface the socket is bound to, by index."""

    ifindex: int


class Mark(NamedTuple):
    """``(mark & mask) == value``."""

    value: int
    mask: int = 0xFFFFFFFF


class Cgroup(NamedTuple):
    """The cgroup v2 the socket was made in, by path below the cgroup root."""

    path: str


class Autobound(NamedTuple):
    """The local port was chosen by the kernel; the ephemeral range says which that may be."""

    first: int = 32768
    last: int = 60999


class Family(NamedTuple):
    """The socket's address family (``inet:`` or ``inet6:`` before a host): 4 or 6."""

    family: int


class InStates(NamedTuple):
    """The socket is in one of these states."""

    states: frozenset[State]


class Quantity(NamedTuple):
    """A number of the socket compared: ``field`` is one of ``pid uid netns age rtt recv-q send-q``.

    ``age`` and ``rtt`` are nanoseconds. A socket whose number is not known matches nothing but ``!=``.
    """

    field: str
    operator: str
    value: int


class Command(NamedTuple):
    """The program's name; ``pattern`` may hold ``*`` and ``?``."""

    operator: str
    pattern: str


class Not(NamedTuple):
    """The opposite."""

    inner: Expression


class And(NamedTuple):
    """Both."""

    left: Expression
    right: Expression


class Or(NamedTuple):
    """Either."""

    left: Expression
    right: Expression


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Expression = (
        Host | Port | Device | Mark | Cgroup | Autobound | Family | InStates | Quantity | Command | Not | And | Or
    )


class Filter(NamedTuple):
    """A whole filter: ``states`` from leading ``state``/``exclude`` words (``None``: not said), and the expression.

    ``named`` are those of the states that were named one by one, not by a group or by excluding others.
    """

    states: frozenset[State] | None = None
    expression: Expression | None = None
    named: frozenset[State] = frozenset()

    @property
    def is_empty(self) -> bool:
        """Whether it selects everything."""
        return self.states is None and self.expression is None


def iter_conditions(found: Expression | None) -> Iterator[Expression]:
    """Iterate over what an expression asks, in the order in which it was written, without what joins it."""
    waiting = [found] if found is not None else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, (And, Or)):
            waiting += (node.right, node.left)
        elif isinstance(node, Not):
            waiting.append(node.inner)
        else:
            yield node
