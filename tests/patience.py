"""Wait for what must come, not for a time: a busy machine may take seconds between any two steps."""

import functools
import inspect
import random
import socket
import time
import warnings

from tcpscope.kernel.namespace import NetworkNamespace
from tcpscope.kernel.rtnetlink import RouteSocket
from tcpscope.live.sockets import read_sockets
from tcpscope.model.state import State

#: Far longer than anything takes; a test that waits so long has failed.
PATIENCE_S = 60.0
MARK = "127.9.9.9"
ON_THE_WAY = {State.FIN_WAIT_1, State.LAST_ACK, State.CLOSING, State.SYN_SENT, State.SYN_RECEIVED}


def wait_until(is_so, what="it", seconds=PATIENCE_S, pause=0.01):
    """Return what ``is_so()`` returns once that is true; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(pause)
    return found


def wait_until_settled():
    """Wait until no SYN and no FIN is on its way in this namespace."""
    wait_until(lambda: not states_of_tcp() & ON_THE_WAY, "the last FIN's ACK")


def states_of_tcp():
    """Return the states that this namespace's TCP sockets are in."""
    return {one.state for one in read_sockets(udp=0, detail=False, owners=False)[0]}


def lonely_address():
    """Return an address of 127/8 that nobody else on this machine talks to: for what sees all of it."""
    return f"127.{random.randint(100, 250)}.{random.randint(0, 255)}.{random.randint(1, 254)}"


def read_until_now(feed, *spaces):
    """Return every move that ``feed`` has a record of by now, once nothing is on its way in ``spaces``.

    A listener opened last marks the end in each of them: what was recorded before it is told before it.
    """
    missing = set()
    for space in spaces:
        with space.entered():
            wait_until_settled()
            socket.create_server((MARK, 0)).close()
            missing.add(space.inode)
    moves, deadline = [], time.monotonic() + PATIENCE_S
    while missing - {move.netns for move in moves if is_mark(move)}:
        assert time.monotonic() < deadline, f"the mark did not come; lost {feed.read_lost()}"
        moves += feed.read_transitions(0.5)
    moves += feed.read_rest()
    return [move for move in moves if not is_mark(move)]


def is_mark(move):
    return move.flow.local.address == MARK


def in_its_own_namespace(test):
    """Give ``test`` a namespace as its first argument; when it fails, twice more another one.

    Why: a record may be missing through no fault of ours. Measured on Linux 6.18 in a virtual machine: while the
    machine's own agent runs no tracepoint fires, not even those of the tick that interrupts it. So the moves of a
    whole tick (a late ACK, the end of a wait, a keepalive's death) are missing together now and then, for BPF and perf
    alike, and nothing counts them. A defect of ours fails every time.
    """

    @functools.wraps(test)
    def run(**arguments):
        for left in (2, 1, 0):
            space = NetworkNamespace.create()
            try:
                with space.entered(), RouteSocket() as route:
                    route.set_up("lo")
                return test(space, **arguments)
            except AssertionError as error:
                if not left:
                    raise
                warnings.warn(f"{test.__name__} is tried again: {error}", stacklevel=1)
            finally:
                space.close()
        raise AssertionError

    signature = inspect.signature(test)
    run.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])
    return run
