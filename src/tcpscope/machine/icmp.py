"""ICMP errors and what TCP makes of them (RFC 9293 §3.9.2.2, RFC 1122 §4.2.3.9, RFC 5927, RFC 1191, RFC 8201)."""

from __future__ import annotations

from tcpscope.machine.moves import fail, take
from tcpscope.machine.path_mtu import take_too_big
from tcpscope.machine.sequence import MASK
from tcpscope.machine.tcb import Tcb
from tcpscope.model.event import Event
from tcpscope.model.state import State

SOFT, HARD, TOO_BIG, QUENCH, NONE = "soft", "hard", "too-big", "quench", ""
_V4_UNREACHABLE, _V4_QUENCH, _V4_TIME_EXCEEDED, _V4_PARAMETER = 3, 4, 11, 12
_V6_UNREACHABLE, _V6_TOO_BIG, _V6_TIME_EXCEEDED, _V6_PARAMETER = 1, 2, 3, 4


def judge_icmp(icmp_type: int, code: int, is_ipv6: bool) -> str:
    """Return what an ICMP error means: ``soft``, ``hard``, ``too-big``, ``quench`` (MUST-55) or nothing."""
    if is_ipv6:
        if icmp_type == _V6_UNREACHABLE:
            return HARD if code in (1, 4) else SOFT
        return {_V6_TOO_BIG: TOO_BIG, _V6_TIME_EXCEEDED: SOFT, _V6_PARAMETER: SOFT}.get(icmp_type, NONE)
    if icmp_type == _V4_UNREACHABLE:
        return {2: HARD, 3: HARD, 4: TOO_BIG}.get(code, SOFT)
    return {_V4_QUENCH: QUENCH, _V4_TIME_EXCEEDED: SOFT, _V4_PARAMETER: SOFT}.get(icmp_type, NONE)


def _is_fatal(tcb: Tcb, kind: str) -> bool:
    if tcb.state is State.SYN_SENT and tcb.profile.soft_icmp_ends_connect:
        return True
    return kind == HARD and (tcb.profile.hard_icmp_aborts or not tcb.state.is_synchronized)


def take_icmp(tcb: Tcb, icmp_type: int, code: int, mtu_bytes: int, seq: int | None) -> None:
    """Take an error about a segment numbered ``seq`` (``None``: not quoted); what is not in flight is not believed."""
    kind = judge_icmp(icmp_type, code, tcb.local.is_ipv6)
    if kind in (NONE, QUENCH) or tcb.state in (State.CLOSED, State.LISTEN):
        return
    if seq is not None and (seq - tcb.snd_una) & MASK >= max(tcb.flight_bytes, 1):
        tcb.report("dropped", "ICMP error about nothing in flight (RFC 5927)")
        return
    if kind == TOO_BIG:
        take_too_big(tcb, mtu_bytes, seq)
    elif _is_fatal(tcb, kind):
        if tcb.state is not State.TIME_WAIT:
            fail(tcb, "connection refused" if not tcb.state.is_synchronized else "connection aborted by ICMP error")
        take(tcb, Event.ICMP_HARD_ERROR)
    else:
        take(tcb, Event.ICMP_SOFT_ERROR)
        tcb.soft_error = f"ICMP type {icmp_type} code {code}"
        if tcb.tells_soft_errors:
            tcb.report("soft-error", tcb.soft_error)  # MUST-47, SHLD-25
