"""CLOSING: both ends closed at once, and their FINs crossed on the way."""

from __future__ import annotations

from tcpscope.kernel.raw_packets import PacketSocket
from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import Pair, Stage, listening
from tcpscope.model.segment import FIN
from tcpscope.model.state import State


def cross_fins(stage: Stage, pair: Pair) -> None:
    """Close both ends at once so that the FINs cross; ACKs of them are lost until the hosts pass everything again."""
    wires = (PacketSocket(stage.client), PacketSocket(stage.server))
    stage.step("Everything is lost in both directions; both programs call close().")
    stage.client.drop()
    stage.server.drop()
    pair.client.close()
    pair.server.close()
    fin_sent = Seen(State.FIN_WAIT_1, 0, 1, "", "on")
    stage.expect("two FINs are on their way", [fin_sent], [listening(), fin_sent])
    stage.step("The two FINs arrive late, as on a slow path; the ACKs that answer them are lost.")
    fins = [
        next(frame for frame in wire.read_frames() if frame.is_outgoing and frame.segment.has(FIN)) for wire in wires
    ]
    for host, fin in zip((stage.client, stage.server), fins, strict=True):
        host.drop(f"tcp ackseq {(fin.segment.seq + 1) % 2**32}")
    for wire, fin in zip(wires, fins, strict=True):
        wire.replay(fin)
        wire.close()


@scene("state", "both closed at once: the FINs crossed", state=State.CLOSING)
def closing(stage: Stage) -> None:
    """Each end has sent a FIN and got the other's FIN, but not the ACK of its own. Usually half a round trip long. To
    hold it still, both FINs are caught on the way, delivered when both are out, and every ACK of them is dropped.
    """
    cross_fins(stage, stage.connect())
    both_fins = Seen(State.CLOSING, 1, 1, "", "on")
    stage.expect("each waits for the ACK of its own FIN", [both_fins], [listening(), both_fins])
    stage.step("The path is whole again: the next FIN is acknowledged.")
    for host in (stage.client, stage.server):
        host.pass_everything()
    timewait = Seen(State.TIME_WAIT, 0, 0, "", "timewait")
    stage.expect("both ends wait out their 60 seconds", [timewait], [listening(), timewait])
