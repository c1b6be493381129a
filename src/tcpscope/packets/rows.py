"""What the three engines agree on: one decoded packet in, transition rows out, and the numbers of the law.

No state machine here, only the words that the engines and the readers of their results share. A row is a plain tuple
of integers so that the compiled engine can write the same thing into columns.
"""

from __future__ import annotations

from tcpscope.model.record import NamedTuple

SEEN, INFERRED, ASSUMED, RETRACTED = 0, 1, 2, 3
#: How a transition is known; the index is the ``basis`` of a row. A retracted row is never shown.
CERTAINTIES = ("seen", "inferred", "assumed", "retracted")

#: 2 MSL with the MSL of RFC 9293 §3.4.2. A finished connection that is silent for longer is over: a packet with
#: the same addresses and ports after that belongs to the next one.
TWO_MSL_NS = 240 * 10**9
#: No time known.
NEVER = -1


class Sight(NamedTuple):
    """One TCP segment as seen on the wire. ``wscale`` is -1 without the option; addresses are packed octets.

    ``text_bytes`` comes from the IP length, not from what was captured. ``kind`` is ``TCP`` or an ICMP error that
    quotes this header (then the numbers are those of the quoted segment).
    """

    number: int
    t_ns: int
    src: bytes
    dst: bytes
    sport: int
    dport: int
    seq: int
    ack: int
    flags: int
    wnd: int
    text_bytes: int
    wscale: int = -1
    mss: int = 0
    kind: int = 0


#: Kinds of a :class:`Sight`.
TCP, ICMP_SOFT, ICMP_HARD, ICMP_TOO_BIG = 0, 1, 2, 3


class TransitionRow(NamedTuple):
    """One change of state at one end (0: the lower address and port, 1: the higher) of connection ``serial``."""

    serial: int
    packet: int
    end: int
    before: int
    event: int
    after: int
    basis: int
    t_ns: int
    earliest_ns: int
    latest_ns: int
