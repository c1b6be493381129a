"""tw-bucket-overflow: the TIME_WAIT table is full; and the same closes with room for them."""

from __future__ import annotations

from tcpscope.lab.scene import Seen, scene
from tcpscope.lab.stage import Stage, listening
from tcpscope.model.state import State

NUMBER, ROOM = 12, 5


@scene("illness", "the table of TIME_WAIT is full", finding="tw-bucket-overflow")
def tw_bucket_overflow(stage: Stage) -> None:
    """tcp_max_tw_buckets was lowered "against TIME_WAIT". Past the limit the kernel keeps nothing and answers the
    peer's FIN with RST: connections that were closed properly end as errors at the peer.
    """
    stage.client.set_sysctl("net.ipv4.tcp_max_tw_buckets", ROOM)
    stage.spare_time_wait()
    crowd = stage.crowd(NUMBER)
    stage.look_first(stage.client)
    stage.step(f"{NUMBER} connections are closed, client first; there is room for {ROOM}.")
    crowd.close_clients()
    crowd.close_servers()
    stage.expect(f"only {ROOM} remain", [Seen(State.TIME_WAIT, number=ROOM)], [listening()])
    stage.diagnose(stage.client, "tw-bucket-overflow", also=["sysctl-lint"])


@scene("trap", "the same closes with room for them", finding="tw-bucket-overflow")
def tw_buckets_enough(stage: Stage) -> None:
    """TIME_WAIT as it should be: every connection that was closed first here is remembered for 60 s."""
    stage.spare_time_wait()
    crowd = stage.crowd(NUMBER)
    stage.look_first(stage.client)
    crowd.close_clients()
    crowd.close_servers()
    stage.expect("all remain", [Seen(State.TIME_WAIT, number=NUMBER)], [listening()])
    stage.diagnose(stage.client, never=["tw-bucket-overflow"])
