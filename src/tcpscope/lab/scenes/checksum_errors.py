"""checksum-errors: damaged segments; and segments that are counted as errors for another reason."""

from __future__ import annotations

from tcpscope.kernel.raw_packets import RawSender
from tcpscope.lab.scene import scene
from tcpscope.lab.stage import PORT, Stage
from tcpscope.model.address import Endpoint
from tcpscope.model.segment import ACK, SYN, Segment

NUMBER = 20


@scene("illness", "segments with bad checksums arrive", finding="checksum-errors")
def checksum_errors(stage: Stage) -> None:
    """A network card, an offload or a middlebox damages packets; the kernel drops them and counts."""
    stage.actor(stage.server).listen(PORT)
    stage.look_first(stage.server)
    sender = RawSender(stage.client)
    stage.step(f"{NUMBER} damaged segments arrive.")
    for number in range(NUMBER):
        source = Endpoint(stage.client.address, 20000 + number)
        sender.send(source, Endpoint(stage.server.address, PORT), Segment(1, 1, ACK, 64240), spoil_checksum=True)
    stage.diagnose(stage.server, "checksum-errors")


@scene("trap", "SYNs on a live connection: counted as errors, not damaged", finding="checksum-errors")
def errors_without_damage(stage: Stage) -> None:
    """Tcp.InErrs also counts SYNs that meet a live connection and are challenged; InCsumErrors does not."""
    pair = stage.connect()
    stage.look_first(stage.server)
    sender = RawSender(stage.client)
    for _ in range(NUMBER):
        source = Endpoint(stage.client.address, pair.client.port)
        sender.send(source, Endpoint(stage.server.address, PORT), Segment(77, 0, SYN, 64240))
    grown = stage.grown(stage.server, "Tcp.InErrs")
    stage.verify("Tcp.InErrs", NUMBER, grown)
    stage.diagnose(stage.server, never=["checksum-errors"], also=["ghost-reconnect"])
