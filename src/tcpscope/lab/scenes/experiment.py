"""The experiment of the textbooks: a server and a client on one machine, port 10050, and Ctrl-C on either."""

from __future__ import annotations

import signal
import subprocess

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage
from tcpscope.model.state import State

ADDRESS = "192.168.190.81"
LISTENER = Seen(State.LISTEN, 0, owner="server")


def _start(stage: Stage) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """Run both programs on one host and show the connection from both of its ends."""
    machine = stage.server
    machine.add_address(ADDRESS)
    stage.step(f"A server listens on port {PORT}; a client on the same machine connects to it.")
    server = stage.demo(machine, "quiet_server", str(PORT), called="server")
    client = stage.demo(machine, "quiet_client", ADDRESS, str(PORT), called="client")
    ends = [Seen(State.ESTABLISHED, 0, 0, owner) for owner in ("client", "server")]
    stage.expect("one connection, both of its ends, and the listener", server=[LISTENER, *ends])
    return server, client


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    process.wait()


@scene("story", "a server and a client on port 10050")
def normal_connection(stage: Stage) -> None:
    """One connection is two sockets: on one machine both ends are listed, and the listener stays beside them."""
    _start(stage)


@scene("story", "Ctrl-C on the server")
def server_interrupted(stage: Stage) -> None:
    """The kernel closes what a dead process leaves: it sends the FIN and waits in FIN_WAIT_2, without a process. The
    client program has not closed, so its end stays in CLOSE_WAIT (Recv-Q 1 is the unread FIN): that, and not the
    server's death, is why no second FIN comes.
    """
    server, _ = _start(stage)
    stage.step("Ctrl-C on the server: SIGINT, default action.")
    _interrupt(server)
    stage.expect(
        "the server's end has no process, the client's end waits for its program",
        server=[
            Seen(State.FIN_WAIT_2, 0, 0, owner="", timer="timewait"),
            Seen(State.CLOSE_WAIT, 1, 0, owner="client", timer=""),
        ],
    )


@scene("story", "Ctrl-C on the client")
def client_interrupted(stage: Stage) -> None:
    """The mirror image: the end that dies first waits in FIN_WAIT_2, the server's program has not closed. A server
    that does this for every client fills its descriptors with CLOSE_WAIT.
    """
    _, client = _start(stage)
    stage.step("Ctrl-C on the client: SIGINT, default action.")
    _interrupt(client)
    stage.expect(
        "the client's end has no process, the server's end waits for its program",
        server=[
            LISTENER,
            Seen(State.CLOSE_WAIT, 1, 0, owner="server", timer=""),
            Seen(State.FIN_WAIT_2, 0, 0, owner="", timer="timewait"),
        ],
    )
