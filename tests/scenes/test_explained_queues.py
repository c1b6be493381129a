"""What explain says about queues and timers of each state, against the kernel's own sockets."""

import re

import pytest
from tests.scenes.scene_case import play_or_fail

from tcpscope.explain.clocks import CLOCKS
from tcpscope.explain.queues import QUEUES
from tcpscope.explain.sockets import what_comes, who_acts, why
from tcpscope.explain.timers import clocks_of
from tcpscope.lab.scene import load_scenes
from tcpscope.model.state import State

SCENES = {scene.state: name for name, scene in load_scenes().items() if scene.kind == "state" and scene.state}
SHOWN = {clock.shown for clock in CLOCKS if clock.shown}


@pytest.mark.root
@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_queues_and_timer_of_a_real_socket_are_as_explained(state):
    outcome = play_or_fail(SCENES[state])
    sockets = [one for point in outcome.checkpoints for end in point.ends for one in end.sockets if one.state == state]
    assert sockets
    usual = re.findall(r"\b(\d) (\d)\b", QUEUES[state].normal)
    for socket in sockets:
        if state is State.LISTEN:
            assert (socket.recv_q, socket.backlog) == (0, socket.send_q) or socket.recv_q
        if socket.timer and socket.timer.kind:
            assert socket.timer.kind in SHOWN
            assert any(clock.shown == socket.timer.kind for clock in clocks_of(state)), socket.timer
        assert why(socket) and who_acts(socket) and what_comes(socket)
    if usual:
        seen = {(str(socket.recv_q), str(socket.send_q)) for socket in sockets}
        assert seen & set(usual), (seen, usual)
