"""scanner-or-worm-pattern: one process knocks everywhere; and a crawler, which mostly gets in."""

from __future__ import annotations

from tcpscope.lab.scene import scene
from tcpscope.lab.shown import Seen
from tcpscope.lab.stage import PORT, Stage
from tcpscope.model.state import State

HOSTS = 60
#: Enough of them to be suspicious, were it not for those that answer.
HANGING = 25


@scene("illness", "one process tries one port on many addresses", finding="scanner-or-worm-pattern")
def scanner_or_worm_pattern(stage: Stage) -> None:
    """Many SYNs from one process to many addresses, and none answers: a scan, or a worm."""
    scanner = stage.actor(stage.client, "scanner")
    stage.server.drop()
    stage.step(f"A program tries port 6379 on {HOSTS} addresses.")
    for number in range(HOSTS):
        scanner.start_connect(f"198.18.{number}.{7 + number}", 6379)
    stage.expect("nobody answers", client=[Seen(State.SYN_SENT, 0, 1, "scanner", "on", number=HOSTS)])
    stage.diagnose(stage.client, "scanner-or-worm-pattern")


@scene("trap", "a crawler: many addresses, most of them answer", finding="scanner-or-worm-pattern")
def crawler(stage: Stage) -> None:
    """As many addresses, and two dozen that do not answer just now."""
    server, program = stage.actor(stage.server), stage.actor(stage.client, "crawler")
    server.listen(PORT)
    for number in range(HOSTS):
        stage.server.add_address(f"198.18.{number}.7")
    for number in range(HOSTS):
        program.connect(f"198.18.{number}.7", PORT)
    stage.server.drop("tcp flags & (syn|ack) == syn")
    for number in range(HANGING):
        program.start_connect(f"198.18.{number}.9", PORT)
    stage.expect(
        "most are connected",
        client=[
            Seen(State.ESTABLISHED, 0, 0, "crawler", number=HOSTS),
            Seen(State.SYN_SENT, 0, 1, "crawler", "on", number=HANGING),
        ],
    )
    stage.diagnose(stage.client, never=["scanner-or-worm-pattern"], also=["syn-sent-blackhole"])
