"""``State``: the eleven states of RFC 9293 §3.3.2, numbered as Linux numbers them."""

from __future__ import annotations

from enum import IntEnum

from tcpscope.model.spelling import ALIASES, DIALECTS, KERNEL_EXTRA


class State(IntEnum):
    """One of the eleven TCP states; the value is Linux's number (``/proc/net/tcp`` column ``st``, in hex)."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECEIVED = 3
    FIN_WAIT_1 = 4
    FIN_WAIT_2 = 5
    TIME_WAIT = 6
    CLOSED = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11

    def spell(self, dialect: str = "netstat") -> str:
        """Spell this state as a tool does; ``dialect`` is a key of :data:`tcpscope.model.spelling.DIALECTS`."""
        return DIALECTS[dialect][self]

    @property
    def is_synchronized(self) -> bool:
        """Whether both ends have agreed on sequence numbers (RFC 9293 §3.3.2)."""
        return self not in (State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED)

    @property
    def has_received_fin(self) -> bool:
        """Whether the peer has closed its direction in this state."""
        return self in (State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK, State.TIME_WAIT)

    @classmethod
    def parse(cls, text: str) -> State:
        """Read any tool's spelling, in any case, with ``-``, ``_``, space or nothing between the words.

        Raises ``ValueError`` with the known spellings when the text names no state (``UNKNOWN`` is a tool's way
        to say that it does not know, not a state).
        """
        state = _BY_SPELLING.get(_fold(text))
        if state is None:
            raise ValueError(f"{text!r} is no TCP state; known: {', '.join(state.name for state in cls)}")
        return state

    @classmethod
    def from_kernel(cls, number: int) -> State:
        """Translate a Linux state number, 12 and 13 included. Raises ``ValueError`` for any other."""
        return cls(KERNEL_EXTRA.get(number, number))


def _fold(text: str) -> str:
    return "".join(char for char in text.upper() if char not in "-_ ")


def _spellings() -> dict[str, State]:
    known: dict[str, State] = {}
    for spelled in DIALECTS.values():
        for state in State:
            known[_fold(spelled[state])] = state
    for alias, name in ALIASES.items():
        known[_fold(alias)] = State[name]
    return known


_BY_SPELLING = _spellings()
