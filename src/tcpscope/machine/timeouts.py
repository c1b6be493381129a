"""What happens when a deadline passes (RFC 9293 §3.10.8, §3.8, RFC 6298, RFC 5482).

Each function is one timeout's event of the table. :mod:`tcpscope.machine.plan` decides that it is time; here is only
what then follows. A function appends what it sends at once to ``out``; everything else the plan derives afterwards.
"""

from __future__ import annotations

from tcpscope.machine import rack, recovery
from tcpscope.machine.flight import split_sent
from tcpscope.machine.moves import fail, take
from tcpscope.machine.path_mtu import suspect_black_hole
from tcpscope.machine.sending import (
    emit_again,
    emit_keepalive,
    emit_probe,
    emit_text,
    is_window_blocked,
    payload_limit,
    usable_window,
)
from tcpscope.machine.sequence import MASK
from tcpscope.machine.tcb import NEVER, Tcb
from tcpscope.model.event import Event
from tcpscope.model.segment import Segment
from tcpscope.model.state import State

MAX_PERSIST_BACKOFF = 16
_UNFINISHED = (State.SYN_SENT, State.SYN_RECEIVED)


def patience_ns(tcb: Tcb) -> int:
    """Return how long the oldest text may stay unacknowledged: the user timeout, or R2 (MUST-20, MUST-21, MUST-23)."""
    if tcb.user_timeout_ns:
        return tcb.user_timeout_ns
    if tcb.state is State.SYN_RECEIVED and not tcb.opened_actively:
        return tcb.profile.syn_ack_r2_ns
    return tcb.profile.syn_r2_ns if tcb.state in _UNFINISHED else tcb.profile.r2_ns


def on_retransmission(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    """Believe the flight lost and double the timeout; the plan sends the head again (RFC 6298 §5.4 to §5.6)."""
    take(tcb, Event.RETRANSMISSION_TIMEOUT)
    tcb.counters.timeouts += 1
    recovery.on_timeout(tcb)
    if tcb.state is not State.SYN_SENT or tcb.flight[0].transmissions > tcb.profile.syn_linear_timeouts:
        tcb.rtt.back_off()
    tcb.deadline_retransmit_ns = now_ns + tcb.rtt.rto_ns
    if tcb.flight[0].transmissions >= tcb.profile.r1_retransmits:
        if not tcb.r1_reported:
            tcb.r1_reported = True
            tcb.report("r1", "R1 reached: the path may be broken (SHLD-9)")
        suspect_black_hole(tcb)


def on_reordering(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    """Believe lost what had its time to arrive out of order (RFC 8985 §6.3)."""
    tcb.deadline_rack_ns = NEVER
    known_bytes = tcb.recovery.lost_bytes
    recovery.detect_losses(tcb, now_ns)
    if tcb.recovery.lost_bytes:
        recovery.react_to_losses(tcb, known_bytes)


def on_tail_probe(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    """Send something that must be answered: new text, or the last segment again (RFC 8985 §7.3)."""
    limit = payload_limit(tcb)
    amount = min(tcb.unsent_bytes, usable_window(tcb), limit)
    if amount > 0:
        out.append(emit_text(tcb, amount, now_ns))
    else:
        tail = tcb.flight[-1]
        if len(tail.payload) > limit:  # the end of an offloaded group
            split_sent(tcb, len(tcb.flight) - 1, (tail.seq + len(tail.payload) - limit) & MASK)
        out.append(emit_again(tcb, tcb.flight[-1], now_ns))
    rack.note_probe(tcb, repeats=amount <= 0)
    tcb.counters.tail_probes += 1
    tcb.report("probe", "tail loss probe")
    tcb.deadline_retransmit_ns = now_ns + tcb.rtt.rto_ns


def on_user_timeout(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    """Abort: nothing was acknowledged for as long as the application, or R2, allows."""
    fail(tcb, "connection aborted due to user timeout")
    take(tcb, Event.USER_TIMEOUT)


def on_persist(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    """Probe a shut window, or let a small piece go that a small window holds back."""
    amount = min(tcb.unsent_bytes, usable_window(tcb))
    if tcb.snd_wnd and not tcb.flight and amount > 0:
        tcb.deadline_persist_ns = NEVER
        out.append(emit_text(tcb, min(amount, payload_limit(tcb)), now_ns))  # the override of §3.8.6.2.1
        return
    take(tcb, Event.PERSIST_TIMEOUT)
    if not tcb.persist_backoff and not tcb.flight:
        tcb.progress_ns = now_ns
    tcb.persist_backoff = min(tcb.persist_backoff + 1, MAX_PERSIST_BACKOFF)
    tcb.deadline_persist_ns = now_ns + persist_interval_ns(tcb)
    tcb.report("probe", "zero-window probe")
    out.append(emit_probe(tcb, now_ns))
    tcb.deadline_retransmit_ns = NEVER


def persist_interval_ns(tcb: Tcb) -> int:
    """Return the time to the next probe: one RTO, then doubling (SHLD-29, SHLD-30)."""
    return min(tcb.rtt.rto_base_ns << tcb.persist_backoff, tcb.profile.max_rto_ns)


def on_delayed_ack(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    """Send the ACK that waited for company."""
    tcb.deadline_delayed_ack_ns = NEVER
    if tcb.state in (State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2):
        take(tcb, Event.DELAYED_ACK_TIMEOUT)
    tcb.acks_now = True


def on_keepalive(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    """Probe an idle peer; give up when several probes in a row were not answered (MUST-29)."""
    if tcb.keepalive_probes >= tcb.keepalive_count:
        fail(tcb, "connection timed out: keepalive probes were not answered")
        take(tcb, Event.KEEPALIVE_EXHAUSTED)
        return
    take(tcb, Event.KEEPALIVE_TIMEOUT)
    tcb.keepalive_probes += 1
    tcb.keepalive_sent_ns = now_ns
    tcb.report("probe", "keepalive probe")
    out.append(emit_keepalive(tcb, now_ns))


def on_time_wait(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    """2 MSL are over."""
    take(tcb, Event.TIME_WAIT_TIMEOUT)


def on_fin_wait_2(tcb: Tcb, now_ns: int, out: list[Segment]) -> None:
    """Nobody waits for the peer's FIN any longer."""
    take(tcb, Event.FIN_WAIT_2_TIMEOUT)


def arm(tcb: Tcb, now_ns: int) -> None:
    """Run the persist timer instead of the retransmission timer while the window is shut, and the other way round."""
    if tcb.snd_wnd and (tcb.flight or not tcb.unsent_bytes):
        if tcb.deadline_persist_ns != NEVER:
            tcb.deadline_persist_ns, tcb.persist_backoff = NEVER, 0
        return
    if not is_window_blocked(tcb):
        tcb.deadline_persist_ns, tcb.persist_backoff = NEVER, 0
        return
    tcb.deadline_retransmit_ns = NEVER
    if tcb.deadline_persist_ns == NEVER:
        held_back = tcb.snd_wnd and not tcb.flight
        wait_ns = tcb.profile.push_override_ns if held_back else persist_interval_ns(tcb)
        tcb.deadline_persist_ns = now_ns + wait_ns
        if not tcb.flight:
            tcb.progress_ns = now_ns
