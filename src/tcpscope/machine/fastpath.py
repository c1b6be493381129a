"""Header prediction: the segment that was expected, where text flows, without the eight checks (RFC 9293 §3.10.7.4).

It may only do what the eight checks would have done; the tests run every script with and without it and compare the
whole block. Everything unusual is left to :mod:`tcpscope.machine.arrivals`.
"""

from __future__ import annotations

from tcpscope.machine.acknowledgement import advance
from tcpscope.machine.rack import begin_acknowledgement
from tcpscope.machine.receiving import (
    CONGESTION_EXPERIENCED,
    deliver,
    note_push,
    note_segment_size,
    owe_acknowledgement,
)
from tcpscope.machine.recovery import on_ack
from tcpscope.machine.sequence import HALF, MASK
from tcpscope.machine.tcb import Tcb
from tcpscope.model.segment import ACK, PSH, Segment
from tcpscope.model.state import State

_STEADY = (State.ESTABLISHED, State.FIN_WAIT_2, State.CLOSE_WAIT)


def take_predicted(tcb: Tcb, segment: Segment, now_ns: int) -> bool:
    """Take ``segment`` when it is just the next one; say whether it was taken."""
    seq, ack, flags, wnd, text, options = segment[:6]
    if (
        tcb.state not in _STEADY
        or flags & ~PSH != ACK
        or seq != tcb.rcv_nxt
        or not wnd
        or not tcb.snd_wnd
        or (seq - tcb.snd_wl1) & MASK >= HALF
        or tcb.out_of_order
        or tcb.missing_fin >= 0
        or tcb.reader_gone
        or tcb.rack.probe_end >= 0
        or options.sack
        or options.user_timeout_ms
        or segment.ip_ecn == CONGESTION_EXPERIENCED
        or tcb.taken is not None
    ):
        return False
    octets = len(text)
    acked_bytes = (ack - tcb.snd_una) & MASK
    if acked_bytes > (tcb.snd_nxt - tcb.snd_una) & MASK or (not acked_bytes and not octets):
        return False
    if octets and tcb.fin_received:
        return False
    if octets > (tcb.rcv_adv - seq) & MASK or tcb.inbox_bytes + octets > tcb.receive_buffer_bytes:
        return False
    if tcb.timestamps_ok:
        stamp = options.timestamp
        if stamp is None or (stamp[0] - tcb.ts_recent) & MASK >= HALF:
            return False
        if (tcb.last_ack_sent - seq) & MASK < HALF:
            tcb.ts_recent, tcb.ts_recent_ns = stamp[0], now_ns
    if acked_bytes:
        tcb.dup_acks = 0
        begin_acknowledgement(tcb, segment)
        advance(tcb, segment, acked_bytes, (tcb.snd_nxt - tcb.snd_una) & MASK, now_ns)
    tcb.snd_wl1, tcb.snd_wl2 = seq, ack
    tcb.snd_wnd = wnd << tcb.snd_wscale
    if tcb.snd_wnd > tcb.max_snd_wnd:
        tcb.max_snd_wnd = tcb.snd_wnd
    if acked_bytes or tcb.flight:
        on_ack(tcb, acked_bytes, 0, False)
    if octets:
        note_segment_size(tcb, octets)
        deliver(tcb, text)
        if flags & PSH:
            note_push(tcb, tcb.rcv_nxt)
        owe_acknowledgement(tcb, octets, now_ns)
        tcb.counters.text_segments_in += 1
        tcb.counters.bytes_in += octets
    return True
