"""Close chosen sockets: who is chosen, who is spared, and what came of it.

Choosing and doing are two steps, so that what was shown is what is closed: each socket is named by its cookie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tcpscope.kernel.namespaces import inside
from tcpscope.kernel.sock_destroy import CLOSED, destroy_socket, open_destroyer
from tcpscope.kernel.ssh_session import SshSession
from tcpscope.live.sockets import read_sockets
from tcpscope.model.errors import TcpscopeError
from tcpscope.model.record import NamedTuple
from tcpscope.model.snapshot import Coverage
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

_EVERY_STATE = 0xFFF

#: What closing from outside costs, for whoever is about to do it.
REMARK = (
    "The peer of each gets a reset, the program an error from its next call (ECONNABORTED); data not yet sent or read "
    "is lost. Its descriptor stays open until the program closes it, and a leak goes on."
)


_SILENT = "No peer is told: with a handshake open, both FINs out or a mini-socket the kernel forgets and sends nothing."
#: Linux: ``tcp_need_reset()``; a listener resets the connections nobody has accepted.
_WITH_RESET = frozenset(
    (State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT_1, State.FIN_WAIT_2, State.SYN_RECEIVED, State.LISTEN)
)


def tell_price(victims: Sequence[Socket]) -> str:
    """Say what closing these sockets from outside costs."""
    silent = sum(socket.kind != "full" or socket.state not in _WITH_RESET for socket in victims)
    if not silent:
        return REMARK
    return _SILENT if silent == len(victims) else f"{REMARK} The peers of {silent} of them are not told."


class Choice(NamedTuple):
    """The sockets to close, sentences about those that are left alone, and what could not be seen."""

    victims: Sequence[Socket]
    spared: Sequence[str] = ()
    coverage: Coverage = Coverage()


class Outcome(NamedTuple):
    """What was closed, what had ended before its turn came, and what stopped it midway."""

    closed: Sequence[Socket] = ()
    gone: Sequence[Socket] = ()
    refusal: TcpscopeError | None = None


def choose_victims(
    matches: Callable[[Socket], bool],
    *,
    states: int | None = None,
    bytecode: bytes = b"",
    netns: str | None = None,
    with_listeners: bool = False,
    own_session: SshSession | None = None,
) -> Choice:
    """Choose TCP sockets among ``states`` (a mask of kernel states); listeners only when told to.

    ``own_session`` is the connection that must not be cut.
    """
    mask = _EVERY_STATE if states is None else states
    found, coverage = read_sockets(tcp=mask, udp=0, netns=netns, select=matches, bytecode=bytecode)
    victims, spared = [], []
    for socket in found:
        if socket.state is State.CLOSED:
            continue
        if socket.is_listener and not with_listeners:
            spared.append(f"listener {socket.listening_at} is left alone: say 'state listening' to close it.")
        elif own_session == (socket.remote.unmapped, socket.remote.port, socket.local.unmapped, socket.local.port):
            spared.append(f"{socket.local} from {socket.remote} is left alone: it is this ssh session.")
        else:
            victims.append(socket)
    return Choice(victims, spared, coverage)


def close_sockets(victims: Sequence[Socket], netns: str | None = None) -> Outcome:
    """Close ``victims`` one by one with SOCK_DESTROY, each by its cookie; a refusal ends it.

    ``netns`` is where they were listed: a name, a path or ``pid:N`` (``None``: the caller's own). What was closed
    before a refusal is in the outcome, with the refusal.

    Raises :class:`~tcpscope.model.errors.NotPermitted` without CAP_NET_ADMIN and
    :class:`~tcpscope.model.errors.Unsupported` on a kernel that cannot, when nothing was closed yet.
    """
    closed: list[Socket] = []
    gone: list[Socket] = []
    with inside(netns):
        channel = open_destroyer()
        try:
            for victim in victims:
                (closed if destroy_socket(channel, victim) == CLOSED else gone).append(victim)
        except (TcpscopeError, OSError) as error:
            if not closed:
                raise
            stopped = f"{error} (after {len(closed)} of {len(victims)} were closed)"
            return Outcome(closed, gone, TcpscopeError(stopped))
        finally:
            channel.close()
    return Outcome(closed, gone)
