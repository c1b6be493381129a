"""What should be on the wire now, and when next: the one decision behind ``poll`` and ``next_deadline``.

:func:`plan` reads the block and changes nothing. It returns a step to carry out at once, or none and the time at
which to ask again; so the two can never disagree: a connection that says "nothing before t" sends nothing before t.
The order of the steps is the order in which segments leave.
"""

from __future__ import annotations

from collections.abc import Callable

from tcpscope.machine import path_mtu, timeouts
from tcpscope.machine.calls import settle_pending_close
from tcpscope.machine.flight import next_lost, pipe_bytes
from tcpscope.machine.sending import (
    TEXT_STATES,
    emit_ack,
    emit_again,
    emit_fin,
    emit_syn,
    emit_text,
    is_fin_due,
    payload_limit,
    sendable_bytes,
    usable_window,
)
from tcpscope.machine.sequence import MASK
from tcpscope.machine.tcb import NEVER, Tcb
from tcpscope.model.segment import Segment
from tcpscope.model.state import State

Step = Callable[[Tcb, int, list[Segment]], None]

_OPENING = (State.SYN_SENT, State.SYN_RECEIVED)
_KEPT_ALIVE = (State.ESTABLISHED, State.FIN_WAIT_2, State.CLOSE_WAIT)


def plan(tcb: Tcb, now_ns: int) -> tuple[Step | None, int]:
    """Return ``(step, now_ns)``, or ``(None, deadline_ns)`` when nothing is to be done before ``deadline_ns``."""
    if tcb.replies:
        return _reply, now_ns
    state = tcb.state
    if state is State.CLOSED or state is State.LISTEN:
        return None, NEVER
    on_time, deadline_ns = next_timeout(tcb)
    if deadline_ns <= now_ns:
        return on_time, now_ns
    if state in _OPENING and tcb.snd_nxt == tcb.iss:
        return _syn, now_ns
    if tcb.recovery.lost_bytes:
        if _may_send_again(tcb):
            return _again, now_ns  # RFC 6675 §4, NextSeg(): before anything new
    elif state in TEXT_STATES:
        if tcb.unsent_bytes:
            if sendable_bytes(tcb, payload_limit(tcb)):
                if tcb.search is not None and path_mtu.probe_text_bytes(tcb, now_ns):
                    return _path_probe, now_ns
                return _text, now_ns
        elif tcb.close_pending and state is State.CLOSE_WAIT:
            return _close, now_ns
        elif is_fin_due(tcb) and usable_window(tcb) > 0:
            return _fin, now_ns
    if tcb.acks_now:
        return _ack, now_ns
    return None, deadline_ns


def next_timeout(tcb: Tcb) -> tuple[Step, int]:
    """Return the timeout that comes first, and when; ``NEVER`` when none runs."""
    step: Step = timeouts.on_retransmission
    when_ns = tcb.deadline_retransmit_ns
    if tcb.deadline_rack_ns < when_ns:
        step, when_ns = timeouts.on_reordering, tcb.deadline_rack_ns
    if tcb.deadline_probe_ns <= when_ns:
        step, when_ns = timeouts.on_tail_probe, tcb.deadline_probe_ns
    if tcb.deadline_delayed_ack_ns < when_ns:
        step, when_ns = timeouts.on_delayed_ack, tcb.deadline_delayed_ack_ns
    if tcb.deadline_persist_ns < when_ns:
        step, when_ns = timeouts.on_persist, tcb.deadline_persist_ns
    if tcb.deadline_time_wait_ns < when_ns:
        step, when_ns = timeouts.on_time_wait, tcb.deadline_time_wait_ns
    if tcb.deadline_fin_wait_2_ns < when_ns:
        step, when_ns = timeouts.on_fin_wait_2, tcb.deadline_fin_wait_2_ns
    if tcb.flight or tcb.deadline_persist_ns != NEVER:
        patience_ns = tcb.progress_ns + timeouts.patience_ns(tcb)
        if patience_ns <= when_ns:
            step, when_ns = timeouts.on_user_timeout, patience_ns
    elif tcb.keepalive and tcb.state in _KEPT_ALIVE and not tcb.unsent_bytes:
        alive_ns = keepalive_ns(tcb)
        if alive_ns < when_ns:
            step, when_ns = timeouts.on_keepalive, alive_ns
    return step, when_ns


def keepalive_ns(tcb: Tcb) -> int:
    """Return when the next keepalive probe is due (MUST-26: nothing outstanding, nothing received meanwhile)."""
    if tcb.keepalive_probes:
        return tcb.keepalive_sent_ns + tcb.keepalive_interval_ns
    return max(tcb.last_received_ns, tcb.last_sent_ns) + tcb.keepalive_idle_ns


def _may_send_again(tcb: Tcb) -> bool:
    """Whether the first lost segment may go: inside the peer's window (SHLD-16) and the congestion window."""
    sent = next_lost(tcb)
    if sent is None:
        return False
    if tcb.state in _OPENING:
        return True
    if (sent.seq - tcb.snd_una) & MASK >= tcb.snd_wnd:
        return False
    octets = min(len(sent.payload), payload_limit(tcb))  # of an offloaded group one segment at a time
    return tcb.recovery.must_send or pipe_bytes(tcb) + octets <= tcb.congestion.cwnd_bytes


def _reply(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    out.append(tcb.replies.pop(0))
    tcb.counters.segments_out += 1


def _syn(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    out.append(emit_syn(tcb, now_ns))


def _again(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    sent = next_lost(tcb)
    if sent is not None:
        out.append(emit_again(tcb, sent, now_ns))


def _text(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    out.append(emit_text(tcb, sendable_bytes(tcb, payload_limit(tcb)), now_ns))
    if tcb.search is not None:
        path_mtu.renew(tcb, now_ns)


def _path_probe(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    octets = path_mtu.probe_text_bytes(tcb, now_ns)
    out.append(emit_text(tcb, octets, now_ns)._replace(gso_bytes=0))
    path_mtu.note_probe(tcb, octets, now_ns)


def _close(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    settle_pending_close(tcb)


def _fin(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    out.append(emit_fin(tcb, now_ns))


def _ack(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    out.append(emit_ack(tcb, now_ns))
