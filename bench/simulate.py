"""Throughput of the simulated endpoint by loss and buffer, beside what smoltcp's own simulation publishes.

The setting is that of its ``netsim`` test: 100 ms round trip, 10 MiB, no rate limit, independent loss both ways,
MTU 1500 (its 1514 count the Ethernet header), no congestion control at either. Ours: the Linux profile without
timestamps (as there) and its 10 ms delayed ACK. Bytes per virtual second, mean over 24 seeds, with their standard
deviation and the standard error of the mean; and how much faster than real time the simulation runs.
"""

from __future__ import annotations

import statistics
import time

from tcpscope.machine.profile import LINUX
from tcpscope.stack.network import MS, Link
from tcpscope.stack.simulation import transfer

LOSSES = (0.0, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
#: Buffer -> bytes per second by loss, from the snapshot file of smoltcp's netsim (August 2026).
SMOLTCP = {
    32768: (322945, 314780, 219671, 166588, 76626, 37775, 6079, 1156),
    4096: (35062, 33860, 26937, 21887, 14074, 7871, 1604, 402),
}
SEEDS = range(1, 25)


def run() -> None:
    """Print the table."""
    profile = LINUX._replace(congestion="none", timestamps=False, delayed_ack_ns=10 * MS)
    print("buffer   loss   smoltcp B/s   ours B/s   ± one seed   ratio  ± mean   x real time")
    for size, published in SMOLTCP.items():
        chosen = profile._replace(receive_buffer_bytes=size, send_buffer_bytes=size)
        for loss, theirs in zip(LOSSES, published, strict=True):
            octets = (10 << 20) if loss <= 0.05 and size > 4096 else 1 << 20
            started = time.process_time()
            link = Link(50 * MS, loss)
            done = [transfer(octets, profile=chosen, links=(link, link), seed=seed)[0] for seed in SEEDS]
            spent = time.process_time() - started
            rates = [one.bytes_per_second for one in done]
            ours, spread = statistics.mean(rates), statistics.stdev(rates)
            error = spread / len(rates) ** 0.5
            virtual = sum(one.duration_ns for one in done) / 1e9
            print(
                f"{size:6} {loss:6.1%} {theirs:13} {ours:10.0f} {spread:12.0f} {ours / theirs:7.2f} "
                f"{error / theirs:7.2f} {virtual / spent:13.0f}"
            )
