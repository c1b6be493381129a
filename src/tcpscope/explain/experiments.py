"""Which experiment shows a state or a move: stories of ``tcpscope simulate``, scenes of ``tcpscope lab``.

Names alone: this room plays nothing. The tests play every story and look for its moves.
"""

from __future__ import annotations

from tcpscope.machine.lifecycle import road_of, ways_into
from tcpscope.model.state import State

#: Move -> story: all arrows of RFC 9293's figure 5, and some more.
STORIES: dict[tuple[State, State], str] = {
    (State.CLOSED, State.LISTEN): "normal",
    (State.CLOSED, State.SYN_SENT): "normal",
    (State.LISTEN, State.CLOSED): "listener-closes",
    (State.LISTEN, State.SYN_SENT): "listener-connects",
    (State.LISTEN, State.SYN_RECEIVED): "normal",
    (State.SYN_SENT, State.CLOSED): "given-up",
    (State.SYN_SENT, State.SYN_RECEIVED): "simultaneous-open",
    (State.SYN_SENT, State.ESTABLISHED): "normal",
    (State.SYN_RECEIVED, State.LISTEN): "given-up",
    (State.SYN_RECEIVED, State.ESTABLISHED): "normal",
    (State.SYN_RECEIVED, State.FIN_WAIT_1): "early-close",
    (State.ESTABLISHED, State.CLOSED): "abort",
    (State.ESTABLISHED, State.FIN_WAIT_1): "normal",
    (State.ESTABLISHED, State.CLOSE_WAIT): "normal",
    (State.FIN_WAIT_1, State.FIN_WAIT_2): "normal",
    (State.FIN_WAIT_1, State.CLOSING): "simultaneous-close",
    (State.FIN_WAIT_1, State.TIME_WAIT): "close-at-once",
    (State.FIN_WAIT_2, State.TIME_WAIT): "normal",
    (State.FIN_WAIT_2, State.CLOSED): "server-never-closes",
    (State.CLOSING, State.TIME_WAIT): "simultaneous-close",
    (State.CLOSE_WAIT, State.LAST_ACK): "normal",
    (State.LAST_ACK, State.CLOSED): "normal",
    (State.TIME_WAIT, State.CLOSED): "normal",
}


def scene_of(state: State) -> str:
    """Return the name of the lab scene that makes this state."""
    return state.name.lower().replace("_", "-")


def make_state_commands(state: State) -> tuple[str, ...]:
    """Return the commands that make the state: in virtual time, and with Linux's own sockets."""
    ways = sorted(ways_into(state), key=lambda row: road_of(row) == "other")
    story = next(STORIES[row.before, state] for row in ways if (row.before, state) in STORIES)
    return f"tcpscope simulate {story}", f"sudo tcpscope lab run {scene_of(state)} --explain"


def make_move_commands(before: State, after: State) -> tuple[str, ...]:
    """Return the commands that make the move; not every move has a story."""
    story = STORIES.get((before, after))
    played = (f"tcpscope simulate {story}",) if story else ()
    return (*played, f"sudo tcpscope lab run rows-of-{scene_of(before)} --explain")
