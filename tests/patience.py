"""Wait for what must come, not for a time: a busy machine may take seconds between any two steps."""

import random
import time

from tcpscope.live.sockets import read_sockets
from tcpscope.model.state import State

#: Far longer than anything takes; a test that waits so long has failed.
PATIENCE_S = 60.0
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
    wait_until(lambda: not {one.state for one in read_tcp()} & ON_THE_WAY, "the last FIN's ACK")


def read_tcp():
    """Return this namespace's TCP sockets."""
    return read_sockets(udp=0, detail=False, owners=False)[0]


def lonely_address():
    """Return an address of 127/8 that nobody else on this machine talks to: for what sees all of it."""
    return f"127.{random.randint(100, 250)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
