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
    "bytes_sent": 29_300, "data_segs_out": 293, "data_segs_in": 146, "total_retrans": 0,
}  # fmt: skip


def asking(send_q: int = 200, timer: tuple[object, ...] = ("on", 200, 0), **info: object) -> Socket:
    return sock(State.ESTABLISHED, send_q=send_q, timer=timer, cookie=7, info={**AS_SEEN, **info})


def held(now: Socket, then: Socket | None = None) -> list[Finding]:
    before: Snapshot = snap(listener(), then or asking())
    findings = diagnose(grown(before, sockets=(listener(), now)), before)
    return [finding for finding in findings if finding.id == "nagle-delayed-ack"]


LATER = {"bytes_sent": 38_900, "data_segs_out": 389, "data_segs_in": 194}
IDLE = {"notsent_bytes": 0, "unacked": 0, "send_q": 0, "timer": ()}


def test_a_piece_that_waits_at_both_looks_is_found_and_named():
    (finding,) = held(asking(**LATER))
    assert finding.severity == Severity.MEDIUM
    assert "java (2215) waits about 40 ms" in finding.title
    assert any("setTcpNoDelay" in remedy.text for remedy in finding.remedies)


@pytest.mark.parametrize(
    "healthy",
    [
        {"rtt_us": 21_000, "min_rtt_us": 20_000},
        {"rtt_us": 900},
        {"data_segs_out": 293 + 2000},
        {"data_segs_out": 293},
        {"bytes_sent": 29_300 + 96 * 1400},
        {"total_retrans": 1},
        {"data_segs_in": 150},
    ],
    ids=["a long path", "quick answers", "many segments", "no segment", "large segments", "loss", "no answers"],
)  # fmt: skip
def test_what_only_looks_like_it_is_silent(healthy):
    assert not held(asking(**{**LATER, **healthy}))


@pytest.mark.parametrize(
    "other",
    [
        IDLE,
        {"notsent_bytes": 0, "send_q": 100},
        {"notsent_bytes": 1448, "send_q": 2896},
        {"send_q": 100 + 1448},
        {"timer": ("persist", 200, 0)},
    ],
    ids=["nothing queued", "nothing waits", "a whole segment waits", "a whole segment is on its way", "no window"],
)
def test_a_piece_must_wait_for_nagle_at_one_look_at_least(other):
    assert not held(asking(**{**LATER, **other}), asking(**other))
    (surer,), (once,) = held(asking(**LATER)), held(asking(**{**LATER, **other}))
    assert once.confidence < surer.confidence


def test_a_single_look_says_nothing_of_waiting():
    assert not [one for one in diagnose(snap(listener(), asking())) if one.id == "nagle-delayed-ack"]
