"""F69: a small piece that waits for an acknowledgement, and small pieces that wait for something else or for nothing."""

from __future__ import annotations

import pytest
from tests.unit.doctor.world import grown, listener, snap, sock

from tcpscope.doctor import diagnose
from tcpscope.model.finding import Finding, Severity
from tcpscope.model.snapshot import Snapshot
from tcpscope.model.socket import Socket
from tcpscope.model.state import State

AS_SEEN = {
    "notsent_bytes": 100, "unacked": 1, "snd_cwnd": 138, "rtt_us": 21_000, "min_rtt_us": 6,
    "bytes_sent": 29_300, "data_segs_out": 293, "total_retrans": 0,
}  # fmt: skip


def asking(send_q: int = 200, timer: tuple[object, ...] = ("on", 200, 0), **info: object) -> Socket:
    return sock(State.ESTABLISHED, send_q=send_q, timer=timer, cookie=7, info={**AS_SEEN, **info})


def held(now: Socket, then: Socket | None = None) -> list[Finding]:
    before: Snapshot = snap(listener(), then or asking())
    findings = diagnose(grown(before, sockets=(listener(), now)), before)
    return [finding for finding in findings if finding.id == "nagle-delayed-ack"]


LATER = {"bytes_sent": 38_900, "data_segs_out": 389}


def test_a_piece_that_waits_at_both_looks_is_found_and_named():
    (finding,) = held(asking(**LATER))
    assert finding.severity == Severity.MEDIUM
    assert "java (2215) waits about 40 ms" in finding.title
    assert any("setTcpNoDelay" in remedy.text for remedy in finding.remedies)


@pytest.mark.parametrize(
    "healthy",
    [
        {"notsent_bytes": 0, "send_q": 100},
        {"notsent_bytes": 1448, "send_q": 2896},
        {"send_q": 100 + 1448},
        {"rtt_us": 21_000, "min_rtt_us": 20_000},
        {"rtt_us": 900},
        {"data_segs_out": 293 + 2000},
        {"data_segs_out": 293},
        {"bytes_sent": 29_300 + 96 * 1400},
        {"total_retrans": 1},
        {"timer": ("persist", 200, 0)},
    ],
    ids=["nothing waits", "a whole segment waits", "a whole segment is on its way", "a long path", "quick answers",
         "many segments", "no segment", "large segments", "loss", "no window"],
)  # fmt: skip
def test_what_only_looks_like_it_is_silent(healthy):
    assert not held(asking(**{**LATER, **healthy}))


def test_a_piece_that_waited_at_one_look_only_is_silent():
    assert not held(asking(**LATER), asking(notsent_bytes=0, send_q=0))
    assert not [one for one in diagnose(snap(listener(), asking())) if one.id == "nagle-delayed-ack"]
