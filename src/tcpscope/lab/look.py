"""How a scene looks at a host: with the eyes of ``tcpscope list``, and with ss beside it where ss is installed."""

from __future__ import annotations

import shutil
from collections import Counter

from tcpscope.kernel.sandbox import Host
from tcpscope.live.listing import WITH_BOUND
from tcpscope.live.sockets import read_sockets
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

_SS_ATTEMPTS = 5


def look_at(host: Host, *, owners: bool = True) -> list[Socket]:
    """Return the TCP sockets of a host with their holders, as ``tcpscope list -tanpo`` shows them."""
    with host.entered():
        return read_sockets(tcp=WITH_BOUND, udp=0, detail=False, owners=owners)[0]


def compare_with_ss(host: Host) -> str:
    """Compare states, queues and addresses with ``ss -tan``: ``agrees``, ``absent`` (no ss), or the difference.

    The two looks are not simultaneous: they are repeated a few times before a difference counts.
    """
    program = shutil.which("ss")
    if program is None:
        return "absent"
    difference = ""
    for _ in range(_SS_ATTEMPTS):
        # Linux: ss does not ask for sockets that were only bound.
        ours = Counter(_row_of(socket) for socket in look_at(host) if socket.state != State.CLOSED)
        theirs = Counter(" ".join(line.split()[:5]) for line in host.run(program, "-tanH").splitlines())
        if ours == theirs:
            return "agrees"
        difference = f"ss alone: {sorted(theirs - ours)}; here alone: {sorted(ours - theirs)}"
    return difference


def _row_of(socket: Socket) -> str:
    """Spell a socket as ``ss -tanH`` does: state, queues, both addresses."""
    send_q = socket.backlog if socket.is_listener and socket.backlog is not None else socket.send_q
    is_dual = socket.local.address == "::" and not socket.v6only
    local = f"*:{socket.local.port}" if is_dual else str(socket.local)
    remote = "*:*" if is_dual else str(socket.remote)
    return " ".join([socket.state.spell("ss"), str(socket.recv_q), str(send_q), local, remote])
