"""Numbers worth remembering from look to look: what only a trend can tell."""

from __future__ import annotations

from tcpscope.doctor.capacity import hidden_inodes, unlisted_now
from tcpscope.doctor.close_side import leaking
from tcpscope.doctor.look import Look


def trends(look: Look) -> dict[str, int]:
    """Return the present value of each trend, by name."""
    numbers = {f"close-wait:{key}": len(sockets) for key, sockets in leaking(look).items()}
    for process, hidden in hidden_inodes(look):
        if len(hidden) >= look.limit_of("zombie-socket-fds.floor"):
            numbers[f"hidden:pid {process.pid}"] = len(hidden)
    unlisted = unlisted_now(look)
    if unlisted is not None:
        numbers["unlisted"] = unlisted
    resets = look.rate("Tcp.OutRsts")
    if resets is not None:
        numbers["rate:Tcp.OutRsts"] = round(resets)
    return numbers
