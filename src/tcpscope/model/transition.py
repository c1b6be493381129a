"""``Transition``: one change of state at one end, and how it is known."""

from __future__ import annotations

from tcpscope.model.address import Flow
from tcpscope.model.event import Event
from tcpscope.model.record import NamedTuple
from tcpscope.model.socket import Owner
from tcpscope.model.state import State


class Transition(NamedTuple):
    """``before`` to ``after`` at ``end`` of ``flow``.

    ``end`` is ``local`` for an endpoint or a kernel socket, ``client`` or ``server`` in a capture. ``source`` names
    where the fact comes from (``endpoint``, ``capture``, ``bpf``, ``perf``, ``poll``, ``destroy``). ``certainty``:
    ``seen``, ``inferred`` (from the peer's answer), ``assumed`` (to be taken back when contradicted) or ``expected``
    (driven by a timer nobody can see). ``earliest_ns``/``latest_ns`` bound the moment it can have happened.
    """

    flow: Flow
    end: str
    before: State
    event: Event | None
    after: State
    when_ns: int
    by: Owner | None = None
    source: str = ""
    certainty: str = "seen"
    legal: bool = True
    deviation: str = ""  #: name of the Linux deviation that explains it, see :mod:`tcpscope.machine.linux`
    in_state_ns: int | None = None
    packet: int | None = None
    earliest_ns: int | None = None
    latest_ns: int | None = None
    netns: int = 0
    cause: str = ""
