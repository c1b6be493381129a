"""Numbers worth remembering from look to look: what only a trend can tell."""

from __future__ import annotations

from tcpscope.doctor.close_wait import leaking
from tcpscope.doctor.descriptors import hidden_inodes, unlisted_name, unlisted_now
from tcpscope.doctor.look import Look


def trends(look: Look) -> dict[str, int]:
    """Return the present value of each trend, by name."""
    numbers = {look.trend_name(f"close-wait:{key}"): len(sockets) for key, sockets in leaking(look).items()}
    for process, hidden in hidden_inodes(look):
        if len(hidden) >= look.limit_of("zombie-socket-fds.floor"):
            numbers[look.trend_name(f"hidden:pid {process.pid}")] = len(hidden)
    unlisted = unlisted_now(look)
    if unlisted is not None:
        numbers[unlisted_name(look)] = unlisted
    resets = look.rate("Tcp.OutRsts")
    if resets is not None:
        numbers[look.trend_name("rate:Tcp.OutRsts")] = round(resets)
    return numbers
