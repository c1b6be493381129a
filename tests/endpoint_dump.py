"""A block as plain values, so that two of them can be compared."""

from tcpscope.machine.flight import Sent
from tcpscope.machine.mtu_search import MtuSearch
from tcpscope.machine.rack import Rack
from tcpscope.machine.recovery import Recovery
from tcpscope.machine.rtt import RoundTrip
from tcpscope.machine.tcb import Counters, Tcb

WORDS = (Tcb, Recovery, Sent, Rack, RoundTrip, Counters, MtuSearch)
OBSERVERS = ("fast_path", "taken")


def dump(thing: object) -> object:
    """Everything a block holds, as plain values; what belongs to the observer is left out."""
    if isinstance(thing, WORDS) or hasattr(thing, "cwnd_bytes"):
        names = [name for name in type(thing).__slots__ if name not in OBSERVERS]
        return {name: dump(getattr(thing, name)) for name in names}
    if isinstance(thing, memoryview):
        return bytes(thing)
    if isinstance(thing, list | tuple):
        return [dump(item) for item in thing]
    return thing
