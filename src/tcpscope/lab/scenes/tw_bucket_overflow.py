"""tw-bucket-overflow: the TIME_WAIT table is full; and one that is full and loses nothing."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
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


@scene("trap", "the table is full to the last place, and was too small an hour ago", finding="tw-bucket-overflow")
def tw_buckets_enough(stage: Stage) -> None:
    """The limit was raised after an overflow: the counter still tells of it, and the table is full again, exactly.
    Nothing was skipped since: every connection that was closed first here is remembered for 60 s.
    """
    stage.client.set_sysctl("net.ipv4.tcp_max_tw_buckets", ROOM)
    stage.spare_time_wait()
    crowd = stage.crowd(NUMBER)
    for near, far in zip(crowd.client[: ROOM + 1], crowd.server, strict=False):
        near.close()
        far.close()
    stage.expect(
        "one was skipped",
        [Seen(State.TIME_WAIT, number=ROOM), Seen(State.ESTABLISHED, 0, 0, "client", number=NUMBER - ROOM - 1)],
    )
    stage.client.set_sysctl("net.ipv4.tcp_max_tw_buckets", NUMBER - 1)
    stage.look_first(stage.client)
    stage.step(f"There is room for {NUMBER - 1} now, and the others are closed too.")
    for near, far in zip(crowd.client[ROOM + 1 :], crowd.server[ROOM + 1 :], strict=True):
        near.close()
        far.close()
    stage.expect("all of them remain", [Seen(State.TIME_WAIT, number=NUMBER - 1)], [listening()])
    stage.diagnose(stage.client, never=["tw-bucket-overflow"], also=["sysctl-lint"])
