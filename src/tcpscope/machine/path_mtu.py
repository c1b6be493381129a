"""What the path carries: smaller segments after Packet Too Big (RFC 1191, 8201), or when full ones vanish (RFC 4821).

Only downwards: a path that has become wider is noticed by new connections alone.
"""

from __future__ import annotations

from tcpscope.machine import recovery
from tcpscope.machine.options import MIN_MSS_BYTES, header_bytes, size_segments
from tcpscope.machine.tcb import Tcb

_LEAST_BYTES = {False: 68, True: 1280}
#: Sizes tried when full segments vanish without a word: what tunnels leave, then what everything carries.
_STEPS_BYTES = {False: (1280, 576), True: (1280,)}


def shrink_path(tcb: Tcb, mtu_bytes: int) -> bool:
    """Send smaller segments from now on, and again what was too long; no sign of congestion (RFC 1191 §6.5)."""
    mtu_bytes = max(mtu_bytes, _LEAST_BYTES[tcb.local.is_ipv6], MIN_MSS_BYTES + header_bytes(tcb))
    if mtu_bytes >= tcb.path_mtu_bytes:
        return False
    tcb.path_mtu_bytes = mtu_bytes
    if not tcb.irs_known:
        return True
    size_segments(tcb)
    tcb.report("path-mtu", f"{mtu_bytes} octets: {tcb.mss_bytes} octets of text per segment")
    for sent in tcb.flight:
        if len(sent.payload) > tcb.mss_bytes:
            recovery.mark_lost(tcb, sent)
    if tcb.recovery.lost_bytes:
        recovery.repair(tcb)
    return True


def suspect_black_hole(tcb: Tcb) -> None:
    """Try smaller segments when one of full size was sent in vain several times (RFC 4821 §7.7, RFC 2923 §2.1)."""
    full = len(tcb.flight[0].payload) + header_bytes(tcb)
    smaller = next((step for step in _STEPS_BYTES[tcb.local.is_ipv6] if step < tcb.path_mtu_bytes), 0)
    if 0 < smaller < full and tcb.profile.detects_black_holes:
        shrink_path(tcb, smaller)
